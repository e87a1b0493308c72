"""A day's run over many instruments, from parse to verdicts, with short and with long history.

The history of 250 instruments is made by a seeded generator and judged once (not timed); the
others have the same history under their own names, and the same carried state. Then one new day
comes in as a provider's replies, and the run from parsing them to its verdicts is timed, in a
process of its own, with half of the history and with all of it in the warehouse.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from components import steps
from components.carried import Snapshot
from components.embedded import close_embedded, open_embedded
from components.records import CandleRequest, Parsed, RawBatch, RawReply
from components.sessions import Calendars
from components.settings import Settings
from components.sources.base import Traits
from components.steps.carrying import GROUP, read_group, updated, write_group
from components.steps.gather import BATCH
from components.tables import CANDLES
from components.wiring import open_parts

ROOT = Path(__file__).parents[1]
LAST = pd.Timestamp("2024-03-11", tz="UTC")
DAY = pd.Timedelta(days=1)


class Generated:
    """A source whose replies are made on the spot: one JSON body an instrument and day."""

    name = "generated"
    traits = Traits()

    def fetch(self, request):
        """One bar of one instrument, as bytes."""
        random = np.random.default_rng([7, *request.symbol.encode()])
        close = 100 * float(np.exp(0.01 * random.standard_t(4)))
        high, low = 1.002 * max(close, 100.0), 0.998 * min(close, 100.0)
        volume = round(1e6 * float(np.exp(0.4 * random.standard_normal())))
        bar = [request.until.isoformat(), 100.0, high, low, close, volume]
        body = json.dumps(bar).encode()
        as_of = request.as_of
        return RawReply(self.name, request, f"made:{request.symbol}", 200, as_of, body)

    def parse(self, reply):
        """The body as rows."""
        ts, *numbers = json.loads(reply.body)
        names = ("open", "high", "low", "close", "volume")
        row = {
            "line": [0],
            "ts": pd.DatetimeIndex([ts]),
            **{n: [v] for n, v in zip(names, numbers, strict=True)},
        }
        candles = pd.DataFrame(row).assign(vwap=np.nan, trades=np.nan)
        actions = pd.DataFrame({"ts": pd.DatetimeIndex([], tz="UTC"), "kind": [], "value": []})
        return Parsed(candles, actions)

    def symbols(self):
        """Every instrument is known to it."""
        return ()


def settings_of(folder: Path, url: str, n_symbols: int) -> Settings:
    """The settings of a run in ``folder``."""
    return Settings(
        _env_file=None,
        source="sample",
        symbols=",".join(f"S{i:05d}" for i in range(n_symbols)),
        state_dir=folder,
        warehouse_url=url,
    )


def fill(folder: Path, url: str, n_symbols: int, n_bars: int) -> None:
    """Put ``n_bars`` bars of every instrument into the warehouse, and the state behind them."""
    days = Calendars().expected("S00000", "1d", LAST - pd.Timedelta(days=3 * n_bars), LAST)[
        -n_bars:
    ]
    settings = settings_of(folder, url, n_symbols)
    as_of = LAST + pd.Timedelta(hours=6)
    with open_parts(settings, as_of) as parts:
        symbols = parts.watch.symbols
        for first in range(0, n_symbols, GROUP):
            parts.warehouse.upsert(CANDLES, _candles(symbols[first : first + GROUP], days, as_of))
            print(f"\rfilling {first / n_symbols:.0%}", end="", file=sys.stderr)
        steps.market(parts, as_of)
        ledger, pieces = steps.recall(parts, as_of)
        print("\rjudging    ", end="", file=sys.stderr)
        carried, _ = steps.judge(parts, ledger, next(pieces))
        first_group, judged = read_group(parts, carried, 0), carried.take(symbols[:GROUP])
        for group in range(1, -(-n_symbols // GROUP)):
            own = symbols[group * GROUP : (group + 1) * GROUP]
            alike = first_group.take(symbols[: len(own)]).state
            carried = write_group(parts, carried, group, Snapshot(own, alike), as_of)
            counts = judged.take(symbols[: len(own)]).state
            counts = {name: counts[name] for name in ("last_ts", "n_bars", "decided", "told")}
            carried = updated(carried, Snapshot(own, counts))
        steps.keep(parts, carried, as_of)
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)


def _candles(symbols, days, known_at):
    random = np.random.default_rng(len(days))
    moves = 0.01 * random.standard_t(4, (len(symbols), len(days)))
    close = 100 * np.exp(np.cumsum(moves, axis=1) - moves.sum(axis=1, keepdims=True))
    open_ = np.concatenate([np.full((len(symbols), 1), 100.0), close[:, :-1]], axis=1)
    n = len(days)
    return pd.DataFrame(
        {
            "symbol": np.repeat(np.array(symbols, dtype=object), n),
            "interval": "1d",
            "ts": pd.DatetimeIndex(np.tile(days.to_numpy(), len(symbols)), tz="UTC"),
            "open": open_.ravel(),
            "high": 1.002 * np.maximum(open_, close).ravel(),
            "low": 0.998 * np.minimum(open_, close).ravel(),
            "close": close.ravel(),
            "volume": np.round(1e6 * np.exp(0.4 * random.standard_normal(close.size))),
            "source": "generated",
            "known_at": known_at,
        }
    )


def one_day(folder: Path, url: str, n_symbols: int) -> None:
    """Run the new day from parse to verdicts; print seconds and peak memory as JSON."""
    settings = settings_of(folder, url, n_symbols)
    as_of = LAST + DAY + pd.Timedelta(hours=6)
    source = Generated()
    with open_parts(settings, as_of) as opened:
        parts = steps.Parts(**{**opened.__dict__, "source": source})
        requests = [CandleRequest(s, "1d", LAST, LAST + DAY, as_of) for s in parts.watch.symbols]
        replies = [source.fetch(r) for r in requests]
        replies = [
            RawReply(**{**r.__dict__, "body": r.body.replace(b"2024-03-12", b"2024-03-11")})
            for r in replies
        ]
        started = time.perf_counter()
        seconds = {}
        for first in range(0, len(replies), BATCH):
            batch = RawBatch(source.name, tuple(replies[first : first + BATCH]))
            refined = _timed(seconds, steps.refine, parts, batch)
            _timed(seconds, steps.load, parts, refined)
        _timed(seconds, steps.market, parts, as_of)
        carried, pieces = _timed(seconds, steps.recall, parts, as_of)
        for piece in pieces:
            carried, judged = _timed(seconds, steps.judge, parts, carried, piece)
            _timed(seconds, steps.record, parts, judged, as_of)
        _timed(seconds, steps.keep, parts, carried, as_of)
        total = time.perf_counter() - started
        n = parts.run.counts["verdicts_new"]
    print(json.dumps({"seconds": total, "peak_gib": _peak_gib(), "verdicts": n, "steps": seconds}))


def _peak_gib():
    """The most memory that this program held; getrusage would count its parent's too."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 2**20


