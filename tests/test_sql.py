"""PostgreSQL and MariaDB as sources of payment volumes, against real servers."""

import tracemalloc
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd
import psycopg2
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from components.errors import (
    SettingsError,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.objects import open_objects
from components.records import CandleRequest
from components.sources import queries
from components.sources.sql import opened
from tests.database_servers import LACKING, PASSWORD, mariadb_server, mariadbd, root_connection
from tests.proxies import Proxy

QUERY = (
    "select country as series, paid_at as ts, amount as value from payments "
    "where paid_at >= :since and paid_at < :until -- 100 % of :them"
)
SCHEMA = "create table payments (country varchar(300), paid_at {time}, amount numeric(12, 2))"
ROWS = [
    ("DE", "2024-01-01 00:30:00", "10.50"),
    ("DE", "2024-01-31 23:59:59", "1.25"),
    ("FR", "2024-02-01 00:00:00", "2.00"),
    ("FR", "2024-02-29 12:00:00", "-0.75"),
    ("D'E; -- %s\n", "2024-02-10 10:00:00", "4"),
]


@dataclass
class Served:
    """A server: its address for the source, and how to run a statement that may write."""

    url: str
    execute: object


@pytest.fixture(scope="session")
def mariadb_port():
    """The port of a real MariaDB, for the whole session."""
    if mariadbd() is None:
        pytest.skip(LACKING)
    with mariadb_server() as port:
        yield port


def postgres_served(url):
    def execute(*statements):
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(*statement) if isinstance(statement, tuple) else cursor.execute(
                    statement
                )
        connection.close()

    return Served(url, execute)


def mariadb_served(port, scheme="mariadb"):
    def execute(*statements):
        with root_connection(port, database="shop") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(*statement) if isinstance(statement, tuple) else cursor.execute(
                    statement
                )

    execute(
        "set lock_wait_timeout = 10",
        "drop database shop",
        "create database shop character set utf8mb4",
    )
    return Served(f"{scheme}://reader:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/shop", execute)


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request):
    """A server with an empty database."""
    if request.param == "postgresql":
        return postgres_served(request.getfixturevalue("postgres_url"))
    return mariadb_served(request.getfixturevalue("mariadb_port"))


@pytest.fixture
def filled(served):
    """A server with a few payments; times without an offset."""
    served.execute(SCHEMA.format(time="timestamp" if "postgres" in served.url else "datetime"))
    for row in ROWS:
        served.execute(("insert into payments values (%s, %s, %s)", row))
    return served


def ask(tmp_path, url, text=QUERY, **more):
    path = tmp_path / "payments.sql"
    path.write_text(text)
    return opened(sql_url=SecretStr(url), measures_query=path, **more)


def request_of(since="2024-01-01", until="2024-03-01", as_of="2024-06-01"):
    since, until, as_of = (pd.Timestamp(text, tz="UTC") for text in (since, until, as_of))
    return CandleRequest("payments", "2h", since, until, as_of)


def read(source, request=None):
    replies = [source.fetch(piece) for piece in source.pieces(request or request_of())]
    return replies, pd.concat([source.parse(reply).measures for reply in replies])


def nonzero(measures):
    rows = measures[measures["value"] != 0].sort_values(["ts", "series"])
    return [
        (name, f"{at:%m-%d %H:%M}", float(value))
        for name, at, value, _ in rows.itertuples(index=False)
    ]


def test_months_are_read_and_summed(filled, tmp_path):
    """Each month is one reply, both ends of it exact; hostile names are data and nothing else."""
    replies, measures = read(ask(tmp_path, filled.url))
    assert [reply.status for reply in replies] == [200, 200]
    assert nonzero(measures) == [
        ("DE", "01-01 00:00", 10.5),
        ("DE", "01-31 22:00", 1.25),
        ("FR", "02-01 00:00", 2.0),
        ("D'E; -- %s", "02-10 10:00", 4.0),
        ("FR", "02-29 12:00", -0.75),
    ]
    again, _ = read(ask(tmp_path, filled.url))
    assert [reply.body for reply in again] == [reply.body for reply in replies]


def test_nothing_that_is_shown_holds_the_password(filled, tmp_path):
    """Neither the address of a reply, nor the source as text."""
    source = ask(tmp_path, filled.url)
    (reply, _), _ = read(source)
    shown = f"{reply.url} {reply.details} {source!r} {source.query}"
    assert "reader" not in shown
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in shown


