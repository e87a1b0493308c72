"""Isolation Forest: how few random cuts it takes to set a bar apart."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.detectors.base import VECTOR_FEATURES, require_bars, vectors_of
from components.panels import Array, Ints


@dataclass(frozen=True)
class IsolationForestDepth:
    r"""Anomaly score of an isolation forest.

    .. math:: s = 2^{-E[h(x)] / c(n)}

    with h the depth at which a tree sets x apart and c(n) its mean for n random points.

    References
    ----------
    Liu, F. T., Ting, K. M. and Zhou, Z.-H. (2008). Isolation forest. ICDM. Grown by
    scikit-learn, seeded.
    """

    n_trees: int = 50
    n_samples: int = 128

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """Enough bars for a tree to have depth."""
        return 60

    @property
    def n_parameters(self) -> int:
        """Thresholds and links of all nodes, and the mean depth."""
        return self.n_trees * 2 * self.n_samples * 4 + 1

    def restore(self, parameters: Array, past: Array) -> "Forest":  # noqa: ARG002
        """The forest with these nodes."""
        shape = (self.n_trees, 2 * self.n_samples)
        cut, links = np.split(parameters[:-1], [shape[0] * shape[1]])
        return Forest(
            cut.reshape(shape).copy(),
            links.reshape(*shape, 3).astype(np.int64),
            float(parameters[-1]),
        )

    def fit(self, panel: Array) -> "Forest":
        """Grow the trees."""
        require_bars(self, panel)
        from sklearn.ensemble import IsolationForest

        x = vectors_of(panel)
        grown = IsolationForest(
            n_estimators=self.n_trees, max_samples=min(self.n_samples, len(x)), random_state=0
        ).fit(x)
        n_nodes = 2 * self.n_samples
        cut = np.zeros((self.n_trees, n_nodes))
        links = np.full((self.n_trees, n_nodes, 3), -1, dtype=np.int64)
        for i, tree in enumerate(each.tree_ for each in grown.estimators_):
            m = tree.node_count
            depth = tree.compute_node_depths() - 1.0
            left, right = tree.children_left, tree.children_right
            is_leaf = left < 0
            # A leaf that still holds several points would have been cut further.
            cut[i, :m] = np.where(is_leaf, depth + _mean_depth(tree.n_node_samples), tree.threshold)
            links[i, :m] = np.stack([np.where(is_leaf, -1, tree.feature), left, right], axis=1)
        return Forest(cut, links, float(_mean_depth(np.array([min(self.n_samples, len(x))]))[0]))


def _mean_depth(n: Array) -> Array:
    """Mean depth of an unsuccessful search in a binary tree of ``n`` points."""
    n = np.asarray(n, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, depth))


@dataclass(frozen=True)
class Forest:
    """A grown forest.

    ``cut`` (n_trees, n_nodes) holds thresholds, and in leaves depths; ``links`` (n_trees,
    n_nodes, 3) feature (-1 in leaves), left and right child.
    """

    cut: Array
    links: Ints
    mean_depth: float
    context: int = 0

    @property
    def parameters(self) -> Array:
        """Thresholds, links, mean depth."""
        return np.concatenate([self.cut.ravel(), self.links.ravel(), [self.mean_depth]])

    def score(self, panel: Array) -> Array:
        """Scores between 0 and 1; about 0.5 for usual bars."""
        depth = np.full(panel.shape[:2], np.nan)
        # The trees were grown on 32-bit floats.
        _descend(panel.astype(np.float32), self.cut, self.links, depth)
        score: Array = np.power(2.0, -depth / self.mean_depth)
        return score


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _descend(panel: Array, cut: Array, links: Ints, depth: Array) -> None:
    for i in range(panel.shape[0]):
        for t in range(panel.shape[1]):
            if np.isnan(panel[i, t]).any():
                continue
            total = 0.0
            for tree in range(cut.shape[0]):
                node = 0
                while links[tree, node, 0] >= 0:
                    goes_left = panel[i, t, links[tree, node, 0]] <= cut[tree, node]
                    node = links[tree, node, 1] if goes_left else links[tree, node, 2]
                total += cut[tree, node]
            depth[i, t] = total / cut.shape[0]
