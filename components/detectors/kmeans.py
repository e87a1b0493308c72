"""K-Means: how far a bar lies from the nearest of the usual kinds of bar."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
from components.detectors.one_thread import one_thread
from components.detectors.sampling import sampled
from components.panels import Array, Ints

# What tuning chooses from.
N_CLUSTERS = (4, 6, 8, 12, 16)
# Rows that a fit learns from, and rows whose silhouette is taken (it compares all pairs).
MOST_ROWS = 200_000
MOST_COMPARED = 5_000
ROUNDS = 50


@dataclass(frozen=True)
class KMeansDistance:
    """Euclidean distance to the nearest of ``n_clusters`` centroids.

    References
    ----------
    Lloyd, S. (1982). Least squares quantization in PCM. IEEE Transactions on Information
    Theory 28(2), 129-137. Fitted as scikit-learn does, seeded. Tuned by the silhouette: Rousseeuw,
    P. J. (1987). Silhouettes. Journal of Computational and Applied Mathematics 20, 53-65.
    """

    n_clusters: int = 8

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """Some bars for each centroid."""
        return 8 * self.n_clusters

    @property
    def n_parameters(self) -> int:
        """The centroids."""
        return self.n_clusters * len(VECTOR_FEATURES)

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """Distances by each series' own centroids."""
        centroids = parameters.reshape(len(parameters), self.n_clusters, -1)
        scores = np.full(learned.new.shape[:2], np.nan)
        _score_each(learned.new, centroids, span.first, span.last, scores)
        return scores

    def fit(self, panel: Array) -> "Centroids":
        """Find the centroids."""
        require_bars(self, panel)
        rows = sampled(vectors_of(panel), MOST_ROWS)
        return Centroids(clustered(rows, self.n_clusters, ROUNDS)[0])

    def grid(self) -> tuple["KMeansDistance", ...]:
        """Numbers of clusters."""
        return tuple(replace(self, n_clusters=n) for n in N_CLUSTERS)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """Minus the mean silhouette of a sample, between -1 and 1."""
        rows = sampled(vectors_of(panel), MOST_COMPARED)
        kind = _nearest(rows[None], model.arrays()["centroids"].astype(float))[1][0]
        if len(np.unique(kind)) < 2:
            return 1.0
        from sklearn.metrics import silhouette_score

        with one_thread():
            return -float(silhouette_score(rows, kind))

    def untrained(self, panel: Array) -> "Centroids":
        """Centroids anywhere, as standard normal noise has them."""
        shape = (self.n_clusters, panel.shape[2])
        return Centroids(np.random.default_rng(0).standard_normal(shape))

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Centroids":
        """The model with these centroids."""
        return Centroids(arrays["centroids"].astype(float))


@dataclass(frozen=True)
class Centroids:
    """A fitted ``KMeansDistance``: the centroids, (n_clusters, n_features)."""

    centroids: Array
    context: int = 0

    @property
    def parameters(self) -> Array:
        """The centroids, row by row."""
        return self.centroids.ravel()

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The centroids."""
        return {"centroids": self.centroids}

    def score(self, panel: Array) -> Array:
        """Distances, in units of the features."""
        # Compiled code looks at no bounds.
        if self.centroids.ndim != 2 or panel.shape[2] != self.centroids.shape[1]:
            raise ValueError("centroids of other features")
        scores = np.empty(panel.shape[:2])
        _score(np.ascontiguousarray(panel), np.ascontiguousarray(self.centroids), scores)
        return scores

    def contributions(self, panel: Array) -> Contributions:
        """The squared distance to the nearest centroid, feature by feature."""
        squares, _ = _nearest(panel, self.centroids)
        total = squares.sum(axis=2)
        return Contributions(
            total=total,
            by_feature=squares,
            rest=np.where(np.isnan(total), np.nan, 0.0),
            what="squared distance to the nearest usual kind of bar",
            rest_what="",
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score_each(panel: Array, centroids: Array, first: Ints, last: Ints, scores: Array) -> None:
    for i in range(panel.shape[0]):
        for t in range(first[i], last[i]):
            scores[i, t] = _distance(panel[i, t], centroids[i])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score(panel: Array, centroids: Array, scores: Array) -> None:
    for i in range(panel.shape[0]):
        for t in range(panel.shape[1]):
            scores[i, t] = _distance(panel[i, t], centroids)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _distance(x: Array, centroids: Array) -> float:
    least = np.inf
    for c in range(centroids.shape[0]):
        square = 0.0
        for j in range(len(x)):
            step = x[j] - centroids[c, j]
            square += step * step
        if np.isnan(square):
            return np.nan
        least = min(least, square)
    return float(np.sqrt(least))


def _nearest(panel: Array, centroids: Array) -> tuple[Array, Ints]:
    """Squared steps from the nearest centroid (n_series, n_bars, n_features), and its number."""
    steps = panel[:, :, None, :] - centroids
    kind = (steps * steps).sum(axis=3).argmin(axis=2)
    # A feature that is missing leaves no step known.
    step = panel - centroids[kind] + 0.0 * panel.sum(axis=2, keepdims=True)
    return step * step, kind
