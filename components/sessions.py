"""When a bar of an instrument closes, and which bars should exist.

A daily bar carries its session's date at 00:00 UTC; the exchange's calendar knows the instant
at which that session closed, early closes and daylight saving included.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd

from components.errors import SettingsError, UnknownName

ALWAYS_OPEN = "24/7"

# Of a name that tells nothing.
USUAL = "XNYS"

# The library builds a calendar for the range asked for, by default one that hangs on today's
# date; a fixed range gives the same sessions on every day of asking. Some calendars know
# fewer years: the first range that can be built is taken.
RANGES: Final = tuple(
    (start, end)
    for end in ("2035-12-31", "2029-12-31", "2026-12-31")
    for start in ("1960-01-01", "1990-01-01", "1997-01-01", "2017-01-01", "2021-01-01")
)

# The library cannot build Tel Aviv's sessions before its week changed.
STARTS: Final = {"XTAE": "2026-01-05"}

# No exchange of the last decades rested longer, New Year holidays included.
LONGEST_CLOSURE = pd.Timedelta(days=40)

BARS_A_YEAR: Final = {ALWAYS_OPEN: 365.0, "24/5": 260.0}
SESSIONS_A_YEAR = 252.0

LENGTH = re.compile(r"^([1-9]\d*)(m|h|d)$")
UNITS = {"m": pd.Timedelta(minutes=1), "h": pd.Timedelta(hours=1), "d": pd.Timedelta(days=1)}

# A coin against money or another coin, as Yahoo (BTC-USD) and Binance (BTCUSDT) write it.
COIN = re.compile(
    r"^(?:[A-Z0-9]+-(?:USDT?|EUR|GBP|JPY|KRW|INR|CNY|CAD|AUD|BTC|ETH)"
    r"|[A-Z0-9]+_(?:USDT|USDC|BUSD|USD)"
    r"|[A-Z0-9]{2,}(?:USDT|USDC|BUSD|FDUSD|TUSD)"
    r"|[A-Z0-9]{3,}(?:BTC|ETH|BNB))$"
)

# The library cannot build the calendars of Athens and Bucharest (their Easter) with today's
# pandas: there every weekday counts.
BY_SUFFIX: Final = {
    "AS": "XAMS", "AT": "24/5", "AX": "XASX", "BA": "XBUE", "BD": "XBUD",
    "BE": "XETR", "BK": "XBKK", "BO": "XBOM", "BR": "XBRU", "CO": "XCSE", "DE": "XETR",
    "DU": "XDUS", "F": "XFRA", "HA": "XHAM", "HE": "XHEL", "HK": "XHKG", "HM": "XHAM",
    "IC": "XICE", "IL": "XLON", "IR": "XDUB", "IS": "XIST", "JK": "XIDX", "JO": "XJSE",
    "KL": "XKLS", "KQ": "XKRX", "KS": "XKRX", "L": "XLON", "LS": "XLIS", "MC": "XMAD",
    "ME": "XMOS", "MI": "XMIL", "MU": "XETR", "MX": "XMEX", "NE": "XTSE", "NS": "XBOM",
    "NZ": "XNZE", "OL": "XOSL", "PA": "XPAR", "PR": "XPRA", "PS": "XPHS", "RG": "XRIS",
    "RO": "24/5", "SA": "BVMF", "SG": "XSTU", "SI": "XSES", "SN": "XSGO", "SR": "XSAU",
    "SS": "XSHG", "ST": "XSTO", "SW": "XSWX", "SZ": "XSHG", "T": "XTKS", "TA": "XTAE",
    "TL": "XTAL", "TO": "XTSE", "TW": "XTAI", "TWO": "XTAI", "V": "XTSE", "VI": "XWBO",
    "VS": "XLIT", "WA": "XWAR",
}  # fmt: skip

INDICES: Final = {
    "^FTSE": "XLON", "^GDAXI": "XETR", "^FCHI": "XPAR", "^STOXX50E": "XETR", "^N225": "XTKS",
    "^HSI": "XHKG", "^AXJO": "XASX", "^GSPTSE": "XTSE", "^BSESN": "XBOM", "^NSEI": "XBOM",
    "^STI": "XSES", "^KS11": "XKRX", "^TWII": "XTAI", "^BVSP": "BVMF", "^JKSE": "XIDX",
    "^KLSE": "XKLS", "^NZ50": "XNZE", "^SSMI": "XSWX", "^AEX": "XAMS", "^IBEX": "XMAD",
}  # fmt: skip


@lru_cache(maxsize=64)
def length(interval: str) -> pd.Timedelta:
    """How long a bar is: ``1m``, ``5m``, ``1h``, ``1d`` and their like.

    Raises
    ------
    SettingsError
        When the text is no interval.
    """
    match = LENGTH.match(interval)
    if match is None:
        raise SettingsError(f"{interval!r} is no interval. Write it like 1d, 1h, 5m or 1m.")
    return int(match[1]) * UNITS[match[2]]


@dataclass(frozen=True)
class _Sessions:
    """The sessions of one calendar: dates (UTC midnights), opens, closes and breaks in UTC."""

    time_zone: str
    dates: pd.DatetimeIndex
    opens: pd.DatetimeIndex
    closes: pd.DatetimeIndex
    break_starts: pd.DatetimeIndex
    break_ends: pd.DatetimeIndex


@lru_cache(maxsize=64)
def _sessions(name: str) -> _Sessions:
    calendar = _build(name)
    table = calendar.schedule
    return _Sessions(
        str(calendar.tz),
        pd.DatetimeIndex(table.index).tz_localize("UTC").as_unit("us"),
        *(
            pd.DatetimeIndex(table[column]).as_unit("us")
            for column in ("open", "close", "break_start", "break_end")
        ),
    )


def _build(name: str) -> Any:
    import exchange_calendars

    reason = None
    for start, end in RANGES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                return exchange_calendars.get_calendar(name, start=STARTS.get(name, start), end=end)
        except (ValueError, NotImplementedError) as error:
            reason = error
    raise SettingsError(f"the calendar {name} cannot be built: {str(reason)[:200]}")


def _weekdays(since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(since.ceil("D"), until, freq="B", inclusive="left").as_unit("us")


@lru_cache(maxsize=4096)
def _expected(
    name: str, interval: str, since: pd.Timestamp, until: pd.Timestamp
) -> pd.DatetimeIndex:
    step = length(interval)
    if name == ALWAYS_OPEN:
        return pd.date_range(since.ceil(step), until, freq=step, inclusive="left").as_unit("us")
    sessions = _sessions(name)
    if step >= pd.Timedelta(days=1):
        return _expected_dates(sessions.dates, since, until)
    within = (sessions.closes > since) & (sessions.opens < until)
    opens = _steps(sessions, np.flatnonzero(within), step)
    return opens[(opens >= since) & (opens < until)]


def _expected_dates(
    dates: pd.DatetimeIndex, since: pd.Timestamp, until: pd.Timestamp
) -> pd.DatetimeIndex:
    # Outside of what the calendar knows, every weekday counts as a session.
    parts = [dates[(dates >= since) & (dates < until)]]
    if since < dates[0]:
        parts.insert(0, _weekdays(since, min(until, dates[0])))
    after = dates[-1] + pd.Timedelta(days=1)
    if until > after:
        parts.append(_weekdays(max(since, after), until))
    return pd.DatetimeIndex(parts[0].append(parts[1:]))


def _steps(sessions: _Sessions, rows: np.ndarray, step: pd.Timedelta) -> pd.DatetimeIndex:
    """Bar opens of the sessions in ``rows``: from each open on, in steps, without the break."""
    opens, closes = sessions.opens[rows], sessions.closes[rows]
    counts = np.asarray(-(-(closes - opens) // step), dtype=np.int64)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ts = opens.repeat(counts) + place * step
    starts = sessions.break_starts[rows].repeat(counts)
    ends = sessions.break_ends[rows].repeat(counts)
    return pd.DatetimeIndex(ts[~((ts >= starts) & (ts < ends))])


@lru_cache(maxsize=4096)
def _last_closed(name: str, interval: str, as_of: pd.Timestamp) -> pd.Timestamp:
    step = length(interval)
    if name == ALWAYS_OPEN:
        return as_of.floor(step) - step
    opens = _expected(name, interval, as_of - LONGEST_CLOSURE, as_of)
    closed = opens[_closes(name, interval, opens) <= as_of]
    if closed.empty:
        raise SettingsError(f"the calendar {name} knows no {interval} bar before {as_of}")
    return closed[-1]


def _closes(name: str, interval: str, ts: pd.DatetimeIndex) -> pd.DatetimeIndex:
    step = length(interval)
    if name == ALWAYS_OPEN or step < pd.Timedelta(days=1):
        return ts + step
    sessions = _sessions(name)
    place = sessions.dates.get_indexer(ts)
    local_midnight = (ts + step).tz_localize(None)
    day_end = local_midnight.tz_localize(
        sessions.time_zone, ambiguous=np.zeros(len(ts), bool), nonexistent="shift_forward"
    ).tz_convert("UTC")
    return sessions.closes.take(place).where(place >= 0, day_end)


@lru_cache(maxsize=256)
def _grid(name: str, interval: str) -> frozenset[pd.Timedelta]:
    step = length(interval)
    if name == ALWAYS_OPEN or step >= pd.Timedelta(days=1):
        return frozenset({pd.Timedelta(0)})
    opens = _sessions(name).opens[-1000:]
    return frozenset({pd.Timedelta(0), *(opens - opens.floor(step)).unique()})


def require_calendars(names: Iterable[str]) -> None:
    """Refuse a name that is no calendar's.

    Raises
    ------
    UnknownName
        With those that are known.
    """
    unusual = [name for name in names if name not in (ALWAYS_OPEN, USUAL)]
    if not unusual:
        return
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=False)
    for name in unusual:
        if name not in known:
            raise UnknownName("calendar", name[:40], known)


def rests(name: str, since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    """The weekdays of [since, until), dates without a zone, that are no session of a calendar."""
    if name == ALWAYS_OPEN:
        return pd.DatetimeIndex([])
    dates = _sessions(name).dates.tz_localize(None)
    known = pd.date_range(max(since, dates[0]), min(until, dates[-1]), freq="B", inclusive="left")
    return known[~known.isin(dates)].as_unit("us")


@dataclass(frozen=True)
class Calendars:
    """Which calendar an instrument follows, and what follows from it.

    Parameters
    ----------
    overrides : Mapping of str to str, optional
        Calendar names by symbol, for instruments whose name does not tell: those of the
        package exchange_calendars (``XNYS``, ``XLON``, ``24/7``, ...).
    of_venue : str, optional
        The calendar of everything that the venue lists, whatever it is called.

    Raises
    ------
    UnknownName
        When an override names no known calendar.
    """

    overrides: Mapping[str, str] = field(default_factory=dict)
    of_venue: str = ""

    def __post_init__(self) -> None:
        require_calendars(self.overrides.values())

    def of(self, symbol: str) -> str:
        """Name the calendar of ``symbol``; a name that tells nothing trades in New York."""
        if symbol in self.overrides:
            return self.overrides[symbol]
        if self.of_venue:
            return self.of_venue
        if COIN.match(symbol):
            return ALWAYS_OPEN
        if symbol.endswith("=X"):
            return "24/5"
        if symbol.endswith("=F"):
            return "CMES"
        stem, dot, suffix = symbol.rpartition(".")
        by_suffix = BY_SUFFIX.get(suffix) if dot and stem else None
        return by_suffix or INDICES.get(symbol, USUAL)

    def closes(self, symbol: str, interval: str, ts: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Tell the UTC instants at which the bars that open at ``ts`` close.

        A daily bar closes with its session. A date that is no session closes when that day
        ends at the exchange: late enough for a session that the calendar does not know.
        A shorter bar closes one interval after its open.
        """
        return _closes(self.of(symbol), interval, ts.as_unit("us"))

    def expected(
        self, symbol: str, interval: str, since: pd.Timestamp, until: pd.Timestamp
    ) -> pd.DatetimeIndex:
        """List the opens of the bars that should exist, since <= ts < until.

        Before and after the years that the calendar knows, every weekday is expected.
        """
        return _expected(self.of(symbol), interval, since, until)

    def last_closed(self, symbol: str, interval: str, as_of: pd.Timestamp) -> pd.Timestamp:
        """Tell the open of the last bar that closed at or before ``as_of``."""
        return _last_closed(self.of(symbol), interval, as_of)

    def is_session(self, symbol: str, ts: pd.DatetimeIndex) -> np.ndarray:
        """Tell which dates can be sessions: bool (n,), True in years that are not known."""
        name = self.of(symbol)
        if name == ALWAYS_OPEN:
            return np.ones(len(ts), dtype=bool)
        dates = _sessions(name).dates
        unknown = (ts < dates[0]) | (ts > dates[-1])
        return np.asarray(unknown | ts.isin(dates), dtype=bool)

    def on_grid(self, symbol: str, interval: str, ts: pd.DatetimeIndex) -> np.ndarray:
        """Tell which bars open on the interval's grid: bool (n,).

        The grid starts at 00:00 UTC or at the session's open (hours from 09:30 New York on).
        """
        offsets = ts - ts.floor(length(interval))
        return np.asarray(offsets.isin(list(_grid(self.of(symbol), interval))), dtype=bool)

    def is_regular(self, symbol: str, interval: str, ts: pd.DatetimeIndex) -> np.ndarray:
        """Tell which bars open in a session's regular hours, [open, close): bool (n,).

        Days and markets that never close have no other hours.
        """
        name = self.of(symbol)
        if name in BARS_A_YEAR or length(interval) >= pd.Timedelta(days=1):
            return np.ones(len(ts), dtype=bool)
        sessions, ts = _sessions(name), ts.as_unit("us")
        place = np.maximum(sessions.opens.searchsorted(ts, side="right") - 1, 0)
        opens, closes = sessions.opens.asi8[place], sessions.closes.asi8[place]
        return np.asarray((ts.asi8 >= opens) & (ts.asi8 < closes))

    def bars_per_year(self, symbol: str, interval: str) -> float:
        """Tell how many bars of the instrument a year has, on average."""
        name, step = self.of(symbol), length(interval)
        day = pd.Timedelta(days=1)
        days = BARS_A_YEAR.get(name, SESSIONS_A_YEAR)
        if step >= day:
            return days / (step / day)
        if name in BARS_A_YEAR:
            return days * (day / step)
        sessions = _sessions(name)
        return days * float(np.median((sessions.closes - sessions.opens)[-1000:] / step))

    def time_zone(self, symbol: str) -> str:
        """Name the time zone in which the instrument's sessions have their dates."""
        name = self.of(symbol)
        return "UTC" if name == ALWAYS_OPEN else _sessions(name).time_zone
