"""What is older than is kept leaves the warehouse, and nothing else changes."""

import pandas as pd
import pytest

from components.tables import ALERTS, INCIDENTS, QUARANTINE, SCORES, VERDICTS
from tests.terminal import hurry, run_sql
from tests.worlds import DAY, history

# A run of days of the past gives nothing up: it is of this day, whatever time it is here.
TODAY = pd.Timestamp.now("UTC").floor("D") + pd.Timedelta(hours=12)


@pytest.fixture
def town(world, postgres_server):
    """A market up to this week, with a row years ago that a check refuses."""
    hurry(postgres_server)
    last = (TODAY - 2 * DAY).floor("D")
    last -= max(0, last.day_of_week - 4) * DAY
    for symbol in ("AAA", "BBB", "CCC"):
        frame = history(symbol, last, 600, crash=0.25 if symbol == "AAA" else 0.0)
        frame.loc[100, "High"] = frame.loc[100, "Low"] / 2
        world.put(symbol, frame, TODAY - pd.Timedelta(hours=1))
    return world


def ages(town):
    """The first bar with scores, and how many there are."""
    return town.query("select min(ts) as first, count(*) as n from scores").iloc[0]


def test_old_scores_leave_and_verdicts_and_alerts_stay(town):
    """The same verdicts, alerts and incidents as without; only scores of old bars are gone."""
    assert town.run(TODAY).exit_code == 0
    before = {t.name: town.rows(t) for t in (VERDICTS, ALERTS, INCIDENTS)}
    scores = town.rows(SCORES)
    assert town.run(TODAY, keep_scores_days=100).exit_code == 0
    cut = TODAY - 100 * DAY
    kept = scores[scores["ts"] >= cut].reset_index(drop=True)
    assert 0 < len(kept) < len(scores)
    pd.testing.assert_frame_equal(town.rows(SCORES), kept)
    for table in (VERDICTS, ALERTS, INCIDENTS):
        pd.testing.assert_frame_equal(town.rows(table), before[table.name])


def test_a_rebuilt_state_brings_no_old_scores_back(town):
    """All bars are judged again where the carried state was lost; nothing is told twice."""
    assert town.run(TODAY, keep_scores_days=100).exit_code == 0
    told, first = len(town.messages()), ages(town)
    for path in (town.folder / "var/lake/state").rglob("*.arrow"):
        path.unlink()
    assert town.run(TODAY, keep_scores_days=100).exit_code == 0
    assert (len(town.messages()), list(ages(town))) == (told, list(first))


def test_neither_a_dry_run_nor_one_of_the_past_gives_anything_up(town):
    """They look at what is held, and are no reason to forget it."""
    assert town.run(TODAY).exit_code == 0
    n_scores = ages(town)["n"]
    town.run(TODAY, dry=True, keep_scores_days=60, keep_quarantine_days=60)
    town.run(TODAY - 5 * DAY, keep_scores_days=60, keep_quarantine_days=60)
    assert ages(town)["n"] >= n_scores
    assert len(town.rows(QUARANTINE)) >= 3


def test_old_refused_rows_leave_and_are_not_told_anew(town):
    """Rows kept aside long ago go; the next runs neither fetch nor tell them."""
    assert town.run(TODAY).exit_code == 0
    assert len(town.rows(QUARANTINE)) == 3
    told = len(town.messages())
    with_age(town, "quarantine", 200)
    assert town.run(TODAY, keep_quarantine_days=100).exit_code == 0
    assert town.rows(QUARANTINE).empty
    assert town.run(TODAY, keep_quarantine_days=100).exit_code == 0
    assert town.rows(QUARANTINE).empty
    assert len(town.messages()) == told


def test_refused_bars_at_the_end_stay_so_that_they_are_not_asked_for_and_told_each_day(town):
    """A market that died has nothing behind its refused bars: they are why nobody asks for it."""
    dead = history("DDD", (TODAY - 40 * DAY).floor("D"), 600)
    dead.loc[570:, "High"] = dead.loc[570:, "Low"] / 2
    town.put("DDD", dead, TODAY - pd.Timedelta(hours=1))
    town.run(TODAY)
    with_age(town, "quarantine", 200)
    held = town.rows(QUARANTINE)
    town.run(TODAY, keep_quarantine_days=100)
    left = town.rows(QUARANTINE)
    trailing = held[held["symbol"] == "DDD"].reset_index(drop=True)
    assert len(trailing) >= 20
    bar = ["symbol", "ts", "check_name"]
    pd.testing.assert_frame_equal(left[bar], trailing[bar])


def with_age(town, table, days):
    """Let the rows of a table be as old as that."""
    run_sql(
        town.postgres_url,
        f"update tremor.{table} set known_at = known_at - interval '{days} days'",
    )


@pytest.mark.parametrize("name", ["keep_scores_days", "keep_quarantine_days"])
def test_fewer_days_than_alerts_look_back_are_refused(name, world):
    """What a run still needs is not given up."""
    with pytest.raises(ValueError, match="keep 60 days or more"):
        world.read_settings(**{name: 59})
    assert getattr(world.read_settings(**{name: 60}), name) == 60
