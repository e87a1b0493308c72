"""The warehouse when something goes wrong: kills, races, lost connections, small rights."""

import os
import signal
import subprocess
import sys
import threading

import pandas as pd
import psycopg2
import pytest

from components.errors import AnotherRunAtWork, SettingsError, WarehouseError
from components.tables import CANDLES, RUNS
from components.warehouse import Warehouse
from components.warehouse.migrations import MIGRATIONS
from tests.test_warehouse import candle, frame, history

VERSIONS = list(range(1, len(MIGRATIONS) + 1))


def psql(url):
    """A connection of the test's own."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


def python(code, *args, **options):
    """Start another process that uses the warehouse."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True, **options
    )


def test_a_transaction_is_all_or_nothing(warehouse):
    """Several tables commit together; an error inside takes all of it back."""

    def fail_late():
        with warehouse.transaction():
            warehouse.upsert(CANDLES, frame(candle()))
            warehouse.upsert(RUNS, pd.DataFrame({"id": ["r"]}))
            raise KeyError

    with pytest.raises(KeyError):
        fail_late()
    assert warehouse.read(CANDLES).empty
    with warehouse.transaction():
        warehouse.upsert(CANDLES, frame(candle()))
        warehouse.upsert(RUNS, pd.DataFrame({"id": ["r"]}))
    assert (len(warehouse.read(CANDLES)), len(warehouse.read(RUNS))) == (1, 1)


def test_an_error_swallowed_inside_a_transaction_is_not_taken_for_success(warehouse):
    """A transaction that the server has given up must not look committed."""
    with pytest.raises(WarehouseError), warehouse.transaction(), pytest.raises(WarehouseError):
        warehouse.execute("select 1 / 0")
    assert warehouse.query("select 1 as one")["one"].tolist() == [1]


def test_a_connection_lost_half_way_is_told_and_the_next_use_reconnects(warehouse, postgres_url):
    """Nothing of the step is stored, the message has no password, and life goes on."""

    def lose():
        with warehouse.transaction():
            warehouse.upsert(CANDLES, frame(candle()))
            end(postgres_url, own_pid(warehouse))
            warehouse.upsert(CANDLES, frame(candle(symbol="B")))

    with pytest.raises(WarehouseError, match="try again"):
        lose()
    assert warehouse.upsert(CANDLES, frame(candle(symbol="C"))) == 1
    assert warehouse.read(CANDLES)["symbol"].tolist() == ["C"]


def own_pid(warehouse):
    """The server's process that serves this connection."""
    return int(warehouse.query("select pg_backend_pid() as pid")["pid"][0])


def end(url, pid):
    """End another connection."""
    connection = psql(url)
    with connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s, 5000)", [pid])
    connection.close()


def test_a_connection_that_died_idle_is_replaced_silently(warehouse, postgres_url):
    """A server restarted over night does not fail the next run."""
    end(postgres_url, own_pid(warehouse))
    assert warehouse.upsert(CANDLES, frame(candle())) == 1


