"""The carried stages: each is its formula, and the whole equals its pieces."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.calibration import KeptRate, Reference
from components.consensus import Poll
from components.detectors import DETECTORS
from components.features.channels import Channels, vectors
from components.features.level import LevelUnits
from components.features.residual import MarketResidual
from components.features.states import Regime, Staleness
from components.market import LEAST_MEMBERS, judge_market
from components.panels import FIELDS, CandlePanel
from components.refitted import OwnPast, Refitted, refit_every
from tests import naive
from tests.panels_made import candle_panel

N = 400
cuts = st.lists(st.integers(0, N), max_size=5).map(lambda c: [0, *sorted(c), N])


def fat(seed, shape):
    return np.random.default_rng(seed).standard_t(4, shape)


@pytest.mark.parametrize("seed", range(3))
def test_level_units_are_their_formula(seed):
    """Volume and range are told in units of their own recent spread."""
    x = fat(seed, N) * 0.3 + 10
    _, z = LevelUnits().run(LevelUnits().start(1), x[None])
    np.testing.assert_allclose(z[0], naive.level_units(x), rtol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_residual_is_its_formula(seed):
    """The market's share and the rest are exact, and add up to the return."""
    market = 0.01 * fat(seed, N)
    r = 1.3 * market + 0.005 * fat(seed + 10, N)
    _, z, share = MarketResidual().run(MarketResidual().start(1), r[None], market[None])
    expected_z, expected_share = naive.market_residual(r, market)
    np.testing.assert_allclose(z[0], expected_z, rtol=1e-7)
    np.testing.assert_allclose(share[0], expected_share, rtol=1e-7)


def test_beta_is_found():
    """After some hundred bars the market's share of a move is the true one."""
    market = 0.01 * fat(1, 2000)
    r = 0.7 * market + 0.0005 * fat(2, 2000)
    _, _, share = MarketResidual().run(MarketResidual().start(1), r[None], market[None])
    beta = np.median(share[0, 500:] / market[500:])
    assert beta == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(
    ("window", "n_regimes", "least"), [(50, 1, 20), (60, 3, 20), (30, 3, 200), (400, 3, 30)]
)
@pytest.mark.parametrize("seed", range(2))
def test_reference_p_values_are_their_formula(seed, window, n_regimes, least):
    """Ranks, tails, full buffers and borrowed ones give what counting gives."""
    random = np.random.default_rng(seed)
    scores = np.abs(random.standard_t(3, N))
    scores[random.random(N) < 0.1] = np.nan
    scores[50:60] = scores[49]
    regime = random.integers(0, n_regimes, N)
    stage = Reference(window, 25, n_regimes, least)
    _, p, _ = stage.run(stage.start(1), scores[None], regime[None])
    expected = naive.reference_p(scores, regime, window, 25, n_regimes, least)
    np.testing.assert_allclose(p[0], expected, rtol=1e-6)
    assert not (p == 0).any()


@settings(deadline=None, max_examples=20)
@given(
    edges=cuts,
    seed=st.integers(0, 9),
    shape=st.sampled_from([(50, 1, 20), (60, 3, 20), (30, 3, 200), (400, 3, 30)]),
)
def test_p_values_in_pieces_equal_the_whole(edges, seed, shape):
    """A tail that is searched bar by bar and one kept sorted are the same, bit for bit."""
    random = np.random.default_rng(seed)
    scores = np.abs(random.standard_t(3, (2, N)))
    scores[random.random((2, N)) < 0.1] = np.nan
    # Equal scores, and a tail that has no spread.
    scores[0, 50:90], scores[1, 200:] = scores[0, 49], np.round(scores[1, 200:])
    regime, enters = random.integers(-1, 3, (2, N)), random.random((2, N)) < 0.9
    window, n_regimes, least = shape
    stage = Reference(window, 25, n_regimes, least)
    end, whole, n_whole = stage.run(stage.start(2), scores, regime, enters)
    for cut in (edges, range(N + 1)):
        state, parts, counts = stage.start(2), [], []
        for first, last in itertools.pairwise(cut):
            own = np.s_[:, first:last]
            state, p, n = stage.run(state, scores[own], regime[own], enters[own])
            parts.append(p)
            counts.append(n)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        np.testing.assert_array_equal(np.concatenate(counts, axis=1), n_whole)
        for name, last_one in end.items():
            np.testing.assert_array_equal(state[name], last_one)


