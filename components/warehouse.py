"""The warehouse: every table in one PostgreSQL schema, written by key and read as of an instant."""

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pandas as pd
from psycopg2 import sql as pg

from components import loading, migrations, sql
from components.connection import Connection
from components.errors import WarehouseError
from components.rows import decoded, prepared, versions
from components.tables import CANDLES, TABLES, Table

log = logging.getLogger(__name__)

# After so many new rows the planner's idea of the table is out of date.
ANALYZE_FROM = 50_000

LAST_TS = """
SELECT wanted.symbol, newest.ts FROM unnest(%(symbols)s::text[]) AS wanted (symbol),
LATERAL (
    SELECT ts FROM candles
    WHERE symbol = wanted.symbol AND "interval" = %(interval)s AND known_at <= %(as_of)s
    ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC LIMIT 1
) AS newest
"""

BARS = """
SELECT symbol, min(ts) AS first_ts, max(ts) AS last_ts, count(DISTINCT ts) AS n_bars
FROM candles WHERE symbol = ANY(%(symbols)s) AND "interval" = %(interval)s AND known_at <= %(as_of)s
GROUP BY symbol ORDER BY symbol
"""

# OFFSET 0 keeps the planner from walking the key's index through all history instead.
CHANGED = """
(SELECT * FROM {table} WHERE known_at > {after} AND known_at <= {as_of} OFFSET 0) AS {table}
"""

KINDS = {20: "int", 21: "int", 23: "int", 701: "float", 1184: "timestamp", 25: "text"}


