"""Loading candles: rows a second of a bare COPY, of ``Warehouse.upsert``, and of ``to_sql``.

    python -m benchmarks.load_candles --rows 1000000

Runs on the embedded server in a temporary folder, or on ``--url`` in a schema of its own.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2

from components.embedded import close_embedded, open_embedded
from components.rows import prepared
from components.tables import CANDLES
from components.warehouse import Warehouse
from components.warehouse.copying import CopySource

SCHEMA = "tremor_benchmark"
KNOWN_AT = pd.Timestamp("2025-01-01", tz="UTC")


def candles(n_rows: int, n_symbols: int = 1000) -> pd.DataFrame:
    """Random walks: ``n_symbols`` instruments of daily bars."""
    generator = np.random.default_rng(7)
    n_bars = -(-n_rows // n_symbols)
    close = 100 * np.exp(generator.normal(0, 0.01, (n_symbols, n_bars)).cumsum(axis=1)).ravel()
    opened = close * np.exp(generator.normal(0, 0.01, close.size))
    times = pd.date_range("1990-01-01", periods=n_bars, freq="D", tz="UTC", unit="us")
    rows = pd.DataFrame(
        {
            "symbol": np.repeat([f"SYM{k:05d}" for k in range(n_symbols)], n_bars),
            "interval": "1d",
            "ts": np.tile(times, n_symbols),
            "open": opened,
            "high": np.maximum(opened, close) * 1.01,
            "low": np.minimum(opened, close) * 0.99,
            "close": close,
            "volume": generator.lognormal(12, 1, close.size),
            "source": "sample",
            "known_at": KNOWN_AT,
        }
    )
    return rows.head(n_rows)


def timed(name: str, n_rows: int, work: Callable[[], object]) -> float:
    """Print and return rows a second."""
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(f"{name:34s} {seconds:8.2f} s {n_rows / seconds:12,.0f} rows/s", flush=True)
    return n_rows / seconds


def bare_copy(url: str, body: bytes, form: str) -> None:
    """COPY what is encoded already into an empty table with the same key."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.copy_expert(
            f"COPY {SCHEMA}.bare FROM STDIN (FORMAT {form})", io.BytesIO(body), size=1 << 20
        )
    connection.close()


def compare(url: str, n_rows: int, n_sample: int) -> None:
    """Print each way's rate and the ratios between them."""
    rows = candles(n_rows)
    source, chunks = CopySource(prepared(rows, CANDLES)), []
    while chunk := source.read(1 << 20):
        chunks.append(chunk)
    body = b"".join(chunks)
    bare = timed("bare COPY, encoded already", n_rows, lambda: bare_copy(url, body, source.form))
    with Warehouse(url, schema=SCHEMA) as warehouse:
        first = timed("upsert", n_rows, lambda: warehouse.upsert(CANDLES, rows))
        again = timed("upsert again (nothing new)", n_rows, lambda: warehouse.upsert(CANDLES, rows))
        later = rows.assign(known_at=KNOWN_AT + pd.Timedelta(days=1))
        later.loc[::100, "close"] *= 1.001
        timed("upsert, 1 in 100 corrected", n_rows, lambda: warehouse.upsert(CANDLES, later))
        timed("read as of", n_rows, lambda: warehouse.read(CANDLES, as_of=KNOWN_AT))
    pandas = timed("to_sql (a sample)", n_sample, lambda: with_pandas(url, rows.head(n_sample)))
    print(f"upsert / bare COPY {first / bare:.2f}   again / first {again / first:.2f}", end="   ")
    print(f"upsert / to_sql {first / pandas:.1f}")


def with_pandas(url: str, rows: pd.DataFrame) -> None:
    """Append with ``to_sql`` as it comes: SQLAlchemy, a thousand rows an INSERT."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.begin() as connection:
        rows.to_sql(
            "by_pandas", connection, schema=SCHEMA, if_exists="append", index=False, chunksize=1000
        )
    engine.dispose()


def with_schema(url: str, work: Callable[[str], None]) -> None:
    """Run ``work`` in a schema of its own, dropped afterwards."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    drop = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"
    with connection.cursor() as cursor:
        cursor.execute(drop)
        Warehouse(url, schema=SCHEMA).migrate()
        for name in ("bare", "by_pandas"):
            cursor.execute(f"CREATE TABLE {SCHEMA}.{name} (LIKE {SCHEMA}.candles)")
            cursor.execute(
                f'ALTER TABLE {SCHEMA}.{name} ADD PRIMARY KEY (symbol, "interval", ts, known_at)'
            )
        try:
            work(url)
        finally:
            cursor.execute(drop)
    connection.close()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=100_000, help="rows for to_sql")
    parser.add_argument("--url", help="a server; default: an embedded one, in a temporary folder")
    chosen = parser.parse_args()

    def work(url: str) -> None:
        compare(url, chosen.rows, chosen.sample)

    if chosen.url:
        with_schema(chosen.url, work)
        return
    with tempfile.TemporaryDirectory(prefix="tremor-bench-") as folder:
        Path(folder).chmod(0o711)
        with_schema(open_embedded(Path(folder)), work)
        close_embedded(Path(folder))


if __name__ == "__main__":
    main()
