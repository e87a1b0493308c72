"""A second source by its setting: agreeing it is silent, disagreeing it is told once."""

import json

import pandas as pd
import pytest

from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance, stored
from tests.terminal import hurry, run_sql, tremor
from tests.worlds import DAY

NAME = "AAAUSDT"
NOON = pd.Timestamp("2024-03-13 12:00", tz="UTC")
FIRST = NOON - DAY
N_BARS = 1440
RUN = ("run", "--as-of", f"{NOON:%Y-%m-%dT%H:%M}")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture(scope="module")
def frame():
    """A day of minutes that the first source has."""
    return minutes(f"{FIRST:%Y-%m-%d %H:%M}", N_BARS, price=50)


@pytest.fixture
def town(make_world, frame):
    """Minutes of one coin by Binance, and a folder of files that says the same."""
    with BinanceStandIn({NAME: frame}, published_until=NOON.floor("D")) as server:
        world = of_binance(
            make_world(), server, [NAME], history_years=1 / 365.25, second_source="files"
        )
        world.settings["files_root"] = world.files
        put(world, frame)
        yield world


def put(world, frame, row=None, factor=1.0):
    """Write the second source's file; one bar of it may be another."""
    table = frame.rename(columns={"ts": "Datetime"}).drop(columns=["vwap", "trades"])
    if row is not None:
        prices = ["open", "high", "low", "close"]
        table.loc[row, prices] = table.loc[row, prices].astype(float) * factor
    table.columns = [name.capitalize() for name in table.columns]
    world.put(NAME, table, NOON)


def notes(world):
    """What was told about data."""
    return [note for payload in world.alerts("data")["payload"] for note in payload["notes"]]


def test_sources_that_agree_are_silent(town):
    """Every minute is compared, and nothing is told; neither by the run nor by its repetition."""
    seen = tremor(town, *RUN)
    assert seen.code == 0, seen
    assert f"bars compared {N_BARS:,}" in seen.out
    assert "bars disagree 0" in seen.out
    assert notes(town) == []
    assert tremor(town, *RUN).code == 0
    assert notes(town) == []
    assert len(town.messages()) == 0


def test_sources_that_disagree_are_told_once(town, frame):
    """Both closes are shown, the first's bar is judged, and the next runs are silent."""
    put(town, frame, row=N_BARS - 5, factor=1.05)
    seen = tremor(town, *RUN)
    assert seen.code == 0, seen
    assert "bars disagree 1" in seen.out
    (told,) = [note for note in notes(town) if "sources_disagree" in note]
    assert NAME in told
    assert len(stored(town)) == N_BARS
    n_mails = len(town.messages())
    assert tremor(town, *RUN).code == 0
    later = ("run", "--as-of", f"{NOON + pd.Timedelta(minutes=1):%Y-%m-%dT%H:%M}")
    assert tremor(town, *later).code in {0, 3}
    assert len([note for note in notes(town) if "sources_disagree" in note]) == 1
    assert len(town.messages()) == n_mails
    (row,) = json.loads(tremor(town, "status", "--quarantine", "--json").out)["quarantine"]
    close = frame.loc[N_BARS - 5, "close"]
    assert row["check_name"] == "sources_disagree"
    shown = json.loads(row["row"])
    assert shown["close"] == pytest.approx(1.05 * close)
    assert shown["first_close"] == pytest.approx(close)


def test_how_far_they_may_lie_apart_is_a_setting(town, frame):
    """A twentieth is within a tenth."""
    put(town, frame, row=N_BARS - 5, factor=1.05)
    seen = tremor(town, *RUN, tolerance=0.1)
    assert "bars disagree 0" in seen.out
    assert notes(town) == []


@pytest.mark.parametrize(
    ("second", "said"),
    [("binance", "TREMOR_SECOND_SOURCE is the first one"), ("nosuch", "no source is called")],
)
def test_a_second_source_that_is_none_is_refused_before_anything_is_done(town, second, said):
    """One line with the remedy, exit code 2."""
    assert said in tremor(town, *RUN, second_source=second).error
    assert not (town.folder / "var/lake/raw").exists()


def test_replay_after_a_dispute_tells_nothing_again(town, frame):
    """The dispute was told; a lost warehouse that comes back does not tell it anew."""
    put(town, frame, row=N_BARS - 5, factor=1.05)
    assert tremor(town, *RUN).code == 0
    n_mails, told = len(town.messages()), notes(town)
    run_sql(town.postgres_url, "drop schema tremor cascade")
    assert tremor(town, "replay").code == 0
    assert notes(town) == told
    assert tremor(town, *RUN).code == 0
    assert len(town.messages()) == n_mails


def test_a_second_source_with_other_names_is_asked_by_its_own(town, frame):
    """By the setting; without it the run says that nothing was compared, once."""
    (file,) = town.files.glob(f"{NAME}*")
    file.rename(file.with_name(file.name.replace(NAME, "OTHER")))
    seen = tremor(town, *RUN)
    assert seen.code == 3
    assert f"files: knows none of {NAME}. Set TREMOR_SECOND_NAMES" in seen.out
    again = tremor(town, *RUN, second_names=f"{NAME}=OTHER")
    assert f"bars compared {N_BARS:,}" in again.out
