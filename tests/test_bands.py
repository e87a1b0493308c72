"""The band: its laws as a scan, the coverage that it states, and what it says of odd days."""

import pickle
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bands import Band, Banded, powered, restored
from components.forecasters.base import BinPanel
from components.forecasters.slot_ewma import SlotEwma
from components.opening import CLOSED, ENDED, HOLIDAY, LIVE, SPARSE

N_DAY = 12
WEEK = 7 * N_DAY
SHOWN = ("expected", "lower", "upper")
NAMES = tuple(field.name for field in fields(Banded))
few = settings(max_examples=15)


def panel_of(value, holidays=()):
    """Two-hour bins from a Monday's midnight on; ``holidays`` are days from there."""
    value = np.atleast_2d(np.asarray(value, dtype=float))
    at = np.arange(value.shape[1])
    resting = np.isin(at // N_DAY, list(holidays))
    return BinPanel(value, at % N_DAY, at % WEEK, np.ones(len(at)), resting, N_DAY)


def made(seed=0, n_series=12, weeks=30, growth=1.0, noise=0.15):
    """Series of shops: closed from midnight to eight and at weekends, with heavy-tailed noise."""
    random = np.random.default_rng(seed)
    at = np.arange(weeks * WEEK)
    slot, day = at % N_DAY, at // N_DAY % 7
    shape = np.where((slot < 4) | (day >= 5), 0, 1 + 0.5 * np.sin(np.pi * (slot - 4) / 8))
    error = noise * random.standard_t(4, (n_series, len(at)))
    return 1000 * shape * (1 + 0.1 * day) * growth ** (at / len(at)) * np.exp(error)


def judged(value, miss=0.01, holidays=()):
    panel, band = panel_of(value, holidays), Band(SlotEwma(), miss)
    return band.run(band.start(panel.n_series, N_DAY), panel)[1]


@cache
def odd_panel():
    """Five weeks of all that there is: a night shop, refunds, a gap, holidays, an odd length."""
    value = made(seed=3, n_series=5, weeks=5, noise=0.3)
    random = np.random.default_rng(4)
    value[1] = random.lognormal(3, 1, value.shape[1]) * (random.random(value.shape[1]) < 0.12)
    value[2, 150] = -40.0
    value[3, :60] = np.nan
    value[3, 200:215] = np.nan
    value[4, 250:] = 0.0
    panel = panel_of(value, holidays=(9, 25))
    length = panel.length.copy()
    length[83], length[301] = 1.5, 0.5
    return replace(panel, length=length)


N_BINS = 5 * WEEK
BAND = Band(SlotEwma())


def run(at=np.s_[:], state=None, panel=None, band=BAND):
    panel = (odd_panel() if panel is None else panel).bins(at)
    state = band.start(panel.n_series, N_DAY) if state is None else state
    return band.run(state, panel)


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name, a in one.items():
        assert a.dtype == other[name].dtype, name
        np.testing.assert_array_equal(a, other[name], err_msg=name)


def assert_same(one, other, at=np.s_[:, :], names=NAMES):
    for name in names:
        a, b = getattr(one, name)[at], getattr(other, name)[at]
        np.testing.assert_array_equal(a, b, err_msg=name)


@few
@given(
    last=st.integers(1, N_BINS - 1),
    series=st.integers(0, 4),
    other=st.sampled_from([77777.0, -77777.0, 0.0]),
)
def test_a_bin_changes_nothing_that_was_told_before_it(last, series, other):
    """Causal: bounds come from the bins before; a verdict from these and the bin itself."""
    panel = odd_panel()
    value = panel.value.copy()
    value[series, last:] = other
    changed, whole = run(panel=replace(panel, value=value))[1], run()[1]
    assert_same(changed, whole, np.s_[:, :last])
    assert_same(changed, whole, np.s_[:, : last + 1], (*SHOWN, "standing", "share"))


@few
@given(cuts=st.lists(st.integers(0, N_BINS), max_size=5))
def test_any_split_gives_the_same_bits(cuts):
    """The law of a scan, of all that is told and of the state; empty pieces included."""
    end, whole = run()
    state, pieces = None, []
    for first, stop in pairwise([0, *sorted(cuts), N_BINS]):
        state, found = run(np.s_[first:stop], state)
        pieces.append(found)
    assert_same_state(state, end)
    for name in NAMES:
        joined = np.concatenate([getattr(piece, name) for piece in pieces], axis=1)
        np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)


