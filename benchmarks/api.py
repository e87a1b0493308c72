"""The API under load: one new candle of a known instrument a request, on loopback.

    python -m benchmarks.api [--symbols 50] [--seconds 20] [--connections 16]

A server over a judged market is asked for the same thing again and again (found in the cache), and
for what was never asked (judged). First at the rate that is wanted of it, kept whatever the answers
take, each answer's time counted from the moment at which its question was due; then as fast as it
can, by connections that ask again as soon as they are answered. Printed are requests a second, the
50th and 99th percentile of an answer's time, what the server's memory grew by, and the ratio to the
same server's cheapest answer, ``GET /v1/runs?limit=1``. At the end a body with whole histories is
judged, beside the judgement alone in this process.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import requests

from benchmarks.made_market import LAST, histories, judged_market
from components.ensemble import Ensemble
from components.entrypoints.api.bodies import ARROW
from components.panels import pack
from components.settings import ENSEMBLE
from tests.browser import environment

ROOT = Path(__file__).parents[1]
WANTED = {"cached": (600, 0.060), "uncached": (150, 0.150)}

# Connections at a rate: more than wait for an answer at a time, so that no question waits for one.
PATIENT = 200


@dataclass(frozen=True)
class Measured:
    """What one kind of question took."""

    name: str
    n: int
    seconds: float
    times: np.ndarray
    errors: int
    grown: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.n / self.seconds

    def line(self, base: float) -> str:
        """One line of the table."""
        p50, p99 = np.quantile(self.times, [0.5, 0.99]) * 1e3
        return (
            f"{self.name:<17} {self.per_second:7.0f}/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  "
            f"errors {self.errors}  memory {self.grown:+.1f} MB  ratio {self.per_second / base:.2f}"
        )


def rss(pid: int) -> float:
    """Resident memory of a process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def asked(
    port: int, requests, seconds: float, n_connections: int, rate: float = 0
) -> tuple[list, int]:
    """The time of each answer, s, and how many were not 200; ``requests`` gives the next one.

    ``rate`` is how many are due a second; 0: as many as are answered.
    """
    times: list[float] = []
    errors, start, due = 0, time.perf_counter(), count()
    until = start + seconds

    async def one() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            began = start + next(due) / rate if rate else time.perf_counter()
            if began >= until:
                break
            await asyncio.sleep(max(began - time.perf_counter(), 0))
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            times.append(time.perf_counter() - began)
            errors += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(one() for _ in range(n_connections)))
    return times, errors


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """One request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def score(symbol: str, close: float) -> bytes:
    """One new candle."""
    bar = {"symbol": symbol, "ts": f"{LAST + pd.Timedelta(days=1):%Y-%m-%d}", "volume": 5000}
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close * 1.002}
    return request("POST", "/v1/score", json.dumps({"candles": [{**bar, **prices}]}).encode())


def new_ones(closes: dict[str, float]):
    """Candles that were never asked of, instrument by instrument."""
    names = sorted(closes)
    for i in count():
        symbol = names[i % len(names)]
        yield score(symbol, closes[symbol] * (1 + 1e-7 * i))


def same_one(body: bytes):
    """The same question for ever."""
    while True:
        yield body


def measured(name: str, port: int, pid: int, requests, options, rate: float = 0) -> Measured:
    """Ask for a while; a short while before it warms what there is to warm."""
    n_connections = PATIENT if rate else options.connections
    asyncio.run(asked(port, requests, 2, n_connections, rate))
    before, began = rss(pid), time.perf_counter()
    times, errors = asyncio.run(asked(port, requests, options.seconds, n_connections, rate))
    seconds = time.perf_counter() - began
    return Measured(name, len(times), seconds, np.array(times), errors, rss(pid) - before)


def bulk(port: int, files: dict[str, pd.DataFrame]) -> None:
    """Whole histories in one body, as Arrow and as JSON, beside the judgement alone."""
    rows = pd.concat(
        frame.rename(columns=str.lower).assign(symbol=symbol) for symbol, frame in files.items()
    )
    rows["ts"] = pd.to_datetime(rows.pop("date"), utc=True)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    url = f"http://127.0.0.1:{port}/v1/score?history=none&reasons=none"
    as_text = rows.assign(ts=rows["ts"].dt.strftime("%Y-%m-%d")).to_dict("records")
    json_body = json.dumps({"candles": as_text}).encode()
    seconds = {
        "Arrow": sent(url, bytes(sink.getvalue()), ARROW),
        "JSON": sent(url, json_body, "application/json"),
    }
    rows = rows.assign(split=1.0, steps=1.0)
    symbols = tuple(sorted(files))
    ensemble, panel = Ensemble(ENSEMBLE, 4.0), pack(rows, symbols, symbols)
    rates = np.full(len(symbols), 4 / 365)
    ensemble.run(ensemble.start(len(symbols)), panel, rates)
    began = time.perf_counter()
    ensemble.run(ensemble.start(len(symbols)), panel, rates)
    alone = time.perf_counter() - began
    print(f"whole histories, judged alone: {len(rows) / alone:,.0f} bars/s")
    for kind, took in seconds.items():
        print(f"  as {kind}: {len(rows) / took:,.0f} bars/s, ratio {alone / took:.2f}")


def sent(url: str, body: bytes, kind: str) -> float:
    """How long a body and an answer of one kind take, s; the second time."""
    for _ in range(2):
        # Not the same question: a blank more.
        body += b" " if kind == "application/json" else b""
        headers = {"Content-Type": kind, "Accept": kind}
        began = time.perf_counter()
        reply = requests.post(f"{url}&x={time.time()}", data=body, headers=headers, timeout=300)
        took = time.perf_counter() - began
        reply.raise_for_status()
    return took


def main() -> None:
    """Make a market, serve it, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    files = histories(options.symbols, 1000)
    with (
        tempfile.TemporaryDirectory() as name,
        judged_market(Path(name), files, years=4) as own,
    ):
        ask_all(Path(name), own, files, options)


def ask_all(folder: Path, own: dict, files: dict[str, pd.DataFrame], options) -> None:
    """The figures."""
    said = environment({**own, "api_requests_per_minute": 10_000_000})
    line = [sys.executable, str(ROOT / "main.py"), "serve", "--open", "--port", "0"]
    server = subprocess.Popen(line, env=said, cwd=folder, stdout=subprocess.PIPE)
    try:
        port = int(server.stdout.readline().decode().split(":")[2].split("/")[0])
        closes = {symbol: float(frame["Close"].iloc[-1]) for symbol, frame in files.items()}
        first = min(closes)
        kinds = {
            "plain": same_one(request("GET", "/v1/runs?limit=1")),
            "cached": same_one(score(first, closes[first])),
            "uncached": new_ones(closes),
        }
        kept = {
            k: measured(f"{k} at {rate}/s", port, server.pid, kinds[k], options, rate)
            for k, (rate, _) in WANTED.items()
        }
        found = {k: measured(k, port, server.pid, r, options) for k, r in kinds.items()}
        for each in (*kept.values(), *found.values()):
            print(each.line(found["plain"].per_second))
        for kind, (rate, p99) in WANTED.items():
            each = kept[kind]
            # Each that was due was asked; answered as fast as they came, and in time.
            is_kept = each.n >= 0.99 * rate * options.seconds and each.per_second >= 0.98 * rate
            is_kept = is_kept and not each.errors and np.quantile(each.times, 0.99) <= p99
            print(
                f"{kind}: wanted {rate}/s and p99 {p99 * 1e3:.0f} ms: {'yes' if is_kept else 'no'}"
            )
        bulk(port, files)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
