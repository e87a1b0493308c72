"""The parts of the evaluation: plants, scores, intervals, rates, the market without anomalies."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components import checks
from components.documents import plain
from components.errors import SettingsError
from components.evaluation.assess import NO_LABELS
from components.evaluation.dated import coin, dated_recall, is_meant, wilson
from components.evaluation.finding import (
    Trial,
    aside_within,
    average_precision,
    planted_scores,
    windows,
    with_aside,
)
from components.evaluation.intake import admit
from components.evaluation.labelled import labelled_bars
from components.evaluation.null import DRIFT, quiet_market
from components.evaluation.plants import GAP, KINDS, PRICES, REACH, SPREAD, planted, sigma_before
from components.evaluation.realised import realised_rates, terciles, trailing_volatility
from components.evaluation.study import block_mean, event_study
from components.evaluation.told import Told, at_random, with_market
from components.evaluation.vus import soft_labels, vus_pr
from components.sessions import Calendars
from components.steps.evaluate import read_events, shipped_events
from components.tables import QUARANTINE
from tests import naive

CALENDARS = Calendars()
FIELDS = [*PRICES, "volume"]
seeds = st.integers(0, 2**20)

# Kinds that move the level of all later prices as well.
LASTING = {"jump_with_volume", "jump_without_volume", "volatility_burst"}


def market(n_series=3, n_bars=700, seed=0):
    """Instruments that trade every weekday."""
    return quiet_market(n_series, n_bars, seed)


def live_of(candles, skip=100):
    return {
        str(symbol): pd.DatetimeIndex(rows["ts"].iloc[skip:])
        for symbol, rows in candles.groupby("symbol")
    }


def told_of(n_series=2, n_bars=2000, *, surprise=None, alert=None, seed=0, undecided=100):
    """What a method that throws dice told, unless said otherwise."""
    random = np.random.default_rng(seed)
    if surprise is None:
        surprise = random.random((n_series, n_bars))
    surprise = np.array(surprise, dtype=float)
    surprise[:, :undecided] = np.nan
    is_alert = surprise > 0.98 if alert is None else np.array(alert)
    ts = np.datetime64("2015-01-01", "us") + np.arange(n_bars) * np.timedelta64(1, "D")
    return Told(
        symbols=tuple(f"S{i}" for i in range(n_series)),
        ts=np.tile(ts, (n_series, 1)),
        is_alert=is_alert,
        level=np.where(is_alert, 2, 0),
        surprise=surprise,
        move=0.01 * random.standard_normal(surprise.shape),
        scale=np.full(surprise.shape, 0.01),
        per_year=np.full(n_series, 365.0),
    )


def plants_in(told, every=130, width=1, kind="volume_burst", size=1):
    rows = [
        (symbol, kind, size, told.ts[series, at], told.ts[series, at + width - 1])
        for series, symbol in enumerate(told.symbols)
        for at in range(200, told.ts.shape[1] - 20, every)
    ]
    plants = pd.DataFrame(rows, columns=["symbol", "kind", "size", "ts", "until"])
    for name in ("ts", "until"):
        plants[name] = pd.DatetimeIndex(plants[name]).tz_localize("UTC")
    return plants.assign(is_aside=False)


@given(seeds)
def test_plants_touch_their_own_bars_alone(seed):
    """Nothing before a plant changes, and after it only the level of prices does."""
    candles = market(2, 400, seed)
    changed, plants = planted(candles, live_of(candles), seed)
    for symbol, rows in candles.groupby("symbol"):
        before = rows.sort_values("ts").reset_index(drop=True)
        after = changed[changed["symbol"] == symbol].sort_values("ts").reset_index(drop=True)
        own = plants[plants["symbol"] == symbol]
        starts = [int(before["ts"].searchsorted(ts)) for ts in own["ts"]]
        ends = [int(before["ts"].searchsorted(ts)) for ts in own["until"]]
        touched = np.zeros(len(before), dtype=bool)
        level = np.ones(len(before))
        for start, end, kind in zip(starts, ends, own["kind"], strict=True):
            touched[start : max(end, start + 1) + 1] = True
            if kind in LASTING:
                level[end + 1 :] = after["close"][end + 2] / before["close"][end + 2]
        ratio = (after[FIELDS] / before[FIELDS])[~touched]
        np.testing.assert_allclose(ratio["volume"], 1)
        for name in PRICES:
            np.testing.assert_allclose(ratio[name], level[~touched], rtol=1e-9)


@given(seeds)
def test_the_same_seed_plants_the_same_whoever_else_is_there(seed):
    """An evaluation can be repeated, and a subset is a part of the whole."""
    candles = market(3, 300, 1)
    changed, plants = planted(candles, live_of(candles), seed)
    again, plants_again = planted(candles.sample(frac=1, random_state=1), live_of(candles), seed)
    pd.testing.assert_frame_equal(
        changed.sort_values(["symbol", "ts"], ignore_index=True),
        again.sort_values(["symbol", "ts"], ignore_index=True),
    )
    pd.testing.assert_frame_equal(plants, plants_again)
    one = candles[candles["symbol"] == "NULL001"]
    alone, plants_alone = planted(one, live_of(one), seed)
    same = changed[changed["symbol"] == "NULL001"]
    pd.testing.assert_frame_equal(
        alone.reset_index(drop=True), same.sort_values("ts").reset_index(drop=True)
    )
    assert len(plants_alone) == (plants["symbol"] == "NULL001").sum()


def test_plants_have_all_kinds_and_sizes_and_room():
    """About one in 130 bars, each at a bar that is judged, none over another."""
    candles = market(20, 1500)
    live = live_of(candles, skip=300)
    _, plants = planted(candles, live, 5)
    assert set(plants["kind"]) == set(KINDS)
    assert set(plants["size"]) == {0, 1, 2}
    assert 120 < 20 * 1200 / len(plants) < 140
    for symbol, own in plants.groupby("symbol"):
        assert own["ts"].isin(live[symbol]).all()
        steps = np.diff([live[symbol].get_loc(ts) for ts in own["ts"]])
        assert steps.min() >= GAP
        assert steps.max() < GAP + SPREAD
    assert GAP > 4 * REACH


def test_no_plant_stands_on_a_split_or_without_the_volume_that_it_needs():
    """A day on which the unit of prices changes would hide or double it."""
    candles = market(1, 3000).assign(split=2.0)
    _, plants = planted(candles, live_of(candles), 0)
    assert plants.empty
    _, plants = planted(candles.assign(split=1.0, volume=0.0), live_of(candles), 0)
    assert len(plants)
    assert "volume_burst" not in set(plants["kind"])


def test_the_volatility_of_plants_is_known_before_their_bar():
    """1.4826 median absolute deviations of the sixty returns before."""
    candles = market(1, 200)
    close = candles["close"].to_numpy()
    moves = np.diff(np.log(close))
    sigma = sigma_before(close, np.ones(len(close)))
    past = moves[100 - 60 - 1 : 100 - 1]
    expected = 1.4826 * np.median(np.abs(past - np.median(past)))
    assert sigma[100] == pytest.approx(expected)


def test_the_checks_keep_nothing_aside_but_plants_that_they_name_rightly():
    """What is wrong as data may be kept aside; all else must be judged."""
    candles = market(20, 1500)
    changed, plants = planted(candles, live_of(candles), 3)
    before, after = admit(candles, CALENDARS).aside, admit(changed, CALENDARS).aside
    keys = ["symbol", "ts"]
    new = after[~after.set_index(keys).index.isin(before.set_index(keys).index)]
    fitting = with_aside(plants, after).query("is_aside")
    assert {kind for kind in fitting["kind"] if not KINDS[kind].checks} == set()
    held = new.merge(fitting, on="symbol", suffixes=("_row", ""))
    held = held[(held["ts_row"] >= held["ts"]) & (held["ts_row"] <= held["until"])]
    assert len(held) == len(new)
    assert set(after["check_name"]) <= checks.TOLD


def test_a_wrong_price_that_a_check_names_counts_as_found():
    """Pence for pounds: kept aside as data trouble, within the plant's window, by its name."""
    candles = market(1, 300)
    candles.loc[200, ["open", "high", "low", "close"]] *= 100
    admitted = admit(candles, CALENDARS)
    ts = candles["ts"][200]
    assert admitted.aside.to_dict("records") == [
        {"symbol": "NULL000", "ts": ts, "check_name": "hundredfold"}
    ]
    plants = pd.DataFrame(
        {
            "symbol": "NULL000",
            "kind": ["bad_tick", "volume_burst", "bad_tick"],
            "size": 1,
            "ts": [ts, ts, ts - pd.Timedelta(days=9)],
            "until": [ts, ts, ts - pd.Timedelta(days=8)],
        }
    )
    assert with_aside(plants, admitted.aside)["is_aside"].tolist() == [True, False, False]
    assert len(admitted.candles) == 299


