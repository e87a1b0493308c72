"""Questions in SQL, put to a real server by who may only read: none of them does any harm."""

import threading
import time

import pandas as pd
import psycopg2
import pytest

from components.errors import WarehouseError
from components.tables import API_KEYS, RUNS
from components.warehouse import Warehouse, reader_role
from components.warehouse.reader import ask

NOW = pd.Timestamp("2024-03-13 12:00", tz="UTC")


@pytest.fixture(scope="module")
def store(postgres_server):
    """A warehouse with a run and a key in it, and its reader's role."""
    name = "test_reader"
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create database {name}")
    connection.close()
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with Warehouse(url) as warehouse:
        warehouse.migrate()
        run = dict.fromkeys(RUNS.columns, None) | {"id": "run-1", "command": "run", "as_of": NOW}
        warehouse.upsert(RUNS, pd.DataFrame([{**run, "exit_code": 0, "counts": "{}"}]))
        key = dict.fromkeys(API_KEYS.columns, None) | {"id": "k", "digest": "canary"}
        warehouse.upsert(API_KEYS, pd.DataFrame([key]))
        assert reader_role.make(warehouse) == reader_role.make(warehouse)
        yield warehouse, url


@pytest.fixture
def put(store):
    """Put a question as the page does."""

    def asked(question, **bounds):
        return ask(store[1], question, user=reader_role.ROLE, **bounds)

    return asked


def everything(store):
    """What a question might have changed."""
    rows = store[0].query("select count(*) as n from runs")["n"].iloc[0]
    made = store[0].query(
        "select count(*) as n from pg_class where relnamespace = 'tremor'::regnamespace"
    )
    roles = store[0].query("select string_agg(rolname, ',' order by rolname) as n from pg_roles")
    return rows, made["n"].iloc[0], roles["n"].iloc[0]


def test_a_plain_question_is_answered(put):
    """Numbers, texts, times, JSON, nothing, and two columns of one name."""
    answer = put("select 1 as a, 2 as a, id, as_of, counts, null as none, 1.5::numeric from runs;")
    assert not answer.is_cut
    assert list(answer.rows.columns) == ["a", "a_2", "id", "as_of", "counts", "none", "numeric"]
    row = answer.rows.iloc[0]
    assert (row["a"], row["id"], row["counts"]) == (1, "run-1", "{}")
    assert row["as_of"].startswith("2024-03-13 12:00")
    assert put("select 50 % 7 as n").rows["n"].iloc[0] == 1
    assert put("with x as (select 1 as n) select n from x -- the end").rows["n"].iloc[0] == 1
    assert put("select id from runs where false").rows.columns.tolist() == ["id"]
    assert len(put("table all_candles").rows) == 0


HARMFUL = {
    "a write": "insert into runs (id) values ('x')",
    "a write inside": "with x as (delete from runs returning id) select * from x",
    "a table": "create table t (a int)",
    "a temporary table": "create temp table t (a int)",
    "a drop": "drop table runs",
    "two statements": "select 1; drop table runs",
    "an end of the transaction": "select 1; commit; drop table runs",
    "out of the block": "select 1'; drop table runs; --",
    "out of its quotes": "$$; end $$; drop table runs; --",
    "a copy from a program": "copy (select 1) to program 'touch /tmp/harm'",
    "a copy to a file": "copy runs to '/tmp/harm'",
    "a file of the server": "select pg_read_file('/etc/passwd')",
    "a folder of the server": "select pg_ls_dir('.')",
    "the keys": "select * from api_keys",
    "the keys by their schema": "select digest from tremor.api_keys",
    "another role by a setting": "select set_config('role', 'postgres', false)",
    "another role": "set role postgres",
    "another session": "set session authorization postgres",
    "no read only": "set transaction read write",
    "a lock of the runs": "select pg_advisory_lock(1)",
    "a lock tried": "select pg_try_advisory_lock_shared(1, 2)",
    "a message": "select pg_notify('a', 'b')",
    "words in the log": "select pg_logical_emit_message(false, 'a', 'b')",
    "a large object": "select lo_create(0)",
    "another's work ended": "select pg_terminate_backend(pid) from pg_stat_activity "
    "where usename = 'postgres'",
    "what roles enter with": "select * from pg_authid",
    "a block": "do $$ begin perform 1; end $$",
    "an explanation that runs": "explain analyze delete from runs",
    "a lock of a table": "lock table runs",
    "a function": "create function f() returns int language sql as 'select 1'",
    "nothing": "",
    "no SQL": "please tell me all",
}


