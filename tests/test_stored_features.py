"""Stored features: those that the judge sees, from the first bar, known when they were known."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest

from components import steps
from components.features import FEATURES, VERSION
from components.features.all_features import AllFeatures
from components.lake import Lake
from components.panels import pack
from components.steps import judging
from components.tables import ACTIONS, CANDLES, FEATURE_VALUES
from components.wiring import open_parts, open_warehouse
from tests.terminal import hurry
from tests.worlds import DAY, LAST, MORNING, history

# Five of one calendar, so that they have a market, and one that never closes.
NAMES = ("AAA", "BBB", "CCC", "DDD-USD", "EEE", "FFF")
FIRST = pd.Timestamp("2020-01-01", tz="UTC")
LATER = MORNING + 30 * DAY
Z = ["return_z", "gap_z", "body_z", "residual_z", "range_z", "volume_z"]


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def run(world, ago=0):
    """The run of the morning after the bar ``ago`` days before LAST.

    One instrument lacks a week and one was listed late.
    """
    last = LAST - ago * DAY
    for symbol in NAMES:
        frame = history(symbol)
        frame = frame.drop(index=range(200, 205)) if symbol == "BBB" else frame
        frame = frame.iloc[150:] if symbol == "CCC" else frame
        known = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
        world.put(symbol, known, last + pd.Timedelta(hours=30))
    return world.run(MORNING - ago * DAY)


@pytest.fixture
def town(world):
    """Six instruments, judged once."""
    assert run(world).exit_code == 0
    return world


@contextmanager
def at_work(world, as_of=LATER, **settings):
    with open_parts(world.read_settings(**settings), as_of, command="features") as parts:
        yield parts


def compute(world, since=FIRST, until=LATER, as_of=LATER, **settings):
    """Compute and store; give what was counted."""
    with at_work(world, as_of, **settings) as parts:
        return steps.features(parts, since, until).counts


def stored(world, as_of=None):
    """The newest version of each row, or the one in force at an instant."""
    with open_warehouse(world.read_settings()) as warehouse:
        return warehouse.read(FEATURE_VALUES, as_of=as_of)


def in_lake(world, root=None):
    """All rows of the Parquet files, as any reader of such folders sees them."""
    folder = root or world.folder / "var/lake/features"
    table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table()
    rows = table.to_pandas().assign(version=lambda r: r["version"].astype(str))
    rows = rows.sort_values(list(FEATURE_VALUES.key), ignore_index=True)
    return rows[list(FEATURE_VALUES.columns)]


def every_version(world):
    rows = world.query("select * from features order by symbol, interval, ts, version, known_at")
    return rows[list(FEATURE_VALUES.columns)]


def same(found, expected):
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
    )


def changed(before, after):
    """What differs, but for what is carried: that is of an instant, and a cache."""
    names = {*before, *after}
    names = {name for name in names if not name.startswith("state/features-")}
    return sorted(name for name in names if before.get(name) != after.get(name))


def learn(world, symbol, ts, known_at, **values):
    """Let a provider correct a candle."""
    with open_warehouse(world.read_settings()) as warehouse:
        rows = warehouse.read(CANDLES, symbols=[symbol], since=ts, until=ts + DAY)
        warehouse.upsert(CANDLES, rows.assign(known_at=known_at, **values))


def test_what_is_stored_is_what_the_judge_has_seen(world):
    """Bit for bit, over bars that it judged from the first one and days that it carried on."""
    for ago in (5, 4, 1, 0):
        run(world, ago)
    compute(world)
    judged = world.query("select * from channels order by symbol, ts, known_at")
    judged = judged.drop_duplicates(["symbol", "ts"], keep="last")
    judged = judged.set_index(["symbol", "ts"])[Z]
    found = stored(world).set_index(["symbol", "ts"])[Z]
    pd.testing.assert_frame_equal(found.loc[judged.index], judged, check_exact=True)
    # A bar that has no channel yet has no row of them.
    assert found.drop(judged.index)["return_z"].isna().all()
    assert judged.notna().sum().min() > 900


def test_every_feature_of_the_registry_is_stored_as_the_judge_would_compute_it(town):
    """From the panel that the judge makes of the same bars, gaps and markets in it."""
    compute(town)
    found = stored(town)
    with open_parts(town.read_settings(), LATER) as parts:
        symbols = tuple(sorted(NAMES))
        piece = judging._piece(parts, 0, symbols, parts.warehouse.read(CANDLES), LATER)
        panel = pack(piece.candles, symbols, ("DDD-USD",))
    scan = AllFeatures()
    _, columns = scan.run(scan.start(len(symbols)), panel)
    series, bars = np.nonzero(panel.is_bar)
    assert len(found) == len(series)
    for name in FEATURES:
        np.testing.assert_array_equal(found[name], columns[name][series, bars], err_msg=name)
        assert found[name].notna().sum() > 300, name
    assert set(found["version"]) == {VERSION}


def test_a_repeated_command_adds_no_row_and_changes_no_byte(town):
    """In the warehouse and in the lake."""
    first = compute(town)
    assert first["features_new"] == len(every_version(town)) == 2400 - 5 - 150
    before = town.everything()
    again = compute(town, as_of=LATER + DAY)
    assert (again["features_new"], again["files_changed"]) == (0, 0)
    after = town.everything()
    assert changed(before, after) == ["runs"]


def test_the_lake_holds_the_rows_of_the_warehouse_typed_and_by_month(town):
    """A reader that knows Parquet alone gets the same numbers, instants and texts."""
    compute(town)
    learn(town, "AAA", LAST - 40 * DAY, MORNING + DAY, close=99.0, high=120.0)
    compute(town)
    rows = in_lake(town)
    same(rows, every_version(town))
    assert rows.duplicated(["symbol", "ts"]).any()
    folder = town.folder / f"var/lake/features/version={VERSION}/interval=1d"
    months = [path.name for path in sorted(folder.iterdir())]
    assert months[-1] == "month=2024-03"
    assert all(len(list(path.iterdir())) == 1 for path in folder.iterdir())
    schema = pyarrow.dataset.dataset(folder.parent.parent, partitioning="hive").schema
    assert {str(schema.field(name).type) for name in FEATURES} == {"double"}
    instants = {str(schema.field(n).type) for n in ("ts", "closes_at", "known_at")}
    assert instants == {"timestamp[us, tz=UTC]"}


def test_the_lake_may_lie_on_s3(town, s3_url):
    """The same files, byte for byte, and a repetition writes none."""
    compute(town)
    assert compute(town, lake_url=s3_url)["files_changed"] > 10
    assert compute(town, lake_url=s3_url)["files_changed"] == 0
    objects = Lake(s3_url).objects
    here = town.folder / "var/lake"
    for path in (here / "features").rglob("*.parquet"):
        assert objects.get(str(path.relative_to(here))) == path.read_bytes()


def test_a_bar_is_told_with_the_instant_at_which_it_closed(town):
    """A join on its open would let a model see the whole bar at its beginning."""
    compute(town)
    last = stored(town).groupby("symbol").last()["closes_at"]
    assert last["AAA"] == pd.Timestamp("2024-03-12 20:00", tz="UTC")
    assert last["DDD-USD"] == pd.Timestamp("2024-03-13", tz="UTC")


def test_only_the_span_asked_for_is_stored_and_its_rows_are_those_of_the_whole(town, make_world):
    """What a carried feature remembers does not begin with the span."""
    since, until = LAST - 60 * DAY, LAST - 30 * DAY
    compute(town, since, until)
    part = stored(town)
    assert (part["ts"].min(), part["ts"].max()) == (since, until - DAY)
    compute(town)
    whole = stored(town)
    same(part, whole[(whole["ts"] >= since) & (whole["ts"] < until)])


@pytest.mark.parametrize(("together", "piece"), [(1, 90), (4, 500), (50, 10_000)])
def test_the_pieces_in_which_it_is_computed_do_not_show(town, monkeypatch, together, piece):
    """Memory is bounded by them, and nothing else: the same rows, the same bytes."""
    features = steps.features
    compute(town)
    before = town.everything()
    for path in (town.folder / "var/lake/features").rglob("*.parquet"):
        path.unlink()
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.execute("truncate features")
    room = features.__globals__
    for name, value in (("TOGETHER", together), ("PIECE", piece), ("BATCH", 100)):
        monkeypatch.setitem(room, name, value)
    compute(town)
    assert changed(before, town.everything()) == []


def test_a_correction_makes_new_versions_of_the_rows_that_depend_on_it(town):
    """From its bar on and of its instrument; what was known before stays as it was known."""
    compute(town)
    before = every_version(town)
    at, known_at = LAST - 50 * DAY, MORNING + DAY
    learn(town, "EEE", at, known_at, close=104.0, high=120.0, low=50.0)
    counts = compute(town)
    after = every_version(town)
    new = after[after["known_at"] == known_at]
    assert counts["features_new"] == len(new)
    assert set(new["symbol"]) == {"EEE"}
    changed = before[(before["symbol"] == "EEE") & (before["ts"] >= at)]
    assert new["ts"].tolist() == changed["ts"].tolist()
    same(after[after["known_at"] < known_at], before)
    same(stored(town, as_of=known_at - DAY), before)
    assert compute(town)["features_new"] == 0


def test_what_was_known_at_an_instant_can_be_computed_later(town):
    """Rows that nobody computed in time are those that would have been stored then."""
    compute(town)
    then = stored(town)
    learn(town, "AAA", LAST - 98 * DAY, MORNING + DAY, close=101.0, high=120.0)
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.execute("truncate features")
    compute(town)
    assert len(stored(town, as_of=MORNING)) < len(then)
    compute(town, as_of=MORNING)
    same(stored(town, as_of=MORNING), then)


def test_a_split_that_is_told_late_is_known_from_then_on(town):
    """On the bars from its own on; the first bar after an absent one where that is absent."""
    compute(town)
    before = every_version(town)
    saturday = pd.Timestamp("2024-02-10", tz="UTC")
    known_at = MORNING + DAY
    row = {"symbol": "FFF", "kind": "split", "ts": saturday, "value": 2.0, "source": "files"}
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.upsert(ACTIONS, pd.DataFrame([{**row, "known_at": known_at}]))
    compute(town)
    new = every_version(town)
    new = new[new["known_at"] == known_at]
    assert set(new["symbol"]) == {"FFF"}
    assert new["ts"].min() == saturday + 2 * DAY
    assert len(new) == ((before["symbol"] == "FFF") & (before["ts"] > saturday)).sum()


def test_a_row_is_known_no_earlier_than_its_market(town):
    """A market that is stored late counts from then on; rows before its first bar stay."""
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.execute(
            "update market set known_at = known_at + interval '3 days' where ts >= '2023-07-03'"
        )
    compute(town)
    rows = stored(town)
    is_late = (rows["ts"] >= "2023-07-03") & (rows["symbol"] != "DDD-USD")
    assert (rows.loc[is_late, "known_at"] == MORNING + 3 * DAY).all()
    assert (rows.loc[~is_late, "known_at"] == MORNING).all()
