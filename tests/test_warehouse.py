"""The warehouse, on a real PostgreSQL server: keyed, versioned, read as of an instant."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import WarehouseError
from components.tables import ALERTS, CANDLES, LABELS, MARKET, TABLES, VERDICTS, known
from components.warehouse import loading

T0 = pd.Timestamp("2024-03-01", tz="UTC")
DAY = pd.Timedelta(days=1)
NUMBERS = ["open", "high", "low", "close", "volume", "vwap", "trades"]
HOSTILE = ["a'; drop table candles; --", '"', "\\", "%s", "é\n,\t", "NULL", "\\N", " ", "{x}"]


def candle(symbol="A", day=0, close=1.5, known=10, **other):
    """One row of candles, in days after T0."""
    numbers = {"open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 3.0}
    row = {"symbol": symbol, "interval": "1d", "ts": T0 + day * DAY, **numbers, "source": "s"}
    row["hours"] = "regular"
    return {**row, "vwap": np.nan, "trades": np.nan, "known_at": T0 + known * DAY, **other}


def frame(*rows):
    """Rows with the table's columns."""
    return pd.DataFrame(list(rows), columns=list(CANDLES.columns))


def history(n_symbols=20, n_days=500, known=600):
    """Many candles in the order of their key."""
    size = n_symbols * n_days
    random = np.random.default_rng(3)
    rows = {
        "symbol": np.repeat([f"S{k:03d}" for k in range(n_symbols)], n_days),
        "interval": "1d",
        "ts": np.tile(pd.date_range(T0, periods=n_days, freq="D", unit="us"), n_symbols),
        **{name: random.lognormal(size=size) for name in NUMBERS},
        "hours": "regular",
        "source": "s",
        "known_at": (T0 + known * DAY).as_unit("us"),
    }
    return pd.DataFrame(rows)


def same(left, right):
    """Check that two frames hold the same, up to how exactly pandas types them."""
    pd.testing.assert_frame_equal(
        left.reset_index(drop=True), right.reset_index(drop=True), check_dtype=False
    )


def test_what_is_stored_is_read_back_exactly(warehouse):
    """Every float comes back bit for bit, every type as the tables say."""
    rows = history(3, 50)
    rows.loc[::3, ["vwap", "trades"]] = np.nan
    assert warehouse.upsert(CANDLES, rows) == len(rows)
    back = warehouse.read(CANDLES)
    same(back, rows)
    assert str(back["ts"].dtype) == str(back["known_at"].dtype) == "datetime64[us, UTC]"
    assert str(back["symbol"].dtype) == "str"
    assert {str(back[name].dtype) for name in NUMBERS} == {"float64"}


@pytest.mark.parametrize("n_days", [1, 40])
def test_the_same_rows_again_are_not_new(warehouse, n_days):
    """A repeated run stores nothing, and NaN equals NaN."""
    rows = history(30, n_days)
    rows.loc[::2, "vwap"] = np.nan
    assert warehouse.upsert(CANDLES, rows) == len(rows)
    assert warehouse.upsert(CANDLES, rows) == 0
    later = rows.assign(known_at=T0 + 700 * DAY)
    assert warehouse.upsert(CANDLES, later) == 0
    later.loc[[0, 7], "close"] += 1
    assert warehouse.upsert(CANDLES, later) == 2
    assert len(warehouse.read(CANDLES)) == len(rows)


def test_a_correction_is_a_new_row_and_the_old_one_stays(warehouse):
    """A run for an instant before the correction sees what was known then."""
    warehouse.upsert(CANDLES, frame(candle(close=1.5, known=10)))
    assert warehouse.upsert(CANDLES, frame(candle(close=1.6, known=20))) == 1
    assert warehouse.read(CANDLES, as_of=T0 + 19 * DAY)["close"].tolist() == [1.5]
    assert warehouse.read(CANDLES, as_of=T0 + 20 * DAY)["close"].tolist() == [1.6]
    assert warehouse.read(CANDLES, as_of=T0 + 9 * DAY).empty


