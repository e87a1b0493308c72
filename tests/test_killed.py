"""Runs that are killed, at every step and inside every write, and the runs that follow them."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from components.objects import UNDER_WAY
from components.steps import gather
from tests.killed_run import BATCH, N_STEPS, PLACES
from tests.terminal import hurry
from tests.worlds import LAST, MORNING, SYMBOLS, World, history

ROOT = Path(__file__).parents[1]

# What is left of a second day when the first was not finished: other instants, and no more.
KNOWN = ["known_at", "id", "alert_id", "as_of", "manifest", "message_id", "payload"]


class Killer:
    """The process that does runs which die; see ``killed_run``."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed_run"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, world, as_of, place):
        """Begin a run that dies at ``place``; give the signal that ended it."""
        job = {
            "folder": str(world.folder),
            "postgres_url": world.postgres_url,
            "settings": {name: str(value) for name, value in world.settings.items()},
            "as_of": as_of.isoformat(),
            "place": place,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        """End it; it has no run under way."""
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def killer():
    """One process for all of the module's jobs, so that each has little to import."""
    killer = Killer()
    yield killer
    killer.close()


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server is not what is killed here, so it need not wait for the disk."""
    hurry(postgres_server)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """The files of four instruments, one of which falls by a fifth on the last day."""
    world = World(tmp_path_factory.mktemp("market"), "")
    put_day(world, LAST, AAA=0.2)
    return world.files


def put_day(world, last, **crashes):
    """Write the files as they were after ``last``."""
    for symbol in SYMBOLS:
        frame = whole_history(symbol, crashes)
        frame = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
        world.put(symbol, frame, last + pd.Timedelta(hours=30))


def whole_history(symbol, crashes):
    return history(symbol, LAST, 330, crash=crashes.get(symbol, 0))


@pytest.fixture
def make_town(make_world, market, monkeypatch):
    """Make a world over the same files: only its stores are its own."""
    monkeypatch.setattr(gather, "_batches", partial(gather._batches, size=BATCH))

    def make():
        world = make_world()
        world.settings = {"files_root": market}
        return world

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
