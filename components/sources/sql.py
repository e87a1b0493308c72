"""PostgreSQL, MySQL and MariaDB as a source of payment volumes, read-only."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import pandas as pd
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import URL, Connection, exc
from sqlalchemy.pool import NullPool

from components.errors import (
    RateLimited,
    SettingsError,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.sources.queries import CHUNK, QuerySource, Rows, binning, first_line, read_query

# What SQLAlchemy calls them; of PostgreSQL it would take psycopg 3, which is not installed.
DRIVERS: Final = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}

# A column of MySQL's type TIMESTAMP comes in the session's time zone, DATETIME as it was written.
TIMESTAMP = 7

AWAY, BUSY, DENIED, SLOW, UNKNOWN, WRITES = "away", "busy", "denied", "slow", "unknown", "writes"

TOLD: Final[dict[str, tuple[type[SourceError], str]]] = {
    AWAY: (SourceUnavailable, "{place} cannot be reached ({said}). Check that the server runs."),
    BUSY: (RateLimited, "the server is busy ({said}). Try again later."),
    DENIED: (
        SourceError,
        "access refused ({said}). Correct the user, the password or the database in "
        "TREMOR_SQL_URL, or let the user read the table.",
    ),
    SLOW: (
        SourceUnavailable,
        "a month took longer than {seconds} s ({said}). Index the time column, or raise "
        "TREMOR_TIMEOUT_S.",
    ),
    UNKNOWN: (SymbolNotFound, "{said}. Correct the table in the query."),
    WRITES: (SourceFormatError, "the query writes ({said}). Give one that only reads."),
}

# Error codes: PostgreSQL's SQLSTATE (its first two letters name the class), MySQL's numbers.
TROUBLES: Final[dict[str | int, str]] = {
    "53300": BUSY, "42501": DENIED, "57014": SLOW, "42P01": UNKNOWN, "3F000": UNKNOWN,
    "25006": WRITES,
    1040: BUSY, 1203: BUSY, 1226: BUSY,
    1044: DENIED, 1045: DENIED, 1049: DENIED, 1142: DENIED, 1143: DENIED, 1227: DENIED,
    1698: DENIED, 1969: SLOW, 3024: SLOW, 1146: UNKNOWN, 1792: WRITES,
}  # fmt: skip

# PostgreSQL refuses a connection in words, without a code.
REFUSALS: Final = (
    "authentication failed", "no password supplied", "pg_hba.conf", "does not exist",
    "permission denied",
)  # fmt: skip


def opened(
    *,
    sql_url: SecretStr | None = None,
    measures_query: str | Path = "",
    measures_settle_days: float = 3.0,
    timeout_s: float = 30.0,
    **settings: Any,
) -> "Sql":
    """Open the database of the settings; nothing is connected yet."""
    url = _url(sql_url.get_secret_value() if sql_url else "")
    query = read_query(measures_query, "mysql" if "pymysql" in url.drivername else "postgresql")
    # Neither user nor password: the address is shown.
    place = str(URL.create(url.drivername, host=url.host, port=url.port, database=url.database))
    return Sql(query, place, binning(**settings), measures_settle_days, timeout_s, url=url)


def _url(text: str) -> URL:
    try:
        url = sqlalchemy.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise SettingsError(
            "TREMOR_SQL_URL is not set, or is no address. Write it as "
            "postgresql://user:password@host/db, mysql://... or mariadb://..., and characters "
            "like @ / : % in the password as %40 %2F %3A %25."
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise SettingsError(
            f"TREMOR_SQL_URL: {kind[:20]!r} is not read. Give postgresql://, mysql:// or mariadb://."
        )
    # What follows an @ that was not written as %40 would be taken for the host, and printed.
    if "@" in (url.host or ""):
        raise SettingsError(
            "TREMOR_SQL_URL: two @ in it. Write the one in the password as %40 (and % as %25)."
        )
    return url.set(drivername=DRIVERS[kind])


@dataclass(frozen=True)
class Sql(QuerySource):
    """A database by its address; each month is read in a read-only transaction.

    Parameters
    ----------
    url : URL
        The address with user and password.
    """

    name: ClassVar[str] = "sql"

    url: URL = field(kw_only=True, repr=False)

    def rows(self, since: pd.Timestamp, until: pd.Timestamp) -> Rows:
        """Stream the query's rows; the server stops it after ``timeout_s``."""
        engine = sqlalchemy.create_engine(
            self.url, poolclass=NullPool, hide_parameters=True, connect_args=self._arguments()
        )
        try:
            with engine.connect() as connection:
                speaks_zone = self._begin(connection)
                values = {"since": self._bound(since), "until": self._bound(until)}
                streaming = connection.execution_options(stream_results=True, yield_per=CHUNK)
                result = streaming.exec_driver_sql(self.query.prepared, values)
                columns = list(result.keys())
                try:
                    if not speaks_zone:
                        self._check_types(result)
                    yield columns, ()
                    for part in result.partitions(CHUNK):
                        yield columns, part
                except (GeneratorExit, SourceFormatError):
                    _abandon(connection, result)
                    raise
        except exc.DBAPIError as error:
            raise self._told(error) from None
        except (exc.SQLAlchemyError, ValueError, OverflowError) as error:
            raise SourceFormatError(
                f"{self.query.name}: {self._said(error)}. Give rows with a ts and a value.",
                self.query.name,
            ) from None

    def _arguments(self) -> dict[str, Any]:
        patience = math.ceil(self.timeout_s)
        if self._is_postgresql:
            return {
                "connect_timeout": max(patience, 2),
                "application_name": "tremor",
                "keepalives_idle": patience,
            }
        # The server's own limit comes first; this one is for a server that fell silent.
        return {"connect_timeout": patience, "read_timeout": patience + 5, "charset": "utf8mb4"}

    @property
    def _is_postgresql(self) -> bool:
        return self.url.drivername.startswith("postgresql")

    def _bound(self, instant: pd.Timestamp) -> datetime:
        """A bound as the database compares it: MySQL knows no offsets, only its session's zone."""
        if self._is_postgresql:
            return instant.to_pydatetime()
        return instant.tz_convert(self.binning.times).tz_localize(None).to_pydatetime()

    def _begin(self, connection: Connection) -> bool:
        """Make the session read-only and of the right zone; False where the zone is unknown."""
        if self._is_postgresql:
            connection.execution_options(postgresql_readonly=True)
            connection.exec_driver_sql(
                "select set_config('statement_timeout', %(ms)s, true),"
                " set_config('timezone', %(zone)s, true)",
                {"ms": str(math.ceil(self.timeout_s * 1000)), "zone": self.binning.times},
            )
            return True
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        limit = "max_statement_time = %(s)s" if is_mariadb else "max_execution_time = %(ms)s"
        patience = {"s": self.timeout_s, "ms": math.ceil(self.timeout_s * 1000)}
        connection.exec_driver_sql(f"set session {limit}", patience)
        zone = "+00:00" if self.binning.times == "UTC" else self.binning.times
        speaks_zone = True
        try:
            connection.exec_driver_sql("set time_zone = %(zone)s", {"zone": zone})
        except exc.DBAPIError as error:
            if _code(error) != 1298:
                raise
            speaks_zone = False
        connection.exec_driver_sql("set session transaction read only")
        connection.commit()
        return speaks_zone

    def _check_types(self, result: sqlalchemy.CursorResult[Any]) -> None:
        described = result.cursor.description if result.cursor is not None else ()
        if any(column[1] == TIMESTAMP for column in described):
            raise SourceFormatError(
                f"{self.query.name}: the server does not know the time zone {self.binning.times}, "
                "and a column is of the type TIMESTAMP. Load the zones (mysql_tzinfo_to_sql), or "
                "set TREMOR_MEASURES_TIMES=UTC.",
                self.query.name,
            )

    def _said(self, error: BaseException) -> str:
        origin = getattr(error, "orig", None) or error
        said = origin.args[-1] if _code(error) and origin.args else origin
        return first_line(Exception(str(said)), self.url.password or "").rstrip(".")

    def _told(self, error: exc.DBAPIError) -> SourceError:
        said, code = self._said(error), _code(error)
        trouble = TROUBLES.get(code or "", "")
        if code is None and any(words in said for words in REFUSALS):
            trouble = DENIED
        is_outside = isinstance(error, exc.OperationalError | exc.InterfaceError)
        if not trouble and is_outside and _is_remote(code):
            trouble = AWAY
        kind, words = TOLD.get(
            trouble, (SourceFormatError, "the query does not run ({said}). Correct it.")
        )
        told = words.format(said=said, place=self.place, seconds=f"{self.timeout_s:g}")
        return kind(f"{self.query.name}: {told}", self.query.name)


def _abandon(connection: Connection, result: sqlalchemy.CursorResult[Any]) -> None:
    """Cut a result off in which nobody is interested any more."""
    # PyMySQL would read all the rest of an unbuffered result before it closes.
    unread = getattr(result.cursor, "_result", None)
    if unread is not None:
        unread.unbuffered_active, unread.connection = False, None
    connection.invalidate()


def _code(error: BaseException) -> str | int | None:
    """The database's own code of an error, where it has one."""
    origin = getattr(error, "orig", None)
    state = getattr(origin, "pgcode", None)
    if state:
        return str(state)
    args = getattr(origin, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def _is_remote(code: str | int | None) -> bool:
    """Whether the trouble lies between here and the server, or in the server itself."""
    if isinstance(code, str):
        return code[:2] in {"08", "40", "53", "57", "58"}
    # MySQL numbers what its client library met from 2000 on; 1205 and 1213 are locks.
    return code is None or code >= 2000 or code in {0, 1053, 1205, 1213}
