"""Rows of measures as a panel of bins on the operator's clock."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from components import bins
from components.errors import SettingsError
from components.forecasters.base import BinPanel
from components.sessions import require_calendars, rests

# All series of a data set together, where it has several.
TOTAL = "total"

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def holidays(
    said: Sequence[str], first: pd.Timestamp, last: pd.Timestamp, zone: str = "UTC"
) -> frozenset[pd.Timestamp]:
    """The days, as dates, on which nobody works: days that are named, and weekdays of rest.

    Parameters
    ----------
    said : sequence of str
        Dates like 2024-12-25, and names of exchange calendars like XLON.
    first, last : Timestamp
        Calendars are asked of the days of ``zone`` that hold these instants, and between.

    Raises
    ------
    SettingsError, UnknownName
        A text that is neither.
    """
    dates, calendars = (
        [s for s in said if DATE.fullmatch(s)],
        [s for s in said if not DATE.fullmatch(s)],
    )
    require_calendars(calendars)
    days = pd.to_datetime(pd.Series(dates, dtype="str"), errors="coerce", format="%Y-%m-%d")
    if days.isna().any():
        wrong = dates[int(np.flatnonzero(days.isna())[0])]
        raise SettingsError(f"TREMOR_HOLIDAYS: {wrong} is no date. Write it as 2024-12-25.")
    found = set(days)
    since, until = (at.tz_convert(zone).tz_localize(None).normalize() for at in (first, last))
    for name in calendars:
        found |= set(rests(name, since, until + pd.Timedelta(days=1)))
    return frozenset(found)


def clock(
    starts: pd.DatetimeIndex,
    interval: str,
    zone: str,
    resting: frozenset[pd.Timestamp] = frozenset(),
) -> BinPanel:
    """The bins that start at ``starts`` without series: their slots, lengths and holidays."""
    length = bins.bin_length(interval)
    n_day = int(bins.DAY // length)
    wall = starts.tz_convert(zone).tz_localize(None)
    date = wall.normalize()
    slot = np.minimum(((wall - date) // length).to_numpy(dtype=np.int64), n_day - 1)
    ends = bins.bin_end(starts, interval, zone)
    return BinPanel(
        value=np.full((0, len(starts)), np.nan),
        day_slot=slot,
        week_slot=np.asarray(wall.day_of_week, dtype=np.int64) * n_day + slot,
        length=np.asarray((ends - starts) / length, dtype=float),
        is_holiday=np.asarray(date.isin(list(resting)), dtype=np.bool_),
        n_day=n_day,
    )


def panel_of(
    rows: pd.DataFrame, series: Sequence[str], on: BinPanel, ts: pd.DatetimeIndex
) -> BinPanel:
    """The values of ``series`` in the bins ``ts``, NaN where there is no row.

    Parameters
    ----------
    rows : DataFrame
        series, ts, value; one row a series and bin.
    on : BinPanel
        The bins, as ``clock`` gives them.
    """
    value = np.full((len(series), len(ts)), np.nan)
    at = pd.Index(series).get_indexer(pd.Index(rows["series"]))
    when = ts.get_indexer(pd.DatetimeIndex(rows["ts"]))
    is_in = (at >= 0) & (when >= 0)
    value[at[is_in], when[is_in]] = rows["value"].to_numpy(dtype=float)[is_in]
    return BinPanel(value, on.day_slot, on.week_slot, on.length, on.is_holiday, on.n_day)
