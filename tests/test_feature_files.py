"""Features in Parquet: the rows that the warehouse has, under names that any reader takes."""

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import feature_files
from components.errors import LakeError
from components.lake import Lake
from components.rows import merged, prepared
from components.tables import CHANNELS, FEATURE_VALUES
from tests.terminal import hurry

T0 = pd.Timestamp("2024-03-30", tz="UTC")
DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
HOSTILE = ["EURUSD=X", "^GSPC", "A", "A.B", "../../x", "BRK&B", "a=b", "600519", ".hidden"]


def row(symbol="A", day=0, known=0, body=0.5, interval="1d", version="1"):
    """One bar's features, of which one is known."""
    ts = T0 + day * DAY
    bar = {"symbol": symbol, "interval": interval, "ts": ts, "version": version}
    return {**bar, "closes_at": ts + DAY, "body": body, "known_at": T0 + (48 + known) * HOUR}


def frame(*rows):
    return pd.DataFrame(list(rows))


def files(lake):
    return lake.objects.list("features/")


batches = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.integers(0, 2),
            st.integers(0, 3),
            st.sampled_from([None, 0.5, 1.5]),
        ),
        min_size=1,
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=batches)
def test_merging_gives_the_rows_that_the_warehouse_keeps(batches, warehouse, postgres_server):
    """The same new rows, the same replaced ones, in whatever order the versions come."""
    hurry(postgres_server)
    warehouse.execute("truncate channels")
    stored = None
    for batch in batches:
        rows = [
            {
                "symbol": symbol,
                "interval": "1d",
                "ts": T0 + day * DAY,
                "return_z": value,
                "known_at": T0 + (48 + known) * HOUR,
            }
            # Of a bar a command makes one version.
            for symbol, day, known, value in {each[:2]: each for each in batch}.values()
        ]
        fresh = prepared(frame(*rows), CHANNELS)
        stored = fresh.slice(0, 0) if stored is None else stored
        stored = merged(stored, fresh, CHANNELS)
        warehouse.upsert(CHANNELS, frame(*rows))
    kept = warehouse.query('select * from channels order by symbol, "interval", ts, known_at')
    assert stored.equals(prepared(kept, CHANNELS))


def test_days_of_all_instruments_share_a_file_a_month_and_minutes_do_not(lake):
    """A month is one read, of all days or of an instrument's minutes."""
    rows = frame(*(row(s, day) for s in ("A", "B") for day in range(4)))
    assert lake.put_features(rows) == 2
    assert lake.put_features(rows.assign(interval="1m")) == 4
    places = [key.rsplit(".", 2)[0] for key in files(lake)]
    days, minutes = ("features/version=1/interval=1d", "features/version=1/interval=1m")
    assert places == [
        f"{days}/month=2024-03/every",
        f"{days}/month=2024-04/every",
        *(f"{minutes}/month=2024-{m}/{s}" for m in ("03", "04") for s in ("A", "B")),
    ]
    assert lake.put_features(rows) + lake.put_features(rows.assign(interval="1m")) == 0


def test_versions_of_the_arithmetic_are_never_mixed(lake):
    """Each has a folder of its own."""
    lake.put_features(frame(row(), row(version="2", body=7.0)))
    assert [key.split("/")[1] for key in files(lake)] == ["version=1", "version=2"]


@pytest.mark.parametrize("interval", ["1d", "1m"])
def test_readers_get_hostile_names_back(tmp_path, interval):
    """Whatever an instrument is called, it is a value of its column and no folder."""
    lake = Lake(str(tmp_path))
    lake.put_features(frame(*(row(symbol, interval=interval) for symbol in HOSTILE)))
    assert len(files(lake)) == (1 if interval == "1d" else len(HOSTILE))
    found = pyarrow.dataset.dataset(tmp_path / "features", partitioning="hive").to_table()
    assert sorted(found["symbol"].to_pylist()) == sorted(HOSTILE)
    assert set(found["interval"].to_pylist()) == {interval}
    assert len(pd.read_parquet(tmp_path / "features")) == len(HOSTILE)
    names = duckdb.sql(
        f"select symbol, month from read_parquet('{tmp_path}/features/**/*.parquet', "
        "hive_partitioning = true)"
    ).fetchall()
    assert sorted(names) == sorted((symbol, "2024-03") for symbol in HOSTILE)
    lake.put_features(frame(row("A", body=9.0, known=1, interval=interval)))
    again = pyarrow.dataset.dataset(tmp_path / "features", partitioning="hive").to_table()
    assert len(again) == len(HOSTILE) + 1


def test_what_a_killed_merge_left_is_merged_by_the_next(lake):
    """The new file is there and the old one too: no row comes twice."""
    first, second = frame(row(), row(day=1)), frame(row(body=0.7, known=1), row("B"))
    lake.put_features(first)
    (old,) = files(lake)
    body = lake.objects.get(old)
    lake.put_features(second)
    (new,) = files(lake)
    lake.objects.put(old, body)
    assert lake.put_features(second) == 1
    assert files(lake) == [new]


def test_a_new_feature_is_unknown_in_older_rows(lake):
    """As in the warehouse; and files of an older release are read."""
    place = "features/version=1/interval=1d/month=2024-03/every.0123456789abcdef.parquet"
    old = pa.table(prepared(frame(row()), FEATURE_VALUES).drop_columns(["version", "interval"]))
    sink = pa.BufferOutputStream()
    pq.write_table(old.drop_columns(["low_range"]), sink)
    lake.objects.put(place, sink.getvalue().to_pybytes())
    assert lake.put_features(frame(row("B").copy() | {"low_range": 0.1})) == 1
    (key,) = files(lake)
    table = pq.read_table(pa.BufferReader(lake.objects.get(key)))
    assert table.column_names == list(feature_files.IN_FILES.columns)
    assert table["low_range"].to_pylist() == [None, 0.1]


def test_a_damaged_file_is_one_line_with_the_remedy(lake):
    """Its name is told, and what to do."""
    lake.put_features(frame(row()))
    (key,) = files(lake)
    lake.objects.put(key, b"PAR1 and no more")
    with pytest.raises(LakeError, match="is no readable Parquet") as caught:
        lake.put_features(frame(row(body=0.6)))
    assert key in str(caught.value)
    assert "Delete it and run `features`" in str(caught.value)
