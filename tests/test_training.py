"""Training: an honest split in time, nothing learned from later bars, models that judge later."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.carried import Snapshot, from_arrow, to_arrow
from components.detectors import DETECTORS
from components.detectors.base import VECTOR_FEATURES
from components.ensemble import Ensemble
from components.entrypoints.training import hyper_from
from components.errors import NotEnoughBars, SettingsError, UnknownName
from components.evaluation.told import with_market
from components.features import FEATURES
from components.model_charts import map_png
from components.model_files import hyper_of
from components.panels import CandlePanel, pack
from components.sessions import Calendars
from components.steps.train import embargo
from components.trained import BEND, Scaler, Trained, unfit
from components.training import (
    Recipe,
    fit,
    naive,
    scaler_of,
    split,
    trainable,
    tune,
    untrained_twin,
)
from tests.markets_made import features_of, market, unseen

LOCAL = ("volatility", "return", "volume_ratio", "volatility_ratio", "return_std")
DAY = np.timedelta64(1, "D")
N_BARS = 400


def recipe(name="kmeans", features=LOCAL, **chosen):
    detector = chosen.pop("detector", DETECTORS[name])
    return Recipe(detector=detector, name=name, interval="1d", features=features, **chosen)


def trained(made, panel, until=None):
    """A model of the bars up to ``until``, the number of a bar, or of all."""
    last = pd.Timestamp(panel.ts[0, -1 if until is None else until], tz="UTC")
    seen = panel.until(last)
    scaler = scaler_of(seen)
    return fit(made, made.detector, seen, scaler, unseen)


def panel_of(features=LOCAL, **of_market):
    """The features of a made market."""
    return features_of(with_market(market(**of_market), Calendars()), features)


@pytest.fixture(scope="module")
def candles():
    return with_market(market(6, N_BARS), Calendars())


@pytest.fixture(scope="module")
def panel(candles):
    return features_of(candles, LOCAL)


stamps = st.lists(st.integers(0, 80), min_size=1, max_size=60)


@given(
    series=st.lists(stamps, min_size=1, max_size=4),
    share=st.floats(0.1, 0.95),
    n_embargo=st.integers(0, 12),
)
def test_a_cut_leaves_the_embargo_between_its_parts(series, share, n_embargo):
    """Exactly so many bars of the market's clock belong to neither part, or it is refused."""
    width = max(map(len, series))
    ts = np.full((len(series), width), np.datetime64("NaT", "us"))
    for row, own in enumerate(series):
        days = np.array(sorted(set(own)))
        ts[row, width - len(days) :] = np.datetime64("2020-01-01", "us") + days * DAY
    times = np.unique(ts[~np.isnat(ts)])
    try:
        cut = split(ts, share, n_embargo)
    except NotEnoughBars as refused:
        assert str(len(times)) in str(refused)  # noqa: PT017 - one of two outcomes
        return
    between = (times > naive(cut.until)) & (times < naive(cut.since))
    assert between.sum() == n_embargo == cut.n_embargo
    assert naive(cut.first) == times[0] < naive(cut.until)
    assert naive(cut.since) <= times[-1] == naive(cut.last)
    bars = ts[~np.isnat(ts)]
    assert (bars < naive(cut.until)).mean() <= share < (bars <= naive(cut.until)).mean() + 1e-9


def test_a_cut_is_in_time_and_never_between_instruments(panel):
    """Every instrument that lived through it lies on both of its sides."""
    cut = split(panel.ts, 0.7, 15)
    seen = panel.until(cut.until)
    assert seen.symbols == panel.symbols
    assert (seen.ts.max(axis=1) == naive(cut.until)).all()
    assert ((panel.ts >= naive(cut.since)).sum(axis=1) > 0).all()


def test_the_embargo_covers_features_and_model():
    """Local features' context, what carried ones mostly remember, and the model's window."""
    assert embargo(recipe("kmeans", ("volatility",))) == 1
    assert embargo(recipe("kmeans", ("return_std", "volatility"))) == 11 + 1
    assert embargo(recipe("lstm_autoencoder", ("return_std",))) == 11 + 16
    assert embargo(recipe("lstm_autoencoder", VECTOR_FEATURES)) == 46 + 16


