"""Any question to the warehouse, from who may only read: bounded in rows, time and size."""

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg2
from psycopg2 import sql as pg
from psycopg2.extensions import parse_dsn

from components.errors import WarehouseError
from components.tables import API_KEYS
from components.warehouse.connection import CONNECT_OPTIONS, normalised
from components.words import clean

MAX_ROWS, MAX_SECONDS, MAX_BYTES = 10_000, 10.0, 50_000_000

# So many rows come at once.
BATCH = 1000

# A cursor holds one query that gives rows, and nothing else: two statements, or one that would
# change something, the server refuses to open. What comes is weighed there, before it is sent.
OPEN = """
DO {tag} DECLARE
    answer refcursor := 'answer'; one record; weight bigint := 0; n bigint := 0;
BEGIN
    OPEN answer SCROLL FOR EXECUTE {question};
    LOOP
        FETCH answer INTO one;
        EXIT WHEN NOT FOUND OR n > {limit};
        weight := weight + pg_column_size(one);
        n := n + 1;
        IF weight > {most} THEN RAISE EXCEPTION 'TOO MUCH' USING ERRCODE = '54000'; END IF;
    END LOOP;
    MOVE ABSOLUTE 0 FROM answer;
END {tag}
"""

# A role that could do more than read is none for this page, whoever made it.
CAN_DO_MORE = """
SELECT r.rolsuper OR has_database_privilege(current_database(), 'CREATE')
    OR has_schema_privilege(%(schema)s, 'CREATE')
    OR coalesce(has_any_column_privilege(to_regclass(%(keys)s), 'SELECT'), false)
    OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace
               AND c.relkind IN ('r', 'p')
               AND (has_table_privilege(c.oid, 'DELETE, TRUNCATE')
                    OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')))
FROM pg_roles r WHERE r.rolname = current_user
"""

WORDS = {
    "54000": "the answer is larger than {most:,.0f} MB: ask for fewer columns or rows.",
    "57014": "the question took longer than {seconds:.0f} s: ask for less, say with a `where`.",
    "25006": "this page only reads: nothing was changed.",
    "53300": "too many questions at once: ask again in some seconds.",
    "53400": "the question needs too much room on disk: ask for less.",
}


@dataclass(frozen=True)
class Answer:
    """Rows that were asked for; ``is_cut`` where there were more than are given."""

    rows: pd.DataFrame
    is_cut: bool
    seconds: float


def ask(
    url: str,
    question: str,
    *,
    user: str = "",
    schema: str = "tremor",
    max_rows: int = MAX_ROWS,
    max_seconds: float = MAX_SECONDS,
) -> Answer:
    """Put one query to the warehouse on a connection of its own, which is thrown away.

    Parameters
    ----------
    url : str
        The server; ``user`` is another role than the one that it names.

    Raises
    ------
    WarehouseError
        In one line, without the question: what the server said, or which bound was met.
    """
    began = time.monotonic()
    with _opened(url, user, schema, max_seconds) as (connection, is_over):
        try:
            with connection.cursor() as cursor:
                _require_harmless(cursor, schema)
                _open(cursor, question, max_rows, connection)
                rows, names = _fetched(cursor, max_rows)
        except (psycopg2.Error, ValueError, OverflowError) as error:
            raise WarehouseError(_words(error, max_seconds, is_over=is_over.is_set())) from None
    frame = _framed(rows[:max_rows], names)
    return Answer(frame, len(rows) > max_rows, time.monotonic() - began)


@contextmanager
def _opened(
    url: str, user: str, schema: str, max_seconds: float
) -> Iterator[tuple[Any, threading.Event]]:
    """A connection that is ended from outside once its time is over."""
    bounds = {
        "default_transaction_read_only": "on",
        "statement_timeout": str(int(max_seconds * 1000)),
        "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "30000",
        "search_path": schema,
        "timezone": "UTC",
    }
    options = " ".join(f"-c {name}={value}" for name, value in bounds.items())
    parts = {**CONNECT_OPTIONS, **parse_dsn(normalised(url)), "options": options}
    if user:
        parts["user"] = user
    try:
        connection = psycopg2.connect(**parts)
    except psycopg2.Error as error:
        raise WarehouseError(_words(error, max_seconds, is_over=False)) from None
    is_over = threading.Event()
    # The question may have set the session's own limit otherwise.
    watchdog = threading.Timer(max_seconds + 0.5, _end, [connection, is_over])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield connection, is_over
    finally:
        watchdog.cancel()
        connection.close()


