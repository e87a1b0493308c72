"""The tail that instruments share: valid p-values far beyond what one of them has shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.carried import Snapshot, from_arrow, to_arrow
from components.heavy_tail import HeavyTail
from tests import naive
from tests.causality import assert_no_look_ahead, assert_pieces_equal_whole

N_SERIES, N_BARS = 3, 700
SMALL = HeavyTail(window=300, min_reference=40)
cuts = st.lists(st.integers(0, N_BARS), max_size=5).map(sorted)


def made(seed=4, n_bars=N_BARS):
    """Logarithms of heavy-tailed sizes: series with ties, with holes, and with a late begin."""
    random = np.random.default_rng(seed)
    scores = 0.7 * random.exponential(size=(N_SERIES, n_bars)) + random.standard_normal(n_bars)
    scores[0] = np.round(scores[0], 1)
    scores[1, random.random(n_bars) < 0.2] = np.nan
    scores[2, : n_bars // 4] = np.nan
    return scores


def p_of(scan, scores, **how):
    return scan.run(scan.start(len(scores)), scores, **how)[1]


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"tail": 0.1, "usual_slope": 2.0, "shrinkage": 10.0},
        {"window": 60, "min_reference": 12},
        {"window": 10_080, "min_reference": 250},
    ],
    ids=str,
)
def test_it_equals_its_slow_twin(numbers):
    """Rank and tail, ties, holes, a full buffer and one that fills."""
    scan = HeavyTail(**{"window": 300, "min_reference": 40, **numbers})
    scores = made()
    own = {name: getattr(scan, name) for name in ("tail", "usual_slope", "shrinkage")}
    for found, row in zip(p_of(scan, scores), scores, strict=True):
        slow = naive.heavy_tail(row, scan.window, scan.min_reference, **own)
        np.testing.assert_allclose(found, slow, rtol=1e-12)
        assert (found < scan.tail).any()


def test_what_does_not_enter_is_judged_and_not_remembered():
    """A bar of an unusual set of views has a p-value, and later bars never knew it."""
    scores = made()
    enters = np.random.default_rng(1).random(scores.shape) < 0.5
    _, p, n_reference = SMALL.run(SMALL.start(N_SERIES), scores, enters=enters)
    slow = [naive.heavy_tail(row, 300, 40, kept) for row, kept in zip(scores, enters, strict=True)]
    np.testing.assert_allclose(p, slow, rtol=1e-12)
    entered = np.cumsum(enters & np.isfinite(scores), axis=1)
    last = np.isfinite(scores[:, -1])
    np.testing.assert_array_equal(
        n_reference[last, -1], np.minimum(entered[last, -2], SMALL.window)
    )


@given(cuts=cuts)
def test_the_whole_equals_its_pieces_bit_for_bit(cuts):
    """Minute by minute gives what the whole week gives, also through the stored snapshot."""
    scores = made()

    def run(state, first, last):
        state, p, _ = SMALL.run(state, scores[:, first:last])
        stored = to_arrow(Snapshot(("A", "B", "C"), state))
        return from_arrow(stored).state, p

    assert_pieces_equal_whole(SMALL.start(N_SERIES), run, N_BARS, cuts)


@given(last=st.integers(1, N_BARS))
def test_no_later_score_changes_a_p_value(last):
    """No look-ahead: a pump is as odd as the week before it makes it."""
    scores = made()
    assert_no_look_ahead(lambda first, end: p_of(SMALL, scores[:, first:end]), N_BARS, last)


def test_a_missing_score_is_passed_over():
    """NaN gives NaN, enters no buffer and counts as no reference."""
    scores = made()[:1]
    holed = np.insert(scores, [100, 300, 300], np.nan, axis=1)
    p = p_of(SMALL, holed)
    assert np.isnan(p[0, [100, 301, 302]]).all()
    np.testing.assert_array_equal(p[0, np.isfinite(holed[0])], p_of(SMALL, scores)[0])


def test_the_first_p_value_waits_for_its_reference():
    """40 scores come before the first p-value, and each says how many it rests on."""
    _, p, n_reference = SMALL.run(SMALL.start(1), made()[:1])
    assert np.isnan(p[0, :40]).all()
    assert np.isfinite(p[0, 40:]).all()
    np.testing.assert_array_equal(n_reference[0], np.minimum(np.arange(N_BARS), 300))


pasts = st.lists(st.floats(-50, 50, width=32), min_size=10, max_size=120)


@given(past=pasts, scores=st.lists(st.floats(-60, 200, width=32), min_size=2, max_size=8))
def test_a_p_value_is_a_probability_that_never_rises_with_the_score(past, scores):
    """Whatever the past, ties and a flat one among them: in (0, 1], and odder is rarer."""
    scan = HeavyTail(window=200, min_reference=10)
    state, _, _ = scan.run(scan.start(1), np.array([past]))
    ordered = np.sort(np.array(scores))
    p = np.array([scan.run(state, np.array([[score]]))[1][0, 0] for score in ordered])
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p) <= 1e-15).all()


def test_equal_scores_are_nothing_special():
    """Where all scores are one, another of the same has the largest p there is."""
    p = p_of(SMALL, np.full((1, 200), -7.5))
    np.testing.assert_array_equal(p[0, 40:], 1)


def test_p_values_of_exchangeable_scores_come_as_often_as_they_say():
    """Of sizes that fall as the usual slope says, one in a thousand has a p of 0.001."""
    scores = 0.75 * np.random.default_rng(0).exponential(size=(4, 60_000))
    p = p_of(HeavyTail(window=2_000), scores)
    p = p[np.isfinite(p)]
    for stated in (0.1, 0.01, 0.001, 0.0001):
        assert np.mean(p <= stated) == pytest.approx(stated, rel=0.25)


def test_the_usual_slope_decides_where_the_own_past_is_short():
    """Two excesses weigh little against 300: twice the slope is the square root of the p."""
    past = np.append(np.zeros(98), [1.0, 1.1])
    beyond = {}
    for slope in (0.5, 1.0):
        scan = HeavyTail(window=100, min_reference=50, usual_slope=slope, shrinkage=1e9)
        state, _, _ = scan.run(scan.start(1), past[None])
        beyond[slope] = scan.run(state, np.array([[4.0]]))[1][0, 0]
    share = 8 / 100
    assert beyond[1.0] / share == pytest.approx((beyond[0.5] / share) ** 0.5, rel=1e-6)


def test_the_own_slope_decides_where_the_past_is_long():
    """Without shrinkage the usual slope changes nothing, and a wilder past makes a size usual."""
    calm, wild = (slope * np.random.default_rng(2).exponential(size=(1, 5_000)) for slope in (1, 3))

    def last_p(past, **numbers):
        scan = HeavyTail(window=5_000, **numbers)
        state, _, _ = scan.run(scan.start(1), past)
        return scan.run(state, np.array([[15.0]]))[1][0, 0]

    bare = [last_p(calm, shrinkage=0.0, usual_slope=slope) for slope in (0.1, 10.0)]
    assert bare[0] == bare[1]
    assert last_p(calm, shrinkage=0.0) < 1e-5
    assert last_p(wild, shrinkage=0.0) > 1e-3
    assert last_p(calm, shrinkage=0.0) != last_p(calm)


@pytest.mark.parametrize("shift", [-20.0, 3.0, 30.0])
def test_the_unit_of_money_changes_no_p_value(shift):
    """A logarithm of money in another currency is shifted; scores that a float holds exactly."""
    scores = np.round(made() * 64) / 64
    np.testing.assert_allclose(p_of(SMALL, scores + shift), p_of(SMALL, scores), rtol=1e-12)
