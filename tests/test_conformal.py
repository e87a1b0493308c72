"""The widths that keep a coverage and the p-values, against the formulas over plain lists."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.conformal import Conformal

few = settings(max_examples=15)


def outward(past, side):
    """The errors in order towards a side, as positive as they lie out on it."""
    return sorted(side * float(e) for e in past)


def tail(ordered):
    """The exponential law of the outer tenth, five errors at least: size, begin, mean."""
    k = min(max(int(0.1 * len(ordered)), 5), len(ordered) - 1)
    begin = ordered[-k - 1]
    return k, begin, sum(e - begin for e in ordered[-k:]) / k


def quantile(ordered, a):
    """The one of rank (1 - a)(n + 1), between ranks by the line, beyond them by the tail."""
    n = len(ordered)
    rank = (1 - a) * (n + 1)
    if rank > n:
        k, begin, mean = tail(ordered)
        return max(ordered[-1], begin + mean * math.log(k / n / a))
    low = max(math.floor(rank), 1)
    part = min(max(rank - low, 0), 1)
    return ordered[low - 1] * (1 - part) + ordered[min(low, n - 1)] * part


def widths(past, shift, miss, trusted=100, least=6):
    n = len(past)
    if n < least:
        return math.nan, math.nan
    a = min(miss * math.exp(shift), 0.5) / 2
    share = min(n / trusted, 1)
    student = stats.t.ppf(1 - miss / 2, min(n, trusted) - 1) * math.sqrt(1 + 1 / min(n, trusted))
    own = [quantile(outward(past, side), a) for side in (-1, 1)]
    return tuple(share * width + (1 - share) * student for width in own)


def p_value(past, score):
    n = len(past)
    counts = {1: sum(e >= score for e in past), -1: sum(e <= score for e in past)}
    side = 1 if counts[1] <= counts[-1] else -1
    if counts[side]:
        return min(2 * (1 + counts[side]) / (n + 1), 1)
    k, begin, mean = tail(outward(past, side))
    if mean <= 0:
        return 2 / (n + 1)
    by_tail = 2 * k / n * math.exp(-(side * float(score) - begin) / mean)
    return min(max(by_tail, 1e-12), 2 / (n + 1))


def slow(errors, miss, window, gain=0.02):
    """One series, bin by bin: below, above, p; and the rate's correction at the end."""
    past, shift, told = [], 0.0, []
    for error in np.float32(errors):
        below, above = widths(past, shift, miss)
        p = math.nan
        if not np.isnan(error):
            if len(past) >= 6:
                p = p_value(past, error)
                missed = error > above or error < -below
                shift = min(max(shift + gain * (miss - missed), -1.5), 1.5)
            past = [*past, error][-window:]
        told.append((below, above, p))
    return np.array(told).T, shift


def made(seed=0, n_series=3, n=400):
    """Heavy tails, some errors missing, some that are the same; the third grows three times."""
    random = np.random.default_rng(seed)
    error = random.standard_t(3, (n_series, n)) + 0.3
    error[0, 100:110] = 0.0
    error[1, random.random(n) < 0.1] = np.nan
    error[2] *= np.linspace(1, 3, n)
    return error


def everything(error):
    return np.ones(error.shape, np.bool_)


def run(error, conformal=None, state=None):
    conformal = conformal or Conformal()
    state = conformal.start(len(error)) if state is None else state
    return conformal.run(state, error, everything(error))