class Warehouse:
    """The tables of ``tables.py`` in one schema of a PostgreSQL database.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``; ``postgres://`` and
        ``postgresql+psycopg2://`` mean the same.
    schema : str
        The schema that holds everything; made by ``migrate``.
    statement_timeout_s, lock_timeout_s : float
        How long one statement may take, and how long it may wait for another's lock.
    """

    def __init__(
        self,
        url: str,
        schema: str = "tremor",
        *,
        statement_timeout_s: float = 600,
        lock_timeout_s: float = 60,
    ) -> None:
        self._connection = Connection(
            url, schema, statement_timeout_s=statement_timeout_s, lock_timeout_s=lock_timeout_s
        )
        self.schema = schema
        self._grown: dict[str, int] = {}

    def __enter__(self) -> "Warehouse":
        """Use it in a ``with``; the connection opens when it is first needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    @property
    def shown(self) -> str:
        """Where it is, without the password."""
        return self._connection.shown

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        self._connection.close()

    def run_lock(self) -> AbstractContextManager[None]:
        """Be the only run at work, or raise AnotherRunAtWork; it dies with the process."""
        return self._connection.run_lock()

    def undone(self) -> AbstractContextManager[None]:
        """Take back, at the end, all that is stored inside."""
        return self._connection.undone()

    def migrate(self) -> None:
        """Make or upgrade the tables; two processes may do it at once.

        Raises
        ------
        WarehouseError
            A newer program made them, or the role may not.
        """
        is_behind = True
        while is_behind:
            with self.transaction() as cursor:
                is_behind = migrations.step(cursor, self.schema)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Commit together what is done inside, or nothing; gives a cursor."""
        with self._connection.transaction() as cursor:
            yield cursor
        if not self._connection.is_busy:
            self._settle()

    def execute(self, statement: str | pg.Composable, params: Any = None) -> int:
        """Run one statement and return how many rows it touched."""
        with self.transaction() as cursor:
            cursor.execute(statement, params)
            return max(int(cursor.rowcount), 0)

    def query(self, statement: str | pg.Composable, params: Any = None) -> pd.DataFrame:
        """Run one query whose few rows become a frame; times are UTC, JSON is parsed."""
        with self.transaction() as cursor:
            cursor.execute(statement, params)
            rows, described = cursor.fetchall(), cursor.description
        kinds = {column.name: KINDS.get(column.type_code, "") for column in described}
        return _framed(rows, kinds)

    def upsert(self, table: Table, rows: pd.DataFrame) -> int:
        """Store rows by their key.

        In a versioned table a row that equals, in every value, the version in force at its
        ``known_at`` is not new. NaN equals NaN. Of rows with the same key the last counts.

        Returns
        -------
        int
            How many rows were new or changed.
        """
        parts = versions(prepared(rows, table), table)
        if not parts:
            return 0
        with self.transaction() as cursor:
            count = sum(loading.store(cursor, table, part) for part in parts)
            self._grown[table.name] = self._grown.get(table.name, 0) + count
        return count

    def read(
        self,
        table: Table,
        *,
        symbols: Sequence[str] | None = None,
        interval: str | None = None,
        since: pd.Timestamp | None = None,
        until: pd.Timestamp | None = None,
        as_of: pd.Timestamp | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Read what was known at ``as_of``: of each bar its latest version by then.

        Bars open in [since, until); None leaves a bound out. Ordered by the key. The result
        is that of ``tables.known`` on all rows.
        """
        conditions = [
            *_condition(table, "symbol", "= ANY", None if symbols is None else list(symbols)),
            *_condition(table, "interval", "=", interval),
            *_condition(table, "ts", ">=", since),
            *_condition(table, "ts", "<", until),
            *_condition(table, "known_at", "<=", as_of),
        ]
        picked = list(table.columns) if columns is None else list(columns)
        return self._copied(table, picked, conditions)

    def changed_since(
        self,
        known_after: pd.Timestamp,
        as_of: pd.Timestamp,
        symbols: Sequence[str] | None = None,
        interval: str | None = None,
    ) -> pd.DataFrame:
        """Read the candles that became known in (known_after, as_of], latest versions.

        The cost grows with what is new, not with history.
        """
        conditions = [
            *_condition(CANDLES, "symbol", "= ANY", None if symbols is None else list(symbols)),
            *_condition(CANDLES, "interval", "=", interval),
        ]
        source = pg.SQL(CHANGED).format(
            table=pg.Identifier(CANDLES.name),
            after=pg.Literal(known_after),
            as_of=pg.Literal(as_of),
        )
        with self.transaction() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
            return self._copied(CANDLES, list(CANDLES.columns), conditions, source)

    def last_ts(
        self, symbols: Iterable[str], interval: str, as_of: pd.Timestamp
    ) -> dict[str, pd.Timestamp]:
        """Find each symbol's newest bar; a symbol without bars is absent."""
        with self.transaction() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute(
                LAST_TS, {"symbols": list(symbols), "interval": interval, "as_of": as_of}
            )
            return {symbol: pd.Timestamp(ts).as_unit("us") for symbol, ts in cursor.fetchall()}

    def bars(self, symbols: Iterable[str], interval: str, as_of: pd.Timestamp) -> pd.DataFrame:
        """Count each symbol's bars: symbol, first_ts, last_ts, n_bars. Reads all history."""
        params = {"symbols": list(symbols), "interval": interval, "as_of": as_of}
        return self.query(BARS, params)

    def _copied(
        self,
        table: Table,
        columns: Sequence[str],
        conditions: Iterable[pg.Composable],
        source: pg.Composable | None = None,
    ) -> pd.DataFrame:
        unknown = [name for name in columns if name not in table.columns]
        if unknown:
            raise WarehouseError(f"{table.name} has no column {unknown[0]!r}")
        body = io.BytesIO()
        with self.transaction() as cursor:
            select = sql.select(table, columns, conditions, source)
            copy = pg.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(select)
            cursor.copy_expert(copy, body, size=1 << 20)
        body.seek(0)
        frame = decoded(body, {name: table.columns[name] for name in columns})
        return frame.iloc[::-1].reset_index(drop=True)

    def _settle(self) -> None:
        """After a load: tell the index on ``known_at`` and the planner what came."""
        grown, self._grown = self._grown, {}
        for table in TABLES:
            count = grown.get(table.name, 0)
            try:
                if count and table.versioned:
                    index = sql.known_at_index(table)
                    self.execute("SELECT brin_summarize_new_values(%s::regclass)", [index])
                if count >= ANALYZE_FROM:
                    self.execute(pg.SQL("ANALYZE {}").format(pg.Identifier(table.name)))
            except WarehouseError as error:
                # The rows are stored; this only makes later reads faster.
                log.warning("%s", error)


def _condition(table: Table, column: str, operator: str, value: Any) -> list[pg.Composable]:
    if value is None:
        return []
    if column not in table.columns:
        raise WarehouseError(f"{table.name} has no column {column!r} to choose rows by")
    test = pg.SQL("{} " + operator + " ({})")
    return [test.format(pg.Identifier(table.name, column), pg.Literal(value))]


def _framed(rows: Sequence[Sequence[Any]], kinds: dict[str, str]) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for place, (name, kind) in enumerate(kinds.items()):
        values = [row[place] for row in rows]
        if kind == "timestamp":
            times = pd.Series(pd.to_datetime(values, utc=True))
            columns[name] = times.astype("datetime64[us, UTC]")
        elif kind in ("float", "int") and not (kind == "int" and None in values):
            columns[name] = pd.Series(values, dtype="float64" if kind == "float" else "int64")
        else:
            dtype = {"int": "Int64", "text": "str"}.get(kind, "object")
            columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)
