"""Bins of a day in the operator's time zone: where each begins and ends, in UTC.

A bin covers [start, end) and is labelled by its start on the operator's clock: with 2h bins
00:00, 02:00, 04:00 ... of every local day. When clocks go forward, a bin whose label the clock
skips starts at the jump, and one that would have no length is none. When they go back, the bin
that holds the repeated hour is that much longer; bins that are repeated whole (an hour of 1h
bins) are bins of their own. Every instant is in exactly one bin.
"""

import re
from datetime import UTC, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from components.errors import SettingsError

DAY: Final = pd.Timedelta(days=1)
UNITS: Final = {"m": pd.Timedelta(minutes=1), "h": pd.Timedelta(hours=1), "d": DAY}

COLUMNS: Final = ["series", "ts", "value"]


@lru_cache(maxsize=64)
def bin_length(interval: str) -> pd.Timedelta:
    """How long a bin is on the clock: ``15m``, ``2h``, ``1d``, any whole part of a day.

    Raises
    ------
    SettingsError
        When the text is no interval, or does not divide a day.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})([mhd])", interval)
    length = int(match[1]) * UNITS[match[2]] if match else None
    if length is None or DAY % length != pd.Timedelta(0):
        raise SettingsError(
            f"bins of {interval!r} do not divide a day. Set TREMOR_INTERVAL to one that does: "
            "15m, 30m, 1h, 2h, 4h, 6h, 12h or 1d."
        )
    return length


@lru_cache(maxsize=64)
def zone_named(name: str) -> ZoneInfo:
    """Open a time zone: ``Europe/Berlin``, ``UTC``.

    Raises
    ------
    SettingsError
        When there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            f"no time zone is called {name[:40]!r}. Write it like Europe/Berlin, "
            "America/Sao_Paulo or UTC (TREMOR_TIME_ZONE, TREMOR_MEASURES_TIMES)."
        ) from None


def bin_start(ts: pd.DatetimeIndex, interval: str, zone: str) -> pd.DatetimeIndex:
    """Tell in which bin each instant lies: the bin's start, UTC.

    Parameters
    ----------
    ts : DatetimeIndex
        Instants with a time zone, in any order; none NaT.
    interval, zone : str
        The bins' length on the clock and the operator's time zone.

    Raises
    ------
    SettingsError
        When the interval does not divide a day, or the zone is unknown.
    """
    edges = _edges(_days_near(ts, zone), interval, zone)
    return edges[edges.searchsorted(ts.as_unit("us"), side="right") - 1] if len(ts) else edges


def bin_end(starts: pd.DatetimeIndex, interval: str, zone: str) -> pd.DatetimeIndex:
    """Tell where the bins that start at ``starts`` end: where the next ones start, UTC."""
    edges = _edges(_days_near(starts, zone), interval, zone)
    return edges[edges.searchsorted(starts.as_unit("us"), side="right")] if len(starts) else edges


def expected_bins(
    since: pd.Timestamp, until: pd.Timestamp, interval: str, zone: str
) -> pd.DatetimeIndex:
    """List the starts of the bins that lie wholly inside [since, until), UTC, oldest first."""
    if until <= since:
        return pd.DatetimeIndex([], tz="UTC").as_unit("us")
    first, last = _days_near(pd.DatetimeIndex([since, until]), zone)[[0, -1]]
    edges = _edges(pd.date_range(first, last, unit="us"), interval, zone)
    return edges[:-1][(edges[:-1] >= since) & (edges[1:] <= until)]


def last_closed_end(as_of: pd.Timestamp, interval: str, zone: str) -> pd.Timestamp:
    """Tell the end of the last bin that closed at or before ``as_of``, UTC."""
    return bin_start(pd.DatetimeIndex([as_of]), interval, zone)[0]


def month_edges(since: pd.Timestamp, until: pd.Timestamp, zone: str) -> pd.DatetimeIndex:
    """List the starts of the operator's months, UTC: from the one that holds ``since`` on.

    The last one is the first at or after ``until``, so neighbours make months that cover
    [since, until).
    """
    zone_named(zone)
    first = since.tz_convert(zone).tz_localize(None).normalize().replace(day=1)
    last = until.tz_convert(zone).tz_localize(None) + pd.Timedelta(days=32)
    edges = _instants(pd.date_range(first, last, freq="MS", unit="us"), zone, first_time=True)
    return edges[: int(edges.searchsorted(until, side="left")) + 1]


