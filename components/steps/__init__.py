"""The steps of a run, in the order in which ``main.py`` takes them."""

from components.steps.backfill import backfill
from components.steps.close import close
from components.steps.comparing import compare
from components.steps.features import features
from components.steps.gather import fetch, load, plan, refine
from components.steps.judging import judge, keep, recall, record
from components.steps.market import market
from components.steps.parts import Parts, Watch
from components.steps.rebuild import replay
from components.steps.retention import retire
from components.steps.tell import tell

__all__ = [
    "Parts",
    "Watch",
    "backfill",
    "close",
    "compare",
    "features",
    "fetch",
    "judge",
    "keep",
    "load",
    "market",
    "plan",
    "recall",
    "record",
    "refine",
    "replay",
    "retire",
    "tell",
]