def test_a_split_of_a_bar_that_was_kept_aside_counts_on_the_next():
    """The price halves for good; the return must not show it."""
    candles = market(1, 300)
    candles.loc[candles.index >= 200, list(PRICES)] /= 2
    candles.loc[200, "split"] = 2.0
    candles.loc[200, "high"] = 0.01
    kept = admit(candles, CALENDARS).candles
    assert len(kept) == 299
    assert kept["split"][kept["split"] != 1].to_dict() == {200: 2.0}


def test_a_perfect_score_has_precision_one_and_a_random_one_near_chance():
    """The two ends of every measure, so that the middle means something."""
    told = told_of(8)
    plants = plants_in(told)
    _, within = windows(told, plants)
    perfect = told_of(8, surprise=within * 1.0, alert=within)
    found = planted_scores([Trial(perfect, plants)])
    kind = found["by_kind"]["volume_burst"]
    assert kind["average_precision"] == pytest.approx(1)
    assert kind["recall"]["middle"] == pytest.approx(1)
    assert found["vus_pr"] > 0.6
    assert found["by_level"]["MEDIUM"]["precision"] == 1
    dice = planted_scores([Trial(told, plants)])
    kind = dice["by_kind"]["volume_burst"]
    assert kind["average_precision"] < 0.05
    assert abs(kind["recall"]["middle"]) < 0.05
    assert kind["chance"]["middle"] == pytest.approx(0.02, abs=0.01)
    assert dice["vus_pr"] < 0.1


