"""What other settings would have told: the same, to the bit, as a judgement by those settings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import what_if
from components.ensemble import Cast, Decided, Ensemble
from components.entrypoints.views import act
from components.errors import SettingsError
from components.evaluation.dated import dated_recall
from components.evaluation.realised import realised_rates
from components.evaluation.told import tell
from components.incidents import CONTINUED, TOLD, followed
from components.panels import Array, pack
from components.sessions import Calendars
from components.settings import ENSEMBLE, ENSEMBLE_OF_SHORT
from components.steps.carrying import blank_ledger, with_groups
from components.steps.evaluate import shipped_events
from components.steps.judging import rebuilds
from components.steps.weighing import votes_of
from components.verdicts import verdict_rows
from components.what_if.known import as_told
from components.wiring import open_parts, open_warehouse
from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance
from tests.panels_made import candle_panel
from tests.worlds import DAY, LAST, MORNING, history

PER_YEAR = np.array([252.0, 365.0, 252.0])
EVER = pd.Timestamp(0, tz="UTC")
NAMES = ("AAA", "BBB", "CCC", "EEE", "FFF", "DDD-USD")


def votes_on(panel, detectors, alerts=12.0):
    """The votes of some detectors on a made panel."""
    return what_if.weighed(Ensemble(detectors, alerts), panel, PER_YEAR, "1d")


def decided_of(judged):
    """What a judgement found, as a decision has it."""
    return Decided(judged.agreed_p, judged.rate, judged.is_anomaly, judged.level, judged.vote_p)


def assert_same(ours, theirs):
    """Two decisions are the same, bit for bit."""
    for name in Decided.__dataclass_fields__:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize(
    "detectors", [ENSEMBLE, ENSEMBLE_OF_SHORT, ("volatility_zscore",), ("amplitude_zscore",)]
)
def test_votes_cast_once_are_decided_as_a_judgement_by_other_settings_would(detectors):
    """Whatever rate and quorum they were cast under, the decision is that of the whole run."""
    panel = candle_panel(n_bars=650, with_market=True)
    votes = votes_on(panel, detectors)
    for alerts, quorum in ((12, 2), (40, 1), (3, 3), (5.5, 2)):
        judge = Ensemble(detectors, alerts, quorum)
        _, judged = judge.run(judge.start(3), panel, alerts / PER_YEAR)
        outcome = what_if.decide(judge, [votes])
        assert_same(outcome.decided[0], decided_of(judged))
        np.testing.assert_array_equal(votes.move, judged.move)
    assert judged.is_anomaly.any()


@pytest.fixture(scope="module")
def five():
    """The votes of the five on a made panel: instruments S0 to S2."""
    return votes_on(candle_panel(n_bars=900, with_market=True), ENSEMBLE)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    low=st.floats(1e-4, 2e-3),
    times=st.floats(np.exp(6), 1000),
    quorum=st.integers(1, 3),
)
def test_what_a_far_lower_rate_tells_a_far_higher_one_tells_too(seed, low, times, quorum):
    """The rate in force stays within a factor of e^3 of the stated one, whatever came before.

    So no bar told at a rate is lost at one that is e^6 times as high.
    """
    few, many = (decided_at(cast_of(seed), rate, quorum) for rate in (low, low * times))
    assert not (few.is_anomaly & ~many.is_anomaly).any()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    low=st.floats(1e-3, 0.1),
    times=st.floats(1, 5),
    quorum=st.integers(1, 3),
)
def test_the_first_bar_told_comes_no_later_where_more_alerts_are_accepted(seed, low, times, quorum):
    """Up to the first alert a higher rate only stands higher; behind it both are muted."""
    few, many = (decided_at(cast_of(seed), rate, quorum) for rate in (low, low * times))
    for lower, higher in zip(few.is_anomaly, many.is_anomaly, strict=True):
        if lower.any():
            assert higher.any()
            assert np.argmax(higher) <= np.argmax(lower)


def cast_of(seed, n_series=3, n_bars=300) -> Cast:
    """Votes by the throw of a die, some missing."""
    random = np.random.default_rng(seed)
    p: Array = random.uniform(1e-6, 1, (5, n_series, n_bars))
    p[:, random.random((n_series, n_bars)) < 0.1] = np.nan
    votes_p = np.sort(p, axis=0)[:3]
    before = np.tile(np.arange(500, 500 + n_bars), (n_series, 1))
    regime = random.integers(-1, 3, (n_series, n_bars))
    return Cast(p, p, np.isfinite(p).astype(float), votes_p, votes_p, before, regime)


def decided_at(cast, rate, quorum):
    """A decision at a stated share of bars."""
    judge = Ensemble(ENSEMBLE, 4, quorum)
    start = {"shift": np.zeros((3, 4))}
    return judge.decide(start, cast, np.full(3, rate))[1]


def test_a_rate_that_no_history_resolves_is_refused_with_both_ends(five):
    """The page says what can be asked for, as the run would."""
    for alerts in (0.5, 200):
        with pytest.raises(SettingsError, match="Ask for 1 to 126 alerts a year"):
            what_if.decide(Ensemble(ENSEMBLE, alerts), [five])


def test_a_quorum_that_the_detectors_cannot_reach_is_refused(five):
    """Two views cast no three votes."""
    with pytest.raises(SettingsError, match="TREMOR_QUORUM=3"):
        what_if.decide(replace(Ensemble(("knn", "gmm"), 4), quorum=3), [five])


def test_bars_told_are_counted_per_instrument_and_year_as_the_evaluation_counts_them(five):
    """Promise 4 counts them so: by year, pooled, and none twice."""
    outcome = what_if.decide(Ensemble(ENSEMBLE, 12), [five])
    rows, time = what_if.told_bars(outcome, EVER), what_if.lived(outcome, EVER)
    theirs = realised_rates(as_told(outcome.ensemble, five, outcome.decided[0], np.arange(3)))
    ours = what_if.counts(rows, time)
    assert (ours.bars, ours.years) == (
        theirs["n_alerts"],
        pytest.approx(theirs["instrument_years"]),
    )
    assert ours.rate == pytest.approx(theirs["pooled"])
    by_year = what_if.rates(rows, time, "year").set_index("year")["rate"]
    assert by_year.to_dict() == pytest.approx(
        {int(year): block["rate"] for year, block in theirs["by_year"].items()}
    )
    by_symbol = what_if.rates(rows, time, "symbol")
    assert by_symbol["n"].sum() == ours.bars
    assert set(by_symbol["symbol"]) == {"S0", "S1", "S2"}


def test_only_the_bars_of_the_span_are_counted_and_all_before_it_are_judged(five):
    """A span cuts what is shown, never what the kept rate has seen."""
    outcome = what_if.decide(Ensemble(ENSEMBLE, 12), [five])
    since = pd.Timestamp("2021-12-01", tz="UTC")
    every = what_if.told_bars(outcome, EVER)
    late = what_if.told_bars(outcome, since)
    pd.testing.assert_frame_equal(late, every[every["ts"] >= since].reset_index(drop=True))
    assert 0 < len(late) < len(every)
    whole, part = (what_if.lived(outcome, at)["years"].sum() for at in (EVER, since))
    assert 0 < part < whole


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 0.6))
def test_incidents_are_those_that_telling_makes(seed, share):
    """Adjacent anomalies are one incident, by the rule that the daily run notes them by."""
    random = np.random.default_rng(seed)
    votes = made_votes("1d", random)
    rows = told_at(votes, random.random(votes.ts.shape) < share)
    noted = pd.DataFrame({n: [] for n in ("id", "symbol", "ts", "kind", "alert_id", "incident")})
    named = rows.assign(id=rows["symbol"] + rows["ts"].astype(str), is_fresh=True, is_quiet=False)
    told = followed(named, noted)
    time = pd.DataFrame({"symbol": [], "year": [], "years": []})
    found = what_if.counts(rows, time)
    assert found.incidents == told["incident"].nunique()
    assert set(told["fate"]) <= {TOLD, CONTINUED}
    assert np.isnan(found.rate)


def test_bars_shorter_than_a_day_are_one_incident_within_an_hour():
    """As the daily run's own query has it: 60 minutes on still follows, 61 do not."""
    votes = made_votes("1m", np.random.default_rng(0))
    flags = np.zeros(votes.ts.shape, dtype=bool)
    flags[0, [5, 65, 126]] = flags[1, [5, 66, 67]] = True
    rows = told_at(votes, flags).sort_values(["symbol", "ts"])
    assert rows["follows"].tolist() == [False, True, False, False, False, True]


