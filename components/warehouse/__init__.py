"""The warehouse: every table in one PostgreSQL schema, written by key and read as of an instant."""

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql as pg

from components.errors import WarehouseError
from components.rows import apart, is_intraday, prepared, versions
from components.tables import CANDLES, DAILY, INTRADAY, TABLES, Table
from components.warehouse import intraday, loading, migrations, sql, timescale
from components.warehouse.connection import Connection
from components.warehouse.copying import decoded
from components.warehouse.loading import LOOK_UP

log = logging.getLogger(__name__)

# After so many new rows, when they are no fewer than those before them, the planner's idea of
# a table is out of date. Of a month's minutes a small sample tells enough.
ANALYZE_FROM = 50_000
SMALL_SAMPLE = "SET LOCAL default_statistics_target = 20"

SUMMARISED = {table.name for table in TABLES if table.versioned}

LAST_TS = """
SELECT wanted.symbol, newest.ts FROM unnest(%(symbols)s::text[]) AS wanted (symbol),
LATERAL (
    SELECT ts FROM {table}
    WHERE symbol = wanted.symbol AND "interval" = %(interval)s AND known_at <= %(as_of)s
    ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC LIMIT 1
) AS newest
"""

FIRST_TS = """
SELECT wanted.symbol, oldest.ts FROM unnest(%(symbols)s::text[]) AS wanted (symbol),
LATERAL (
    SELECT {ts} AS ts FROM {table}
    WHERE symbol = wanted.symbol AND "interval" = %(interval)s
    ORDER BY {table}.symbol, {table}."interval", {table}.ts LIMIT 1
) AS oldest
"""

BARS = """
SELECT symbol, min(ts) AS first_ts, max(ts) AS last_ts, count(DISTINCT ts) AS n_bars
FROM {table} WHERE symbol = ANY(%(symbols)s) AND "interval" = %(interval)s AND known_at <= %(as_of)s
GROUP BY symbol ORDER BY symbol
"""

# OFFSET 0 keeps the planner from walking the key's index through all history instead.
CHANGED = """
(SELECT * FROM {table} WHERE known_at > {after} AND known_at <= {as_of} OFFSET 0) AS {table}
"""

CHANGED_UP_TO = """
SELECT DISTINCT changed.symbol FROM (
    SELECT symbol, ts FROM {table} WHERE known_at > %(after)s AND known_at <= %(as_of)s
    AND "interval" = %(interval)s AND hours IS DISTINCT FROM 'extended' OFFSET 0
) AS changed JOIN unnest(%(symbols)s::text[], %(ts)s::timestamptz[]) AS up_to (symbol, ts)
ON changed.symbol = up_to.symbol AND changed.ts <= up_to.ts
"""

SYMBOLS = 'SELECT DISTINCT symbol FROM {table} WHERE "interval" = %s ORDER BY symbol'

ROW_COUNT = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(quote_ident(%s))"

KINDS = {20: "int", 21: "int", 23: "int", 701: "float", 1184: "timestamp", 25: "text"}


