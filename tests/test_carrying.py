"""What is carried between runs: groups of instruments, their files, and the ledger that names them.

Two worlds see the same days: one goes on from what it carries, the other loses it and judges
every bar again. Whatever was done to the carried state, both must say the same.
"""

import re
import shutil

import pandas as pd
import pytest

from components.steps import carrying
from components.tables import CHANNELS, MARKET, SCORES, VERDICTS
from tests.terminal import hurry, tremor
from tests.worlds import DAY, LAST, history

NAMES = ("AAA", "BBB", "CCC", "EEE", "FFF", "DDD-USD")
FEW = ("AAA", "BBB", "DDD-USD")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def day(world, ago, names=NAMES, *, away=(), **settings):
    """The run of the morning after the bar ``ago`` days before LAST; some files may be away."""
    last = LAST - ago * DAY
    for symbol in names:
        frame = history(symbol, crash=0.1 if symbol == "BBB" else 0.0)
        if symbol not in away:
            told = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
            world.put(symbol, told, last + pd.Timedelta(hours=30))
    return world.run(last + pd.Timedelta(hours=36), symbols=",".join(names), **settings)


def state_of(world):
    return world.folder / "var/lake/state"


def files(world):
    """The carried state's files: ``08.arrow`` the ledger of the 8th, ``08/1`` its second group."""
    (folder,) = state_of(world).iterdir()
    names = (str(path.relative_to(folder)) for path in folder.rglob("*.arrow"))
    short = (name.removeprefix("202403").replace("T120000Z", "") for name in names)
    return sorted(re.sub(r"/0*(\d)\.arrow", r"/\1", name) for name in short)


def group_files(world):
    """The paths of the groups' files, oldest first."""
    return sorted(state_of(world).rglob("*/*/*.arrow"))


def assert_alike(world, other, tables=(VERDICTS, SCORES, CHANNELS, MARKET)):
    """Every number that the judgement left, bit for bit, with the instant that it was said."""
    for table in tables:
        rows = world.rows(table)
        assert len(rows), table.name
        pd.testing.assert_frame_equal(rows, other.rows(table), check_exact=True)


def test_days_one_by_one_give_what_the_whole_history_gives(make_world):
    """Five days over a weekend, each carried on or judged again from the first bar."""
    carried, rebuilt = make_world(), make_world()
    for ago in (4, 3, 2, 1, 0):
        shutil.rmtree(state_of(rebuilt), ignore_errors=True)
        counts = [day(world, ago).counts["bars_judged"] for world in (carried, rebuilt)]
        # On a Saturday and a Sunday the coin alone has a bar.
        n_new = 1 if ago in (2, 3) else 6
        assert ago == 4 or counts[0] == n_new
        assert counts[1] > 2000
    assert_alike(carried, rebuilt)
    assert set(carried.rows(VERDICTS)["state"]) == {"warm-up", "live"}


def test_some_instruments_and_then_all(make_world):
    """Those that come later are judged from their first bar, the others go on."""
    carried, rebuilt = make_world(), make_world()
    for ago, names in ((4, FEW), (1, NAMES), (0, NAMES)):
        shutil.rmtree(state_of(rebuilt), ignore_errors=True)
        for world in (carried, rebuilt):
            day(world, ago, names)
    assert_alike(carried, rebuilt)


def test_instruments_that_were_not_watched_for_a_while(make_world):
    """They come back, and their bars of meanwhile are judged."""
    carried, rebuilt = make_world(), make_world()
    for ago, names in ((6, NAMES), (5, FEW), (1, FEW), (0, NAMES)):
        shutil.rmtree(state_of(rebuilt), ignore_errors=True)
        for world in (carried, rebuilt):
            counts = day(world, ago, names).counts
        n_judged = counts["bars_judged"]
    assert n_judged > 1000
    assert_alike(carried, rebuilt)


def test_an_instrument_without_any_bar_at_first(make_world):
    """Watched while nothing was known of it: its first bars start from nothing."""
    carried, rebuilt = make_world(), make_world()
    for ago, away in ((4, ("CCC", "FFF")), (1, ("FFF",)), (0, ())):
        shutil.rmtree(state_of(rebuilt), ignore_errors=True)
        for world in (carried, rebuilt):
            assert day(world, ago, away=away).exit_code == (3 if away else 0)
    assert_alike(carried, rebuilt)