@pytest.mark.parametrize("name", ["kmeans", "lstm_autoencoder"])
def test_no_window_of_a_held_out_bar_reaches_the_training(candles, panel, name):
    """Were every candle of the training another, no score of the held-out bars would change."""
    made = recipe(name)
    cut = split(panel.ts, 0.6, embargo(made))
    other = candles.copy()
    past = other["ts"] <= cut.until
    for column in ("open", "high", "low", "close", "volume"):
        other.loc[past, column] *= np.random.default_rng(1).uniform(0.5, 2, past.sum())
    other["high"] = other[["open", "high", "low", "close"]].max(axis=1)
    other["low"] = other[["open", "low", "close"]].min(axis=1)
    model = replace(DETECTORS[name], epochs=0) if name == "lstm_autoencoder" else DETECTORS[name]
    judge = trained(recipe(name, detector=model), panel, N_BARS // 2)
    changed = features_of(other, LOCAL)
    held = panel.ts >= naive(cut.since)
    before, after = (judge.score_any(each.x, each.symbols) for each in (panel, changed))
    np.testing.assert_allclose(before[held], after[held], rtol=1e-9)
    assert (before[~held] != after[~held]).any()


def test_training_sees_nothing_behind_the_cut(candles, panel):
    """Later bars may be anything: model, scaler and tuning stay the same to the bit."""
    made = recipe("kmeans", detector=DETECTORS["kmeans"])
    cut = split(panel.ts, 0.6, embargo(made))
    other = candles.copy()
    later = other["ts"] > cut.until
    other.loc[later, ["open", "high", "low", "close", "volume"]] *= 7.0
    models = []
    for each in (panel, features_of(other, LOCAL)):
        seen = each.until(cut.until)
        scaler = scaler_of(seen)
        detector, tried = tune(made, seen, scaler, unseen)
        models.append((fit(made, detector, seen, scaler, unseen), tried))
    (one, tried), (two, tried_again) = models
    assert tried == tried_again
    assert one.until == two.until == cut.until
    for name, values in one.models[""].arrays().items():
        np.testing.assert_array_equal(values, two.models[""].arrays()[name])
    np.testing.assert_array_equal(one.scaler.center, two.scaler.center)
    np.testing.assert_array_equal(one.usual.edges, two.usual.edges)


def test_no_window_crosses_from_one_instrument_into_the_next(candles, panel):
    """Features and scores of many instruments are those of each one alone."""
    judge = trained(recipe("lstm_autoencoder", detector=_untaught()), panel)
    together = judge.score_any(panel.x, panel.symbols)
    for row, symbol in enumerate(panel.symbols):
        alone = features_of(candles[candles["symbol"] == symbol], LOCAL)
        np.testing.assert_array_equal(alone.x[0], panel.x[row])
        np.testing.assert_array_equal(judge.score_any(alone.x, (symbol,))[0], together[row])


def test_a_young_instrument_is_padded_in_front(candles):
    """Instruments of different age end in the same column, and nothing is made up before."""
    young = candles[(candles["symbol"] != "C00-USD") | (candles["ts"] >= candles["ts"].iloc[200])]
    panel = features_of(young, LOCAL)
    assert np.isnat(panel.ts[0, :200]).all()
    assert np.isnan(panel.x[0, :200]).all()
    assert np.isfinite(panel.x[0, 200 + 11 :]).all()
    shorter = panel.until(pd.Timestamp(panel.ts[0, 300], tz="UTC"))
    assert shorter.ts.shape == (6, 301)
    assert shorter.x.shape == (6, 301, len(LOCAL))


@given(st.lists(st.integers(0, 380), min_size=6, max_size=6), st.integers(20, N_BARS - 1))
def test_nothing_of_a_later_bar_is_left(candles, panel, ends, at):
    """Whenever each instrument was traded last: neither a time nor a value."""
    last = pd.Timestamp(candles["ts"].unique()[at]).tz_localize(None).to_datetime64()
    ragged = replace(panel, ts=panel.ts.copy(), x=panel.x.copy())
    for row, shift in enumerate(ends):
        ragged.ts[row] -= shift * DAY
    seen = ragged.until(pd.Timestamp(last, tz="UTC"))
    with np.errstate(invalid="ignore"):
        is_later = ragged.ts > last
    assert np.nanmax(seen.ts) <= last
    n = seen.ts.shape[1]
    assert np.isnan(seen.x[is_later[:, :n]]).all()
    np.testing.assert_array_equal(seen.x[~is_later[:, :n]], ragged.x[:, :n][~is_later[:, :n]])
    assert is_later[:, n:].all()


def test_a_dead_instrument_does_not_make_the_training_end_later(candles):
    """A model, and its untrained twin, end at the cut and judge what lies behind it."""
    days = candles["ts"].unique()
    dead = candles[(candles["symbol"] != "C00-USD") | (candles["ts"] < days[150])]
    panel = features_of(dead, LOCAL)
    cut = pd.Timestamp(days[250])
    made = recipe("kmeans")
    seen = panel.until(cut)
    judge = fit(made, made.detector, seen, scaler_of(seen), unseen)
    twin = untrained_twin(judge, made, seen)
    assert judge.until == twin.until == cut


def test_the_scaler_is_straight_near_and_logarithmic_far():
    """Median to 0, a spread to about 1, and a million spreads to no more than some dozen."""
    rows = np.random.default_rng(0).normal(5, 3, (100_000, 1))
    scaler = Scaler.of(rows)
    assert scaler(np.array([[5.0]])) == pytest.approx(0, abs=0.02)
    assert scaler(np.array([[8.0]])) == pytest.approx(1, abs=0.03)
    assert scaler(np.array([[5.0 + 3e6]]))[0, 0] < 15 * BEND
    assert np.isnan(scaler(np.array([[np.nan]]))).all()
    still = Scaler.of(np.r_[np.zeros((90, 1)), np.ones((10, 1))])
    assert still.spread == 1.0


def test_one_model_for_all_or_one_for_each(panel):
    """By setting; an instrument too young for its own has no score, and the others have theirs."""
    young = replace(panel, x=panel.x.copy())
    young.x[0, :350] = np.nan
    made = recipe("gmm", is_pooled=False, detector=replace(DETECTORS["gmm"], n_components=3))
    judge = trained(made, young)
    assert not judge.is_pooled
    assert set(judge.models) == set(panel.symbols[1:])
    scores = judge.score_any(young.x, young.symbols)
    assert np.isnan(scores[0]).all()
    assert np.isfinite(scores[1:, 20:]).all()
    alone = judge.score_any(young.x[2:3], (young.symbols[2],))
    np.testing.assert_array_equal(alone[0], scores[2])
    pooled = trained(recipe("gmm"), young)
    assert pooled.is_pooled
    assert np.isfinite(pooled.score_any(young.x, young.symbols)[0, 365:]).all()


def test_nobody_with_enough_bars_is_refused_with_both_numbers(panel):
    """One each cannot be made of fifty bars."""
    few = replace(panel, x=panel.x[:, -30:], ts=panel.ts[:, -30:])
    made = recipe("gmm", is_pooled=False)
    with pytest.raises(NotEnoughBars, match="at least 60 bars, got 30"):
        trained(made, few)


def test_bars_without_features_train_nothing(panel):
    """A scaler of nothing would scale to nothing."""
    empty = replace(panel, x=np.full_like(panel.x, np.nan))
    with pytest.raises(NotEnoughBars, match="bars with all features"):
        scaler_of(empty)


def test_only_what_can_be_trained_is_trained():
    """Named with those that can."""
    with pytest.raises(UnknownName, match="gmm, isolation_forest, kmeans"):
        trainable("market")
    with pytest.raises(UnknownName, match="'kmaens'"):
        trainable("kmaens")


def test_tuning_tells_what_it_tried_and_takes_the_least(panel):
    """The whole grid, a line each, with its hyper-parameters; fixed there is nothing to try."""
    made = recipe("gmm")
    scaler = scaler_of(panel)
    best, tried = tune(made, panel, scaler, unseen)
    assert len(tried) == len(DETECTORS["gmm"].grid())
    least = min(tried, key=lambda each: each["criterion"])
    assert (least["n_components"], least["covariance_type"]) == (
        best.n_components,
        best.covariance_type,
    )
    assert tune(replace(made, is_tuned=False), panel, scaler, unseen) == (DETECTORS["gmm"], [])


def test_the_untrained_twin_differs_in_what_it_learned_alone(panel):
    """Same scaler, same features, same numbers: what it lacks is the training."""
    made = recipe("gmm")
    judge = trained(made, panel)
    twin = untrained_twin(judge, made, panel)
    assert (twin.hyper, twin.features, twin.scaler) == (judge.hyper, judge.features, judge.scaler)
    assert (twin.models[""].means != judge.models[""].means).any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"interval": "1m"}, "was trained on 1m bars, not 1d"),
        ({"features_version": "0"}, "features of version '0', and this program makes version"),
        ({"features": ("volatility", "magic")}, "unknown feature 'magic'"),
    ],
)
def test_a_model_of_other_bars_or_features_is_unfit(panel, change, reason):
    """Thresholds are never carried from one interval or arithmetic to another."""
    judge = trained(recipe(), panel)
    assert unfit(judge, "1d") == ""
    assert reason in unfit(replace(judge, **change), "1d")


