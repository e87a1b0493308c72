"""All of the evaluation, of a judge and of its baselines, on the same candles."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from components.ensemble import Ensemble
from components.errors import NotEnoughBars
from components.evaluation.dated import dated_recall
from components.evaluation.finding import Trial, aside_within, planted_scores, with_aside
from components.evaluation.intake import Admitted, admit
from components.evaluation.labelled import labelled_bars
from components.evaluation.null import quiet_market
from components.evaluation.plants import planted
from components.evaluation.realised import realised_rates
from components.evaluation.study import event_study
from components.evaluation.told import Progress, Told, at_random, tell, unseen
from components.sessions import Calendars

# Rules that every judge is held against: the base system's, |z| at the same budget, a peer's.
BASELINES = ("amplitude_zscore", "volatility_zscore", "dual_stream")
RANDOM = "random"

NO_EVENTS = pd.DataFrame({"symbol": [], "date": [], "what": []})

NO_LABELS = pd.DataFrame(
    {"symbol": [], "ts": pd.DatetimeIndex([], tz="UTC"), "label": []},
)

_Bench = list[tuple[Admitted, pd.DataFrame]]


@dataclass(frozen=True)
class Trials:
    """What the evaluation is made with.

    Parameters
    ----------
    calendars : Calendars
        Of the instruments.
    interval : str
        Length of a bar.
    events : DataFrame
        symbol, date, what.
    labels : DataFrame
        symbol, ts, label: what people found alerts to be.
    seed : int
        Of the plants, the random alerts and the intervals.
    rounds : int
        How many panels are planted, each otherwise; more narrow the shares down.
    """

    calendars: Calendars = field(default_factory=Calendars)
    interval: str = "1d"
    events: pd.DataFrame = field(default_factory=lambda: NO_EVENTS)
    labels: pd.DataFrame = field(default_factory=lambda: NO_LABELS)
    seed: int = 0
    rounds: int = 1


def assess(
    judge: Ensemble,
    candles: pd.DataFrame,
    trials: Trials | None = None,
    *,
    baselines: tuple[str, ...] = BASELINES,
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Hold a judge, and its baselines beside it, against what is known to be true.

    Parameters
    ----------
    judge : Ensemble
        With its budget; the baselines get the same.
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split; one row a (symbol, ts).

    Returns
    -------
    dict
        ``realised``, ``planted``, ``events``, ``event_study``, ``labels``; ``baselines`` with
        the same blocks by name; ``panel``, what it was measured on; NaN where nothing was there.

    Raises
    ------
    NotEnoughBars
        When the judge reaches no verdict.
    """
    trials = trials or Trials()
    clean = admit(candles, trials.calendars, trials.interval)
    told = _tell(judge, clean, trials, progress, "judging")
    if not told.is_decided.any():
        longest = int(candles.groupby("symbol").size().max()) if len(candles) else 0
        raise NotEnoughBars("evaluate", judge.bars_before_verdict + 1, longest)
    benches = _benches(candles, told, trials)
    panels = [_tell(judge, bench[0], trials, progress, "judging plants") for bench in benches]
    result = _block(told, panels, benches, trials)
    others: dict[str, Any] = {}
    for name in baselines:
        other = replace(judge, detectors=(name,), trained=None)
        if other != judge:
            plain = _tell(other, clean, trials, progress, f"{name}")
            those = [_tell(other, b[0], trials, progress, f"{name}, plants") for b in benches]
            others[name] = _block(plain, those, benches, trials)
        else:
            others[name] = {key: value for key, value in result.items() if key != "baselines"}
    budget = judge.alerts_per_year
    dice = [at_random(panel, budget, trials.seed + n + 1) for n, panel in enumerate(panels)]
    others[RANDOM] = _block(at_random(told, budget, trials.seed), dice, benches, trials)
    return {
        "judge": list(judge.detectors),
        "alerts_per_year": budget,
        "panel": _panel(clean, told, trials),
        **result,
        "baselines": others,
    }


def assess_null(
    judge: Ensemble,
    *,
    n_series: int = 40,
    n_bars: int = 3000,
    seed: int = 0,
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Stated and realised rate on a simulated market without anomalies."""
    candles = quiet_market(n_series, n_bars, seed)
    told = tell(judge, candles, Calendars(), progress=progress, what="judging the quiet market")
    return {
        "judge": list(judge.detectors),
        "alerts_per_year": judge.alerts_per_year,
        "panel": {"n_instruments": n_series, "n_bars": len(candles), "seed": seed},
        "realised": realised_rates(told),
    }


def _tell(
    judge: Ensemble, admitted: Admitted, trials: Trials, progress: Progress, what: str
) -> Told:
    return tell(judge, admitted.candles, trials.calendars, trials.interval, progress, what)


def _benches(candles: pd.DataFrame, told: Told, trials: Trials) -> _Bench:
    """Planted panels after the data checks, each with its plants."""
    live = {
        symbol: pd.DatetimeIndex(told.ts[series][told.is_decided[series]], tz="UTC")
        for series, symbol in enumerate(told.symbols)
    }
    benches = []
    for n in range(trials.rounds):
        changed, plants = planted(candles, live, trials.seed + 1000 * n)
        admitted = admit(changed, trials.calendars, trials.interval)
        benches.append((admitted, with_aside(plants, admitted.aside)))
    return benches


def _block(told: Told, panels: list[Told], benches: _Bench, trials: Trials) -> dict[str, Any]:
    pairs = [
        Trial(panel, plants, aside_within(plants, admitted.aside))
        for panel, (admitted, plants) in zip(panels, benches, strict=True)
    ]
    return {
        "realised": realised_rates(told),
        "planted": planted_scores(pairs),
        "events": dated_recall(told, trials.events, trials.calendars),
        "event_study": event_study(told, trials.seed),
        "labels": labelled_bars(told, trials.labels),
    }


def _panel(clean: Admitted, told: Told, trials: Trials) -> dict[str, Any]:
    decided = told.ts[told.is_decided]
    return {
        "n_instruments": len(told.symbols),
        "n_judged": int(told.is_decided.any(axis=1).sum()),
        "n_bars": len(clean.candles),
        "n_decided": len(decided),
        "n_kept_aside": len(clean.aside),
        "first": np.datetime_as_string(decided.min(), unit="D"),
        "last": np.datetime_as_string(decided.max(), unit="D"),
        "interval": trials.interval,
        "seed": trials.seed,
        "rounds": trials.rounds,
    }
