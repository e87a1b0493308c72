"""The view of pumps: what it measures, and how it is asked apart from the others' vote."""

import math

import numpy as np
import pytest

from components.apart import FINEST, SHARES
from components.ensemble import Ensemble
from components.errors import SettingsError
from components.features.force import LEAST_REACH, log_money, log_reach
from components.panels import FIELDS, CandlePanel
from components.records import View
from components.settings import ENSEMBLE, ENSEMBLE_OF_SHORT, Settings
from components.stances import in_words
from tests import naive
from tests.panels_made import candle_panel

N_SERIES, N_BARS = 3, 900
MINUTES_A_YEAR = 365 * 1440
FINE = 1 / 50_000
PUMP = 800


def at(field):
    return FIELDS.index(field)


def pumped(n_series=N_SERIES):
    """Some instruments; the first is driven up by a third on fifty times its volume."""
    panel = candle_panel(n_series=n_series, n_bars=N_BARS, with_market=True)
    panel.fields[0, PUMP, [at("high"), at("close")]] *= 1.35
    panel.fields[0, PUMP + 1, at("high")] *= 1.35
    panel.fields[0, PUMP, at("volume")] *= 50
    return panel


def pumped_after_noise():
    """Ninety bars of wild trades in next to nothing come before: to a recent scale all is usual."""
    panel, random = pumped(1), np.random.default_rng(6)
    before = slice(PUMP - 90, PUMP)
    wild = np.exp(0.15 * random.standard_normal((90, 1)))
    panel.fields[0, before, :4] *= wild
    panel.fields[0, before, at("volume")] = np.exp(3 * random.standard_normal(90))
    return panel


def judged(detectors, panel, rate, quorum=2):
    """What is found at a stated share of bars."""
    ensemble = Ensemble(detectors, rate * MINUTES_A_YEAR, quorum)
    n_series = len(panel.symbols)
    return ensemble.run(ensemble.start(n_series), panel, np.full(n_series, rate))[1]


def test_reach_and_money_are_what_their_formulas_say():
    """The true range over its steps, never below a thousandth of a per cent; close x volume."""
    panel = candle_panel(n_series=1, n_bars=200)
    panel.fields[0, [50, 120], at("steps")] = [285, 3]
    panel.fields[0, 80, :4] = panel.fields[0, 79, at("close")]
    panel.fields[0, [90, 91], at("volume")] = [0, np.nan]
    columns = (panel.fields[0, :, at(name)] for name in ("open", "high", "low", "close"))
    with np.errstate(divide="ignore"):
        _, _, span = naive.bar_moves(*columns, panel.steps[0], closes=True)
    span[80] = math.log(LEAST_REACH)
    reach = log_reach(panel, np.full(1, np.nan))[0]
    np.testing.assert_allclose(reach[1:], span[1:], rtol=1e-12)
    # Of the first bar the close before is unknown.
    assert np.isnan(reach[0])
    money = log_money(panel, np.full(1, np.nan))[0]
    close, volume = panel.field("close")[0], panel.field("volume")[0]
    assert np.isnan(money[[90, 91]]).all()
    traded = volume > 0
    np.testing.assert_allclose(money[traded], np.log(close[traded] * volume[traded]))


@pytest.mark.parametrize("factor", [1e-6, 4.0])
def test_the_unit_of_the_price_changes_no_verdict(factor):
    """A coin in bitcoin and the same coin in dollars."""
    panel = pumped()
    scaled = panel.fields.copy()
    scaled[:, :, :4] *= factor
    first = judged((FINEST,), panel, FINE)
    second = judged((FINEST,), CandlePanel(panel.symbols, panel.ts, scaled), FINE)
    np.testing.assert_array_equal(first.is_anomaly, second.is_anomaly)
    assert first.is_anomaly[0, PUMP]


def test_a_price_that_stood_still_hides_no_pump_from_it():
    """Trades at one price for hours leave the others without a scale; a pump comes just then."""
    panel = pumped(1)
    before = slice(PUMP - 100, PUMP)
    panel.fields[0, before, :4] = panel.fields[0, PUMP - 101, at("close")]
    panel.fields[0, PUMP, at("open")] = panel.fields[0, PUMP - 101, at("close")]
    panel.fields[0, PUMP, at("low")] = panel.fields[0, PUMP, at("open")]
    other = judged(("volatility_zscore",), panel, FINE)
    assert other.is_stale[0, PUMP]
    assert np.isnan(other.agreed_p[0, PUMP])
    for detectors in ((FINEST,), ENSEMBLE_OF_SHORT):
        found = judged(detectors, panel, FINE)
        assert found.is_anomaly[0, PUMP]
        assert not found.is_stale[0, PUMP]
        assert not found.is_anomaly[0, before].any()


def test_without_trade_it_abstains():
    """A halted instrument is stale for it too, and one without volumes is not judged."""
    panel = pumped(2)
    panel.fields[0, 500:600, at("volume")] = 0
    panel.fields[0, 500:600, :4] = panel.fields[0, 499, at("close")]
    panel.fields[1, :, at("volume")] = np.nan
    found = judged((FINEST,), panel, FINE)
    assert np.isnan(found.agreed_p[0, 500:600]).all()
    assert found.is_stale[0, 510:600].all()
    assert np.isnan(found.agreed_p[1]).all()
    assert (found.bars_lacking[1] > 0).all()


