"""Train: from the warehouse's candles to a registered challenger, told with its figures."""

import hashlib
import resource
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from components import charts, features, model_charts
from components.ensemble import Ensemble
from components.errors import ModelError
from components.evaluation import Trials
from components.evaluation.contest import Contest, contest
from components.evaluation.dated import dated_recall
from components.evaluation.realised import realised_rates
from components.evaluation.told import with_market
from components.market import LEAST_MEMBERS
from components.model_files import to_files
from components.panels import Array
from components.promotion import CHALLENGER, CHAMPION, PLAIN, TWIN, Condition, conditions, distinct
from components.registry import Registry, Training, Version
from components.steps.evaluate import Chosen, read_candles
from components.steps.labels import data_errors
from components.steps.parts import Parts
from components.trained import Scaler, Trained, unfit
from components.training import (
    FeaturePanel,
    Recipe,
    Split,
    feature_panel,
    fit,
    naive,
    scaler_of,
    split,
    tune,
    untrained_twin,
)

# A contest over more instruments, or more bars, takes longer and says no more.
CONTEST_INSTRUMENTS, CONTEST_BARS = 60, 1_000_000

# What a second fit of the same recipe sees of the training time, to say how stable scores are.
EARLIER = 0.8

# Of a carried feature half of what it remembers is younger than this, in bars (decay 0.985).
CARRIED_MEMORY = 46


@dataclass(frozen=True)
class Wanted:
    """What to train on.

    ``share`` of all bars come before the cut in time; ``rounds`` panels are planted.
    """

    chosen: Chosen
    share: float = 0.7
    rounds: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    version: str
    trained: Trained
    split: Split
    figures: dict[str, float]
    held: Contest
    asked: tuple[Condition, ...]


def train(
    parts: Parts, registry: Registry, recipe: Recipe, wanted: Wanted, events: pd.DataFrame
) -> Outcome:
    """Fit, hold the model against others on time it has not seen, and register it.

    Raises
    ------
    SettingsError, NotEnoughBars
        Nothing to train on, or too little.
    ModelError
        The registry does not answer.
    """
    registry.is_ready()
    started = time.perf_counter()
    candles = candles_of(parts, wanted.chosen)
    panel = feature_panel(candles, parts.calendars, recipe.features, parts.progress)
    cut = split(panel.ts, wanted.share, embargo(recipe))
    seen = panel.until(cut.until)
    scaler = scaler_of(seen)
    detector, tried = tune(recipe, seen, scaler, parts.progress)
    trained = fit(recipe, detector, seen, scaler, parts.progress)
    trained = replace(trained, until=cut.until, code_version=parts.code_version)
    fitted = time.perf_counter()

    held = _held_out(parts, registry, trained, recipe, seen, candles, wanted, cut)
    diversity = distinct(_unseen(panel, trained, cut))
    figures = {
        **_figures(held, events, parts),
        "stability": _stability(recipe, detector, scaler, panel, trained, cut, parts),
        "distinct": diversity,
        "fit_seconds": fitted - started,
        "seconds": time.perf_counter() - started,
        "bytes": float(sum(map(len, to_files(trained).values()))),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }
    asked = conditions(held, diversity)
    training = Training(
        trained=trained,
        params=_params(trained, recipe, wanted, cut, candles),
        figures=figures,
        pictures=_pictures(panel, trained, cut, held),
        tables={
            "grid.json": _json(tried),
            "leads.json": _json({name: vars(lead) for name, lead in held.leads.items()}),
            "by_kind.json": _json({n: f["by_kind"] for n, f in held.figures.items()}),
            "promotion.json": _json([vars(each) for each in asked]),
        },
        example=_example(seen, recipe.features),
        tags={"held_out_since": cut.since.isoformat(), "is_pooled": str(recipe.is_pooled)},
    )
    version = registry.record(training)
    return Outcome(version, replace(trained, version=version), cut, figures, held, asked)