def made_votes(interval, random):
    """Votes of two instruments over 200 bars; the second begins ten bars late."""
    step = np.timedelta64(1, "D" if interval == "1d" else "m")
    ts = np.tile(np.datetime64("2024-01-01", "us") + np.arange(200) * step, (2, 1))
    ts[1, :2] = np.datetime64("NaT")
    cast = cast_of(int(random.integers(10**6)), 2, 200)
    noise = random.standard_normal(ts.shape)
    return what_if.Votes(("A", "B"), interval, ts, cast, noise, noise, np.full(2, 365.0))


def told_at(votes, flags):
    """Rows of an outcome that tells these bars."""
    flags = flags & ~np.isnat(votes.ts)
    level = np.where(flags, 2, 0)
    p = np.where(np.isnat(votes.ts), np.nan, 0.01)
    decided = Decided(p, p, flags, level, p)
    return what_if.told_bars(what_if.Outcome(Ensemble(ENSEMBLE, 4), (votes,), (decided,)), EVER)


def test_each_bar_is_kept_new_or_lost(five):
    """Together they are all bars told by either, and each is what it is called."""
    now, then = (
        what_if.told_bars(what_if.decide(Ensemble(ENSEMBLE, *how), [five]), EVER)
        for how in ((8, 2), (20, 3))
    )
    found = what_if.changes(now, then)
    bars = {
        change: set(map(tuple, rows[["symbol", "ts"]].to_numpy()))
        for change, rows in found.groupby("change")
    }
    ours, theirs = (set(map(tuple, side[["symbol", "ts"]].to_numpy())) for side in (now, then))
    assert bars == {"kept": ours & theirs, "new": theirs - ours, "lost": ours - theirs}
    assert min(map(len, bars.values())) > 0


