"""Prepared rows into a table, three ways; each stores the same rows.

Bars that are not stored at all are copied straight in. Otherwise the rows are copied into
a temporary table and one statement stores those that are new or changed: for many rows by
reading each instrument's stored span once, for few by looking each row up.
"""

from collections.abc import Sequence
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql as pg

from components.tables import INTRADAY, Table
from components.warehouse import aggregates, intraday, sql, timescale
from components.warehouse.copying import copy_in

# From so many rows on, reading the stored spans once is cheaper than one lookup a row.
MANY = 50_000

# An instrument's span pays off only when it stands for several rows.
ROWS_A_SPAN = 10

STAGED, SPANS = pg.Identifier("pg_temp", "staged"), pg.Identifier("pg_temp", "spans")
TOUCHED = pg.Identifier("pg_temp", "touched")

# Plans made for a table that is still empty, or was never analysed, must not scan it whole
# once for every row: only the key's index may be used, and only a hash joins the spans.
LOOK_UP = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
JOIN = f"{LOOK_UP}; SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off"
AS_USUAL = (
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; "
    "SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on"
)


def store(cursor: Any, table: Table, part: pa.Table, *, is_fresh: bool = False) -> int:
    """Store rows of distinct bars in the open transaction; give how many were new or changed.

    ``is_fresh`` says that most likely none of these bars is stored, however few they are.
    """
    return _stored(cursor, table, part, is_fresh=is_fresh)[0]


def store_intraday(
    cursor: Any, parts: Sequence[pa.Table], *, is_fresh: bool = False
) -> dict[str, int]:
    """Store candles shorter than a day, and keep their hours and days up to date.

    ``parts`` are those of ``rows.versions``. Gives how many rows were new or changed in each
    table that took some: a partition, or the hypertable.
    """
    intraday.take_turn(cursor, parts[0])
    horizon = intraday.retired_before(cursor)
    if horizon is not None:
        kept = pa.scalar(horizon, pa.timestamp("us", "UTC"))
        parts = [part.filter(pc.greater_equal(part["ts"], kept)) for part in parts]
    grown: dict[str, int] = {}
    if not intraday.is_partitioned(cursor):
        timescale.allow_compressed(cursor)
        grown[INTRADAY.name] = sum(
            store(cursor, INTRADAY, part, is_fresh=is_fresh) for part in parts if len(part)
        )
        return grown
    cursor.execute(sql.create_touched(INTRADAY, TOUCHED))
    for part in parts:
        pieces = intraday.by_leaf(part) if len(part) else []
        made = intraday.make_leaves(cursor, [leaf for leaf, _ in pieces])
        for leaf, piece in pieces:
            count, is_straight = (
                (_filled(cursor, leaf, piece), True)
                if leaf.name in made
                else _stored(cursor, leaf, piece, TOUCHED, is_fresh=is_fresh)
            )
            grown[leaf.name] = grown.get(leaf.name, 0) + count
            if is_straight:
                aggregates.add(cursor, piece)
            elif count:
                cursor.execute(LOOK_UP)
                aggregates.anew(cursor, leaf, TOUCHED)
                cursor.execute(AS_USUAL)
                cursor.execute(pg.SQL("TRUNCATE {}").format(TOUCHED))
    cursor.execute(pg.SQL("DROP TABLE {}").format(TOUCHED))
    return grown


def _stored(
    cursor: Any,
    table: Table,
    part: pa.Table,
    touched: pg.Composable | None = None,
    *,
    is_fresh: bool = False,
) -> tuple[int, bool]:
    """How many were new or changed, and whether all went straight in.

    Those that did not are named in ``touched``.
    """
    spans = _spans(table, part, least=0 if is_fresh else ROWS_A_SPAN)
    try:
        if spans is not None:
            _stage(cursor, sql.create_spans(table, SPANS), SPANS, spans)
            cursor.execute(LOOK_UP)
            cursor.execute(sql.any_in_spans(table, SPANS))
            if not cursor.fetchone()[0] and _copied_straight(cursor, table, part):
                return len(part), True
        _stage(cursor, sql.create_staged(table, STAGED), STAGED, part)
        is_joined = spans is not None and len(part) >= MANY and _known_together(part)
        cursor.execute(JOIN if is_joined else LOOK_UP)
        upsert = sql.upsert(table, STAGED, SPANS if is_joined else None)
        if touched is None:
            cursor.execute(upsert)
            return int(cursor.rowcount), False
        cursor.execute(sql.noting(upsert, table, touched))
        return int(cursor.fetchone()[0]), False
    finally:
        if not cursor.connection.closed and _is_sound(cursor):
            cursor.execute(AS_USUAL)
            cursor.execute(pg.SQL("DROP TABLE IF EXISTS {}, {}").format(STAGED, SPANS))


def _filled(cursor: Any, leaf: Table, piece: pa.Table) -> int:
    """Fill a partition that was just made, and attach it."""
    copy_in(cursor, pg.Identifier(leaf.name), piece)
    intraday.attach(cursor, leaf)
    return len(piece)


def _stage(cursor: Any, create: pg.Composable, name: pg.Identifier, rows: pa.Table) -> None:
    cursor.execute(create)
    copy_in(cursor, name, rows)


def _copied_straight(cursor: Any, table: Table, part: pa.Table) -> bool:
    cursor.execute("SAVEPOINT straight")
    try:
        copy_in(cursor, pg.Identifier(table.name), part)
    except psycopg2.errors.UniqueViolation:
        # Another process stored one of these bars just now.
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return False
    cursor.execute("RELEASE SAVEPOINT straight")
    return True


def _spans(table: Table, part: pa.Table, least: int) -> pa.Table | None:
    """First and last ``ts`` of each instrument; None where it has fewer than ``least`` rows."""
    if not table.versioned:
        return None
    instrument = list(sql.instrument(table))
    found = part.group_by(instrument).aggregate([("ts", "min"), ("ts", "max")])
    if len(found) * least > len(part):
        return None
    return found.rename_columns([*instrument, "first_ts", "last_ts"])


def _known_together(part: pa.Table) -> bool:
    return bool(pc.all(pc.equal(part["known_at"], part["known_at"][0])).as_py())


def _is_sound(cursor: Any) -> bool:
    status: int = cursor.connection.info.transaction_status
    return status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
