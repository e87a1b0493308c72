"""Gaps are asked for elsewhere and come first; what came meanwhile waits, but not for ever."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd

from components.errors import SymbolNotFound, TremorError
from components.feeds.aside import aside
from components.feeds.base import COLUMNS, Refill, Refused
from components.feeds.gaps import MICROSECOND, Span, Wanted, instant_of, us_of
from components.feeds.outbox import Outbox
from components.feeds.patience import Backoff
from components.logs import log

# Rows of one table that is handed over.
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Mended:
    """What asking for a span brought: rows, what is still wanted, and why it failed if it did."""

    rows: pd.DataFrame | None
    left: Span | None
    trouble: str = ""


@dataclass
class Mending:
    """Asks for what is missing until it came or its source has none.

    Parameters
    ----------
    name : str
        The feed's name.
    refill : callable
        Gives closed bars of the past; it may block.
    outbox : Outbox
        Where they are handed over.
    step : Timedelta
        The bars' length.
    is_gapless : bool
        Whether a bar that is not in a reply may come later.
    clock : callable
        Gives the present.
    settle_s : float
        So long after its close a bar is asked for, s.
    final_s : float
        A bar that the source has not so long after its close does not exist, s.
    hold_s : float
        What comes from the sockets waits no longer than this for a source that brings nothing, s.
    backoff : Backoff
        The waits between tries.
    at_once : int, default=4
        Questions under way together.
    """

    name: str
    refill: Refill
    outbox: Outbox
    step: pd.Timedelta
    is_gapless: bool
    clock: Callable[[], pd.Timestamp]
    settle_s: float
    final_s: float
    hold_s: float
    backoff: Backoff
    at_once: int = 4

    def __post_init__(self) -> None:
        self._step_us = self.step // MICROSECOND
        self._wanted = Wanted(self._step_us)
        self._held_until = 0.0
        self._is_handing_over = False
        self._news = asyncio.Event()
        self._places = asyncio.Semaphore(self.at_once)

    def add(self, spans: Iterable[Span]) -> None:
        """Want these bars; from now on what comes from the sockets waits for them."""
        spans = list(spans)
        if not spans:
            return
        for span in spans:
            self._wanted.add(span)
        self.outbox.hold()
        self._be_patient()
        self._news.set()

    async def run(self) -> None:
        """Ask, round by round, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_the_hold())
            while True:
                now = asyncio.get_running_loop().time()
                taken = self._wanted.take(now)
                if taken:
                    await self._round(taken)
                else:
                    await self._pause(self._wanted.next_due() - now)

    async def _round(self, taken: list[tuple[Span, Span | None]]) -> None:
        for _, later in taken:
            if later is not None:
                self._wanted.add(later)
        mended = await asyncio.gather(*(self._ask(span) for span, _ in taken))
        for each in mended:
            if each.left is not None:
                # What nothing waits for any longer shall hold up nothing again.
                is_held = each.left.holds and self._held_until > 0
                self._wanted.add(replace(each.left, holds=is_held))
        await self._hand_over([each.rows for each in mended if each.rows is not None])
        troubles = [each.trouble for each in mended if each.trouble]
        if troubles:
            told = f"{self.name}: {len(troubles)} gaps could not be refilled: {troubles[0]}"
            log.warning("%s", told)
            await self.outbox.put_first(Refused(told))
        if not self._wanted.holds():
            self._release()

    async def _ask(self, span: Span) -> Mended:
        async with self._places:
            await self._settled(span)
            since, until = instant_of(span.since), instant_of(span.until)
            try:
                rows = await aside(lambda: self.refill([span.symbol], since, until))
                return self._mended(span, self._only(rows, span))
            except SymbolNotFound as error:
                log.warning("%s: %s", self.name, error)
                return Mended(None, None)
            except (TremorError, OSError, LookupError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split())[:300]
                return Mended(None, self._later(span), f"{span.symbol}: {reason}")

    def _mended(self, span: Span, rows: pd.DataFrame) -> Mended:
        if not self.is_gapless:
            return Mended(rows, None)
        came = set(rows["ts"].astype("datetime64[us, UTC]").astype("int64"))
        absent = [ts for ts in range(span.since, span.until, self._step_us) if ts not in came]
        if not absent:
            return Mended(rows, None)
        settled = us_of(self.clock()) - int(self.final_s * 1e6)
        late = [ts for ts in absent if ts + self._step_us > settled]
        if len(absent) > len(late):
            log.info(
                "%s: the source has no %d bars of %s between %s and %s", self.name,
                len(absent) - len(late), span.symbol, instant_of(absent[0]), instant_of(span.until),
            )  # fmt: skip
        if not late:
            return Mended(rows, None)
        if self._held_until:
            # What is behind a bar that may still come waits with it.
            rows = rows[rows["ts"] < instant_of(late[0])]
        return Mended(rows, self._later(replace(span, since=late[0])))

    def _later(self, span: Span) -> Span:
        wait_s = self.backoff.wait_s(span.tries)
        due = asyncio.get_running_loop().time() + wait_s
        return replace(span, tries=span.tries + 1, due=due)

    def _only(self, rows: pd.DataFrame, span: Span) -> pd.DataFrame:
        """The bars that were asked for, whatever came."""
        since, until = instant_of(span.since), instant_of(span.until)
        is_asked = (rows["symbol"] == span.symbol) & (rows["ts"] >= since) & (rows["ts"] < until)
        is_closed = rows["ts"] + self.step <= self.clock()
        return rows.loc[is_asked & is_closed, COLUMNS]

    async def _settled(self, span: Span) -> None:
        while True:
            left_s = (span.until - us_of(self.clock())) / 1e6 + self.settle_s
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, 1.0))

    async def _hand_over(self, tables: list[pd.DataFrame]) -> None:
        rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
        if rows.empty:
            return
        rows = rows.sort_values(["ts", "symbol"], kind="stable", ignore_index=True)
        log.info(
            "%s: refilled %d candles of %d symbols, %s to %s", self.name, len(rows),
            rows["symbol"].nunique(), rows["ts"].iloc[0], rows["ts"].iloc[-1] + self.step,
        )  # fmt: skip
        self._is_handing_over = True
        for first in range(0, len(rows), ROWS_AT_ONCE):
            await self.outbox.put_first(rows.iloc[first : first + ROWS_AT_ONCE])
        self._is_handing_over = False
        if self._held_until:
            self._be_patient()

    async def _watch_the_hold(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            if 0 < self._held_until <= now and not self._is_handing_over:
                log.warning(
                    "%s: what was missed is not refilled after %.0f s; it goes on, and asks again",
                    self.name, self.hold_s,
                )  # fmt: skip
                self._wanted.let_go()
                self._release()
            await asyncio.sleep(min(1.0, self.hold_s / 4))

    def _be_patient(self) -> None:
        self._held_until = asyncio.get_running_loop().time() + self.hold_s

    def _release(self) -> None:
        self._held_until = 0.0
        self.outbox.release()

    async def _pause(self, seconds: float) -> None:
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else max(seconds, 0.0)):
                await self._news.wait()