def test_chance_grows_with_the_window():
    """Whoever cries all the time is not praised for wide windows."""
    told = told_of(8)
    narrow, wide = (plants_in(told, width=width) for width in (1, 10))
    one = planted_scores([Trial(told, narrow)])["by_kind"]["volume_burst"]
    ten = planted_scores([Trial(told, wide)])["by_kind"]["volume_burst"]
    assert ten["found"]["middle"] > 0.1
    assert ten["chance"]["middle"] == pytest.approx(1 - (1 - one["chance"]["middle"]) ** 10, 0.05)
    assert abs(ten["recall"]["middle"]) < 0.08


def test_what_was_kept_aside_is_found_and_told_apart():
    """Found is one or the other; both shares stand beside it."""
    told = told_of(2, alert=np.zeros((2, 2000), dtype=bool))
    plants = plants_in(told)
    held = told.surprise.copy()
    _, within = windows(told, plants)
    held[within] = np.nan
    told = Told(**{**vars(told), "surprise": held})
    rows = plants[["symbol", "ts"]].assign(check_name="copied_bar")
    aside = aside_within(plants.assign(kind="frozen_price"), rows)
    assert aside["is_fit"].all()
    plants = plants.assign(is_aside=True)
    found = planted_scores([Trial(told, plants, aside)])
    assert found["vus_pr"] > 0.6
    assert np.isnan(found["vus_pr_told"])
    unnamed = planted_scores([Trial(told, plants, aside.assign(is_fit=False))])
    assert unnamed["vus_pr"] < 0.2
    assert (found["told"], found["kept_aside"]) == (0, 1)
    assert (found["recall_told"], found["recall_kept_aside"]) == (0, 1)
    assert np.isnan(found["average_precision_told"])
    assert found["by_kind"]["volume_burst"]["found"]["middle"] == 1
    assert found["by_kind"]["volume_burst"]["average_precision"] == 1
    assert np.isnan(found["by_kind"]["pump"]["average_precision"])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), max_size=30),
    st.floats(1, 8),
)
def test_average_precision_equals_its_definition(plants, outside, weight):
    """At each plant's own score, what is told that is true, over all that is told."""
    expected = []
    for score in plants:
        hits = weight * sum(other >= score for other in plants)
        expected.append(hits / (hits + sum(other >= score for other in outside)))
    found = average_precision(np.array(plants, float), np.array(outside, float), weight)
    assert found == pytest.approx(np.mean(expected))


