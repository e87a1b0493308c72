"""Detectors that are trained, tuned and promoted: laws 10 to 12, and what each one promises."""

import io
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from components.detectors import DETECTORS, sampling
from components.detectors.base import (
    Learned,
    OwnHistoryDetector,
    Span,
    TrainableDetector,
    vectors_of,
)
from components.detectors.clustering import clustered
from components.detectors.gmm import COVARIANCE_TYPES, GaussianMixtureSurprise
from components.detectors.isolation_forest import IsolationForestDepth
from components.detectors.kmeans import KMeansDistance
from components.detectors.lstm_autoencoder import WEIGHTS, LstmAutoencoder
from components.detectors.mahalanobis import RobustDistance
from components.detectors.pca import PrincipalResidual
from components.errors import NotEnoughBars

TRAINABLE = ("gmm", "isolation_forest", "kmeans", "lstm_autoencoder", "mahalanobis", "pca")
N_SERIES, N_BARS, N_FEATURES = 3, 220, 4

every_trainable = pytest.mark.parametrize("name", TRAINABLE)
OWN = [name for name, d in DETECTORS.items() if isinstance(d, OwnHistoryDetector)]
every_own = pytest.mark.parametrize("name", OWN)


def fat(seed, n_features=N_FEATURES):
    """Fat-tailed moves that go together somewhat; one series is shorter, one has a gap."""
    random = np.random.default_rng(seed)
    panel = random.standard_t(4, (N_SERIES, N_BARS, n_features))
    panel[:, :, 1:] += 0.5 * panel[:, :, :1]
    panel[0, :60] = np.nan
    panel[1, 150, 1] = np.nan
    return panel


@cache
def trained(name):
    """One fit serves all tests that do not ask for another."""
    return DETECTORS[name].fit(fat(1))


def tuned(detector, panel):
    """The member of the grid whose model has the least criterion."""
    return min(detector.grid(), key=lambda each: each.criterion(each.fit(panel), panel))


def test_which_detectors_can_be_trained():
    """One that lost a method would drop out of training without a word."""
    assert {n for n, d in DETECTORS.items() if isinstance(d, TrainableDetector)} == set(TRAINABLE)


@every_trainable
def test_contributions_sum_to_what_they_explain(name):
    """Law 10: nothing of the oddity is left unsaid; what has no score is not explained."""
    model, panel = trained(name), fat(2)
    panel[2, 180, 2] = 40.0
    told, score = model.contributions(panel), model.score(panel)
    explained = {
        "kmeans": lambda: score**2,
        "isolation_forest": lambda: model.mean_depth * (1 + np.log2(score)),
    }
    np.testing.assert_allclose(told.total, explained.get(name, lambda: score)(), rtol=1e-9)
    assert told.by_feature.shape == panel.shape
    np.testing.assert_allclose(
        told.by_feature.sum(axis=2) + told.rest, told.total, rtol=1e-9, atol=1e-12
    )
    for part in (*np.moveaxis(told.by_feature, 2, 0), told.rest):
        np.testing.assert_array_equal(np.isnan(part), np.isnan(score))
    assert told.what
    assert bool(told.rest_what) == bool(np.nanmax(np.abs(told.rest)) > 0)


@every_trainable
def test_the_feature_that_leapt_is_named(name):
    """An explanation that names another feature is worse than none."""
    panel = fat(2)
    panel[2, 180, 2] = 40.0
    told = trained(name).contributions(panel)
    assert told.by_feature[2, 180].argmax() == 2


