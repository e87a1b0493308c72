"""The rows of many replies side by side, as arrays: what the data checks look at.

Instants are int64 microseconds since 1970, UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from components.records import Parsed, RawReply
from components.sessions import ALWAYS_OPEN, Calendars, length

Array = np.ndarray

PRICES = ["open", "high", "low", "close"]

# The instant of a row whose text is no time: it sorts behind all others.
NO_TIME = np.iinfo(np.int64).max

SECOND = 1_000_000
DAY = 86_400 * SECOND

# Two numbers in one int64: an instrument's number times SPAN plus seconds, of the years 1800
# to 2200, all above zero.
SPAN, SHIFT = 1 << 34, 1 << 33


@dataclass(frozen=True)
class Replies:
    """What is known of each reply, an entry a reply; instruments are numbered as they come."""

    raw: tuple[RawReply, ...]
    symbol: pd.Series
    interval: pd.Series
    source: pd.Series
    calendar: Array
    instrument: Array
    since: Array
    until: Array
    known_at: Array
    observed_at: Array
    is_daily: Array
    is_coin: Array


@dataclass(frozen=True)
class Rows:
    """The rows, oldest first within each reply, one array a column.

    ``later_ratios`` is the product of the ratios of the reply's splits after the row, and
    ``adjusted_close`` the close in today's shares.
    """

    replies: Replies
    place: Array
    reply: Array
    ts: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    copy: Array
    observed_at: Array
    closes_at: Array
    is_session: Array
    on_grid: Array
    later_ratios: Array
    adjusted_close: Array

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, kept: Array) -> "Rows":
        """Give the rows of a mask, or of places."""
        columns = {name: getattr(self, name)[kept] for name in COLUMNS}
        return replace(self, **columns)

    def of(self, values: Array) -> Array:
        """Repeat a value a reply for each of its rows."""
        return values[self.reply] if len(values) > 1 else np.broadcast_to(values, len(self))

    @cached_property
    def starts(self) -> Array:
        """Where a reply's first row is: bool (n,)."""
        starts = np.ones(len(self), dtype=bool)
        np.not_equal(self.reply[1:], self.reply[:-1], out=starts[1:])
        return starts

    def before(self, values: Array) -> Array:
        """Give each row the value of the row before it in its reply, NaN for the first."""
        shifted = np.empty(len(values))
        shifted[1:] = values[:-1]
        shifted[self.starts] = np.nan
        return shifted

    def spread(self, values: Array) -> Array:
        """Repeat a value a reply that has rows for each of its rows."""
        firsts = np.flatnonzero(self.starts)
        return np.repeat(values, np.diff(np.append(firsts, len(self))))

    @cached_property
    def is_repeated(self) -> Array:
        """Whether the next row of the reply is of the same bar: bool (n,)."""
        repeated = np.zeros(len(self), dtype=bool)
        same = (self.ts[1:] == self.ts[:-1]) & ~self.starts[1:]
        repeated[:-1] = same
        return repeated


COLUMNS = [name for name in Rows.__dataclass_fields__ if name != "replies"]


@dataclass(frozen=True)
class Gathered:
    """The rows of all replies, and what of them is only handed on."""

    rows: Rows
    vwap: Array
    trades: Array
    line: Array
    adj_close: Array