def test_a_plant_that_no_score_saw_has_no_precision():
    """Undecided bars find nothing, however few there are."""
    assert average_precision(np.array([-np.inf, 1.0]), np.array([])) == 0.5
    assert np.isnan(average_precision(np.array([]), np.array([1.0])))


@st.composite
def labelled(draw):
    """A short series with ranges, and scores with ties or without."""
    n = draw(st.integers(8, 60))
    flags = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)), dtype=float)
    return flags, scores + draw(st.sampled_from([0.0, 1e-3])) * np.arange(n)


@given(labelled(), st.integers(0, 12))
@example((np.array([True] + [False] * 9), np.zeros(10)), 4)
@example((np.zeros(10, dtype=bool), np.zeros(10)), 4)
def test_vus_equals_its_slow_twin(case, longest):
    """Threshold by threshold and buffer by buffer, as the paper writes it."""
    flags, scores = case
    np.testing.assert_allclose(
        vus_pr(flags, scores, longest), naive.vus_pr(flags, scores, longest), rtol=1e-9
    )


def test_where_nothing_was_kept_aside_the_judge_alone_counts():
    """The checks then give a table without rows, whose times are of no type."""
    told = told_of(2)
    plants = plants_in(told)
    none = aside_within(plants, pd.DataFrame(columns=list(QUARANTINE.columns)))
    found = planted_scores([Trial(told, plants, none)])
    assert found["vus_pr"] == pytest.approx(found["vus_pr_told"])


def test_vus_forgives_a_late_alarm_and_praises_a_timely_one():
    """A bar late is worth less than on time and more than far away."""
    flags = np.zeros(300, dtype=bool)
    flags[100:103] = True
    on_time, late, far = (np.where(np.arange(300) == at, 1.0, 0.0) for at in (101, 104, 200))
    worth = [vus_pr(flags, score) for score in (on_time, late, far)]
    assert worth == sorted(worth, reverse=True)
    assert worth[0] > worth[1] > worth[2]
    assert vus_pr(flags, np.where(flags, 1.0, 0.0)) > 0.9


def test_soft_labels_fall_off_to_half_the_buffer():
    """sqrt(1 - d / l) up to l / 2, on both sides, and never above 1."""
    label = soft_labels(11, np.array([5]), np.array([5]), 4)
    np.testing.assert_allclose(label[3:8], np.sqrt([0.5, 0.75, 1, 0.75, 0.5]))
    assert not label[[0, 1, 2, 8, 9, 10]].any()


def test_rates_count_each_instrument_by_its_own_year():
    """A share has 252 bars a year and a coin 365; undecided bars are not lived."""
    told = told_of(2, 1100)
    alert = np.zeros((2, 1100), dtype=bool)
    alert[:, 150::100] = True
    alert[:, 50] = True
    uneven = Told(**{**vars(told), "is_alert": alert, "per_year": np.array([250.0, 500.0])})
    rates = realised_rates(uneven)
    assert rates["n_alerts"] == 20
    assert rates["instrument_years"] == pytest.approx(1000 / 250 + 1000 / 500)
    assert rates["pooled"] == pytest.approx(20 / 6)
    p10, p90 = (rates["by_instrument"][name] for name in ("p10", "p90"))
    assert (p10, p90) == (pytest.approx(2.75), pytest.approx(4.75))
    whole = sum(year["instrument_years"] for year in rates["by_year"].values())
    assert whole == pytest.approx(6)
    assert {year["n_instruments"] for year in rates["by_year"].values()} == {2}


def test_only_long_lived_instruments_are_ranked_when_there_are_any():
    """A rate over half a year is chance."""
    told = told_of(2, 2400)
    surprise = told.surprise.copy()
    surprise[1, :2200] = np.nan
    short = Told(**{**vars(told), "surprise": surprise})
    assert realised_rates(short)["by_instrument"]["n_instruments"] == 1