def test_times_without_an_offset_are_of_the_zone_of_the_settings(filled, tmp_path):
    """The bounds are compared in that zone too, so months lose no hour at their ends."""
    source = ask(tmp_path, filled.url, time_zone="Europe/Berlin")
    request = request_of("2023-12-31 23:00", "2024-02-29 23:00")
    _, measures = read(source, request)
    assert nonzero(measures)[:3] == [
        ("DE", "12-31 23:00", 10.5),
        ("DE", "01-31 21:00", 1.25),
        ("FR", "01-31 23:00", 2.0),
    ]
    assert measures["value"].sum() == 17.0


def test_postgresqls_times_with_an_offset_are_instants(postgres_url, tmp_path):
    """Timestamptz says which instant it is, whatever the zone of the settings."""
    server = postgres_served(postgres_url)
    server.execute(
        SCHEMA.format(time="timestamptz"),
        "insert into payments values ('DE', '2024-01-31 23:30:00+00', 1)",
    )
    _, measures = read(ask(tmp_path, postgres_url, measures_times="Europe/Berlin"))
    assert nonzero(measures) == [("DE", "01-31 22:00", 1.0)]


def test_a_column_of_the_type_timestamp_needs_a_zone_that_the_server_knows(mariadb_port, tmp_path):
    """MySQL's TIMESTAMP is turned into the session's zone; without it the remedy is told."""
    server = mariadb_served(mariadb_port, "mysql")
    server.execute(
        "set time_zone = '+00:00'",
        SCHEMA.format(time="timestamp"),
        "insert into payments values ('DE', '2024-01-31 23:30:00', 1)",
    )
    _, measures = read(ask(tmp_path, server.url))
    assert nonzero(measures) == [("DE", "01-31 22:00", 1.0)]
    source = ask(tmp_path, server.url, measures_times="Europe/Berlin")
    with pytest.raises(
        SourceFormatError,
        match=r"does not know the time zone Europe/Berlin.*TREMOR_MEASURES_TIMES=UTC",
    ):
        read(source)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_is_the_same_driver(postgres_url, tmp_path, scheme):
    """SQLAlchemy alone would take another, which is not installed."""
    server = postgres_served(postgres_url)
    server.execute(SCHEMA.format(time="timestamp"))
    replies, _ = read(ask(tmp_path, postgres_url.replace("postgresql", scheme, 1)))
    assert len(replies) == 2


WRITERS = {
    "postgresql": (
        "create function spent() returns int language sql as 'delete from payments; select 1'"
    ),
    "mariadb": (
        "create function spent() returns int modifies sql data"
        " begin delete from payments; return 1; end"
    ),
}


def test_a_query_that_writes_fails_at_the_server(filled, tmp_path):
    """Also where the text does not show it: the transaction is read-only."""
    filled.execute(WRITERS["postgresql" if "postgres" in filled.url else "mariadb"])
    source = ask(tmp_path, filled.url, QUERY.replace("amount as", "spent() as"))
    with pytest.raises(SourceFormatError, match=r"the query writes .*Give one that only reads"):
        read(source)
    _, measures = read(ask(tmp_path, filled.url))
    assert measures["value"].sum() == 17.0


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            QUERY.replace("payments", "nosuch"),
            SymbolNotFound,
            "nosuch.*Correct the table in the query",
        ),
        (QUERY.replace("amount", "money"), SourceFormatError, "does not run .*money.*Correct it"),
        (QUERY.replace("from", "form"), SourceFormatError, "does not run"),
        (QUERY.replace("amount as value", "amount"), SourceFormatError, "gives the columns"),
        (QUERY.replace("amount", "'a lot'"), SourceFormatError, "'a lot' is no number"),
        (QUERY.replace("paid_at as ts", "null as ts"), SourceFormatError, "is no time"),
    ],
)
def test_a_query_that_does_not_run_says_why(filled, tmp_path, text, kind, message):
    """In the database's words and with the remedy, in one line; it is not tried again."""
    with pytest.raises(kind, match=message) as caught:
        read(ask(tmp_path, filled.url, text))
    assert not isinstance(caught.value, SourceUnavailable)
    assert "\n" not in str(caught.value)
    assert caught.value.symbol == "payments"


def test_a_second_statement_is_never_sent(filled, tmp_path):
    """Neither a commit nor a drop reaches the server."""
    with pytest.raises(SettingsError, match="more than one statement"):
        ask(tmp_path, filled.url, QUERY.partition(" --")[0] + "; commit; drop table payments")


def test_a_slow_query_is_stopped_by_the_server(filled, tmp_path):
    """After the patience of the settings; another try may help."""
    sleeping = "pg_sleep(60)" if "postgres" in filled.url else "sleep(60)"
    text = QUERY.replace("where", f"where {sleeping} is not null and")
    if "postgres" not in filled.url:
        text = QUERY.replace("where", "where sleep(60) = 0 and")
    source = ask(tmp_path, filled.url, text, timeout_s=1)
    with pytest.raises(SourceUnavailable, match=r"took longer than 1 s .*TREMOR_TIMEOUT_S"):
        read(source)


