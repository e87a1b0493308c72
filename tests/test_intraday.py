"""Bars shorter than a day: partitions by month, read like all candles, summed by hour and day."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.rows import prepared
from components.tables import CANDLES, DAILY, HOURLY, INTRADAY, known
from components.warehouse import loading
from components.warehouse.copying import CopySource
from tests.minutes_made import HOUR, LATER, MINUTE, T0, frame, minute, minutes, same, summed
from tests.terminal import hurry
from tests.test_warehouse import candle, naive_upsert
from tests.test_warehouse import frame as daily_frame

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def leaves(warehouse):
    """The partitions that there are."""
    found = warehouse.query(
        "select relname from pg_inherits join pg_class c on c.oid = inhrelid "
        "where inhparent = 'candles_intraday'::regclass order by 1"
    )
    return found["relname"].tolist()


def check_aggregates(warehouse, rows):
    """Hours and days are those of the latest versions of all rows."""
    for table, unit in ((HOURLY, "h"), (DAILY, "D")):
        same(warehouse.read(table), summed(rows, unit))


def test_bars_go_where_their_length_says_and_come_back_under_one_name(warehouse):
    """Callers name CANDLES and an interval; without one they get both, in the key's order."""
    days, shorter = daily_frame(candle(), candle(symbol="B")), minutes(2, 300)
    assert warehouse.upsert(CANDLES, pd.concat([shorter, days])) == 602
    assert warehouse.query("select count(*) as n from candles")["n"][0] == 2
    same(warehouse.read(CANDLES, interval="1m"), shorter)
    same(warehouse.read(CANDLES, interval="1d"), known(days, LATER))
    same(warehouse.read(CANDLES), known(pd.concat([shorter, days]), LATER))
    assert warehouse.read(CANDLES, columns=["close"]).columns.tolist() == ["close"]
    assert warehouse.symbols("1m") == ["S000", "S001"]
    assert warehouse.symbols("1d") == ["A", "B"]
    assert warehouse.last_ts(["S001", "A"], "1m", LATER) == {"S001": T0 + 299 * MINUTE}
    assert warehouse.first_ts(["S001"], "1m") == {"S001": T0}
    bars = pd.Series(T0, index=["S000", "S001"])
    assert warehouse.changed_up_to(bars, "1m", T0, LATER) == ["S000", "S001"]
    assert warehouse.changed_up_to(bars, "1m", LATER, LATER + DAY) == []
    counted = warehouse.bars(["S000"], "1m", LATER).iloc[0].to_dict()
    assert (counted["n_bars"], counted["first_ts"]) == (300, T0)
    assert warehouse.query("select count(*) as n from all_candles")["n"][0] == 602
    assert warehouse.query("select count(*) as n from candles_latest")["n"][0] == 602


def test_a_month_is_a_partition_made_when_its_first_bar_comes(warehouse):
    """A load over a turn of the month fills both; it says of itself what it is."""
    assert leaves(warehouse) == []
    warehouse.upsert(CANDLES, minutes(1, 4000))
    assert leaves(warehouse) == ["candles_intraday_2024_03", "candles_intraday_2024_04"]
    assert warehouse.engine.startswith("PostgreSQL ")
    assert warehouse.engine.endswith(", partitions by month")


def test_absurd_dates_share_two_partitions(warehouse):
    """Bars of 1801 and 2199 are stored and read, and make no partition of their own month."""
    odd = [pd.Timestamp(at, tz="UTC") for at in ("1801-05-05", "1989-12-31T23:59", "2100", "2199")]
    rows = frame(*(minute(ts=ts, known_at=LATER) for ts in odd))
    assert warehouse.upsert(CANDLES, rows) == 4
    assert leaves(warehouse) == ["candles_intraday_before_1990", "candles_intraday_from_2100"]
    same(warehouse.read(CANDLES), rows)
    check_aggregates(warehouse, rows)


