"""A contest: who finds more of the planted anomalies at one and the same realised alarm rate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from components.ensemble import Ensemble
from components.errors import NotEnoughBars
from components.evaluation.assess import Trials
from components.evaluation.finding import windows
from components.evaluation.intake import admit
from components.evaluation.plants import planted
from components.evaluation.told import Progress, Told, tell, unseen
from components.panels import Array, Flags, Ints

# Panels of the bootstrap, and the share of them between the bounds of an interval.
N_DRAWS, COVERED = 2000, 0.95

# Fewer plants than this decide nothing.
LEAST_PLANTS = 30


# A plant's neighbours in time are found or missed with it, so whole spans are drawn: the longest
# of these that leaves so many. With fewer days than the least there is no interval to speak of.
SPANS, MANY_SPANS, LEAST_SPANS = ("M", "W", "D"), 20, 8


@dataclass(frozen=True)
class Estimate:
    """A mean share, or a difference of two, with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Contest:
    """What each method found on the same held-out bars.

    ``figures`` of each method: ``recall`` and ``by_kind`` (shares of plants), ``realised``
    (alerts per instrument and year where its own kept rate decides), ``delay_bars`` (mean, of
    the plants found); ``shares`` the recall ("") and that of each kind with their intervals.
    ``told`` is what each told of the counted bars as they were, by its own rule; ``leads`` are
    how much more of the plants the first method found than each other one.
    """

    since: pd.Timestamp
    last: pd.Timestamp
    n_plants: int
    n_bars: int
    alerts_per_year: float
    figures: Mapping[str, Mapping[str, Any]]
    told: Mapping[str, Told]
    leads: Mapping[str, Estimate] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


def contest(
    judges: Mapping[str, Ensemble],
    candles: pd.DataFrame,
    trials: Trials,
    since: pd.Timestamp,
    progress: Progress = unseen,
) -> Contest:
    """Hold methods against each other on bars from ``since`` on, the first against each.

    Every method judges from the first candle, so that its reference is its own; only bars that
    all of them decide count. The threshold of each is set so that it alerts on the same number
    of bars outside of the plants: the stated rate.

    Parameters
    ----------
    judges : Mapping of str to Ensemble
        All with the same budget.
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split.
    trials : Trials
        Seed and number of the planted panels.

    Raises
    ------
    NotEnoughBars
        When too few bars are decided by all of them to plant anything.
    """
    clean = admit(candles, trials.calendars, trials.interval)
    told = {
        name: tell(judge, clean.candles, trials.calendars, trials.interval, progress, name)
        for name, judge in judges.items()
    }
    counted = _counted(list(told.values()), since)
    any_told = next(iter(told.values()))
    live = {
        symbol: pd.DatetimeIndex(any_told.ts[series][counted[series]], tz="UTC")
        for series, symbol in enumerate(any_told.symbols)
    }
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in judges}
    for n in range(trials.rounds):
        changed, plants = planted(candles, live, trials.seed + 1000 * n)
        panel = admit(changed, trials.calendars, trials.interval).candles
        those = {
            name: tell(judge, panel, trials.calendars, trials.interval, progress, f"{name}, plants")
            for name, judge in judges.items()
        }
        within = _counted(list(those.values()), since)
        for name, one in those.items():
            found[name].append(_found(one, plants, within).assign(round=n))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    n_plants = len(next(iter(tables.values())))
    if n_plants < LEAST_PLANTS:
        needed = int(LEAST_PLANTS / max(n_plants, 1) * counted.sum())
        rounds = math.ceil(trials.rounds * LEAST_PLANTS / max(n_plants, 1))
        raise NotEnoughBars(
            "a contest on held-out time",
            needed,
            int(counted.sum()),
            f"plant more panels: --rounds {rounds}" if n_plants else "train on less: --share",
        )
    n_spans = int(_spans(next(iter(tables.values()))["ts"]).max()) + 1
    if n_spans < LEAST_SPANS:
        needed = int(LEAST_SPANS / n_spans * counted.sum())
        raise NotEnoughBars(
            "a contest on held-out time", needed, int(counted.sum()), "train on less: --share"
        )
    first, *others = judges
    stamps = any_told.ts[counted]
    return Contest(
        since=since,
        last=pd.Timestamp(stamps.max(), tz="UTC"),
        n_plants=n_plants,
        n_bars=int(counted.sum()),
        alerts_per_year=judges[first].alerts_per_year,
        figures={name: _figures(tables[name], told[name], counted) for name in judges},
        told={
            name: replace(one, surprise=np.where(counted, one.surprise, np.nan))
            for name, one in told.items()
        },
        leads={name: _lead(tables[first], tables[name], trials.seed) for name in others},
        shares={name: _shares(tables[name], trials.seed) for name in judges},
    )