def test_the_largest_moves_not_told_are_those(five):
    """None was told, and no larger one with a verdict was left out."""
    outcome = what_if.decide(Ensemble(ENSEMBLE, 12), [five])
    rows = what_if.untold(outcome, EVER, 7)
    decided = outcome.decided[0]
    quiet = np.abs(five.move[~decided.is_anomaly & ~np.isnan(decided.agreed_p)])
    np.testing.assert_array_equal(rows["return"].abs(), np.sort(quiet)[::-1][:7])


def test_known_events_are_matched_as_the_evaluation_matches_them(five):
    """On the day or the next bar; of an undecided bar nothing is said."""
    calendars = Calendars()
    outcome = what_if.decide(Ensemble(ENSEMBLE, 30), [five])
    days = pd.DatetimeIndex(five.ts[0]).to_series()
    dates = pd.to_datetime([*days.iloc[[2, 500, 899]], *days.iloc[600:800:9]])
    events = pd.DataFrame({"symbol": "S0", "date": dates, "what": "x"})
    own = what_if.events_of(("S0", "S1"), events, calendars)
    fates = what_if.fates(outcome, own, calendars)
    theirs = dated_recall(
        as_told(outcome.ensemble, five, outcome.decided[0], np.arange(3)), events, calendars
    )
    assert fates.count(what_if.TOLD) + fates.count(what_if.MISSED) == theirs["n"]
    assert fates.count(what_if.MISSED) == len(theirs["missed"]) > 0
    assert fates.count(what_if.TOLD) > 0
    assert fates[0] == what_if.NOT_JUDGED


def test_a_coin_s_events_are_its_own_under_any_name():
    """BTCUSDT is meant by BTC-USD, a share of the same letters is not."""
    events = what_if.events_of(("BTCUSDT", "BTC"), shipped_events(), Calendars())
    assert set(events["symbol"]) == {"BTCUSDT"}
    assert len(events) >= 10


@pytest.fixture
def market(make_world):
    """Six instruments over 750 bars, judged by two runs; the last bar of one crashes."""
    world = make_world()
    for n, symbol in enumerate(NAMES):
        frame = history(symbol, n_bars=750, crash=0.2 if symbol == "BBB" else 0.0)
        world.put(symbol, frame.iloc[:-1] if n else frame, LAST + pd.Timedelta(hours=6))
    world.settings["history_years"] = 4
    world.run(LAST + pd.Timedelta(hours=12))
    for symbol in NAMES:
        world.put(symbol, history(symbol, n_bars=750, crash=0.2 if symbol == "BBB" else 0.0))
    world.run(MORNING)
    return world


def predicted(world, as_of, **chosen):
    """What the page would say of all instruments under these settings: outcome, all verdicts."""
    with open_parts(world.read_settings(**chosen), as_of, reads_only=True) as parts:
        symbols = tuple(sorted(parts.watch.symbols))
        outcome = what_if.decide(parts.ensemble, votes_of(parts, symbols, as_of))
        pieces = rebuilds(parts, with_groups(blank_ledger(symbols), symbols), symbols, as_of)
        judge, rows = parts.ensemble, []
        for piece, votes in zip(pieces, outcome.votes, strict=True):
            panel = what_panel(piece)
            _, judged = judge.run(judge.start(len(piece.symbols)), panel, piece.rates)
            assert_same(outcome.decided[len(rows)], decided_of(judged))
            assert votes.symbols == piece.symbols
            rows.append(verdict_rows(judged, judge.name, "1d", as_of))
    return outcome, pd.concat(rows)


def what_panel(piece):
    """The panel of a piece, as the daily run packs it."""
    return pack(piece.candles, piece.symbols, ["DDD-USD"])


STORED = """
select distinct on (symbol, ts) symbol, ts, verdict, level, p, "return" from verdicts
where judge = %(judge)s order by symbol, ts, known_at desc
"""