BARS = st.lists(
    st.builds(
        minute,
        symbol=st.sampled_from(["A", "B"]),
        at=st.sampled_from([0, 1, 59, 60, 119, 120, 24 * 60, 27 * 60, 50 * 60]),
        close=st.sampled_from([1.25, 1.75, 40.0]),
        volume=st.sampled_from([1.0, 0.1, float("nan")]),
        known_hours=st.integers(100, 103),
        interval=st.sampled_from(["1m", "1m", "1m", "1h"]),
    ),
    max_size=10,
)


def stored_naively(stored, rows):
    """Row by row into a dict; the slow twin of the statement."""
    count = 0
    last = {(r["symbol"], r["interval"], r["ts"], r["known_at"]): r for r in rows}
    for key in sorted(last):
        earlier = [k for k in stored if k[:3] == key[:3] and k[3] <= key[3]]
        if earlier and repr(stored[max(earlier)]) == repr(
            {**last[key], "known_at": max(earlier)[3]}
        ):
            continue
        stored[key] = last[key]
        count += 1
    return count


@pytest.mark.parametrize(
    ("many", "rows_a_span"),
    [(loading.MANY, loading.ROWS_A_SPAN), (0, 0), (0, 10**9)],
    ids=["as usual", "spans joined", "looked up"],
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(BARS, max_size=4), as_of=st.integers(99, 104))
def test_every_way_of_storing_agrees_with_the_naive_one(warehouse, many, rows_a_span, calls, as_of):
    """Counts, reads, hours and days are those of a dict filled row by row; twice is once."""
    usual = (loading.MANY, loading.ROWS_A_SPAN)
    loading.MANY, loading.ROWS_A_SPAN = many, rows_a_span
    try:
        warehouse.execute("truncate candles_intraday, candles_hourly, candles_daily")
        stored = {}
        for rows in calls:
            assert warehouse.upsert(CANDLES, frame(*rows)) == stored_naively(stored, rows)
            assert warehouse.upsert(CANDLES, frame(*rows)) == 0
    finally:
        loading.MANY, loading.ROWS_A_SPAN = usual
    at, everything = T0 + as_of * HOUR, frame(*stored.values())
    if stored:
        same(warehouse.read(CANDLES, as_of=at), known(everything, at))
        fresh = everything[everything["known_at"] > T0 + 101 * HOUR]
        same(warehouse.changed_since(T0 + 101 * HOUR, at), known(fresh, at))
        check_aggregates(warehouse, everything)
    else:
        assert warehouse.read(HOURLY).empty


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_hours_and_days_follow_large_loads_and_corrections(warehouse, seed):
    """Loads that overlap, leave holes and correct old bars, over a turn of the month."""
    warehouse.execute("truncate candles_intraday, candles_hourly, candles_daily")
    random, kept = np.random.default_rng(seed), []
    for turn in range(4):
        at = T0 + int(random.integers(-2000, 3000)) * MINUTE
        known_at = LATER - (10 - turn) * DAY
        rows = minutes(2, int(random.integers(30, 3000)), at, known_at, seed=turn)
        rows = rows[random.random(len(rows)) < 0.9]
        kept.append(rows)
        warehouse.upsert(CANDLES, rows)
    check_aggregates(warehouse, pd.concat(kept))


def test_a_correction_is_counted_once_in_every_month(warehouse):
    """The corrected close is the hour's and the day's; volumes and counts do not double."""
    rows = minutes(1, 4000)
    warehouse.upsert(CANDLES, rows)
    again = rows.assign(known_at=LATER + DAY)
    picked = again.index % 997 == 0
    again.loc[picked, ["close", "volume"]] = [99.0, 5.0]
    assert warehouse.upsert(CANDLES, again) == picked.sum()
    latest = rows.copy()
    latest.loc[picked, ["close", "volume"]] = [99.0, 5.0]
    latest.loc[picked, "known_at"] = LATER + DAY
    for table, unit in ((HOURLY, "h"), (DAILY, "D")):
        made = summed(latest.assign(known_at=LATER), unit)
        same(warehouse.read(table).drop(columns="known_at"), made.drop(columns="known_at"))
    same(warehouse.read(CANDLES, as_of=LATER), rows)
    same(warehouse.read(CANDLES), latest)