def test_a_value_that_returns_is_a_version_of_its_own(warehouse):
    """1.5, 1.6, 1.5 are three versions, in one call as in three."""
    rows = frame(*(candle(close=c, known=k) for k, c in ((1, 1.5), (2, 1.6), (3, 1.5), (4, 1.5))))
    assert warehouse.upsert(CANDLES, rows) == 3
    assert warehouse.query("select count(*) as n from candles")["n"][0] == 3


ROWS = st.lists(
    st.builds(
        candle,
        symbol=st.sampled_from(["A", "B"]),
        day=st.integers(0, 2),
        close=st.sampled_from([1.25, 1.75, float("nan")]),
        known=st.integers(10, 13),
    ),
    max_size=8,
)


def naive_upsert(stored, rows):
    """Store row by row in a dict; the slow twin of the statement."""
    count = 0
    last = {(row["symbol"], row["ts"], row["known_at"]): row for row in rows}
    for key in sorted(last):
        row, text = last[key], repr(last[key]["close"])
        earlier = [k for k in stored if k[:2] == key[:2] and k[2] <= key[2]]
        if earlier and repr(stored[max(earlier)]["close"]) == text:
            continue
        stored[key] = row
        count += 1
    return count


@pytest.mark.parametrize(
    ("many", "rows_a_span"),
    [(loading.MANY, loading.ROWS_A_SPAN), (0, 0), (0, 10**9)],
    ids=["as usual", "spans joined", "looked up"],
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.lists(ROWS, max_size=4), as_of=st.integers(9, 14))
def test_every_way_of_storing_agrees_with_the_naive_one(warehouse, many, rows_a_span, calls, as_of):
    """Counts, versions and reads are those of a dict filled row by row; twice changes nothing."""
    usual, loading.MANY, loading.ROWS_A_SPAN = (
        (loading.MANY, loading.ROWS_A_SPAN),
        many,
        rows_a_span,
    )
    try:
        warehouse.execute("delete from candles")
        stored = {}
        for rows in calls:
            assert warehouse.upsert(CANDLES, frame(*rows)) == naive_upsert(stored, rows)
            assert warehouse.upsert(CANDLES, frame(*rows)) == 0
    finally:
        loading.MANY, loading.ROWS_A_SPAN = usual
    at, everything = T0 + as_of * DAY, frame(*stored.values())
    if stored:
        same(warehouse.read(CANDLES, as_of=at), known(everything, at))
        fresh = everything[everything["known_at"] > T0 + 11 * DAY]
        same(warehouse.changed_since(T0 + 11 * DAY, at), known(fresh, at))


def test_an_unversioned_row_is_replaced_when_something_differs(warehouse):
    """The key holds one row; the same row again is not a change; the last of two counts."""
    row = {"watch_list": "w", "interval": "1d", "ts": T0, "return": 0.1, "n_instruments": 3}
    rows = pd.DataFrame([row, {**row, "return": 0.2}]).assign(known_at=T0)
    assert warehouse.upsert(MARKET, rows) == 1
    assert warehouse.upsert(MARKET, rows) == 0
    assert warehouse.upsert(MARKET, rows.assign(n_instruments=[4, np.nan])) == 1
    back = warehouse.read(MARKET)
    assert back["return"].tolist() == [0.2]
    assert back["n_instruments"].isna().tolist() == [True]


@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_hostile_symbol_is_only_a_name(warehouse, symbol):
    """Values are never part of a statement, and come back unchanged."""
    warehouse.upsert(CANDLES, frame(candle(symbol=symbol), candle(symbol="B")))
    assert warehouse.read(CANDLES, symbols=[symbol])["symbol"].tolist() == [symbol]
    assert list(warehouse.last_ts([symbol], "1d", T0 + 99 * DAY)) == [symbol]
    assert len(warehouse.read(CANDLES)) == 2


