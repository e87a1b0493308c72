"""Views asked apart from the vote: their shares of the rate, and one p-value of them all."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.apart import FINEST, SHARES, claimed, heard, joined, shares_of
from components.records import View
from components.settings import ENSEMBLE
from components.stances import in_words


def test_the_shares_are_those_of_the_rate():
    """Stated ones where the vote resolves the rate; below, all for the finest that is asked."""
    rates, names = np.array([0.01, 1e-5]), tuple(SHARES)
    found = shares_of(names, rates, 1e-4)
    assert found.shape == (2, 2, 1)
    np.testing.assert_array_equal(found[:, 0, 0], list(SHARES.values()))
    np.testing.assert_array_equal(found[:, 1, 0], [name == FINEST for name in names])
    np.testing.assert_array_equal(shares_of(("swing",), rates, 1e-4)[0, :, 0], [0.3, 1])
    assert sum(SHARES.values()) < 1


p_values = st.one_of(st.just(math.nan), st.floats(1e-12, 1))
weights = st.sampled_from([(0.1, 0.3), (0.0, 0.3), (1.0, 0.0), (0.7, 0.3), (0.0, 0.0)])


@given(vote=p_values, own=st.tuples(p_values, p_values), shares=weights)
def test_one_p_value_of_several_is_no_smaller_than_their_shares_allow(vote, own, shares):
    """A share of 0 asks nothing, shares of 1 ask no vote, and who abstains leaves its own."""
    apart_p = np.array(own)[:, None, None]
    asked = claimed(apart_p, np.array(shares)[:, None, None])
    p = joined(np.array([[vote]]), apart_p, asked)[0, 0]
    speaking = [(q, w) for q, w in zip(own, shares, strict=True) if w and not math.isnan(q)]
    left = 1 - sum(w for _, w in speaking)
    if left > 1e-9 and not math.isnan(vote):
        speaking.append((vote, left))
    if not speaking:
        assert math.isnan(p)
        return
    assert p == pytest.approx(min(1, *(q / w for q, w in speaking)))
    assert p >= min(q for q, _ in speaking)


def test_views_that_say_the_same_and_that_do_not_keep_the_rate():
    """The joined p is at most alpha on no more than 1.1 alpha of bars, however they depend."""
    vote, other, third = np.random.default_rng(3).random((3, 1, 400_000))
    for own in ((other, third), (vote, vote), (1 - vote, other), (other, 1 - other)):
        apart_p = np.stack(own)
        asked = claimed(apart_p, shares_of(tuple(SHARES), np.array([0.01]), 1e-4))
        p = joined(vote, apart_p, asked)
        for alpha in (0.1, 0.01, 0.001):
            assert np.mean(p <= alpha) <= alpha * 1.1


def test_an_alert_of_its_own_says_so():
    """By the name that people read; two that are asked apart are both said."""
    views = [View(name, "against", 0.5) for name in ENSEMBLE]
    surge, swing = View("surge", "against", 0.5), View("swing of 60 bars", "voted", 1e-5)
    assert in_words([*views, surge, swing], 1, 2).startswith(
        "1 of 7 views calls it unusual: swing of 60 bars, which is asked apart and needs no second"
    )
    both = [*views, View("surge", "voted", 1e-6), swing]
    assert "surge and swing of 60 bars, which are asked apart and need no second" in in_words(
        both, 2, 2
    )


def test_a_swing_that_begins_every_few_hours_puts_no_bar_before_others():
    """Beyond ten times what it is asked at it has p = 1; a surge, and one that abstains, do not."""
    names, rates = ("surge", "swing"), np.array([1e-3])
    shares = shares_of(names, rates, 1e-4)
    p = np.array([[[0.5, 2e-3, math.nan]], [[0.5, 2e-3, math.nan]]])
    found = heard(names, p, shares, rates)
    np.testing.assert_array_equal(found[0], p[0])
    np.testing.assert_array_equal(found[1], [[1.0, 2e-3, math.nan]])
