"""The command that computes features: what it refuses, what it reads, and bars of a minute."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest

from components import steps
from components.entrypoints import views
from components.features import FEATURES
from components.tables import CANDLES, FEATURE_VALUES
from components.wiring import open_parts, open_warehouse
from tests.terminal import hurry, tremor
from tests.worlds import DAY, LAST, MORNING, history

NAMES = ("AAA", "BBB", "CCC")
MINUTE = pd.Timedelta(minutes=1)
COINS = ("AAAUSDT", "BBBUSDT")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def town(world):
    """Three instruments, one of which fell by a fifth on the last day, and is told."""
    for symbol in NAMES:
        world.put(symbol, history(symbol, crash=0.2 if symbol == "AAA" else 0))
    assert world.run().exit_code == 0
    return world


def stored(world, as_of=None):
    """The newest version of each row, or the one in force at an instant."""
    with open_warehouse(world.read_settings()) as warehouse:
        return warehouse.read(FEATURE_VALUES, as_of=as_of)


def compute(world, since, until, as_of):
    with open_parts(world.read_settings(), as_of, command="features") as parts:
        return steps.features(parts, since, until).counts


def said(world, *arguments):
    seen = tremor(world, "features", *arguments)
    assert seen.code == 0, seen
    return seen.out


def test_the_command_counts_what_it_read_and_stored(town):
    """In one line for a person, and with the place of the files for a program."""
    out = said(town, "--since", "2024-03-01")
    assert "bars read 1,200, features new 24, files changed 1" in out
    shown = json.loads(said(town, "--since", "2024-02-01", "--until", "2024-03-01", "--json"))
    assert shown["counts"]["features_new"] == 60
    assert (shown["interval"], shown["version"], shown["failures"]) == ("1d", "1", [])
    rows = pyarrow.dataset.dataset(shown["files"], partitioning="hive").to_table()
    assert len(rows) == 84
    runs = json.loads(tremor(town, "status", "--json").out)["runs"]
    assert {row["id"].split("-")[0] for row in runs} == {"features", "run"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "soon"), "--since 'soon' is no date"),
        (("--since", "2024-03-01", "--until", "2024-03-01"), "is not before --until 2024-03-01"),
        (("--since", "2999-01-01"), "is still to come"),
        (("--since", "2024-03-01", "--symbols", "../x"), "is no instrument name"),
        (("--since", "2024-03-01", "--symbols", "ZZZ"), "holds no 1d candles of ZZZ. Run `python"),
        (("--since", "2024-03-01", "--interval", "1h"), "holds no 1h candles of AAA, BBB, CCC"),
        ((), "Missing option '--since'"),
    ],
)
def test_what_cannot_be_computed_is_one_line_with_the_remedy(town, arguments, words):
    """Exit code 2, and nothing is stored."""
    assert words in tremor(town, "features", *arguments).error
    assert stored(town).empty


def test_an_empty_warehouse_and_payments_are_told(world):
    """The remedy for the one is a backfill, for the other a source of candles."""
    world.put("AAA", history("AAA"))
    error = tremor(world, "features", "--since", "2024-01-01").error
    assert "Run `python main.py backfill --since 2015-01-01` first." in error
    (world.files / "shop.toml").write_text('[shop]\nfiles = "*.csv"\ntime = "Date"\nvalue = "1"\n')
    payments = {"measures_file": world.files / "shop.toml", "interval": "2h"}
    error = tremor(world, "features", "--since", "2024-01-01", **payments).error
    assert "gives payment volumes" in error


def test_an_instrument_without_candles_does_not_stop_the_others(town):
    """Exit code 3, its name and the remedy; no market of a part of the watched is stored."""
    seen = tremor(town, "features", "--since", "2024-03-01", symbols="AAA,BBB,CCC,GONE")
    assert seen.code == 3
    assert seen.said == ["failed: GONE: no 1d candle of it is held. Run `backfill`."]
    assert "features new 24" in seen.out
    assert "market" not in seen.out
    some = said(town, "--since", "2024-02-01", "--symbols", "CCC")
    assert "features new 20, files changed 1" in some


def test_a_second_writer_steps_aside(town):
    """A run that loads candles and a command that reads them do not meet."""
    with open_parts(town.read_settings(), MORNING):
        seen = tremor(town, "features", "--since", "2024-01-01")
        assert (seen.code, seen.out) == (0, "")
        assert "this one steps aside" in seen.said[0]


def test_the_newest_days_are_computed_from_what_was_carried(world, make_world):
    """Each day reads little, and stores what a computation from the first bar stores."""
    other = make_world()
    for ago in (7, 6, 5, 4, 1, 0):
        last = LAST - ago * DAY
        for each in (world, other):
            for symbol in NAMES:
                frame = history(symbol)
                known = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
                each.put(symbol, known, last + 1.25 * DAY)
            each.run(last + 1.5 * DAY)
            shutil.rmtree(other.folder / "var/lake/state", ignore_errors=True)
            counts = compute(each, last - DAY, last + DAY, last + 1.6 * DAY)
            is_first = ago == 7 or each is other
            assert counts["bars_read"] > 1100 if is_first else counts["bars_read"] <= 12
    rows = "select * from features order by symbol, ts, known_at"
    pd.testing.assert_frame_equal(world.query(rows), other.query(rows), check_exact=True)
    states = [path.name for path in (world.folder / "var/lake/state").rglob("*features*/*")]
    assert len(states) == 1


def test_a_span_that_begins_at_the_bar_up_to_which_was_carried_is_whole(town):
    """What is carried lies behind it, and does not know how it came there."""
    compute(town, LAST, LAST + DAY, MORNING + DAY)
    assert set(stored(town)["ts"]) == {LAST}
    compute(town, LAST - DAY, LAST + DAY, MORNING + 2 * DAY)
    assert set(stored(town)["ts"]) == {LAST - DAY, LAST}


@pytest.mark.parametrize("spoil", ["gone", "damaged", "of other features"])
def test_what_is_carried_may_be_lost(town, spoil):
    """It is a cache: the rows are the same."""
    since, as_of = LAST - DAY, MORNING + DAY
    compute(town, since, LAST + DAY, as_of)
    before = stored(town)
    (path,) = (town.folder / "var/lake/state").glob("features-1d-*/*.arrow")
    if spoil == "gone":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(path.read_bytes()[:500])
    else:
        body = path.read_bytes().replace(b"columns.tail", b"columns.head")
        path.write_bytes(body)
    counts = compute(town, since, LAST + DAY, as_of + DAY)
    assert (counts["bars_read"], counts["features_new"]) == (1200, 0)
    pd.testing.assert_frame_equal(stored(town), before)


def test_candles_that_are_loaded_with_an_earlier_instant_are_not_missed(town):
    """What is carried has not seen them: it goes, as the judge's state does."""
    compute(town, LAST - DAY, LAST + DAY, MORNING + 2 * DAY)
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.execute("delete from candles where symbol = 'BBB' and ts > '2023-10-01'")
    town.run(MORNING + DAY)
    counts = compute(town, LAST - DAY, LAST + DAY, MORNING + 3 * DAY)
    assert counts["bars_read"] == 1200


