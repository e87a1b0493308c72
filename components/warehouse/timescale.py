"""Bars shorter than a day on TimescaleDB: a hypertable, compressed, with continuous aggregates.

A continuous aggregate cannot pick the latest version of a bar, so there is one more, of
single bars (``last(close, known_at)``), and hours are made of it, and days of hours. All are
real-time: what came since the last refresh is added when they are read.
"""

from typing import Any

import pandas as pd
import psycopg2
from psycopg2 import sql as pg

from components.tables import INTRADAY
from components.warehouse import sql

DAY = pd.Timedelta(days=1)

# A server that did not load the library ends the connection that asks for the extension.
OFFERED = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AND EXISTS (
    SELECT FROM pg_settings WHERE name LIKE 'timescaledb%'
    OR (name = 'shared_preload_libraries' AND setting LIKE '%timescaledb%')
)
"""

NAMESPACE = """
SELECT nspname FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
WHERE extname = 'timescaledb'
"""

HYPERTABLE = """
SELECT {ns}.create_hypertable(
    'candles_intraday', {ns}.by_range('ts', INTERVAL '7 days'), create_default_indexes => false
);
CREATE INDEX candles_intraday_known_at ON candles_intraday
    USING brin (known_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE candles_intraday SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'symbol, "interval"',
    timescaledb.compress_orderby = 'ts DESC, known_at DESC'
);
SELECT {ns}.add_compression_policy('candles_intraday', INTERVAL '30 days');
"""

BARS = """
CREATE MATERIALIZED VIEW candles_by_bar
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT symbol, "interval", {ns}.time_bucket(INTERVAL '1 minute', ts) AS ts,
    {ns}.last(open, known_at) AS open, {ns}.last(high, known_at) AS high,
    {ns}.last(low, known_at) AS low, {ns}.last(close, known_at) AS close,
    {ns}.last(volume, known_at) AS volume, max(known_at) AS known_at
FROM candles_intraday
GROUP BY symbol, "interval", {ns}.time_bucket(INTERVAL '1 minute', ts)
WITH NO DATA
"""

HOURS = """
CREATE MATERIALIZED VIEW candles_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT symbol, "interval", {ns}.time_bucket(INTERVAL '1 hour', ts) AS ts,
    {ns}.first(open, ts) AS open, max(high) AS high, min(low) AS low,
    {ns}.last(close, ts) AS close, sum(volume) AS volume, count(*) AS n_bars,
    min(ts) AS first_ts, max(ts) AS last_ts, max(known_at) AS known_at
FROM candles_by_bar
GROUP BY symbol, "interval", {ns}.time_bucket(INTERVAL '1 hour', ts)
WITH NO DATA
"""

DAYS = """
CREATE MATERIALIZED VIEW candles_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT symbol, "interval", {ns}.time_bucket(INTERVAL '1 day', ts) AS ts,
    {ns}.first(open, ts) AS open, max(high) AS high, min(low) AS low,
    {ns}.last(close, ts) AS close, sum(volume) AS volume, sum(n_bars)::bigint AS n_bars,
    min(first_ts) AS first_ts, max(last_ts) AS last_ts, max(known_at) AS known_at