@every_trainable
def test_a_model_read_back_scores_the_same_bits(name):
    """Law 11: through a file that holds numbers alone, and runs no code when read."""
    model, panel, file = trained(name), fat(2), io.BytesIO()
    np.savez(file, **model.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = DETECTORS[name].restore_arrays(dict(arrays))
    np.testing.assert_array_equal(again.score(panel), model.score(panel))
    assert again.context == model.context
    np.testing.assert_array_equal(
        again.contributions(panel).by_feature, model.contributions(panel).by_feature
    )


@every_trainable
def test_the_same_panel_gives_the_same_model(name):
    """Law 12: what is trained again from the same bars is the same model, bit for bit."""
    again = DETECTORS[name].fit(fat(1)).arrays()
    for part, values in trained(name).arrays().items():
        np.testing.assert_array_equal(again[part], values)


@every_trainable
def test_a_grid_holds_what_can_be_trained(name):
    """Law 12: each of the grid is a detector of the kind, once, with a criterion to compare."""
    detector = DETECTORS[name]
    grid = detector.grid()
    assert len(set(grid)) == len(grid)
    assert {type(each) for each in grid} == {type(detector)}
    assert np.isfinite(detector.criterion(trained(name), fat(1)))


@pytest.mark.parametrize("name", ["gmm", "kmeans", "pca"])
def test_tuning_picks_from_the_grid_the_same_every_time(name):
    """Law 12: and not the same for every panel, or nothing would be chosen."""
    detector = DETECTORS[name]
    chosen = tuned(detector, fat(1))
    assert chosen in detector.grid()
    assert tuned(detector, fat(1)) == chosen
    clusters = np.random.default_rng(0).normal(0, 0.1, (1, 600, 3))
    clusters += 4.0 * np.eye(3)[np.arange(600) % 3]
    assert tuned(detector, clusters) != chosen


@every_trainable
def test_the_untrained_twin_has_learned_nothing(name):
    """The same shape of model, whatever the panel: what it finds owes nothing to training."""
    detector, model = DETECTORS[name], trained(name).arrays()
    twin, other = detector.untrained(fat(1)).arrays(), detector.untrained(fat(9)).arrays()
    assert {k: v.shape for k, v in twin.items()} == {k: v.shape for k, v in model.items()}
    for part, values in twin.items():
        np.testing.assert_array_equal(values, other[part])
    assert any((values != model[part]).any() for part, values in twin.items())
    assert np.isfinite(detector.untrained(fat(1)).score(fat(2))[:, -1]).all()


@every_trainable
def test_training_needs_no_channel_vector(name):
    """Any features will do: their number is the panel's."""
    assert len(DETECTORS[name].features) != N_FEATURES
    assert np.isfinite(trained(name).score(fat(2))[:, -1]).all()


def test_kmeans_finds_how_many_clusters_there_are():
    """The silhouette is highest at the true number."""
    random = np.random.default_rng(3)
    centres = random.uniform(-30, 30, (6, N_FEATURES))
    panel = (centres[random.integers(0, 6, 900)] + random.normal(0, 0.3, (900, N_FEATURES)))[None]
    assert tuned(KMeansDistance(), panel).n_clusters == 6


def test_one_kind_of_bar_is_the_worst_clustering():
    """A silhouette needs two clusters: without them the criterion is its worst value."""
    detector, panel = KMeansDistance(), np.zeros((1, 100, 2))
    assert detector.criterion(detector.untrained(panel), panel) == 1.0


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_every_covariance_scores_as_scikit_learn(kind):
    """All types are kept as full factors; as many components as features tempts to mix them up."""
    detector = GaussianMixtureSurprise(n_components=N_FEATURES, covariance_type=kind)
    panel = fat(1)
    rows = vectors_of(panel)
    oracle = GaussianMixture(
        N_FEATURES, covariance_type=kind, reg_covar=1e-3, random_state=0, max_iter=60, tol=1e-2
    ).fit(rows)
    model = detector.fit(panel)
    np.testing.assert_allclose(model.score(rows[None])[0], -oracle.score_samples(rows), rtol=1e-6)
    np.testing.assert_allclose(detector.criterion(model, panel), oracle.bic(rows), rtol=1e-9)


def test_the_bic_knows_round_clusters():
    """Two round clusters far apart: two components of one variance each."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, 3)) + 20.0 * (np.arange(2000) % 2)[:, None]
    chosen = tuned(GaussianMixtureSurprise(), rows[None])
    assert (chosen.n_components, chosen.covariance_type) == (2, "spherical")


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_pca_rebuilds_and_is_chosen_as_by_scikit_learn(n):
    """Residual and BIC by an independent road; at least one direction is left out."""
    detector, panel = PrincipalResidual(n_components=n), fat(1)
    rows, kept = vectors_of(panel), min(n, N_FEATURES - 1)
    model, oracle = detector.fit(panel), PCA(kept).fit(rows)
    rebuilt = oracle.inverse_transform(oracle.transform(rows))
    np.testing.assert_allclose(model.score(rows[None])[0], ((rows - rebuilt) ** 2).sum(axis=1))
    n_free = N_FEATURES + N_FEATURES * kept - kept * (kept - 1) // 2 + 1
    bic = -2 * len(rows) * oracle.score(rows) + n_free * np.log(len(rows))
    np.testing.assert_allclose(detector.criterion(model, panel), bic, rtol=1e-5)


def test_pca_finds_how_many_directions_there_are():
    """Two common movements among eight features."""
    random = np.random.default_rng(0)
    rows = random.normal(0, 3, (3000, 2)) @ random.standard_normal((2, 8))
    rows += random.standard_normal(rows.shape)
    assert tuned(PrincipalResidual(), rows[None]).n_components == 2


def test_pca_blames_no_feature_that_stayed():
    """One direction left out: the squared errors alone would blame the same for every bar."""
    panel = fat(1)
    model = PrincipalResidual(n_components=N_FEATURES - 1).fit(panel)
    for leapt in range(N_FEATURES):
        bar = model.mean + 9.0 * np.eye(N_FEATURES)[leapt]
        blamed = model.contributions(bar[None, None]).by_feature[0, 0]
        np.testing.assert_allclose(np.delete(blamed, leapt), 0.0, atol=1e-9)


def test_many_odd_bars_do_not_hide_themselves():
    """A quarter of the bars far off widens a usual covariance; each of them stays odd."""
    random = np.random.default_rng(0)
    panel = random.standard_normal((1, 400, 3))
    panel[0, :100] = 12.0 + random.normal(0, 0.1, (100, 3))
    scores = RobustDistance().fit(panel).score(panel)[0]
    assert scores[:100].min() > 5 * scores[100:].max()


@pytest.mark.parametrize("zero", [slice(0, 1), slice(0, 3)])
def test_a_feature_that_never_moves_breaks_no_distance(zero):
    """A market that never closes has no gap; a dead series has nothing at all."""
    panel = np.random.default_rng(0).standard_normal((1, 200, 3))
    panel[:, :, zero] = 0.0
    for detector in (RobustDistance(), PrincipalResidual(), GaussianMixtureSurprise()):
        model = detector.fit(panel)
        assert np.isfinite(model.score(panel)).all()
        assert np.isfinite(detector.criterion(model, panel))


@every_own
def test_an_own_history_is_restored_to_the_bit(name):
    """The yearly fits are stored as numbers and score the same."""
    detector = DETECTORS[name]
    panel = np.random.default_rng(4).standard_t(4, (3, 220, 6)).astype(np.float32).astype(float)
    models = [detector.fit(own[None]) for own in panel]
    parameters = np.stack([model.parameters for model in models])
    assert parameters.shape == (len(panel), detector.n_parameters)
    n_series, n_bars = panel.shape[:2]
    zero, all_ = np.zeros(n_series, np.int64), np.full(n_series, n_bars)
    held = panel[:, : n_bars // 2].astype(np.float32)
    learned = Learned(held, panel[:, n_bars // 2 :], Span(zero, all_))
    asked = Span(zero + 3, np.arange(n_series) + 9)
    found = detector.score_each(parameters, learned, asked)
    for i, model in enumerate(models):
        own = slice(asked.first[i], asked.last[i])
        np.testing.assert_array_equal(found[i, own], model.score(learned.new[i : i + 1])[0, own])
        assert np.isnan(np.delete(found[i], np.r_[own])).all()


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    n=st.integers(60, 400),
    k=st.integers(2, 8),
    kind=st.sampled_from(["fat", "one feature stands", "few kinds of row", "all the same"]),
)
def test_the_clusters_are_those_of_scikit_learn(seed, n, k, kind):
    """Same draws, same steps, same centroids; whole numbers have ties, which either may break."""
    x = np.random.default_rng(seed).standard_t(4, (n, 6))
    if kind == "one feature stands":
        x[:, 2] = 0.0
    elif kind == "few kinds of row":
        x = np.round(x[:, :2])
    elif kind == "all the same":
        x[:] = x[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = KMeans(k, n_init=1, max_iter=50, random_state=0).fit(x)
    centroids, labels = clustered(x, k, 50)
    if kind == "few kinds of row":
        assert np.isfinite(centroids).all()
        return
    np.testing.assert_array_equal(labels, expected.labels_)
    np.testing.assert_allclose(centroids, expected.cluster_centers_, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), n=st.integers(60, 1500), stands=st.booleans())
def test_the_mixture_is_that_of_scikit_learn(seed, n, stands):
    """The compiled rounds end where the library's do, to the rounding of the sums."""
    x = np.random.default_rng(seed).standard_t(4, (n, 6))
    x[:, 2] *= not stands
    detector = GaussianMixtureSurprise()
    whole = detector.fit(x[None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = GaussianMixture(3, reg_covar=1e-3, random_state=0, max_iter=60, tol=1e-2).fit(x)
    np.testing.assert_allclose(whole.means, expected.means_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(whole.score(x[None])[0], -expected.score_samples(x), rtol=1e-8)


def test_a_forest_without_counts_refuses_to_explain():
    """Made-up weights would sum just as well."""
    detector, panel = IsolationForestDepth(), fat(1, 6)
    restored = detector.restore(detector.fit(panel).parameters)
    with pytest.raises(ValueError, match="cannot explain itself"):
        restored.contributions(panel)


def test_a_sample_is_drawn_by_the_seed_alone():
    """Each row once, in order, the same every time; all of them when they are few."""
    rows = np.arange(5000.0)[:, None]
    part = sampling.sampled(rows, 700)
    assert part.shape == (700, 1)
    assert (np.diff(part[:, 0]) > 0).all()
    np.testing.assert_array_equal(sampling.sampled(rows, 700), part)
    assert (sampling.sampled(rows, 700, seed=1) != part).any()
    assert sampling.sampled(rows, 5000) is rows


def test_the_scan_equals_keras():
    """Scored without Keras: to 1e-5 what its own predict gives."""
    model, panel = trained("lstm_autoencoder"), fat(2)
    network = LstmAutoencoder()._network(N_FEATURES)
    network.set_weights([model.weights[name] for name in WEIGHTS])
    windows = np.lib.stride_tricks.sliding_window_view(panel[2], model.window, axis=0)
    windows = windows.transpose(0, 2, 1)
    errors = (network.predict(windows.astype(np.float32), verbose=0) - windows) ** 2
    expected = errors[:, -1] + errors.mean(axis=1)
    errors = model.contributions(panel).by_feature[2, model.context :]
    np.testing.assert_allclose(errors, expected, rtol=1e-5, atol=1e-6)


def test_training_makes_the_network_better():
    """It rebuilds what it has not seen better than the weights that it started from."""
    t = np.arange(600) / 5
    waves = np.stack([np.sin(t), np.cos(t), np.sin(t / 2)], axis=1)[None]
    detector = replace(LstmAutoencoder(), batch=32)
    learned = detector.fit(waves)
    assert detector.criterion(learned, waves) < 0.2 * detector.criterion(
        detector.untrained(waves), waves
    )


def test_no_window_leaves_its_series_nor_its_time():
    """Each window is of one series and has no gap; those that stop training come later."""
    at = np.arange(400.0)
    panel = np.stack([np.stack([np.full(400, i), at], axis=1) for i in range(3)])
    panel[1, :120] = np.nan
    panel[2, 200, 0] = np.nan
    learned, kept = LstmAutoencoder()._windows(panel)
    for windows in (learned, kept):
        assert (windows[:, :, 0] == windows[:, :1, 0]).all()
        assert (np.diff(windows[:, :, 1], axis=1) == 1).all()
        assert set(windows[:, 0, 0]) == {0, 1, 2}
    assert learned[:, :, 1].max() < kept[:, :, 1].min()
    few = replace(LstmAutoencoder(), most_windows=100)
    assert [len(part) for part in few._windows(panel)] == [90, 10]
    np.testing.assert_array_equal(few._windows(panel)[0], few._windows(panel)[0])


def test_bars_in_shreds_make_no_window():
    """Enough bars, but none in a row: said with both numbers, not trained on nothing."""
    panel = fat(1)
    panel[:, ::10] = np.nan
    with pytest.raises(NotEnoughBars, match="at least 96 bars, got 9"):
        LstmAutoencoder().fit(panel)


def test_scoring_needs_neither_keras_nor_jax(tmp_path):
    """The daily run's image has neither; nor does it wait for SHAP's import."""
    file = tmp_path / "model.npz"
    np.savez(file, **trained("lstm_autoencoder").arrays())
    program = (
        "import sys, numpy as np\n"
        "from components.detectors import DETECTORS\n"
        "model = DETECTORS['lstm_autoencoder'].restore_arrays(dict(np.load(sys.argv[1])))\n"
        "print(np.isfinite(model.score(np.zeros((1, 20, 4)))).sum())\n"
        "print(sorted({'jax', 'keras', 'shap', 'sklearn'} & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split("\n")[:2] == ["5", "[]"]
