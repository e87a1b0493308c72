"""Laws of every registered forecaster, slow twins of the fast ones, and what a restore refuses."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.carried import Snapshot, from_arrow, to_arrow
from components.errors import NotEnoughBars, UnknownName
from components.forecasters import FORECASTERS, forecaster_named
from components.forecasters.base import BinPanel
from components.forecasters.boosted import N_FEATURES, Boosted
from components.forecasters.ridge import Ridge
from components.forecasters.seasonal_naive import SeasonalNaive
from components.forecasters.slot_ewma import SlotEwma
from components.forecasters.spread import SlotSpread
from tests.forecaster_cases import (
    FORECASTER_CASES,
    N_BINS,
    N_DAY,
    N_SERIES,
    forecaster_of,
    made_panel,
)

every_case = pytest.mark.parametrize("case", FORECASTER_CASES, ids=str)
every_trained = pytest.mark.parametrize(
    "case", [case for case in FORECASTER_CASES if case.is_trained], ids=str
)
few = settings(deadline=None, max_examples=10)

# Each series has enough behind it, four weeks and more, to be forecast by everyone.
SOME_BINS = 120

SIDES = ("middle", "below", "above")


def run(case, panel, x, is_open, state=None):
    forecaster = forecaster_of(case.id, panel.n_day)
    if state is None:
        state = forecaster.start(panel.n_series, panel.n_day)
    return forecaster.run(state, panel, x, is_open)


def part(made, at):
    panel, x, is_open = made
    return panel.bins(at), x[:, at], is_open[:, at]


def ahead(case, state, panel, is_open):
    blank = BinPanel(
        np.full(panel.value.shape, np.nan),
        panel.day_slot,
        panel.week_slot,
        panel.length,
        panel.is_holiday,
        panel.n_day,
    )
    return forecaster_of(case.id, panel.n_day).ahead(state, blank, is_open)


def assert_same(one, other, rtol=0.0, times=1.0):
    for side in SIDES:
        a, b = getattr(one, side), getattr(other, side)
        np.testing.assert_allclose(a * times, b, rtol=rtol, err_msg=side)


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name, a in one.items():
        assert a.dtype == other[name].dtype, name
        np.testing.assert_array_equal(a, other[name], err_msg=name)


def test_every_registered_forecaster_has_a_case():
    """A forecaster outside of the table would silently skip every law."""
    assert [case.id for case in FORECASTER_CASES] == sorted(FORECASTERS)


@every_case
def test_a_forecaster_has_the_name_it_is_registered_by(case):
    """What is stored under a name is found again by it."""
    assert forecaster_named(case.id).name == forecaster_of(case.id).name == case.id


def test_an_unknown_name_is_told_with_the_known_ones():
    """A slip of the keyboard is answered by the list."""
    with pytest.raises(UnknownName, match=r"no forecaster is called 'rigde'\. Known: boosted, dev"):
        forecaster_named("rigde")


@every_case
def test_forecasts_are_finite_and_spreads_positive(case):
    """After four weeks everyone has something to say of every open bin."""
    panel, x, is_open = made_panel()
    _, found = run(case, panel, x, is_open)
    late = is_open & (np.arange(N_BINS) >= SOME_BINS)
    assert np.isfinite(found.middle[late]).all()
    assert (found.below[late] > 0).all()
    assert (found.above[late] > 0).all()
    assert found.middle.shape == found.below.shape == found.above.shape == (N_SERIES, N_BINS)


@every_case
@few
@given(last=st.integers(0, N_BINS - 1), series=st.integers(0, N_SERIES - 1))
def test_a_bin_and_those_after_it_change_no_forecast(case, last, series):
    """Causal: a forecast comes from the bins before it alone."""
    panel, x, is_open = made_panel()
    _, whole = run(case, panel, x, is_open)
    cut, other = np.s_[: last + 1], x.copy()
    other[series, last:] = 7.0
    _, changed = run(case, panel, other, is_open)
    _, short = run(case, *part(made_panel(), cut))
    for side in SIDES:
        told = getattr(whole, side)[:, cut]
        np.testing.assert_array_equal(getattr(short, side), told)
        np.testing.assert_array_equal(getattr(changed, side)[:, cut], told)


@every_case
@few
@given(cuts=st.lists(st.integers(0, N_BINS), max_size=5))
def test_any_split_gives_the_same_bits(case, cuts):
    """The law of a scan: carried from piece to piece it is what it is over the whole."""
    end, whole = run(case, *made_panel())
    edges, state, pieces = [0, *sorted(cuts), N_BINS], None, []
    for first, stop in pairwise(edges):
        state, found = run(case, *part(made_panel(), np.s_[first:stop]), state)
        pieces.append(found)
    assert_same_state(state, end)
    for side in SIDES:
        joined = np.concatenate([getattr(piece, side) for piece in pieces], axis=1)
        np.testing.assert_array_equal(joined, getattr(whole, side))


@every_case
@few
@given(at=st.integers(0, N_BINS - 1))
def test_one_bin_ahead_is_what_the_next_run_tells(case, at):
    """What is announced of a bin is what the bin is judged by."""
    made = made_panel()
    state, _ = run(case, *part(made, np.s_[:at]))
    panel, x, is_open = part(made, np.s_[at : at + 1])
    _, told = run(case, panel, x, is_open, state)
    assert_same(ahead(case, state, panel, is_open), told, rtol=1e-9)


@every_case
@few
@given(at=st.integers(SOME_BINS, N_BINS - 40), n=st.integers(0, 39))
def test_later_bins_change_nothing_of_those_ahead(case, at, n):
    """Asking for a day is asking for the first day of a week; the state stays as it was."""
    made = made_panel()
    state, _ = run(case, *part(made, np.s_[:at]))
    before = {name: a.copy() for name, a in state.items()}
    panel, _, is_open = part(made, np.s_[at : at + 40])
    far = ahead(case, state, panel, is_open)
    near = ahead(case, state, panel.bins(np.s_[:n]), is_open[:, :n])
    assert_same_state(state, before)
    for side in SIDES:
        told = getattr(far, side)
        assert np.isfinite(told[is_open]).all()
        np.testing.assert_allclose(getattr(near, side), told[:, :n], rtol=1e-12)
    assert (far.below[is_open] > 0).all()
    assert (far.above[is_open] > 0).all()


@every_case
def test_running_is_deterministic_and_pure(case):
    """The same after pickling, and neither input nor state is written to."""
    panel, x, is_open = made_panel()
    forecaster = forecaster_of(case.id)
    start = forecaster.start(N_SERIES, N_DAY)
    before = {name: a.copy() for name, a in start.items()}
    kept = x.copy()
    end, first = forecaster.run(start, panel, x, is_open)
    again_end, again = pickle.loads(pickle.dumps(forecaster)).run(start, panel, x, is_open)
    assert_same_state(start, before)
    np.testing.assert_array_equal(x, kept)
    assert_same_state(again_end, end)
    assert_same(again, first)


@every_case
@few
@given(at=st.integers(0, N_BINS - 30), n=st.integers(1, 30))
def test_missing_bins_change_nothing(case, at, n):
    """A NaN is no zero: what is known afterwards is what was known before."""
    made = made_panel()
    state, _ = run(case, *part(made, np.s_[:at]))
    panel, x, is_open = part(made, np.s_[at : at + n])
    after, _ = run(case, panel, np.full_like(x, np.nan), is_open, state)
    assert_same_state(after, dict(state))


@every_case
def test_what_a_closed_bin_holds_is_not_learned_from(case):
    """A payment booked on a day of rest is no news of the days of work."""
    panel, x, is_open = made_panel()
    other = np.where(is_open, x, 1e6)
    assert_same(run(case, panel, other, is_open)[1], run(case, panel, x, is_open)[1])


@every_case
def test_a_series_times_a_number_has_its_forecast_times_it(case):
    """Cents or thousands of euros: the unit does not matter."""
    panel, x, is_open = made_panel()
    state, plain = run(case, panel, x, is_open)
    many, thousandfold = run(case, panel, 1000 * x, is_open)
    assert_same(plain, thousandfold, rtol=1e-6, times=1000)
    coming = panel.bins(np.s_[:40])
    is_coming_open = np.ones((N_SERIES, 40), np.bool_)
    assert_same(
        ahead(case, state, coming, is_coming_open),
        ahead(case, many, coming, is_coming_open),
        rtol=1e-6,
        times=1000,
    )


@every_case
def test_a_panel_equals_its_series_one_by_one(case):
    """No series looks at the next."""
    panel, x, is_open = made_panel()
    _, whole = run(case, panel, x, is_open)
    for i in range(N_SERIES):
        one = slice(i, i + 1)
        _, alone = run(case, panel.series(one), x[one], is_open[one])
        for side in SIDES:
            np.testing.assert_array_equal(getattr(alone, side), getattr(whole, side)[one])


@every_case
@few
@given(at=st.integers(0, N_BINS))
def test_the_state_outlives_its_file(case, at):
    """What comes back from an Arrow file goes on as if it had never been away."""
    made = made_panel()
    state, _ = run(case, *part(made, np.s_[:at]))
    back = from_arrow(to_arrow(Snapshot(("a", "b", "c"), state))).state
    assert_same_state(dict(back), dict(state))
    rest = part(made, np.s_[at:])
    assert_same(run(case, *rest, back)[1], run(case, *rest, state)[1])


@pytest.mark.parametrize(
    "case", [case for case in FORECASTER_CASES if not case.is_exempt("shape")], ids=str
)
def test_the_middle_follows_the_hours(case):
    """A planted daily shape is found: half of the overall mean's error at most."""
    panel, x, is_open = made_panel(n_day=12, n_bins=84 * 6, noise=2.0)
    _, found = run(case, panel, x, is_open)
    counts = is_open & np.isfinite(x)
    counts[:, : 84 * 4] = False
    for i in range(N_SERIES):
        late = counts[i]
        error = np.abs(x[i] - found.middle[i])[late].mean()
        assert error < 0.5 * np.abs(x[i] - x[i, late].mean())[late].mean()