@given(seeds)
def test_terciles_are_thirds_of_an_instruments_own_bars(seed):
    """Whatever its volatility, a third of an instrument's decided bars is in each."""
    random = np.random.default_rng(seed)
    move = random.standard_t(3, (2, 400)) * np.array([[0.001], [0.2]])
    move[0, :30] = np.nan
    volatility = trailing_volatility(move)
    np.testing.assert_allclose(volatility[1, 200], move[1, 140:200].std())
    assert np.isnan(volatility[0, :90]).all()
    decided = np.ones(move.shape, dtype=bool)
    tercile = terciles(volatility, decided)
    for row in tercile:
        counts = np.bincount(row[row >= 0], minlength=3)
        assert counts.max() - counts.min() <= 2
    assert (tercile[np.isnan(volatility)] == -1).all()


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilsons_interval_holds_the_share_and_stays_within_bounds(n_true, n):
    """And it narrows as n grows."""
    n_true = min(n_true, n)
    low, high = wilson(n_true, n)
    assert 0 <= low <= n_true / n <= high <= 1
    low4, high4 = wilson(4 * n_true, 4 * n)
    assert high4 - low4 < high - low


def test_wilsons_interval_as_tables_have_it():
    """20 of 23: 0.68 to 0.95."""
    assert wilson(20, 23) == (pytest.approx(0.679, abs=1e-3), pytest.approx(0.955, abs=1e-3))
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize("name", ["BTC-USD", "BTCUSDT", "BTC_USDT", "BTC-USDT", "BTC"])
def test_a_coin_is_known_by_its_letters(name):
    """Each provider writes it otherwise."""
    calendars = Calendars({"BTC": "24/7"})
    assert coin(name) == "BTC"
    assert is_meant("BTC-USD", name, calendars)
    assert not is_meant("ETH-USD", name, calendars)


def test_a_share_is_not_the_coin_of_the_same_letters():
    """LINK is a share in New York as well."""
    assert not is_meant("LINK-USD", "LINK", CALENDARS)
    assert not is_meant("C", "C-USD", CALENDARS)
    assert is_meant("C", "C", CALENDARS)


def test_events_count_on_the_day_or_the_next_bar_and_undecided_ones_apart():
    """News after the close moves the next session; what has no bar is no miss."""
    alert = np.zeros((1, 2000), dtype=bool)
    alert[0, [300, 501]] = True
    told = told_of(1, alert=alert)
    days = pd.DatetimeIndex(told.ts[0])
    at = [300, 500, 502, 20, 700]
    events = pd.DataFrame(
        {"symbol": ["S0"] * 5 + ["S9"], "date": [*days[at], days[300]], "what": "news"}
    )
    events.loc[len(events)] = ["S0", pd.Timestamp("1999-01-04"), "before all bars"]
    found = dated_recall(told, events, CALENDARS)
    assert (found["recall"], found["n"], found["n_undecided"]) == (0.5, 4, 1)
    assert found["missed"] == [f"S0 {days[i].date()}" for i in (502, 700)]
    nothing = dated_recall(told, events.iloc[:0], CALENDARS)
    assert nothing["n"] == 0
    assert np.isnan(nothing["recall"])


def test_labelled_bars_are_asked_after_where_there_is_a_verdict():
    """Right and false ones among the told; errors of the data are neither."""
    alert = np.zeros((1, 2000), dtype=bool)
    alert[0, [300, 400, 500, 600]] = True
    told = told_of(1, alert=alert)
    at = [300, 400, 500, 600, 700, 20]
    labels = pd.DataFrame(
        {
            "symbol": "S0",
            "ts": pd.DatetimeIndex(told.ts[0, at]).tz_localize("UTC"),
            "label": ["confirmed", "expected", "false", "data-error", "false", "confirmed"],
        }
    )
    found = labelled_bars(told, labels)
    assert (found["n"], found["right"], found["wrong"]) == (5, 2, 1)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["by_label"]["false"] == {"n": 2, "told": 0.5}
    assert labelled_bars(told, NO_LABELS) == {
        "n": 0, "precision": None, "right": 0, "wrong": 0, "data_error": 0, "unlabelled": 0,
        "by_label": {},
    }  # fmt: skip


def test_the_list_that_ships_is_frozen():
    """110 dates, no day twice, each with what happened; none is tuned to."""
    events = shipped_events()
    assert len(events) == 110
    assert not events.duplicated(["symbol", "date"]).any()
    assert (events["what"].str.len() > 5).all()
    assert events["symbol"].str.endswith("-USD").sum() == 38


