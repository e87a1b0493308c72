"""Gaps beside candles: how many bars should have come since the bar before. Pure."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.sessions import ALWAYS_OPEN, Calendars, length

Counts = npt.NDArray[np.int64]

DAY = pd.Timedelta(days=1)


def with_steps(
    calendars: Calendars,
    interval: str,
    rows: pd.DataFrame,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> pd.DataFrame:
    """Add ``steps``: expected bars since the bar before, this one included; 1 on most bars.

    Nights, weekends and holidays of an exchange hold no expected bar, so they are no gap. A bar
    that its calendar does not expect counts as the next one after the last that it does. An
    instrument's first bar has 1.

    Parameters
    ----------
    rows : DataFrame
        symbol, ts; a row a bar.
    after : Series, optional
        The last bar of each instrument that was judged already; NaT before the first.
    """
    rows = rows.sort_values(["symbol", "ts"], kind="stable")
    before = rows.groupby("symbol", sort=False)["ts"].shift()
    if after is not None:
        before = before.fillna(rows["symbol"].map(after))
    follows = before.notna().to_numpy()
    calendar = rows["symbol"].map({s: calendars.of(s) for s in rows["symbol"].unique()})
    steps = np.ones(len(rows), dtype=np.int64)
    for name in calendar[follows].unique():
        at = np.flatnonzero(follows & (calendar == name).to_numpy())
        ts, since = (pd.DatetimeIndex(each.iloc[at]) for each in (rows["ts"], before))
        symbol = str(rows["symbol"].iloc[at[0]])
        steps[at] = steps_behind(calendars, interval, symbol, since, ts)
    return rows.assign(steps=steps)


def steps_behind(
    calendars: Calendars,
    interval: str,
    symbol: str,
    before: pd.DatetimeIndex,
    ts: pd.DatetimeIndex,
) -> Counts:
    """How many bars are expected after ``before`` and up to ``ts``, of one calendar; at least 1."""
    step = length(interval)
    # The calendars of exchanges list days, not weeks of them.
    if calendars.of(symbol) == ALWAYS_OPEN or step > DAY:
        return np.maximum(np.asarray(np.round((ts - before) / step), dtype=np.int64), 1)
    # Whole days, so that groups of instruments ask for the same list and find it kept.
    since, until = before.min().floor("D"), ts.max().floor("D") + DAY
    due = calendars.expected(symbol, interval, since, until)
    first, last = (due.searchsorted(each, side="right") for each in (before, ts))
    return np.maximum(np.asarray(last - first, dtype=np.int64), 1)