def test_a_tail_resolves_what_ranks_cannot():
    """On normal scores a 4.5-sigma bar among 1000 gets about its true p, not 1 in 1001."""
    scores = np.abs(np.random.default_rng(5).standard_normal((40, 1001)))
    scores[:, -1] = 3.7
    stage = Reference()
    _, p, _ = stage.run(stage.start(40), scores)
    # Two-sided normal: 0.00022. The tail is taken fatter than normal on purpose.
    assert 0.0001 < np.median(p[:, -1]) < 0.001


@pytest.mark.parametrize("seed", range(3))
def test_the_kept_rate_is_its_formula(seed):
    """Two corrections, one of all bars and one of the regime."""
    random = np.random.default_rng(seed)
    p = random.random(N)
    p[::17] = np.nan
    regime = random.integers(0, 3, N)
    stage = KeptRate()
    _, alert, in_force = stage.run(stage.start(1), p[None], np.full(1, 0.1), regime[None])
    expected_alert, expected_rate = naive.kept_rate(p, regime, 0.1)
    np.testing.assert_allclose(in_force[0], expected_rate, rtol=1e-12)
    np.testing.assert_array_equal(alert[0], expected_alert)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(1e-6, 1), min_size=4, max_size=4), st.integers(1, 3))
def test_a_vote_is_cast_at_the_kth_smallest_p(values, k):
    """Independent views: the k-th smallest; one that abstains is not counted."""
    history = np.random.default_rng(1).random((4, 1, 60))
    p = np.concatenate([history, np.array(values)[:, None, None]], axis=2)
    _, polled = Poll().run(Poll().start(1, 4), p)
    assert polled.kth[k - 1, 0, -1] == np.sort(values)[k - 1]
    p[0, 0, -1] = np.nan
    _, polled = Poll().run(Poll().start(1, 4), p)
    assert polled.kth[k - 1, 0, -1] == np.sort(values[1:])[k - 1]
    assert not polled.is_usual[0, -1]


def test_views_that_repeat_each_other_share_a_vote():
    """Entered twice or three times, a view changes no vote; near copies count as one too."""
    random = np.random.default_rng(3)
    p = random.random((4, 2, N))
    _, alone = Poll().run(Poll().start(2, 4), p)
    for n_copies in (2, 3):
        doubled = np.concatenate([p, *[p[1:2]] * (n_copies - 1)])
        _, polled = Poll().run(Poll().start(2, 3 + n_copies), doubled)
        np.testing.assert_array_equal(polled.kth, alone.kth)
        np.testing.assert_allclose(polled.weight[1], 1 / n_copies * (polled.weight[1] > 0))
    near = np.clip(p[1:2] * np.exp(0.02 * random.standard_normal((1, 2, N))), 1e-9, 1)
    _, polled = Poll().run(Poll().start(2, 5), np.concatenate([p, near]))
    np.testing.assert_allclose(polled.weight[:, :, -1].sum(axis=0), 4)


def test_a_changed_set_of_views_is_judged_and_not_remembered_until_it_lasts():
    """A volume that is missing on one day must not shift what later days are compared with."""
    p = np.random.default_rng(4).random((3, 1, 200))
    p[2, 0, 100] = np.nan
    p[2, 0, 150:] = np.nan
    _, polled = Poll().run(Poll().start(1, 3), p)
    usual = polled.is_usual[0]
    assert usual[40:100].all()
    assert not usual[100]
    assert usual[101:150].all()
    assert not usual[150:169].any()
    assert usual[169:].all()
    assert np.isfinite(polled.kth[1, 0, 40:]).all()


def test_half_of_twenty_flat_bars_are_stale():
    """A dead contract is not judged, and its state ends when it trades again."""
    is_flat = np.zeros((1, 100), dtype=bool)
    is_flat[0, 30:60] = True
    is_bar = np.ones_like(is_flat)
    _, stale = Staleness().run(Staleness().start(1), is_flat, is_bar)
    assert np.flatnonzero(stale[0]).tolist() == list(range(39, 70))


