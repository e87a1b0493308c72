"""The benchmark on pumps counts as it says, on small ones made here."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pumps as benchmark
from benchmarks.pump_events import Count, Event, Tally, count, read_events, read_trades, wilson
from benchmarks.pump_judge import alarms, judged, lone, read_minutes, read_pumps, shipped
from benchmarks.pump_large import of_large, told_of
from benchmarks.pump_rivals import (
    CHUNK,
    HOUR,
    chunk_scores,
    hours,
    kamps,
    leave_one_coin_out,
)
from benchmarks.pump_variants import BASE, VARIANTS, below, of_variants, threshold_on, varied
from components.calibration import calibration_of
from components.settings import ENSEMBLE_OF_SHORT
from tests.pumps_made import MINUTE, PUMP, T0, write_large, write_pumps

AT = pd.Timestamp("2021-01-05T17:00", tz="UTC")
EVENT = Event("A", "AAABTC", AT, AT, True, (), AT - 2 * pd.Timedelta(days=1), AT + 3 * HOUR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pumps(tmp_path_factory.mktemp("pumps"))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large(tmp_path_factory.mktemp("large"))


def told(*minutes):
    return pd.DatetimeIndex([AT + minute * MINUTE for minute in minutes])


@pytest.mark.parametrize(
    ("minutes", "delay_s", "n_false"),
    [
        ((), None, 0),
        ((1,), 60, 0),
        ((-2,), -120, 0),
        ((-2.1,), None, 1),
        ((1.1,), None, 0),
        ((60,), None, 0),
        ((60.1,), None, 1),
        ((0, 1, 2), 0, 0),
        ((-31, 1), 60, 1),
        ((-28, 1), None, 1),
        ((-90, -61, -60, 1), 60, 2),
    ],
    ids=str,
)
def test_an_alarm_is_a_hit_false_or_neither(minutes, delay_s, n_false):
    """From two minutes before to one after; half an hour's repeats and the fall do not count."""
    found = count(EVENT, told(*minutes), MINUTE)
    assert len(found.false) == n_false
    assert found.delay_s == delay_s or (delay_s is None and np.isnan(found.delay_s))


def test_the_listed_minute_and_the_checked_chunk_both_bound_the_window():
    """A list says the minute; a chunk that was checked by hand may begin before it or after."""
    early = Event(**{**vars(EVENT), "begins": AT - pd.Timedelta(seconds=25)})
    assert count(early, told(1), MINUTE).delay_s == 85
    assert count(early, told(-2.4), MINUTE).delay_s == -119
    late = Event(**{**vars(EVENT), "begins": AT + pd.Timedelta(seconds=25)})
    assert count(late, told(1.4), MINUTE).delay_s == pytest.approx(59)
    assert count(EVENT, told(59), HOUR).delay_s == 59 * 60


def test_another_listed_pump_of_the_coin_is_not_false():
    """It is a pump, only not the one of this row."""
    twice = Event(**{**vars(EVENT), "others": (AT + 2 * HOUR,)})
    assert not count(twice, told(118, 160), MINUTE).false
    assert len(count(twice, told(117, 181), MINUTE).false) == 2


def test_the_figures_of_a_table_are_those_of_its_counts():
    """Three pumps found of four, one false alarm, one event without a price effect."""
    other = Event(**{**vars(EVENT), "has_effect": False})
    counts = [Count(EVENT, each, ()) for each in (60.0, 30.0, np.nan)]
    counts += [Count(EVENT, 0.0, (AT,)), Count(other, 60.0, ()), Count(other, np.nan, ())]
    tally = Tally(counts)
    assert tally.missed == ["A"]
    assert tally.f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert tally.days == pytest.approx(6 * 2.125)
    row = tally.row()
    assert row["found"] == "3 of 4"
    assert row["precision"].startswith("0.75 [")
    assert row["recall"].startswith("0.75 [")
    assert row["false a day"] == f"{1 / (6 * 2.125):.3f}"
    assert row["delay, s"] == "30 (max 60)"
    assert Tally(counts[2:3]).row()["precision"] == "-"


