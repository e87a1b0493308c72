"""Gaussian mixture: how improbable a bar is under the usual kinds of bar."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from components.detectors.base import (
    VECTOR_FEATURES,
    Contributions,
    Learned,
    Span,
    TrainedModel,
    require_bars,
    vectors_of,
)
from components.detectors.clustering import clustered
from components.detectors.mixing import mixed
from components.detectors.one_thread import one_thread
from components.detectors.sampling import sampled
from components.panels import Array, Ints

# What tuning chooses from.
N_COMPONENTS = (2, 3, 5, 8)
COVARIANCE_TYPES: tuple["CovarianceType", ...] = ("full", "tied", "diag", "spherical")
# Rows that a fit learns from, and that the criterion is taken on.
MOST_ROWS = 100_000
# A fit that has not settled after so many rounds is a little blunt, and harmless: its scores are
# ranked among themselves. It begins with the clusters of K-Means.
ROUNDS, TOLERANCE = 60, 1e-2
SEED_ROUNDS = 300

CovarianceType = Literal["full", "tied", "diag", "spherical"]


@dataclass(frozen=True)
class GaussianMixtureSurprise:
    """Negative log-likelihood under a mixture of ``n_components`` Gaussians.

    Parameters
    ----------
    covariance_type : str
        Each component's covariance: its own (full), all components' (tied), its own without
        correlations (diag), one variance (spherical).

    References
    ----------
    McLachlan, G. and Peel, D. (2000). Finite Mixture Models. Wiley. Fitted as scikit-learn
    does, seeded. Tuned by the BIC: Schwarz, G. (1978). Estimating the dimension of a model.
    Annals of Statistics 6(2), 461-464.
    """

    n_components: int = 3
    # Added to the variances: a channel that is absent has none.
    least_variance: float = 1e-3
    covariance_type: CovarianceType = "full"

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """Some bars for each component."""
        return 20 * self.n_components

    @property
    def n_parameters(self) -> int:
        """Means, factors and constants."""
        d = len(VECTOR_FEATURES)
        return self.n_components * (d + d * d + 1)

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """Surprises under each series' own mixture."""
        n, k, d = len(parameters), self.n_components, len(VECTOR_FEATURES)
        parts = np.split(parameters, [k * d, k * (d + d * d)], axis=1)
        means, factors, constants = map(np.ascontiguousarray, parts)
        mixtures = means.reshape(n, k, d), factors.reshape(n, k, d, d), constants
        scores = np.full(learned.new.shape[:2], np.nan)
        _score_each(learned.new, mixtures, span.first, span.last, scores)
        return scores

    def fit(self, panel: Array) -> "Mixture":
        """Fit by expectation and maximisation."""
        require_bars(self, panel)
        rows = sampled(vectors_of(panel), MOST_ROWS)
        if self.covariance_type != "full":
            return self._restricted(rows)
        k = self.n_components
        labels = clustered(rows, k, SEED_ROUNDS)[1]
        weights, means, factors = mixed(rows, labels, k, self.least_variance, TOLERANCE, ROUNDS)
        return Mixture(means, factors, _constants(weights, factors))

    def _restricted(self, rows: Array) -> "Mixture":
        """Components that share a covariance, or have a simpler one: only training asks."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = GaussianMixture(
                self.n_components,
                covariance_type=self.covariance_type,
                reg_covar=self.least_variance,
                random_state=0,
                max_iter=ROUNDS,
                tol=TOLERANCE,
            ).fit(rows)
        factors = _full(found.precisions_cholesky_, self.covariance_type, *found.means_.shape)
        return Mixture(found.means_, factors, _constants(found.weights_, factors))

    def grid(self) -> tuple["GaussianMixtureSurprise", ...]:
        """Numbers of components by types of covariance."""
        return tuple(
            replace(self, n_components=n, covariance_type=kind)
            for n in N_COMPONENTS
            for kind in COVARIANCE_TYPES
        )

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """The BIC of a sample: twice the surprise, and ln n for each free number."""
        rows = sampled(vectors_of(panel), MOST_ROWS)
        surprise = float(model.score(rows[None]).sum())
        return 2 * surprise + self._n_free(rows.shape[1]) * float(np.log(len(rows)))

    def untrained(self, panel: Array) -> "Mixture":
        """Round components of variance 1 anywhere, as standard normal noise has them."""
        k, d = self.n_components, panel.shape[2]
        factors = np.tile(np.eye(d), (k, 1, 1))
        means = np.random.default_rng(0).standard_normal((k, d))
        return Mixture(means, factors, _constants(np.full(k, 1 / k), factors))

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Mixture":
        """The model with these means, factors and constants."""
        means, factors, constants = (
            arrays[name].astype(float) for name in ("means", "factors", "constants")
        )
        return Mixture(means, factors, constants)

    def _n_free(self, d: int) -> int:
        k = self.n_components
        of_covariance = {
            "full": k * d * (d + 1) // 2,
            "tied": d * (d + 1) // 2,
            "diag": k * d,
            "spherical": k,
        }
        return of_covariance[self.covariance_type] + k * d + k - 1


def _full(factors: Array, kind: CovarianceType, k: int, d: int) -> Array:
    """Cholesky factors of the precisions as scikit-learn keeps them, all as (k, d, d)."""
    if kind == "tied":
        return np.tile(factors, (k, 1, 1))
    if kind == "diag":
        return factors[:, :, None] * np.eye(d)
    return factors[:, None, None] * np.eye(d) if kind == "spherical" else factors


def _constants(weights: Array, factors: Array) -> Array:
    """The logarithm of each component's weighted density at its mean, (k,)."""
    spread = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    constants: Array = np.log(weights) + spread - 0.5 * factors.shape[1] * np.log(2 * np.pi)
    return constants


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: means (k, d), Cholesky factors of precisions (k, d, d), constants (k,)."""

    means: Array
    factors: Array
    constants: Array
    context: int = 0

    @property
    def parameters(self) -> Array:
        """Means, factors, constants."""
        return np.concatenate([self.means.ravel(), self.factors.ravel(), self.constants])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Means, factors, constants."""
        return {"means": self.means, "factors": self.factors, "constants": self.constants}

    def score(self, panel: Array) -> Array:
        """Negative log-likelihoods, in units of ln."""
        k, d = len(self.constants), panel.shape[2]
        # Compiled code looks at no bounds.
        if self.means.shape != (k, d) or self.factors.shape != (k, d, d):
            raise ValueError("components of other features")
        scores = np.empty(panel.shape[:2])
        means, factors, constants = map(
            np.ascontiguousarray, (self.means, self.factors, self.constants)
        )
        _score(np.ascontiguousarray(panel), (means, factors, constants), scores)
        return scores

    def contributions(self, panel: Array) -> Contributions:
        """Half the squared Mahalanobis distance to the likeliest component, by feature.

        Of feature j: (x - m)_j (P (x - m))_j / 2, with P the component's precision. It is
        negative where a feature moved as its correlation with the others lets expect.
        """
        steps, whitened, logs = self._of_components(panel)
        nearest = logs.argmax(axis=2)[:, :, None]
        step = np.take_along_axis(steps, nearest[..., None], axis=2)[:, :, 0]
        white = np.take_along_axis(whitened, nearest[..., None], axis=2)[:, :, 0]
        kind = nearest[:, :, 0]
        pull = np.einsum("ste,stde->std", white, self.factors[kind])
        top = np.take_along_axis(logs, nearest, axis=2)
        others = np.log(np.exp(logs - top).sum(axis=2))
        total = self.score(panel)
        return Contributions(
            total=total,
            by_feature=0.5 * step * pull + 0.0 * total[:, :, None],
            rest=-(self.constants[kind] + others) + 0.0 * total,
            what="improbability (minus ln likelihood) under the usual kinds of bar",
            rest_what="how rare and how wide the likeliest kind of bar is, and the other kinds",
        )

    def _of_components(self, panel: Array) -> tuple[Array, Array, Array]:
        """Steps from each mean, whitened steps, and weighted log-densities (..., k)."""
        steps = panel[:, :, None, :] - self.means
        whitened = np.einsum("stkd,kde->stke", steps, self.factors)
        return steps, whitened, self.constants - 0.5 * (whitened * whitened).sum(axis=3)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score_each(
    panel: Array, mixtures: tuple[Array, Array, Array], first: Ints, last: Ints, scores: Array
) -> None:
    means, factors, constants = mixtures
    logs = np.empty(means.shape[1])
    for i in range(panel.shape[0]):
        for t in range(first[i], last[i]):
            scores[i, t] = _surprise(panel[i, t], means[i], factors[i], constants[i], logs)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score(panel: Array, mixture: tuple[Array, Array, Array], scores: Array) -> None:
    means, factors, constants = mixture
    logs = np.empty(len(means))
    for i in range(panel.shape[0]):
        for t in range(panel.shape[1]):
            scores[i, t] = _surprise(panel[i, t], means, factors, constants, logs)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _surprise(x: Array, means: Array, factors: Array, constants: Array, logs: Array) -> float:
    """Minus the log-likelihood; ``logs`` is filled with each component's part."""
    top = -np.inf
    for c in range(len(means)):
        square = 0.0
        for e in range(len(x)):
            white = 0.0
            for j in range(len(x)):
                white += (x[j] - means[c, j]) * factors[c, j, e]
            square += white * white
        if np.isnan(square):
            return np.nan
        logs[c] = constants[c] - 0.5 * square
        top = max(top, logs[c])
    total = 0.0
    for c in range(len(means)):
        total += np.exp(logs[c] - top)
    return float(-(top + np.log(total)))