def test_freshness_counts_minutes_without_reading_them(warehouse):
    """First, last, count and newest version come from the days."""
    warehouse.upsert(CANDLES, pd.concat([minutes(2, 1500), daily_frame(candle())]))
    warehouse.execute("truncate candles_intraday")
    rows = warehouse.query("select * from freshness order by symbol").to_dict("records")
    assert [(row["symbol"], row["interval"], row["n_bars"]) for row in rows] == [
        ("A", "1d", 1),
        ("S000", "1m", 1500),
        ("S001", "1m", 1500),
    ]
    assert (rows[1]["first_ts"], rows[1]["last_ts"]) == (T0, T0 + 1499 * MINUTE)
    assert rows[1]["known_at"] == LATER


def test_months_are_retired_whole_and_their_days_stay(warehouse):
    """Old minutes go by the month; a bar of that time that comes again is not counted twice."""
    rows = minutes(2, 4000)
    warehouse.upsert(CANDLES, rows)
    assert warehouse.keep_minutes(0, LATER) == 0
    assert warehouse.retire(pd.Timestamp("2024-03-31T23:59", tz="UTC")) == 0
    assert warehouse.minutes_since == pd.Timestamp("2024-03-01", tz="UTC")
    assert warehouse.keep_minutes(3, pd.Timestamp("2024-04-12", tz="UTC")) == 1
    april = pd.Timestamp("2024-04-01", tz="UTC")
    assert warehouse.minutes_since == april
    same(warehouse.read(CANDLES), rows[rows["ts"] >= april])
    check_aggregates(warehouse, rows)
    assert warehouse.upsert(CANDLES, rows.assign(close=1.0, known_at=LATER + DAY)) == len(
        rows[rows["ts"] >= april]
    )
    assert warehouse.query("select sum(n_bars)::int as n from candles_daily")["n"][0] == 8000
    assert warehouse.retire(april) == 0


def test_what_was_taken_back_leaves_neither_partition_nor_hours(warehouse):
    """A dry run changes nothing, and the next load is none the worse."""
    with warehouse.undone():
        warehouse.upsert(CANDLES, minutes())
        assert len(warehouse.read(HOURLY)) > 0
    assert (leaves(warehouse), len(warehouse.read(HOURLY))) == ([], 0)
    assert warehouse.upsert(CANDLES, minutes()) == 8000


KILLED = """
import os, signal, sys
from components.warehouse import Warehouse
from components.tables import CANDLES
from tests.minutes_made import minutes
warehouse = Warehouse(sys.argv[1])
with warehouse.transaction():
    warehouse.upsert(CANDLES, minutes())
    os.kill(os.getpid(), signal.SIGKILL)
"""


def python(code, *args, **options):
    """Start another process that uses the warehouse."""
    return subprocess.Popen([sys.executable, "-c", code, *args], **options)


def test_a_load_killed_in_the_middle_leaves_nothing_and_can_be_repeated(warehouse, postgres_url):
    """Bars, partitions, hours and days come together or not at all."""
    assert python(KILLED, postgres_url).wait() == -signal.SIGKILL
    assert warehouse.read(CANDLES).empty
    assert warehouse.read(HOURLY).empty
    assert warehouse.upsert(CANDLES, minutes()) == 8000
    check_aggregates(warehouse, minutes())


LOADING = """
import sys
from components.warehouse import Warehouse
from components.tables import CANDLES
from tests.minutes_made import LATER, MINUTE, T0, minutes
own = int(sys.argv[2])
sys.stdin.read()
warehouse = Warehouse(sys.argv[1])
for turn in range(5):
    first = T0 + (4 * turn + own) * 200 * MINUTE
    for rows in (minutes(2, 300, first), minutes(3, 30, first)):
        warehouse.upsert(CANDLES, rows.assign(close=1.0, open=1.0, high=1.0, low=1.0, volume=1.0))
"""


