"""K-Means: how far a bar lies from the nearest of its instrument's usual kinds of bar."""

from dataclasses import dataclass

import numpy as np

from components.detectors.base import VECTOR_FEATURES, require_bars, vectors_of
from components.detectors.one_thread import one_thread
from components.panels import Array


@dataclass(frozen=True)
class KMeansDistance:
    """Euclidean distance to the nearest of ``n_clusters`` centroids.

    References
    ----------
    Lloyd, S. (1982). Least squares quantization in PCM. IEEE Transactions on Information
    Theory 28(2), 129-137. Fitted by scikit-learn, seeded.
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

    def restore(self, parameters: Array, past: Array) -> "Centroids":  # noqa: ARG002
        """The model with these centroids."""
        return Centroids(parameters.reshape(self.n_clusters, -1).copy())

    def fit(self, panel: Array) -> "Centroids":
        """Find the centroids."""
        require_bars(self, panel)
        from sklearn.cluster import KMeans

        with one_thread():
            found = KMeans(self.n_clusters, n_init=1, max_iter=50, random_state=0).fit(
                vectors_of(panel)
            )
        return Centroids(found.cluster_centers_)


@dataclass(frozen=True)
class Centroids:
    """A fitted ``KMeansDistance``: the centroids, (n_clusters, n_features)."""

    centroids: Array
    context: int = 0

    @property
    def parameters(self) -> Array:
        """The centroids, row by row."""
        return self.centroids.ravel()

    def score(self, panel: Array) -> Array:
        """Distances, in units of the vector's logarithms."""
        steps = panel[:, :, None, :] - self.centroids
        score: Array = np.sqrt((steps * steps).sum(axis=3).min(axis=2))
        return score
