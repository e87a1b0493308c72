"""A person says that a bar is a data error: it is judged as absent, and stays in the ledger."""

import shutil

import pandas as pd
import pytest

from components.entrypoints import views
from components.tables import ACTIONS, CHANNELS, SCORES, VERDICTS
from components.wiring import open_warehouse
from tests.terminal import hurry
from tests.worlds import DAY, LAST, history

NAMES = ("AAA", "BBB", "CCC")
ERROR_AT = LAST - DAY
HOURS = pd.Timedelta(hours=1)


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def candles(symbol, fall=0.0):
    """A history; AAA closes a quarter too low at ERROR_AT, and falls by ``fall`` at LAST."""
    frame = history(symbol, crash=fall if symbol == "AAA" else 0.0)
    if symbol == "AAA":
        frame.loc[frame["Date"] == f"{ERROR_AT:%Y-%m-%d}", ["Low", "Close"]] *= 0.75
    return frame


def morning(last):
    return last + 36 * HOURS


def day(world, last, *, fall=0.0, without=None):
    """The run of the morning after ``last``."""
    for symbol in NAMES:
        frame = candles(symbol, fall)
        frame = frame[frame["Date"] <= f"{last:%Y-%m-%d}"]
        if without is not None and symbol == "AAA":
            frame = frame[frame["Date"] != f"{without:%Y-%m-%d}"]
        world.put(symbol, frame, last + 30 * HOURS)
    return world.run(morning(last), alerts_per_year=1)


def say(world, label, made_at, ts=ERROR_AT):
    """Label the alert of AAA's bar."""
    alerts = world.alerts("anomaly")
    (alert_id,) = alerts.loc[alerts["ts"] == ts, "id"]
    with open_warehouse(world.read_settings()) as warehouse:
        views.act(warehouse, alert_id, "label", made_at, label=label, symbol="AAA")


def of(world, table, symbol="AAA"):
    """An instrument's newest numbers at each bar."""
    names = [name for name in table.columns if name not in ("known_at", "symbol")]
    rows = world.rows(table)
    rows = rows[rows["symbol"] == symbol].sort_values("known_at", kind="stable")
    key = [name for name in table.bar_key if name != "symbol"]
    return rows[names].drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)


@pytest.fixture
def town(world):
    """The day of the error, judged and told."""
    day(world, ERROR_AT)
    assert [list(s) for s in world.alerts("anomaly")["symbols"]] == [["AAA"]]
    return world


def test_a_labelled_error_is_judged_as_if_it_were_not_there(town, make_world):
    """The bars behind it have the numbers that they have in a history without that bar."""
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    assert day(town, LAST).counts["bars_judged"] == 399 + 2
    other = make_world()
    day(other, LAST, without=ERROR_AT)
    for table in (VERDICTS, SCORES, CHANNELS):
        found, expected = of(town, table), of(other, table)
        kept = found[found["ts"] != ERROR_AT].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, expected, check_exact=True)


def split(world, ratio, ts):
    """Let AAA's shares be split at a bar, and the provider have said so a little later."""
    row = {"symbol": "AAA", "kind": "split", "ts": ts, "value": ratio, "source": "files"}
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(ACTIONS, pd.DataFrame([{**row, "known_at": morning(ERROR_AT) + HOURS}]))


def test_a_split_of_a_bar_that_is_an_error_counts_on_the_next_one(town, make_world):
    """Else the new shares would look like a fall of the price, told on the day after."""
    split(town, 1.25, ERROR_AT)
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, LAST)
    other = make_world()
    split(other, 1.25, ERROR_AT)
    day(other, LAST, without=ERROR_AT)
    found, expected = of(town, VERDICTS).iloc[-1], of(other, VERDICTS).iloc[-1]
    assert found["return"] == expected["return"] > 0.2


def test_the_verdict_on_the_labelled_bar_stays_as_history(town):
    """What was told was told; no other instrument's rows change."""
    at = {"ts": ERROR_AT.to_pydatetime()}
    told = town.query("select * from verdicts where ts = %(ts)s order by symbol", **at)
    others = [of(town, VERDICTS, symbol) for symbol in NAMES[1:]]
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, LAST)
    pd.testing.assert_frame_equal(
        town.query("select * from verdicts where ts = %(ts)s order by symbol", **at), told
    )
    assert told["verdict"].tolist()[0] == "anomaly"
    for symbol, before in zip(NAMES[1:], others, strict=True):
        pd.testing.assert_frame_equal(of(town, VERDICTS, symbol).iloc[:-1], before)
    assert len(town.query("select 1 from candles where symbol = 'AAA' and ts = %(ts)s", **at)) == 1


@pytest.mark.parametrize("label", ["confirmed", "expected", "new-regime", "false"])
def test_another_label_changes_nothing(town, label):
    """What was confirmed did happen, and belongs to what later bars are compared with."""
    say(town, label, morning(ERROR_AT) + HOURS)
    assert day(town, LAST).counts["bars_judged"] == 3


def test_an_error_that_is_taken_back_counts_again(town, make_world):
    """The newest label is in force: the bar is judged once more."""
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, LAST)
    say(town, "confirmed", morning(LAST) + HOURS)
    summary = town.run(morning(LAST) + 2 * HOURS, alerts_per_year=1)
    assert summary.counts["bars_judged"] == 400
    other = make_world()
    day(other, LAST)
    for table in (VERDICTS, SCORES, CHANNELS):
        pd.testing.assert_frame_equal(of(town, table), of(other, table), check_exact=True)


def test_a_label_is_not_known_to_a_run_of_an_earlier_instant(town):
    """A run that is repeated says what it said."""
    before = town.everything()
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, ERROR_AT)
    after = town.everything()
    assert [name for name in before if before[name] != after[name]] == ["labels"]


def test_a_fall_on_the_day_after_the_error_is_no_error(town, make_world):
    """A label is said of what was known: what comes later is judged, carried on or rebuilt."""
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, LAST, fall=0.12)
    (newest,) = town.query(
        "select verdict from verdicts where symbol = 'AAA' and ts = %(ts)s",
        ts=LAST.to_pydatetime(),
    )["verdict"]
    assert newest == "anomaly"
    shutil.rmtree(town.folder / "var/lake/state")
    before = town.rows(VERDICTS)
    summary = town.run(morning(LAST) + HOURS, alerts_per_year=1)
    assert summary.counts["bars_judged"] == 3 * 400 - 1
    pd.testing.assert_frame_equal(town.rows(VERDICTS), before)


def test_a_fall_on_the_day_after_the_error_is_told(town):
    """It does not go on with an incident that never was."""
    say(town, "data-error", morning(ERROR_AT) + HOURS)
    day(town, LAST, fall=0.12)
    assert town.alerts("anomaly")["ts"].tolist() == [ERROR_AT, LAST]
