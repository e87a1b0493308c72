"""Forecasters with a net: the one that is fitted on all series, and the peers' own."""

import io
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from components.bands import Band, powered
from components.carried import Snapshot, from_arrow, to_arrow
from components.errors import NotEnoughBars
from components.forecasters.base import QUANTILES, BinPanel
from components.forecasters.deviation import Deviation, n_weights, slope, started, told_by
from components.forecasters.lstm import N_FEATURES, UNIT, WEIGHTS, Lstm
from components.forecasters.slot_ewma import SlotEwma
from components.opening import LIVE

N_DAY = 12
SMALL = Lstm(window=10, units=6, horizon=4, epochs=12, batch=64, learning_rate=0.01)
FITTED_BINS = 1000


def panel_of(value):
    """Values on a clock of two-hour bins that begins on a Monday."""
    t = np.arange(value.shape[1])
    return BinPanel(
        value, t % N_DAY, t % (7 * N_DAY), np.ones(len(t)), np.zeros(len(t), np.bool_), N_DAY
    )


@cache
def business(n_series=4, n_bins=1600, every=5):
    """Days and weeks of payments; each fifth bin is doubled, which no bin of the week can know."""
    random, t = np.random.default_rng(3), np.arange(n_bins)
    day = np.exp(random.normal(0, 0.5, (n_series, N_DAY)))[:, t % N_DAY]
    week = np.exp(random.normal(0, 0.2, (n_series, 7 * N_DAY)))[:, t % (7 * N_DAY)]
    noise = random.gamma(40, 1 / 40, (n_series, n_bins))
    value = 100 * 10.0 ** np.arange(n_series)[:, None] * day * week * noise
    value[:, ::every] *= 2
    return panel_of(value)


def asked(panel, closed_night=True):
    """What forecasters are given: x with some holes, and which bins are open."""
    x, is_open = powered(panel.value), np.ones(panel.value.shape, np.bool_)
    x[0, 70:90] = np.nan
    x[1, :200] = np.nan
    if closed_night:
        is_open[2] = panel.day_slot > 2
    return panel, x, is_open


@cache
def fitted():
    """One fit serves all tests that do not ask for another."""
    panel, x, is_open = asked(business())
    early = slice(0, FITTED_BINS)
    return SMALL.fit(panel.bins(early), x[:, early], is_open[:, early])


FORECASTERS = {"lstm": fitted, "deviation": lambda: Deviation(steps=20)}
every_one = pytest.mark.parametrize("name", FORECASTERS)


def run(forecaster, given):
    return forecaster.run(forecaster.start(given[0].n_series, N_DAY), *given)


def parts(forecast):
    return forecast.middle, forecast.below, forecast.above


def pinball(forecast, x):
    """The mean loss of the three quantiles, in the series' own spread."""
    size, total = np.nanstd(x, axis=1, keepdims=True), 0.0
    told = (forecast.middle - forecast.below, forecast.middle, forecast.middle + forecast.above)
    for q, quantile in zip(QUANTILES, told, strict=True):
        miss = (x - quantile) / size
        total += np.nanmean(np.maximum(q * miss, (q - 1) * miss))
    return total


def test_the_same_fit_twice_gives_the_same_numbers():
    """Nothing but the panel, the recipe and its seed enters a fit."""
    panel, x, is_open = asked(business())
    early = slice(0, 400)
    given = panel.bins(early), x[:, early], is_open[:, early]
    few = replace(SMALL, epochs=2)
    once, again = few.fit(*given).arrays(), few.fit(*given).arrays()
    other = replace(few, seed=1).fit(*given).arrays()
    for name in WEIGHTS:
        np.testing.assert_array_equal(once[name], again[name])
    assert (once["kernel"] != other["kernel"]).any()


def test_the_net_begins_as_the_means_and_gets_better():
    """On later bins than it was fitted on; unfitted it tells the means and normal quantiles."""
    panel, x, is_open = asked(business())
    later, begun = slice(FITTED_BINS, None), run(SMALL.untrained(), (panel, x, is_open))[1]
    slot = run(SlotEwma(), (panel, x, is_open))[1]
    np.testing.assert_array_equal(begun.middle, slot.middle)
    np.testing.assert_allclose(begun.below[0, later], 1.6449 * slot.below[0, later], rtol=1e-9)
    learned = run(fitted(), (panel, x, is_open))[1]
    scores = [
        pinball(type(told)(*(a[:, later] for a in parts(told))), x[:, later])
        for told in (learned, begun)
    ]
    assert scores[0] < 0.8 * scores[1]


