"""A stand-in for a venue's stream: a WebSocket server on the loopback interface with a script.

``with SocketStandIn([Say("{}"), Cut(), Say("{}")]) as server: server.url``

The script goes on from one connection to the next: each takes the steps that are left. When
none is left, a connection stays open and silent.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass(frozen=True)
class Say:
    """Send a text or bytes."""

    what: str | bytes


@dataclass(frozen=True)
class Hear:
    """Wait for a text of the client's; it is kept in ``heard``."""


@dataclass(frozen=True)
class Do:
    """Call something, such as a clock that is put forward."""

    what: Callable[[], object]


@dataclass(frozen=True)
class Wait:
    """Say nothing for so long, s."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Break the connection without a word."""


@dataclass(frozen=True)
class Close:
    """Close it as the protocol has it."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True)
class Stall:
    """Say nothing until the client leaves; pings are answered."""


@dataclass(frozen=True)
class Deafen:
    """Neither speak nor read for so long, s: pings stay without a pong. Then cut."""

    seconds: float


Step = Say | Hear | Do | Wait | Cut | Close | Stall | Deafen


class SocketStandIn:
    """The server; ``paths`` keeps the path of each connection, ``heard`` what clients said.

    Parameters
    ----------
    script : iterable of steps
        Taken one by one, by whichever connection is open.
    redirect : str, default=""
        Where every client is sent in place of a connection.
    """

    def __init__(self, script: Iterable[Step] = (), redirect: str = "") -> None:
        self._steps, self._redirect = iter(script), redirect
        self._started = threading.Event()
        self.paths: list[str] = []
        self.heard: list[str] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._first, ping_interval=None,
            close_timeout=0.1, logger=logging.Logger("server", logging.CRITICAL + 1),
        )  # fmt: skip
        self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        self._started.set()
        await self._over.wait()
        for connection in list(server.connections):
            connection.transport.abort()
        server.close()

    def _first(self, connection: ServerConnection, request: Any) -> Any:
        if not self._redirect:
            return None
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = self._redirect
        return response

    async def _serve(self, socket: ServerConnection) -> None:
        self.paths.append(socket.request.path)
        try:
            while (step := next(self._steps, None)) is not None:
                await self._take(step, socket)
            await socket.wait_closed()
        except ConnectionClosed:
            return

    async def _take(self, step: Step, socket: ServerConnection) -> None:
        match step:
            case Say(what):
                await socket.send(what)
            case Hear():
                self.heard.append(str(await socket.recv()))
            case Do(what):
                what()
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Cut():
                socket.transport.abort()
                await socket.wait_closed()
                await socket.send("")
            case Close(code, reason):
                await socket.close(code, reason)
                await socket.send("")
            case Stall():
                await socket.wait_closed()
                await socket.send("")
            case Deafen(seconds):
                socket.transport.pause_reading()
                await asyncio.sleep(seconds)
                socket.transport.abort()
                await socket.wait_closed()
                await socket.send("")