def at_the_rate(told: Told) -> Told:
    """The same with alerts on as many bars as were stated, those of most surprise."""
    decided = told.is_decided
    per_bar = told.alerts_per_bar()[:, None] * np.ones(decided.shape)
    n_alerts = int(np.round(per_bar[decided].sum()))
    with np.errstate(invalid="ignore"):
        is_alert: Flags = told.surprise > _threshold(told.surprise[decided], n_alerts)
    return replace(told, is_alert=is_alert)


def _counted(told: list[Told], since: pd.Timestamp) -> Flags:
    """Bars that are held out, and that every method decides."""
    start = since.tz_convert("UTC").tz_localize(None).to_datetime64()
    every: Flags = told[0].ts >= start
    for each in told:
        every = every & each.is_decided
    return every


def _found(told: Told, plants: pd.DataFrame, counted: Flags) -> pd.DataFrame:
    """Each plant and whether it was found at the threshold that keeps the rate: is_found, delay."""
    spans, within = windows(told, plants)
    outside = counted & ~within
    per_bar = told.alerts_per_bar()[:, None] * np.ones(counted.shape)
    n_alerts = int(np.round(per_bar[outside].sum()))
    threshold = _threshold(told.surprise[outside], n_alerts)
    delay = np.full(len(spans), np.nan)
    for row, (series, start, stop) in enumerate(spans):
        own = counted[series, start:stop] & (told.surprise[series, start:stop] > threshold)
        if own.any():
            delay[row] = np.argmax(own)
    table = plants[["symbol", "kind", "size", "ts"]].reset_index(drop=True)
    # A plant none of whose bars is decided by all (kept aside, say) is no one's to find.
    judged = np.array([counted[i, a:b].any() for i, a, b in spans], dtype=bool)
    return table.assign(is_found=np.isfinite(delay), delay=delay)[judged]


def _threshold(surprise: Array, n_alerts: int) -> float:
    """The surprise that ``n_alerts`` of the bars exceed."""
    if n_alerts >= len(surprise):
        return -np.inf
    return float(np.partition(surprise, len(surprise) - n_alerts - 1)[len(surprise) - n_alerts - 1])


def _figures(table: pd.DataFrame, told: Told, counted: Flags) -> dict[str, Any]:
    years = float((counted.sum(axis=1) / told.per_year).sum())
    return {
        "recall": float(table["is_found"].mean()),
        "by_kind": {str(k): float(v) for k, v in table.groupby("kind")["is_found"].mean().items()},
        "realised": float((told.is_alert & counted).sum() / years),
        "delay_bars": float(table["delay"].mean()),
    }


def _lead(one: pd.DataFrame, other: pd.DataFrame, seed: int) -> Estimate:
    """How much more of the plants one found than the other."""
    both = one.merge(other, on=["round", "symbol", "kind", "size", "ts"], suffixes=("", "_other"))
    own, others = (both[name].to_numpy(dtype=np.float64) for name in ("is_found", "is_found_other"))
    return _estimate(own - others, both["ts"], seed)


def _shares(table: pd.DataFrame, seed: int) -> dict[str, Estimate]:
    kinds = {"": table, **{str(kind): rows for kind, rows in table.groupby("kind")}}
    return {
        kind: _estimate(rows["is_found"].to_numpy(dtype=float), rows["ts"], seed)
        for kind, rows in kinds.items()
    }


def _estimate(values: Array, ts: "pd.Series[pd.Timestamp]", seed: int) -> Estimate:
    """The mean of values at instants, with its interval by bootstrap over spans of time.

    References
    ----------
    Kunsch, H. R. (1989). The jackknife and the bootstrap for general stationary observations.
    Annals of Statistics 17(3), 1217-1241.
    """
    span = _spans(ts)
    n_spans = int(span.max()) + 1
    sums = np.bincount(span, values, minlength=n_spans)
    sizes = np.bincount(span, minlength=n_spans)
    drawn = np.random.default_rng([seed, 5]).integers(n_spans, size=(N_DRAWS, n_spans))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    edge = (1 - COVERED) / 2
    low, high = np.quantile(means, (edge, 1 - edge))
    return Estimate(float(values.mean()), float(low), float(high))


def _spans(ts: "pd.Series[pd.Timestamp]") -> Ints:
    """The number of the span of time that each instant lies in."""
    stamps = ts.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    number = np.zeros(len(stamps), dtype=np.int64)
    for unit in SPANS:
        _, number = np.unique(stamps.astype(f"datetime64[{unit}]"), return_inverse=True)
        if number.max() + 1 >= MANY_SPANS:
            break
    return number.astype(np.int64)