def judge_challenger(
    parts: Parts, registry: Registry, version: Version, wanted: Wanted
) -> tuple[Condition, ...]:
    """What promotion asks of a registered model, on the candles held now.

    Raises
    ------
    SettingsError, NotEnoughBars, ModelError
        As ``train``.
    """
    trained = registry.load(version.number)
    if trained is None:
        raise ModelError(f"version {version.number} is gone")
    if reason := unfit(trained, parts.watch.interval):
        raise ModelError(f"version {version.number} {reason}")
    candles = candles_of(parts, wanted.chosen)
    panel = feature_panel(candles, parts.calendars, trained.features, parts.progress)
    recipe = Recipe(
        detector=_same(trained),
        name=trained.detector,
        interval=trained.interval,
        features=trained.features,
        is_pooled=trained.is_pooled,
    )
    times = np.unique(panel.ts[~np.isnat(panel.ts)])
    behind = times[times > naive(trained.until)]
    n_embargo = embargo(recipe)
    if len(behind) <= n_embargo:
        raise ModelError(f"version {version.number} was trained on all that is held")
    first, last = pd.Timestamp(times[0], tz="UTC"), pd.Timestamp(times[-1], tz="UTC")
    since = pd.Timestamp(behind[n_embargo], tz="UTC")
    cut = Split(first, trained.until, since, last, n_embargo)
    seen = panel.until(cut.until)
    held = _held_out(parts, registry, trained, recipe, seen, candles, wanted, cut)
    return conditions(held, distinct(_unseen(panel, trained, cut)))


def _same(trained: Trained) -> Any:
    from components.training import trainable

    return type(trainable(trained.detector))(**trained.hyper)


def candles_of(parts: Parts, chosen: Chosen) -> pd.DataFrame:
    """Candles with splits and the market's return, without those found to be data errors."""
    candles = read_candles(parts, chosen)
    symbols = sorted(candles["symbol"].unique())
    wrong = data_errors(parts.warehouse, symbols, parts.watch.interval, parts.run.as_of)
    if len(wrong):
        candles = candles[~pd.MultiIndex.from_frame(candles[["symbol", "ts"]]).isin(wrong)]
    return with_market(candles, parts.calendars)


def embargo(recipe: Recipe) -> int:
    """Bars between training and held-out time: the context of the features, and the model's."""
    known = [features.FEATURES[name] for name in recipe.features]
    local = max((f.context for f in known if f.kind == "local"), default=0)
    carried = CARRIED_MEMORY if any(f.kind == "carried" for f in known) else 0
    return max(local, carried) + getattr(recipe.detector, "window", 1)


def _held_out(
    parts: Parts,
    registry: Registry,
    trained: Trained,
    recipe: Recipe,
    seen: FeaturePanel,
    candles: pd.DataFrame,
    wanted: Wanted,
    cut: Split,
) -> Contest:
    """The model alone against the plain z-score, its untrained twin, and the champion."""
    budget = parts.ensemble.alerts_per_year
    judges = {
        CHALLENGER: Ensemble((), budget, 1, trained),
        PLAIN: Ensemble((PLAIN,), budget, 1),
        TWIN: Ensemble((), budget, 1, untrained_twin(trained, recipe, seen)),
    }
    since = cut.since
    champion = registry.load(CHAMPION)
    if champion and not unfit(champion, parts.watch.interval) and not _is_same(champion, trained):
        judges[CHAMPION] = Ensemble((), budget, 1, champion)
        since = max(since, champion.until)
    trials = Trials(
        calendars=parts.calendars,
        interval=parts.watch.interval,
        seed=wanted.chosen.seed,
        rounds=wanted.rounds,
    )
    return contest(judges, _some(candles, wanted.chosen.seed), trials, since, parts.progress)


def _is_same(one: Trained, other: Trained) -> bool:
    return to_files(one) == to_files(other)


