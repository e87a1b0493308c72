"""Precision against recall when more or fewer bars are told, and each dated event by itself."""

from typing import Any

import numpy as np
import pandas as pd

from components.evaluation.dated import dated_recall
from components.evaluation.finding import Trial
from components.evaluation.told import Told
from components.panels import Array
from components.sessions import Calendars

# A line of so many points shows all that a screen can.
MOST_POINTS = 80


def precision_recall(trials: list[Trial]) -> dict[str, list[float]]:
    """What share of plants is found, and which share of what is told then are plants.

    A plant counts once, by its oddest bar; what a fitting data check kept aside is found first
    of all. A bar outside of all plants is a false alarm when it is told.

    Returns
    -------
    dict
        ``recall`` (rising) and ``precision``, shares of 1, as many of each.
    """
    plants = np.concatenate([_plants(trial) for trial in trials])
    outside = np.sort(np.concatenate([_outside(trial) for trial in trials]))
    told = np.sort(plants[~np.isneginf(plants)])[::-1]
    if not len(told):
        return {"recall": [], "precision": []}
    # Of plants that are equally odd none is told without the others.
    n_found = len(told) - np.searchsorted(told[::-1], told, side="left")
    n_false = len(outside) - np.searchsorted(outside, told, side="left")
    recall, precision = n_found / len(plants), n_found / (n_found + n_false)
    place = np.unique(np.linspace(0, len(told) - 1, MOST_POINTS).astype(np.int64))
    return {"recall": recall[place].tolist(), "precision": precision[place].tolist()}


def _plants(trial: Trial) -> Array:
    """The highest surprise within each plant: -inf where there was none, inf if kept aside."""
    told = trial.told
    spans, _ = trial.windows
    highest = [
        np.nan_to_num(told.surprise[series, start:stop], nan=-np.inf).max(initial=-np.inf)
        for series, start, stop in spans
    ]
    aside = trial.plants["is_aside"].to_numpy(dtype=bool)
    return np.where(aside, np.inf, np.array(highest, dtype=float))


def _outside(trial: Trial) -> Array:
    _, within = trial.windows
    scores: Array = trial.told.surprise[trial.told.is_decided & ~within]
    return scores


def events_told(told: Told, events: pd.DataFrame, calendars: Calendars) -> list[dict[str, Any]]:
    """Each dated event on which there is a verdict or might be: symbol, date, what, outcome.

    ``outcome`` is found, lost or undecided, by the rule of ``dated_recall``; events of
    instruments or days that are not held are left out.
    """
    each = []
    for row in range(len(events)):
        one = events.iloc[row : row + 1]
        found = dated_recall(told, one, calendars)
        if found["n"] + found["n_undecided"] == 0:
            continue
        outcome = "undecided" if not found["n"] else "lost" if found["missed"] else "found"
        date = pd.Timestamp(one["date"].iloc[0])
        each.append(
            {
                "symbol": str(one["symbol"].iloc[0]),
                "date": f"{date:%Y-%m-%d}",
                "what": str(one["what"].iloc[0]),
                "outcome": outcome,
            }
        )
    return each