def test_the_regime_is_the_third_of_its_own_past():
    """Calm, usual and wild times of a series whose volatility rises and falls."""
    wave = np.exp(np.sin(np.arange(3000) / 150))
    r = 0.01 * wave * np.random.default_rng(2).standard_normal(3000)
    _, regime = Regime().run(Regime().start(1), r[None])
    shares = [np.mean(regime[0, 1000:] == k) for k in range(3)]
    assert min(shares) > 0.2
    late = regime[0, 1000:]
    assert wave[1000:][late == 2].mean() > 1.5 * wave[1000:][late == 0].mean()
    assert (regime[0, :60] == -1).all()


def cut_panel(panel, first, last):
    return CandlePanel(
        panel.symbols, panel.ts[:, first:last], panel.fields[:, first:last], panel.round_the_clock
    )


@settings(deadline=None, max_examples=10)
@given(edges=cuts)
def test_channels_in_pieces_equal_the_whole(edges):
    """The law of carried state, for all scans that make the channels."""
    panel, stage = candle_panel(n_bars=N, with_market=True), Channels()
    panel.fields[1, 200:230, :4] = panel.fields[1, 199, 3]
    panel.fields[2, 150, FIELDS.index("split")] = 2
    panel.fields[0, [90, 260], FIELDS.index("steps")] = [285, 2]
    _, whole = stage.run(stage.start(3), panel)
    state, parts = stage.start(3), []
    for first, last in itertools.pairwise(edges):
        state, part = stage.run(state, cut_panel(panel, first, last))
        parts.append(part)
    for name, expected in whole.columns.items():
        joined = np.concatenate([part.columns[name] for part in parts], axis=1)
        np.testing.assert_array_equal(joined, expected)
    joined = np.concatenate([part.regime for part in parts], axis=1)
    np.testing.assert_array_equal(joined, whole.regime)


@pytest.mark.parametrize("closes", [True, False])
def test_channels_are_their_formulas_across_gaps(closes):
    """Bar by bar, with a bar in ten that comes after a hole of up to thirty bars."""
    panel, random = candle_panel(n_series=1, n_bars=N, with_market=True), np.random.default_rng(5)
    steps = np.where(random.random(N) < 0.1, random.integers(2, 30, N), 1)
    panel.fields[0, :, FIELDS.index("steps")] = steps
    always = frozenset() if closes else frozenset({"S0"})
    panel = CandlePanel(panel.symbols, panel.ts, panel.fields, always)
    _, found = Channels().run(Channels().start(1), panel)
    prices = [panel.field(name)[0] for name in ("open", "high", "low", "close")]
    r, gap, span = naive.bar_moves(*prices, steps, closes=closes)
    market = np.log1p(panel.field("market")[0]) / np.sqrt(steps)
    rest, share = naive.market_residual(r[1:], market[1:])
    judged = {"return": r, "gap": gap, "body": np.log(prices[3] / prices[0])}
    for name, x in judged.items():
        z, is_move = np.full(N, np.nan), ~np.isnan(x)
        z[is_move] = naive.volatility_units(x[is_move])
        np.testing.assert_allclose(found.columns[f"{name}_z"][0], z, rtol=1e-8, err_msg=name)
    np.testing.assert_allclose(
        found.columns["range_z"][0, 1:], naive.level_units(span[1:]), rtol=1e-6
    )
    np.testing.assert_allclose(found.columns["residual_z"][0, 1:], rest, rtol=1e-6)
    np.testing.assert_allclose(found.market_part[0, 1:], share * np.sqrt(steps[1:]), rtol=1e-7)


def test_channels_know_no_unit_and_no_split():
    """Prices times 1000, or quartered by a split with four times the volume, change nothing."""
    panel, stage = candle_panel(n_bars=N, with_market=True), Channels()
    _, before = stage.run(stage.start(3), panel)
    dear = panel.fields.copy()
    dear[:, :, :4] *= 1000
    split = panel.fields.copy()
    split[:, 250:, :4] /= 4
    split[:, 250:, FIELDS.index("volume")] *= 4
    split[:, 250, FIELDS.index("split")] = 4
    for fields in (dear, split):
        _, after = stage.run(stage.start(3), CandlePanel(panel.symbols, panel.ts, fields))
        for name, expected in before.columns.items():
            np.testing.assert_allclose(after.columns[name], expected, rtol=1e-6, atol=1e-8)


