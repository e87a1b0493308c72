"""Prepared rows into a table, three ways; each stores the same rows.

Bars that are not stored at all are copied straight in. Otherwise the rows are copied into
a temporary table and one statement stores those that are new or changed: for many rows by
reading each instrument's stored span once, for few by looking each row up.
"""

from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql as pg

from components import sql
from components.rows import CopySource
from components.tables import Table

# From so many rows on, reading the stored spans once is cheaper than one lookup a row.
MANY = 50_000

# An instrument's span pays off only when it stands for several rows.
ROWS_A_SPAN = 10

STAGED, SPANS = pg.Identifier("pg_temp", "staged"), pg.Identifier("pg_temp", "spans")

# Plans made for a table that is still empty, or was never analysed, must not scan it whole
# once for every row: only the key's index may be used, and only a hash joins the spans.
LOOK_UP = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
JOIN = f"{LOOK_UP}; SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off"
AS_USUAL = (
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; "
    "SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on"
)


def store(cursor: Any, table: Table, part: pa.Table) -> int:
    """Store rows of distinct bars in the open transaction; give how many were new or changed."""
    spans = _spans(table, part)
    try:
        if spans is not None:
            _stage(cursor, sql.create_spans(table, SPANS), SPANS, spans)
            cursor.execute(LOOK_UP)
            cursor.execute(sql.any_in_spans(table, SPANS))
            if not cursor.fetchone()[0] and _copied_straight(cursor, table, part):
                return len(part)
        _stage(cursor, sql.create_staged(table, STAGED), STAGED, part)
        if spans is not None and len(part) >= MANY and _known_together(part):
            cursor.execute(JOIN)
            cursor.execute(sql.upsert(table, STAGED, SPANS))
        else:
            cursor.execute(LOOK_UP)
            cursor.execute(sql.upsert(table, STAGED))
        return int(cursor.rowcount)
    finally:
        if not cursor.connection.closed and _is_sound(cursor):
            cursor.execute(AS_USUAL)
            cursor.execute(pg.SQL("DROP TABLE IF EXISTS {}, {}").format(STAGED, SPANS))


def _stage(cursor: Any, create: pg.Composable, name: pg.Identifier, rows: pa.Table) -> None:
    cursor.execute(create)
    _copy(cursor, name, rows)


def _copy(cursor: Any, name: pg.Identifier, rows: pa.Table) -> None:
    statement = pg.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        name, sql.names(rows.column_names)
    )
    cursor.copy_expert(statement, CopySource(rows), size=1 << 20)


def _copied_straight(cursor: Any, table: Table, part: pa.Table) -> bool:
    cursor.execute("SAVEPOINT straight")
    try:
        _copy(cursor, pg.Identifier(table.name), part)
    except psycopg2.errors.UniqueViolation:
        # Another process stored one of these bars just now.
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return False
    cursor.execute("RELEASE SAVEPOINT straight")
    return True


def _spans(table: Table, part: pa.Table) -> pa.Table | None:
    """First and last ``ts`` of each instrument; None when they would not pay off."""
    if not table.versioned:
        return None
    instrument = list(sql.instrument(table))
    found = part.group_by(instrument).aggregate([("ts", "min"), ("ts", "max")])
    if len(found) * ROWS_A_SPAN > len(part):
        return None
    return found.rename_columns([*instrument, "first_ts", "last_ts"])


def _known_together(part: pa.Table) -> bool:
    return bool(pc.all(pc.equal(part["known_at"], part["known_at"][0])).as_py())


def _is_sound(cursor: Any) -> bool:
    status: int = cursor.connection.info.transaction_status
    return status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