@given(found=st.integers(0, 24), false=st.integers(0, 40))
def test_the_interval_holds_the_figure(found, false):
    """Wilson's of a share, and through J of F1; both within 0 and 1."""
    counts = [Count(EVENT, 60.0, ())] * found + [Count(EVENT, np.nan, ())] * (24 - found)
    tally = Tally([*counts, Count(EVENT, 60.0, (AT,) * false)])
    low, high = tally.f1_interval
    assert 0 <= low <= tally.f1 <= high <= 1
    low, high = wilson(found, 24)
    assert low - 1e-12 <= found / 24 <= high + 1e-12


def test_wilsons_interval_is_the_published_one():
    """20 of 23: 0.68 to 0.95; of none nothing is known."""
    assert wilson(20, 23) == pytest.approx((0.679, 0.955), abs=0.001)
    assert wilson(0, 0) == (0, 1)


def test_the_shipped_ensemble_finds_the_pumps_through_the_products_door(folder):
    """Both, with the close of the minute in which they begin; nothing else is told."""
    pumps = read_pumps(folder)
    ensemble = shipped(benchmark.PER_WEEK)
    assert ensemble.detectors == ENSEMBLE_OF_SHORT
    tally = pumps.told_by(ensemble)
    assert tally.missed == []
    assert tally.n_false == 0
    assert tally.delays_s == [60, 60]
    found = judged(ensemble, pumps.candles[pumps.events[0].name])
    assert found.panel.steps.max() > 1
    assert alarms(found)[0] == T0 + (PUMP + 1) * MINUTE
    listed = [each for each in tally.counts if not each.event.has_effect]
    assert np.isnan(listed[0].delay_s)


def test_rush_orders_are_a_takers_buys_of_one_millisecond(folder):
    """60 takers bought through three levels each, in one chunk; sales are no rush orders."""
    events = read_events(folder)
    tables = {event.name: chunk_scores(read_trades(folder, event)) for event in events}
    first = tables[events[0].name]
    assert first["large"].idxmax() == T0 + PUMP * MINUTE + CHUNK
    assert first["large"].max() == 60
    assert 60 <= first["orders"].max() < 65
    rows = read_trades(folder, events[0])
    assert first["orders"].sum() == rows[rows["side"] == "buy"]["ts"].nunique()
    assert np.isnan(first["force"][first["large"] == 0]).all()
    for column in ("orders", "large", "force"):
        scores = {name: table[column] for name, table in tables.items()}
        tally = Tally(leave_one_coin_out(events, scores, 0.03, CHUNK))
        assert tally.delays_s == [25, 25], column


def test_a_threshold_comes_from_the_other_coins():
    """What a coin does itself does not set the threshold that it is held against."""
    spans = {"AAABTC": 0.0, "BBBBTC": 5.0}
    events = [Event(**{**vars(EVENT), "name": name, "symbol": name}) for name in spans]
    ts = pd.date_range(EVENT.first + HOUR, EVENT.last, freq="90min")
    quiet = {name: pd.Series(np.arange(len(ts)) / 100 + base, ts) for name, base in spans.items()}
    found = {each.event.name: each for each in leave_one_coin_out(events, quiet, 0.0, CHUNK)}
    # The loud one is above all that the calm one shows; the calm one is below the loud one's.
    assert len(found["BBBBTC"].false) > 20
    assert found["AAABTC"].false == ()


