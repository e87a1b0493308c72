"""When a series is open, and how rare payments and silence are: against slow twins and scipy."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.forecasters.base import BinPanel
from components.opening import (
    CLOSED,
    ENDED,
    HOLIDAY,
    LIVE,
    SPARSE,
    STATES,
    WARM_UP,
    Opening,
)
from components.rarity import Rarity

N_DAY = 4
WEEK = 7 * N_DAY
few = settings(max_examples=15)

# So small a day makes bins of a week few: the bounds are in proportion.
OPENING = Opening(least_bins=8, sparse_a_week=4.0)


def panel_of(value, holidays=()):
    value = np.atleast_2d(np.asarray(value, dtype=float))
    at = np.arange(value.shape[1])
    resting = np.isin(at // N_DAY, list(holidays))
    return BinPanel(value, at % N_DAY, at % WEEK, np.ones(len(at)), resting, N_DAY)


def made(seed=0, weeks=16):
    """A shop closed at night and on Sundays, a busy one that ends, a sparse one, one that begins.

    With holidays, missing bins and a refund.
    """
    random = np.random.default_rng(seed)
    at = np.arange(weeks * WEEK)
    value = random.lognormal(3, 1, (4, len(at)))
    value[0, (at % N_DAY == 0) | (at // N_DAY % 7 == 6)] = 0.0
    value[0, 77] = -20.0
    value[1, 6 * WEEK : 12 * WEEK] = 0.0
    value[2, random.random(len(at)) > 0.12] = 0.0
    value[3, :100] = np.nan
    value[3, 150:160] = np.nan
    return panel_of(value, holidays=(20, 21, 60))


PANEL = made()
N_BINS = PANEL.n_bins


def opened(panel=PANEL, opening=OPENING):
    _, share, standing = opening.run(opening.start(panel.n_series, N_DAY), panel)
    return share, standing


def slow(value, panel, opening=OPENING):
    """One series: the share and the state of each bin from dictionaries by slot."""
    day, week, n_day, n_week = {}, {}, {}, {}
    n, active, silent, told = 0, 0.0, 0, []
    for t, amount in enumerate(value):
        h, k = int(panel.day_slot[t]), int(panel.week_slot[t])
        in_day, in_week = n_day.get(h, 0), n_week.get(k, 0)
        usual = (in_day * day.get(h, 0.0) + active) / (in_day + 1)
        share = (in_week * week.get(k, 0.0) + usual) / (in_week + 1)
        if silent >= opening.ended_weeks * WEEK:
            state = ENDED
        elif panel.is_holiday[t]:
            state = HOLIDAY
        elif in_day and share < opening.least_open:
            state = CLOSED
        elif n < opening.least_bins or (in_week == 0 and n < WEEK):
            state = WARM_UP
        elif active * WEEK >= opening.sparse_a_week:
            state = LIVE
        else:
            state = SPARSE if n >= 2 * WEEK else WARM_UP
        told.append((share, state))
        if np.isnan(amount):
            continue
        silent = 0 if amount else silent + 1
        if state in (HOLIDAY, ENDED) or panel.is_holiday[t]:
            continue
        is_active = float(amount != 0)
        n += 1
        active += max(1 / n, 1 / (4 * WEEK)) * (is_active - active)
        day[h] = day.get(h, 0.0) + max(1 / (in_day + 1), 0.05) * (is_active - day.get(h, 0.0))
        week[k] = week.get(k, 0.0) + max(1 / (in_week + 1), 0.1) * (is_active - week.get(k, 0.0))
        n_day[h], n_week[k] = in_day + 1, in_week + 1
    return np.array(told).T


def test_shares_and_states_are_the_slow_twins():
    """The compiled scan is the formula of its docstring, and every state comes about."""
    share, standing = opened()
    for i in range(4):
        wanted, state = slow(PANEL.value[i], PANEL)
        np.testing.assert_allclose(share[i], wanted, rtol=1e-12)
        np.testing.assert_array_equal(standing[i], state)
    assert set(standing.ravel()) == set(range(len(STATES)))
    assert ((share >= 0) & (share <= 1)).all()


@few
@given(cuts=st.lists(st.integers(0, N_BINS), max_size=4))
def test_any_split_gives_the_same_bits(cuts):
    """The law of a scan, of both; neither writes to the state that it was given."""
    rarity, states, pieces = Rarity(), [OPENING.start(4, N_DAY), Rarity().start(4, N_DAY)], []
    for first, stop in pairwise([0, *sorted(cuts), N_BINS]):
        panel = PANEL.bins(np.s_[first:stop])
        before = [{name: a.copy() for name, a in state.items()} for state in states]
        opening, share, standing = OPENING.run(states[0], panel)
        rare, p = rarity.run(states[1], panel, share, standing)
        for state, kept in zip(states, before, strict=True):
            for name, a in state.items():
                np.testing.assert_array_equal(a, kept[name], err_msg=name)
        states = [opening, rare]
        pieces.append((share, standing, p))
    share, standing = opened()
    _, p = rarity.run(rarity.start(4, N_DAY), PANEL, share, standing)
    for found, wanted in zip(zip(*pieces, strict=True), (share, standing, p), strict=True):
        np.testing.assert_array_equal(np.concatenate(found, axis=1), wanted)


@few
@given(at=st.integers(0, N_BINS - 30), series=st.integers(0, 3))
def test_a_bin_says_nothing_of_itself(at, series):
    """Causal: whether a bin is open is known before it, and told ahead of a fortnight."""
    value = PANEL.value.copy()
    value[series, at:] = np.where(value[series, at:] == 0, 9.0, 0.0)
    share, standing = opened(replace(PANEL, value=value))
    np.testing.assert_array_equal(share[:, : at + 1], opened()[0][:, : at + 1])
    np.testing.assert_array_equal(standing[:, : at + 1], opened()[1][:, : at + 1])
    state, *_ = OPENING.run(OPENING.start(4, N_DAY), PANEL.bins(np.s_[:at]))
    coming = replace(PANEL.bins(np.s_[at : at + 14]), value=np.full((0, 14), np.nan))
    ahead, told = OPENING.ahead(state, coming)
    np.testing.assert_array_equal(ahead[:, 0], share[:, at])
    np.testing.assert_array_equal(told[:, 0], standing[:, at])


def test_two_days_are_warmed_up_and_weekdays_until_they_were_seen():
    """With 12 bins a day the 25th is the first; the first Saturday waits for its second week."""
    value = np.full((1, 40 * 12), 5.0)
    at = np.arange(value.shape[1])
    panel = BinPanel(value, at % 12, at % 84, np.ones(len(at)), np.zeros(len(at), bool), 12)
    standing = Opening().run(Opening().start(1, 12), panel)[2][0]
    assert (standing[:84] == WARM_UP).all()
    assert (standing[84:] == LIVE).all()
    # Were all slots of the week seen within a day, the 25th bin would be judged.
    hourly = replace(panel, week_slot=at % 12)
    standing = Opening().run(Opening().start(1, 12), hourly)[2][0]
    assert (standing[:24] == WARM_UP).all()
    assert (standing[24:] == LIVE).all()


@pytest.mark.parametrize("times", [0.5, 0.8, 1.25, 2.0])
def test_sparse_is_who_has_few_active_bins_a_week(times):
    """Told after two weeks; before that nobody knows."""
    every = round(WEEK / (OPENING.sparse_a_week * times))
    value = np.where(np.arange(12 * WEEK) % every == 0, 7.0, 0.0)
    standing = opened(panel_of(value), replace(OPENING, least_open=0.0))[1][0]
    assert SPARSE not in standing[: 2 * WEEK]
    is_sparse = WEEK / every < OPENING.sparse_a_week
    assert (standing[4 * WEEK :] == (SPARSE if is_sparse else LIVE)).all()


def test_who_ends_comes_back_as_he_was():
    """After four silent weeks it has ended; a year later it is live with its first payment."""
    value = np.full(80 * WEEK, 5.0)
    value[10 * WEEK : 70 * WEEK] = 0.0
    standing = opened(panel_of(value))[1][0]
    assert (standing[14 * WEEK : 70 * WEEK + 1] == ENDED).all()
    assert ENDED not in standing[: 14 * WEEK]
    assert (standing[70 * WEEK + 1 :] == LIVE).all()


def rare(value, share, standing):
    value = np.atleast_2d(np.asarray(value, dtype=float))
    shape = value.shape
    share, standing = (np.broadcast_to(a, shape) for a in (share, standing))
    rarity = Rarity()
    return rarity.run(rarity.start(shape[0], N_DAY), panel_of(value), share, standing)[1]


def test_a_payment_while_closed_is_as_rare_as_it_was():
    """(1 + those that had one) / (1 + closed bins) so far; without a payment nothing is asked."""
    random = np.random.default_rng(1)
    value = (random.random(500) < 0.1) * 5.0
    p = rare(value, 0.02, CLOSED)[0]
    before = np.cumsum(value > 0) - (value > 0)
    wanted = np.where(value > 0, (1 + before) / (1 + np.arange(500)), np.nan)
    np.testing.assert_allclose(p, wanted, rtol=1e-12)


@few
@given(seed=st.integers(0, 1000), busy=st.floats(0.05, 0.9))
def test_crowds_and_silence_are_scipys(seed, busy):
    """The smaller chance of a Poisson crowd within a day and of so long a silence, doubled."""
    random = np.random.default_rng(seed)
    share = random.uniform(0.02, busy, 200)
    value = (random.random(200) < share) * 3.0
    p = rare(value, share, SPARSE)[0]
    silence = 0.0
    for t in range(200):
        day = slice(max(t - N_DAY + 1, 0), t + 1)
        crowd = stats.poisson.sf((value[day] > 0).sum() - 1, share[day].sum())
        silence = 0.0 if value[t] else silence + math.log1p(-share[t])
        np.testing.assert_allclose(p[t], min(1, 2 * min(crowd, math.exp(silence))), rtol=1e-9)


def test_the_silence_of_a_busy_series_is_never_surer_than_its_bins():
    """No bin is surer than 98 % to have a payment: one empty one is p = 0.02, two 0.0004."""
    value = np.full(40, 5.0)
    value[[10, 20, 21, 22]] = 0.0
    p = rare(value, 1.0, LIVE)[0]
    np.testing.assert_allclose(p[[10, 20, 21, 22]], [0.02, 0.02, 0.0004, 0.02**3], rtol=1e-9)
    assert np.isnan(np.delete(p, [10, 20, 21, 22])).all()


@pytest.mark.parametrize("standing", [WARM_UP, HOLIDAY, ENDED])
def test_of_other_bins_nothing_is_asked(standing):
    """Warm-up, holidays and ended series have no p; bins that are missing have none either."""
    assert np.isnan(rare([0.0, 5.0, np.nan, 0.0], 0.5, standing)).all()
    assert np.isnan(rare([np.nan] * 4, 0.5, SPARSE)).all()


def test_a_steady_sparse_series_is_called_rare_at_most_at_the_rate():
    """Of payments at random no more than the stated share has a p as small."""
    random = np.random.default_rng(2)
    share = np.full((50, 2000), 0.12)
    p = rare((random.random(share.shape) < share) * 1.0, share, SPARSE)
    for alpha in (0.05, 0.01):
        assert (p <= alpha).mean() <= alpha