def label(world, finding, made_at):
    """Say what the alert of AAA's fall was."""
    (alert_id,) = world.alerts("anomaly")["id"]
    with open_warehouse(world.read_settings()) as warehouse:
        views.act(warehouse, alert_id, "label", made_at, label=finding, symbol="AAA")


def test_a_bar_that_a_person_found_to_be_an_error_has_no_features_from_then_on(town):
    """Its row says that nothing is known; taken back, it has its features again."""
    since, until = LAST - 5 * DAY, LAST + DAY
    compute(town, since, until, MORNING)
    first = stored(town)
    label(town, "data-error", MORNING + DAY)
    compute(town, since, until, MORNING + 2 * DAY)
    found = stored(town)
    of_error = found[(found["symbol"] == "AAA") & (found["ts"] == LAST)]
    assert of_error[list(FEATURES)].isna().all(axis=None)
    assert of_error["known_at"].item() == MORNING + DAY
    assert of_error["closes_at"].item() == LAST + pd.Timedelta(hours=20)
    pd.testing.assert_frame_equal(found.drop(of_error.index), first.drop(of_error.index))
    label(town, "confirmed", MORNING + 3 * DAY)
    compute(town, since, until, MORNING + 4 * DAY)
    again = stored(town)
    assert again.loc[of_error.index, "known_at"].item() == MORNING + 3 * DAY
    values = list(FEATURES)
    pd.testing.assert_frame_equal(again[values], first[values])
    pd.testing.assert_frame_equal(stored(town, as_of=MORNING + 2 * DAY), found)


def minutes(symbols, first, n_bars, known_at, hours=None):
    """Candles of a minute, one after another."""
    tables = []
    for symbol in symbols:
        random = np.random.default_rng([5, *symbol.encode()])
        close = 50 * np.exp(np.cumsum(0.0005 * random.standard_t(5, n_bars)))
        open_ = np.r_[50.0, close[:-1]]
        rows = {"symbol": symbol, "interval": "1m", "open": open_, "close": close}
        rows["ts"] = pd.date_range(first, periods=n_bars, freq=MINUTE, unit="us")
        rows["high"], rows["low"] = np.maximum(open_, close) + 0.01, np.minimum(open_, close) - 0.01
        rows["volume"] = random.integers(10, 900, n_bars).astype(float)
        tables.append(pd.DataFrame(rows))
    rows = pd.concat(tables, ignore_index=True)
    return rows.assign(source="x", hours=hours, known_at=known_at)