def _end(connection: Any, is_over: threading.Event) -> None:
    is_over.set()
    with suppress(psycopg2.Error):
        connection.cancel()
    # Whoever waits for the answer holds the connection, so its socket is closed beneath it.
    time.sleep(1)
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=connection.fileno()) as wire:
        try:
            wire.shutdown(socket.SHUT_RDWR)
        finally:
            wire.detach()


def _require_harmless(cursor: Any, schema: str) -> None:
    cursor.execute(CAN_DO_MORE, {"schema": schema, "keys": f"{schema}.{API_KEYS.name}"})
    if cursor.fetchone()[0]:
        raise WarehouseError(
            "the reader's role may do more than read, or see keys: no question is put by it. Name "
            "another in TREMOR_READER_URL."
        )


def _open(cursor: Any, question: str, max_rows: int, connection: Any) -> None:
    text = pg.Literal(question.strip().removesuffix(";").replace("\0", ""))
    statement = pg.SQL(OPEN).format(
        # A tag that nobody can guess: the question cannot end the block that holds it.
        tag=pg.SQL(f"$q{secrets.token_hex(16)}$"),
        question=text,
        limit=pg.Literal(max_rows),
        most=pg.Literal(MAX_BYTES),
    )
    cursor.execute(statement.as_string(connection))


def _fetched(cursor: Any, max_rows: int) -> tuple[list[tuple[Any, ...]], list[str]]:
    rows: list[tuple[Any, ...]] = []
    names: list[str] = []
    while len(rows) <= max_rows:
        cursor.execute(f"FETCH {min(BATCH, max_rows + 1 - len(rows))} FROM answer")
        names = names or [column.name for column in cursor.description]
        batch = cursor.fetchall()
        rows += batch
        if len(batch) < BATCH:
            break
    return rows, names


def _framed(rows: list[tuple[Any, ...]], names: list[str]) -> pd.DataFrame:
    """A frame whose columns have names of their own, and values that a table can show."""
    counts = [names[:place].count(name) for place, name in enumerate(names)]
    own = [f"{name}_{n + 1}" if n else name for name, n in zip(names, counts, strict=True)]
    frame = pd.DataFrame(rows, columns=range(len(names)), dtype=object)
    shown = {}
    for place, name in enumerate(own):
        while name in shown:
            name += "_"  # noqa: PLW2901 - a name that another column has already
        shown[name] = _column(frame[place])
    return pd.DataFrame(shown)


def _column(values: "pd.Series[Any]") -> "pd.Series[Any]":
    kinds = {type(value) for value in values.dropna()}
    if kinds and kinds <= {int, float}:
        return pd.to_numeric(values, errors="coerce")
    if kinds <= {str, bool} or kinds <= {datetime} or kinds <= {date}:
        return values if kinds != {datetime} else values.map(str, na_action="ignore")
    return values.map(_text, na_action="ignore")


def _text(value: Any) -> str:
    if isinstance(value, memoryview):
        return "\\x" + value.tobytes().hex()
    return str(value) if not isinstance(value, timedelta) else f"{value.total_seconds()} s"


def _words(error: Exception, max_seconds: float, *, is_over: bool) -> str:
    code = "57014" if is_over else getattr(error, "pgcode", None) or ""
    if not code and "too many" in str(error):
        # What is refused at the door has no code.
        code = "53300"
    if code in WORDS:
        return WORDS[code].format(most=MAX_BYTES / 1e6, seconds=max_seconds)
    diagnosed = getattr(getattr(error, "diag", None), "message_primary", None)
    if diagnosed:
        return f"the warehouse says: {clean(diagnosed, 300)}."
    if isinstance(error, psycopg2.Error):
        return "the warehouse cannot be asked as its reader. See `python main.py doctor`."
    return "the answer holds a value that no table can show, a date too far away say."