@few
@given(at=st.integers(0, N_BINS - 1))
def test_the_band_announced_of_a_bin_is_the_one_it_is_judged_by(at):
    """``ahead`` of one bin tells what ``run`` then holds the bin against."""
    state, _ = run(np.s_[:at])
    coming = odd_panel().bins(np.s_[at : at + 1])
    _, told = BAND.run(state, coming)
    blank = BAND.ahead(state, replace(coming, value=np.full((5, 1), np.nan)))
    for name in (*SHOWN, "standing", "share"):
        a, b = getattr(blank, name), getattr(told, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


@few
@given(at=st.integers(0, N_BINS - 30), n=st.integers(1, 30))
def test_missing_bins_change_nothing(at, n):
    """A bin that is not known is no zero: the state stays, and nothing of it is outside."""
    state, _ = run(np.s_[:at])
    panel = odd_panel().bins(np.s_[at : at + n])
    after, found = BAND.run(state, replace(panel, value=np.full_like(panel.value, np.nan)))
    assert_same_state(after, state)
    assert not found.is_outside.any()
    assert not found.is_silent.any()
    assert np.isnan(found.p).all()


def test_a_panel_equals_its_series_one_by_one():
    """No series looks at the next."""
    end, whole = run()
    for i in range(5):
        one = slice(i, i + 1)
        state, alone = run(panel=odd_panel().series(one))
        assert_same_state(state, {name: a[one] for name, a in end.items()})
        for name in NAMES:
            np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name)[one])


def test_a_series_times_a_number_has_its_band_times_it():
    """Pounds or thousandths of them: bounds follow the unit, verdicts do not."""
    panel = odd_panel()
    plain, many = run()[1], run(panel=replace(panel, value=1000 * panel.value))[1]
    for name in SHOWN:
        a, b = getattr(plain, name), getattr(many, name)
        np.testing.assert_allclose(b, 1000 * a, rtol=1e-5, atol=1e-6, err_msg=name)
    assert_same(plain, many, names=("is_outside", "is_silent", "standing", "share"))


def test_a_bin_half_as_long_is_expected_to_have_half():
    """Where clocks change a bin's payments are judged by its real length."""
    value, panel = made(n_series=3, weeks=10), panel_of(made(n_series=3, weeks=10))
    length = np.random.default_rng(5).choice([0.5, 1.0, 1.5], value.shape[1])
    plain = run(panel=panel)[1]
    stretched = run(panel=replace(panel, value=value * length, length=length))[1]
    for name in SHOWN:
        a, b = getattr(plain, name) * length, getattr(stretched, name)
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6, err_msg=name)
    assert_same(plain, stretched, names=("is_outside", "standing", "share"))


