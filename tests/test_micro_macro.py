"""The micro and macro views: what they measure, and that their votes count by independence."""

import numpy as np
import pytest

from components.carried import scoped
from components.consensus import Poll, quorum_of
from components.ensemble import Ensemble
from components.features.all_features import AllFeatures
from components.features.macro import LARGEST, MEAN, SPREAD, WINDOW, Level
from components.panels import FIELDS
from tests.panels_made import candle_panel

MICRO = ("micro_return", "micro_log_return", "micro_range", "micro_body")
MACRO = ("macro_volatility", "macro_range", "macro_volume")
N_BARS = 900
RATE = 1 / 200


def at(field):
    return FIELDS.index(field)


def features_of(panel):
    every = AllFeatures()
    return every.run(every.start(len(panel.symbols)), panel)[1]


def judged(detectors, panel, **more):
    ensemble = Ensemble(detectors, RATE * 365, **more)
    n_series = len(panel.symbols)
    return ensemble.run(ensemble.start(n_series), panel, np.full(n_series, RATE))


def levelled(x, what, level):
    """The level and window gone through bar by bar, as the formula says."""
    found, usual = np.full(len(x), np.nan), 0.0
    for t in range(len(x)):
        older = t - WINDOW
        if older >= 0:
            value = x[older] ** 2 if what == SPREAD else x[older]
            if older >= level.warm_up:
                value = min(value, usual * (level.cap**2 if what == SPREAD else level.cap))
            usual += max(1 - level.decay, 1 / (older + 1)) * (value - usual)
        if older + 1 >= level.warm_up:
            of = {SPREAD: np.std, LARGEST: np.max, MEAN: np.mean}[what]
            found[t] = np.log(
                of(x[t - WINDOW + 1 : t + 1]) / (usual**0.5 if what == SPREAD else usual)
            )
    return found


@pytest.mark.parametrize("what", [SPREAD, LARGEST, MEAN])
def test_the_level_of_sixty_bars_is_what_its_formula_says(what):
    """Against a twin that goes through every window with numpy; a burst enters the level cut."""
    x = np.abs(np.random.default_rng(2).standard_t(3, 1500))
    x[400] = 300
    level = Level()
    found = level.run(level.start(1), x[None], what, 0.0)[1][0]
    np.testing.assert_allclose(found, levelled(x, what, level), rtol=1e-9)
    assert np.isfinite(found).argmax() == WINDOW + level.warm_up - 1


def test_a_burst_of_an_hour_stands_out_until_it_is_over_and_does_not_hide_in_its_level():
    """Sixty wild bars on four times the volume: each macro feature rises, and falls again."""
    panel = candle_panel(n_series=1, n_bars=N_BARS, seed=5)
    quiet = features_of(panel)
    wild = slice(600, 660)
    moves = np.diff(np.log(panel.field("close")[0]), prepend=np.log(100))
    moves[wild] *= 4
    close = np.exp(np.cumsum(moves) + np.log(100))
    panel.fields[0, :, :4] *= (close / panel.field("close")[0])[:, None]
    panel.fields[0, wild, at("high")] *= 1.04
    panel.fields[0, wild, at("volume")] *= 4
    found = features_of(panel)
    assert found["macro_volatility"][0, 659] > quiet["macro_volatility"][0, 659] + 1
    assert found["macro_range"][0, 659] > quiet["macro_range"][0, 659] + 0.5
    assert found["macro_volume"][0, 659] > quiet["macro_volume"][0, 659] + 1.2
    for name in MACRO:
        assert found[name][0, 599] == pytest.approx(quiet[name][0, 599], abs=1e-9)
        # Behind the burst the level has risen a little: what is usual is a little less.
        assert quiet[name][0, 720] - 0.4 < found[name][0, 720] <= quiet[name][0, 720]


def test_a_micro_view_is_the_size_of_its_move():
    """Of a return, a log return and a body either sign is odd; of a range only a wide one."""
    panel = candle_panel(n_series=2, n_bars=N_BARS)
    found, names = features_of(panel), dict(zip(MICRO, range(4), strict=True))
    score = judged(MICRO, panel)[1].score
    for view, feature in (("micro_log_return", "return_z"), ("micro_body", "body_z")):
        np.testing.assert_array_equal(score[names[view]], np.abs(found[feature]))
    np.testing.assert_array_equal(score[names["micro_range"]], found["range_z"])
    assert (score[names["micro_range"]] < 0).any()
    simple, log = score[names["micro_return"]], score[names["micro_log_return"]]
    np.testing.assert_allclose(np.nan_to_num(simple), np.nan_to_num(log), rtol=0.2)
    assert not np.array_equal(simple, log, equal_nan=True)


def test_return_and_log_return_are_one_vote():
    """They say the same of a bar: each has half a vote, measured, not told by anybody."""
    panel = candle_panel(n_series=3, n_bars=N_BARS)
    views = ("micro_return", "micro_log_return", "micro_range", "macro_volume")
    ensemble = Ensemble(views, RATE * 365)
    state, found = judged(views, panel)
    state = dict(state)
    begun = np.where(np.arange(N_BARS) >= 700, found.p, np.nan)
    weight = Poll().run(scoped(state, "poll"), begun)[1].weight[:, :, 701:]
    np.testing.assert_allclose(weight[:2], 0.5)
    np.testing.assert_allclose(weight[2:], 1)
    assert (found.voters[:, ensemble.bars_before_verdict :] == 3).all()


def test_a_view_entered_under_two_names_makes_no_second_vote():
    """A bar whose return alone is odd has one vote by return and log return: below the quorum."""
    panel = candle_panel(n_series=1, n_bars=N_BARS)
    pair = judged(("micro_return", "micro_log_return", "macro_volume"), panel)[1]
    odd = (pair.p[0] <= RATE) & (pair.p[1] <= RATE) & (pair.p[2] > 0.2)
    assert odd[:, 400:].sum() >= 1
    assert not pair.is_anomaly[odd].any()
    assert (pair.level[odd] <= 1).all()


@pytest.mark.parametrize(("n_votes", "level"), [(0, 0), (1, 1), (2, 2), (3, 3), (5, 3)])
def test_one_two_and_three_independent_votes_are_low_medium_and_high(n_votes, level):
    """The quorum is two: one vote is recorded, two are an alert."""
    assert quorum_of(7) == 2
    panel = candle_panel(n_series=1, n_bars=3000, seed=11)
    views = ("micro_return", "micro_range", "macro_volatility", "macro_volume", "micro_body")
    odd = views[:n_votes]
    found = judged_of_p(odd, views, panel)
    assert found.level[0, -1] == level
    assert found.is_anomaly[0, -1] == (level >= 2)
    assert found.votes[0, -1] == n_votes


def judged_of_p(odd, views, panel):
    """The ensemble on views whose scores are independent noise; some cry out at the last bar."""
    random = np.random.default_rng(4)
    noise = np.abs(random.standard_normal((len(views), *panel.ts.shape)))
    noise[:, 0, -1] = 0.1
    noise[[views.index(name) for name in odd], 0, -1] = 9

    class Told(Ensemble):
        def _views(self, state, after, panel, channelled, columns, seen):
            ps = []
            for seat, calibration in enumerate(self._calibrations):
                own = scoped(state, f"view.{seat}")
                ps.append(calibration.run(own, noise[seat], channelled.regime)[1])
            return noise, np.stack(ps), np.zeros(noise.shape, dtype=np.int64)

    ensemble = Told(views, RATE * 365)
    return ensemble.run(ensemble.start(1), panel, np.full(1, RATE))[1]
