"""Train: from the warehouse's candles to a registered challenger, told with its figures."""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components import features
from components.ensemble import Ensemble
from components.errors import ModelError
from components.evaluation import Trials
from components.evaluation.contest import Contest, contest
from components.evaluation.told import with_market
from components.market import LEAST_MEMBERS
from components.model_files import to_files
from components.promotion import CHALLENGER, CHAMPION, PLAIN, TWIN, Condition, conditions, distinct
from components.registry import Registry, Training, Version
from components.steps.evaluate import Chosen, read_candles
from components.steps.labels import data_errors
from components.steps.parts import Parts
from components.steps.training_record import (
    Made,
    example_of,
    figures_of,
    params_of,
    pictures_of,
    tables_of,
)
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
    trainable,
    tune,
    untrained_twin,
)

# A contest over more instruments, or more bars, takes longer and says no more.
CONTEST_INSTRUMENTS, CONTEST_BARS = 60, 1_000_000

# Tags of a version: what its plants were drawn by. Promotion draws the same: nobody draws until
# a contest turns out well.
SEED, ROUNDS = "seed", "rounds"

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
    figures: Mapping[str, float]
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

    made = Made(replace(recipe, detector=detector), trained, panel, candles, cut)
    champion = registry.load(CHAMPION)
    held = _held_out(parts, champion, made, wanted)
    asked = conditions(held, distinct(made.unseen), is_champion=_is_same(champion, trained))
    figures = {
        **figures_of(made, held, events, parts.calendars),
        "stability": _stability(made, scaler, parts),
        "fit_seconds": fitted - started,
        "seconds": time.perf_counter() - started,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }
    drawn = {SEED: str(wanted.chosen.seed), ROUNDS: str(wanted.rounds)}
    training = Training(
        trained=trained,
        params={**params_of(made), "share": wanted.share, **drawn},
        figures=figures,
        pictures=pictures_of(made, held),
        tables=tables_of(tried, held, asked),
        example=example_of(seen, recipe.features),
        tags={
            "held_out_since": cut.since.isoformat(),
            "is_pooled": str(recipe.is_pooled),
            **drawn,
        },
    )
    version = registry.record(training)
    return Outcome(version, replace(trained, version=version), cut, figures, held, asked)


def judge_challenger(
    parts: Parts, registry: Registry, version: Version, symbols: tuple[str, ...]
) -> tuple[Condition, ...]:
    """What promotion asks of a registered model, on the candles held now.

    The plants are drawn by the seed of its training.

    Raises
    ------
    SettingsError, NotEnoughBars, ModelError
        As ``train``.
    """
    trained = registry.usable(version)
    seed, rounds = (int(version.tags.get(tag, usual)) for tag, usual in ((SEED, 0), (ROUNDS, 3)))
    wanted = Wanted(Chosen(symbols, seed=seed), rounds=rounds)
    candles = candles_of(parts, wanted.chosen)
    panel = feature_panel(candles, parts.calendars, trained.features, parts.progress)
    recipe = Recipe(
        detector=type(trainable(trained.detector))(**trained.hyper),
        name=trained.detector,
        interval=trained.interval,
        features=trained.features,
        is_pooled=trained.is_pooled,
    )
    made = Made(recipe, trained, panel, candles, _behind(trained, panel, embargo(recipe)))
    champion = registry.load(CHAMPION)
    held = _held_out(parts, champion, made, wanted)
    return conditions(held, distinct(made.unseen), is_champion=_is_same(champion, trained))


def _behind(trained: Trained, panel: FeaturePanel, n_embargo: int) -> Split:
    """The cut where a model's training ended.

    Raises
    ------
    ModelError
        Nothing is held behind it.
    """
    times = np.unique(panel.ts[~np.isnat(panel.ts)])
    behind = times[times > naive(trained.until)]
    if len(behind) <= n_embargo:
        raise ModelError(f"version {trained.version} was trained on all that is held")
    first, since, last = (
        pd.Timestamp(t, tz="UTC") for t in (times[0], behind[n_embargo], times[-1])
    )
    return Split(first, trained.until, since, last, n_embargo)


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


def _held_out(parts: Parts, champion: Trained | None, made: Made, wanted: Wanted) -> Contest:
    """The model alone against the plain z-score, its untrained twin, and the champion."""
    budget = parts.ensemble.alerts_per_year
    trained, since = made.trained, made.cut.since
    twin = untrained_twin(trained, made.recipe, made.panel.until(made.cut.until))
    judges = {
        CHALLENGER: Ensemble((), budget, 1, trained),
        PLAIN: Ensemble((PLAIN,), budget, 1),
        TWIN: Ensemble((), budget, 1, twin),
    }
    is_rival = champion is not None and not _is_same(champion, trained)
    if champion and is_rival and not unfit(champion, parts.watch.interval):
        judges[CHAMPION] = Ensemble((), budget, 1, champion)
        since = max(since, champion.until)
    trials = Trials(
        calendars=parts.calendars,
        interval=parts.watch.interval,
        seed=wanted.chosen.seed,
        rounds=wanted.rounds,
    )
    return contest(judges, _some(made.candles, trials.seed), trials, since, parts.progress)


def _is_same(one: Trained | None, other: Trained) -> bool:
    return one is not None and to_files(one) == to_files(other)


def _some(candles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The candles of so many instruments, drawn by the seed, as a contest needs."""
    symbols = sorted(candles["symbol"].unique())
    bars_each = max(1, len(candles) // len(symbols))
    n = min(CONTEST_INSTRUMENTS, max(LEAST_MEMBERS, CONTEST_BARS // bars_each))
    if len(symbols) <= n:
        return candles
    drawn = np.random.default_rng([seed, 6]).choice(symbols, n, replace=False)
    return candles[candles["symbol"].isin(drawn)]


def _stability(made: Made, scaler: Scaler, parts: Parts) -> float:
    """Rank correlation of held-out scores with those of a fit on the earlier training bars."""
    panel = made.panel
    times = np.unique(panel.ts[panel.ts <= naive(made.cut.until)])
    earlier = panel.until(pd.Timestamp(times[int(EARLIER * (len(times) - 1))], tz="UTC"))
    other = fit(made.recipe, made.recipe.detector, earlier, scaler, parts.progress)
    scores = made.scores, other.score_any(panel.x, panel.symbols)
    both = np.isfinite(scores[0]) & np.isfinite(scores[1]) & made.is_held_out
    ranks = pd.DataFrame({"own": scores[0][both], "other": scores[1][both]}).rank()
    return float(ranks["own"].corr(ranks["other"]))