def test_the_volatility_after_alerts_is_held_against_what_was_known_before():
    """Alerts before wild weeks: above 1; random ones: about 1; returns: no pattern."""
    told = told_of(4, seed=3)
    move = told.move.copy()
    alert = np.zeros(move.shape, dtype=bool)
    alert[:, 150:1900:60] = True
    for after in range(1, 6):
        move[:, 150 + after : 1900 + after : 60] *= 3
    wild = Told(**{**vars(told), "move": move, "is_alert": alert})
    study = event_study(wild)
    low, high = study["interval"]
    assert 2.3 < low < study["volatility_ratio"] < high < 3.3
    assert study["return"]["told"] == "no pattern"
    assert study == event_study(wild)
    random = event_study(at_random(told, 8, 1))
    assert random["volatility_ratio"] == pytest.approx(0.95, abs=0.05)
    assert event_study(told_of(1, alert=np.zeros((1, 2000), dtype=bool)))["n"] == 0


def test_an_interval_by_months_is_wider_where_months_move_together():
    """Two hundred alerts of one crash are one observation."""
    random = np.random.default_rng(0)
    months = np.repeat(np.arange(30), 20)
    alone = random.standard_normal(600)
    together = np.repeat(random.standard_normal(30), 20)
    (_, narrow), (_, wide) = (block_mean(values, months, 0) for values in (alone, together))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_random_alerts_come_at_the_stated_rate_where_the_judge_decided():
    """The baseline of all baselines gets the same bars and the same budget."""
    told = told_of(20)
    dice = at_random(told, 8.0, 1)
    assert realised_rates(dice)["pooled"] == pytest.approx(8, rel=0.15)
    assert (dice.is_decided == told.is_decided).all()
    assert not dice.is_alert[~told.is_decided].any()
    np.testing.assert_array_equal(dice.is_alert, at_random(told, 8.0, 1).is_alert)
    assert (dice.is_alert != at_random(told, 8.0, 2).is_alert).any()


def test_the_market_of_an_instrument_is_that_of_its_own_calendar():
    """Coins do not move with shares; fewer than five instruments are no market."""
    shares = market(6, 50)
    coins = market(6, 50, seed=4).replace({f"NULL00{i}": f"C{i}-USD" for i in range(6)})
    both = with_market(pd.concat([shares, coins]), CALENDARS).set_index("symbol")
    own = with_market(shares, CALENDARS).set_index("symbol")
    np.testing.assert_array_equal(both.loc["NULL000", "market"], own.loc["NULL000", "market"])
    apart = both.loc["C0-USD", "market"].to_numpy() - both.loc["NULL000", "market"].to_numpy()
    assert np.nanmax(np.abs(apart)) > 0
    assert with_market(market(4, 50), CALENDARS)["market"].isna().all()


def test_the_quiet_market_is_what_it_says():
    """Whole candles, regimes, twenty-fold drifts, the same for the same seed."""
    candles = quiet_market(4, 2000, 7)
    pd.testing.assert_frame_equal(candles, quiet_market(4, 2000, 7))
    assert len(admit(candles, CALENDARS).candles) > 0.96 * len(candles)
    assert (candles["high"] >= candles[["open", "close"]].max(axis=1)).all()
    assert (candles["low"] <= candles[["open", "close"]].min(axis=1)).all()
    assert (candles["low"] > 0).all()
    assert (candles["volume"] > 0).all()
    for _, own in candles.groupby("symbol"):
        close = own["close"].to_numpy()
        grown = np.log(close[-1] / 100)
        assert abs(grown) == pytest.approx(np.log(DRIFT), rel=1e-9)
        yearly = pd.Series(np.diff(np.log(close))).rolling(250).std().dropna()
        assert yearly.max() / yearly.min() > 1.5


def test_json_holds_no_nan():
    """A program that reads it knows null, and nothing else of the kind."""
    found = plain({"a": [float("nan"), np.float64(1.5), np.int64(2)], 3: {"b": float("inf")}})
    assert found == {"a": [None, 1.5, 2], "3": {"b": None}}


@pytest.mark.parametrize("text", ["", "symbol,date\n", "symbol,date,what\nA,yesterday,x\n", None])
def test_a_list_of_events_that_is_none_is_refused_with_its_shape(tmp_path, text):
    """In one sentence that says what the columns are."""
    path = tmp_path / "events.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"columns symbol, date \(2024-03-12\) and what"):
        read_events(path)