def test_a_rhythm_that_no_bin_of_the_week_knows_is_learned():
    """Each fifth bin is doubled: expected when it is due, one bin ahead and several."""
    panel, x, is_open = asked(business())
    state, told = run(fitted(), (panel, x, is_open))
    slot = run(SlotEwma(), (panel, x, is_open))[1]
    moved = ((told.middle - slot.middle) / slot.below)[:, FITTED_BINS:]
    is_due = np.arange(FITTED_BINS, panel.n_bins) % 5 == 0
    assert (moved[:, is_due].mean(axis=1) > moved[:, ~is_due].mean(axis=1) + 1).all()
    coming = panel_of(np.full((4, panel.n_bins + 4), np.nan)).bins(slice(panel.n_bins, None))
    opens = np.ones((4, 4), np.bool_)
    ahead, means = (
        fitted().ahead(state, coming, opens),
        SlotEwma().ahead(
            {n.removeprefix("slot."): a for n, a in state.items() if "slot." in n}, coming, opens
        ),
    )
    is_due = np.arange(panel.n_bins, panel.n_bins + 4) % 5 == 0
    moved = (ahead.middle - means.middle) / means.below
    assert moved[:, is_due].min() > moved[:, ~is_due].max()


def test_no_window_leaves_its_series_nor_its_time():
    """Windows that stop training hold no bin that one learned from holds, or has to tell."""
    panel, x, is_open = asked(business())
    learned, kept = SMALL._windows(panel, x, is_open)
    assert learned.bins.max() + SMALL.horizon < kept.bins.min()
    assert 0.05 < len(kept.bins) / len(learned.bins) < 0.15
    for part in (learned, kept):
        assert part.entering.shape[1:] == (SMALL.window, N_FEATURES)
        # Without a value there is no row; all else follows bin by bin.
        assert set(np.unique(np.diff(part.bins, axis=1))) <= {1, 21}
        assert np.isfinite(part.entering).all()
        assert np.isfinite(part.targets).all()
    few = replace(SMALL, most_windows=100)._windows(panel, x, is_open)
    assert [len(part.bins) for part in few] == [90, 10]


def test_what_is_learned_is_what_is_missed_from_the_same_bin():
    """A target is the error of ``ahead`` at the window's end, in its spreads; none when closed."""
    panel, x, is_open = asked(business())
    learned, _ = replace(SMALL, most_windows=40)._windows(panel, x, is_open)
    window = 0
    end = int(learned.bins[window, -1]) + 1
    past, next_ = slice(0, end), slice(end, end + SMALL.horizon)
    slot = SlotEwma()
    state, _ = run(slot, (panel.bins(past), x[:, past], is_open[:, past]))
    told = slot.ahead(state, panel.bins(next_), is_open[:, next_])
    errors = np.where(is_open[:, next_], (x[:, next_] - told.middle) / told.below, np.nan)
    assert any(
        np.allclose(errors[i], learned.coming[window], rtol=1e-12, equal_nan=True)
        for i in range(panel.n_series)
    )


def test_too_short_a_history_says_both_numbers():
    """A net fitted on nothing would still forecast."""
    panel, x, is_open = asked(business())
    short = slice(0, 40)
    with pytest.raises(NotEnoughBars, match="Lstm needs at least 56 bars, got 3"):
        SMALL.fit(panel.bins(short), x[:, short], is_open[:, short])


def test_the_scan_equals_keras():
    """Scored without Keras: to 1e-4 of a spread what its own predict gives."""
    panel, x, is_open = asked(business(), closed_night=False)
    network = SMALL._network()
    network.set_weights([fitted().weights[name] for name in WEIGHTS])
    windows, _ = replace(SMALL, most_windows=200)._windows(panel, x, is_open)
    expected = network.predict(windows.entering, verbose=0)
    held = windows.entering.reshape(len(windows.entering), -1).astype(float)
    n_rows = np.full(len(held), SMALL.window)
    nothing = np.full((len(held), 1, N_FEATURES), np.nan)
    told = fitted()._told(nothing, held, n_rows, slice(None))[:, 0]
    np.testing.assert_allclose(told, expected, atol=1e-4)


