"""The daily run, whole: told once, caught up, corrected, repeated, replayed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from components.tables import CANDLES, DELIVERIES, MARKET, VERDICTS
from tests.worlds import DAY, LAST, MORNING, SYMBOLS, history


def test_a_quiet_day_is_told_to_nobody(world):
    """Nothing unusual: no message, and the run says so."""
    world.put_market()
    summary = world.run(alerts_per_year=1)
    assert summary.exit_code == 0
    assert summary.counts["alerts"] == 0
    assert world.messages() == []
    verdicts = world.query(
        "select verdict from verdicts where ts = %(ts)s", ts=LAST.to_pydatetime()
    )
    assert verdicts["verdict"].tolist() == ["normal"] * 4


def test_an_all_clear_is_sent_once_when_asked_for(world):
    """It proves that the run took place; a repeated run does not repeat it."""
    world.put_market()
    world.run(alerts_per_year=1, all_clear=True)
    world.run(alerts_per_year=1, all_clear=True)
    (message,) = world.messages()
    assert "all clear" in message["Subject"]
    assert len(world.rows(DELIVERIES)) == 2


def test_a_crash_is_told_once_as_one_message(world):
    """Two instruments on one day make one message that names both; a repeat tells nothing."""
    world.put_market(AAA=0.2, BBB=0.15)
    first, second = world.run(), world.run()
    assert (first.exit_code, second.exit_code) == (0, 0)
    (message,) = world.messages()
    assert "2 of 4 instruments unusual" in message["Subject"]
    (alert,) = world.alerts().to_dict("records")
    assert sorted(alert["symbols"]) == ["AAA", "BBB"]
    text = message.get_body(("plain",)).get_content()
    assert "20.0 %" in text
    assert "nan" not in text.lower()
    assert message["Message-ID"]


def test_repeating_a_run_changes_no_byte(world):
    """Same inputs, same bytes: warehouse, lake and outbox stay as they were."""
    world.put_market(AAA=0.2)
    world.run()
    before = world.everything()
    world.run()
    assert world.everything() == before


def test_the_next_day_tells_only_its_own_news(world):
    """Yesterday's crash is not told again, and today's is."""
    world.put_market(AAA=0.2)
    world.run()
    world.put("BBB", _longer("BBB", crash=0.2), MORNING + DAY)
    for symbol in ("AAA", "CCC", "DDD-USD"):
        world.put(symbol, _longer(symbol), MORNING + DAY)
    summary = world.run(MORNING + DAY)
    assert summary.counts["candles_new"] == 4
    assert [list(s) for s in world.alerts("anomaly")["symbols"]] == [["AAA"], ["BBB"]]


def _longer(symbol, crash=0.0, n_days=1, start_crash=0.2):
    """The history that follows the one ending at LAST, some days longer."""
    first = history(symbol, crash=start_crash if symbol == "AAA" else 0.0)
    days = pd.bdate_range(LAST + DAY, periods=n_days)
    close = first["Close"].iloc[-1] * np.r_[[1.001] * (n_days - 1), 1 - crash if crash else 1.001]
    open_ = np.r_[first["Close"].iloc[-1], close[:-1]]
    more = pd.DataFrame(
        {
            "Date": days.strftime("%Y-%m-%d"),
            "Open": open_,
            "High": np.maximum(open_, close) * 1.002,
            "Low": np.minimum(open_, close) * 0.998,
            "Close": close,
            "Volume": 5_000,
        }
    )
    return pd.concat([first, more], ignore_index=True)


def test_a_missed_day_is_caught_up(world):
    """Nobody ran for three days: the next run tells what happened meanwhile, under its own day."""
    world.put_market(AAA=0.2)
    world.run()
    for symbol in SYMBOLS[:3]:
        frame = _longer(symbol, n_days=3)
        if symbol == "CCC":
            frame = pd.concat([_longer("CCC", crash=0.25), frame.iloc[-2:]], ignore_index=True)
        world.put(symbol, frame, MORNING + 3 * DAY)
    world.run(MORNING + 3 * DAY, symbols="AAA,BBB,CCC")
    told = world.alerts("anomaly")
    when = (LAST + DAY).to_pydatetime()
    assert ["CCC" in s for s in told.loc[told["ts"] == when, "symbols"]] == [True]


def test_an_instrument_that_is_new_does_not_tell_its_history(world):
    """Of ten years that come at once only the newest bar is news."""
    frame = history("AAA")
    frame.loc[len(frame) - 4 :, "Close"] *= 0.7
    frame["Low"] = frame[["Open", "Low", "Close"]].min(axis=1)
    frame["High"] = frame[["Open", "High", "Close"]].max(axis=1)
    world.put("AAA", frame)
    world.run()
    assert all(ts == LAST for ts in world.alerts("anomaly")["ts"])
    verdicts = world.query("select count(*) as n from verdicts where verdict = 'anomaly'")
    assert verdicts["n"].iloc[0] > 0


def test_a_late_correction_is_a_new_version_and_told_if_the_verdict_turned(world):
    """The provider takes back a bad price: the first version stays, and the alert is corrected."""
    world.put_market(AAA=0.3)
    world.run()
    frame = _longer("AAA", start_crash=0.0)
    world.put("AAA", frame, MORNING + DAY)
    for symbol in SYMBOLS[1:]:
        world.put(symbol, _longer(symbol), MORNING + DAY)
    world.run(MORNING + DAY)
    versions = world.query(
        "select close from candles where symbol = 'AAA' and ts = %(ts)s order by known_at",
        ts=LAST.to_pydatetime(),
    )
    assert len(versions) == 2
    (alert,) = world.alerts("correction").to_dict("records")
    assert alert["symbols"] == ["AAA"]
    (text,) = [json.dumps(p) for p in world.alerts("correction")["payload"]]
    assert "after the provider's correction it is normal" in text
    before = len(world.messages())
    world.run(MORNING + DAY)
    assert len(world.messages()) == before


def test_a_correction_that_turns_nothing_is_kept_and_not_told(world):
    """A cent more on an old close is no news."""
    world.put_market()
    world.run(alerts_per_year=1)
    for symbol in SYMBOLS:
        frame = _longer(symbol, start_crash=0.0)
        if symbol == "BBB":
            frame.loc[398, "Volume"] += 1
        world.put(symbol, frame, MORNING + DAY)
    world.run(MORNING + DAY, alerts_per_year=1)
    assert len(world.alerts("correction")) == 0
    n_versions = world.query(
        "select count(*) as n from candles where symbol = 'BBB' group by ts order by n desc limit 1"
    )
    assert n_versions["n"].iloc[0] == 2


def test_a_day_costs_a_day(world):
    """The second run judges the new bars alone, from the carried state."""
    world.put_market(AAA=0.2)
    assert world.run().counts["bars_judged"] == 1600
    for symbol in SYMBOLS:
        world.put(symbol, _longer(symbol), MORNING + DAY)
    summary = world.run(MORNING + DAY)
    assert summary.counts["bars_judged"] == 4


@pytest.mark.parametrize("spoil", ["missing", "unreadable"])
def test_a_lost_state_is_rebuilt_with_the_same_result(world, make_world, spoil):
    """A carried state is a cache: the verdicts are the same without it."""
    other = make_world()
    for each in (world, other):
        each.put_market(AAA=0.2)
        each.run()
    for path in (other.folder / "var/lake/state").rglob("*.arrow"):
        if spoil == "missing":
            path.unlink()
        else:
            path.write_bytes(b"no arrow file")
    for each in (world, other):
        for symbol in SYMBOLS:
            each.put(symbol, _longer(symbol, crash=0.1 if symbol == "BBB" else 0), MORNING + DAY)
        each.run(MORNING + DAY)
    pd.testing.assert_frame_equal(world.rows(VERDICTS), other.rows(VERDICTS))
    pd.testing.assert_frame_equal(world.rows(MARKET), other.rows(MARKET))


def test_replay_rebuilds_everything_from_the_raw_layer(world, make_world):
    """Warehouse and processed layer lost: the raw layer and the manifests give the same again."""
    from components.steps import replay
    from components.wiring import open_parts

    world.put_market(AAA=0.2)
    world.run()
    for symbol in SYMBOLS:
        world.put(symbol, _longer(symbol, crash=0.1 if symbol == "BBB" else 0), MORNING + DAY)
    world.run(MORNING + DAY)
    before = world.everything()

    other = make_world()
    lake, copy = world.folder / "var/lake", other.folder / "var/lake"
    for part in ("raw", "runs"):
        shutil.copytree(lake / part, copy / part)
    shutil.copytree(world.folder / "var/outbox", other.folder / "var/outbox")
    other.files.mkdir(parents=True)
    settings = other.read_settings(symbols=",".join(SYMBOLS))
    with open_parts(settings, MORNING + 2 * DAY, command="replay") as parts:
        replay(parts)
    after = other.everything()
    assert set(after) == set(before)
    different = [name for name in before if before[name] != after[name]]
    assert different == []
    for symbol in SYMBOLS:
        other.put(symbol, _longer(symbol, crash=0.1 if symbol == "BBB" else 0), MORNING + DAY)
    other.run(MORNING + DAY)
    assert len(other.messages()) == len(world.messages())


def test_a_bar_that_had_not_closed_is_not_judged(world):
    """A file saved in the middle of the session: its last row waits for the finished one."""
    world.put_market()
    world.put("AAA", history("AAA", crash=0.4), observed_at=LAST + pd.Timedelta(hours=17))
    world.run(alerts_per_year=1)
    bars = world.query("select max(ts) as ts from candles where symbol = 'AAA'")
    assert bars["ts"].iloc[0] < LAST
    kept = world.query("select check_name from quarantine where symbol = 'AAA'")
    assert kept["check_name"].tolist() == ["unfinished_bar"]


def test_young_instruments_are_undecided_with_the_bars_that_lack(world):
    """Too young is not normal, and never an error."""
    world.put("AAA", history("AAA", n_bars=100, crash=0.5))
    world.put("BBB", history("BBB", n_bars=1))
    summary = world.run()
    assert summary.exit_code == 0
    rows = world.query(
        "select symbol, verdict, bars_lacking from verdicts where ts = %(ts)s order by symbol",
        ts=LAST.to_pydatetime(),
    )
    assert rows["verdict"].tolist() == ["undecided"] * 2
    assert rows["bars_lacking"].tolist() == [341 - 99, 341]


def test_a_missing_bar_is_told_as_data_trouble_and_a_weekend_is_not(world):
    """One session is absent from one file: it is named once."""
    world.put_market()
    frame = history("AAA")
    world.put("AAA", frame.drop(index=len(frame) - 3))
    world.run(alerts_per_year=1)
    world.run(alerts_per_year=1)
    (alert,) = world.alerts().to_dict("records")
    assert alert["kind"] == "data"
    assert alert["symbols"] == ["AAA"]
    (note,) = alert["payload"]["notes"]
    assert "1 bar missing (2024-03-08)" in note
    assert len(world.messages()) == 1


def test_stale_data_is_told_once_until_it_recovers(world):
    """A file that is no longer updated: told when it is late, not every day."""
    world.put_market()
    world.run(alerts_per_year=1, symbols="AAA,BBB,CCC")
    for n_days in (1, 2, 3):
        for symbol in SYMBOLS[1:3]:
            frame = _longer(symbol, n_days=n_days, start_crash=0.0)
            world.put(symbol, frame, MORNING + n_days * DAY)
        world.run(MORNING + n_days * DAY, alerts_per_year=1, symbols="AAA,BBB,CCC")
    late = world.alerts("data")
    assert [list(s) for s in late["symbols"]] == [["AAA"]]


def test_a_dry_run_tells_nobody_and_the_next_run_tells(world, capsys):
    """It prints what it would tell, and uses nothing up."""
    world.put_market(AAA=0.2)
    world.run(dry=True)
    assert "AAA" in capsys.readouterr().out
    assert world.messages() == []
    world.run()
    assert len(world.messages()) == 1


def test_snoozed_acknowledged_and_labelled(world):
    """Quiet until a date; quiet until a normal bar; a finding is kept."""
    from components.entrypoints import views
    from components.wiring import open_warehouse

    world.put_market(AAA=0.2, BBB=0.2)
    world.run()
    (alert,) = world.alerts().to_dict("records")
    with open_warehouse(world.read_settings()) as warehouse:
        views.act(warehouse, alert["id"], "snooze", MORNING, until=MORNING + 10 * DAY)
        views.act(warehouse, alert["id"], "label", MORNING, label="confirmed", note="real")
        shown = views.alert(warehouse, alert["id"])
    assert {said["action"] for said in shown["said"]} == {"snooze", "label"}
    for symbol in SYMBOLS:
        frame = _longer(symbol, crash=0.3 if symbol in ("AAA", "CCC") else 0)
        world.put(symbol, frame, MORNING + DAY)
    world.run(MORNING + DAY)
    assert [sorted(s) for s in world.alerts("anomaly")["symbols"]] == [["AAA", "BBB"], ["CCC"]]


def test_only_the_base_rule_when_it_is_selected(world):
    """TREMOR_DETECTORS=amplitude_zscore: exactly the base system's decision."""
    from tests import naive

    world.put_market(AAA=0.2)
    world.run(detectors="amplitude_zscore")
    candles = world.rows(CANDLES)
    verdicts = world.rows(VERDICTS).set_index(["symbol", "ts"])
    for symbol, rows in candles.groupby("symbol"):
        scores = naive.amplitude_zscore((rows["close"] - rows["open"]).to_numpy())
        judged = verdicts.loc[symbol].reindex(rows["ts"])
        assert ((judged["verdict"] == "anomaly").to_numpy() == (scores > 3)).all()
        assert (judged["p"].dropna() > 0).all()