def labels(ts: pd.DatetimeIndex, zone: str) -> pd.Index:
    """Name bins by their start on the operator's clock: ``2024-03-31 03:00+0200``."""
    zone_named(zone)
    return ts.tz_convert(zone).strftime("%Y-%m-%d %H:%M%z")


def complete(
    measures: pd.DataFrame,
    expected: pd.DatetimeIndex,
    series: tuple[str, ...] = (),
    fill: float | None = 0.0,
) -> pd.DataFrame:
    """Give every series a row in every expected bin.

    Parameters
    ----------
    measures : DataFrame
        series, ts and value, one row a series and bin; further columns are left out.
    expected : DatetimeIndex
        The bins that there should be, UTC; rows outside them are dropped.
    series : tuple of str, optional
        Series that are known from elsewhere (an earlier month) and may lack rows here.
    fill : float or None, default=0.0
        The value of a bin without a row; None adds no row.

    Returns
    -------
    DataFrame
        series, ts, value, ordered by series and ts.
    """
    measures = measures.loc[pd.DatetimeIndex(measures["ts"]).isin(expected), COLUMNS]
    if fill is None:
        return measures.sort_values(["series", "ts"], kind="stable").reset_index(drop=True)
    names = sorted({*series, *measures["series"]})
    ts = expected.as_unit("us")
    grid = pd.MultiIndex.from_product([pd.Index(names, dtype="str"), ts], names=["series", "ts"])
    values = measures.set_index(["series", "ts"])["value"].reindex(grid, fill_value=fill)
    return values.astype(float).reset_index()


def _days_near(ts: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """The local days of instants, each with the day before and the two after it."""
    zone_named(zone)
    days = pd.DatetimeIndex(ts.tz_convert(zone).tz_localize(None).normalize().unique())
    # Two after it: there are zones that once skipped a whole day.
    near = days.to_numpy()[:, None] + np.arange(-1, 3) * DAY.to_timedelta64()
    return pd.DatetimeIndex(np.unique(near)).as_unit("us")


def _edges(days: pd.DatetimeIndex, interval: str, zone: str) -> pd.DatetimeIndex:
    """The starts of all bins of local days, in order."""
    length = bin_length(interval)
    steps = np.arange(DAY // length) * length.to_timedelta64()
    walls = pd.DatetimeIndex((days.to_numpy()[:, None] + steps[None, :]).ravel())
    first = _instants(walls, zone, first_time=True)
    second = _instants(walls, zone, first_time=False)
    # A bin begins twice only when all of it passes before the clock goes back.
    is_repeated = (second - first) >= length
    edges = pd.DatetimeIndex(first.append(second[is_repeated]))
    return edges.unique().sort_values()


def _instants(walls: pd.DatetimeIndex, zone: str, *, first_time: bool) -> pd.DatetimeIndex:
    """Times on the local clock as instants: a skipped one at the jump, of a repeated one either."""
    ambiguous = np.full(len(walls), first_time)
    local = walls.tz_localize(zone, ambiguous=ambiguous, nonexistent="NaT")
    found = local.tz_convert("UTC").as_unit("us")
    skipped = np.flatnonzero(np.asarray(found.isna()) & np.asarray(walls.notna())).tolist()
    if len(skipped) == 0:
        return found
    # pandas' shift_forward goes an hour too far where the clock jumps by half an hour.
    filled = found.tz_localize(None).to_numpy(copy=True)
    filled[skipped] = [_jump(walls[place], zone).to_datetime64() for place in skipped]
    return pd.DatetimeIndex(filled, tz="UTC").as_unit("us")


@lru_cache(maxsize=4096)
def _jump(wall: pd.Timestamp, zone: str) -> pd.Timestamp:
    """The instant at which the local clock jumped over ``wall``, to the second: UTC, naive."""
    local, wanted = zone_named(zone), wall.to_pydatetime()
    low, high = (wanted.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (1, 0))
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        is_before = middle.astimezone(local).replace(tzinfo=None) < wanted
        low, high = (middle, high) if is_before else (low, middle)
    return pd.Timestamp(high.replace(tzinfo=None)).round("s")


def instants(walls: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Times on a local clock as instants, UTC.

    A time that the clock skipped is the jump; of one that it repeated, the first is taken.
    """
    zone_named(zone)
    return _instants(walls, zone, first_time=True)