def test_a_wrong_password_is_told_and_not_printed(mariadb_port, tmp_path):
    """It is not tried again, and appears nowhere."""
    server = mariadb_served(mariadb_port)
    url = make_url(server.url).set(password="s3cret@wrong%")
    with pytest.raises(SourceError, match=r"access refused .*TREMOR_SQL_URL") as caught:
        read(ask(tmp_path, url.render_as_string(hide_password=False)))
    assert not isinstance(caught.value, SourceUnavailable)
    assert "s3cret" not in str(caught.value)


def test_postgresql_refuses_who_it_does_not_know(postgres_url, tmp_path):
    """Refused at the door: told, and not tried again."""
    for url in (
        make_url(postgres_url).set(username="nobody_known", password="s3cret%40"),
        make_url(postgres_url).set(database="no_such_shop"),
    ):
        with pytest.raises(SourceError, match=r"access refused .*does not exist") as caught:
            read(ask(tmp_path, url.render_as_string(hide_password=False)))
        assert not isinstance(caught.value, SourceUnavailable)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_dead_server_is_worth_another_try(tmp_path, scheme):
    """Nobody listens: told with the address, without the password."""
    with Proxy(("127.0.0.1", 1)) as proxy:
        port = proxy.port
    source = ask(tmp_path, f"{scheme}://reader:s3cret@127.0.0.1:{port}/shop", timeout_s=2)
    with pytest.raises(
        SourceUnavailable, match=f"127.0.0.1:{port}/shop cannot be reached"
    ) as caught:
        read(source)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_silent_server_does_not_hold_up_the_run(tmp_path, scheme):
    """It takes the connection and says nothing: given up after the patience of the settings."""
    with Proxy(("127.0.0.1", 1)) as proxy:
        proxy.keep_silent()
        source = ask(tmp_path, f"{scheme}://reader:s3cret@127.0.0.1:{proxy.port}/shop", timeout_s=2)
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            read(source)


def test_an_enormous_month_streams_and_is_bounded(filled, tmp_path, monkeypatch):
    """The rows are taken in parts, and what was meant to be summed is refused, not held."""
    many = (
        "insert into payments select 'DE', '2024-01-05 00:00:00', 1 from generate_series(1, 60000)"
        if "postgres" in filled.url
        else "insert into payments select 'DE', '2024-01-05 00:00:00', 1 from seq_1_to_60000"
    )
    filled.execute(many)
    monkeypatch.setattr(queries, "MAX_BYTES", 2**20)
    source = ask(tmp_path, filled.url)
    tracemalloc.start()
    with pytest.raises(SourceFormatError, match=r"a month has more than 1 MB.*date_trunc"):
        read(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All rows would be more than 20 MB of Python objects.
    assert peak < 15 * 2**20
    monkeypatch.undo()
    _, measures = read(source)
    assert measures["value"].sum() == 60_017.0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "TREMOR_SQL_URL is not set"),
        ("nonsense", "is no address"),
        ("postgresql://u:s3cret@host:port/db", "is no address"),
        ("oracle://u:s3cret@host/db", "'oracle' is not read. Give postgresql"),
        ("sqlite:////tmp/s3cret.db", "'sqlite' is not read"),
        ("postgresql://u:s3@cret@host/db", "two @ in it.*%40"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_secret(tmp_path, url, message):
    """With how it is written; the password is in no message."""
    with pytest.raises(SettingsError, match=message) as caught:
        ask(tmp_path, url)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_an_unknown_zone_is_refused_before_anything_is_asked(tmp_path):
    """A slip in TREMOR_TIME_ZONE is told at once."""
    with pytest.raises(SettingsError, match="no time zone is called 'Europe/Bärlin'"):
        ask(tmp_path, "postgresql://host/db", time_zone="Europe/Bärlin")


def test_a_query_in_a_bucket_is_read_from_there(s3_url, tmp_path):
    """A container has no file of its operator's: the same text gives the same query."""
    objects = open_objects(s3_url)
    objects.put("payments.sql", QUERY.encode())
    (tmp_path / "payments.sql").write_text(QUERY)
    far = queries.read_query(f"{s3_url}/payments.sql", "postgresql")
    assert far == queries.read_query(tmp_path / "payments.sql", "postgresql")
    with pytest.raises(SettingsError, match=r"nothing\.sql: the query cannot be read"):
        queries.read_query(f"{s3_url}/nothing.sql", "postgresql")
    with pytest.raises(SettingsError, match="no query is set"):
        queries.read_query("", "postgresql")
