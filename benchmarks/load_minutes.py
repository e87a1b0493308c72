"""Loading minute bars: rows a second into partitions by month, hours and days included.

    python -m benchmarks.load_minutes --batches 5

Each batch is four instruments' month of new bars, in order. Beside it, in the same run: the
same bytes by a bare COPY into a table without any index, a CSV COPY into one with the same
key, and pandas' ``to_sql``. Runs on the embedded server in a temporary folder, or on ``--url``.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pyarrow.csv

from benchmarks.load_candles import SCHEMA, timed, with_pandas, with_schema
from components.embedded import close_embedded, open_embedded
from components.rows import prepared
from components.tables import CANDLES
from components.warehouse import Warehouse, binary_copy

KNOWN_AT = pd.Timestamp("2025-01-01", tz="UTC")


def minutes(batch: int, n_symbols: int = 4, n_bars: int = 45_000) -> pd.DataFrame:
    """One batch: prices in cents, volumes of five digits, as coins are traded."""
    random, size = np.random.default_rng(batch), n_symbols * n_bars
    steps = random.normal(0, 0.0005, (n_symbols, n_bars)).cumsum(axis=1)
    close = (20_000 * np.exp(steps)).round(2).ravel()
    opened = (close * np.exp(random.normal(0, 0.0002, size))).round(2)
    first = pd.Timestamp("2021-01-01", tz="UTC") + pd.Timedelta(days=31 * (batch // 5))
    times = pd.date_range(first, periods=n_bars, freq="min", unit="us")
    # Instruments come in no order, as in a watch list.
    names = [f"C{(batch * 7919 + k * 104_729) % 100_000:05d}USDT" for k in range(n_symbols)]
    return pd.DataFrame(
        {
            "symbol": np.repeat(names, n_bars),
            "interval": "1m",
            "ts": np.tile(times, n_symbols),
            "open": opened,
            "high": np.maximum(opened, close) + 1,
            "low": np.minimum(opened, close) - 1,
            "close": close,
            "volume": random.lognormal(3, 1, size).round(5),
            "vwap": (opened + close) / 2,
            "trades": random.integers(1, 5000, size).astype(float),
            "source": "sample",
            "known_at": KNOWN_AT,
        }
    )


def compare(url: str, n_batches: int, n_sample: int) -> None:
    """Print each way's rate and the ratios between them."""
    batches = [minutes(batch) for batch in range(n_batches)]
    n_rows = sum(map(len, batches))
    tables = [prepared(rows, CANDLES) for rows in batches]
    binary = [
        b"".join(binary_copy.chunks(rows, places))
        for rows in tables
        if (places := binary_copy.runs(rows)) is not None
    ]
    bare = timed("bare COPY, no index, encoded", n_rows, lambda: bare_copy(url, "bare", binary))
    keyed = timed("CSV COPY, same key", n_rows, lambda: csv_copy(url, tables))
    with Warehouse(url, schema=SCHEMA) as warehouse:
        print(warehouse.engine)

        def load(rows: list[pd.DataFrame]) -> None:
            for batch in rows:
                warehouse.upsert(CANDLES, batch)

        first = timed("upsert, all new", n_rows, lambda: load(batches))
        timed("upsert again (nothing new)", n_rows, lambda: load(batches))
        later = [batch.assign(known_at=KNOWN_AT + pd.Timedelta(days=1)) for batch in batches]
        for batch in later:
            batch.loc[::100, "close"] += 0.01
        timed("upsert, 1 in 100 corrected", n_rows, lambda: load(later))
        minute = [batch.groupby("symbol").tail(1) for batch in batches]
        live = pd.concat(minute).drop_duplicates("symbol")
        live["ts"] += pd.Timedelta(minutes=1)
        timed("upsert, one new bar each", len(live), lambda: warehouse.upsert(CANDLES, live))
        timed("read as of", n_rows, lambda: warehouse.read(CANDLES, interval="1m", as_of=KNOWN_AT))
        timed("read freshness", n_rows, lambda: warehouse.query("select * from freshness"))
    pandas = timed("to_sql (a sample)", n_sample, lambda: with_pandas(url, batches[0][:n_sample]))
    print(f"upsert / bare COPY {first / bare:.2f}   upsert / CSV COPY {first / keyed:.2f}", end="")
    print(f"   upsert / to_sql {first / pandas:.1f}")


def bare_copy(url: str, table: str, bodies: list[bytes]) -> None:
    """COPY what is encoded already."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for body in bodies:
            copy = f"COPY {SCHEMA}.{table} FROM STDIN (FORMAT binary)"
            cursor.copy_expert(copy, io.BytesIO(body), size=1 << 20)
    connection.close()


def csv_copy(url: str, tables: list[pa.Table]) -> None:
    """COPY into one table with the same key, as text."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for rows in tables:
            body = io.BytesIO()
            pyarrow.csv.write_csv(rows, body, pyarrow.csv.WriteOptions(include_header=False))
            body.seek(0)
            cursor.copy_expert(f"COPY {SCHEMA}.keyed FROM STDIN (FORMAT csv)", body, size=1 << 20)
    connection.close()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=5, help="of 180,000 rows each")
    parser.add_argument("--sample", type=int, default=50_000, help="rows for to_sql")
    parser.add_argument("--url", help="a server; default: an embedded one, in a temporary folder")
    chosen = parser.parse_args()

    def work(url: str) -> None:
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {SCHEMA}.bare DROP CONSTRAINT bare_pkey")
            cursor.execute(f"CREATE TABLE {SCHEMA}.keyed (LIKE {SCHEMA}.candles INCLUDING INDEXES)")
        connection.close()
        compare(url, chosen.batches, chosen.sample)

    if chosen.url:
        with_schema(chosen.url, work)
        return
    with tempfile.TemporaryDirectory(prefix="tremor-bench-") as folder:
        Path(folder).chmod(0o711)
        with_schema(open_embedded(Path(folder)), work)
        close_embedded(Path(folder))


if __name__ == "__main__":
    main()
