"""Bars as their gaps are counted: regular hours alone, by the calendars of a run."""

import pandas as pd

from components import gaps
from components.steps.parts import Parts


def regular(candles: pd.DataFrame) -> pd.DataFrame:
    """Leave out the bars of extended hours: few trades make them, so none is judged."""
    return candles[candles["hours"].ne("extended")]


def with_steps(
    parts: Parts, rows: pd.DataFrame, after: "pd.Series[pd.Timestamp] | None" = None
) -> pd.DataFrame:
    """Add ``steps``: expected bars since the bar before; see ``gaps.with_steps``."""
    return gaps.with_steps(parts.calendars, parts.watch.interval, rows, after)
