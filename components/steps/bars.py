"""Bars as they are judged: candles, and beside each what it is held against."""

import pandas as pd

from components.steps.gaps import regular, with_steps
from components.steps.known import met, raised
from components.steps.labels import doubted_bars
from components.steps.market import with_market
from components.steps.parts import Parts
from components.steps.splits import with_splits


def judged_bars(
    parts: Parts,
    candles: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> pd.DataFrame:
    """The candles that are judged, with ``split``, ``steps``, ``market`` and ``market_volume``.

    Bars of extended hours are left out, and those that a person found to be data errors: none is
    judged or remembered. Other labels change nothing: what was expected or confirmed did happen,
    and belongs to what later bars are compared with.

    Parameters
    ----------
    candles : DataFrame
        The latest versions known at ``as_of``; ``known_at`` becomes when the last became known
        of the candle and what stands beside it.
    after : Series, optional
        The last bar of each instrument that was judged already; NaT before the first.
    """
    rows = _without_errors(parts, regular(candles), as_of, after)
    if not len(rows):
        return rows
    rows = with_steps(parts, with_splits(parts, rows, as_of, after), after)
    return with_market(parts, rows, as_of)


def _without_errors(
    parts: Parts,
    rows: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None",
) -> pd.DataFrame:
    symbols, interval = list(rows["symbol"].unique()), parts.watch.interval
    said = doubted_bars(parts.warehouse, symbols, interval, as_of)
    if not len(said):
        return rows
    wrong = pd.MultiIndex.from_frame(said.loc[said["is_error"], ["symbol", "ts"]])
    rows = rows[~pd.MultiIndex.from_frame(rows[["symbol", "ts"]]).isin(wrong)]
    return raised(rows, met(said, rows, after))
