"""What is news: across interrupted runs, changed settings, late bars and absurd data."""

import numpy as np
import pandas as pd
import pytest

from components.entrypoints import views
from components.steps.runner import Runner
from components.tables import VERDICTS
from components.wiring import open_warehouse
from tests.test_daily import _longer
from tests.worlds import DAY, LAST, MORNING, SYMBOLS, history


class Stopped(Exception):
    """Stands for the end of the process before a step."""


class Until(Runner):
    """Stops before the step of that name."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def __call__(self, step, parts, *args):
        """Run the step, or stop."""
        if step.__name__ == self.name:
            raise Stopped
        return super().__call__(step, parts, *args)


def told(world):
    alerts = world.alerts()
    return [(k, *s) for k, s in zip(alerts["kind"], alerts["symbols"], strict=True)]


@pytest.mark.parametrize("first", ["killed", "dry"])
def test_an_alert_survives_a_run_over_fewer_instruments(world, first):
    """Judged and not told, then a finished run without it: the next whole run tells it."""
    world.put_market(AAA=0.3)
    if first == "killed":
        with pytest.raises(Stopped):
            world.run(run=Until("tell"))
    else:
        world.run(dry=True)
    world.run(MORNING + pd.Timedelta(hours=1), symbols="BBB", alerts_per_year=1)
    world.run(MORNING + pd.Timedelta(hours=2), alerts_per_year=1)
    assert ("anomaly", "AAA") in told(world)


def test_another_judge_does_not_tell_the_past_week(world):
    """For a new judge every instrument is new: of it only the newest bar is told."""
    frame = history("AAA")
    frame.loc[len(frame) - 3, ["Low", "Close"]] *= 0.6
    world.put("AAA", frame)
    world.run()
    before = len(world.alerts())
    world.run(MORNING + pd.Timedelta(hours=1), detectors="amplitude_zscore")
    assert all(ts == LAST for ts in world.alerts("anomaly")["ts"].iloc[before:])


def test_settings_that_come_back_leave_no_verdict_of_the_others(world, make_world):
    """Rate 4, then 20, then 4 again: the latest verdicts are those of 4 alone."""
    other = make_world()
    for each, rates in ((world, (4, 20, 4)), (other, (4, 4, 4))):
        each.put_market()
        for day, rate in enumerate(rates):
            for symbol in SYMBOLS:
                frame = _longer(symbol, n_days=day, start_crash=0.0) if day else history(symbol)
                each.put(symbol, frame, MORNING + day * DAY)
            each.run(MORNING + day * DAY, alerts_per_year=rate)
    pd.testing.assert_frame_equal(latest(world), latest(other))


def latest(world):
    rows = world.rows(VERDICTS).drop_duplicates(["symbol", "ts"], keep="last")
    return rows[["symbol", "ts", "verdict", "p", "rate"]].reset_index(drop=True)


def with_gaps():
    """A history that opens a little off the close before: a missing bar is then no odd gap."""
    frame = history("AAA")
    frame["Open"] *= np.exp(np.random.default_rng(5).normal(0, 0.005, len(frame)))
    frame["High"] = frame[["Open", "High"]].max(axis=1)
    frame["Low"] = frame[["Open", "Low"]].min(axis=1)
    return frame


def split_history(is_null):
    """A 4-for-1 split on the last day but one, as Yahoo restates it; its bar may be null."""
    frame = with_gaps()
    day = len(frame) - 2
    frame = frame.assign(Dividends=0.0, **{"Stock Splits": 0.0})
    frame.loc[day, "Stock Splits"] = 4.0
    frame[["Open", "High", "Low", "Close"]] /= 4
    # Before the split because Yahoo restates them, after it because there are more shares.
    frame["Volume"] *= 4
    if is_null:
        frame.loc[day, ["Open", "High", "Low", "Close"]] = float("nan")
    return frame


@pytest.mark.parametrize("is_null", [False, True])
def test_a_split_is_no_alarm_even_when_its_own_bar_is_missing(world, is_null):
    """The split counts on the next bar that there is."""
    world.put("AAA", with_gaps().iloc[:-2], LAST - 2 * DAY)
    world.run(MORNING - 2 * DAY, alerts_per_year=1)
    world.put("AAA", split_history(is_null))
    world.run(alerts_per_year=1)
    assert len(world.alerts("anomaly")) == 0
    moves = world.query('select "return" from verdicts where ts >= %(ts)s', ts=LAST.to_pydatetime())
    assert moves["return"].abs().max() < 0.2


def test_an_alert_that_a_late_bar_explains_is_withdrawn(world):
    """The bar of the fall came late: the next day's alarm was its fall, and is corrected."""
    frame = history("AAA")
    fall = len(frame) - 2
    prices = ["Open", "High", "Low", "Close"]
    frame.loc[fall, ["Low", "Close"]] *= 0.6
    frame.loc[fall + 1, prices] = [frame.loc[fall, "Close"]] * 4
    world.put("AAA", frame.drop(index=fall))
    world.run()
    assert ("anomaly", "AAA") in told(world)
    more = pd.DataFrame([{**frame.iloc[-1], "Date": f"{LAST + DAY:%Y-%m-%d}"}])
    world.put("AAA", pd.concat([frame, more]), MORNING + DAY)
    world.run(MORNING + DAY)
    turned = world.alerts("correction")
    assert LAST in set(turned["ts"])