KILLED = """
import os, signal, sys
import pandas as pd
from components.warehouse import Warehouse
from components.tables import CANDLES
from tests.test_warehouse import history
warehouse = Warehouse(sys.argv[1])
with warehouse.transaction():
    warehouse.upsert(CANDLES, history(5, 100))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_of_an_upsert_leaves_nothing(warehouse, postgres_url):
    """A run may be killed at any instant and repeated."""
    assert python(KILLED, postgres_url).wait() == -signal.SIGKILL
    assert warehouse.read(CANDLES).empty
    assert warehouse.upsert(CANDLES, history(5, 100)) == 500


MIGRATING = """
import sys
from components.warehouse import Warehouse
sys.stdin.read()
Warehouse(sys.argv[1]).migrate()
"""


def test_processes_may_migrate_at_once(postgres_url):
    """Two containers started together both find the tables made, once."""
    started = [python(MIGRATING, postgres_url, stdin=subprocess.PIPE) for _ in range(4)]
    for process in started:
        process.stdin.close()
    assert [process.wait() for process in started] == [0] * 4
    warehouse = Warehouse(postgres_url)
    assert warehouse.query("select version from schema_version")["version"].tolist() == VERSIONS


def test_a_newer_database_is_refused(warehouse):
    """An old program never writes into tables that it does not know."""
    warehouse.execute("insert into schema_version (version) values (99)")
    with pytest.raises(WarehouseError, match=rf"version 99.* knows {VERSIONS[-1]}:"):
        warehouse.migrate()


LOCKED = """
import sys
from components.warehouse import Warehouse
with Warehouse(sys.argv[1]).run_lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_one_run_is_at_work(warehouse, postgres_url):
    """The second steps aside; the lock of a killed run is free at once."""
    first = python(LOCKED, postgres_url, stdin=subprocess.PIPE)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(AnotherRunAtWork), warehouse.run_lock():
        pass
    first.kill()
    first.wait()
    for _ in range(100):
        try:
            with warehouse.run_lock():
                return
        except AnotherRunAtWork:
            threading.Event().wait(0.05)
    pytest.fail("the lock outlived its process")


def test_a_role_that_owns_only_its_schema_is_enough(warehouse, postgres_url):
    """Least privilege: no superuser, no right to make schemas, nothing outside its own."""
    role = f"least_{os.getpid()}"
    own = postgres_url.replace("//postgres@", f"//{role}@")
    connection = psql(postgres_url)
    with connection.cursor() as cursor:
        cursor.execute(f"create role {role} login")
        with pytest.raises(WarehouseError, match=r"(?i)permission denied.*right"):
            Warehouse(own, schema="mine").migrate()
        cursor.execute(f"create schema mine authorization {role}")
    with Warehouse(own, schema="mine") as mine:
        mine.migrate()
        assert mine.upsert(CANDLES, history(6, 20)) == 120
        assert mine.upsert(CANDLES, history(6, 20)) == 0
        assert len(mine.read(CANDLES)) == 120
    assert warehouse.read(CANDLES).empty
    with connection.cursor() as cursor:
        cursor.execute(f"drop owned by {role} cascade; drop role {role}")
    connection.close()


def test_a_statement_that_takes_too_long_is_ended(warehouse, postgres_url):
    """No run hangs for ever on the warehouse."""
    impatient = Warehouse(postgres_url, statement_timeout_s=0.05, lock_timeout_s=0.05)
    with pytest.raises(WarehouseError, match="took too long"):
        impatient.execute("select pg_sleep(5)")
    impatient.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:top%2Asecret@127.0.0.1:9/x",
        "postgres://me:top%2Asecret@127.0.0.1:9/x",
        "postgresql+psycopg2://me@127.0.0.1:9/x?password=top%2Asecret",
    ],
)
def test_a_server_out_of_reach_is_one_line_without_the_password(url):
    """The message names the server and the setting, never the secret."""
    with pytest.raises(WarehouseError, match=r"127\.0\.0\.1:9/x") as caught:
        Warehouse(url).migrate()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "secret",
        "postgresql://u:secret%zz@h/d",
        "postgresql://u:secret@[h/d",
    ],
)
def test_an_unreadable_url_is_not_shown(url):
    """What cannot be read may hold a password anywhere."""
    with pytest.raises(SettingsError, match="TREMOR_WAREHOUSE_URL") as caught:
        Warehouse(url)
    assert "secret" not in str(caught.value)


def test_threads_share_a_warehouse_without_mixing_transactions(warehouse):
    """The API serves from many threads; each upsert is whole."""
    parts = [
        history(2, 40).assign(symbol=lambda rows, k=k: rows["symbol"] + str(k)) for k in range(6)
    ]
    threads = [threading.Thread(target=warehouse.upsert, args=(CANDLES, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(warehouse.read(CANDLES)) == 6 * 80