def key_of(instrument: Array, ts: Array) -> Array:
    """Make one number of an instrument's (or a reply's) number and an instant, in that order."""
    return np.asarray(instrument * SPAN + (ts // SECOND + SHIFT), dtype=np.int64)


def gather(
    parsed: Sequence[tuple[RawReply, Parsed]], calendars: Calendars
) -> tuple[Gathered, pd.DataFrame]:
    """Put all replies into one set of rows and one table of actions, oldest first."""
    replies = _replies([reply for reply, _ in parsed], calendars)
    tables = [one.candles for _, one in parsed]
    counts = np.array([len(table) for table in tables])
    reply = np.repeat(np.arange(len(tables)), counts)
    filled = [table for table in tables if len(table)] or tables[:1]
    table = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    ts = _micros(table["ts"])
    ts[ts == pd.NaT.value] = NO_TIME
    columns = {name: table[name].to_numpy(dtype=float) for name in _numbers_of(table)}
    copy = _copies(table)
    columns |= {"ts": ts, "line": table["line"].to_numpy(), "reply": reply, "copy": copy}
    columns["observed_at"] = _observed(table, replies, reply)
    if not _is_ordered(reply, ts):
        order = np.lexsort((columns["line"], copy, ts, reply))
        columns = {name: values[order] for name, values in columns.items()}
    line = columns.pop("line")
    absent = np.broadcast_to(np.nan, len(ts))
    vwap, trades, adj_close = (
        columns.pop(name, absent) for name in ("vwap", "trades", "adj_close")
    )
    actions = _actions([one.actions for _, one in parsed], replies)
    factor = later_ratios(columns["reply"], columns["ts"], actions)
    rows = Rows(
        replies,
        np.arange(len(ts)),
        **columns,
        **_of_sessions(replies, columns["reply"], columns["ts"], calendars),
        later_ratios=factor,
        adjusted_close=columns["close"] / factor,
    )
    return Gathered(rows, vwap, trades, line, adj_close), actions


def later_ratios(reply: Array, ts: Array, actions: pd.DataFrame) -> Array:
    """Multiply, for each row, the ratios of its reply's splits after it: (n,)."""
    factor = np.ones(len(ts))
    if actions.empty:
        return factor
    splits = actions[actions["kind"] == "split"]
    first, last = (np.searchsorted(reply, splits["reply"], side=s) for s in ("left", "right"))
    at = _micros(splits["ts"])
    for start, end, instant, ratio in zip(first, last, at, splits["value"], strict=True):
        factor[start:end][ts[start:end] < instant] *= ratio
    return factor


def _numbers_of(table: pd.DataFrame) -> list[str]:
    optional = [name for name in ("adj_close",) if name in table]
    return [*PRICES, "volume", "vwap", "trades", *optional]


def _micros(values: pd.Series) -> Array:
    micros: Array = np.array(pd.DatetimeIndex(values).as_unit("us").asi8)
    return micros


def _copies(table: pd.DataFrame) -> Array:
    if "copy" not in table:
        return np.zeros(len(table), dtype=np.int64)
    return table["copy"].fillna(0).to_numpy(dtype=np.int64)


def _observed(table: pd.DataFrame, replies: Replies, reply: Array) -> Array:
    whole: Array = replies.observed_at[reply]
    if "observed_at" not in table:
        return whole
    own = _micros(table["observed_at"])
    return np.where(own == pd.NaT.value, whole, own)


def _is_ordered(reply: Array, ts: Array) -> bool:
    """Whether all instants of each reply rise; equal ones need the order of their lines."""
    return bool(((ts[1:] > ts[:-1]) | (reply[1:] != reply[:-1])).all())


def _replies(replies: Sequence[RawReply], calendars: Calendars) -> Replies:
    requests = [reply.request for reply in replies]
    symbols, intervals = [r.symbol for r in requests], [r.interval for r in requests]
    numbers: dict[tuple[str, str], int] = {}
    pairs = zip(symbols, intervals, strict=True)
    instrument = [numbers.setdefault(pair, len(numbers)) for pair in pairs]
    calendar = np.array([calendars.of(symbol) for symbol in symbols], dtype=object)
    instants = {
        "since": [r.since for r in requests],
        "until": [r.until for r in requests],
        "known_at": [r.as_of for r in requests],
        "observed_at": [reply.observed_at for reply in replies],
    }
    is_daily = [length(interval) >= pd.Timedelta(days=1) for interval in intervals]
    return Replies(
        tuple(replies),
        pd.Series(symbols, dtype="str"),
        pd.Series(intervals, dtype="str"),
        pd.Series([reply.source for reply in replies], dtype="str"),
        calendar,
        np.array(instrument, dtype=np.int64),
        **{name: _micros(pd.Series(values)) for name, values in instants.items()},
        is_daily=np.array(is_daily, dtype=bool),
        is_coin=calendar == ALWAYS_OPEN,
    )


def _of_sessions(
    replies: Replies, reply: Array, ts: Array, calendars: Calendars
) -> dict[str, Array]:
    """What the calendars know; instruments of one calendar are asked for together."""
    closes_at = np.full(len(ts), pd.NaT.value)
    is_session, on_grid = np.ones(len(ts), dtype=bool), np.ones(len(ts), dtype=bool)
    for first, places in alike(replies, reply):
        symbol, interval = replies.symbol.iloc[first], replies.interval.iloc[first]
        instants = as_index(ts[places])
        closes_at[places] = calendars.closes(symbol, interval, instants).asi8
        on_grid[places] = calendars.on_grid(symbol, interval, instants)
        if replies.is_daily[first]:
            is_session[places] = calendars.is_session(symbol, instants)
    return {"closes_at": closes_at, "is_session": is_session, "on_grid": on_grid}


def alike(replies: Replies, reply: Array) -> list[tuple[int, Array | slice]]:
    """Give rows by calendar and interval: the number of a reply of that kind, and the rows."""
    kinds, firsts, of_reply = np.unique(
        replies.calendar.astype(str) + " " + replies.interval.to_numpy(dtype=str),
        return_index=True,
        return_inverse=True,
    )
    if len(kinds) == 1:
        return [(0, slice(None))]
    of_row = of_reply[reply]
    return [(int(first), of_row == kind) for kind, first in enumerate(firsts)]


def as_index(ts: Array) -> pd.DatetimeIndex:
    """Instants as an index; NO_TIME becomes NaT."""
    known = np.where(ts == NO_TIME, pd.NaT.value, ts) if (ts == NO_TIME).any() else ts
    return pd.DatetimeIndex(known.view("M8[us]")).tz_localize("UTC")


def _actions(tables: list[pd.DataFrame], replies: Replies) -> pd.DataFrame:
    counts = [len(table) for table in tables]
    of_reply = np.repeat(np.arange(len(tables)), counts)
    filled = [table for table in tables if len(table)] or tables[:1]
    actions = pd.concat(filled, ignore_index=True).assign(reply=of_reply)
    if actions.empty:
        return actions.assign(line=of_reply)
    actions = actions[_micros(actions["ts"]) <= replies.known_at[of_reply]]
    actions = actions.sort_values(["reply", "ts", "kind"], kind="stable", ignore_index=True)
    actions["line"] = -1 - actions.groupby("reply").cumcount()
    return actions
