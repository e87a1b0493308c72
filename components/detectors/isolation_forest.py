"""Isolation Forest: how few random cuts it takes to set a bar apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from components.detectors.base import (
    VECTOR_FEATURES,
    Contributions,
    Learned,
    Span,
    TrainedModel,
    each_alone,
    require_bars,
    vectors_of,
)
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

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """Each series by its own model, one after another."""
        return each_alone(self.restore, parameters, learned, span)

    def restore(self, parameters: Array) -> "Forest":
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
        return self._grown(vectors_of(panel))

    def grid(self) -> tuple["IsolationForestDepth"]:
        """Itself: no criterion without labels tells a better forest."""
        return (self,)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """The mean score of the panel: the less odd the usual, the better."""
        return float(np.nanmean(model.score(panel)))

    def untrained(self, panel: Array) -> "Forest":
        """Trees grown on standard normal noise."""
        shape = (self.n_samples, panel.shape[2])
        return self._grown(np.random.default_rng(0).standard_normal(shape))

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Forest":
        """The forest with these nodes.

        Raises
        ------
        ValueError
            A node that leads nowhere, or back: the descent would never end.
        """
        links = arrays["links"].astype(np.int64)
        nodes = np.arange(links.shape[1])[:, None]
        is_inner, children = links[:, :, 0] >= 0, links[:, :, 1:]
        if not ((children > nodes) & (children < len(nodes)))[is_inner].all():
            raise ValueError("a forest whose nodes lead nowhere")
        if not links.shape[:2] == arrays["cut"].shape == arrays["held"].shape:
            raise ValueError("a forest whose nodes lack a threshold")
        return Forest(
            arrays["cut"].astype(float),
            links,
            float(arrays["mean_depth"].astype(float)[0]),
            held=arrays["held"].astype(float),
        )

    def _grown(self, x: Array) -> "Forest":
        from sklearn.ensemble import IsolationForest

        grown = IsolationForest(
            n_estimators=self.n_trees, max_samples=min(self.n_samples, len(x)), random_state=0
        ).fit(x)
        n_nodes = 2 * self.n_samples
        cut = np.zeros((self.n_trees, n_nodes))
        held = np.zeros((self.n_trees, n_nodes))
        links = np.full((self.n_trees, n_nodes, 3), -1, dtype=np.int64)
        for i, tree in enumerate(each.tree_ for each in grown.estimators_):
            m = tree.node_count
            depth = tree.compute_node_depths() - 1.0
            left, right = tree.children_left, tree.children_right
            is_leaf = left < 0
            # A leaf that still holds several points would have been cut further.
            cut[i, :m] = np.where(is_leaf, depth + _mean_depth(tree.n_node_samples), tree.threshold)
            links[i, :m] = np.stack([np.where(is_leaf, -1, tree.feature), left, right], axis=1)
            held[i, :m] = tree.n_node_samples
        mean_depth = _mean_depth(np.array([min(self.n_samples, len(x))]))
        return Forest(cut, links, float(mean_depth[0]), held=held)


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
    n_nodes, 3) feature (-1 in leaves), left and right child. ``held`` (n_trees, n_nodes) counts
    the training bars in each node; only explanations need it, so that it is empty in a forest
    restored from its ``parameters``.
    """

    cut: Array
    links: Ints
    mean_depth: float
    context: int = 0
    held: Array = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def parameters(self) -> Array:
        """Thresholds, links, mean depth."""
        return np.concatenate([self.cut.ravel(), self.links.ravel(), [self.mean_depth]])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Thresholds, links, counts, mean depth."""
        return {
            "cut": self.cut,
            "links": self.links,
            "held": self.held,
            "mean_depth": np.array([self.mean_depth]),
        }

    def contributions(self, panel: Array) -> Contributions:
        """SHAP values of the mean path length, with the sign turned.

        The total is mean depth - path length, and so mean_depth (1 + log2 score): above 0 where
        the bar is set apart sooner than a random point.

        References
        ----------
        Lundberg, S. M. et al. (2020). From local explanations to global understanding with
        explainable AI for trees. Nature Machine Intelligence 2, 56-67.
        """
        if not self.held.size:
            raise ValueError("This forest was restored without counts: it cannot explain itself.")
        total = self.mean_depth * (1 + np.log2(self.score(panel)))
        is_whole = np.isfinite(total)
        by_feature = np.full(panel.shape, np.nan)
        by_feature[is_whole], usual = self._shap(panel[is_whole])
        return Contributions(
            total=total,
            by_feature=by_feature,
            rest=np.where(is_whole, self.mean_depth - usual, np.nan),
            what="random cuts spared: the fewer it takes to set the bar apart, the odder it is",
            rest_what="what the bars of training were spared on average",
        )

    def _shap(self, rows: Array) -> tuple[Array, float]:
        """Minus the SHAP values (n, n_features), and the path length that is expected."""
        from shap import TreeExplainer

        n_trees = len(self.cut)
        trees = []
        for cut, links, held in zip(self.cut, self.links, self.held, strict=True):
            m = int((held > 0).sum())
            feature, left, right = links[:m].T
            trees.append(
                {
                    "children_left": left,
                    "children_right": right,
                    "children_default": right,
                    "features": feature,
                    "thresholds": cut[:m],
                    "values": np.where(feature < 0, cut[:m], 0.0)[:, None] / n_trees,
                    "node_sample_weight": held[:m],
                }
            )
        explainer = TreeExplainer({"trees": trees}, feature_perturbation="tree_path_dependent")
        usual = float(np.ravel(explainer.expected_value)[0])
        if not len(rows):
            return np.empty(rows.shape), usual
        exact = rows.astype(np.float32).astype(float)
        found: Array = explainer.shap_values(exact, check_additivity=False)
        return -found, usual

    def score(self, panel: Array) -> Array:
        """Scores between 0 and 1; about 0.5 for usual bars."""
        if self.links[:, :, 0].max(initial=-1) >= panel.shape[2]:
            raise ValueError("a forest that asks for more features than there are")
        depth = np.full(panel.shape[:2], np.nan)
        # The trees were grown on 32-bit floats.
        _descend(panel.astype(np.float32), self.cut, self.links, depth)
        score: Array = np.power(2.0, -depth / self.mean_depth)
        return score


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
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