# What a trained model is among the views.


def judged(ensemble, candles, cuts=()):
    """What an ensemble says of all candles, in pieces with the state carried."""
    symbols = tuple(sorted(candles["symbol"].unique()))
    panel = pack(candles, symbols, symbols)
    rates = np.full(len(symbols), 12 / 365)
    state, parts = ensemble.start(len(symbols)), []
    n_bars = panel.ts.shape[1]
    for first, last in zip([0, *cuts], [*cuts, n_bars], strict=True):
        piece = CandlePanel(
            symbols, panel.ts[:, first:last], panel.fields[:, first:last], panel.round_the_clock
        )
        state, found = ensemble.run(state, piece, rates)
        state = from_arrow(to_arrow(Snapshot(symbols, state))).state
        parts.append(found)
    return state, parts


def _untaught():
    return replace(DETECTORS["lstm_autoencoder"], epochs=0)


def ensemble_with(panel, name="kmeans", detectors=(), until=150, **of_trained):
    made = recipe(name, detector=_untaught() if name == "lstm_autoencoder" else DETECTORS[name])
    judge = replace(trained(made, panel, until), version="3", **of_trained)
    return Ensemble(detectors, 12.0, 1 if not detectors else 2, judge)


@pytest.mark.parametrize("name", ["kmeans", "lstm_autoencoder"])
@pytest.mark.parametrize("detectors", [(), ("volatility_zscore", "kmeans")])
def test_a_trained_view_in_pieces_equals_the_whole(candles, panel, name, detectors):
    """Context, recent bins and everything behind them are carried, bit for bit."""
    ensemble = ensemble_with(panel, name, detectors)
    end, whole = judged(ensemble, candles)
    carried, pieces = judged(ensemble, candles, cuts=(1, 7, 149, 151, 300, 399))
    assert set(end) == set(carried)
    for key, values in end.items():
        np.testing.assert_array_equal(values, carried[key], err_msg=key)
    for field in ("score", "p"):
        joined = np.concatenate([getattr(piece, field) for piece in pieces], axis=2)
        np.testing.assert_array_equal(joined, getattr(whole[0], field))
    level = np.concatenate([piece.level for piece in pieces], axis=1)
    np.testing.assert_array_equal(level, whole[0].level)


