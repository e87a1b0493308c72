"""Stored candles once more, at a chosen speed: in the order in which they closed."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from components.errors import SettingsError
from components.feeds.base import COLUMNS, Arrived, Feed, frame_of
from components.sessions import Calendars, length

Read = Callable[[pd.Timestamp, pd.Timestamp], pd.DataFrame]

# Bars of each symbol that are read together: a day of minutes.
BARS_AT_ONCE = 1440

# Rows handed over together when nothing is waited for.
ROWS_AT_ONCE = 20_000

# An empty arrival is given after so long, s.
LOOK_S = 0.5


def opened(
    *,
    read: Read,
    since: pd.Timestamp,
    until: pd.Timestamp,
    interval: str,
    speed: float | str = "max",
    calendars: Calendars | None = None,
    span: pd.Timedelta | None = None,
    **_: Any,
) -> Feed:
    """Open the replay of the bars that open in [since, until), read by ``read``.

    ``speed`` is 1 for real time, 60 for a minute a second, 0 or "max" for as fast as it goes.
    ``span`` is how much is read at once; the default is 1440 bars, a day at least.
    """
    span = span or max(pd.Timedelta(days=1), BARS_AT_ONCE * length(interval))
    calendars = calendars or Calendars()
    return Replay(read, since, until, interval, pace_of(speed), calendars, span)


def pace_of(speed: float | str) -> float:
    """Read a speed: how many times real time; 0 is as fast as it goes.

    Raises
    ------
    SettingsError
        When it is no number of 0 or more.
    """
    if speed == "max":
        return 0.0
    try:
        pace = float(speed)
    except ValueError:
        pace = math.nan
    if not (math.isfinite(pace) and pace >= 0):
        raise SettingsError(
            f"the speed {str(speed)[:20]!r} is none. Write 1 for real time, 60, or max."
        )
    return pace


@dataclass(frozen=True)
class Replay:
    """The bars of the past, a span at a time, so that memory does not grow with the years.

    Parameters
    ----------
    read : callable
        Gives the stored bars that open in [since, until), with ``COLUMNS`` at least.
    since, until : Timestamp
        Which bars.
    interval : str
        Their length.
    pace : float
        How many times real time; 0 is as fast as it goes.
    calendars : Calendars
        Tell when a bar closes.
    span : Timedelta
        How much is read at once.
    clock : callable, optional
        Seconds that pass.
    """

    read: Read
    since: pd.Timestamp
    until: pd.Timestamp
    interval: str
    pace: float
    calendars: Calendars
    span: pd.Timedelta
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    name: str = "replay"
    is_live: bool = False

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give the bars, those that closed together in one arrival; see ``Feed``.

        ``at`` is the instant that is replayed: the same replay gives the same arrivals, but for
        how they are cut.
        """
        parts = self._paced(stop) if self.pace else self._chunks()
        for number, (candles, at) in enumerate(parts):
            if stop.is_set():
                return
            yield Arrived(candles, at, number)

    def done(self, number: int) -> None:
        """Nothing: what is not stored is replayed again."""

    def close(self) -> None:
        """Nothing is open."""

    def _paced(self, stop: threading.Event) -> Iterator[tuple[pd.DataFrame, pd.Timestamp]]:
        """What closed since the last look, looking when the next bar closes."""
        began, start = self.clock(), None
        for rows, closes in self._spans():
            start = start or closes[0]
            first = 0
            while first < len(rows) and not stop.is_set():
                passed_s = (self.clock() - began) * self.pace
                at = (start + pd.Timedelta(seconds=passed_s)).floor("us").as_unit("us")
                last = int(closes.searchsorted(at, side="right"))
                last = min(last, first + ROWS_AT_ONCE)
                yield rows.iloc[first:last], at
                first = last
                if first < len(rows) and closes[first] > at:
                    stop.wait(min(LOOK_S, (closes[first] - at).total_seconds() / self.pace))

    def _chunks(self) -> Iterator[tuple[pd.DataFrame, pd.Timestamp]]:
        """Many minutes together, cut where one ends and the next begins."""
        for rows, closes in self._spans():
            ends = np.append(np.flatnonzero(np.diff(closes.asi8)) + 1, len(rows))
            first = 0
            while first < len(rows):
                place = np.searchsorted(ends, first + ROWS_AT_ONCE, side="right") - 1
                last = int(ends[place]) if place >= 0 and ends[place] > first else 0
                last = last or int(ends[np.searchsorted(ends, first, side="right")])
                yield rows.iloc[first:last], closes[last - 1]
                first = last

    def _spans(self) -> Iterator[tuple[pd.DataFrame, pd.DatetimeIndex]]:
        """A span's bars and when they close, in that order; known when they closed."""
        since = self.since
        while since < self.until:
            until = min((since + self.span).floor(self.span), self.until)
            rows = self.read(since, until)
            rows = rows[(rows["ts"] >= since) & (rows["ts"] < until)]
            if len(rows):
                yield self._ordered(rows)
            since = until

    def _ordered(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
        rows = rows.reset_index(drop=True)
        closes = pd.Series(pd.DatetimeIndex(rows["ts"]), index=rows.index)
        for symbol, own in rows.groupby("symbol")["ts"]:
            ts = pd.DatetimeIndex(own)
            closes[own.index] = self.calendars.closes(str(symbol), self.interval, ts)
        rows = rows.reindex(columns=COLUMNS).assign(closes=closes)
        rows = rows.sort_values(["closes", "symbol", "ts"], kind="stable", ignore_index=True)
        closed = pd.DatetimeIndex(rows["closes"])
        return rows[COLUMNS].astype(_TYPES).assign(known_at=closed), closed


_TYPES = frame_of(()).dtypes.to_dict()
