"""Bars shorter than a day: a table of their own, a partition a month.

On TimescaleDB the table is a hypertable instead; see ``timescale.py``. Which of the two it is
was settled when the table was made.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql as pg

from components.tables import DAILY, HOURLY, INTRADAY, Table
from components.warehouse import sql, timescale

# Bars outside these years share two partitions, so that absurd dates cannot make thousands.
FIRST_YEAR, END_YEAR = 1990, 2100
BEFORE, AFTER = f"{INTRADAY.name}_before_{FIRST_YEAR}", f"{INTRADAY.name}_from_{END_YEAR}"

# Loaders of the same instrument take turns; of different ones, mostly not.
STRIPES = 64

RETIRED = """
CREATE TABLE IF NOT EXISTS retired (
    table_name text PRIMARY KEY, before timestamptz NOT NULL
);
"""

TURN = """
SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' candles_intraday'), stripe)
FROM unnest(%s::int[]) AS stripe
"""

ONE_MAKER = """
SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' partitions', 0))
"""

MISSING = "SELECT leaf FROM unnest(%s::text[]) AS leaf WHERE to_regclass(quote_ident(leaf)) IS NULL"

MAKE_LEAF = "CREATE TABLE {leaf} (LIKE {table}); {index}"

# Attaching lets others read and load meanwhile; CREATE TABLE ... PARTITION OF would not. It
# makes the key's index over what was copied before, at a third of the cost of row by row.
ATTACH = "ALTER TABLE {table} ATTACH PARTITION {leaf} FOR VALUES FROM ({first}) TO ({end})"

LEAVES = """
SELECT child.relname FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'candles_intraday'::regclass
"""

VIEWS = """
DROP VIEW IF EXISTS freshness;
DROP VIEW IF EXISTS candles_latest;

CREATE VIEW all_candles AS
    SELECT {columns} FROM candles UNION ALL SELECT {columns} FROM candles_intraday;

CREATE VIEW candles_latest AS
    (SELECT DISTINCT ON (symbol, "interval", ts) {columns} FROM candles
    ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC)
    UNION ALL
    (SELECT DISTINCT ON (symbol, "interval", ts) {columns} FROM candles_intraday
    ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC);

CREATE VIEW freshness AS
    SELECT symbol, "interval", min(ts) AS first_ts, max(ts) AS last_ts, count(*) AS n_bars,
        max(known_at) AS known_at
    FROM (
        SELECT DISTINCT ON (symbol, "interval", ts) symbol, "interval", ts, known_at FROM candles
        ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC
    ) AS latest GROUP BY symbol, "interval"
    UNION ALL
    SELECT symbol, "interval", min(first_ts), max(last_ts), sum(n_bars)::bigint, max(known_at)
    FROM candles_daily GROUP BY symbol, "interval";
"""


def create(cursor: Any) -> None:
    """Make the table, its aggregates and the views over all candles (a migration)."""
    cursor.execute(RETIRED)
    namespace = timescale.installed(cursor)
    if namespace:
        timescale.create(cursor, namespace)
    else:
        table = sql.create(INTRADAY) + pg.SQL(" PARTITION BY RANGE (ts)")
        cursor.execute(table)
        cursor.execute(sql.create_known_at_index(INTRADAY))
        for made in (HOURLY, DAILY):
            cursor.execute(sql.create(made))
    cursor.execute(pg.SQL(VIEWS).format(columns=sql.names(INTRADAY.columns)))


def is_partitioned(cursor: Any) -> bool:
    """Whether the table has a partition a month; else it is TimescaleDB's."""
    cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = 'candles_intraday'::regclass")
    return bool(cursor.fetchone()[0])


def engine(cursor: Any) -> str:
    """Say in words what keeps the bars."""
    cursor.execute("SHOW server_version")
    server = f"PostgreSQL {cursor.fetchone()[0].split()[0]}"
    if is_partitioned(cursor):
        return f"{server}, partitions by month"
    return f"TimescaleDB {timescale.version(cursor)} on {server}"