def test_a_market_that_never_closes_has_no_gap():
    """The first trade after midnight lies where the last one lay; its noise is no channel."""
    panel = candle_panel(n_bars=N)
    coins = CandlePanel(panel.symbols, panel.ts, panel.fields, frozenset({"S1"}))
    _, found = Channels().run(Channels().start(3), coins)
    assert np.isnan(found.columns["gap_z"][1]).all()
    assert np.isfinite(found.columns["gap_z"][0, 40:]).all()
    assert np.isfinite(vectors(found.columns, coins.steps > 1)[:, 40:]).all()


@pytest.mark.parametrize("name", ["gmm", "isolation_forest", "kmeans", "knn"])
@settings(deadline=None, max_examples=4)
@given(edges=cuts)
def test_yearly_fits_in_pieces_equal_the_whole(name, edges):
    """A model restored from its numbers scores as the one that was fitted, bit for bit."""
    past = OwnPast(window=100, every=60, first=65)
    stage, symbols = Refitted(DETECTORS[name], past), ("S0", "S1")
    x = fat(7, (2, N, 6)).astype(np.float32).astype(float)
    x[0, 33:40] = np.nan
    _, whole = stage.run(stage.start(2), past.start(2), x, symbols)
    state, memory, parts = stage.start(2), past.start(2), []
    for first, last in itertools.pairwise(edges):
        state, scores = stage.run(state, memory, x[:, first:last], symbols)
        memory = past.run(memory, x[:, first:last])
        parts.append(scores)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert np.isnan(whole[1, :65]).all()
    assert np.isfinite(whole[1, 65:]).all()


def fits(past, symbol, start, stop):
    """The counts of vectors in (start, stop) at which a model is fitted."""
    found, at = [], np.array([start])
    while (at := past.next_fit((symbol,), at))[0] < stop:
        found.append(int(at[0]))
    return found


def test_models_are_fitted_once_a_year_on_a_day_of_the_instruments_own():
    """Ten thousand instruments do not learn on the same day, and none has seen its bar."""
    past = OwnPast()
    for symbol in ("AAA", "BBB", "CCC"):
        found = fits(past, symbol, 0, 3000)
        assert found[0] == 120
        assert 250 <= found[1] < 500
        assert (np.diff(found[1:]) == 250).all()
    days = past.next_fit([f"S{i}" for i in range(200)], np.full(200, 500))
    assert len(set(days)) > 100
    assert days.max() <= 750


def test_models_of_minutes_are_fitted_once_a_day():
    """Every 250 minutes while they know little, then once a day at a minute of their own."""
    past = OwnPast(every=refit_every("1m"))
    for symbol in ("AAA", "BBB", "CCC"):
        found = np.array(fits(past, symbol, 0, 9000))
        settled = found[found >= 1440]
        early = found[1:][found[1:] < settled[0]]
        assert found[0] == 120
        assert (np.diff(early) == 250).all() or len(early) < 2
        assert (np.diff(found) <= 1440).all()
        assert (np.diff(found[found >= 2880]) == 1440).all()
    assert [refit_every(each) for each in ("1d", "1h", "5m", "1m")] == [250, 250, 288, 1440]


@settings(deadline=None)
@given(n=st.integers(0, 9000), every=st.sampled_from([60, 250, 288, 1440]), name=st.text())
def test_the_last_fit_is_the_one_that_came_next(n, every, name):
    """Going from fit to fit and asking back agree: a restored state has the same model."""
    past = OwnPast(every=every)
    after = past.next_fit((name,), np.array([n]))
    assert after > n
    assert past.last_fit((name,), after) == after
    assert past.last_fit((name,), after - 1) == past.last_fit((name,), np.array([n])) <= n
    if n >= 500:
        assert after - n <= every
        assert n - past.last_fit((name,), np.array([n])) < max(every, 250)


def test_a_market_wide_day_is_found_in_the_medians():
    """The market is judged as an instrument: its crash is an anomaly, its noise seldom."""
    moves = 0.01 * np.random.default_rng(8).standard_normal(1500)
    moves[1200] = -0.09
    judged = judge_market(moves, 4 / 252)
    assert judged.is_anomaly[1200]
    assert np.isnan(judged.p[:280]).all()
    assert judged.is_anomaly.sum() < 40
    assert LEAST_MEMBERS == 5