def test_json_and_empty_text_come_back(warehouse):
    """Lists are lists, an empty text is not NULL, an absent column is NULL."""
    row = {"id": "x", "kind": "", "symbols": ["é'", "B"], "payload": {"a": [1.5, None]}}
    assert warehouse.upsert(ALERTS, pd.DataFrame([row])) == 1
    assert warehouse.upsert(ALERTS, pd.DataFrame([row])) == 0
    back = warehouse.read(ALERTS).iloc[0]
    assert (back["symbols"], back["payload"], back["kind"]) == (row["symbols"], row["payload"], "")
    assert pd.isna(back["headline"])
    assert pd.isna(back["ts"])
    found = warehouse.query("select symbols, known_at from alerts where id = %(id)s", {"id": "x"})
    assert found["symbols"][0] == row["symbols"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_takes_and_gives_rows(warehouse, table):
    """No table has a column that cannot be stored."""
    samples = {"text": "x", "timestamp": T0, "float": 0.5, "int": 7, "json": {"k": 1}}
    row = {name: samples[kind] for name, kind in table.columns.items()}
    assert warehouse.upsert(table, pd.DataFrame([row])) == 1
    assert warehouse.upsert(table, pd.DataFrame([row])) == 0
    assert warehouse.read(table).iloc[0].to_dict() == row
    assert len(warehouse.read(table, columns=[table.key[0]])) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (frame(candle()).assign(colour="red"), "no column 'colour'"),
        (frame(candle(ts=pd.NaT)), "1 of 1 rows have no ts"),
        (frame(candle()).assign(ts=pd.Timestamp("2024-03-01")), "ts"),
        (frame(candle(close="dear")), "close is not all float"),
        (frame(candle(symbol="a\0b")), "warehouse"),
    ],
    ids=["unknown column", "no key", "no zone", "no number", "NUL"],
)
def test_rows_that_do_not_fit_are_refused_in_one_line(warehouse, rows, said):
    """Nothing is stored, and the message says which column."""
    with pytest.raises(WarehouseError, match=said) as caught:
        warehouse.upsert(CANDLES, rows)
    assert "\n" not in str(caught.value)
    assert warehouse.read(CANDLES).empty


def test_reads_are_bounded_and_ordered(warehouse):
    """Symbols, interval, [since, until) and columns are the caller's; the order is the key's."""
    rows = history(4, 10)
    warehouse.upsert(CANDLES, rows.sample(frac=1, random_state=5))
    picked = warehouse.read(
        CANDLES, symbols=["S002", "S000"], interval="1d", since=T0 + 2 * DAY, until=T0 + 4 * DAY
    )
    wanted = rows[rows["symbol"].isin(["S002", "S000"])]
    same(picked, wanted[wanted["ts"].between(T0 + 2 * DAY, T0 + 3 * DAY)])
    assert warehouse.read(CANDLES, columns=["close"]).columns.tolist() == ["close"]
    assert warehouse.read(CANDLES, symbols=[]).empty
    assert warehouse.read(CANDLES, interval="1m").columns.tolist() == list(CANDLES.columns)


def test_bars_and_last_ts_count_what_was_known(warehouse):
    """A later correction is no second bar; a bar not yet known is none."""
    rows = frame(candle(), candle(close=9, known=20), candle(day=1), candle(day=2, known=30))
    warehouse.upsert(CANDLES, rows)
    at = T0 + 20 * DAY
    assert warehouse.last_ts(["A", "B"], "1d", at) == {"A": T0 + DAY}
    assert warehouse.bars(["A", "B"], "1d", at).iloc[0].to_dict() == {
        "symbol": "A",
        "first_ts": T0,
        "last_ts": T0 + DAY,
        "n_bars": 2,
    }


