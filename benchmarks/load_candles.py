"""Loading candles: rows a second of a bare COPY, of ``Warehouse.upsert``, and of ``to_sql``.

    python -m benchmarks.load_candles --rows 1000000

Runs on the embedded server in a temporary folder, or on ``--url`` in a schema of its own.
"""

import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import psycopg2

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


def bare_copy(url: str, body: bytes) -> None:
    """COPY what is encoded already into an empty table with the same key."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"COPY {SCHEMA}.candles FROM STDIN (FORMAT csv)")
        cursor.copy_expert(
            f"COPY {SCHEMA}.bare FROM STDIN (FORMAT csv)", io.BytesIO(body), size=1 << 20
        )
    connection.close()
