"""Runs that are killed, at every step and inside every write, and the runs that follow them."""

import signal
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from components.objects import UNDER_WAY
from components.steps import gather
from tests.killed_run import BATCH, N_STEPS, PLACES, Killer
from tests.terminal import hurry, run_sql
from tests.worlds import DAY, LAST, MORNING, World, history

ROOT = Path(__file__).parents[1]

# Five of one calendar, so that they have a market.
NAMES = ("AAA", "BBB", "CCC", "DDD-USD", "EEE", "FFF")


@pytest.fixture(scope="module")
def killer():
    """One process for all of the module's jobs, so that each has little to import."""
    killer = Killer()
    yield killer
    killer.close()


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """The files of six instruments, one of which falls by a fifth on the last day."""
    world = World(tmp_path_factory.mktemp("market"), "")
    put_day(world, LAST, AAA=0.2)
    return world.files


def put_day(world, last, **crashes):
    """Write the files as they were after ``last``."""
    for symbol in NAMES:
        frame = history(symbol, crash=crashes.get(symbol, 0))
        frame = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
        world.put(symbol, frame, last + pd.Timedelta(hours=30))


@pytest.fixture(scope="module")
def database(postgres_server):
    """One database for all of the module's worlds, one after the other."""
    hurry(postgres_server)
    run_sql(postgres_server, "create database killed")
    return postgres_server.replace("/postgres?", "/killed?")


@pytest.fixture
def make_town(tmp_path, database, market, monkeypatch):
    """Make a world over the same files, whose stores are empty; the one before ends."""
    monkeypatch.setattr(gather, "BATCH", BATCH)

    def make():
        run_sql(database, "drop schema if exists tremor cascade")
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return World(folder, database, {"files_root": market})

    return make


@pytest.fixture(scope="module")
def kept():
    """What a run leaves that nobody killed; filled by the first test that asks."""
    return {}


@pytest.fixture
def undisturbed(kept, killer, make_town):
    """What a run leaves that nobody killed."""
    if not kept:
        calm = make_town()
        assert killer.run(calm, MORNING, None) == 0
        kept.update(everything(calm))
    return kept


def everything(world):
    """All that a run leaves behind, without what a killed write left beside its place."""
    return {k: v for k, v in world.everything().items() if UNDER_WAY not in k}


@pytest.mark.parametrize("place", [*range(N_STEPS + 1), *PLACES])
def test_a_killed_run_is_finished_by_the_next(place, killer, make_town, undisturbed):
    """Nothing is missing and nothing is there twice: tables, lake and outbox, byte for byte."""
    town = make_town()
    assert killer.run(town, MORNING, place) == signal.SIGKILL
    summary = town.run()
    assert summary.exit_code == 0
    after = everything(town)
    assert sorted(after) == sorted(undisturbed)
    assert [name for name in after if after[name] != undisturbed[name]] == []
    (message,) = town.messages()
    assert "AAA" in message["Subject"]


def test_a_place_that_is_not_reached_kills_nobody(killer, make_town, undisturbed):
    """The other tests' runs die where they should, and not because something fails."""
    assert killer.run(make_town(), MORNING, N_STEPS + 1) == 0


# Where a first day is lost, kept, half told and told.
DAYS = [
    4,
    "warehouse: after the market's commit",
    "warehouse: before the verdicts' commit",
    "lake: the group's state there, the ledger not",
    "tell: before the alerts' commit",
    "tell: alerts stored, nothing sent",
    "tell: delivery noted, console not told",
    "close: before the run's commit",
]


@pytest.mark.parametrize("place", DAYS)
def test_what_a_killed_run_did_not_tell_the_next_day_tells(place, killer, make_town):
    """The crash of the killed day is told once, by whichever run comes to it."""
    town = make_town()
    town.settings = {}
    put_day(town, LAST - DAY)
    town.run(MORNING - DAY, alerts_per_year=2)
    before = len(town.messages())
    town.settings = {"alerts_per_year": 2}
    put_day(town, LAST, AAA=0.2)
    assert killer.run(town, MORNING, place) == signal.SIGKILL
    for symbol in NAMES:
        days = pd.date_range(LAST + DAY, LAST + DAY)
        frame = history(symbol, crash=0.2 if symbol == "AAA" else 0)
        last = frame.iloc[-1:].assign(Date=days.strftime("%Y-%m-%d"), Open=frame["Close"].iloc[-1])
        last[["High", "Low"]] = [[last["Close"].iloc[0] * 1.002, last["Close"].iloc[0] * 0.998]]
        town.put(symbol, pd.concat([frame, last]), MORNING + 0.75 * DAY)
    assert town.run(MORNING + DAY).exit_code == 0
    assert town.run(MORNING + DAY).exit_code == 0
    told = town.query(
        "select ts, symbols from alerts where kind = 'anomaly' and ts = %(ts)s", ts=LAST
    )
    assert told["symbols"].tolist() == [["AAA"]]
    assert len(town.messages()) == before + 1
    pending = town.query("select * from deliveries where delivered_at is null")
    assert len(pending) == 0
    once = town.query("select symbol, ts, count(*) as n from candles group by 1, 2 order by 3 desc")
    assert len(once) == 6 * 401
    assert once["n"].iloc[0] == 1
