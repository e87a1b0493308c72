"""``GET /v1/stream``: new verdicts as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from components.documents import records
from components.entrypoints.api.alerts import READ
from components.entrypoints.api.bodies import FIRST_YEAR, LAST_YEAR
from components.entrypoints.api.problems import Problem
from components.entrypoints.api.replies import Responses, as_json, require, service
from components.entrypoints.api.schemas import Symbol
from components.entrypoints.api.service import Force, Service
from components.errors import TremorError
from components.keys import Key
from components.reading import news

router = APIRouter(tags=["stream"])

# Who reads so slowly that so many events wait is told so and let go; and listeners at once.
MOST_WAITING, MOST_LISTENERS = 10_000, 200

# A sign of life at least so often, s, so that nobody in between hangs up.
BEAT_S = 15.0

# Runs and a stream's slices are stored some time after the instant that they are known at.
OVERLAP = pd.Timedelta(seconds=60)

# Whoever's key is revoked hears nothing after so long, s.
CHECK_S = 1.0

# Of what one returns to, so many verdicts at most; more are for ``/scores``.
MOST_MISSED = 100_000

SSE: Responses = {
    200: {
        "description": "Events `verdict`, each with an id to go on from",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

Row = dict[str, Any]

# Of an event's id.
N_PARTS = 4


@dataclass(eq=False)
class Listener:
    """Who listens, with which key, and to what; ``heard`` are the ids of what he was told."""

    key: Key
    symbol: str
    level: int
    waiting: asyncio.Queue[Row | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    heard: dict[str, None] = field(default_factory=dict)

    def wants(self, row: Row) -> bool:
        """Whether a verdict is of what he listens to, and was not told him before."""
        is_asked = row["level"] >= self.level and self.symbol in ("", row["symbol"])
        name = id_of(row)
        if not is_asked or name in self.heard:
            return False
        self.heard[name] = None
        if len(self.heard) > 4 * MOST_WAITING:
            del self.heard[next(iter(self.heard))]
        return True

    def hear(self, row: Row) -> None:
        """Take an event; the end, where too many wait."""
        if self.waiting.qsize() >= MOST_WAITING - 1:
            self.end()
        elif self.wants(row):
            self.waiting.put_nowait(row)

    def end(self) -> None:
        """Let him go behind what waits."""
        with contextlib.suppress(asyncio.QueueFull):
            self.waiting.put_nowait(None)


class Broadcast:
    """Reads what is new once, for all who listen."""

    def __init__(self, held: Service) -> None:
        self._held = held
        self.listeners: set[Listener] = set()
        self._after = pd.Timestamp.now("UTC")
        self._runs: list[pd.Timestamp] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        held.on_news.append(self._on_news)
        held.on_leave.append(self._leave)

    def _on_news(self, before: Force, now: Force) -> None:
        if not self.listeners:
            self._after = pd.Timestamp.now("UTC")
            return
        if now.run_at is not None and now.run != before.run:
            self._runs.append(now.run_at)
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self) -> None:
        """Nothing more comes: whoever listens is let go."""
        for listener in self.listeners:
            listener.end()

    async def _tell(self) -> None:
        """Tell what became known lately, and what runs of other days found.

        What could not be read is told with the next news.
        """
        with contextlib.suppress(TremorError):
            async with self._turn:
                now, after = pd.Timestamp.now("UTC"), self._after - OVERLAP
                async for row in _read(self._held, news.Place(after), now):
                    self._hear(row)
                self._after = now
                while self._runs:
                    async for row in _read(self._held, news.Place(self._runs[0]), self._runs[0]):
                        self._hear(row)
                    self._runs.pop(0)

    def _hear(self, row: Row) -> None:
        for listener in self.listeners:
            listener.hear(row)


async def _read(
    held: Service, after: news.Place, until: pd.Timestamp, level: int = 0, symbol: str = ""
) -> AsyncIterator[Row]:
    """Every verdict behind a place, page by page."""
    interval = held.settings.interval
    while True:
        rows = await held.ask(news.verdicts, interval, after, until, level, symbol)
        found = records(rows)
        for row in found:
            yield row
        if len(found) < news.MOST:
            return
        after = news.place_of(found[-1])


@router.get("/v1/stream", dependencies=[require("read")], responses={**SSE, **READ})
async def stream(
    request: Request,
    symbol: Symbol | None = None,
    level: Annotated[int, Query(ge=0, le=3, description="This level and above.")] = 0,
) -> StreamingResponse:
    """New verdicts as they are stored. ``Last-Event-ID`` goes on behind that event."""
    broadcast: Broadcast = request.app.state.broadcast
    if len(broadcast.listeners) >= MOST_LISTENERS:
        raise Problem(503, f"{MOST_LISTENERS} listen already", headers={"Retry-After": "30"})
    after = place_in(request.headers.get("last-event-id"))
    listener = Listener(request.state.key, symbol or "", level)
    events = _events(service(request), broadcast, listener, after)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _events(
    held: Service, broadcast: Broadcast, listener: Listener, after: news.Place | None
) -> AsyncIterator[bytes]:
    broadcast.listeners.add(listener)
    held.metrics.listening(1)
    try:
        yield b"retry: 3000\n\n"
        async for row in _missed(held, listener, after):
            yield _event(row)
        async for said in _waited_for(held, listener):
            yield said
    finally:
        broadcast.listeners.discard(listener)
        held.metrics.listening(-1)


async def _waited_for(held: Service, listener: Listener) -> AsyncIterator[bytes]:
    """Events as they come, and signs of life; until the end, or the key's."""
    silent_s = 0.0
    while held.may_go_on(listener.key):
        try:
            async with asyncio.timeout(CHECK_S):
                row = await listener.waiting.get()
        except TimeoutError:
            silent_s += CHECK_S
            if silent_s >= BEAT_S:
                silent_s = 0.0
                yield b": nothing new\n\n"
            continue
        if row is None or not held.may_go_on(listener.key):
            break
        silent_s = 0.0
        yield _event(row)
    yield b"event: end\ndata: begin again behind the last id\n\n"


async def _missed(
    held: Service, listener: Listener, after: news.Place | None
) -> AsyncIterator[Row]:
    """What became known since the event that was heard last."""
    if after is None:
        return
    now, n_told = pd.Timestamp.now("UTC"), 0
    async for row in _read(held, after, now, listener.level, listener.symbol):
        if n_told < MOST_MISSED and listener.wants(row):
            n_told += 1
            yield row


def id_of(row: Row) -> str:
    """An event's id: its verdict's place in the order in which verdicts become known."""
    parts = (row["known_at"].isoformat(), row["symbol"], row["ts"].isoformat(), row["judge"])
    return " ".join(parts)


def place_in(said: str | None) -> news.Place | None:
    """The place that an id names; an instant alone is before all that became known at it."""
    parts = (said or "").split(" ")
    at, ts = (
        _instant(each) for each in (parts[0], parts[2] if len(parts) == N_PARTS else parts[0])
    )
    if at is None or ts is None:
        return None
    return news.Place(at, parts[1], ts, parts[3]) if len(parts) == N_PARTS else news.Place(at)


def _instant(said: str) -> pd.Timestamp | None:
    found = pd.to_datetime(said, utc=True, errors="coerce")
    if not isinstance(found, pd.Timestamp) or not FIRST_YEAR <= found.year <= LAST_YEAR:
        return None
    return found


def _event(row: Row) -> bytes:
    return f"id: {id_of(row)}\nevent: verdict\ndata: {as_json(row).decode()}\n\n".encode()