@given(st.floats(-1e9, 1e9))
def test_values_are_taken_to_the_power_of_two_thirds_and_back(value):
    """Refunds keep their sign, nothing stays nothing."""
    found = powered(np.array([8.0, -27.0, 0.0, value]))
    np.testing.assert_allclose(found[:3], [4.0, -9.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(restored(found)[3], value, rtol=1e-9, atol=1e-300)


def test_running_is_deterministic_and_pure():
    """The same after pickling; neither the state nor the panel is written to."""
    panel, start = odd_panel(), BAND.start(5, N_DAY)
    kept, before = panel.value.copy(), {name: a.copy() for name, a in start.items()}
    end, found = BAND.run(start, panel)
    again, same = pickle.loads(pickle.dumps(BAND)).run(start, panel)
    assert_same_state(start, before)
    np.testing.assert_array_equal(panel.value, kept)
    assert_same_state(again, end)
    assert_same(same, found)


@pytest.mark.parametrize(("miss", "slack"), [(0.01, 0.006), (0.05, 0.015)])
def test_the_stated_coverage_is_kept_while_a_business_grows(miss, slack):
    """Nights and weekends closed, heavy tails, growth of three times: what was said holds."""
    value = made(seed=1, weeks=40, growth=3.0)
    found = judged(value, miss)
    late = (found.standing == LIVE) & (np.arange(value.shape[1]) >= value.shape[1] // 3)
    inside = (found.lower <= value) & (value <= found.upper)
    assert abs(inside[late].mean() - (1 - miss)) <= slack
    np.testing.assert_array_equal(~inside[late], found.is_outside[late])
    # The nights are no payments to be judged.
    assert (found.standing[late.any(axis=1)] == CLOSED).any()
    assert not found.is_outside[found.standing == CLOSED].any()


@pytest.mark.parametrize("times", [3.0, 1 / 3])
def test_coverage_is_kept_again_soon_after_a_level_shift(times):
    """A business that triples over night has its band back after a fortnight."""
    value = made(seed=2, weeks=40)
    value[:, 20 * WEEK :] *= times
    found = judged(value)
    late = (found.standing == LIVE) & (np.arange(value.shape[1]) >= 22 * WEEK)
    assert abs(found.is_outside[late].mean() - 0.01) <= 0.006


HOURS = np.arange(41) % N_DAY
SHAPES = {
    "flat": np.ones(41),
    "by the hour": 1 + 0.5 * np.sin(2 * np.pi * HOURS / N_DAY),
    "closed at night": np.where(HOURS < 4, 0, 1 + 0.5 * np.sin(np.pi * (HOURS - 4) / 8)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_thirty_bins_of_history_are_enough_for_a_band(shape):
    """From the 24th bin on every bin has bounds, and at 95 % they hold nine of ten and more."""
    random = np.random.default_rng(6)
    value = 1000 * SHAPES[shape] * np.exp(0.15 * random.standard_t(4, (300, 41)))
    found = judged(value, miss=0.05)
    asked = np.s_[:, np.flatnonzero((np.arange(41) >= 24) & (SHAPES[shape] > 0))]
    assert np.isfinite(found.lower[asked]).all()
    inside = (found.lower <= value) & (value <= found.upper)
    assert inside[asked].mean() >= 0.9
    assert inside[:, 30:][:, SHAPES[shape][30:] > 0].mean(axis=0).min() >= 0.85


def test_only_who_had_refunds_may_go_below_zero():
    """Before the first refund no bound is below 0; behind it there is no such floor."""
    value = made(seed=3, weeks=10, noise=1.0)
    # A Friday noon: the bin's own refund says nothing of its own bounds.
    value[:, 390] = -500.0
    found = judged(value)
    assert np.nanmin(found.lower[:, :391]) == 0
    assert np.nanmin(found.lower[:, 391:]) < 0
    assert np.nanmin(judged(made(seed=3, weeks=10, noise=1.0)).lower) == 0


def test_zeros_at_night_are_inside():
    """A shop that is closed is not told of; a band of nothing holds nothing."""
    value = made(weeks=12)
    found = judged(value)
    at = np.arange(value.shape[1])
    zero, is_weekend = value == 0, at // N_DAY % 7 >= 5
    night = zero & ~is_weekend & (at >= WEEK)
    # A day of rest is known for one after it was seen seven times, and is told of before that
    # only if silence is rare, in its second week.
    rest = zero & is_weekend & (at >= 7 * WEEK)
    assert (found.standing[night | rest] == CLOSED).all()
    assert not (found.is_outside | found.is_silent)[zero & (at >= 2 * WEEK)].any()
    assert not found.is_outside[zero].any()
    assert (found.lower[night | rest] == 0).all()
    assert (found.upper[night | rest] == 0).all()


def test_a_sale_in_the_night_is_told_where_there_never_was_one():
    """One sale at three after weeks of none is odd; the tenth night in a row it is not."""
    value, at = made(weeks=30), 20 * WEEK + 1
    nights = np.arange(at, 25 * WEEK, N_DAY)
    value[:, nights] = np.where(value[:, nights] == 0, 50.0, value[:, nights])
    found = judged(value)
    assert (found.standing[:, at] == CLOSED).all()
    assert found.is_outside[:, at].all()
    assert (found.p[:, at] <= 0.01).all()
    assert not found.is_outside[:, nights[10:]].any()


@pytest.mark.parametrize("noise", [0.15, 0.8])
def test_an_outage_is_told_by_its_second_bin(noise):
    """Also where sales vary so much that nothing is inside of the band."""
    value, at = made(seed=7, noise=noise), 25 * WEEK + 6
    value[:, at : at + 4] = 0.0
    found = judged(value)
    assert (found.is_outside | found.is_silent)[:, at : at + 2].any(axis=1).all()
    assert (found.is_silent[:, at + 1]).all()
    assert (found.p[:, at + 1] <= 0.005).all()


def test_a_series_that_ends_is_told_and_then_left_in_peace():
    """After four weeks it has ended; with its next payments it is live, as it was."""
    value = made()
    value[:, 15 * WEEK : 22 * WEEK] = 0.0
    found = judged(value)
    told = found.is_outside | found.is_silent
    assert told[:, 15 * WEEK : 15 * WEEK + 6].any(axis=1).all()
    ended = np.s_[:, 19 * WEEK : 22 * WEEK]
    assert (found.standing[ended] == ENDED).all()
    assert not told[ended].any()
    # The first payment ends the end; the bin after it is judged as ever.
    opened = np.s_[:, 22 * WEEK + 5 : 27 * WEEK]
    is_open = value[opened] > 0
    assert (found.standing[opened][is_open] == LIVE).all()
    assert np.isfinite(found.lower[opened]).all()


def test_a_sparse_series_has_no_band_and_its_long_silence_is_told():
    """Ten payments a week: bounds would say nothing, so time is judged, at the stated rate."""
    random = np.random.default_rng(8)
    shape = (40, 40 * WEEK)
    value = (random.random(shape) < 10 / WEEK) * random.lognormal(3, 1, shape)
    value[:, 36 * WEEK :] = 0.0
    found = judged(value)
    usual = np.s_[:, 3 * WEEK : 36 * WEEK]
    assert np.isin(found.standing[usual], (SPARSE, CLOSED)).mean() > 0.995
    assert np.isnan(found.upper[found.standing == SPARSE]).all()
    assert found.is_outside[usual].mean() <= 0.01
    assert found.is_outside[:, 36 * WEEK : 37 * WEEK].any(axis=1).all()


def test_holidays_are_not_judged_and_teach_nothing():
    """What holidays held is forgotten: later bands are the same whatever was paid on them.

    Against a panel that lacks their values only the last error has faded, and the time of
    silence and the chances that it is counted with went on; nothing that was learned moved.
    """
    days = range(70, 77)
    at, after = np.s_[:, 70 * N_DAY : 77 * N_DAY], np.s_[:, 77 * N_DAY :]
    value = made(weeks=20)
    states, told = [], []
    for paid in (0.0, 1e6, np.nan):
        value[at] = paid
        panel = panel_of(value, days)
        states.append(BAND.run(BAND.start(12, N_DAY), panel.bins(np.s_[: 77 * N_DAY]))[0])
        told.append(judged(value, holidays=days))
        assert (told[-1].standing[at] == HOLIDAY).all()
        assert not (told[-1].is_outside | told[-1].is_silent)[at].any()
        assert (told[-1].upper[at] == 0).all()
    assert_same(told[0], told[1], after, (*SHOWN, "is_outside", "standing", "share"))
    learned = [
        {
            name: a
            for name, a in state.items()
            if name not in ("opening.silent", "forecaster.error") and "rarity" not in name
        }
        for state in states
    ]
    assert_same_state(learned[0], learned[1])
    assert_same_state(learned[0], learned[2])
