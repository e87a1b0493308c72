"""An evaluation as a piece of work: that of the command line, and what a picture asks beside."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from components.ensemble import Ensemble
from components.evaluation.assess import BASELINES
from components.evaluation.curve import events_told, precision_recall
from components.evaluation.finding import Trial, aside_within, with_aside
from components.evaluation.intake import admit
from components.evaluation.plants import planted
from components.evaluation.told import Told, tell
from components.settings import Settings
from components.steps import evaluate as steps
from components.steps.evaluate import Chosen
from components.steps.parts import Parts


def evaluate(parts: Parts, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate a part of what is held, and keep page and figures beside the runs' reports."""
    since = pd.Timestamp(asked["since"], tz="UTC") if asked.get("since") else None
    chosen = Chosen(
        settings.symbols,
        since,
        int(asked.get("subset", 0)),
        int(asked.get("seed", 0)),
        int(asked.get("rounds", 1)),
    )
    events = steps.shipped_events()
    result = steps.evaluate(parts, chosen, events)
    # Who judges is named whole: a champion votes beside the views.
    result["judge"] = list(parts.ensemble.seats)
    _add_curves(parts, chosen, events, result)
    html, figures = steps.write(parts, result, None)
    return {"words": f"figures: {figures}", "page": html, "run": parts.run.id}


def _add_curves(parts: Parts, chosen: Chosen, events: pd.DataFrame, result: dict[str, Any]) -> None:
    """Add to the figures each method's precision and recall, and each event by itself.

    The plants of the first round are those of the evaluation: the same candles and seed.
    """
    candles = steps.read_candles(parts, chosen)
    clean = admit(candles, parts.calendars, parts.watch.interval).candles
    told = _told(parts, parts.ensemble, clean, "judging again, for the curves")
    live = {
        symbol: pd.DatetimeIndex(told.ts[series][told.is_decided[series]], tz="UTC")
        for series, symbol in enumerate(told.symbols)
    }
    changed, plants = planted(candles, live, chosen.seed)
    admitted = admit(changed, parts.calendars, parts.watch.interval)
    plants, aside = with_aside(plants, admitted.aside), aside_within(plants, admitted.aside)
    blocks = {"": (parts.ensemble, result), **_others(parts.ensemble, result)}
    for name, (judge, block) in blocks.items():
        one = _told(parts, judge, admitted.candles, f"curve of {name or 'this judge'}")
        block["planted"]["curve"] = precision_recall([Trial(one, plants, aside)])
    result["events"]["each"] = events_told(told, events, parts.calendars)


def _others(judge: Ensemble, result: dict[str, Any]) -> dict[str, tuple[Ensemble, dict[str, Any]]]:
    baselines = result["baselines"]
    # A baseline judges by its own rule alone, whoever is champion.
    return {
        name: (replace(judge, detectors=(name,), trained=None), baselines[name])
        for name in BASELINES
        if name in baselines
    }


def _told(parts: Parts, judge: Ensemble, candles: pd.DataFrame, what: str) -> Told:
    return tell(judge, candles, parts.calendars, parts.watch.interval, parts.progress, what)
