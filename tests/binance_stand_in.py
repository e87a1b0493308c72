"""A stand-in for Binance on the loopback interface: its public archive and its REST API.

``with BinanceStandIn({"BTCUSDT": frame}, interval="1m") as server: server.url``

``server.url`` is both ``binance_archive_url`` and ``binance_api_url``. Months and days that
ended by ``published_until`` have a zip and its CHECKSUM; REST shows every bar of the frame.
"""

import hashlib
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from components.sessions import length

FOLDERS = {"spot": "spot", "um": "futures/um"}
API = {"spot": ("/api/v3/klines", 1000), "um": ("/fapi/v1/klines", 1500)}
FILE = re.compile(
    r"^/data/(?P<folder>spot|futures/um)/(?P<span>monthly|daily)/klines/(?P<symbol>[^/]+)"
    r"/(?P<interval>[^/]+)/(?P=symbol)-(?P=interval)-(?P<period>[\d-]+)\.zip$"
)
MICROSECONDS_FROM = pd.Timestamp("2025-01-01", tz="UTC")
PRICES = ["open", "high", "low", "close"]
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)


@dataclass(frozen=True)
class Status:
    """An answer by its parts; ``sent`` cuts the body short of its stated length.

    A ``status`` of 0 stands for the true answer, so that it may be slow or cut; a ``sent`` of
    -1 closes the connection without a word.
    """

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    sent: int | None = None


NOT_FOUND = Status(404, b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>")
INVALID_SYMBOL = Status(400, b'{"code":-1121,"msg":"Invalid symbol."}')


def minutes(
    first: str, n_bars: int, interval: str = "1m", price: float = 100.0, seed: int = 0
) -> pd.DataFrame:
    """Make candles of a random walk from ``first`` on, in cents and thousandths of a coin."""
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(rng.normal(0, 1e-3, n_bars))), 2)
    start = np.append(close[:1], close[:-1])
    volume = np.round(rng.lognormal(2, 1, n_bars), 3)
    high = np.round(np.maximum(start, close) * (1 + rng.exponential(2e-4, n_bars)), 2)
    low = np.round(np.minimum(start, close) * (1 - rng.exponential(2e-4, n_bars)), 2)
    ts = pd.date_range(first, periods=n_bars, freq=length(interval), tz="UTC", unit="us")
    numbers = {"open": start, "high": high, "low": low, "close": close, "volume": volume}
    vwap = (high + low) / 2
    trades = rng.integers(1, 2000, n_bars)
    return pd.DataFrame({"ts": ts, **numbers, "vwap": vwap, "trades": trades})


def sheet(
    candles: pd.DataFrame, interval: str, *, is_micro: np.ndarray | bool, header: bool
) -> bytes:
    """Write candles as the archive does: twelve columns, each time in the unit asked for."""
    table = _texts(candles, interval, is_micro)
    if not len(table):
        return HEADER if header else b""
    body = io.BytesIO()
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(table, body, options)
    return (HEADER if header else b"") + body.getvalue()