class Warehouse:
    """The tables of ``tables.py`` in one schema of a PostgreSQL database.

    Candles shorter than a day are kept apart from longer ones (``intraday.py``); callers name
    CANDLES for both, and the interval says where they are.

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
        # New rows since the planner was last told, and the time that the new minutes span.
        self._grown: dict[str, int] = {}
        self._unsettled: dict[str, int] = {}
        self._span: tuple[pd.Timestamp, pd.Timestamp] | None = None

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

    @property
    def engine(self) -> str:
        """What keeps the minutes: "PostgreSQL 18.4, partitions by month", or TimescaleDB."""
        with self.transaction() as cursor:
            return intraday.engine(cursor)

    def versions(self) -> tuple[int, int]:
        """The schema's version, 0 when it is not made yet, and the one that this program makes."""
        with self.transaction() as cursor:
            return migrations.versions(cursor, self.schema)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        self._connection.close()

    def run_lock(self, work: str = "run") -> AbstractContextManager[None]:
        """Be the only one at this work, or raise AnotherRunAtWork; it dies with the process."""
        return self._connection.run_lock(work)

    def another(self) -> "Warehouse":
        """The same warehouse over a connection of its own, for another thread."""
        return Warehouse(self._connection.url, self.schema)

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
        try:
            with self._connection.transaction() as cursor:
                yield cursor
        except BaseException:
            if not self._connection.is_busy:
                self._unsettled, self._span = {}, None
            raise
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

    def upsert(self, table: Table, rows: pd.DataFrame, *, is_fresh: bool = False) -> int:
        """Store rows by their key.

        In a versioned table a row that equals, in every value, the version in force at its
        ``known_at`` is not new. NaN equals NaN. Of rows with the same key the last counts.
        ``is_fresh`` changes nothing but the time that it takes: most likely none is stored.

        Returns
        -------
        int
            How many rows were new or changed.
        """
        ready = prepared(rows, table)
        short = ready.slice(0, 0)
        if table == CANDLES:
            ready, short = apart(ready)
        elif table == INTRADAY:
            ready, short = short, ready
        grown: dict[str, int] = {}
        with self.transaction() as cursor:
            if len(ready):
                parts = versions(ready, table)
                grown[table.name] = sum(
                    loading.store(cursor, table, part, is_fresh=is_fresh) for part in parts
                )
            if len(short):
                grown |= loading.store_intraday(
                    cursor, versions(short, INTRADAY), is_fresh=is_fresh
                )
                self._widen(short)
            for name, count in grown.items():
                self._unsettled[name] = self._unsettled.get(name, 0) + count
        return sum(grown.values())

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
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Read what was known at ``as_of``: of each bar its latest version by then.

        ``symbols`` are data sets where a table is of these, ``series`` some of theirs. Bars open
        in [since, until); None leaves a bound out. Ordered by the key. The result is that of
        ``tables.known`` on all rows.
        """
        picked = list(table.columns) if columns is None else list(columns)
        frames, of = [], "data_set" if "data_set" in table.columns else "symbol"
        for stored in _kept_in(table, interval):
            conditions = [
                *_condition(stored, of, "= ANY", None if symbols is None else list(symbols)),
                *_condition(stored, "series", "= ANY", None if series is None else list(series)),
                *_condition(stored, "interval", "=", interval),
                *_condition(stored, "ts", ">=", since),
                *_condition(stored, "ts", "<", until),
                *_condition(stored, "known_at", "<=", as_of),
            ]
            frames.append(self._copied(stored, picked, conditions))
        return _together(frames, table)

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
        frames = []
        for stored in _kept_in(CANDLES, interval):
            conditions = [
                *_condition(stored, "symbol", "= ANY", None if symbols is None else list(symbols)),
                *_condition(stored, "interval", "=", interval),
            ]
            source = pg.SQL(CHANGED).format(
                table=pg.Identifier(stored.name),
                after=pg.Literal(known_after),
                as_of=pg.Literal(as_of),
            )
            with self.transaction() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
                frames.append(self._copied(stored, list(CANDLES.columns), conditions, source))
        return _together(frames, CANDLES)

    def changed_up_to(
        self,
        bars: "pd.Series[pd.Timestamp]",
        interval: str,
        known_after: pd.Timestamp,
        as_of: pd.Timestamp,
    ) -> list[str]:
        """Name the symbols of which a candle became known in (known_after, as_of], up to a bar.

        ``bars`` has the symbols as its index. Candles of extended hours do not count.
        """
        (table,) = _kept_in(CANDLES, interval)
        params = {
            "symbols": list(bars.index),
            "ts": [ts.to_pydatetime() for ts in bars],
            "interval": interval,
            "after": known_after.to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        }
        with self.transaction() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
            cursor.execute(pg.SQL(CHANGED_UP_TO).format(table=pg.Identifier(table.name)), params)
            return sorted(symbol for (symbol,) in cursor.fetchall())

    def last_ts(
        self, symbols: Iterable[str], interval: str, as_of: pd.Timestamp
    ) -> dict[str, pd.Timestamp]:
        """Find each symbol's newest bar; a symbol without bars is absent."""
        (table,) = _kept_in(CANDLES, interval)
        with self.transaction() as cursor:
            cursor.execute(LOOK_UP)
            cursor.execute(
                pg.SQL(LAST_TS).format(table=pg.Identifier(table.name)),
                {"symbols": list(symbols), "interval": interval, "as_of": as_of},
            )
            return {symbol: pd.Timestamp(ts).as_unit("us") for symbol, ts in cursor.fetchall()}

    def first_ts(self, symbols: Iterable[str], interval: str) -> dict[str, pd.Timestamp]:
        """Find each symbol's first bar, one that was given up too; without bars it is absent."""
        (table,) = _kept_in(CANDLES, interval)
        of, ts = (DAILY, "first_ts") if table == INTRADAY else (table, "ts")
        statement = pg.SQL(FIRST_TS).format(table=pg.Identifier(of.name), ts=pg.Identifier(ts))
        with self.transaction() as cursor:
            cursor.execute(LOOK_UP)
            cursor.execute(statement, {"symbols": list(symbols), "interval": interval})
            return {symbol: pd.Timestamp(ts).as_unit("us") for symbol, ts in cursor.fetchall()}

    def bars(self, symbols: Iterable[str], interval: str, as_of: pd.Timestamp) -> pd.DataFrame:
        """Count each symbol's bars: symbol, first_ts, last_ts, n_bars. Reads all history."""
        (table,) = _kept_in(CANDLES, interval)
        params = {"symbols": list(symbols), "interval": interval, "as_of": as_of}
        return self.query(pg.SQL(BARS).format(table=pg.Identifier(table.name)), params)

    def symbols(self, interval: str) -> list[str]:
        """Name the instruments that have bars of this length, in order."""
        (table,) = _kept_in(CANDLES, interval)
        name = "candles_daily" if table == INTRADAY else table.name
        found = self.query(pg.SQL(SYMBOLS).format(table=pg.Identifier(name)), [interval])
        return [str(symbol) for symbol in found["symbol"]]

    def retire(self, before: pd.Timestamp) -> int:
        """Drop the partitions of minutes that end by ``before``; give how many.

        Their hours and days stay. Bars of that time are not stored again.
        """
        with self.transaction() as cursor:
            return intraday.retire(cursor, before)

    def keep_minutes(self, days: int, now: pd.Timestamp) -> int:
        """Keep minutes for so many days, all of them when 0; give how many partitions went.

        On TimescaleDB the server's retention policy is set to the same.
        """
        with self.transaction() as cursor:
            if not intraday.is_partitioned(cursor):
                timescale.set_policies(cursor, days)
            return intraday.retire(cursor, now - pd.Timedelta(days=days)) if days > 0 else 0

    @property
    def minutes_since(self) -> pd.Timestamp | None:
        """The instant before which minutes were given up and are not stored; None: never."""
        with self.transaction() as cursor:
            return intraday.retired_before(cursor)

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

    def _widen(self, rows: pa.Table) -> None:
        found = pc.min_max(rows["ts"]).as_py()
        span = (pd.Timestamp(found["min"]), pd.Timestamp(found["max"]))
        if self._span is not None:
            span = (min(span[0], self._span[0]), max(span[1], self._span[1]))
        self._span = span

    def _settle(self) -> None:
        """After a load: tell the index on ``known_at`` and the planner what came."""
        grown, self._unsettled = self._unsettled, {}
        span, self._span = self._span, None
        for name, count in grown.items():
            self._grown[name] = self._grown.get(name, 0) + count
            try:
                self._tell(name, count, span)
            except WarehouseError as error:
                # The rows are stored; this only makes later reads faster.
                log.warning("%s", error)

    def _tell(self, name: str, count: int, span: tuple[pd.Timestamp, pd.Timestamp] | None) -> None:
        if count and name == INTRADAY.name and span is not None:
            with self._connection.transaction() as cursor:
                timescale.refresh(cursor, *span)
        index = f"{name}_known_at"
        if count and (name in SUMMARISED or name.startswith(f"{INTRADAY.name}_")):
            # A table whose making was taken back is not there: NULL, and nothing happens.
            self.execute("SELECT brin_summarize_new_values(to_regclass(quote_ident(%s)))", [index])
        if self._grown[name] < ANALYZE_FROM:
            return
        with self.transaction() as cursor:
            cursor.execute(ROW_COUNT, [name])
            found = cursor.fetchone()
            if found is not None and self._grown[name] >= found[0]:
                if name.startswith(INTRADAY.name):
                    cursor.execute(SMALL_SAMPLE)
                cursor.execute(pg.SQL("ANALYZE {}").format(pg.Identifier(name)))
                self._grown[name] = 0


def _kept_in(table: Table, interval: str | None) -> tuple[Table, ...]:
    """The stored tables that hold these rows."""
    if table != CANDLES:
        return (table,)
    if interval is None:
        return (CANDLES, INTRADAY)
    return (INTRADAY if is_intraday(interval) else CANDLES,)


def _together(frames: list[pd.DataFrame], table: Table) -> pd.DataFrame:
    """One frame in the order of the key, where its columns are there to order by."""
    filled = [frame for frame in frames if len(frame)]
    if len(filled) < 2:
        return filled[0] if filled else frames[0]
    frame = pd.concat(filled, ignore_index=True)
    key = [name for name in table.bar_key if name in frame]
    return frame.sort_values(key, kind="stable", ignore_index=True)


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
