"""Minutes on a real TimescaleDB: the promises of plain PostgreSQL, kept by its own means."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.tables import CANDLES, DAILY, HOURLY, known
from components.warehouse import Warehouse, aggregates, loading
from tests.minutes_made import HOUR, LATER, MINUTE, T0, frame, minute, minutes, same, summed
from tests.terminal import run_sql
from tests.test_intraday import stored_naively
from tests.test_warehouse import candle
from tests.test_warehouse import frame as daily_frame
from tests.timescale_server import insert, timescale_server

DAY = pd.Timedelta(days=1)

JOBS = """
select proc_name, hypertable_name, config::text as config, job_id
from timescaledb_information.jobs where hypertable_name is not null order by proc_name, job_id
"""


@pytest.fixture(autouse=True)
def inserted(monkeypatch):
    """COPY ends this server; rows go in by INSERT."""
    for module in (aggregates, loading):
        monkeypatch.setattr(module, "copy_in", insert)


@pytest.fixture(scope="module")
def opened():
    """A warehouse on TimescaleDB, the extension installed as an operator does it."""
    with timescale_server() as url:
        run_sql(url, "create extension timescaledb")
        with Warehouse(url) as warehouse:
            warehouse.migrate()
            warehouse.migrate()
            yield warehouse


@pytest.fixture
def warehouse(opened):
    """The same, without rows."""
    opened.execute("truncate candles_intraday, candles, retired")
    opened.execute("truncate candles_by_bar")
    opened.execute("truncate candles_hourly")
    opened.execute("truncate candles_daily")
    return opened


def check_aggregates(warehouse, rows):
    """Hours and days are those of the latest versions of all rows."""
    for table, unit in ((HOURLY, "h"), (DAILY, "D")):
        same(warehouse.read(table), summed(rows, unit))


def outside(warehouse, statement):
    """Run a statement that no transaction may hold."""
    with warehouse._connection.transaction() as cursor:
        connection = cursor.connection
        connection.commit()
        connection.autocommit = True
        cursor.execute(statement)
        connection.autocommit = False


def test_it_is_found_and_named(warehouse):
    """The table is a hypertable, compressed by policy; the status can say so."""
    assert warehouse.engine.startswith("TimescaleDB 2.")
    assert " on PostgreSQL 17" in warehouse.engine
    jobs = warehouse.query(JOBS, {})
    assert jobs["proc_name"].tolist() == [
        "policy_compression",
        *["policy_refresh_continuous_aggregate"] * 3,
    ]


def test_bars_are_stored_read_and_counted_as_elsewhere(warehouse):
    """Callers see no difference between a hypertable and partitions."""
    rows, days = minutes(2, 1500), daily_frame(candle())
    assert warehouse.upsert(CANDLES, pd.concat([rows, days])) == 3001
    assert warehouse.upsert(CANDLES, rows) == 0
    same(warehouse.read(CANDLES, interval="1m"), rows)
    same(warehouse.read(CANDLES), known(pd.concat([rows, days]), LATER))
    assert warehouse.last_ts(["S001"], "1m", LATER) == {"S001": T0 + 1499 * MINUTE}
    assert warehouse.first_ts(["S001"], "1m") == {"S001": T0}
    bars = pd.Series(T0, index=["S000", "S001"])
    assert warehouse.changed_up_to(bars, "1m", T0, LATER) == ["S000", "S001"]
    assert warehouse.changed_up_to(bars, "1m", LATER, LATER + DAY) == []
    assert warehouse.symbols("1m") == ["S000", "S001"]
    check_aggregates(warehouse, rows)
    fresh = warehouse.query("select * from freshness order by symbol", {})
    assert fresh["n_bars"].tolist() == [1, 1500, 1500]


BARS = st.lists(
    st.builds(
        minute,
        symbol=st.sampled_from(["A", "B"]),
        at=st.sampled_from([0, 1, 59, 60, 24 * 60, 27 * 60]),
        close=st.sampled_from([1.25, 1.75, 40.0]),
        volume=st.sampled_from([1.0, 0.1, float("nan")]),
        known_hours=st.integers(100, 103),
        interval=st.sampled_from(["1m", "1m", "1h"]),
    ),
    max_size=8,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(BARS, min_size=1, max_size=3), as_of=st.integers(99, 104), n=st.integers(0))
def test_versions_are_those_of_the_naive_twin(warehouse, calls, as_of, n):
    """Counts, reads, hours and days are those of a dict filled row by row."""
    warehouse.execute("delete from candles_intraday")
    stored = {}
    for rows in calls:
        assert warehouse.upsert(CANDLES, frame(*rows)) == stored_naively(stored, rows)
        assert warehouse.upsert(CANDLES, frame(*rows)) == 0
    at, everything = T0 + as_of * HOUR, frame(*stored.values())
    for view in ("candles_by_bar", "candles_hourly", "candles_daily"):
        outside(warehouse, f"call public.refresh_continuous_aggregate('{view}', null, null)")
    if stored:
        same(warehouse.read(CANDLES, as_of=at), known(everything, at))
        fresh = everything[everything["known_at"] > T0 + 101 * HOUR]
        same(warehouse.changed_since(T0 + 101 * HOUR, at), known(fresh, at))
        check_aggregates(warehouse, everything)


def test_a_correction_is_counted_once_though_its_hour_was_made_before(warehouse):
    """An hour behind what is materialised is computed again after the load."""
    rows = minutes(1, 3000)
    warehouse.upsert(CANDLES, rows)
    again = rows.assign(known_at=LATER + DAY)
    again.loc[again.index % 500 == 0, "close"] = 99.0
    assert warehouse.upsert(CANDLES, again) == 6
    for table, unit in ((HOURLY, "h"), (DAILY, "D")):
        made = summed(again.assign(known_at=LATER), unit)
        same(warehouse.read(table).drop(columns="known_at"), made.drop(columns="known_at"))


def test_what_a_crash_left_behind_is_made_good_by_the_servers_own_policy(warehouse):
    """A process that ended between its load and the refresh leaves nothing stale for ever."""
    rows = minutes(1, 1500)
    warehouse.upsert(CANDLES, rows)
    early = rows.head(90).assign(symbol="EARLY")
    with warehouse.transaction():
        warehouse.upsert(CANDLES, early)
        warehouse._unsettled.clear()
    assert "EARLY" not in set(warehouse.read(HOURLY)["symbol"])
    jobs = warehouse.query(JOBS, {})
    for job in jobs["job_id"][jobs["proc_name"] == "policy_refresh_continuous_aggregate"]:
        outside(warehouse, f"call public.run_job({job})")
    check_aggregates(warehouse, pd.concat([rows, early]))


def test_compressed_bars_can_be_read_corrected_and_added_to(warehouse):
    """A backfill into old, compressed chunks stores what is new or changed, and only that."""
    rows = minutes(1, 1500)
    rows = rows[np.arange(len(rows)) != 700]
    warehouse.upsert(CANDLES, rows)
    packed = "select count(public.compress_chunk(c)) as n from public.show_chunks(%(table)s) c"
    assert warehouse.query(packed, {"table": "candles_intraday"})["n"][0] > 0
    same(warehouse.read(CANDLES), rows)
    whole = minutes(1, 1500)
    assert warehouse.upsert(CANDLES, whole) == 1
    whole = whole.assign(known_at=LATER + DAY)
    whole.loc[3, "close"] = 99.0
    assert warehouse.upsert(CANDLES, whole) == 1
    assert warehouse.upsert(CANDLES, whole) == 0
    back = warehouse.read(CANDLES, as_of=LATER)
    same(back, minutes(1, 1500))
    assert warehouse.read(CANDLES)["close"][3] == 99.0
    new = warehouse.changed_since(LATER, LATER + DAY, interval="1m")
    assert new["ts"].tolist() == [T0 + 3 * MINUTE]


def retention(warehouse):
    """How long minutes are kept, as the server has it."""
    jobs = warehouse.query(JOBS, {})
    return jobs["config"][jobs["proc_name"] == "policy_retention"].tolist()


def test_minutes_are_kept_as_long_as_asked_and_hours_stay(warehouse):
    """A retention policy only when asked for; refreshing does not take the old hours away."""
    rows = minutes(1, 3000, pd.Timestamp("2024-03-10", tz="UTC"))
    newer = minutes(1, 300, pd.Timestamp("2024-04-10", tz="UTC"))
    warehouse.upsert(CANDLES, pd.concat([rows, newer]))
    now = pd.Timestamp("2024-04-11", tz="UTC")
    assert warehouse.keep_minutes(0, now) == 0
    assert retention(warehouse) == []
    assert warehouse.keep_minutes(20, now) == 1
    assert warehouse.keep_minutes(20, now) == 0
    assert len(retention(warehouse)) == 1
    assert '"20 days"' in retention(warehouse)[0]
    same(warehouse.read(CANDLES), newer)
    assert warehouse.upsert(CANDLES, rows.assign(close=1.0, known_at=LATER + DAY)) == 0
    jobs = warehouse.query(JOBS, {})
    for job in jobs["job_id"][jobs["proc_name"] == "policy_refresh_continuous_aggregate"]:
        outside(warehouse, f"call public.run_job({job})")
    check_aggregates(warehouse, pd.concat([rows, newer]))
    assert warehouse.keep_minutes(0, now) == 0
    assert retention(warehouse) == []


def test_a_server_that_has_the_extension_but_did_not_load_it_gets_partitions():
    """Nothing fails and nobody is asked; the engine says which it is."""
    with timescale_server() as url, Warehouse(url) as warehouse:
        warehouse.migrate()
        assert warehouse.engine.startswith("PostgreSQL 17")
        assert warehouse.engine.endswith("partitions by month")
        few = frame(minute(), minute(at=60), minute(at=3000))
        assert warehouse.upsert(CANDLES, few) == 3
        same(warehouse.read(CANDLES), few)
        check_aggregates(warehouse, few)
