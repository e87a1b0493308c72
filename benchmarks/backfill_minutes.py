"""A backfill of minute bars, end to end: archive -> raw lake -> Parquet -> PostgreSQL.

    python -m benchmarks.backfill_minutes --months 24 --symbols 2

A stand-in of Binance's archive (a process of its own on the loopback interface) answers
``python main.py backfill``, which loads an embedded PostgreSQL server in a temporary folder.
Beside it, in the same run: the same files downloaded one by one, unpacked, read by pyarrow and
put by bare COPY into a table without a key, nothing checked and nothing kept.
"""

import argparse
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import psycopg2
import requests
from pyarrow import csv

from components.embedded import close_embedded, open_embedded
from tests.binance_stand_in import BinanceStandIn, minutes

ROOT = Path(__file__).parents[1]
FIRST = pd.Timestamp("2023-01-01", tz="UTC")
WANTED_ROWS, WANTED_GIB = 100_000, 1.0

PLAIN = (
    "create table plain (open_time bigint, open float8, high float8, low float8, close float8, "
    "volume float8, close_time bigint, quote_volume float8, count bigint, taker float8, "
    "taker_quote float8, ignore float8)"
)


def names(n_symbols: int) -> list[str]:
    """Coins that nobody trades."""
    return [f"COIN{number:02d}USDT" for number in range(n_symbols)]


def serve(pipe: Connection, n_symbols: int, n_months: int) -> None:
    """Answer until the pipe says enough."""
    until = FIRST + pd.DateOffset(months=n_months)
    n_bars = int((until - FIRST) / pd.Timedelta(minutes=1))
    frames = {
        name: minutes(f"{FIRST:%Y-%m-%d}", n_bars, seed=seed)
        for seed, name in enumerate(names(n_symbols))
    }
    with BinanceStandIn(frames, interval="1m", published_until=until).prepare() as server:
        pipe.send(server.url)
        pipe.recv()


def _file(url: str, name: str, month: pd.Timestamp) -> str:
    return f"{url}/data/spot/monthly/klines/{name}/1m/{name}-1m-{month:%Y-%m}.zip"


@contextmanager
def archive(n_symbols: int, n_months: int) -> Iterator[str]:
    """Run the stand-in in a process of its own; give its address."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, n_symbols, n_months)
    )
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("enough")
        process.join(10)


def backfilled(
    url: str, database: str, folder: Path, symbols: list[str], until: pd.Timestamp
) -> tuple[float, float]:
    """Run the command; give its seconds and the most memory that it held, GiB."""
    settings = {
        "TREMOR_SOURCE": "binance",
        "TREMOR_INTERVAL": "1m",
        "TREMOR_SYMBOLS": ",".join(symbols),
        "TREMOR_BINANCE_ARCHIVE_URL": url,
        "TREMOR_BINANCE_API_URL": url,
        "TREMOR_WAREHOUSE_URL": database,
        "TREMOR_STATE_DIR": str(folder),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TREMOR_")}
    span = ("--since", f"{FIRST:%Y-%m-%d}", "--until", f"{until:%Y-%m-%d}")
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "backfill", *span], env=kept | settings, cwd=folder
    )
    _, code, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert code == 0, code
    return seconds, used.ru_maxrss / 2**20


def plainly(url: str, database: str, symbols: list[str], until: pd.Timestamp) -> float:
    """Download, unpack, read and COPY, one file after another; give the seconds."""
    started = time.perf_counter()
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(PLAIN)
        for name in symbols:
            for month in pd.date_range(FIRST, until, freq="MS", inclusive="left"):
                body = requests.get(_file(url, name, month), timeout=60).content
                with zipfile.ZipFile(io.BytesIO(body)) as packed:
                    text = packed.read(packed.namelist()[0])
                table = csv.read_csv(
                    io.BytesIO(text), csv.ReadOptions(autogenerate_column_names=True)
                )
                sink = io.BytesIO()
                csv.write_csv(table, sink, csv.WriteOptions(include_header=False))
                sink.seek(0)
                cursor.copy_expert("copy plain from stdin (format csv)", sink, size=1 << 20)
    connection.close()
    return time.perf_counter() - started


def main() -> None:
    """Read the arguments, run both ways, and print rows a second and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--symbols", type=int, default=2)
    chosen = parser.parse_args()
    symbols, until = names(chosen.symbols), FIRST + pd.DateOffset(months=chosen.months)
    n_rows = chosen.symbols * int((until - FIRST) / pd.Timedelta(minutes=1))
    with (
        tempfile.TemporaryDirectory(prefix="tremor-bench-") as name,
        archive(chosen.symbols, chosen.months) as url,
    ):
        Path(name).chmod(0o711)
        database = open_embedded(Path(name))
        try:
            bare = plainly(url, database, symbols, until)
            print(f"{'plain files, bare COPY':30s} {bare:7.1f} s {n_rows / bare:12,.0f} candles/s")
            took, gib = backfilled(url, database, Path(name), symbols, until)
        finally:
            close_embedded(Path(name))
    rate = n_rows / took
    print(f"{'backfill, start to end':30s} {took:7.1f} s {rate:12,.0f} candles/s, {gib:.2f} GiB")
    print(f"backfill / plain: {took / bare:.2f} of the time")
    kept = rate >= WANTED_ROWS and gib < WANTED_GIB
    print(f"wanted: {WANTED_ROWS:,} candles/s below 1 GiB: {'kept' if kept else 'NOT kept'}")


if __name__ == "__main__":
    main()