def hold(world, rows):
    """Let the warehouse and the lake hold candles."""
    with open_parts(world.read_settings(), rows["known_at"].max()) as parts:
        parts.lake.put_candles(rows)
        assert parts.warehouse.upsert(CANDLES, rows)


@pytest.fixture
def coins(world):
    """Two coins by the minute over the end of a month; the lake has some bars twice."""
    world.files.mkdir()
    world.settings = {"interval": "1m", "symbols": ",".join(COINS)}
    first = pd.Timestamp("2024-01-29T12:00", tz="UTC")
    known_at = pd.Timestamp("2024-02-04", tz="UTC")
    rows = minutes(COINS, first, 5 * 1440, known_at)
    hold(world, rows)
    with open_parts(world.read_settings(), known_at + DAY) as parts:
        parts.lake.put_candles(rows.iloc[1000:1100].assign(known_at=known_at + DAY))
    return world


FEBRUARY, LATER = pd.Timestamp("2024-02-01", tz="UTC"), pd.Timestamp("2024-03-01", tz="UTC")


def test_minutes_have_a_file_an_instrument_and_month(coins):
    """A month of an instrument is one read; nothing is stored of what was not asked for."""
    n_rows = 2 * int((5 * 1440) - (FEBRUARY - pd.Timestamp("2024-01-29T12:00", tz="UTC")) / MINUTE)
    counts = compute(coins, FEBRUARY, LATER, LATER)
    assert (counts["features_new"], counts["files_changed"]) == (n_rows, 2)
    folder = coins.folder / "var/lake/features/version=1/interval=1m"
    names = sorted(path.name.split(".")[0] for path in (folder / "month=2024-02").iterdir())
    assert names == sorted(COINS)
    assert [path.name for path in folder.iterdir()] == ["month=2024-02"]
    rows = stored(coins)
    assert (rows["closes_at"] == rows["ts"] + MINUTE).all()
    assert rows["return_z"].notna().all()
    table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table().to_pandas()
    table = table.sort_values(["symbol", "ts"], ignore_index=True)
    pd.testing.assert_frame_equal(table[list(FEATURES)], rows[list(FEATURES)], check_exact=True)


def test_features_of_minutes_that_left_the_warehouse_stay_what_they_were(coins):
    """The scan begins at the first bar, which the lake still has."""
    compute(coins, FEBRUARY, LATER, LATER)
    before = stored(coins)
    with open_warehouse(coins.read_settings()) as warehouse:
        assert warehouse.retire(FEBRUARY) == 1
    shutil.rmtree(coins.folder / "var/lake/state")
    counts = compute(coins, FEBRUARY, LATER, LATER + DAY)
    assert (counts["bars_read"], counts["features_new"]) == (2 * 5 * 1440, 0)
    assert counts["files_changed"] == 0
    with open_warehouse(coins.read_settings()) as warehouse:
        warehouse.execute("truncate features")
    shutil.rmtree(coins.folder / "var/lake/state")
    compute(coins, FEBRUARY, LATER, LATER + DAY)
    pd.testing.assert_frame_equal(stored(coins), before)


def test_features_leave_the_warehouse_with_their_minutes(coins):
    """The lake keeps them, and those of the minutes that are kept stay."""
    today = pd.Timestamp.now("UTC").floor("s")
    month = today.normalize().replace(day=1)
    hold(coins, minutes(COINS, month - 20 * MINUTE, 40, today))
    compute(coins, LATER - 60 * DAY, today, today)
    rows = stored(coins)
    files = sorted((coins.folder / "var/lake/features").rglob("*.parquet"))
    with open_parts(coins.read_settings(keep_minutes_days=1), today) as parts:
        steps.retire(parts, today)
    cut = (today - DAY).normalize().replace(day=1)
    kept = rows[rows["ts"] >= cut].reset_index(drop=True)
    assert 0 < len(kept) < len(rows)
    pd.testing.assert_frame_equal(stored(coins), kept)
    assert sorted((coins.folder / "var/lake/features").rglob("*.parquet")) == files


def test_bars_of_extended_hours_have_no_features_and_change_none(world, make_world):
    """As for the judge, they are not there."""
    other = make_world()
    known_at = pd.Timestamp("2024-02-04", tz="UTC")
    opening = pd.Timestamp("2024-01-30T14:30", tz="UTC")
    regular = minutes(["AAPL"], opening, 390, known_at, "regular")
    early = minutes(["AAPL"], opening - 60 * MINUTE, 60, known_at + DAY, "extended")
    for each, rows in ((world, pd.concat([early, regular])), (other, regular)):
        each.files.mkdir()
        each.settings = {"interval": "1m", "symbols": "AAPL"}
        hold(each, rows)
        compute(each, FEBRUARY - 5 * DAY, LATER, LATER)
    assert len(stored(world)) == 390
    pd.testing.assert_frame_equal(stored(world), stored(other), check_exact=True)
    assert (stored(world)["known_at"] == known_at).all()