def test_first_bars_and_those_that_changed_up_to_a_bar(warehouse):
    """What began when, and of what something became known that lies no later than a bar."""
    rows = [candle("A", day=n, known=12) for n in range(5)]
    rows += [candle("B", day=n, known=12) for n in range(2, 5)]
    warehouse.upsert(CANDLES, frame(*rows))
    assert warehouse.first_ts(["A", "B", "C"], "1d") == {"A": T0, "B": T0 + 2 * DAY}
    assert warehouse.first_ts(["A"], "1w") == {}
    new = frame(candle("A", day=3, close=9, known=20), candle("B", day=4, close=9, known=21))
    warehouse.upsert(CANDLES, new)
    for day, after, until, expected in (
        (3, 12, 21, ["A"]),
        (4, 12, 21, ["A", "B"]),
        (4, 12, 20, ["A"]),
        (4, 20, 21, ["B"]),
        (2, 12, 21, []),
    ):
        bars = pd.Series(T0 + day * DAY, index=["A", "B"])
        span = (T0 + after * DAY, T0 + until * DAY)
        assert warehouse.changed_up_to(bars, "1d", *span) == expected


def pages_read(warehouse):
    """How many pages of the candles were looked at so far."""
    warehouse.query("select 1 as one from pg_stat_force_next_flush()")
    counted = "heap_blks_read + heap_blks_hit as n from pg_statio_user_tables"
    return int(warehouse.query(f"select {counted} where relname = 'candles'")["n"][0])


def test_new_bars_are_found_without_reading_history(warehouse):
    """The cost of a day's run does not grow with the years behind it."""
    warehouse.upsert(CANDLES, history(300, 1000, known=1000))
    new = history(300, 1, known=1001).assign(ts=T0 + 1000 * DAY)
    assert warehouse.upsert(CANDLES, new) == 300
    before = pages_read(warehouse)
    assert len(warehouse.changed_since(T0 + 1000 * DAY, T0 + 1001 * DAY)) == 300
    bars = pd.Series(T0 + 999 * DAY, index=sorted(set(new["symbol"])))
    assert warehouse.changed_up_to(bars, "1d", T0 + 1000 * DAY, T0 + 1001 * DAY) == []
    n_pages = int(warehouse.query("select pg_relation_size('candles') / 8192 as n")["n"][0])
    assert 0 < (pages_read(warehouse) - before) * 20 < n_pages


def test_views_answer_what_people_ask(warehouse):
    """candles_latest, freshness and open_alerts mean what their names say."""
    warehouse.upsert(CANDLES, frame(candle(), candle(close=9, known=20), candle(day=1)))
    assert warehouse.query("select close from candles_latest order by ts")["close"].tolist() == [
        9,
        1.5,
    ]
    fresh = warehouse.query("select * from freshness").iloc[0]
    assert (fresh["n_bars"], fresh["last_ts"], fresh["known_at"]) == (2, T0 + DAY, T0 + 20 * DAY)
    warehouse.upsert(ALERTS, pd.DataFrame({"id": list("abcde"), "known_at": T0}))
    soon, past = pd.Timestamp.now("UTC") + DAY, pd.Timestamp.now("UTC") - DAY
    actions = [
        ("a", "acknowledge", pd.NaT),
        ("b", "label", pd.NaT),
        ("c", "snooze", soon),
        ("d", "snooze", past),
    ]
    labels = pd.DataFrame(actions, columns=["alert_id", "action", "until"])
    warehouse.upsert(LABELS, labels.assign(symbol="", made_at=T0 + DAY))
    assert warehouse.query("select id from open_alerts order by id")["id"].tolist() == ["d", "e"]


def test_a_verdict_with_whole_numbers_absent_comes_back(warehouse):
    """An absent count is absent, not zero, and the present ones stay whole."""
    row = {"symbol": "A", "interval": "1d", "ts": T0, "judge": "j", "known_at": T0, "votes": 2}
    warehouse.upsert(VERDICTS, pd.DataFrame([row]))
    back = warehouse.read(VERDICTS)
    assert back["votes"].tolist() == [2]
    assert back["votes"].dtype == "int64"
    assert back["voters"].isna().all()