def test_the_report_is_one_page_that_asks_for_nothing(world):
    """Self-contained: no address outside of the page."""
    world.put_market(AAA=0.2)
    summary = world.run()
    page = (world.folder / "var/lake" / "runs" / summary.id / "report.html").read_text()
    assert "AAA" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    manifest = json.loads(
        (world.folder / "var/lake/runs" / summary.id / "manifest.json").read_text()
    )
    assert manifest["settings"]["source"] == "files"
    assert manifest["read"]
    assert manifest["seconds"]


def test_a_first_run_that_was_killed_loses_no_alert(world):
    """It had judged and told nothing: the next day's run tells that day's crash as well."""
    from components.steps.runner import Runner

    class Killed(Exception):
        """Stands for the end of the process before anything was told."""

    class UntilTell(Runner):
        def __call__(self, step, parts, *args):
            if step.__name__ == "tell":
                raise Killed
            return super().__call__(step, parts, *args)

    world.put_market(AAA=0.2)
    with pytest.raises(Killed):
        world.run(run=UntilTell())
    for symbol in SYMBOLS:
        world.put(symbol, _longer(symbol), MORNING + DAY)
    world.run(MORNING + DAY)
    assert [list(s) for s in world.alerts("anomaly")["symbols"]] == [["AAA"]]
    assert world.alerts("anomaly")["ts"].tolist() == [LAST]
