"""The stream in one process, whole: candles in, verdicts stored in PostgreSQL.

    python -m benchmarks.stream [--symbols 500] [--minutes 240] [--paced 60] [--long 0]

Candles of many coins are given to a session of ``stream`` in bulk, as fast as it takes them, then
at 2 000 a second, as a live feed gives them. Printed are candles a second, the time from a candle
to its stored verdict, and the ratio to the same session whose judgement is replaced by one that
passes everything (the same rows are stored). With ``--long`` minutes of such a pace its memory is
watched: the slope over the run, as a share of what it holds.
"""

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from components.embedded import close_embedded, open_embedded
from components.ensemble import Ensemble, Judged
from components.entrypoints.streaming import Outlets, Session
from components.feeds import Arrived
from components.metrics import Metrics
from components.panels import Array, CandlePanel
from components.settings import Settings
from components.wiring import open_parts

FIRST = pd.Timestamp("2024-01-01", tz="UTC")
MINUTE = pd.Timedelta(minutes=1)
PACE, TOGETHER = 2000, 40
WANTED_BULK, WANTED_P99_S, WANTED_SLOPE = 20_000, 0.1, 0.01

# Bars before anything is measured: all views have begun.
WARM_UP = 420


@dataclass
class Market:
    """A random market of coins, minute by minute."""

    n: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self) -> None:
        self.close = np.full(self.n, 100.0)
        self.symbols = [f"COIN{i:03d}USDT" for i in range(self.n)]
        self.minute = 0

    def minutes(self, n_bars: int) -> pd.DataFrame:
        """The next minutes of all coins."""
        shape = (n_bars, self.n)
        market = 3e-4 * self.random.standard_t(4, (n_bars, 1))
        moves = market + 8e-4 * self.random.standard_t(4, shape)
        close = self.close * np.exp(np.cumsum(moves, axis=0))
        opened = np.vstack([self.close, close[:-1]])
        high = np.maximum(opened, close) * (1 + 3e-4 * np.abs(self.random.standard_normal(shape)))
        low = np.minimum(opened, close) * (1 - 3e-4 * np.abs(self.random.standard_normal(shape)))
        volume = np.exp(5 + self.random.standard_normal(shape))
        ts = FIRST + MINUTE * np.arange(self.minute, self.minute + n_bars)
        self.close, self.minute = close[-1], self.minute + n_bars
        stamps = pd.DatetimeIndex(ts).as_unit("us").repeat(self.n)
        return pd.DataFrame(
            {
                "symbol": np.tile(np.array(self.symbols, dtype=object), n_bars),
                "ts": stamps,
                "open": opened.ravel(),
                "high": high.ravel(),
                "low": low.ravel(),
                "close": close.ravel(),
                "volume": volume.ravel(),
                "vwap": np.nan,
                "trades": np.nan,
                "known_at": stamps + MINUTE,
            }
        )