def test_bars_that_the_training_saw_are_not_judged_by_it(candles, panel):
    """No score up to the last bar of the training, and one on each bar after it."""
    ensemble = ensemble_with(panel, until=150)
    _, (found,) = judged(ensemble, candles)
    assert np.isnan(found.score[0, :, :151]).all()
    assert np.isfinite(found.score[0, :, 151:]).all()
    assert ensemble.name == "kmeans@3"


def test_the_seat_scores_as_the_model_does(candles, panel):
    """What judges day by day is what was held against others in training."""
    ensemble = ensemble_with(panel, "lstm_autoencoder")
    _, (found,) = judged(ensemble, candles)
    expected = ensemble.trained.score_any(panel.x, panel.symbols)
    np.testing.assert_array_equal(found.score[0, :, 151:], expected[:, 151:])


def test_contributions_of_a_judged_bar_are_those_of_the_model(candles, panel):
    """Explained from the carried windows: every chosen bar, sums and values alike."""
    ensemble = ensemble_with(panel, "lstm_autoencoder")
    _, pieces = judged(ensemble, candles, cuts=(200, 210))
    seen = pieces[1].seen
    series, bars, values, made = seen.contributions(np.ones(seen.score.shape, dtype=bool))
    assert len(series) == 6 * 10
    model = ensemble.trained
    expected = model.models[""].contributions(model.scaler(panel.x))
    np.testing.assert_array_equal(values, panel.x[series, 200 + bars])
    np.testing.assert_allclose(made.by_feature[:, 0], expected.by_feature[series, 200 + bars])
    np.testing.assert_allclose(made.by_feature[:, 0].sum(axis=1), seen.score[series, bars])
    assert seen.contributions(np.zeros(seen.score.shape, dtype=bool)) is None


