"""The life of a connection: login, listening, silence noticed, and again, for ever."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pandas as pd

from components.errors import FeedRefused
from components.feeds.base import Candle, Refused
from components.feeds.patience import Backoff, Patience
from components.feeds.venue import Line, Venue
from components.logs import log

# A connection that lived so long was well: the next wait is the shortest again, s.
WELL_S = 60.0

# So often in a row a venue may turn us away for what may pass (an old connection still counted).
MOST_REFUSALS = 5

# Frames that wait unread, after which the venue is held up.
FRAMES = 64

# Close codes that we send when what came was no WebSocket message, no UTF-8, or too large.
OUR_COMPLAINTS = {1002: "a broken message", 1007: "a message that is no UTF-8", 1009: "a message"}


class Taker(Protocol):
    """Who takes what a connection hears."""

    def begin(self, symbols: Iterable[str]) -> None:
        """Take note that these stream from now on; what closed unheard before is missing."""
        ...

    async def take(self, candle: Candle, text: str) -> None:
        """Take a closed candle."""
        ...

    async def refuse(self, refused: Refused) -> None:
        """Take what was malformed."""
        ...


class _Silent(Exception):
    """Nothing came that should have."""


class Connection:
    """One line of a venue, kept open.

    Parameters
    ----------
    venue : Venue
        Whose messages they are.
    line : Line
        Where to.
    taker : Taker
        Who takes them.
    step_s : float
        The bars' length, s.
    clock : callable
        Gives the present.
    is_due : callable
        Tells whether, of the last so many seconds, a bar should have come.
    patience, backoff : Patience, Backoff
        How long what may take; the waits between tries.
    """

    def __init__(
        self,
        venue: Venue,
        line: Line,
        taker: Taker,
        step_s: float,
        clock: Callable[[], pd.Timestamp],
        is_due: Callable[[float], bool],
        patience: Patience,
        backoff: Backoff,
    ) -> None:
        self._venue, self._line, self._taker, self._clock = venue, line, taker, clock
        self._candle_s = step_s + patience.late_s
        self._is_due, self._patience, self._backoff = is_due, patience, backoff
        self._tries = self._refusals = 0
        self._is_ready = self._brought_one = False
        self._heard_at = self._candle_at = self._asked_at = self._begun_at = 0.0

    async def attend(self) -> None:
        """Connect and listen until cancelled.

        Raises
        ------
        FeedRefused
            When the venue turns us away for good.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._begun_at, self._is_ready, self._brought_one = loop.time(), False, False
            reason = await self._once()
            lived_s = loop.time() - self._begun_at
            is_well = self._brought_one or (self._is_ready and lived_s >= WELL_S)
            self._tries = 0 if is_well else self._tries + 1
            wait_s = self._backoff.wait_s(self._tries)
            log.warning(
                "%s: %s after %.0f s at %s; again in %.1f s",
                self._venue.name, reason, lived_s, self._line.host, wait_s,
            )  # fmt: skip
            if not self._is_ready and self._tries > 1:
                # The stream may be down for long, and REST be up.
                self._taker.begin(self._line.symbols)
            await asyncio.sleep(wait_s)

    async def _once(self) -> str:
        """Live one connection; tell why it ended."""
        from websockets.exceptions import ConnectionClosed, WebSocketException

        try:
            async with _dial(self._line.url, self._venue.longest_message, self._patience) as socket:
                return await self._converse(socket)
        except _Silent as silent:
            return str(silent)
        except ConnectionClosed as closed:
            await self._complain(closed)
            return _words_of(closed)
        except (WebSocketException, OSError, EOFError) as error:
            return f"no connection ({_line_of(str(error) or type(error).__name__)})"

    async def _converse(self, socket: Any) -> str:
        now = asyncio.get_running_loop().time()
        self._heard_at = self._candle_at = self._asked_at = now
        if self._line.opening:
            await socket.send(self._line.opening)
        else:
            self._begin()
        while True:
            message = await self._message(socket)
            if not isinstance(message, str):
                await self._taker.refuse(
                    Refused(f"{self._venue.name}: {len(message)} bytes, no text")
                )
            elif reason := await self._hear(socket, message):
                return reason
            # Time spent on handing over is no silence of the venue's.
            self._heard_at = asyncio.get_running_loop().time()

    async def _hear(self, socket: Any, message: str) -> str:
        heard = self._venue.read(message, self._line, self._clock())
        for refused in heard.refused:
            await self._taker.refuse(refused)
        if heard.refusal is not None:
            self._turned_away(heard.refusal, is_final=heard.is_final)
            return _line_of(str(heard.refusal))
        if heard.answer:
            await socket.send(heard.answer)
        if heard.is_ready and not self._is_ready:
            self._begin()
        for candle, text in heard.candles:
            await self._taker.take(candle, text)
        if heard.candles:
            self._brought_one = True
            self._candle_at = self._asked_at = asyncio.get_running_loop().time()
        return "the venue is about to end the connection" if heard.is_last else ""

    def _begin(self) -> None:
        self._is_ready, self._refusals = True, 0
        log.info(
            "%s: connected to %s for %d symbols",
            self._venue.name, self._line.host, len(self._line.symbols),
        )  # fmt: skip
        self._taker.begin(self._line.symbols)

    def _turned_away(self, refusal: FeedRefused, *, is_final: bool) -> None:
        self._refusals += 1
        if is_final or self._refusals > MOST_REFUSALS:
            raise refusal

    async def _message(self, socket: Any) -> str | bytes:
        while True:
            try:
                async with asyncio.timeout_at(self._limit()):
                    message: str | bytes = await socket.recv()
                    return message
            except TimeoutError:
                self._notice_silence()

    def _limit(self) -> float:
        limits = [self._asked_at + self._candle_s]
        if self._venue.has_chatter:
            limits.append(self._heard_at + self._patience.silence_s)
        if not self._is_ready:
            limits.append(self._begun_at + self._patience.open_s)
        return min(limits)

    def _notice_silence(self) -> None:
        now, patience = asyncio.get_running_loop().time(), self._patience
        if not self._is_ready and now >= self._begun_at + patience.open_s:
            raise _Silent("no answer to the login")
        if self._venue.has_chatter and now >= self._heard_at + patience.silence_s:
            raise _Silent(f"silence: no message for {patience.silence_s:.0f} s")
        if now >= self._asked_at + self._candle_s:
            if self._is_due(now - self._candle_at):
                raise _Silent(f"silence: no closed candle for {now - self._candle_at:.0f} s")
            self._asked_at = now

    async def _complain(self, closed: Any) -> None:
        """Tell of a message that the library would not take."""
        sent = closed.sent.code if closed.sent is not None and not closed.rcvd_then_sent else 0
        if sent in OUR_COMPLAINTS:
            larger = f", larger than {self._venue.longest_message} bytes" if sent == 1009 else ""
            await self._taker.refuse(Refused(f"{self._venue.name}: {OUR_COMPLAINTS[sent]}{larger}"))


def _dial(url: str, longest: int, patience: Patience) -> Any:
    from websockets.asyncio.client import connect

    class Straight(connect):
        """A connection that goes nowhere else: what is said first may hold a key."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    # The library's own log would show, at its finest, what is sent: the key.
    unheard = logging.Logger("websockets", logging.CRITICAL + 1)
    return Straight(
        url,
        open_timeout=patience.open_s,
        ping_interval=patience.ping_s,
        ping_timeout=patience.pong_s,
        close_timeout=1.0,
        max_size=longest,
        max_queue=FRAMES,
        user_agent_header="tremor",
        logger=unheard,
    )


def _words_of(closed: Any) -> str:
    if closed.rcvd is not None and not (closed.sent is not None and not closed.rcvd_then_sent):
        return f"closed by the venue ({closed.rcvd.code} {_line_of(closed.rcvd.reason)})"
    if closed.sent is not None and closed.sent.code == 1011:
        return "no pong"
    if closed.sent is not None:
        return f"closed for what came ({closed.sent.code})"
    return "cut"


def _line_of(text: str) -> str:
    """A text from outside in one short line."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:160]