def test_quantiles_never_cross():
    """Whatever the weights are."""
    given = asked(business())
    wild = replace(fitted(), weights={n: 30 * a for n, a in fitted().weights.items()})
    for model in (fitted(), wild):
        state, told = run(model, given)
        ahead = model.ahead(state, given[0].bins(slice(0, 9)), given[2][:, :9])
        for forecast in (told, ahead):
            is_told = np.isfinite(forecast.below)
            assert is_told[:, -1].all()
            assert (forecast.below[is_told] > 0).all()
            assert (forecast.above[is_told] > 0).all()
            assert np.isfinite(forecast.middle[is_told]).all()


def test_until_the_window_is_full_the_means_are_told():
    """And from then on something else."""
    given = asked(business(), closed_night=False)
    told, slot = run(fitted(), given)[1], run(SlotEwma(), given)[1]
    first = np.isfinite(slot.below[0]).argmax() + SMALL.window
    for mine, means in zip(parts(told), parts(slot), strict=True):
        np.testing.assert_array_equal(mine[0, :first], means[0, :first])
        assert mine[0, first] != means[0, first]


def test_beyond_the_horizon_the_means_are_told():
    """As wide, in spreads, as at the net's last step."""
    given = asked(business())
    state, _ = run(fitted(), given)
    n = 3 * SMALL.horizon
    opens = np.ones((4, n), np.bool_)
    ahead = fitted().ahead(state, given[0].bins(slice(0, n)), opens)
    slot = {name.removeprefix("slot."): a for name, a in state.items() if "slot." in name}
    means = SlotEwma().ahead(slot, given[0].bins(slice(0, n)), opens)
    last = SMALL.horizon - 1
    np.testing.assert_array_equal(ahead.middle[:, last + 1 :], means.middle[:, last + 1 :])
    wide = ahead.below / means.below
    np.testing.assert_allclose(wide[:, last:], np.repeat(wide[:, last : last + 1], n - last, 1))


@every_one
@pytest.mark.parametrize("cuts", [(1, 7, 300), (64, 65, 500), tuple(range(90, 130))])
def test_any_split_gives_the_same_bits(name, cuts):
    """State carried through a file; the net is fitted anew at the same bins."""
    forecaster, (panel, x, is_open) = FORECASTERS[name](), asked(business(n_bins=700))
    whole_state, whole = run(forecaster, (panel, x, is_open))
    state, told, begin = forecaster.start(panel.n_series, N_DAY), [], 0
    for end in (*cuts, panel.n_bins):
        at = slice(begin, end)
        state, part = forecaster.run(state, panel.bins(at), x[:, at], is_open[:, at])
        state = from_arrow(to_arrow(Snapshot(("a", "b", "c", "d"), state))).state
        told.append(parts(part))
        begin = end
    for mine, expected in zip(zip(*told, strict=True), parts(whole), strict=True):
        np.testing.assert_array_equal(np.concatenate(mine, axis=1), expected)
    for key, a in whole_state.items():
        np.testing.assert_array_equal(state[key], a)


@every_one
def test_the_first_bin_ahead_is_the_next_forecast(name):
    """What is announced for a bin is what it is judged by."""
    forecaster, (panel, x, is_open) = FORECASTERS[name](), asked(business(n_bins=400))
    past, next_ = slice(0, 390), slice(390, 391)
    state, _ = run(forecaster, (panel.bins(past), x[:, past], is_open[:, past]))
    ahead = forecaster.ahead(state, panel.bins(next_), is_open[:, next_])
    _, told = forecaster.run(state, panel.bins(next_), x[:, next_], is_open[:, next_])
    for mine, expected in zip(parts(ahead), parts(told), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-12)


@every_one
def test_a_series_times_a_number_has_the_forecast_times_that(name):
    """No unit is hidden in a net's inputs."""
    forecaster, (panel, x, is_open) = FORECASTERS[name](), asked(business(n_bins=500))
    told, times = (run(forecaster, (panel, c * x, is_open))[1] for c in (1.0, 37.3))
    for mine, expected in zip(parts(times), parts(told), strict=True):
        np.testing.assert_allclose(mine, 37.3 * expected, rtol=1e-6)