def test_acknowledging_data_trouble_silences_no_crash(world):
    """Silence about a late file is not silence about the market."""
    world.put_market()
    world.put("AAA", history("AAA").iloc[:-1])
    world.run(alerts_per_year=1)
    (trouble,) = world.alerts("data").to_dict("records")
    with open_warehouse(world.read_settings()) as warehouse:
        views.act(warehouse, trouble["id"], "acknowledge", MORNING)
    world.put("AAA", _longer("AAA", crash=0.3, start_crash=0.0), MORNING + DAY)
    world.run(MORNING + DAY, alerts_per_year=1)
    assert ("anomaly", "AAA") in told(world)


def test_an_acknowledgement_ends_with_the_next_normal_bar(world):
    """Quiet while it lasts; a crash after it was normal again is told."""
    world.put_market(AAA=0.3)
    world.run(symbols="AAA")
    (alert,) = world.alerts("anomaly").to_dict("records")
    with open_warehouse(world.read_settings()) as warehouse:
        views.act(warehouse, alert["id"], "acknowledge", MORNING)
    world.put("AAA", _longer("AAA"), MORNING + DAY)
    world.run(MORNING + DAY, symbols="AAA")
    frame = pd.concat([_longer("AAA"), _longer("AAA", crash=0.3, n_days=2).iloc[-1:]])
    world.put("AAA", frame, MORNING + 2 * DAY)
    world.run(MORNING + 2 * DAY, symbols="AAA")
    assert [a for a in told(world) if a[0] == "anomaly"] == [("anomaly", "AAA")] * 2


@pytest.mark.parametrize(
    ("column", "value"), [("Date", "9999-12-31"), ("Close", 1e308), ("Volume", 1e300)]
)
def test_one_absurd_row_stops_nobody(world, column, value):
    """It is kept aside; the others are judged and told, and so is the next run."""
    world.put_market(AAA=0.3)
    frame = history("BBB").astype({column: object})
    frame.loc[len(frame) - 1, column] = value
    if column == "Close":
        frame = frame.astype({"High": object})
        frame.loc[len(frame) - 1, "High"] = 1.1e308
    world.put("BBB", frame)
    world.run()
    assert ("anomaly", "AAA") in told(world)
    assert len(world.query("select 1 from quarantine where symbol = 'BBB'")) == 1
    world.run(MORNING + pd.Timedelta(hours=1))


def test_replay_judges_each_run_as_it_was_and_keeps_what_waits(world, make_world):
    """Another watch list and rate since then; a mail that never left is still to be sent."""
    import shutil

    from components.steps import replay
    from components.wiring import open_parts

    world.put_market(AAA=0.3)
    dead = {"smtp_url": "smtp://127.0.0.1:9", "alert_to": "analyst@example.com"}
    world.run(**dead)
    world.run(MORNING + pd.Timedelta(hours=1), symbols="CCC", alerts_per_year=20, **dead)
    other = make_world()
    for part in ("raw", "runs"):
        shutil.copytree(world.folder / "var/lake" / part, other.folder / "var/lake" / part)
    other.files.mkdir()
    settings = other.read_settings(symbols="CCC")
    with open_parts(settings, MORNING + DAY, command="replay") as parts:
        replay(parts)
    pd.testing.assert_frame_equal(world.rows(VERDICTS), other.rows(VERDICTS))
    waiting = other.query("select channel from deliveries where delivered_at is null")
    assert waiting["channel"].tolist() == ["email"]


def test_a_dry_run_changes_nothing_of_what_later_ones_judge(world):
    """Trying another budget dry uses nothing up: no verdict and no carried state is kept."""
    world.put_market(AAA=0.3)
    world.run(dry=True, alerts_per_year=1, detectors="volatility_zscore")
    assert len(world.rows(VERDICTS)) == 0
    assert not list((world.folder / "var" / "lake").glob("state/**/*.arrow"))
    world.run(MORNING + pd.Timedelta(hours=1), detectors="volatility_zscore")
    assert ("anomaly", "AAA") in told(world)
