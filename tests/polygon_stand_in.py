"""A stand-in for Massive's REST API on the loopback interface: a real HTTP server.

``with PolygonStandIn({"AAPL": bars("2026-07-13 08:00", [10, 11])}) as server: server.url``

It keeps the provider's rules: the key in a header, ranges, limits, pages by ``next_url``, a
budget of requests, 404 for an unknown instrument's details.
"""

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd

KEY = "sEcReT_kEy_0123456789abcdef"
NEW_YORK = "America/New_York"


@dataclass(frozen=True)
class Status:
    """An answer by its parts; ``sent`` cuts the body short of its stated length."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    sent: int | None = None


UNKNOWN_KEY = Status(401, b'{"status":"ERROR","request_id":"r","error":"Unknown API Key"}')
NOT_IN_PLAN = Status(
    403,
    b'{"status":"NOT_AUTHORIZED","request_id":"r","message":"Your plan doesn\'t include this '
    b'data timeframe. Please upgrade your plan at https://massive.com/pricing"}',
)
NOT_FOUND = Status(404, b'{"status":"NOT_FOUND","request_id":"r","message":"Ticker not found."}')
TOO_MANY = Status(
    429,
    b'{"status":"ERROR","request_id":"r","error":"You\'ve exceeded the maximum requests per '
    b'minute, please wait or upgrade your subscription to continue."}',
)
SERVER_ERROR = Status(502, b"<html><body>Bad Gateway</body></html>")
DROPPED = Status(sent=-1)


def bars(first: str, closes: Sequence[float], freq: str = "min") -> list[dict[str, Any]]:
    """Make plain bars in the API's keys; ``first`` is New York's time."""
    ts = pd.date_range(first, periods=len(closes), freq=freq, tz=NEW_YORK)
    close = np.asarray(closes, dtype=float)
    table = pd.DataFrame(
        {
            "v": 1000.5,
            "vw": close + 0.25,
            "o": close,
            "c": close,
            "h": close + 0.125,
            "l": close - 0.125,
            "t": ts.tz_convert("UTC").as_unit("ms").astype("int64"),
            "n": 7,
        }
    )
    return table.to_dict("records")


class PolygonStandIn:
    """The server; ``requests`` keeps (path, parameters) of each that came.

    Parameters
    ----------
    aggregates : Mapping
        Bars by instrument, oldest first, in the API's keys.
    splits, dividends : sequence of dict
        Rows in the API's keys.
    script : Mapping
        Answers by the beginning of a path, given one after the other before the server's own.
    per_window, window_s : int, float
        The budget; more requests in a window are answered 429.
    next_url : callable
        Makes the address of a next page from the honest one.
    echoes : bool
        Every answer repeats the key, as a careless gateway may.
    adjusted : bool
        Says that prices are restated, whatever was asked for.
    """

    def __init__(
        self,
        aggregates: Mapping[str, list[dict[str, Any]]],
        *,
        splits: Sequence[dict[str, Any]] = (),
        dividends: Sequence[dict[str, Any]] = (),
        script: Mapping[str, Sequence[Status]] | None = None,
        per_window: int = 10_000,
        window_s: float = 60.0,
        page_size: int = 50_000,
        next_url: Callable[[str], str] = str,
        echoes: bool = False,
        adjusted: bool = False,
        status: str = "OK",
    ) -> None:
        self._aggregates = aggregates
        self._tables = {
            "splits": (list(splits), "execution_date"),
            "dividends": (list(dividends), "ex_dividend_date"),
        }
        self._script = {path: list(given) for path, given in (script or {}).items()}
        self._came: deque[float] = deque(maxlen=per_window)
        self._window_s, self._page_size, self._next_url = window_s, page_size, next_url
        self._echoes, self._adjusted, self._status = echoes, adjusted, status
        self._lock = threading.Lock()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.keys: list[str] = []
        self.statuses: list[int] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part: str) -> list[dict[str, str]]:
        """Tell the parameters of the requests whose path holds ``part``."""
        return [params for path, params in self.requests if part in path]

    def answer(self, target: str, key: str) -> Status:
        """Choose the answer to a request."""
        parts = urlsplit(target)
        path = unquote(parts.path)
        params = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            self.requests.append((path, params))
            self.keys.append(key)
            now = time.monotonic()
            is_full = len(self._came) == self._came.maxlen
            if is_full and now - self._came[0] < self._window_s:
                return TOO_MANY
            self._came.append(now)
            for begin, given in self._script.items():
                if path.startswith(begin) and given:
                    return given.pop(0)
        if key != f"Bearer {KEY}":
            return UNKNOWN_KEY
        return self._own(path, params)

    def _own(self, path: str, params: dict[str, str]) -> Status:
        names = path.strip("/").split("/")
        if path.startswith("/v2/aggs/ticker/"):
            return self._page_of_bars(path, names, params)
        if path.startswith("/v3/reference/tickers/"):
            known = {"status": "OK", "results": {"ticker": names[-1]}}
            return _as_json(known) if names[-1] in self._aggregates else NOT_FOUND
        if names[-1] in self._tables:
            return self._page_of_actions(names[-1], params)
        return Status(404, b"404 page not found")

    def _page_of_bars(self, path: str, names: list[str], params: dict[str, str]) -> Status:
        symbol, since, until = names[3], _milliseconds(names[7], 0), _milliseconds(names[8], 1)
        rows = [bar for bar in self._aggregates.get(symbol, []) if since <= bar["t"] < until]
        first, size = int(params.get("cursor", 0)), min(self._page_size, int(params["limit"]))
        page = rows[first : first + size]
        body: dict[str, Any] = {
            "ticker": symbol,
            "queryCount": len(page),
            "resultsCount": len(page),
            "adjusted": self._adjusted,
        }
        if page:
            body["results"] = page
        body |= {"status": self._status, "request_id": "r", "count": len(page)}
        if first + size < len(rows):
            query = f"limit={params['limit']}&cursor={first + size}"
            body["next_url"] = self._next_url(f"{self.url}{path}?{query}")
        if self._echoes:
            body["seen"] = KEY
        return _as_json(body)

    def _page_of_actions(self, kind: str, params: dict[str, str]) -> Status:
        rows, date = self._tables[kind]
        last = params.get(f"{date}.lte", "9999")
        chosen = [r for r in rows if r["ticker"] == params.get("ticker") and r[date] <= last]
        return _as_json({"results": chosen, "status": "OK", "request_id": "r"})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                reply = stand_in.answer(self.path, self.headers.get("Authorization", ""))
                stand_in.statuses.append(reply.status)
                time.sleep(reply.delay_s)
                if reply.sent == -1:
                    self.close_connection = True
                    return
                body = reply.body
                packed = reply.sent is None and "gzip" in self.headers["Accept-Encoding"]
                body = gzip.compress(body, mtime=0) if packed else body
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                if packed:
                    self.send_header("Content-Encoding", "gzip")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body[: reply.sent])
                self.close_connection = reply.sent is not None

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        return Handler


def _as_json(content: Any) -> Status:
    return Status(200, json.dumps(content).encode())


def _milliseconds(text: str, days: int) -> int:
    """Read a bound: a date of New York or milliseconds; the last of either is in."""
    if "-" not in text:
        return int(text) + days
    date = pd.Timestamp(text) + pd.Timedelta(days=days)
    return int(date.tz_localize(NEW_YORK).timestamp() * 1000)