def test_an_instrument_that_joins_a_group_before_its_first_bar(make_world):
    """It has a place in the ledger and none in the group's file: it begins with no memory."""
    carried, rebuilt = make_world(), make_world()
    # Too few for a market, so that nothing else lets an instrument begin anew.
    two, four = ("AAA", "BBB"), ("AAA", "BBB", "CCC", "EEE")
    for ago, names, away in ((6, two, ()), (5, four, ("EEE",)), (4, four, ()), (0, four, ())):
        shutil.rmtree(state_of(rebuilt), ignore_errors=True)
        for world in (carried, rebuilt):
            day(world, ago, names, away=away)
    assert_alike(carried, rebuilt, (VERDICTS, SCORES, CHANNELS))
    bars = carried.rows(VERDICTS)
    assert (bars.loc[bars["state"] == "warm-up", "symbol"].value_counts() == 341).all()


def test_many_instruments_make_several_groups(make_world, monkeypatch):
    """As many files as groups; the verdicts do not know of them."""
    one = make_world()
    for ago in (1, 0):
        day(one, ago)
    monkeypatch.setattr(carrying, "GROUP", 2)
    several = make_world()
    for ago in (1, 0):
        day(several, ago)
    assert len(group_files(one)) == 2
    assert len(group_files(several)) == 6
    assert_alike(one, several)


def test_only_the_two_newest_ledgers_and_their_files_stay(world, monkeypatch):
    """At a weekend one group has news: the ledgers go on naming the file of the other."""
    monkeypatch.setattr(carrying, "GROUP", 4)
    found = []
    for ago in (5, 4, 3, 2):
        day(world, ago)
        found.append(files(world))
    # The runs of Friday to Monday morning; of the groups AAA BBB CCC DDD-USD and EEE FFF the
    # second has no bar of Saturday or Sunday.
    friday, saturday = ["08.arrow", "08/0", "08/1"], ["09.arrow", "09/0", "09/1"]
    assert found[0] == friday
    assert found[1] == sorted([*friday, *saturday])
    assert found[2] == sorted([*saturday, "10.arrow", "10/0"])
    assert found[3] == sorted(["09/1", "10.arrow", "10/0", "11.arrow", "11/0"])


def test_a_lost_group_of_which_not_all_are_watched(make_world):
    """Those that are watched are judged again now, the others when they come back."""
    whole, spoilt = make_world(), make_world()
    for world in (whole, spoilt):
        day(world, 5)
    (path,) = group_files(spoilt)
    path.unlink()
    for ago, names in ((4, FEW), (0, NAMES)):
        for world in (whole, spoilt):
            day(world, ago, names)
    assert_alike(whole, spoilt)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_group_whose_file_is_gone_is_judged_again(make_world, monkeypatch, lost):
    """A carried state is a cache: of one group as well as whole."""
    monkeypatch.setattr(carrying, "GROUP", 4)
    whole, spoilt = make_world(), make_world()
    for world in (whole, spoilt):
        day(world, 1)
    group_files(spoilt)[lost].unlink()
    counts = [day(world, 0).counts["bars_judged"] for world in (whole, spoilt)]
    assert counts[0] == 6
    assert counts[1] > 400 * (4 if lost == 0 else 2) - 10
    assert_alike(whole, spoilt)


def test_a_group_whose_file_is_damaged_is_one_line_with_the_remedy(make_world):
    """Exit code 2; what the line says mends it, and the verdicts are the same."""
    whole, spoilt = make_world(), make_world()
    for world in (whole, spoilt):
        day(world, 1)
    (path,) = group_files(spoilt)
    path.write_bytes(path.read_bytes()[:1000])
    day(whole, 0)
    for symbol in NAMES:
        shutil.copy2(whole.files / f"{symbol}.csv", spoilt.files)
    as_of = f"{LAST + pd.Timedelta(hours=36):%Y-%m-%dT%H:%M}"
    run = ("run", "--as-of", as_of, "--symbols", ",".join(NAMES))
    error = tremor(spoilt, *run).error
    assert "the carried state of group 0" in error
    assert "Delete the folder state/" in error
    shutil.rmtree(state_of(spoilt))
    assert tremor(spoilt, *run).code == 0
    assert_alike(whole, spoilt)