@every_trained
def test_restored_from_its_arrays_it_forecasts_the_same(case):
    """What is stored of a fitted forecaster is all of it."""
    fitted = forecaster_of(case.id)
    arrays = fitted.arrays()
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    restored = case.recipe().restore(arrays)
    panel, x, is_open = made_panel()
    state, told = fitted.run(fitted.start(N_SERIES, N_DAY), panel, x, is_open)
    other, same = restored.run(restored.start(N_SERIES, N_DAY), panel, x, is_open)
    assert_same_state(other, state)
    assert_same(same, told)


@every_trained
def test_fitting_twice_gives_the_same_numbers(case):
    """Training is deterministic."""
    again = case.recipe().fit(*made_panel(seed=1)).arrays()
    for name, a in forecaster_of(case.id).arrays().items():
        np.testing.assert_array_equal(again[name], a)


@every_trained
def test_a_restore_without_one_of_its_arrays_is_refused(case):
    """Half a forecaster forecasts nothing."""
    arrays = forecaster_of(case.id).arrays()
    for name in arrays:
        lacking = {other: a for other, a in arrays.items() if other != name}
        with pytest.raises(ValueError, match=name):
            case.recipe().restore(lacking)


@every_trained
def test_too_short_a_panel_is_not_learned_from(case):
    """The message says how much is needed."""
    with pytest.raises(NotEnoughBars, match="needs at least"):
        case.recipe().fit(*part(made_panel(), np.s_[:20]))


