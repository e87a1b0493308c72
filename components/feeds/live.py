"""A feed from a venue's sockets: a thread of its own, gaps refilled first, bounded memory."""

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import pandas as pd

from components.feeds.base import COLUMNS, Arrived, Candle, Refill, Refused, frame_of
from components.feeds.gaps import MICROSECOND, Frontier, us_of
from components.feeds.mending import Mending
from components.feeds.outbox import Item, Outbox, Told
from components.feeds.patience import Backoff, Patience
from components.feeds.sockets import Connection
from components.feeds.venue import Venue
from components.sessions import ALWAYS_OPEN, Calendars, length

# Rows of one arrival, but for a larger table.
ROWS_AT_ONCE = 20_000

# How long to wait for a first item, s: an empty arrival is given then.
LOOK_S = 0.5

# How long to wait for the thread to leave, s; it is a daemon.
LEAVE_S = 5.0


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


@dataclass(frozen=True)
class Terms:
    """How patient a live feed is, and where time and chance come from.

    Parameters
    ----------
    clock : callable, optional
        Gives the present.
    patience : Patience, optional
        With the sockets.
    backoff : Backoff, optional
        Between tries, of sockets and of refills.
    settle_s : float, optional
        So long after its close a bar is refilled, s; the venue's own when absent.
    final_s : float, default=60
        A bar that the source of refills has not so long after its close does not exist, s.
    hold_s : float, default=20
        New candles wait so long for a source of refills that brings nothing, s.
    at_once : int, default=4
        Refills under way together.
    """

    clock: Callable[[], pd.Timestamp] = _now
    patience: Patience = field(default_factory=Patience)
    backoff: Backoff = field(default_factory=lambda: Backoff(chance=random.Random()))  # noqa: S311
    settle_s: float | None = None
    final_s: float = 60.0
    hold_s: float = 20.0
    at_once: int = 4


class Live:
    """Closed candles as a venue streams them.

    Parameters
    ----------
    venue : Venue
        Whose stream it is.
    refill : callable
        Gives the bars that closed while no socket was open.
    since : mapping of str to Timestamp
        The open of the first bar that is wanted, by symbol.
    interval : str
        The bars' length.
    calendars : Calendars
        Tell when a bar should come.
    terms : Terms
        How patient it is.
    """

    is_live = True

    def __init__(
        self,
        venue: Venue,
        refill: Refill,
        since: Mapping[str, pd.Timestamp],
        interval: str,
        calendars: Calendars,
        terms: Terms,
    ) -> None:
        self.name = venue.name
        self._venue, self._terms, self._calendars = venue, terms, calendars
        self._interval, self._step = interval, length(interval)
        self._outbox = Outbox()
        self._frontier = Frontier(
            {symbol: us_of(first) for symbol, first in since.items()},
            self._step // MICROSECOND,
            is_gapless=venue.is_gapless,
        )
        settle_s = venue.settle_s if terms.settle_s is None else terms.settle_s
        self._mending = Mending(
            venue.name, refill, self._outbox, self._step, venue.is_gapless, terms.clock,
            settle_s, terms.final_s, terms.hold_s, terms.backoff, terms.at_once,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._live, name=f"feed-{self.name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._failure: BaseException | None = None

    @classmethod
    def of(
        cls,
        venue: Venue,
        refill: Refill,
        symbols: tuple[str, ...],
        interval: str,
        *,
        since: pd.Timestamp | Mapping[str, pd.Timestamp] | None = None,
        calendars: Calendars | None = None,
        terms: Terms | None = None,
        **_: object,
    ) -> Self:
        """Open the stream of ``symbols``.

        ``since`` is the open of the first bar that is wanted, of all or by symbol: what closed
        since then is refilled first. Absent, for a symbol too, it is the bar that is under way.
        """
        terms = terms or Terms()
        begin = terms.clock().floor(length(interval))
        firsts = since if isinstance(since, Mapping) else dict.fromkeys(symbols, since or begin)
        firsts = {symbol: firsts.get(symbol, begin) for symbol in symbols}
        calendars = calendars or Calendars(of_venue=ALWAYS_OPEN if venue.is_gapless else "")
        return cls(venue, refill, firsts, interval, calendars, terms)

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give what the sockets and the refills bring; see ``Feed``."""
        with self._lock:
            if not self._is_closed and self._thread.ident is None:
                self._thread.start()
        number = 0
        try:
            while not stop.is_set():
                items = self._outbox.take(LOOK_S, ROWS_AT_ONCE)
                if not items and not self._thread.is_alive():
                    break
                yield _arrived(items, number, self._terms.clock())
                number += 1
        finally:
            self.close()
        if self._failure is not None and not stop.is_set():
            raise self._failure

    def done(self, number: int) -> None:
        """Nothing: what is not stored is refilled after the next start."""

    def close(self) -> None:
        """End the connections and the thread."""
        with self._lock:
            self._is_closed = True
            loop, task = self._loop, self._task
        if loop is not None and task is not None:
            # The loop may have ended by itself.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(LEAVE_S)

    def begin(self, symbols: Iterable[str]) -> None:
        """Want what closed unheard by now; it comes before what the sockets bring."""
        self._mending.add(self._frontier.cut(symbols, us_of(self._terms.clock())))

    async def take(self, candle: Candle, text: str) -> None:
        """Hand a candle over, behind the bars that it shows to have been skipped."""
        skipped = self._frontier.heard(candle.symbol, candle.ts)
        if skipped is not None:
            self._mending.add([skipped])
        await self._outbox.put(Told(candle, text))

    async def refuse(self, refused: Refused) -> None:
        """Hand over that something was malformed."""
        await self._outbox.put(refused)

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where arrivals are asked for
            self._failure = error

    async def _run(self) -> None:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._is_closed:
                return
        connections = [self._connection(at) for at in range(len(self._venue.lines()))]
        tasks = [asyncio.create_task(each.attend()) for each in connections]
        tasks.append(asyncio.create_task(self._mending.run()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _connection(self, at: int) -> Connection:
        line, terms = self._venue.lines()[at], self._terms
        # One symbol of each calendar tells for all.
        shown = {self._calendars.of(symbol): symbol for symbol in line.symbols}

        def is_due(silent_s: float) -> bool:
            now = terms.clock().floor("s")
            # Bars that closed within the silence, but for those that closed just now.
            since = now - self._step - pd.Timedelta(seconds=int(silent_s))
            until = now - self._step - pd.Timedelta(seconds=int(terms.patience.late_s))
            return since < until and any(
                len(self._calendars.expected(symbol, self._interval, since, until))
                for symbol in shown.values()
            )

        return Connection(
            self._venue, line, self, self._step.total_seconds(), terms.clock, is_due,
            terms.patience, terms.backoff,
        )  # fmt: skip


def _arrived(items: list[Item], number: int, at: pd.Timestamp) -> Arrived:
    tables, told = [], [item for item in items if isinstance(item, Told)]
    run: list[Candle] = []
    for item in items:
        if isinstance(item, Told):
            run.append(item.candle)
        elif isinstance(item, pd.DataFrame):
            tables += [frame_of(run), item]
            run = []
    tables.append(frame_of(run))
    filled = [table for table in tables if len(table)] or tables[:1]
    candles = pd.concat(filled, ignore_index=True)[COLUMNS]
    refused = tuple(item for item in items if isinstance(item, Refused))
    return Arrived(candles, at, number, refused, tuple(each.text for each in told))