def test_an_lstm_read_back_forecasts_the_same_bits():
    """Through a file that holds numbers alone, and runs no code when read."""
    given, file = asked(business(n_bins=400)), io.BytesIO()
    np.savez(file, **fitted().arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = Lstm().restore(dict(arrays))
    for mine, expected in zip(
        parts(run(again, given)[1]), parts(run(fitted(), given)[1]), strict=True
    ):
        np.testing.assert_array_equal(mine, expected)


MISFITS = {
    "a feature more": {"kernel": np.zeros((N_FEATURES + 1, 24))},
    "a unit less": {"recurrent": np.zeros((5, 24))},
    "flat": {"recurrent": np.zeros(24)},
    "an output less": {"out_kernel": np.zeros((6, 11))},
    "another horizon": {"horizon": np.array([5])},
    "no window": {"window": np.array([0])},
    "an empty window": {"window": np.array([], dtype=np.int64)},
    "not a number": {"bias": np.full(24, np.nan)},
    "one missing": {"out_bias": None},
}


@pytest.mark.parametrize("change", MISFITS.values(), ids=MISFITS)
def test_numbers_that_do_not_fit_are_refused(change):
    """Compiled code would read past their end."""
    arrays = {n: a for n, a in {**fitted().arrays(), **change}.items() if a is not None}
    with pytest.raises(ValueError, match="LSTM"):
        Lstm().restore(arrays)


def test_scoring_needs_neither_keras_nor_jax(tmp_path):
    """The daily run's image has neither."""
    file = tmp_path / "model.npz"
    np.savez(file, **fitted().arrays())
    program = (
        "import sys, numpy as np\n"
        "from components.forecasters.lstm import Lstm\n"
        "model = Lstm().restore(dict(np.load(sys.argv[1])))\n"
        "print(model.name, len(model.start(2, 12)['rows']))\n"
        "print(sorted({'jax', 'keras', 'sklearn'} & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split("\n")[:2] == ["lstm 2", "[]"]


def test_normal_quantiles_are_what_zeros_tell():
    """So that the means' own spread is where a fit begins."""
    assert pytest.approx(1.6449) == UNIT * np.log1p(1.0)


@pytest.mark.parametrize("units", [1, 3, 8])
def test_the_gradient_is_that_of_finite_differences(units):
    """Of every weight of the peers' net."""
    random = np.random.default_rng(units)
    net = started(units, 0) + random.normal(0, 0.2, n_weights(units))
    scaled = random.random(30)

    def loss(weights):
        return np.mean((told_by(weights, scaled, 3)[:-1] - scaled[3:]) ** 2)

    steps = 1e-5 * np.eye(len(net))
    expected = [(loss(net + step) - loss(net - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(slope(net, scaled, 3), expected, atol=2e-6)


def test_the_peers_net_is_fitted_each_week_of_open_bins():
    """From its thirtieth open value; one that is missing or closed counts for nothing."""
    panel, x, is_open = asked(business(n_bins=400))
    forecaster, at = Deviation(steps=5), []
    state = forecaster.start(4, N_DAY)
    for t in range(panel.n_bins):
        bin_, before = slice(t, t + 1), state["net"]
        state, _ = forecaster.run(state, panel.bins(bin_), x[:, bin_], is_open[:, bin_])
        at.append((state["net"] != before).any(axis=1))
    counted = np.cumsum(is_open & ~np.isnan(x), axis=1)
    for i, fits in enumerate(np.array(at).T):
        n = np.flatnonzero(fits)
        np.testing.assert_array_equal(counted[i, n], 30 + 84 * np.arange(len(n)))
        assert len(n) >= 2


def test_the_peers_band_is_not_told_before_thirty_values_nor_of_a_flat_line():
    """There is nothing to scale by; a line that begins to move is fitted then."""
    x = np.full((1, 80), 5.0)
    x[0, 60:] = np.arange(20) % 3
    panel, is_open = panel_of(x), np.ones(x.shape, np.bool_)
    told = run(Deviation(steps=5), (panel, x, is_open))[1]
    assert np.isnan(told.middle[0, :61]).all()
    assert np.isfinite(told.middle[0, 61:]).all()
    assert (told.below[0, 61:] > 0).all()


def test_the_deviation_of_forecasts_is_no_band():
    """The peers' band misses far more than the one that is kept at its coverage."""
    panel = business(n_bins=1600, every=10**6)
    is_open = np.ones(panel.value.shape, np.bool_)
    x, forecaster = powered(panel.value), Deviation()
    assert forecaster.is_bare
    told = run(forecaster, (panel, x, is_open))[1]
    later = slice(300, None)
    is_missed = (x < told.middle - told.below) | (x > told.middle + told.above)
    assert is_missed[:, later].mean() > 0.1
    band = Band(SlotEwma())
    banded = band.run(band.start(panel.n_series, N_DAY), panel)[1]
    assert (banded.standing[:, later] == LIVE).all()
    assert banded.is_outside[:, later].mean() < 0.03