def test_another_model_judges_under_another_fingerprint(panel):
    """So that a state carried under one model never serves another."""
    one = ensemble_with(panel)
    same = ensemble_with(panel)
    other = ensemble_with(panel, until=160)
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_a_trained_view_changes_no_other_views_scores(candles, panel):
    """It has a vote; what the others see stays what it was."""
    detectors = ("volatility_zscore", "kmeans")
    _, (with_it,) = judged(ensemble_with(panel, "gmm", detectors), candles)
    _, (without,) = judged(Ensemble(detectors, 12.0), candles)
    np.testing.assert_array_equal(with_it.score[:2], without.score)
    np.testing.assert_array_equal(with_it.p[:2], without.p)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_every_scale_free_feature_can_be_trained_on(candles, name):
    """None is all unknown or all one value on a made market, where it is known at all."""
    if not FEATURES[name].is_scale_free:
        return
    panel = features_of(candles, (name, "return"))
    known = np.isfinite(panel.x).all(axis=2)
    if name in ("gap", "gap_z"):
        # Coins' markets never close.
        assert not known.any()
        return
    assert known[:, -1].all()
    judge = trained(recipe("kmeans", (name, "return")), panel)
    assert isinstance(judge, Trained)
    # The reach of a window that slides stays what it is for some bars.
    least = {"gap_vector": 0, "macro_reach": 500}.get(name, 1000)
    assert len(np.unique(panel.x[..., 0][known])) > least


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("kmeans", ["n_clusters = 12"], {"n_clusters": 12}),
        ("gmm", ["covariance_type=diag"], {"covariance_type": "diag"}),
        ("gmm", ["least_variance=0.5"], {"least_variance": 0.5}),
        ("lstm_autoencoder", ["seed=0", "learning_rate=1e-3"], {"seed": 0, "learning_rate": 1e-3}),
        ("pca", [], {}),
    ],
)
def test_hyper_parameters_can_be_named(name, said, expected):
    """Each of its own kind."""
    found = hyper_from(trainable(name), name, said)
    assert found == expected
    assert all(type(v) is type(hyper_of(trainable(name))[k]) for k, v in found.items())


@pytest.mark.parametrize(
    ("name", "said", "word"),
    [
        ("kmeans", "n_components=3", "kmeans has no 'n_components'. It has n_clusters=8"),
        ("kmeans", "n_clusters=0", "whole number above 0"),
        ("kmeans", "n_clusters=2.5", "whole number above 0"),
        ("kmeans", "n_clusters", "whole number above 0"),
        ("kmeans", f"n_clusters={10**30}", "at most 1,000,000"),
        ("gmm", "least_variance=nan", "a number above 0"),
        ("gmm", "least_variance=inf", "a number above 0"),
        ("gmm", "covariance_type=__class__", "one of full, tied, diag, spherical"),
        ("lstm_autoencoder", "seed=-1", "not '-1'"),
    ],
)
def test_other_hyper_parameters_are_refused_in_one_line(name, said, word):
    """With what there is."""
    with pytest.raises(SettingsError) as caught:
        hyper_from(trainable(name), name, [said])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("n_features", "n_groups"), [(1, 1), (1, 16), (2, 1), (6, 24)])
def test_a_map_of_any_bars_is_drawn(n_features, n_groups):
    """One feature alone, more groups than colours."""
    random = np.random.default_rng(0)
    x, score = random.standard_normal((200, n_features)), random.random(200)
    picture = map_png(x, score, np.arange(200.0) % n_groups)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000