@pytest.mark.parametrize("miss", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("window", [50, 130, 1000])
def test_the_scan_equals_its_slow_twin(miss, window):
    """Quantiles, tail, Student's share, the rate that follows misses, p; full windows included.

    Errors are held in 32 bits, so seven digits are the same.
    """
    error = made()
    state, below, above, p = run(error, Conformal(miss, window))
    for i in range(3):
        told, shift = slow(error[i], miss, window)
        for found, wanted in zip((below, above, p), told, strict=True):
            np.testing.assert_allclose(found[i], wanted, rtol=1e-6)
        np.testing.assert_allclose(state["shift"][i], shift, rtol=1e-9)


@few
@given(cut=st.integers(0, 400))
def test_now_tells_the_widths_of_the_next_run(cut):
    """What is announced is what is held against; a split changes no bit."""
    error, conformal = made(), Conformal(window=150)
    whole, below, above, p = run(error, conformal)
    state, *first = run(error[:, :cut], conformal)
    end, *rest = run(error[:, cut:], conformal, state)
    for one, other, both in zip(first, rest, (below, above, p), strict=True):
        np.testing.assert_array_equal(np.concatenate([one, other], axis=1), both)
    for name, a in whole.items():
        np.testing.assert_array_equal(end[name], a, err_msg=name)
    if cut < error.shape[1]:
        for now, next_ in zip(conformal.now(state), rest[:2], strict=True):
            np.testing.assert_array_equal(now, next_[:, 0])


@few
@given(seed=st.integers(0, 1000))
def test_turning_signs_swaps_the_sides(seed):
    """What is rare below is as rare above."""
    error = made(seed)
    _, below, above, p = run(error)
    _, other_below, other_above, other_p = run(-error)
    np.testing.assert_array_equal(other_below, above)
    np.testing.assert_array_equal(other_above, below)
    np.testing.assert_array_equal(other_p, p)


@few
@given(seed=st.integers(0, 1000))
def test_a_window_forgets_what_has_left_it(seed):
    """After a whole window the errors held are the last ones, whatever came before them."""
    error = made(seed, n=200)
    error[1] = np.nan_to_num(error[1])
    other = error.copy()
    other[:, :140] *= 100
    conformal = Conformal(window=60)
    states = [run(e, conformal)[0] for e in (error, other)]
    for state in states:
        np.testing.assert_array_equal(
            np.sort(state["past"], axis=1), np.sort(error[:, -60:].astype(np.float32), axis=1)
        )
        np.testing.assert_array_equal(state["n"], [200, 200, 200])


def test_what_does_not_count_enters_nothing():
    """Closed bins and missing ones: no p, no memory, no change of the rate."""
    error, conformal = made(), Conformal()
    state, *_ = run(error, conformal)
    after, below, _, p = conformal.run(state, error[:, :50], np.zeros((3, 50), np.bool_))
    assert np.isnan(p).all()
    np.testing.assert_array_equal(below, np.repeat(below[:, :1], 50, axis=1))
    for name, a in state.items():
        np.testing.assert_array_equal(after[name], a, err_msg=name)


LAWS = {
    "normal": lambda random, shape: random.standard_normal(shape),
    "heavy": lambda random, shape: random.standard_t(3, shape),
    "skewed": lambda random, shape: random.exponential(1, shape) - 1,
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_p_values_of_independent_errors_are_honest(law, alpha):
    """A p of 0.01 and less comes about once in a hundred bins; of few, heavy errors twice."""
    error = LAWS[law](np.random.default_rng(1), (40, 1500))
    _, _, _, p = run(error)
    assert (p[:, 200:] <= alpha).mean() <= 1.3 * alpha
    assert (p[:, 200:] <= alpha).mean() >= 0.7 * alpha
    assert (p[:, 12:200] <= alpha).mean() <= 2 * alpha


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("miss", [0.05, 0.01])
def test_widths_keep_the_coverage(law, miss):
    """Of independent errors the stated share lies outside, early and late."""
    error = LAWS[law](np.random.default_rng(2), (40, 1500))
    _, below, above, _ = run(error, Conformal(miss))
    outside = (error > above) | (error < -below)
    assert abs(outside[:, 200:].mean() - miss) <= 0.3 * miss
    assert outside[:, 6:200].mean() <= max(1.5 * miss, 0.03)


def test_a_side_that_errs_less_is_told_more_narrowly():
    """Payments that only ever jump up have a band that is close below and wide above."""
    error = LAWS["skewed"](np.random.default_rng(3), (5, 600))
    _, below, above, _ = run(error)
    assert (below[:, 300:] < 0.5 * above[:, 300:]).all()


def test_before_six_errors_nothing_is_said():
    """The first widths come with the seventh bin, from Student's t for the most part."""
    _, below, above, p = run(made())
    assert np.isnan(below[0, :6]).all()
    assert np.isnan(p[0, :6]).all()
    assert np.isfinite(above[0, 6:]).all()