def test_beside_others_it_is_asked_at_a_tenth_of_the_rate_and_they_at_the_rest():
    """The vote is the five's own, as if the view were not there."""
    panel, rate = pumped(), 1 / 500
    five, lone = judged(ENSEMBLE, panel, rate), judged((FINEST,), panel, rate)
    both = judged(ENSEMBLE_OF_SHORT, panel, rate)
    np.testing.assert_array_equal(both.p[:5], five.p)
    decided = np.isfinite(five.agreed_p)
    assert decided[:, 341:].all()
    assert not decided[:, :341].any()
    share = SHARES[FINEST]
    least = np.minimum(five.agreed_p / (1 - share), lone.agreed_p / share)
    np.testing.assert_array_equal(both.agreed_p[decided], np.minimum(least, 1)[decided])
    assert np.isnan(both.agreed_p[~decided]).all()
    assert (both.is_anomaly == (both.agreed_p <= both.rate)).all()


def test_a_rate_that_no_vote_can_resolve_is_all_its_own():
    """One in 50,000: then nothing but its own tail decides, and nothing is LOW."""
    panel = pumped_after_noise()
    lone, both = judged((FINEST,), panel, FINE), judged(ENSEMBLE_OF_SHORT, panel, FINE)
    np.testing.assert_array_equal(both.agreed_p[:, 341:], lone.agreed_p[:, 341:])
    assert both.is_anomaly[0, PUMP]
    assert not judged(ENSEMBLE, panel, FINE).is_anomaly[0, PUMP]
    np.testing.assert_array_equal(both.level > 0, both.is_anomaly)


def test_an_alert_of_its_own_says_who_voted():
    """MEDIUM by one vote, of the six that could be cast; five stood against it, one abstains."""
    found = judged(ENSEMBLE_OF_SHORT, pumped_after_noise(), FINE)
    assert found.level[0, PUMP] == 2
    assert found.votes[0, PUMP] == 1
    assert found.voters[0, PUMP] == 6
    assert found.vote_p[0, PUMP] == found.rate[0, PUMP]
    own = ENSEMBLE_OF_SHORT.index(FINEST)
    assert found.p[own, 0, PUMP] <= found.vote_p[0, PUMP] < found.p[:own, 0, PUMP].min()
    assert np.isnan(found.p[own + 1 :, 0, PUMP]).all()
    views = [
        View(name, "voted" if name == FINEST else "against", 0.5) for name in ENSEMBLE_OF_SHORT
    ]
    assert in_words(views, 1, 2).startswith(
        "1 of 7 views calls it unusual: surge, which is asked apart and needs no second; not market"
    )
    assert "apart" not in in_words(views, 1, 0)


def test_without_volumes_the_others_judge_at_the_whole_rate():
    """A currency has no volume: nothing of its budget is kept for a view that abstains."""
    panel = candle_panel(n_bars=N_BARS, with_market=True)
    panel.fields[:, :, at("volume")] = np.nan
    for rate in (1 / 500, FINE):
        five, both = (judged(names, panel, rate) for names in (ENSEMBLE, ENSEMBLE_OF_SHORT))
        np.testing.assert_array_equal(both.agreed_p, five.agreed_p)


def test_bars_shorter_than_a_day_have_it_by_default_and_days_do_not():
    """What judges days stays as it is."""
    assert Settings(_env_file=None).detectors == ENSEMBLE
    assert FINEST not in ENSEMBLE
    for interval in ("1m", "5m", "1h"):
        assert Settings(_env_file=None, interval=interval).detectors == ENSEMBLE_OF_SHORT
    assert Settings(_env_file=None, interval="1m", detectors="knn").detectors == ("knn",)


def test_its_tail_lets_a_finer_budget_be_stated():
    """Without it 1.4 a week are the least for minutes; with it 0.1; both are said by the week."""
    week = 365.25 / 7
    with pytest.raises(SettingsError, match=r"PER_WEEK=0\.21 asks .* 700 past .* Ask for 1\.4 to "):
        Ensemble(ENSEMBLE, 0.21 * week).require_resolvable(MINUTES_A_YEAR)
    for detectors in ((FINEST,), ENSEMBLE_OF_SHORT):
        Ensemble(detectors, 0.21 * week).require_resolvable(MINUTES_A_YEAR)
        with pytest.raises(SettingsError, match=r"PER_WEEK=0\.05 .* 10080 past .* Ask for 0\.1 "):
            Ensemble(detectors, 0.05 * week).require_resolvable(MINUTES_A_YEAR)


def test_it_casts_no_vote_for_a_quorum():
    """Beside one other view two votes cannot be cast; named twice it is asked once."""
    with pytest.raises(SettingsError, match=r"2 votes cannot be cast by 1 .*\(surge asked apart\)"):
        Ensemble(("market", FINEST), 4)
    panel = pumped(1)
    once, twice = (
        judged(names, panel, FINE, 1) for names in (("market", FINEST), ("market", FINEST, FINEST))
    )
    np.testing.assert_array_equal(once.is_anomaly, twice.is_anomaly)
    assert once.is_anomaly[0, PUMP]
    assert Ensemble(ENSEMBLE_OF_SHORT, 4).name == "market+pump+knn+kmeans+gmm+surge+swing"
    assert Ensemble(ENSEMBLE_OF_SHORT, 4).bars_before_verdict == 341