def _some(candles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The candles of so many instruments, drawn by the seed, as a contest needs."""
    symbols = sorted(candles["symbol"].unique())
    bars_each = max(1, len(candles) // len(symbols))
    n = min(CONTEST_INSTRUMENTS, max(LEAST_MEMBERS, CONTEST_BARS // bars_each))
    if len(symbols) <= n:
        return candles
    drawn = np.random.default_rng([seed, 6]).choice(symbols, n, replace=False)
    return candles[candles["symbol"].isin(drawn)]


def _unseen(panel: FeaturePanel, trained: Trained, cut: Split) -> Array:
    """The scores of all held-out bars, (n,)."""
    scores = trained.score_any(panel.x, panel.symbols)
    with np.errstate(invalid="ignore"):
        held: Array = scores[panel.ts >= naive(cut.since)]
    return held[np.isfinite(held)]


def _stability(
    recipe: Recipe,
    detector: Any,
    scaler: Scaler,
    panel: FeaturePanel,
    trained: Trained,
    cut: Split,
    parts: Parts,
) -> float:
    """Rank correlation of held-out scores with those of a fit on the earlier training bars."""
    times = np.unique(panel.ts[panel.ts <= naive(cut.until)])
    earlier = panel.until(pd.Timestamp(times[int(EARLIER * (len(times) - 1))], tz="UTC"))
    other = fit(recipe, detector, earlier, scaler, parts.progress)
    scores = [each.score_any(panel.x, panel.symbols) for each in (trained, other)]
    with np.errstate(invalid="ignore"):
        both = np.isfinite(scores[0]) & np.isfinite(scores[1]) & (panel.ts >= naive(cut.since))
    ranks = pd.DataFrame({"own": scores[0][both], "other": scores[1][both]}).rank()
    return float(ranks["own"].corr(ranks["other"]))


def _figures(held: Contest, events: pd.DataFrame, parts: Parts) -> dict[str, float]:
    own = held.figures[CHALLENGER]
    dated = dated_recall(held.told[CHALLENGER], _since(events, held.since), parts.calendars)
    return {
        "recall_planted": own["recall"],
        **{f"recall_{kind}": value for kind, value in own["by_kind"].items()},
        "recall_events": dated["recall"],
        "n_events": float(dated["n"]),
        "alerts_per_year_stated": held.alerts_per_year,
        "alerts_per_year_realised": own["realised"],
        "delay_bars": own["delay_bars"],
        "n_plants": float(held.n_plants),
        **{f"recall_of_{_key(name)}": f["recall"] for name, f in held.figures.items()},
        **{f"lead_over_{_key(name)}": lead.mean for name, lead in held.leads.items()},
        **{f"lead_over_{_key(name)}_low": lead.low for name, lead in held.leads.items()},
    }


def _key(name: str) -> str:
    return name.replace(" ", "_")


def _since(events: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    return events[pd.to_datetime(events["date"]) >= since.tz_convert(None)]


def _params(
    trained: Trained, recipe: Recipe, wanted: Wanted, cut: Split, candles: pd.DataFrame
) -> dict[str, Any]:
    return {
        "detector": trained.detector,
        **{f"hyper.{key}": value for key, value in trained.hyper.items()},
        "interval": trained.interval,
        "features": ",".join(trained.features)[:490],
        "features_version": trained.features_version,
        "code_version": trained.code_version,
        "is_pooled": recipe.is_pooled,
        "is_tuned": recipe.is_tuned,
        "n_instruments": int(candles["symbol"].nunique()),
        "n_bars": len(candles),
        "data_sha256": _digest(candles),
        "first": cut.first.isoformat(),
        "until": cut.until.isoformat(),
        "held_out_since": cut.since.isoformat(),
        "last": cut.last.isoformat(),
        "embargo_bars": cut.n_embargo,
        "share": wanted.share,
        "seed": wanted.chosen.seed,
    }


def _digest(candles: pd.DataFrame) -> str:
    """A hash over all that training read."""
    ordered = candles.sort_values(["symbol", "ts"], kind="stable")
    hashed = pd.util.hash_pandas_object(ordered, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()


def _pictures(panel: FeaturePanel, trained: Trained, cut: Split, held: Contest) -> dict[str, bytes]:
    scores = trained.score_any(panel.x, panel.symbols)
    whole = np.isfinite(scores) & ~np.isnan(panel.x).any(axis=2)
    with np.errstate(invalid="ignore"):
        seen, unseen = panel.ts <= naive(cut.until), panel.ts >= naive(cut.since)
    by_year = realised_rates(held.told[CHALLENGER])["by_year"]
    rows = trained.scaler(panel.x[whole & unseen])
    group = trained.group(rows)
    return {
        "scores.png": model_charts.distribution_png(scores[whole & seen], scores[whole & unseen]),
        "stated_and_realised.png": charts.rate_png(
            [int(year) for year in by_year],
            [each["rate"] for each in by_year.values()],
            [held.alerts_per_year] * len(by_year),
        ),
        "map.png": model_charts.map_png(rows, scores[whole & unseen], group),
        "recall.png": model_charts.recall_png(
            {name: each["by_kind"] for name, each in held.figures.items()}
        ),
    }


def _example(seen: FeaturePanel, names: tuple[str, ...]) -> pd.DataFrame:
    rows = seen.x.reshape(-1, len(names))
    whole = rows[~np.isnan(rows).any(axis=1)]
    return pd.DataFrame(whole[:: max(1, len(whole) // 5)][:5], columns=list(names))


def _json(value: Any) -> str:
    import json

    from components.steps.evaluate import plain

    return json.dumps(plain(value), indent=1) + "\n"
