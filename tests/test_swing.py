"""The view of swings: hours against hours, told where each minute is as its neighbours."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.apart import FAR, FINEST, SHARES
from components.carried import Snapshot, from_arrow, to_arrow
from components.ensemble import Ensemble
from components.features.macro import MacroReach
from components.onset import LEAST_P, Onset
from components.panels import FIELDS
from components.settings import ENSEMBLE, ENSEMBLE_OF_SHORT
from tests import naive
from tests.causality import assert_no_look_ahead, assert_pieces_equal_whole
from tests.panels_made import candle_panel

N_SERIES, N_BARS = 3, 900
SMALL = Onset(window=20, held=40, min_reference=22)
cuts = st.lists(st.integers(0, N_BARS), max_size=5).map(sorted)

WEEK = 7 * 1440
STATED, FINE = 2 / WEEK, 0.21 / WEEK
# Five days of minutes; the crash comes in the last two hours.
MINUTES = 7100
CRASH = slice(7000, 7060)


def reach_of(moves):
    """The feature, of log returns."""
    feature = MacroReach()
    live = SimpleNamespace(is_stale=np.zeros(moves.shape, dtype=bool))
    return feature.run(feature.start(len(moves)), None, live, {"log_return": moves})[1]


def walks(n_series=6, n_bars=60_000, seed=0):
    """Log returns without any anomaly: calm and wild spells, as prices have, and nothing else."""
    random = np.random.default_rng(seed)
    calm, spell = np.zeros((n_series, n_bars)), random.standard_normal((n_series, n_bars))
    for t in range(1, n_bars):
        calm[:, t] = 0.99 * calm[:, t - 1] + 0.05 * spell[:, t]
    return 1e-3 * np.exp(calm) * random.standard_normal((n_series, n_bars))


def made():
    """Scores that look back: the reach of short walks, one with ties, one with holes."""
    random = np.random.default_rng(4)
    walk = np.cumsum(random.standard_t(4, (N_SERIES, N_BARS + 19)), axis=1)
    scores = np.log(np.ptp(np.lib.stride_tricks.sliding_window_view(walk, 20, axis=1), axis=2))
    scores[0] = np.round(scores[0], 1)
    scores[1, random.random(N_BARS) < 0.2] = np.nan
    scores[2, : N_BARS // 4] = np.nan
    return scores


def p_of(scan, scores):
    return scan.run(scan.start(len(scores)), scores)[1]


@pytest.mark.parametrize(
    "numbers", [{}, {"held": 400}, {"step": 0.05, "tail": 0.5}, {"shrinkage": 0.0}], ids=str
)
def test_it_equals_its_slow_twin(numbers):
    """Rank and tail, ties, holes, a full buffer and one that fills."""
    own = {"window": 20, "held": 40, "min_reference": 22, "step": SMALL.step, **numbers}
    scores = made()
    for found, row in zip(p_of(Onset(**own), scores), scores, strict=True):
        np.testing.assert_allclose(found, naive.onset(row, **own), rtol=1e-9)
        assert (found < 1).sum() > 20


@given(cuts=cuts)
def test_pieces_give_what_the_whole_gives(cuts):
    """Bit for bit, its state written and read in between."""
    scores = made()

    def run(state, first, last):
        state, p, _ = SMALL.run(state, scores[:, first:last])
        return from_arrow(to_arrow(Snapshot(("A", "B", "C"), state))).state, p

    assert_pieces_equal_whole(SMALL.start(N_SERIES), run, N_BARS, cuts)


@given(last=st.integers(1, N_BARS))
def test_no_later_score_changes_a_p_value(last):
    """No look-ahead."""
    scores = made()
    assert_no_look_ahead(lambda first, end: p_of(SMALL, scores[:, first:end]), N_BARS, last)


@pytest.mark.parametrize("kind", ["independent", "reach of walks"])
def test_p_values_come_no_more_often_than_they_say(kind):
    """Of 360,000 bars, independent or each like the one before: 1.2 alpha at most, 2 where few."""
    scores = 0.3 * np.random.default_rng(0).exponential(size=(6, 60_000))
    if kind != "independent":
        scores = reach_of(walks())
    p = p_of(Onset(), scores)
    p = p[np.isfinite(p)]
    for alpha, most in ((1e-2, 1.2), (1e-3, 1.2), (STATED, 1.2), (6e-5, 2.0)):
        assert np.mean(p <= alpha) <= most * alpha
    # Nor is it so strict that nothing were ever told.
    for alpha in (1e-2, 1e-3):
        assert np.mean(p <= alpha) >= 0.7 * alpha
    assert ((p > 0) & (p <= 1)).all()


def test_an_event_is_counted_when_it_begins_and_when_it_is_clearly_worse():
    """A quarter larger than what was counted last, or an hour later; in between p is 1."""
    scores = np.tile(np.linspace(0, 0.1, 61), 150)[None]
    scan = Onset()
    state, p, _ = scan.run(scan.start(1), scores)
    # One in sixty-one bars: 60 after the one before it is still the same event.
    assert state["n"][0] == 150
    told = p[0, 100 * 61 :].reshape(-1, 61)
    assert (told[:, 1:] == 1).all()
    later = np.array([[3.0, 3.0, 3.2, 3.25, 2.9, 3.25 + 1.1 * scan.step]])
    _, p, _ = scan.run(state, later)
    np.testing.assert_array_equal(p[0] < 1, [True, False, False, True, False, True])
    # Each of them enters the past of the next.
    assert (p >= LEAST_P).all()


@given(scores=st.lists(st.floats(-20, 60, width=32), min_size=2, max_size=8))
def test_a_larger_swing_is_never_less_rare(scores):
    """Whatever came before, p never rises with the score of an onset."""
    state, _, _ = SMALL.run(SMALL.start(1), made()[:1])
    state = {**state, "last": np.full(1, -np.inf)}
    p = [SMALL.run(state, np.array([[score]]))[1][0, 0] for score in sorted(scores)]
    assert (np.diff(p) <= 1e-15).all()


def test_the_reach_of_an_hour_is_what_its_formula_says():
    """Of 61 closes in one kind of shares; NaN before, of none and of a price that stands."""
    moves = walks(2, 400)
    moves[1, 100:250] = 0
    close = np.exp(np.cumsum(moves, axis=1))
    before = np.concatenate([np.ones((2, 1)), close], axis=1)
    found = reach_of(moves)
    for own, row in zip(found, before, strict=True):
        np.testing.assert_allclose(own[60:], naive.macro_reach(row)[61:], rtol=1e-7)
    assert np.isnan(found[:, :59]).all()
    assert np.isnan(found[1, 159:250]).all()
    holed = np.insert(moves, [70, 200], np.nan, axis=1)
    np.testing.assert_array_equal(reach_of(holed)[np.isfinite(holed)], found.ravel())


@pytest.fixture(scope="module")
def crash():
    """Two series of five days; the first falls a tenth in an hour, each minute as the last ones.

    Volatility grows by 4 % a minute up to threefold; the second goes on as ever.
    """
    random = np.random.default_rng(1)
    panel = candle_panel(1, n_series=2, n_bars=MINUTES)
    moves = 1e-3 * random.standard_normal((2, MINUTES))
    scale = np.ones(moves.shape)
    scale[0, CRASH] = np.minimum(1.04 ** np.arange(1, 61), 3)
    moves[0, CRASH] = scale[0, CRASH] * (0.7 * moves[0, CRASH] - 0.7e-3)
    close = 100 * np.exp(np.cumsum(moves, axis=1))
    open_ = np.concatenate([np.full((2, 1), 100.0), close[:, :-1]], axis=1)
    reach = np.exp(3e-4 * scale * np.abs(random.standard_normal(moves.shape)))
    prices = (open_, np.maximum(open_, close) * reach, np.minimum(open_, close) / reach, close)
    for name, values in zip(("open", "high", "low", "close"), prices, strict=True):
        panel.fields[:, :, FIELDS.index(name)] = values
    return panel


def judged(detectors, panel, rate=STATED):
    """What is found at a stated share of bars."""
    ensemble = Ensemble(detectors, rate * 365 * 1440)
    n_series = len(panel.symbols)
    return ensemble.run(ensemble.start(n_series), panel, np.full(n_series, rate))[1]


@pytest.fixture(scope="module")
def told(crash):
    return judged(ENSEMBLE_OF_SHORT, crash)


@pytest.fixture(scope="module")
def untold(crash):
    """Of those that judged before."""
    return judged((*ENSEMBLE, "surge"), crash)


def test_a_crash_in_small_steps_is_told_by_it_and_by_no_other(told, untold):
    """Within the hour, MEDIUM by one vote; the five and ``surge`` see usual minutes."""
    assert told.is_anomaly[0, CRASH].any()
    assert not untold.is_anomaly[0, CRASH].any()
    first = CRASH.start + told.is_anomaly[0, CRASH].argmax()
    assert told.level[0, first] == 2
    assert told.votes[0, first] == 1
    assert told.p[-1, 0, first] <= told.vote_p[0, first] < told.p[:-1, 0, first].min()
    assert told.vote_p[0, first] == SHARES["swing"] * told.rate[0, first]
    # It is told again only when clearly worse.
    assert told.is_anomaly[0, CRASH].sum() <= 3


def test_where_no_hour_is_odd_it_adds_nothing(told, untold, crash):
    """The other series: no alert more. A price that stands leaves it without a score."""
    np.testing.assert_array_equal(told.is_anomaly[1], untold.is_anomaly[1])
    still = candle_panel(1, n_series=1, n_bars=1000)
    still.fields[0, :, :4] = 100
    found = judged(ENSEMBLE_OF_SHORT, still)
    assert np.isnan(found.p[-1]).all()
    assert not found.is_anomaly.any()


def test_its_share_is_the_votes_while_it_has_no_past(told, untold):
    """Before its hundredth onset, some three days, all is as it was without it; then the sum."""
    speaks = np.isfinite(told.p[-1])
    begins = speaks.argmax(axis=1)
    assert ((begins > 1500) & (begins < 6000)).all()
    np.testing.assert_array_equal(told.agreed_p[~speaks], untold.agreed_p[~speaks])
    np.testing.assert_array_equal(told.p[:-1], untold.p)
    surge, swing = told.p[-2:]
    # What begins every few hours counts for nothing.
    swing = np.where(swing > FAR * SHARES["swing"] * STATED, 1.0, swing)
    # Of the last bars all speak; the vote is what the joined p without it says, where it decides.
    is_vote = speaks & (untold.agreed_p < 1) & (untold.agreed_p < surge / SHARES["surge"])
    vote = untold.agreed_p[is_vote] * (1 - SHARES["surge"])
    least = np.minimum(vote / (1 - sum(SHARES.values())), swing[is_vote] / SHARES["swing"])
    least = np.minimum(least, surge[is_vote] / SHARES["surge"])
    np.testing.assert_allclose(told.agreed_p[is_vote], np.minimum(least, 1), rtol=1e-12)
    assert (told.votes[told.is_anomaly] > 0).all()


def test_a_fine_budget_leaves_all_to_the_view_of_pumps(crash):
    """At 0.21 a week the crash is not told, and what is decided is ``surge`` alone."""
    both, lone = judged(ENSEMBLE_OF_SHORT, crash, FINE), judged((FINEST,), crash, FINE)
    decided = np.isfinite(both.agreed_p)
    np.testing.assert_array_equal(both.agreed_p[decided], lone.agreed_p[decided])
    np.testing.assert_array_equal(both.is_anomaly[decided], lone.is_anomaly[decided])