def stored(world, judge):
    """The newest verdict of each bar, and of them the anomalies."""
    rows = world.query(STORED, judge=judge)
    return rows, rows[rows["verdict"] == "anomaly"].sort_values(["ts", "symbol"])


def assert_told_as_stored(outcome, verdicts):
    """The page tells the stored anomalies: bars, levels and p-values."""
    columns = ["symbol", "ts", "level", "p", "return"]
    ours = what_if.told_bars(outcome, EVER)[columns]
    theirs = verdicts[columns].reset_index(drop=True)
    assert len(ours) > 10
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, check_exact=True)


def test_the_settings_in_force_give_what_the_runs_stored(market):
    """Same anomalies, same levels, same p: over a first run and one behind its carried state."""
    outcome, _ = predicted(market, MORNING)
    every, anomalies = stored(market, outcome.ensemble.name)
    assert_told_as_stored(outcome, anomalies)
    decided = every[every["verdict"] != "undecided"]
    years = decided["symbol"].map(lambda s: 365.0 if s == "DDD-USD" else 252.0).rdiv(1).sum()
    assert what_if.lived(outcome, EVER)["years"].sum() == pytest.approx(years)


def test_what_was_said_before_saving_is_what_the_next_run_stores(market):
    """Another rate, quorum and set of detectors, first tried and then put in force."""
    chosen = {"alerts_per_year": 20, "quorum": 1, "detectors": ("market", "knn", "gmm")}
    before, _ = predicted(market, MORNING, **chosen)
    assert not len(stored(market, before.ensemble.name)[1])
    market.run(MORNING + DAY, **chosen)
    anomalies = stored(market, before.ensemble.name)[1]
    assert_told_as_stored(before, anomalies[anomalies["ts"] <= LAST])


def test_a_bar_that_a_person_found_wrong_is_left_out_as_the_run_leaves_it_out(market):
    """What people said reaches the page by the same way as the judgement."""
    alert = market.alerts("anomaly")
    held = [ids for ids, of in zip(alert["id"], alert["symbols"], strict=True) if "BBB" in of]
    with open_warehouse(market.read_settings()) as warehouse:
        said_at = MORNING + pd.Timedelta(hours=1)
        act(warehouse, held[0], "label", said_at, label="data-error", symbol="BBB")
    without, _ = predicted(market, MORNING + pd.Timedelta(hours=2))
    bar = what_if.told_bars(without, EVER)
    assert not ((bar["symbol"] == "BBB") & (bar["ts"] == LAST)).any()
    with_it, _ = predicted(market, MORNING)
    bar = what_if.told_bars(with_it, EVER)
    assert ((bar["symbol"] == "BBB") & (bar["ts"] == LAST)).any()


def test_the_evaluation_s_own_judging_agrees():
    """A second way to the same numbers: the evaluation judges candles whole, at its own budget."""
    frames = [history(symbol, n_bars=750).assign(symbol=symbol, split=1.0) for symbol in NAMES[:3]]
    rows = pd.concat(frames).rename(columns=str.lower)
    rows["ts"] = pd.to_datetime(rows.pop("date"), utc=True)
    judge = Ensemble(ENSEMBLE, 12)
    told = tell(judge, rows, Calendars())
    panel = pack(rows, ("AAA", "BBB", "CCC"))
    votes = what_if.weighed(Ensemble(ENSEMBLE, 4), panel, np.full(3, 252.0), "1d")
    np.testing.assert_array_equal(
        what_if.decide(judge, [votes]).decided[0].is_anomaly, told.is_alert
    )


def test_minutes_too_are_told_as_the_runs_stored_them(make_world):
    """At so many alerts a week, with the views that are asked apart from the vote."""
    names, noon = ("AAAUSDT", "BBBUSDT"), pd.Timestamp("2024-03-13 12:00", tz="UTC")
    first = noon - pd.Timedelta(hours=36)
    frames = {
        name: minutes(f"{first:%Y-%m-%d %H:%M}", 36 * 60, seed=seed, price=50)
        for seed, name in enumerate(names)
    }
    with BinanceStandIn(frames, published_until=noon.floor("D")) as server:
        world = of_binance(make_world(), server, names, history_years=1.5 / 365.25)
        world.run(noon, alerts_per_week=40)
        chosen = world.read_settings(alerts_per_week=40)
        with open_parts(chosen, noon, reads_only=True) as parts:
            ensemble, votes = parts.ensemble, votes_of(parts, names, noon)
    outcome = what_if.decide(ensemble, votes)
    assert {"surge", "swing"} < set(ensemble.detectors)
    assert_told_as_stored(outcome, stored(world, ensemble.name)[1])
    assert what_if.told_bars(outcome, EVER)["follows"].any()