# Boosted: what a restore refuses, and trees descended one node at a time.


def _looped(arrays):
    children = arrays["children"].copy()
    children[0, 0, 0] = 0
    return {"children": children}


def _asking(arrays):
    return {"feature": np.where(arrays["feature"] >= 0, N_FEATURES, -1)}


BROKEN = {
    "nodes lead nowhere": _looped,
    "more features than there are": _asking,
    "not finite": lambda arrays: {"value": arrays["value"] * np.nan},
    "lack a threshold": lambda arrays: {"threshold": arrays["threshold"][:, :-1]},
    "lack children": lambda arrays: {"children": arrays["children"][..., :1]},
    "three quantiles": lambda arrays: {"feature": arrays["feature"][:2]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_trees_are_refused(what):
    """A node that leads back would never end; compiled code reads whatever it is pointed to."""
    arrays = forecaster_of("boosted").arrays()
    with pytest.raises(ValueError, match=what):
        Boosted().restore({**arrays, **BROKEN[what](arrays)})


def test_the_trees_say_what_the_library_says():
    """Numbers taken out of scikit-learn's trees give its own predictions."""
    from sklearn.ensemble import GradientBoostingRegressor

    recipe = Boosted(n_trees=20)
    features, target, _ = recipe._rows(*made_panel(seed=1))
    theirs = GradientBoostingRegressor(
        loss="quantile", alpha=0.95, n_estimators=20, max_depth=3, learning_rate=0.1,
        min_samples_leaf=min(20, len(target) // 50), subsample=0.5, random_state=0,
    ).fit(features, target)  # fmt: skip
    ours = recipe._grown(features, target, 0.95)
    found = np.full(len(features), float(ours["begin"]))
    for i, z in enumerate(features):
        for tree in range(20):
            node = 0
            while ours["feature"][tree, node] >= 0:
                right = z[ours["feature"][tree, node]] > ours["threshold"][tree, node]
                node = ours["children"][tree, node, int(right)]
            found[i] += ours["value"][tree, node]
    np.testing.assert_allclose(found, theirs.predict(features), rtol=1e-12)


# Slow twins: the formulas as they stand in the docstrings, over lists.


def slow_slot_ewma(x, is_open, day_slot, week_slot, n_day):
    """One series, bin by bin: the middle, the means and the spread."""
    level, day, week = 0.0, [0.0] * n_day, [0.0] * 7 * n_day
    n, n_day_of, n_week_of = 0, [0] * n_day, [0] * 7 * n_day
    pairs, missed, slot, n_slot = [], [], [0.0] * n_day, [0] * n_day
    error, told = 0.0, []
    for value, opened, h, k in zip(x, is_open, day_slot, week_slot, strict=True):
        mean = level + day[h] + week[k]
        fade = 0.99 ** np.arange(len(pairs))[::-1]
        square = sum(w * before**2 for w, (before, _) in zip(fade, pairs, strict=True))
        product = sum(w * before * then for w, (before, then) in zip(fade, pairs, strict=True))
        phi = min(max(product / square, 0), 0.95) if square > 0 else 0.0
        kept = 0.97 ** np.arange(len(missed))[::-1]
        spread = np.nan
        if kept.sum() > 5:
            of_all = (kept * np.square(missed)).sum() / kept.sum()
            spread = np.sqrt((n_slot[h] * slot[h] + 20 * of_all) / (n_slot[h] + 20))
        told.append((mean + phi * error, mean, spread) if n else (np.nan, np.nan, np.nan))
        if np.isnan(value):
            continue
        if not opened:
            error *= 0.8
            continue
        r = value - mean
        if not np.isnan(spread):
            r = np.clip(r, -4 * spread, 4 * spread)
        d = r - phi * error
        n, n_day_of[h], n_week_of[k] = n + 1, n_day_of[h] + 1, n_week_of[k] + 1
        up = max(1 / n, 0.02)
        level += up * r
        day[h] += max(1 / (n_day_of[h] + 1), 0.1) * (1 - up) * r
        week[k] += max(1 / (n_week_of[k] + 3), 0.1) * (1 - up) * r
        if n > 1:
            pairs.append((error, r))
            missed.append(d)
            n_slot[h] = min(n_slot[h] + 1, 1 / 0.03)
            slot[h] += max(1 / n_slot[h], 0.03) * (d**2 - slot[h])
        error = r
    return np.array(told).T


def test_slot_ewma_equals_its_slow_twin():
    """The compiled scan is the formula of its docstring."""
    panel, x, is_open = made_panel()
    forecaster = SlotEwma()
    _, found = forecaster.run(forecaster.start(N_SERIES, N_DAY), panel, x, is_open)
    for i in range(N_SERIES):
        middle, _, spread = slow_slot_ewma(x[i], is_open[i], panel.day_slot, panel.week_slot, N_DAY)
        np.testing.assert_allclose(found.middle[i], middle, rtol=1e-12)
        np.testing.assert_allclose(found.below[i], spread, rtol=1e-12)
        np.testing.assert_array_equal(found.below[i], found.above[i])


def slow_rests(x, is_open, base, usual, week_slot, n_day):
    """What a ridge regression makes of one series: its forecast of x - base, NaN before it.

    The rests stand in a dictionary by time, so that a bin that was missed has none.
    """
    rests, rows, weights, last, told = {}, [], None, None, []
    for t, value in enumerate(x):
        past = [rests.get(t - lag, 0.0) for lag in range(1, 7 * n_day + 1)]
        lags = [past[lag - 1] for lag in (1, 2, 3, n_day, n_day + 1, 7 * n_day)]
        z = np.array([1.0, base[t], *lags, np.mean(past[:n_day])])
        told.append(np.nan if weights is None else weights @ z)
        if np.isnan(value) or np.isnan(base[t]):
            continue
        rests[t] = 0.0
        if is_open[t]:
            reach = np.inf if np.isnan(usual[t]) else 8 * usual[t]
            rests[t] = np.clip(value - base[t], -reach, reach)
            rows.append((z, rests[t]))
        is_new_week = last is not None and week_slot[t] <= last
        last = week_slot[t]
        if is_new_week and len(rows) >= 100:
            zs, rs = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
            w = 0.9995 ** np.arange(len(rows))[::-1]
            normal = (zs * w[:, None]).T @ zs
            penalty = 0.01 * np.diag(np.diag(normal))
            weights = np.linalg.solve(normal + penalty, (zs * w[:, None]).T @ rs)
    return np.array(told)


def test_ridge_equals_its_slow_twin():
    """The carried sums give the regression over all rows; missed bins count as 0."""
    panel, x, is_open = made_panel()
    # A spike, which has to be cut, before the first weights.
    x = x.copy()
    x[0, 90] *= 5
    slots = SlotEwma()
    start = slots.start(N_SERIES, N_DAY)
    _, base, persisting, usual = slots.apart(start, panel, x, is_open)
    forecaster = Ridge()
    _, found = forecaster.run(forecaster.start(N_SERIES, N_DAY), panel, x, is_open)
    for i in range(N_SERIES):
        rest = slow_rests(x[i], is_open[i], base[i], usual[i], panel.week_slot, N_DAY)
        assert np.isfinite(rest).sum() > N_BINS / 2
        wanted = base[i] + np.where(np.isnan(rest), persisting[i], rest)
        np.testing.assert_allclose(found.middle[i], wanted, rtol=1e-8)


def test_ridge_spread_is_of_its_own_errors():
    """From the first weights on; before them it is the means' own."""
    panel, x, is_open = made_panel()
    forecaster, slots, spreads = Ridge(), SlotEwma(), SlotSpread()
    _, found = forecaster.run(forecaster.start(N_SERIES, N_DAY), panel, x, is_open)
    _, plain = slots.run(slots.start(N_SERIES, N_DAY), panel, x, is_open)
    _, own = spreads.run(spreads.start(N_SERIES, N_DAY), x - found.middle, is_open, panel.day_slot)
    np.testing.assert_array_equal(found.below[:, :100], plain.below[:, :100])
    np.testing.assert_array_equal(found.below[:, 200:], own[:, 200:])


def test_seasonal_naive_says_last_weeks_value_and_mean_error():
    """The last open value of the bin, and the mean of all absolute errors before."""
    panel, x, is_open = made_panel()
    forecaster = SeasonalNaive()
    _, found = forecaster.run(forecaster.start(N_SERIES, N_DAY), panel, x, is_open)
    for i in range(N_SERIES):
        last, missed = {}, []
        for t, k in enumerate(panel.week_slot):
            np.testing.assert_equal(found.middle[i, t], last.get(k, np.nan))
            mean = np.mean(missed) if missed else np.nan
            np.testing.assert_allclose(found.above[i, t], mean, rtol=1e-12)
            if np.isnan(x[i, t]) or not is_open[i, t]:
                continue
            if k in last:
                missed.append(abs(x[i, t] - last[k]))
            last[k] = x[i, t]


def test_ridge_learns_what_persists():
    """Where noise comes back a day later the regression misses by less than the means."""
    random = np.random.default_rng(5)
    panel, _, _ = made_panel(n_day=12, n_bins=84 * 8)
    noise = random.standard_normal(panel.n_bins)
    for t in range(12, panel.n_bins):
        noise[t] += 0.8 * noise[t - 12]
    x = (100 + noise)[None]
    is_open = np.ones(x.shape, np.bool_)
    late = np.s_[:, 84 * 4 :]
    errors = [
        np.abs(x - f.run(f.start(1, 12), panel.series(np.s_[:1]), x, is_open)[1].middle)[late]
        for f in (Ridge(), SlotEwma())
    ]
    assert errors[0].mean() < 0.95 * errors[1].mean()
