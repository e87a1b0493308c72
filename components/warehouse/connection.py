"""A connection to PostgreSQL that reopens itself, and whose errors are one line each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, parse_dsn

from components.errors import AnotherRunAtWork, SettingsError, WarehouseError

SCHEMES = ("postgres", "postgresql", "postgresql+psycopg2")


class _Undone(Exception):
    """Ends a transaction whose work is taken back."""


CONNECT_OPTIONS = {
    "connect_timeout": "10",
    "application_name": "tremor",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}

# What to do about it, by the class (two characters) or the code of a PostgreSQL error.
REMEDIES = {
    "28": "Check the user and password in TREMOR_WAREHOUSE_URL.",
    "3D": "Create the database, or check its name in TREMOR_WAREHOUSE_URL.",
    "3F": "Let `python main.py status` make the tables.",
    "42501": "Grant the role this right, or let a role that has it make the schema.",
    "42P01": "Let `python main.py status` make the tables.",
    "53100": "Free disk space on the database server.",
    "53300": "Close other connections, or raise the server's max_connections.",
    "55P03": "Another program holds a lock on it: wait for it, and try again.",
    "57014": "The statement took too long: ask for less, or raise its time limit.",
    "57": "Nothing of this step was stored: try again when the server is up.",
    "08": "Nothing of this step was stored: try again when the server is up.",
}


def normalised(url: str) -> str:
    """Return ``url`` as libpq reads it: ``postgresql://``, whatever driver it names.

    Raises
    ------
    SettingsError
        Not a PostgreSQL URL; the text is not shown, for it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise SettingsError(
            "TREMOR_WAREHOUSE_URL is not a PostgreSQL URL. "
            "Write postgresql://user:password@host:5432/database"
        )
    cleaned = f"postgresql://{rest}"
    try:
        if rest.partition("/")[0].count("@") > 1:
            raise ValueError("an @ in the password")  # noqa: TRY301
        ports = parse_dsn(cleaned).get("port", "")
        _ = [int(port) for port in ports.split(",") if port]
    except (psycopg2.Error, ValueError):
        raise SettingsError(
            "TREMOR_WAREHOUSE_URL cannot be read. Write postgresql://user:password@host:5432/"
            "database, with %-codes for special characters in the password."
        ) from None
    return cleaned


class Connection:
    """One connection, opened when first used and again after it was lost.

    Parameters
    ----------
    url : str
        The server and database.
    schema : str
        Where every unqualified name is looked up.
    statement_timeout_s, lock_timeout_s : float
        How long one statement may take, and how long it may wait for another's lock.
    """

    def __init__(
        self, url: str, schema: str, *, statement_timeout_s: float, lock_timeout_s: float
    ) -> None:
        self.url, self.schema = normalised(url), schema
        self._session = {
            "search_path": '"' + schema.replace('"', '""') + '"',
            "statement_timeout": str(int(statement_timeout_s * 1000)),
            "lock_timeout": str(int(lock_timeout_s * 1000)),
            "timezone": "UTC",
            "datestyle": "ISO",
            "jit": "off",
            "temp_buffers": "128MB",
            "work_mem": "64MB",
        }
        self._open: Any = None
        self._cursor: Any = None
        self._holding: list[Any] = []
        self._guard = threading.RLock()

    @property
    def shown(self) -> str:
        """Where it leads, without the password."""
        parts = parse_dsn(self.url)
        host, port = parts.get("host", "localhost"), parts.get("port", "5432")
        return f"{parts.get('user', '')}@{host}:{port}/{parts.get('dbname', '')}"

    @property
    def is_busy(self) -> bool:
        """Whether a transaction is open."""
        return self._cursor is not None

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Commit together what is done inside, or nothing; an inner one joins the outer."""
        with self._guard:
            if self._cursor is not None:
                with self._in_words():
                    yield self._cursor
                return
            with self._in_words():
                self._cursor = self._begin()
            try:
                with self._in_words():
                    yield self._cursor
                    self._commit()
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._cursor = None

    @contextmanager
    def undone(self) -> Iterator[None]:
        """One transaction over all that is done inside, taken back at the end."""
        with suppress(_Undone), self.transaction():
            yield
            raise _Undone

    @contextmanager
    def run_lock(self, work: str = "run") -> Iterator[None]:
        """Be the only one at this work on this schema; the lock dies with the process.

        Raises
        ------
        AnotherRunAtWork
            Another process holds it.
        """
        with self._in_words():
            own = self._connect()
        try:
            with self._in_words(), own.cursor() as cursor:
                own.autocommit = True
                cursor.execute(
                    "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))",
                    [f"{work} {self.schema}"],
                )
                is_held = cursor.fetchone()[0]
            if not is_held:
                raise AnotherRunAtWork(
                    f"another {work} is at work on {self.shown}: this one steps aside."
                )
            self._holding.append(own)
            yield
        finally:
            if own in self._holding:
                self._holding.remove(own)
                # A busy server notices a closed connection late, and the next run stepped aside.
                with suppress(psycopg2.Error), own.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock_all()")
            own.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._guard:
            if self._open is not None:
                with suppress(psycopg2.Error):
                    self._open.close()
            self._open = None

    def _connect(self) -> Any:
        opened = psycopg2.connect(**{**CONNECT_OPTIONS, **parse_dsn(self.url)})
        with opened.cursor() as cursor:
            for name, value in self._session.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
        opened.commit()
        return opened

    def _begin(self) -> Any:
        # A connection that lay idle may be gone unnoticed (a restart, a firewall). Nothing
        # has been asked of it yet, so another one is as good.
        if self._open is not None:
            try:
                cursor = self._open.cursor()
                cursor.execute("SELECT")
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.close()
                self._require_lock()
            else:
                return cursor
        self._open = self._connect()
        return self._open.cursor()

    def _require_lock(self) -> None:
        # A server that dropped this connection may have dropped the one that holds the run's
        # lock as well, and then another run may be at work by now.
        try:
            for held in self._holding:
                with held.cursor() as cursor:
                    cursor.execute("SELECT")
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise WarehouseError(
                f"warehouse {self.shown}: the connection that kept other runs away was lost. "
                "Repeat the run."
            ) from error

    def _commit(self) -> None:
        if self._open.info.transaction_status == TRANSACTION_STATUS_INERROR:
            raise WarehouseError(
                f"warehouse {self.shown}: a step failed inside a transaction, so nothing of it "
                "was stored. Repeat the run."
            )
        self._open.commit()

    def _roll_back(self) -> None:
        try:
            self._open.rollback()
        except psycopg2.Error:
            self.close()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise WarehouseError(self._words(error)) from error

    def _words(self, error: psycopg2.Error) -> str:
        code = error.pgcode or "08"
        remedy = REMEDIES.get(code) or REMEDIES.get(code[:2]) or f"(SQLSTATE {code})"
        said = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets():
            said = said.replace(secret, "***")
        return f"warehouse {self.shown}: {said.rstrip('.')}. {remedy}"

    def _secrets(self) -> set[str]:
        written = urlsplit(self.url).password or ""
        password = parse_dsn(self.url).get("password", "")
        return {written, unquote(written), password, quote(password)} - {""}
