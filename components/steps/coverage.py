"""Which absent bars are known to be absent: the provider was asked, and has none."""

import numpy as np
import pandas as pd

from components.panels import Flags
from components.rows import is_intraday
from components.sessions import length
from components.steps.parts import Parts

# The complete replies that reach into a span, by instrument and first bar.
REPLIES = """
select symbol, since, least(until - interval '1 microsecond', known_at - %(step)s) as last
from raw_objects where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
  and status = 200 and until > %(first)s and known_at > %(first)s and known_at <= %(as_of)s
order by symbol, since
"""


def known_absent(parts: Parts, bars: pd.DataFrame, as_of: pd.Timestamp) -> Flags:
    """Tell of each absent bar whether a complete reply, given after its close, lacks it too.

    Minutes that were given up (``Warehouse.keep_minutes``) are known to be absent as well.
    Where such a bar means that data is missing, no other is; where it means that nobody traded,
    a session without any bar is missing all the same.

    Parameters
    ----------
    bars : DataFrame
        symbol, ts of bars that should exist and do not.
    """
    if bars.empty:
        return np.zeros(0, dtype=np.bool_)
    is_gone = given_up(parts, bars)
    if parts.source.traits.absent == "missing" or is_gone.all():
        return is_gone
    covered = _covered(parts, bars, as_of)
    if parts.source.traits.absent == "no trade":
        covered &= ~_is_empty_day(parts, bars, covered, as_of)
    return covered | is_gone


def given_up(parts: Parts, bars: pd.DataFrame) -> Flags:
    """Tell which bars the warehouse gave up, and would not store again."""
    since = parts.warehouse.minutes_since if is_intraday(parts.watch.interval) else None
    if since is None:
        return np.zeros(len(bars), dtype=np.bool_)
    is_gone: Flags = (bars["ts"] < since).to_numpy()
    return is_gone


def _covered(parts: Parts, bars: pd.DataFrame, as_of: pd.Timestamp) -> Flags:
    replies = parts.warehouse.query(
        REPLIES,
        {
            "source": parts.source.name,
            "interval": parts.watch.interval,
            "symbols": sorted(bars["symbol"].unique()),
            "first": bars["ts"].min().to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
            "step": length(parts.watch.interval).to_pytimedelta(),
        },
    )
    covered = np.zeros(len(bars), dtype=np.bool_)
    place = bars.groupby("symbol").indices if len(replies) else {}
    for symbol, own in replies.groupby("symbol"):
        # The last bar that is in the replies which begin by a bar.
        reach = np.maximum.accumulate(_us(own["last"]))
        ts = _us(bars["ts"].iloc[place[symbol]])
        begun = np.searchsorted(_us(own["since"]), ts, side="right") - 1
        covered[place[symbol]] = (begun >= 0) & (reach[begun.clip(0)] >= ts)
    return covered


def _is_empty_day(parts: Parts, bars: pd.DataFrame, covered: Flags, as_of: pd.Timestamp) -> Flags:
    """Tell which covered bars are of a day of which no bar at all is held."""
    found = np.zeros(len(bars), dtype=np.bool_)
    if not covered.any():
        return found
    held = parts.warehouse.query(
        "select symbol, date_trunc('day', ts, 'UTC') as day from all_candles "
        "where symbol = any(%(symbols)s) and interval = %(interval)s and ts >= %(first)s "
        "and known_at <= %(as_of)s group by 1, 2",
        {
            "symbols": sorted(bars["symbol"].unique()),
            "interval": parts.watch.interval,
            "first": bars["ts"].min().floor("D").to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )
    days = pd.MultiIndex.from_arrays([bars["symbol"], bars["ts"].dt.floor("D")])
    found[:] = ~days.isin(pd.MultiIndex.from_frame(held[["symbol", "day"]]))
    return found


def _us(instants: pd.Series) -> np.ndarray:
    return instants.to_numpy(dtype="datetime64[us]").astype(np.int64)
