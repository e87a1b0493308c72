"""What other settings would have told: votes are cast once, and decided anew at once. Pure.

The rate and the quorum enter the judgement only at its end (``Ensemble.decide``), so that years of
bars are decided anew in milliseconds.
"""

from components.what_if.counting import Counts, changes, counts, rates
from components.what_if.deciding import Outcome, Votes, decide, lived, told_bars, weighed
from components.what_if.known import MISSED, NOT_JUDGED, TOLD, events_of, fates, untold

__all__ = [
    "MISSED",
    "NOT_JUDGED",
    "TOLD",
    "Counts",
    "Outcome",
    "Votes",
    "changes",
    "counts",
    "decide",
    "events_of",
    "fates",
    "lived",
    "rates",
    "told_bars",
    "untold",
    "weighed",
]