def test_processes_that_load_the_same_months_at_once_lose_nothing(warehouse, postgres_url):
    """They make the partitions once, and every hour has every bar that either brought."""
    started = [
        python(LOADING, postgres_url, str(own), stdin=subprocess.PIPE) for own in (0, 1, 2, 3)
    ]
    for process in started:
        process.stdin.close()
    assert [process.wait() for process in started] == [0] * 4
    assert leaves(warehouse) == ["candles_intraday_2024_03", "candles_intraday_2024_04"]
    bars = warehouse.read(CANDLES)
    assert len(bars[bars["symbol"] == "S000"]) == 4100
    check_aggregates(warehouse, bars)


def test_new_minutes_are_found_without_reading_history(warehouse):
    """The cost of a minute's run does not grow with the months behind it."""
    warehouse.upsert(CANDLES, minutes(20, 12_000, known_at=LATER))
    newest = T0 + 12_000 * MINUTE
    new = minutes(20, 1, newest, LATER + DAY)
    assert warehouse.upsert(CANDLES, new) == 20

    def pages():
        warehouse.query("select 1 as one from pg_stat_force_next_flush()")
        counted = "sum(heap_blks_read + heap_blks_hit)::bigint as n from pg_statio_user_tables"
        found = warehouse.query(f"select {counted} where relname like 'candles_intraday_%%'", {})
        return int(found["n"][0])

    before = pages()
    same(warehouse.changed_since(LATER, LATER + DAY, interval="1m"), new)
    assert warehouse.last_ts(["S007"], "1m", LATER + DAY) == {"S007": newest}
    size = "sum(pg_relation_size(c.oid))::bigint / 8192 as n from pg_class c"
    n_pages = warehouse.query(f"select {size} where relname like 'candles_intraday_%%'", {})["n"][0]
    assert (pages() - before) * 10 < n_pages


@pytest.mark.parametrize("text", ["", "x", "é\n,\t\"'", "\\N", "a" * 300])
def test_rows_in_binary_form_come_back_exactly(warehouse, text):
    """Long runs of one instrument go as PostgreSQL's own bytes, every value bit for bit."""
    rows = minutes(2, 5000).assign(source=text, hours=None)
    rows.loc[rows.index[:3000], "vwap"] = 5e-324
    rows.loc[rows.index[7000:], ["volume", "trades"]] = np.nan
    rows.loc[rows.index[40], ["open", "high"]] = [-0.0, 1.7976931348623157e308]
    assert CopySource(prepared(rows, INTRADAY)).form == "binary"
    assert warehouse.upsert(CANDLES, rows) == len(rows)
    back = warehouse.read(CANDLES)
    for name in ("open", "high", "volume", "trades", "vwap"):
        assert back[name].to_numpy().tobytes() == rows[name].to_numpy().tobytes()
    assert back["source"].tolist() == rows["source"].tolist()
    assert back["hours"].isna().all()
    assert back["ts"].tolist() == rows["ts"].tolist()


def test_rows_of_many_layouts_go_as_text():
    """A row each of many instruments would be slower in binary form; both forms end."""
    rows = prepared(minutes(500, 1), INTRADAY)
    source = CopySource(rows)
    body = io.BytesIO()
    while piece := source.read(1000):
        assert len(piece) <= 1000
        body.write(piece)
    assert source.form == "csv"
    assert body.getvalue().count(b"\n") == 500
    assert CopySource(rows.slice(0, 0)).read(10) in (b"", b"PGCOPY\n\xff\r\n")
    assert isinstance(rows, pa.Table)
    assert os.linesep == "\n"


def test_daily_bars_are_stored_as_before(warehouse):
    """The routing leaves days alone: the same counts as the naive twin's."""
    rows = [candle(day=day, close=close) for day in range(3) for close in (1.5,)]
    assert warehouse.upsert(CANDLES, daily_frame(*rows)) == naive_upsert({}, rows)
    assert leaves(warehouse) == []
