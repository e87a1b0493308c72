"""Catching up: what was missed while no stream was at work, fetched before it begins."""

import pandas as pd

from components.steps.gather import fetch, load, plan, refine
from components.steps.parts import Parts


def catch_up(parts: Parts, as_of: pd.Timestamp) -> None:
    """Fetch and load the bars that are missing, as the daily run does; failures are noted."""
    for wanted in plan(parts, as_of):
        load(parts, refine(parts, fetch(parts, wanted)))
