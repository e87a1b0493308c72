"""Which planted anomalies were found: recall minus chance, average precision, levels, VUS."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from components.evaluation.plants import KINDS, SIZES
from components.evaluation.told import Told
from components.evaluation.vus import vus_pr
from components.panels import Array, Flags, Ints

LEVELS = {1: "LOW", 2: "MEDIUM", 3: "HIGH"}
MIDDLE = SIZES.index("middle")


@dataclass(frozen=True)
class Trial:
    """What a method told of one planted panel.

    ``plants`` has a row a plant: symbol, kind, size, ts, until, and is_aside (kept aside by a
    data check that names it rightly). ``aside``: the rows kept aside within plants.
    """

    told: Told
    plants: pd.DataFrame
    aside: pd.DataFrame | None = None

    @cached_property
    def windows(self) -> tuple[Ints, Flags]:
        """Where the plants lie."""
        return windows(self.told, self.plants)


def aside_within(plants: pd.DataFrame, aside: pd.DataFrame) -> pd.DataFrame:
    """The rows kept aside within plants: plant, symbol, row_ts, and is_fit.

    ``is_fit`` says whether the check names the plant rightly.
    """
    rows = plants.reset_index(names="plant").merge(
        aside.rename(columns={"ts": "row_ts"}), on="symbol"
    )
    rows = rows[(rows["row_ts"] >= rows["ts"]) & (rows["row_ts"] <= rows["until"])]
    fits = [c in KINDS[k].checks for c, k in zip(rows["check_name"], rows["kind"], strict=True)]
    return rows[["plant", "symbol", "row_ts"]].assign(is_fit=np.array(fits, dtype=bool))


def with_aside(plants: pd.DataFrame, aside: pd.DataFrame) -> pd.DataFrame:
    """Add to each plant whether a row of its window was kept aside by a fitting check."""
    rows = aside_within(plants, aside)
    return plants.assign(is_aside=plants.index.isin(rows.loc[rows["is_fit"], "plant"]))


def planted_scores(trials: list[Trial]) -> dict[str, Any]:
    """How well planted anomalies were found, over all trials together.

    ``recall`` (middle size, mean of the kinds, minus chance), ``average_precision`` and
    ``vus_pr`` count what the data checks kept aside as found, and first of all; ``recall_told``
    and ``recall_kept_aside`` tell them apart, ``average_precision_told`` is that of the plants
    which the checks let through, and ``vus_pr_told`` that of the bars which were judged.
    """
    seen = [_seen(trial) for trial in trials]
    plants = pd.concat([rows for rows, _, _ in seen], ignore_index=True)
    outside = np.concatenate([scores for _, scores, _ in seen])
    n_alerts = sum(n for _, _, n in seen)
    rate = n_alerts / len(outside) if len(outside) else 0.0
    plants["chance"] = 1 - (1 - rate) ** plants["n_bars"]
    plants["is_found"] = plants["is_told"] | plants["is_aside"]
    by_kind = {
        kind: _of_kind(plants[plants["kind"] == kind], outside, len(plants)) for kind in KINDS
    }
    middle = plants[plants["size"] == MIDDLE]
    return {
        "recall": _mean(kind["recall"]["middle"] for kind in by_kind.values()),
        "recall_told": _mean(
            kind["told"]["middle"] - kind["chance"]["middle"] for kind in by_kind.values()
        ),
        "recall_kept_aside": _mean(kind["kept_aside"]["middle"] for kind in by_kind.values()),
        "recall_all_sizes": _mean(
            found for kind in by_kind.values() for found in kind["recall"].values()
        ),
        "average_precision": _mean(kind["average_precision"] for kind in by_kind.values()),
        "average_precision_told": _mean(
            kind["average_precision_told"] for kind in by_kind.values()
        ),
        "average_precision_pooled": average_precision(plants["surprise"].to_numpy(), outside),
        "vus_pr": _mean(
            _vus(trial, series, with_aside=True)
            for trial in trials
            for series in _with_plants(trial)
        ),
        "vus_pr_told": _mean(
            _vus(trial, series, with_aside=False)
            for trial in trials
            for series in _with_plants(trial)
        ),
        "n": len(plants),
        "n_middle": len(middle),
        "told": _share(plants["is_told"]),
        "kept_aside": _share(plants["is_aside"]),
        "alert_rate_outside": float(rate),
        "by_kind": by_kind,
        "by_level": _by_level(trials),
    }


def _of_kind(plants: pd.DataFrame, outside: Array, n_plants: int) -> dict[str, Any]:
    sizes = {name: plants[plants["size"] == place] for place, name in enumerate(SIZES)}
    # A kind is an eighth of all plants: its precision is that of a panel that holds as many
    # plants, all of this kind.
    weight = n_plants / len(plants) if len(plants) else 1.0
    through = plants[~plants["is_aside"].astype(bool)]
    return {
        "n": {name: len(rows) for name, rows in sizes.items()},
        "found": {name: _share(rows["is_found"]) for name, rows in sizes.items()},
        "told": {name: _share(rows["is_told"]) for name, rows in sizes.items()},
        "kept_aside": {name: _share(rows["is_aside"]) for name, rows in sizes.items()},
        "chance": {name: _share(rows["chance"]) for name, rows in sizes.items()},
        "recall": {
            name: _share(rows["is_found"]) - _share(rows["chance"]) for name, rows in sizes.items()
        },
        "average_precision": average_precision(plants["surprise"].to_numpy(), outside, weight),
        "average_precision_told": average_precision(
            through["surprise"].to_numpy(), outside, n_plants / max(len(through), 1)
        ),
    }


def _share(values: "pd.Series[Any]") -> float:
    return float(values.astype(float).mean()) if len(values) else float("nan")


def _mean(values: Any) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def average_precision(plants: Array, outside: Array, weight: float = 1.0) -> float:
    """Average over plants of the precision when all as odd are told.

    Parameters
    ----------
    plants : array
        The highest score within each plant; -inf where none was given. A plant counts once.
    outside : array
        Scores of the bars outside of all plants: each is a false alarm when told.
    weight : float
        How many plants each one stands for.
    """
    if not len(plants):
        return float("nan")
    n_plants_told = len(plants) - np.searchsorted(np.sort(plants), plants, side="left")
    n_false = len(outside) - np.searchsorted(np.sort(outside), plants, side="left")
    precision = weight * n_plants_told / (weight * n_plants_told + n_false)
    return float(np.where(np.isneginf(plants), 0.0, precision).mean())


def windows(told: Told, plants: pd.DataFrame) -> tuple[Ints, Flags]:
    """Where plants lie: (n_plants, 3) of series, first column, column after the last; a mask."""
    within = np.zeros(told.ts.shape, dtype=np.bool_)
    spans = np.zeros((len(plants), 3), dtype=np.int64)
    series_of = {symbol: series for series, symbol in enumerate(told.symbols)}
    series = plants["symbol"].map(series_of).to_numpy()
    first = plants["ts"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    until = plants["until"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    for one in np.unique(series):
        rows = np.flatnonzero(series == one)
        spans[rows, 0] = one
        spans[rows, 1] = told.place(one, first[rows])
        spans[rows, 2] = told.place(one, until[rows] + np.timedelta64(1, "us"))
    for one, start, stop in spans:
        within[one, start:stop] = True
    return spans, within


def _seen(trial: Trial) -> tuple[pd.DataFrame, Array, int]:
    """Each plant with what was told of it; the scores outside of plants, and alerts there."""
    told = trial.told
    spans, within = trial.windows
    alert = told.is_alert & told.is_decided
    is_told, surprise, n_bars = [], [], []
    for series, start, stop in spans:
        decided = told.is_decided[series, start:stop]
        is_told.append(bool(alert[series, start:stop].any()))
        surprise.append(told.surprise[series, start:stop][decided].max(initial=-np.inf))
        n_bars.append(int(decided.sum()))
    plants = trial.plants.assign(is_told=is_told, surprise=surprise, n_bars=n_bars)
    plants["surprise"] = plants["surprise"].where(~plants["is_aside"], np.inf)
    outside = told.is_decided & ~within
    return plants, told.surprise[outside], int(alert[outside].sum())


def _by_level(trials: list[Trial]) -> dict[str, dict[str, float]]:
    found = {}
    for level, name in LEVELS.items():
        n = n_within = 0
        for trial in trials:
            _, within = trial.windows
            told = (trial.told.level == level) & trial.told.is_decided
            n += int(told.sum())
            n_within += int((told & within).sum())
        precision = n_within / n if n else float("nan")
        found[name] = {"n": n, "precision": precision, "false_rate": 1 - precision}
    return found


def _with_plants(trial: Trial) -> list[int]:
    held = set(trial.plants["symbol"])
    return [series for series, symbol in enumerate(trial.told.symbols) if symbol in held]


def _vus(trial: Trial, series: int, *, with_aside: bool) -> float:
    """VUS-PR of one instrument, without or with the bars that checks kept aside.

    A bar that a fitting check kept aside was found before all others, by another check last.
    """
    told, (_, within) = trial.told, trial.windows
    decided = told.is_decided[series]
    ts, label = told.ts[series, decided], within[series, decided]
    score = told.surprise[series, decided]
    if with_aside and trial.aside is not None:
        own = trial.aside[trial.aside["symbol"] == told.symbols[series]]
        # Of no row nothing says that its times are times.
        times = pd.to_datetime(own["row_ts"], utc=True).dt.tz_localize(None)
        stamps = times.to_numpy().astype("datetime64[us]")
        order = np.argsort(np.concatenate([ts, stamps]), kind="stable")
        label = np.concatenate([label, np.ones(len(own), dtype=bool)])[order]
        score = np.concatenate([score, np.where(own["is_fit"], np.inf, -np.inf)])[order]
    return vus_pr(label, score)
