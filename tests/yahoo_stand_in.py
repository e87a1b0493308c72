"""A stand-in for Yahoo's hosts on the loopback interface: a real HTTP server with a script.

``with YahooStandIn({"AAPL": [Status(429), chart("AAPL", rows)]}) as server: server.url``

Each instrument has a list of answers, given one after the other; the last one stays.
"""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd

CRUMB = b"cRumb.1234"
CHART = "/v8/finance/chart/"


@dataclass(frozen=True)
class Status:
    """An answer by its parts; ``sent`` cuts the body short of its stated length."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    delay_s: float = 0.0
    sent: int | None = None


TOO_MANY = Status(429, b"Edge: Too Many Requests", "text/plain")
SERVER_ERROR = Status(502, b"<html><body>Bad Gateway</body></html>", "text/html")
DELISTED = Status(
    404,
    b'{"chart":{"result":null,"error":{"code":"Not Found",'
    b'"description":"No data found, symbol may be delisted"}}}',
)
NO_DATA = Status(
    400,
    b'{"chart":{"result":null,"error":{"code":"Bad Request",'
    b'"description":"Data doesn\'t exist for startDate = 1, endDate = 2"}}}',
)
JUNK = Status(200, b"<html><title>Sign in</title></html>", "text/html")
DROPPED = Status(200, b"", sent=-1)

Answer = Status | bytes


def chart(
    symbol: str,
    candles: pd.DataFrame,
    *,
    splits: Mapping[str, tuple[float, float]] | None = None,
    dividends: Mapping[str, float] | None = None,
    interval: str = "1d",
    zone: str = "America/New_York",
    opening: str = "09:30",
    currency: str = "USD",
) -> bytes:
    """Make a chart's body as Yahoo would.

    Parameters
    ----------
    candles : DataFrame
        ``ts`` (session dates) and open, high, low, close, volume, in today's units: divided
        by the splits after them.
    splits, dividends : Mapping
        By session date: (numerator, denominator); money a share.
    """
    quote: dict[str, list[Any]] = {
        name: [None if pd.isna(value) else float(value) for value in candles[name]]
        for name in ("open", "high", "low", "close", "volume")
    }
    stamps = [_second(ts, zone, opening) for ts in candles["ts"]]
    meta = {
        "currency": currency,
        "symbol": symbol,
        "exchangeTimezoneName": zone,
        "instrumentType": "EQUITY",
        "dataGranularity": interval,
    }
    events: dict[str, Any] = {}
    for date, (new, old) in (splits or {}).items():
        second = _second(pd.Timestamp(date), zone, opening)
        entry = {"date": second, "numerator": new, "denominator": old}
        events.setdefault("splits", {})[str(second)] = entry
    for date, amount in (dividends or {}).items():
        second = _second(pd.Timestamp(date), zone, opening)
        events.setdefault("dividends", {})[str(second)] = {"date": second, "amount": amount}
    result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [quote]}}
    if stamps:
        result["timestamp"] = stamps
    if events:
        result["events"] = events
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def rows(first: str, closes: Sequence[float], freq: str = "B") -> pd.DataFrame:
    """Make plain candles with these closes, from the date ``first`` on."""
    close = np.asarray(closes, dtype=float)
    start = np.append(close[:1], close[:-1])
    return pd.DataFrame(
        {
            "ts": pd.date_range(first, periods=len(close), freq=freq, tz="UTC"),
            "open": start,
            "high": np.maximum(start, close) * 1.01,
            "low": np.minimum(start, close) * 0.99,
            "close": close,
            "volume": 1000.0,
        }
    )


def _second(date: pd.Timestamp, zone: str, opening: str) -> int:
    local = pd.Timestamp(f"{pd.Timestamp(date):%Y-%m-%d} {opening}")
    return int(local.tz_localize(zone).timestamp())


class YahooStandIn:
    """The server; ``requests`` keeps (symbol, parameters) of each chart that was asked for."""

    def __init__(
        self, answers: Mapping[str, Answer | Sequence[Answer]], crumb: Answer = CRUMB
    ) -> None:
        self._answers = {
            symbol: list(given) if isinstance(given, (list, tuple)) else [given]
            for symbol, given in answers.items()
        }
        self._crumb = crumb
        self._lock = threading.Lock()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> Status:
        """Choose the answer to a path, and note a chart that was asked for."""
        parts = urlsplit(path)
        if parts.path.endswith("/getcrumb"):
            return _as_status(self._crumb, "text/plain")
        if not parts.path.startswith(CHART):
            return Status(404, b"<html></html>", "text/html")
        symbol = unquote(parts.path.removeprefix(CHART))
        with self._lock:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.requests.append((symbol, asked))
            given = self._answers.get(symbol, [DELISTED])
            return _as_status(given.pop(0) if len(given) > 1 else given[0], "application/json")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                reply = stand_in.answer(self.path)
                time.sleep(reply.delay_s)
                if reply.sent == -1:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                self.send_header("Content-Length", str(len(reply.body)))
                self.send_header("Set-Cookie", "A3=cookie; Path=/")
                self.end_headers()
                self.wfile.write(reply.body[: reply.sent])
                self.close_connection = reply.sent is not None

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        return Handler


def _as_status(answer: Answer, kind: str) -> Status:
    return answer if isinstance(answer, Status) else Status(200, answer, kind)
