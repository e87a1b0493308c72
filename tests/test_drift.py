"""Drift: how far what a model sees has moved, counted bar by bar as over the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.drift import BOUND, LEAST_BARS, N_BINS, RecentBins, Usual

N_BARS = 60
cuts = st.lists(st.integers(0, N_BARS), max_size=5).map(sorted)


def columns(seed=0, n_bars=N_BARS, shift=0.0):
    """Two columns of three instruments; some bars are incomplete."""
    x = np.random.default_rng(seed).normal(shift, 1, (3, n_bars, 2))
    x[0, 5:9, 1] = np.nan
    return x


def usual(seed=9, n=20_000):
    return Usual.of(np.random.default_rng(seed).normal(0, 1, (n, 2)))


def slowly(x, edges, half_life):
    """The decayed counts of one instrument, one bar after the other."""
    counts = np.zeros((x.shape[1], N_BINS))
    for bar in x:
        if np.isnan(bar).any():
            continue
        counts *= 0.5 ** (1 / half_life)
        for j, value in enumerate(bar):
            counts[j, int((edges[j] <= value).sum())] += 1
    return counts


@given(seed=st.integers(0, 1000), half_life=st.floats(2, 500))
def test_counts_are_those_of_the_slow_way(seed, half_life):
    """Each whole bar weighs half as much after so many more."""
    recent, x = RecentBins(usual(), half_life), columns(seed)
    _, counts = recent.run(recent.start(3), x)
    for own, found in zip(x, counts, strict=True):
        np.testing.assert_allclose(found, slowly(own, recent.usual.edges, half_life))


@given(cuts=cuts)
def test_counts_in_pieces_are_those_of_the_whole(cuts):
    """The law of carried state, to the bit."""
    recent, x = RecentBins(usual()), columns()
    whole, counts = recent.run(recent.start(3), x)
    state = recent.start(3)
    for first, last in zip([0, *cuts], [*cuts, N_BARS], strict=True):
        state, pieces = recent.run(state, x[:, first:last])
    np.testing.assert_array_equal(state["counts"], whole["counts"])
    np.testing.assert_array_equal(pieces, counts)


def index(shift=0.0, scale=1.0, n=3000, seed=4):
    """The stability of ``n`` bars that were moved or widened."""
    x = np.random.default_rng(seed).normal(0, 1, (1, n, 2))
    x[..., 0] = shift + scale * x[..., 0]
    recent = RecentBins(usual(), half_life=1e9)
    _, counts = recent.run(recent.start(1), x)
    return recent.usual.stability(counts.sum(axis=0))


def test_what_has_not_moved_is_stable():
    """Bars like those of the training: next to nothing, and only the moved column is named."""
    assert index().max() < 0.02
    moved = index(shift=1.0)
    assert moved[0] > BOUND
    assert moved[1] < 0.02


def test_a_larger_move_is_a_larger_index():
    """In place and in width."""
    by_shift = [index(shift=s)[0] for s in (0, 0.3, 0.6, 1.2)]
    by_scale = [index(scale=s)[0] for s in (1, 1.5, 2, 4)]
    assert by_shift == sorted(by_shift)
    assert by_scale == sorted(by_scale)


def test_the_index_is_that_of_the_textbook():
    """Sum of (q - p) ln(q / p), by hand."""
    still = Usual(np.zeros((1, N_BINS - 1)), np.full((1, N_BINS), 0.1))
    counts = np.array([[200.0, 0, *[100] * 8]])
    expected = 0.1 * np.log(2) + (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert still.stability(counts)[0] == pytest.approx(expected)


def test_few_bars_say_nothing():
    """An index of a handful of bars is noise: it is unknown, not alarming."""
    still = usual()
    few = np.zeros((2, N_BINS))
    few[:, 0] = LEAST_BARS - 1
    assert np.isnan(still.stability(few)).all()
    few[:, 0] = LEAST_BARS
    assert (still.stability(few) > BOUND).all()


def test_a_column_of_one_value_is_counted_where_it_lies():
    """Volumes that are mostly 0 fill one bin in training as now."""
    rows = np.where(np.random.default_rng(0).random((1000, 1)) < 0.8, 0.0, 1.0)
    spread = Usual.of(rows)
    assert spread.shares.sum() == pytest.approx(1)
    recent = RecentBins(spread, half_life=1e9)
    _, counts = recent.run(recent.start(1), rows[None])
    assert spread.stability(counts.sum(axis=0))[0] == pytest.approx(0, abs=1e-12)
