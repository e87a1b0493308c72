"""``GET /v1/stream``: new verdicts as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from components.entrypoints.api.alerts import READ
from components.entrypoints.api.problems import Problem
from components.entrypoints.api.replies import Responses, as_json, require, service
from components.entrypoints.api.schemas import Symbol
from components.entrypoints.api.service import Force, Service
from components.errors import TremorError
from components.reading import news

router = APIRouter(tags=["stream"])

# Who reads so slowly that so many events wait is told so and let go; and listeners at once.
MOST_WAITING, MOST_LISTENERS = 10_000, 200

# A sign of life at least so often, s, so that nobody in between hangs up.
BEAT_S = 15.0

# Runs and a stream's slices are stored some time after the instant that they are known at.
OVERLAP = pd.Timedelta(seconds=60)

SSE: Responses = {
    200: {
        "description": "Events `verdict`, each with an id to go on from",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@dataclass(eq=False)
class Listener:
    """Who listens, and to what."""

    symbol: str
    level: int
    waiting: asyncio.Queue[dict[str, Any] | None] = field(
        default_factory=lambda: asyncio.Queue(MOST_WAITING)
    )

    def hear(self, row: dict[str, Any]) -> None:
        """Take an event that is wanted; None, the end, where too many wait."""
        if row["level"] < self.level or (self.symbol and row["symbol"] != self.symbol):
            return
        if self.waiting.qsize() >= MOST_WAITING - 1:
            with contextlib.suppress(asyncio.QueueFull):
                self.waiting.put_nowait(None)
            return
        self.waiting.put_nowait(row)


class Broadcast:
    """Reads what is new once, for all who listen."""

    def __init__(self, held: Service) -> None:
        self._held = held
        self.listeners: set[Listener] = set()
        self._told: dict[tuple[Any, ...], None] = {}
        self._after = pd.Timestamp.now("UTC")
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        held.on_news.append(self._on_news)
        held.on_leave.append(self._leave)

    def _on_news(self, before: Force, now: Force) -> None:
        if not self.listeners:
            self._after = pd.Timestamp.now("UTC")
            return
        at = now.run_at if now.run != before.run else None
        task = asyncio.create_task(self._tell(at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self) -> None:
        """Nothing more comes: whoever listens is let go."""
        for listener in self.listeners:
            listener.waiting.put_nowait(None)

    async def _tell(self, run_at: pd.Timestamp | None) -> None:
        """Tell what became known lately, and what a run of another day found."""
        with contextlib.suppress(TremorError):
            async with self._turn:
                now, after = pd.Timestamp.now("UTC"), self._after - OVERLAP
                await self._read(after, now)
                if run_at is not None and not after < run_at <= now:
                    await self._read(run_at - pd.Timedelta(microseconds=1), run_at)
                self._after = now

    async def _read(self, after: pd.Timestamp, until: pd.Timestamp) -> None:
        interval = self._held.settings.interval
        while True:
            rows = await self._held.ask(news.verdicts, interval, after, until)
            for row in rows.to_dict("records"):
                self._once({str(name): value for name, value in row.items()})
            if len(rows) < news.MOST or rows["known_at"].iloc[-1] == after:
                return
            after = rows["known_at"].iloc[-1]

    def _once(self, row: dict[str, Any]) -> None:
        bar = (row["symbol"], row["ts"], row["judge"], row["known_at"])
        if bar in self._told:
            return
        self._told[bar] = None
        if len(self._told) > 4 * MOST_WAITING:
            del self._told[next(iter(self._told))]
        for listener in self.listeners:
            listener.hear(row)


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
    after = _after(request.headers.get("last-event-id"))
    listener = Listener(symbol or "", level)
    events = _events(service(request), broadcast, listener, after)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _events(
    held: Service, broadcast: Broadcast, listener: Listener, after: pd.Timestamp | None
) -> AsyncIterator[bytes]:
    broadcast.listeners.add(listener)
    held.metrics.listening(1)
    try:
        yield b"retry: 3000\n\n"
        if after is not None:
            for row in await _missed(held, listener, after):
                yield _event(row)
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    heard = await listener.waiting.get()
            except TimeoutError:
                yield b": nothing new\n\n"
                continue
            if heard is None:
                yield b"event: end\ndata: begin again behind the last id\n\n"
                return
            yield _event(heard)
    finally:
        broadcast.listeners.discard(listener)
        held.metrics.listening(-1)


async def _missed(held: Service, listener: Listener, after: pd.Timestamp) -> list[dict[str, Any]]:
    """What became known since the event that was heard last."""
    now = pd.Timestamp.now("UTC")
    rows = await held.ask(news.verdicts, held.settings.interval, after, now, listener.level)
    own = rows[rows["symbol"] == listener.symbol] if listener.symbol else rows
    return [{str(k): v for k, v in row.items()} for row in own.to_dict("records")]


def _event(row: dict[str, Any]) -> bytes:
    said = as_json(row).decode()
    return f"id: {row['known_at'].isoformat()}\nevent: verdict\ndata: {said}\n\n".encode()


def _after(said: str | None) -> pd.Timestamp | None:
    if not said:
        return None
    at = pd.to_datetime(said, utc=True, errors="coerce")
    return None if pd.isna(at) else at