def test_kamps_and_kleinbergs_rule_wants_both_the_price_and_the_volume():
    """Over the means of the twelve hours before; an hour without trade repeats the last close."""
    ts = pd.date_range(AT, periods=20 * 60, freq="min")
    rows = pd.DataFrame({"ts": ts, "symbol": "A", "volume": 10.0})
    rows = rows.assign(**dict.fromkeys(("open", "high", "low", "close"), 1.0))
    rows.loc[rows.index[14 * 60 + 5], "high"] = 1.06
    rows.loc[rows.index[16 * 60 + 5], ["high", "volume"]] = [1.06, 5_000.0]
    rows = rows.drop(rows.index[3 * 60 : 4 * 60])
    hourly = hours(rows)
    assert hourly["volume"].tolist()[2:5] == [600, 0, 600]
    assert hourly["close"].tolist()[3] == 1
    assert kamps(hourly, (0.05, 3.0, 12)).tolist() == [AT + 17 * HOUR]
    # The hour itself is in neither mean: with it the volume would be five times as large, not nine.
    assert kamps(hourly, (0.05, 7.0, 12)).tolist() == [AT + 17 * HOUR]
    assert kamps(hourly, (0.07, 3.0, 12)).empty
    assert kamps(hourly, (0.05, 10.0, 12)).empty
    assert kamps(hourly.iloc[:10], (-1.0, -1.0, 12)).empty


def test_large_coins_are_read_in_series_without_holes(large):
    """What comes after a hole of days is another series; folders without minutes are passed by."""
    found = dict(read_minutes(large))
    assert list(found) == ["spot_1m 1", "spot_1m 2"]
    assert set(found["spot_1m 1"]["symbol"]) == {"DDDUSDT", "EEEUSDT"}
    assert set(found["spot_1m 2"]["symbol"]) == {"EEEUSDT"}
    told = told_of(lone("surge", 2), list(found.values()))
    assert 0.4 < told["days"] < 1.3
    assert told["without repeats"] <= told["alerts"]
    (row,) = of_large({"alone": lone("surge", 2)}, list(found.values()))
    assert row["a week"] == f"{7 * told['alerts'] / told['days']:.2f}"


def test_a_threshold_of_p_keeps_the_rate_on_the_large_coins(large):
    """As many alarms as asked for, and one more at the next p."""
    found = [judged(lone("surge", 2), rows) for _, rows in read_minutes(large)]
    n_decided = sum(np.isfinite(each.agreed_p).sum() for each in found)
    per_day = 2.5 / (n_decided / 1440)
    cut = threshold_on(found, per_day)
    n_told = sum(len(below(e, cut, i)) for e in found for i in range(len(e.agreed_p)))
    assert 1 <= n_told <= 30


def test_a_variant_changes_the_door_for_a_while(folder, large):
    """The shipped numbers are back afterwards."""
    with varied(VARIANTS["tail 4 %"]):
        assert calibration_of("surge").tail == 0.04
    assert calibration_of("surge") == BASE
    parts = [rows for _, rows in read_minutes(large)]
    rows = list(of_variants(read_pumps(folder), parts, 0.21))
    assert rows[0]["found"] == rows[0]["found at p"] == "2 of 2"
    # Each door was another one.
    assert len({row["p"] for row in rows if "p" in row}) > 3
    assert [row["variant"] for row in rows[-2:]] == ["stated rate x 0.5", "stated rate x 2"]


def test_the_table_is_printed(folder, monkeypatch, capsys, tmp_path):
    """Each detector has its row, what was published stands beside, and a picture is drawn."""
    name = read_events(folder)[0].name
    monkeypatch.setattr(benchmark, "CAUGHT", name)
    picture = tmp_path / "pump.png"
    monkeypatch.setattr(sys, "argv", ["pumps", str(folder), "--picture", str(picture)])
    benchmark.main()
    printed = capsys.readouterr().out
    for row in ("shipped for minutes, 0.21 a week", "Kamps and Kleinberg, strict", "rush orders"):
        assert row in printed
    assert "random forest, 25 s" in printed
    assert "without a price effect: CCCBTC" in printed
    assert "bytes" in printed
    assert picture.read_bytes()[:4] == b"\x89PNG"