@dataclass
class Bench:
    """A feed of three stretches: unmeasured, in bulk, and paced."""

    market: Market
    n_bulk: int
    paced_s: float
    long_s: float
    name: str = "benchmark"
    is_live: bool = False

    def __post_init__(self) -> None:
        self.given: dict[int, float] = {}
        self.waits: list[float] = []
        self.bulk_s = self.bulk_cpu_s = 0.0
        self.memory: list[tuple[float, float]] = []
        self._paced_from = -1

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give the stretches, one after the other."""
        number = 0
        for _ in range(WARM_UP // TOGETHER):
            yield self._arrived(TOGETHER, number)
            number += 1
        began, spent = time.perf_counter(), time.process_time()
        for _ in range(self.n_bulk // TOGETHER):
            yield self._arrived(TOGETHER, number)
            number += 1
        self.bulk_s = time.perf_counter() - began
        self.bulk_cpu_s = time.process_time() - spent
        self._paced_from = number
        began, step = time.perf_counter(), self.market.n / PACE
        while time.perf_counter() - began < self.paced_s + self.long_s and not stop.is_set():
            due = began + (number - self._paced_from) * step
            time.sleep(max(due - time.perf_counter(), 0))
            yield self._arrived(1, number)
            number += 1

    def _arrived(self, n_bars: int, number: int) -> Arrived:
        candles = self.market.minutes(n_bars)
        self.given[number] = time.perf_counter()
        return Arrived(candles, candles["known_at"].iloc[-1], number)

    def done(self, number: int) -> None:
        """Note how long it took."""
        at = time.perf_counter()
        if number >= self._paced_from >= 0 and number in self.given:
            self.waits.append(at - self.given.pop(number))
            if number % 40 == 0:
                self.memory.append((at, _rss_mib()))

    def close(self) -> None:
        """Nothing is open."""


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Untold(Session):
    """A session whose alerts nobody makes: they are told beside, in a thread of their own."""

    def _teller(self, stack):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
        return SimpleNamespace(ask=lambda *_, **__: None)


class PassThrough(Ensemble):
    """Judges nothing: each bar is normal, and the state stays what it was."""

    def run(self, state, panel: CandlePanel, rates: Array):  # type: ignore[no-untyped-def] # noqa: ARG002
        """Give every bar the same verdict."""
        shape = panel.ts.shape
        n, none = len(self.seats), np.full(shape, np.nan)
        zeros = np.zeros(shape, dtype=np.int64)
        judged = Judged(
            panel=panel,
            score=np.full((n, *shape), np.nan),
            p=np.full((n, *shape), np.nan),
            n_reference=np.zeros((n, *shape), dtype=np.int64),
            agreed_p=np.where(panel.is_bar, 0.5, np.nan),
            votes=zeros,
            voters=zeros,
            vote_p=none,
            level=zeros,
            rate=none,
            is_anomaly=np.zeros(shape, dtype=bool),
            is_stale=np.zeros(shape, dtype=bool),
            bars_lacking=zeros,
            body=none,
            move=none,
            scale=none,
            market_part=none,
            residual_p=none,
            channels=np.full((6, *shape), 0.0),
            parameters=("",) * shape[0],
        )
        return {**state, "last_ts": panel.ts[:, -1], "n_bars": state["n_bars"] + 1}, judged


def session(options: argparse.Namespace, url: str, *, judges: bool) -> Bench:
    """Run one session over an empty warehouse."""
    market = Market(options.symbols)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            _env_file=None,
            source="files",
            files_root=Path(folder),
            interval="1m",
            symbols=tuple(market.symbols),
            state_dir=Path(folder),
            warehouse_url=url,
            calendars=dict.fromkeys(market.symbols, "24/7"),
            model="none",
        )
        paced_s = options.paced if judges else 0
        feed = Bench(market, options.minutes, paced_s, options.long * 60 if judges else 0)
        with open_parts(settings, FIRST, command="stream") as opened:
            ensemble = opened.ensemble
            if not judges:
                ensemble = PassThrough(ensemble.detectors, ensemble.alerts_per_year)
            parts = replace(opened, channels=(), ensemble=ensemble)
            work = Untold(parts, feed, Outlets(Metrics()), pd.Timedelta(0))
            work.work(FIRST, threading.Event())
        return feed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--minutes", type=int, default=240)
    parser.add_argument("--paced", type=float, default=60)
    parser.add_argument("--long", type=float, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    url = open_embedded(folder)
    n_candles = options.minutes // TOGETHER * TOGETHER * options.symbols
    try:
        plain = session(options, _database(url, "plain"), judges=False)
        judged = session(options, _database(url, "judged"), judges=True)
    finally:
        close_embedded(folder)
    rate, other = n_candles / judged.bulk_s, n_candles / plain.bulk_s
    print(f"{options.symbols} instruments, full default ensemble, verdicts and channels stored")
    own = 1e6 * judged.bulk_cpu_s / n_candles
    print(f"in bulk      {rate:9,.0f} candles/s (wanted {WANTED_BULK:,}); {own:.0f} us of CPU each")
    print(f"pass-through {other:9,.0f} candles/s; ratio {rate / other:.2f}")
    waits = np.array(judged.waits)
    if len(waits):
        low, high = np.quantile(waits, [0.5, 0.99])
        print(
            f"at {PACE:,}/s   median {low * 1000:.0f} ms, p99 {high * 1000:.0f} ms "
            f"from candle to stored verdict (wanted {WANTED_P99_S * 1000:.0f} ms), "
            f"{len(waits):,} arrivals"
        )
    if len(judged.memory) > 20:
        at, mib = map(np.array, zip(*judged.memory, strict=True))
        slope = np.polyfit(at, mib, 1)[0] * (at[-1] - at[0]) / mib.mean()
        print(
            f"memory       {mib[0]:.0f} to {mib[-1]:.0f} MiB over {(at[-1] - at[0]) / 60:.0f} min, "
            f"slope {100 * slope:+.1f} % (wanted within {100 * WANTED_SLOPE:.0f} %)"
        )


def _database(url: str, name: str) -> str:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'create database "{name}"')
    connection.close()
    return url.replace("/postgres?", f"/{name}?")


if __name__ == "__main__":
    main()