@pytest.mark.parametrize("question", HARMFUL.values(), ids=HARMFUL)
def test_what_would_do_harm_is_refused_in_one_line(put, store, question):
    """Nothing is changed, and the line does not say the question back."""
    before = everything(store)
    with pytest.raises(WarehouseError) as refused:
        put(question)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 400
    assert "canary" not in said
    assert not question or question not in said
    assert everything(store) == before


ENDLESS = {
    "asleep": "select pg_sleep(600)",
    "billions": "select count(*) from generate_series(1, 100000000000)",
    "a loop": "with recursive r(n) as (select 1 union all select n + 1 from r) "
    "select max(n) from r",
    "its own limit": "select set_config('statement_timeout', '0', false), pg_sleep(600)",
    "its own limit, row by row": "select set_config('statement_timeout', '0', false), "
    "pg_sleep(0.4) from generate_series(1, 5000)",
}


@pytest.mark.parametrize("question", ENDLESS.values(), ids=ENDLESS)
def test_what_would_not_end_is_ended(put, store, question):
    """After its time the question is over, here and on the server."""
    began = time.monotonic()
    with pytest.raises(WarehouseError, match="took longer than 1 s"):
        put(question, max_seconds=1)
    assert time.monotonic() - began < 5
    for _ in range(80):
        left = (
            store[0]
            .query("select count(*) as n from pg_stat_activity where usename = 'tremor_reader'")[
                "n"
            ]
            .iloc[0]
        )
        if not left:
            break
        time.sleep(0.1)
    assert left == 0


def test_no_more_rows_come_than_are_wanted(put):
    """Of billions, the first are there at once, and it is said that there are more."""
    began = time.monotonic()
    answer = put("select n from generate_series(1, 1000000) as n", max_rows=2500)
    assert (len(answer.rows), answer.is_cut) == (2500, True)
    assert answer.rows["n"].tolist() == list(range(1, 2501))
    assert time.monotonic() - began < 5
    whole = put("select n from generate_series(1, 2500) as n", max_rows=2500)
    assert (len(whole.rows), whole.is_cut) == (2500, False)


@pytest.mark.parametrize(
    "question",
    [
        "select repeat('x', 60000000)",
        "select repeat('x', 1000000) from generate_series(1, 10000)",
    ],
)
def test_an_answer_of_great_size_is_refused(put, question):
    """One row of 60 MB, or many that come to it: neither is sent."""
    with pytest.raises(WarehouseError, match="larger than 50 MB"):
        put(question)


def test_a_time_that_no_calendar_here_has_ends_in_words(put):
    """It is no traceback, and other strange values are shown."""
    with pytest.raises(WarehouseError, match="date too far away"):
        put("select '4000-01-01 BC'::date as v")
    strange = "'NaN'::float as v, '{1,2}'::int[] as a, '\\x00'::bytea as b, 'infinity'::timestamptz"
    assert len(put(f"select {strange} as t, '1 day'::interval as i").rows) == 1


def test_a_session_leaves_nothing_to_the_next(put):
    """Each question has a connection of its own."""
    put("select set_config('search_path', 'pg_catalog', false)")
    assert put("select current_setting('search_path') as s").rows["s"].iloc[0] == "tremor"
    assert put("select current_setting('transaction_read_only') as s").rows["s"].iloc[0] == "on"


def test_too_many_at_once_are_told_to_come_again(put):
    """The role has few connections; the rest of the warehouse keeps its own."""
    said = []

    def one():
        try:
            put("select pg_sleep(1.5)")
        except WarehouseError as error:
            said.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(reader_role.CONNECTIONS + 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 3 <= len(said) <= len(threads)
    assert all("ask again" in each for each in said)


def test_a_role_that_may_do_more_is_not_used(store):
    """Even when an operator named it: it is said, and nothing is asked."""
    with pytest.raises(WarehouseError, match="may do more than read"):
        ask(store[1], "select 1")


def test_a_new_table_can_be_read_and_the_keys_still_not(store, put):
    """After an upgrade the role is given what came."""
    store[0].execute("create table tremor.fresh (a int)")
    with pytest.raises(WarehouseError, match="denied"):
        put("select * from fresh")
    reader_role.make(store[0])
    assert len(put("select * from fresh").rows) == 0
    with pytest.raises(WarehouseError, match="denied"):
        put("select * from api_keys")
    store[0].execute("drop table tremor.fresh")
