"""A second source: closes that differ are told once; one that fails is told, and stops nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components import steps
from components.errors import SettingsError, SourceUnavailable
from components.sources.files import Files
from components.steps.runner import Runner
from tests.worlds import DAY, LAST, MORNING, World, history

NAMES = ("AAA", "BBB")


class Comparing(Runner):
    """Runs that hold what they loaded against ``second`` before they judge."""

    def __init__(self, second):
        super().__init__()
        self.second = second

    def __call__(self, step, parts, *args):
        """Call the step; that which compares gets the second source."""
        if step is steps.compare:
            parts = replace(parts, second=self.second)
        return super().__call__(step, parts, *args)


@pytest.fixture
def town(world):
    """Two instruments, and a second folder that says the same of them."""
    other = World(world.folder / "other", world.postgres_url)
    for each in (world, other):
        for name in NAMES:
            each.put(name, history(name), LAST + 30 * pd.Timedelta(hours=1))
    world.settings["symbols"] = ",".join(NAMES)
    return world, other, replace(Files(other.files), name="other")


def spoil(other, factor, name="AAA", row=-1):
    """The second source states one close otherwise."""
    frame = history(name)
    frame.loc[frame.index[row], ["High", "Low", "Open", "Close"]] *= factor
    other.put(name, frame, LAST + 30 * pd.Timedelta(hours=1))


def notes(world):
    """Everything told about data, alert by alert."""
    return [note for payload in world.alerts("data")["payload"] for note in payload["notes"]]


def aside(world):
    return world.query("select * from quarantine where check_name = 'sources_disagree'")


def test_two_sources_that_agree_are_no_trouble(town):
    """Every new bar of the last week is compared, and nothing is told."""
    world, _, second = town
    summary = world.run(run=Comparing(second))
    assert summary.exit_code == 0
    assert summary.counts["bars_compared"] == 2 * 4
    assert summary.counts["bars_disagree"] == 0
    assert aside(world).empty
    assert world.alerts("data").empty


@pytest.mark.parametrize(("factor", "is_told"), [(1.009, False), (1.011, True), (0.5, True)])
def test_closes_that_differ_are_kept_aside_with_both_values(town, factor, is_told):
    """The first's bar stays; the second's row is in the quarantine, its reply in the lake."""
    world, other, second = town
    spoil(other, factor)
    world.run(run=Comparing(second))
    rows = aside(world)
    assert len(rows) == is_told
    assert len(world.query("select 1 from candles")) == 2 * 400
    if is_told:
        row, text = rows.iloc[0], rows.iloc[0]["row_text"]
        assert (row["symbol"], row["ts"], row["line"]) == ("AAA", LAST, 399)
        assert text["first_source"] == "files"
        assert text["close"] == pytest.approx(text["first_close"] * factor)
        (kept,) = world.query(
            "select key from raw_objects where sha256 = %(raw)s and source = 'other'",
            raw=row["raw"],
        )["key"]
        assert (world.folder / "var/lake" / kept).is_file()


def test_a_disagreement_is_told_once(town):
    """Not by the same run repeated, not on the next day."""
    world, other, second = town
    spoil(other, 1.05)
    for as_of in (MORNING, MORNING, MORNING + DAY):
        world.run(as_of, run=Comparing(second))
    (told,) = [note for note in notes(world) if "sources_disagree" in note]
    assert "AAA" in told


def test_of_the_next_day_only_the_new_bar_is_compared(town):
    """What was loaded before was compared then."""
    world, other, second = town
    for each in (world, other):
        for name in NAMES:
            each.put(name, history(name).iloc[:-1], LAST + 6 * pd.Timedelta(hours=1))
    world.run(MORNING - DAY, run=Comparing(second))
    for each in (world, other):
        for name in NAMES:
            each.put(name, history(name), LAST + 30 * pd.Timedelta(hours=1))
    assert world.run(run=Comparing(second)).counts["bars_compared"] == 2


def test_an_instrument_that_the_second_does_not_know_is_not_compared(town):
    """Names are matched as they are."""
    world, other, second = town
    (other.files / "BBB.csv").unlink()
    summary = world.run(run=Comparing(second))
    assert summary.exit_code == 0
    assert summary.counts["bars_compared"] == 4


class Down:
    """A source of which every request fails."""

    def __init__(self, source, error):
        self.source, self.error = source, error
        self.name, self.traits = source.name, source.traits

    def symbols(self):
        """None are listed."""
        if isinstance(self.error, SettingsError):
            raise self.error
        return ()

    def pieces(self, request):
        """As the source does."""
        return self.source.pieces(request)

    def fetch(self, request):
        """Fail."""
        raise self.error


@pytest.mark.parametrize("error", [SourceUnavailable("503"), SettingsError("no folder")])
def test_a_second_source_that_fails_is_told_once_and_stops_nothing(town, error):
    """All bars are judged, on that day and on the next."""
    world, _, second = town
    for as_of in (MORNING, MORNING + pd.Timedelta(hours=1), MORNING + DAY):
        summary = world.run(as_of, run=Comparing(Down(second, error)))
        assert summary.status == "finished"
    of_second = [note for note in notes(world) if str(error) in note]
    assert len(of_second) == (1 if isinstance(error, SettingsError) else len(NAMES))
    assert all("other" in note for note in of_second)


def test_a_doubtful_row_of_the_second_source_is_not_compared(town):
    """A price of zero says nothing about the first source."""
    world, other, second = town
    spoil(other, 0.0)
    summary = world.run(run=Comparing(second))
    assert summary.counts["bars_compared"] == 7
    assert np.isclose(summary.counts["bars_disagree"], 0)