def _timed(seconds, step, *args):
    started = time.perf_counter()
    result = step(*args)
    seconds[step.__name__] = round(seconds.get(step.__name__, 0) + time.perf_counter() - started, 2)
    return result


def measured(folder: Path, n_symbols: int, n_bars: int) -> dict:
    """Fill a fresh warehouse and run one day in a process of its own."""
    folder.mkdir()
    url = open_embedded(folder)
    fill(folder, url, n_symbols, n_bars)
    command = [
        sys.executable,
        "-m",
        "benchmarks.daily_run",
        "--day",
        str(folder),
        url,
        "--symbols",
        str(n_symbols),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    close_embedded(folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print both runs and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--bars", type=int, default=2520, help="ten years of sessions")
    parser.add_argument("--day", nargs=2, metavar=("FOLDER", "URL"))
    arguments = parser.parse_args()
    if arguments.day:
        one_day(Path(arguments.day[0]), arguments.day[1], arguments.symbols)
        return
    with tempfile.TemporaryDirectory(prefix="tremor-bench-") as folder:
        Path(folder).chmod(0o711)
        print(f"a day of {arguments.symbols:,} instruments, from parse to verdicts")
        found = {}
        for n_bars in (arguments.bars, 2 * arguments.bars):
            found[n_bars] = run = measured(Path(folder) / str(n_bars), arguments.symbols, n_bars)
            print(
                f"{n_bars:>6} bars of history each: {run['seconds']:.1f} s, "
                f"{run['peak_gib']:.2f} GiB at most, {run['verdicts']:,} verdicts, {run['steps']}"
            )
        short, long = (run["seconds"] for run in found.values())
        print(f"twice the history costs {long / short:.2f} times as long")


if __name__ == "__main__":
    main()
