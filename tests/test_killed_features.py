"""Commands that compute features and are killed, and those that follow them."""

import shutil
import signal

import pandas as pd
import pytest

from components import steps
from components.objects import UNDER_WAY
from components.tables import CANDLES
from components.wiring import open_parts, open_warehouse
from tests.killed_run import FEATURE_PLACES, SMALL, Killer
from tests.terminal import hurry, run_sql
from tests.worlds import DAY, LAST, MORNING, World, history

NAMES = ("AAA", "BBB", "CCC", "DDD-USD", "EEE", "FFF")
SINCE = LAST - 200 * DAY
CORRECTED = MORNING + DAY
AT = MORNING + 2 * DAY


@pytest.fixture(scope="module")
def killer():
    """One process for all of the module's jobs, so that each has little to import."""
    killer = Killer()
    yield killer
    killer.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, postgres_server):
    """A world whose newest features are stored, and of which a candle was corrected since.

    Of its newest days the market is still to be stored.
    """
    hurry(postgres_server)
    run_sql(postgres_server, "create database prepared")
    url = postgres_server.replace("/postgres?", "/prepared?")
    world = World(tmp_path_factory.mktemp("prepared"), url)
    for symbol in NAMES:
        world.put(symbol, history(symbol))
    with open_parts(world.read_settings(), MORNING) as parts:
        for wanted in steps.plan(parts, MORNING):
            steps.load(parts, steps.refine(parts, steps.fetch(parts, wanted)))
    compute(world, LAST - 40 * DAY, MORNING)
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.execute("delete from market where ts > '2024-03-01'")
        ts = LAST - 91 * DAY
        rows = warehouse.read(CANDLES, symbols=["BBB"], since=ts, until=ts + DAY)
        assert warehouse.upsert(CANDLES, rows.assign(volume=1.0, known_at=CORRECTED)) == 1
    return world


@pytest.fixture
def make_town(prepared, tmp_path, postgres_server):
    """Make a copy of the prepared world."""
    number = iter(range(100))

    def make():
        place = f"features_{next(number)}"
        source = "prepared"
        run_sql(
            postgres_server,
            f"drop database if exists {place} with (force)",
            f"create database {place} template {source}",
        )
        shutil.copytree(prepared.folder / "var", tmp_path / place / "var")
        settings = {"files_root": prepared.files}
        return World(tmp_path / place, prepared.postgres_url.replace(source, place), settings)

    return make


def compute(world, since, as_of):
    with open_parts(world.read_settings(), as_of, command="features") as parts:
        return steps.features(parts, since, as_of).counts


@pytest.fixture(scope="module")
def kept():
    """What a command leaves that nobody killed; filled by the first test that asks."""
    return {}


def everything(world):
    """All that is left behind, without what a killed write left beside its place."""
    return {k: v for k, v in world.everything().items() if UNDER_WAY not in k}


@pytest.fixture
def undisturbed(kept, killer, make_town, monkeypatch):
    """What a command leaves that nobody killed."""
    for name, value in SMALL.items():
        monkeypatch.setitem(steps.features.__globals__, name, value)
    if not kept:
        calm = make_town()
        assert killer.run(calm, AT, None, since=SINCE.isoformat()) == 0
        kept.update(everything(calm))
    return kept


@pytest.mark.parametrize("place", FEATURE_PLACES)
def test_a_killed_command_is_finished_by_the_next(place, killer, make_town, undisturbed):
    """No row is missing or there twice, and no byte of the lake differs."""
    town = make_town()
    assert killer.run(town, AT, place, since=SINCE.isoformat()) == signal.SIGKILL
    compute(town, SINCE, AT)
    after = everything(town)
    assert sorted(after) == sorted(undisturbed)
    assert [name for name in after if after[name] != undisturbed[name]] == []


def test_the_command_that_is_killed_has_work_in_every_place(prepared, make_town, undisturbed):
    """New rows, new versions of old ones, files to be merged, a market, and something carried."""
    before = everything(prepared)
    versions = pd.Series(undisturbed["features"].splitlines())
    versions = versions.str.contains(f"{CORRECTED}", regex=False).sum()
    assert versions > 20
    files = {name for name in before if name.startswith("features/")}
    assert files - set(undisturbed)
    assert len([name for name in undisturbed if name.startswith("features/")]) > len(files) + 3
    assert {n for n in before if n.startswith("state/")} != {
        n for n in undisturbed if n.startswith("state/")
    }


def test_a_place_that_is_not_reached_kills_nobody(killer, make_town, undisturbed):
    """The other tests' commands die where they should, and not because something fails."""
    town = make_town()
    assert killer.run(town, AT, "after the run's commit", since=SINCE.isoformat()) == signal.SIGKILL
    assert killer.run(town, AT + DAY, "lake: before a file's link", since=SINCE.isoformat()) == 0
