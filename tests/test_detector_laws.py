"""The laws of ``components/detectors/base.py``, over every registered detector."""

import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.detectors import DETECTORS
from components.errors import NotEnoughBars
from tests.cases import DETECTOR_CASES

every_case = pytest.mark.parametrize("case", DETECTOR_CASES, ids=lambda case: case.id)
N_SERIES, N_BARS = 4, 160
some_bar = st.integers(0, N_BARS - 1)


def usual_panel(case, seed=7):
    """Fat-tailed moves of some series, or p-values; the first series is shorter than the others."""
    n_features = len(case.detector.features)
    random = np.random.default_rng(seed)
    panel = random.standard_t(4, (N_SERIES, N_BARS, n_features))
    if case.takes == "p-values":
        panel = random.uniform(0.001, 1, panel.shape)
    panel[0, :50] = np.nan
    return panel


@cache
def model_of(case):
    """One fit serves all laws: a model is frozen, which law 5 holds."""
    return case.detector.fit(usual_panel(case, seed=1))


def test_every_registered_detector_has_a_case():
    """A detector outside the table would silently skip every law."""
    assert {case.id for case in DETECTOR_CASES} == set(DETECTORS)


@every_case
def test_one_score_a_bar_finite_or_nan(case):
    """Law 1: a score that is infinite would win every comparison."""
    scores = model_of(case).score(usual_panel(case))
    assert scores.shape == (N_SERIES, N_BARS)
    assert not np.isinf(scores).any()
    assert np.isfinite(scores[:, -1]).all()


@every_case
@settings(deadline=None, max_examples=20)
@given(bar=some_bar, series=st.integers(0, N_SERIES - 1))
def test_a_missing_feature_makes_its_own_bar_nan(case, bar, series):
    """Law 2: a bar without data is not judged, and a whole one is."""
    panel = usual_panel(case)
    panel[series, bar] = np.nan
    scores = model_of(case).score(panel)
    assert np.isnan(scores[series, bar])
    is_whole = np.isfinite(panel).all(axis=2)
    if case.gapless:
        # The bars in a row up to each: all of the context has to be there.
        at = np.arange(N_BARS)
        in_a_row = at - np.maximum.accumulate(np.where(is_whole, -1, at), axis=1)
        np.testing.assert_array_equal(np.isfinite(scores), in_a_row > model_of(case).context)
        return
    n_before = np.cumsum(is_whole, axis=1) - 1
    whole = is_whole & (n_before >= case.detector.min_bars - 1)
    assert np.isfinite(scores[whole]).all()


@every_case
@settings(deadline=None, max_examples=20)
@given(last=some_bar)
def test_later_bars_change_no_score(case, last):
    """Law 3: no look-ahead."""
    model, panel = model_of(case), usual_panel(case)
    np.testing.assert_array_equal(
        model.score(panel[:, : last + 1]), model.score(panel)[:, : last + 1]
    )


@every_case
@settings(deadline=None, max_examples=20)
@given(last=some_bar)
def test_one_bar_at_a_time_equals_batch(case, last):
    """Law 4: a bar scored alone, with its context, gets the batch's score."""
    model, panel = model_of(case), usual_panel(case)
    first = 0 if case.is_exempt(4) else max(0, last - model.context)
    tail = panel[:, first : last + 1]
    np.testing.assert_allclose(model.score(tail)[:, -1], model.score(panel)[:, last], rtol=1e-9)


@every_case
def test_scoring_is_deterministic_and_pure(case):
    """Law 5: the same after pickling, and the input stays as it was."""
    model, panel = model_of(case), usual_panel(case)
    before = panel.copy()
    first = model.score(panel)
    np.testing.assert_array_equal(panel, before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score(panel), first)


@every_case
@settings(deadline=None, max_examples=20)
@given(bar=st.integers(100, N_BARS - 1), series=st.integers(0, N_SERIES - 1))
def test_a_planted_spike_ranks_first(case, bar, series):
    """Law 6: what is glaring to a person is the oddest bar of its series."""
    panel = usual_panel(case)
    panel[series, bar] = 60.0 if case.takes == "moves" else 1e-9
    assert np.nanargmax(model_of(case).score(panel)[series]) == bar


@every_case
def test_too_few_bars_raise_with_both_numbers(case):
    """Law 7: the message says how many are needed and how many there are."""
    needed = case.detector.min_bars
    with pytest.raises(NotEnoughBars, match=f"at least {needed} bars, got {needed - 1}"):
        case.detector.fit(usual_panel(case)[1:, : needed - 1])


@every_case
def test_different_bars_get_different_scores(case):
    """Law 8: a dead model passes all the other laws. A truncated score is alive above 0."""
    scores = model_of(case).score(usual_panel(case))
    scores = scores[np.isfinite(scores)]
    if case.is_exempt(8):
        assert 0.2 < (scores > 0).mean() < 0.8
        scores = scores[scores > 0]
    assert len(np.unique(scores)) > 0.99 * len(scores)


@every_case
def test_a_panel_equals_its_series_one_by_one(case):
    """Law 9: no series looks at the next."""
    model, panel = model_of(case), usual_panel(case)
    alone = np.concatenate([model.score(panel[i : i + 1]) for i in range(N_SERIES)])
    np.testing.assert_array_equal(model.score(panel), alone)