def zipped(name: str, body: bytes) -> bytes:
    """Pack one file, as Binance does; the same file gives the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # Packed three times as fast as by default, into a sixth more bytes.
        archive.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED, compresslevel=3)
    return packed.getvalue()


def _texts(candles: pd.DataFrame, interval: str, is_micro: np.ndarray | bool) -> pa.Table:
    opens = pd.DatetimeIndex(candles["ts"]).as_unit("us").asi8
    last = opens + length(interval) // pd.Timedelta(microseconds=1) - 1
    micro = np.broadcast_to(is_micro, len(opens))
    numbers = {name: candles[name].to_numpy(dtype=float) for name in [*PRICES, "volume"]}
    mean = candles["vwap"].to_numpy() if "vwap" in candles else numbers["close"]
    trades = candles["trades"].to_numpy() if "trades" in candles else np.ones(len(opens))
    numbers["quote_volume"] = mean * numbers["volume"]
    money = {
        name: pa.array(np.round(values, 8)).cast(pa.decimal128(34, 8)).cast(pa.string())
        for name, values in numbers.items()
    }
    half = pa.array(np.round(numbers["volume"] / 2, 8)).cast(pa.decimal128(34, 8))
    return pa.table(
        {
            "open_time": np.where(micro, opens, opens // 1000),
            **{name: money[name] for name in [*PRICES, "volume"]},
            "close_time": np.where(micro, last, last // 1000),
            "quote_volume": money["quote_volume"],
            "count": trades.astype(int),
            "taker_buy_volume": half.cast(pa.string()),
            "taker_buy_quote_volume": money["quote_volume"],
            "ignore": np.full(len(opens), "0"),
        }
    )


class BinanceStandIn:
    """The server; ``asked`` keeps the path and query of each request, in their order.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        By instrument: ``ts`` and open, high, low, close, volume; ``vwap`` and ``trades`` if
        it has them. Oldest bar first.
    interval : str
        The bars' length, the only one that it serves.
    market : str
        "spot" (no line of names, microseconds since 2025) or "um" (names, milliseconds).
    published_until : Timestamp, optional
        Months and days that ended by then have a file; all that have bars when absent.
    monthly_until : Timestamp, optional
        The same for months, when they lag behind the days.
    """

    def __init__(
        self,
        frames: Mapping[str, pd.DataFrame],
        interval: str = "1m",
        market: str = "spot",
        published_until: pd.Timestamp | None = None,
        monthly_until: pd.Timestamp | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self.have(frames)
        self._interval, self._market = interval, market
        late = pd.Timestamp("2200-01-01", tz="UTC")
        self._until = {"daily": published_until or late}
        self._until["monthly"] = monthly_until or self._until["daily"]
        self._scripts: list[tuple[str, list[Status]]] = []
        self._files: dict[str, bytes | None] = {}
        self.gone: set[str] = set()
        self.asked: list[str] = []
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

    def have(self, frames: Mapping[str, pd.DataFrame]) -> None:
        """Have these bars from now on."""
        with self._lock:
            self._frames = {symbol: rows.reset_index(drop=True) for symbol, rows in frames.items()}
            self._opens = {
                symbol: pd.DatetimeIndex(rows["ts"]).as_unit("ms").asi8
                for symbol, rows in self._frames.items()
            }

    def prepare(self) -> Self:
        """Make every monthly file now, so that a measurement does not wait for it."""
        for symbol, frame in self._frames.items():
            folder = f"/data/{FOLDERS[self._market]}/monthly/klines/{symbol}/{self._interval}"
            for month in frame["ts"].dt.strftime("%Y-%m").unique():
                self._file(f"{folder}/{symbol}-{self._interval}-{month}.zip")
        return self

    def answer(self, part: str, *answers: Status) -> None:
        """Give these answers, in turn, to paths that hold ``part``; then the true ones."""
        with self._lock:
            self._scripts.append((part, list(answers)))

    def remove(self, *parts: str) -> None:
        """Have no file whose name holds one of these."""
        self.gone.update(parts)

    def reply(self, path: str) -> Status:
        """Choose the answer to a path with its query."""
        with self._lock:
            self.asked.append(unquote(path))
            script = next((s for s in self._scripts if s[0] in unquote(path) and s[1]), None)
            scripted = script[1].pop(0) if script else None
            if scripted is not None and scripted.status:
                return scripted
            true = self._true(path)
        if scripted is None:
            return true
        return Status(true.status, true.body, scripted.headers, scripted.delay_s, scripted.sent)

    def _true(self, path: str) -> Status:
        parts = urlsplit(path)
        if parts.path == API[self._market][0]:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            return self._page(asked)
        name = unquote(parts.path)
        body = self._file(name.removesuffix(".CHECKSUM"))
        if body is None or any(part in name for part in self.gone):
            return NOT_FOUND
        if name.endswith(".CHECKSUM"):
            file = name.removesuffix(".CHECKSUM").rpartition("/")[2]
            body = f"{hashlib.sha256(body).hexdigest()}  {file}\n".encode()
        return Status(200, body)

    def _file(self, path: str) -> bytes | None:
        if path not in self._files:
            self._files[path] = self._made(path)
        return self._files[path]

    def _made(self, path: str) -> bytes | None:
        match = FILE.match(path)
        if match is None or match["folder"] != FOLDERS[self._market]:
            return None
        symbol, is_month = match["symbol"], match["span"] == "monthly"
        if symbol not in self._frames or match["interval"] != self._interval:
            return None
        start = pd.Timestamp(match["period"], tz="UTC")
        end = start + (pd.offsets.MonthBegin() if is_month else pd.Timedelta(days=1))
        candles = self._between(symbol, int(start.timestamp() * 1e3), int(end.timestamp() * 1e3))
        if candles.empty or end > self._until[match["span"]]:
            return None
        is_micro = self._market == "spot" and start >= MICROSECONDS_FROM
        header = self._market == "um"
        name = path.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return zipped(name, sheet(candles, self._interval, is_micro=is_micro, header=header))

    def _between(self, symbol: str, since: int, until: int) -> pd.DataFrame:
        first, last = np.searchsorted(self._opens[symbol], [since, until])
        return self._frames[symbol].iloc[first:last]

    def _page(self, asked: Mapping[str, str]) -> Status:
        if asked["symbol"] not in self._frames or asked["interval"] != self._interval:
            return INVALID_SYMBOL
        limit = min(int(asked.get("limit", 500)), API[self._market][1])
        since, until = int(asked.get("startTime", 0)), int(asked.get("endTime", 10**14))
        candles = self._between(asked["symbol"], since, until + 1).head(limit)
        columns: list[list[Any]] = [
            column.to_pylist() for column in _texts(candles, self._interval, False).columns
        ]
        return Status(200, json.dumps([list(row) for row in zip(*columns, strict=True)]).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                reply = stand_in.reply(self.path)
                time.sleep(reply.delay_s)
                if reply.sent == -1:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: reply.sent])
                self.wfile.flush()
                self.close_connection = reply.sent is not None

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        return Handler