FROM candles_hourly
GROUP BY symbol, "interval", {ns}.time_bucket(INTERVAL '1 day', ts)
WITH NO DATA
"""

# Lowest first: each is refreshed from the one before it. A policy works through a week at a
# time; left to itself, a newer server takes a bucket at a time, here a minute, and ten in all.
AGGREGATES = {"candles_by_bar": 7 * 24 * 60, "candles_hourly": 7 * 24, "candles_daily": 7}

# Minutes that were dropped must not be looked at again, or their hours would go too.
POLICIES = """
SELECT {ns}.remove_continuous_aggregate_policy({view}, if_exists => true);
SELECT {ns}.add_continuous_aggregate_policy({view}, start_offset => {start},
    end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes' {batches});
"""

BATCHES = ", buckets_per_batch => {n_buckets}, max_batches_per_execution => 0"

KNOWS_BATCHES = """
SELECT EXISTS (
    SELECT FROM pg_proc WHERE proname = 'add_continuous_aggregate_policy'
    AND 'buckets_per_batch' = ANY (proargnames)
)
"""

RETENTION = """
SELECT {ns}.remove_retention_policy('candles_intraday', if_exists => true);
SELECT {ns}.add_retention_policy('candles_intraday', {days});
"""

NO_RETENTION = "SELECT {ns}.remove_retention_policy('candles_intraday', if_exists => true)"

KEPT_DAYS = """
SELECT coalesce((config ->> 'drop_after')::interval, INTERVAL '0 days') = %s
FROM (SELECT 1) AS one LEFT JOIN timescaledb_information.jobs
    ON proc_name = 'policy_retention' AND hypertable_name = 'candles_intraday'
    AND hypertable_schema = current_schema()
"""


def installed(cursor: Any) -> str | None:
    """The schema of the extension, which is made where the server offers it; None without it."""
    cursor.execute(NAMESPACE)
    found = cursor.fetchone()
    if found is None:
        cursor.execute(OFFERED)
        if not cursor.fetchone()[0]:
            return None
        cursor.execute("SAVEPOINT extension")
        try:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public")
        except psycopg2.Error:
            # The role may not, or the server is not set up for it: plain partitions do.
            cursor.execute("ROLLBACK TO SAVEPOINT extension")
            return None
        cursor.execute("RELEASE SAVEPOINT extension")
        cursor.execute(NAMESPACE)
        found = cursor.fetchone()
    return str(found[0])


def version(cursor: Any) -> str:
    """The extension's version, as 2.23.0."""
    cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    return str(cursor.fetchone()[0])


def create(cursor: Any, namespace: str) -> None:
    """Make the hypertable, its aggregates and its policies (a migration)."""
    cursor.execute(sql.create(INTRADAY))
    for statement in (HYPERTABLE, BARS, HOURS, DAYS):
        cursor.execute(_of(statement, namespace))
    _refresh_policies(cursor, namespace, 0)


def set_policies(cursor: Any, keep_days: int) -> None:
    """Let the server drop minutes older than so many days; 0 keeps them all."""
    days = f"{keep_days} days"
    cursor.execute(KEPT_DAYS, [days])
    if cursor.fetchone()[0]:
        return
    namespace = _namespace(cursor)
    cursor.execute(_of(RETENTION if keep_days else NO_RETENTION, namespace, days=_span(days)))
    _refresh_policies(cursor, namespace, keep_days)


def drop_chunks(cursor: Any, before: pd.Timestamp) -> list[str]:
    """Drop the chunks that end by ``before``; their hours and days stay."""
    statement = "SELECT {ns}.drop_chunks('candles_intraday', older_than => {before})"
    cursor.execute(_of(statement, _namespace(cursor), before=pg.Literal(before)))
    return [str(row[0]) for row in cursor.fetchall()]


def allow_compressed(cursor: Any) -> None:
    """Let this transaction change as many compressed bars as it has to."""
    cursor.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")


def refresh(cursor: Any, first: pd.Timestamp, last: pd.Timestamp) -> None:
    """Bring the aggregates of [first, last] up to date; the open transaction is ended first.

    The server's policies do the same in time, so a crash before it costs only that time.
    """
    namespace = _namespace(cursor)
    connection = cursor.connection
    connection.commit()
    connection.autocommit = True
    statement = "CALL {ns}.refresh_continuous_aggregate({view}, {first}, {end})"
    bounds = {"first": pg.Literal(first.floor("D")), "end": pg.Literal(last.floor("D") + DAY)}
    try:
        for view in AGGREGATES:
            cursor.execute(_of(statement, namespace, view=pg.Literal(view), **bounds))
    finally:
        connection.autocommit = False


def _refresh_policies(cursor: Any, namespace: str, keep_days: int) -> None:
    start = _span(f"{max(keep_days - 1, 3)} days") if keep_days else pg.SQL("NULL")
    cursor.execute(KNOWS_BATCHES)
    batches = BATCHES if cursor.fetchone()[0] else ""
    for view, n_buckets in AGGREGATES.items():
        together = pg.SQL(batches).format(n_buckets=pg.Literal(n_buckets))
        parts = {"view": pg.Literal(view), "start": start, "batches": together}
        cursor.execute(_of(POLICIES, namespace, **parts))


def _namespace(cursor: Any) -> str:
    cursor.execute(NAMESPACE)
    return str(cursor.fetchone()[0])


def _span(text: str) -> pg.Composable:
    return pg.SQL("INTERVAL {}").format(pg.Literal(text))


def _of(statement: str, namespace: str, **parts: pg.Composable) -> pg.Composed:
    return pg.SQL(statement).format(ns=pg.Identifier(namespace), **parts)
