"""Screening: closed candles of a feed to rows of the warehouse, the doubtful ones kept aside."""

import json

import numpy as np
import pandas as pd

from components import checks
from components.checks.plain import is_plain
from components.checks.series_checks import dead_after
from components.feeds.base import NUMBERS
from components.panels import Array, Flags, Ints
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import ALWAYS_OPEN, length
from components.steps.gather import stored_candles
from components.steps.parts import Parts

HOURS = {True: "regular", False: "extended"}

NO_ACTIONS = pd.DataFrame(
    {"ts": pd.DatetimeIndex([], tz="UTC").as_unit("us"), "kind": [], "value": []}
)


class Screen:
    """Remembers how long each instrument has been idle; ``symbols`` give their order."""

    def __init__(self, parts: Parts, symbols: tuple[str, ...]) -> None:
        self._parts, self._symbols = parts, symbols
        self._most_idle = dead_after(parts.watch.interval)
        # Nothing is known of the bars before: whoever is idle is looked at until he trades.
        self._n_idle = np.full(len(symbols), self._most_idle, dtype=np.int64)

    def sieved(self, rows: pd.DataFrame, last_close: Array) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give the rows that pass all checks, with ``hours``, and those kept aside.

        Parameters
        ----------
        rows : DataFrame
            Closed candles: symbol, its number ``member``, ts, numbers and known_at.
        last_close : Array
            Each instrument's last judged close, (n_symbols,).
        """
        member = rows["member"].to_numpy()
        # However the idle bars of one arrival follow each other: as if they all came in a row.
        n_idle = self._n_idle + np.bincount(member[_is_idle(rows)], minlength=len(self._symbols))
        plain = is_plain(rows, last_close[member], n_idle[member], self._most_idle)
        plain &= self._is_on_time(rows)
        good, aside = rows[plain], pd.DataFrame()
        if not plain.all():
            passed, aside = self.looked_at(rows[~plain])
            good = pd.concat([good, passed]) if len(passed) else good
        self._count_idle(good)
        return good.assign(hours=self.hours(good)), aside

    def _is_on_time(self, rows: pd.DataFrame) -> Flags:
        """Whether bars open on the grid, and had closed when they became known."""
        interval = self._parts.watch.interval
        ts = pd.DatetimeIndex(rows["ts"])
        is_closed = ts + length(interval) <= pd.DatetimeIndex(rows["known_at"])
        found = np.asarray(is_closed, dtype=np.bool_)
        for symbol, at in self._by_calendar(rows):
            found[at] &= self._parts.calendars.on_grid(symbol, interval, ts[at])
        return found

    def hours(self, rows: pd.DataFrame) -> pd.Series:
        """Whether bars are of regular or extended hours; None where nothing is to be told."""
        hours = pd.Series([None] * len(rows), index=rows.index, dtype="str")
        calendars, interval = self._parts.calendars, self._parts.watch.interval
        for symbol, at in self._by_calendar(rows):
            if calendars.of(symbol) not in checks.NEVER_CLOSED:
                ts = pd.DatetimeIndex(rows["ts"].iloc[at])
                is_regular = calendars.is_regular(symbol, interval, ts)
                hours.iloc[at] = [HOURS[bool(each)] for each in is_regular]
        return hours

    def _by_calendar(self, rows: pd.DataFrame) -> list[tuple[str, Ints]]:
        """An instrument of each calendar, and where the rows of that calendar are."""
        calendars = np.array([self._parts.calendars.of(s) for s in self._symbols], dtype=object)
        own = calendars[rows["member"].to_numpy()]
        found = []
        for name in dict.fromkeys(calendars):
            at = np.flatnonzero(own == name)
            if len(at):
                found.append((self._symbols[int(rows["member"].iloc[at[0]])], at))
        return found

    def looked_at(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Put doubtful candles through all checks, beside what is stored."""
        replies = [self._as_reply(str(s), own) for s, own in rows.groupby("symbol")]
        stored = stored_candles(self._parts, [reply.request for reply, _ in replies])
        candles, _, aside = checks.apply(replies, stored, self._parts.calendars)
        bars = pd.MultiIndex.from_frame(candles[["symbol", "ts"]])
        return rows[pd.MultiIndex.from_frame(rows[["symbol", "ts"]]).isin(bars)], aside

    def _as_reply(self, symbol: str, rows: pd.DataFrame) -> tuple[RawReply, Parsed]:
        interval, known_at = self._parts.watch.interval, rows["known_at"].max()
        since, until = rows["ts"].min(), rows["ts"].max() + length(interval)
        request = CandleRequest(symbol, interval, since, until, known_at)
        said = rows[["ts", *NUMBERS]].assign(line=np.arange(len(rows)))
        body = json.dumps(said.to_dict("records"), default=str).encode()
        reply = RawReply(self._parts.source.name, request, "", 200, known_at, body)
        return reply, Parsed(said, NO_ACTIONS)

    def _count_idle(self, rows: pd.DataFrame) -> None:
        """Count the bars without trade and move, up to the last that is here of each."""
        is_idle, member = _is_idle(rows), rows["member"].to_numpy()
        self._n_idle[member[~is_idle]] = 0
        np.add.at(self._n_idle, member[is_idle], 1)


def _is_idle(rows: pd.DataFrame) -> Flags:
    is_idle = (rows["volume"] == 0) & (rows["high"] == rows["low"])
    return np.asarray(is_idle, dtype=np.bool_)


def of_always_open(parts: Parts) -> bool:
    """Whether all that is watched trades round the clock."""
    return all(parts.calendars.of(symbol) == ALWAYS_OPEN for symbol in parts.watch.symbols)