def by_leaf(rows: pa.Table) -> list[tuple[Table, pa.Table]]:
    """Split prepared candles by the partition that takes them, oldest first."""
    months = rows["ts"].to_numpy().astype("datetime64[M]").astype(np.int64)
    months = np.clip(months, 12 * (FIRST_YEAR - 1970) - 1, 12 * (END_YEAR - 1970))
    present = np.unique(months)
    if len(present) == 1:
        return [(_leaf(present[0]), rows)]
    return [(_leaf(month), rows.filter(pa.array(months == month))) for month in present]


def take_turn(cursor: Any, rows: pa.Table) -> None:
    """Wait until no other transaction loads these instruments; the turn ends with this one."""
    symbols = pc.unique(rows["symbol"]).to_pylist()
    stripes = sorted({zlib.crc32(symbol.encode()) % STRIPES for symbol in symbols})
    cursor.execute(TURN, [stripes])


def make_leaves(cursor: Any, leaves: Iterable[Table]) -> set[str]:
    """Make the partitions that are not there yet, and name them; two processes may do it at once.

    They are to be filled, and then attached.
    """
    wanted = [leaf.name for leaf in leaves]
    cursor.execute(MISSING, [wanted])
    if cursor.rowcount:
        cursor.execute(ONE_MAKER)
        cursor.execute(MISSING, [wanted])
    made = {name for (name,) in cursor.fetchall()}
    for name in sorted(made):
        cursor.execute(
            pg.SQL(MAKE_LEAF).format(
                leaf=pg.Identifier(name),
                table=pg.Identifier(INTRADAY.name),
                index=sql.create_known_at_index(replace(INTRADAY, name=name)),
            )
        )
    return made


def attach(cursor: Any, leaf: Table) -> None:
    """Make a filled table a partition; the key's index is made with it."""
    first, end = _bounds(leaf.name)
    cursor.execute(
        pg.SQL(ATTACH).format(
            leaf=pg.Identifier(leaf.name),
            table=pg.Identifier(INTRADAY.name),
            first=pg.Literal(first) if first else pg.SQL("MINVALUE"),
            end=pg.Literal(end) if end else pg.SQL("MAXVALUE"),
        )
    )


def retired_before(cursor: Any) -> pd.Timestamp | None:
    """The instant before which bars were given up; none when all are kept."""
    cursor.execute("SELECT before FROM retired WHERE table_name = %s", [INTRADAY.name])
    found = cursor.fetchone()
    return None if found is None else pd.Timestamp(found[0]).as_unit("us")


def retire(cursor: Any, before: pd.Timestamp) -> int:
    """Drop the partitions that end by ``before``; their hours and days stay. Give how many.

    Bars of that time are not taken again: they would be counted twice in what stays.
    """
    cursor.execute(TURN, [list(range(STRIPES))])
    if is_partitioned(cursor):
        cursor.execute(LEAVES)
        ends = {name: _bounds(name)[1] for (name,) in cursor.fetchall()}
        gone = [n for n, end in ends.items() if end and pd.Timestamp(end, tz="UTC") <= before]
        for name in sorted(gone):
            cursor.execute(pg.SQL("DROP TABLE {}").format(pg.Identifier(name)))
        before = before.normalize().replace(day=1)
    else:
        gone = timescale.drop_chunks(cursor, before)
    cursor.execute(
        "INSERT INTO retired VALUES (%s, %s) ON CONFLICT (table_name) DO UPDATE "
        "SET before = greatest(retired.before, excluded.before)",
        [INTRADAY.name, before],
    )
    return len(gone)


def _leaf(month: int) -> Table:
    year, place = 1970 + month // 12, month % 12
    if year < FIRST_YEAR:
        name = BEFORE
    elif year >= END_YEAR:
        name = AFTER
    else:
        name = f"{INTRADAY.name}_{year}_{place + 1:02d}"
    return replace(INTRADAY, name=name)


def _bounds(leaf: str) -> tuple[str, str]:
    """First instant of a partition, and the first after it; "" where it has no bound."""
    if leaf == BEFORE:
        return "", f"{FIRST_YEAR}-01-01"
    if leaf == AFTER:
        return f"{END_YEAR}-01-01", ""
    found = re.fullmatch(rf"{INTRADAY.name}_(\d{{4}})_(\d\d)", leaf)
    if found is None:
        # A partition that somebody else attached is left alone.
        return "", ""
    first = np.datetime64(f"{found[1]}-{found[2]}", "M")
    return f"{first}-01", f"{first + 1}-01"
