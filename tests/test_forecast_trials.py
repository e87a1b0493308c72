"""Forecasters held against each other: the score, the bins that are asked, and who is champion."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bands import Band, Banded
from components.forecast_trials import (
    BASELINES,
    COSTLY,
    NAIVE,
    SLACK,
    Trial,
    asked_bins,
    champion,
    compared,
    interval_score,
    learned_from,
    split_at,
    table,
    walked,
)
from components.forecasters import FORECASTERS
from components.forecasters.base import BinPanel
from components.forecasters.seasonal_naive import SeasonalNaive
from components.forecasters.slot_ewma import SlotEwma
from components.opening import CLOSED, LIVE, WARM_UP

N_DAY, N_BINS, UNTIL = 4, 60, 20
SHAPE = (3, N_BINS)
few = settings(max_examples=25)


def panel_of(value):
    at = np.arange(value.shape[1])
    none = np.zeros(len(at), np.bool_)
    return BinPanel(value, at % N_DAY, at % (7 * N_DAY), np.ones(len(at)), none, N_DAY)


def made(seed=0, n_bins=N_BINS, n_series=3):
    random = np.random.default_rng(seed)
    value = 100 + 10.0 * random.standard_normal((n_series, n_bins))
    value[0, ::9] = np.nan
    return panel_of(value)


def banded(lower, upper, value, standing=LIVE):
    """What a band says, made by hand."""
    lower, upper = (np.broadcast_to(np.asarray(a, float), SHAPE).copy() for a in (lower, upper))
    none, nan = np.zeros(SHAPE, np.bool_), np.full(SHAPE, np.nan)
    outside = (value < lower) | (value > upper)
    held = np.broadcast_to(np.asarray(standing), SHAPE).copy()
    return Banded((lower + upper) / 2, lower, upper, nan, outside, none, held, nan)


amount = st.floats(-1e6, 1e6)


@given(amount, amount, amount, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_score_is_winklers(value, one, other, miss):
    """The width, and 2 / alpha times the distance to the nearer bound for who is outside."""
    lower, upper = min(one, other), max(one, other)
    wanted = upper - lower
    if value < lower:
        wanted += 2 / miss * (lower - value)
    elif value > upper:
        wanted += 2 / miss * (value - upper)
    found = interval_score(np.full(SHAPE, value), banded(lower, upper, value), miss)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_no_band_scores_better_than_the_true_quantiles():
    """The score rewards saying what is so: of a normal law its own quantiles have the least."""
    value = np.random.default_rng(1).standard_normal((3, N_BINS * 400))
    scores = []
    for width in (1.2, 1.6, 1.96, 2.4, 3.0):
        lower, upper = np.full(value.shape, -width), np.full(value.shape, width)
        each = replace(banded(0, 0, 0), lower=lower, upper=upper)
        scores.append(interval_score(value, each, 0.05).mean())
    assert np.argmin(scores) == 2


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_split_leaves_the_rest_to_be_asked(n_bins, share):
    """The first share is learned from, rounded down."""
    at = split_at(n_bins, share)
    assert 0 <= at <= n_bins
    assert at <= n_bins * share < at + 1


@st.composite
def trial_bands(draw):
    """Two bands, each lacking bounds and being live somewhere else."""
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    panel, found = made(), {}
    for name in (NAIVE, "slot_ewma"):
        middle = random.normal(100, 5, SHAPE)
        lower = np.where(random.random(SHAPE) < 0.2, np.nan, middle - random.uniform(5, 30, SHAPE))
        upper = np.where(random.random(SHAPE) < 0.1, np.nan, middle + random.uniform(5, 30, SHAPE))
        standing = random.choice([LIVE, WARM_UP, CLOSED], SHAPE, p=[0.8, 0.1, 0.1])
        found[name] = banded(lower, upper, panel.value, standing)
    return panel, found


@few
@given(trial_bands())
def test_all_are_asked_of_the_same_bins(made_bands):
    """Known, live and banded for everyone, and behind the split: nobody chooses his questions."""
    panel, bands = made_bands
    trials = {
        each.forecaster: each
        for each in compared(panel, UNTIL, bands, 0.05, dict.fromkeys(bands, 1.23456))
    }
    scores, outside, n = {name: [] for name in bands}, dict.fromkeys(bands, 0), 0
    for i in range(3):
        own = {name: [] for name in bands}
        for t in range(UNTIL, N_BINS):
            is_asked = not np.isnan(panel.value[i, t]) and all(
                each.standing[i, t] == LIVE
                and np.isfinite([each.lower[i, t], each.upper[i, t]]).all()
                for each in bands.values()
            )
            assert asked_bins(panel, UNTIL, list(bands.values()))[i, t] == is_asked
            if not is_asked:
                continue
            n += 1
            for name, each in bands.items():
                own[name].append(interval_score(panel.value, each, 0.05)[i, t])
                outside[name] += int(each.is_outside[i, t])
        for name, score in own.items():
            scores[name].append(np.mean(score) / np.mean(own[NAIVE]))
    for name, each in trials.items():
        assert (each.n_bins, each.n_series, each.seconds) == (n, 3, 1.235)
        assert each.winkler == pytest.approx(np.mean(scores[name]))
        assert each.covered == pytest.approx(1 - outside[name] / n)
        assert each.alarms_a_week == pytest.approx(outside[name] / (3 * (N_BINS - UNTIL) / 28))
    assert trials[NAIVE].winkler == pytest.approx(1)


def test_the_best_comes_first_and_who_has_no_bins_has_no_score():
    """The least score leads; without a common bin there is nothing to compare."""
    panel = made()
    value = panel.value
    bands = {
        NAIVE: banded(60, 140, value),
        "ridge": banded(70, 130, value),
        "deviation": banded(0, 200, value),
    }
    seconds = dict.fromkeys(bands, 0.0)
    assert [t.forecaster for t in compared(panel, UNTIL, bands, 0.01, seconds)] == [
        "ridge",
        NAIVE,
        "deviation",
    ]
    bands["ridge"] = banded(np.nan, 130, value)
    trials = compared(panel, UNTIL, bands, 0.01, seconds)
    assert all(t.n_bins == 0 and np.isnan(t.winkler) and np.isnan(t.covered) for t in trials)
    assert champion(trials, 0.01) == ""
    assert list(table(trials).columns) == [field.name for field in fields(Trial)]


def trial(name, winkler, covered=0.99, n_bins=100_000):
    return Trial(name, 10, n_bins, winkler, covered, 1.0, 1.0)


def test_the_least_score_is_champion_and_a_baseline_never_is():
    """The naive and the peers' rule are shown beside, however well they do."""
    trials = [
        trial("ridge", 0.7),
        trial("slot_ewma", 0.6),
        *(trial(name, 0.1) for name in BASELINES),
    ]
    assert champion(trials, 0.01) == "slot_ewma"
    assert champion([trial(name, 0.1) for name in BASELINES], 0.01) == ""
    assert champion([], 0.01) == ""
    assert set(BASELINES) | set(COSTLY) < set(FORECASTERS)


