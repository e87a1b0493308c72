"""What every request passes before it is read: who asks, how often, how much, how slowly."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.entrypoints.api.problems import MEDIA_TYPE, Problem, body_of
from components.entrypoints.api.service import Service
from components.keys import OPEN, Key, id_of
from components.rate_limits import Buckets, Leave

log = logging.getLogger("tremor")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FAULT = "a fault of this program; its log has the request's id"

# Wrong keys that one address may try in a minute.
WRONG_KEYS = 300

# Names under which a page on another site cannot reach this machine's own address.
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass
class Guard:
    """Stands round the application.

    Bodies are read here, whole, so that one that is too large, or too slow, never gets further.
    """

    app: App
    service: Service

    def __post_init__(self) -> None:
        settings = self.service.settings
        self._buckets = Buckets(settings.api_requests_per_minute)
        self._wrong = Buckets(WRONG_KEYS)
        self._most_bytes = int(settings.api_max_mb * 2**20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, request_id = time.perf_counter(), uuid.uuid4().hex
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        answer = _Answer(send, request_id)
        try:
            key, leave = self._let_in(scope)
            answer.headers += _told(self._buckets, leave)
            scope["state"]["key"] = key
            body = await self._read(scope, receive)
            await self.app(scope, _replayed(body, receive), answer.send)
        except Problem as problem:
            await answer.refuse(problem)
        except Exception:
            log.exception("request %s: %s %s", request_id, scope["method"], scope["path"])
            await answer.refuse(Problem(500, FAULT))
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            self.service.metrics.answered(scope["method"], route, answer.status, seconds)

    def _let_in(self, scope: Scope) -> tuple[Key, Leave]:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        key = self._who(headers, scope)
        leave = self._buckets.take(key.id, time.monotonic())
        if not leave.is_given:
            raise _too_often(f"more than {self._buckets.per_minute:g} requests a minute", leave)
        return key, leave

    def _who(self, headers: dict[bytes, str], scope: Scope) -> Key:
        """The key that a request is made with.

        Raises
        ------
        Problem
            401 without one in force, 429 for who tries too many.
        """
        text = headers.get(b"x-api-key", "")
        scheme, _, said = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            text = said.strip()
        if not text and self.service.settings.api_open:
            _require_own_name(headers.get(b"host", ""))
            return OPEN
        key = self.service.keys.get(id_of(text))
        if key is not None and key.is_of(text) and key.holds(pd.Timestamp.now("UTC")):
            return key
        if text:
            address = (scope.get("client") or ("", 0))[0]
            leave = self._wrong.take(address, time.monotonic())
            if not leave.is_given:
                raise _too_often("too many wrong keys", leave)
        what = "the key is not in force" if text else "a key is needed"
        detail = f"{what}: send it as `Authorization: Bearer KEY`; `keys make` makes one"
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The body, whole.

        Raises
        ------
        Problem
            413 where it is too large, 408 where it comes too slowly.
        """
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self._most_bytes:
            raise self._too_large()
        patience = self.service.settings.api_timeout_s
        try:
            async with asyncio.timeout(patience):
                return await self._received(receive)
        except TimeoutError:
            detail = f"the body did not come within {patience:g} s"
            raise Problem(408, detail, headers={"Connection": "close"}) from None

    async def _received(self, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the body broke off")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> Problem:
        most = self.service.settings.api_max_mb
        detail = f"the body is larger than {most:g} MB: send it in parts, or as Parquet"
        return Problem(413, detail, headers={"Connection": "close"})


class _Answer:
    """Sends an answer with what is said of every one, and remembers how it ended."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._id, self.status, self._has_begun = send, request_id, 500, False
        self.headers: list[tuple[bytes, bytes]] = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._has_begun, self.status = True, message["status"]
            message["headers"] = [*message.get("headers", []), *self.headers]
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        if self._has_begun:
            return
        body = body_of(problem, self._id)
        headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **problem.headers}
        headers["content-length"] = str(len(body))
        told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": problem.status, "headers": told}
        await self.send(start)
        await self._send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the application; behind it what the client does next."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again


def _require_own_name(host: str) -> None:
    """Refuse a page of another site whose name was made to lead to this machine."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name not in OWN_NAMES:
        raise Problem(401, f"without keys this machine is called {' or '.join(OWN_NAMES[:2])}")


def _too_often(what: str, leave: Leave) -> Problem:
    wait = max(1, round(leave.wait_s + 0.5))
    return Problem(429, f"{what}: ask again in {wait} s", headers={"Retry-After": str(wait)})


def _told(buckets: Buckets, leave: Leave) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-limit", f"{buckets.per_minute:g}".encode()),
        (b"ratelimit-remaining", str(leave.remaining).encode()),
    ]