@pytest.mark.parametrize("costly", COSTLY)
def test_who_is_costly_must_beat_the_best_of_the_others(costly):
    """A net that does as well as two means is not worth its training."""
    simple = [trial("ridge", 0.65), trial("slot_ewma", 0.6)]
    assert champion([*simple, trial(costly, 0.59)], 0.01) == costly
    assert champion([*simple, trial(costly, 0.6)], 0.01) == "slot_ewma"
    assert champion([*simple, trial(costly, 0.62)], 0.01) == "slot_ewma"
    # Where no simple one keeps its coverage, a costly one that does is better than nobody.
    assert champion([trial("ridge", 0.5, 0.9), trial(costly, 0.9)], 0.01) == costly


@pytest.mark.parametrize("miss", [0.01, 0.05])
@pytest.mark.parametrize("n_bins", [300, 100_000])
def test_who_does_not_keep_the_coverage_is_never_champion(miss, n_bins):
    """A narrow band that misses too often has a fine score and no honour."""
    bound = 1 - miss - SLACK - 3 * np.sqrt(miss * (1 - miss) / n_bins)
    other = trial("ridge", 0.9, 1 - miss, n_bins)
    assert champion([trial("slot_ewma", 0.2, bound - 1e-4, n_bins), other], miss) == "ridge"
    assert champion([trial("slot_ewma", 0.2, bound + 1e-4, n_bins), other], miss) == "slot_ewma"
    # Who covers more than he said loses by width alone.
    assert champion([trial("slot_ewma", 0.2, 1.0, n_bins), other], miss) == "slot_ewma"
    for unknown in (
        trial("lstm", np.nan),
        trial("lstm", 0.1, n_bins=0),
        trial("lstm", 0.1, np.nan),
    ):
        assert champion([unknown, other], miss) == "ridge"


@few
@given(until=st.integers(1, 279), seed=st.integers(1, 50))
def test_what_is_learned_from_holds_no_later_bin(until, seed):
    """Whatever comes behind the split changes neither values nor where they were open."""
    panel, other = made(n_bins=280), made(seed, n_bins=280)
    value = np.where(
        np.arange(280) < until, panel.value, np.where(other.value > 100, other.value, 0)
    )
    band = Band(SlotEwma())
    early, x, is_open = learned_from(panel, until, band)
    later, same, also_open = learned_from(panel_of(value), until, band)
    np.testing.assert_array_equal(early.value, panel.value[:, :until])
    np.testing.assert_array_equal(later.value, early.value)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(also_open, is_open)
    np.testing.assert_allclose(x, np.sign(early.value) * np.abs(early.value) ** (2 / 3))


def test_forecasters_walk_the_panel_and_the_means_beat_the_last_week():
    """From panel to champion: of a noisy panel without news the means are narrower."""
    panel = made(n_bins=28 * 20)
    bands = {one.name: walked(panel, Band(one, 0.05)) for one in (SeasonalNaive(), SlotEwma())}
    trials = compared(panel, split_at(panel.n_bins, 0.5), bands, 0.05, dict.fromkeys(bands, 0.1))
    assert trials[0].forecaster == "slot_ewma"
    assert trials[0].winkler < 1
    assert abs(trials[0].covered - 0.95) < 0.02
    assert champion(trials, 0.05) == "slot_ewma"
