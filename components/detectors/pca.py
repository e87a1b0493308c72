"""PCA: how much of a bar the usual directions of movement cannot rebuild."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
from components.detectors.one_thread import one_thread
from components.detectors.sampling import sampled
from components.panels import Array

# What tuning chooses from.
N_COMPONENTS = (1, 2, 3, 4, 5, 6, 8)
# Rows that a fit learns from.
MOST_ROWS = 200_000


@dataclass(frozen=True)
class PrincipalResidual:
    r"""Squared reconstruction error of a principal component analysis.

    .. math:: s = |x - m - W W^T (x - m)|^2

    with m the mean and W the ``n_components`` directions of most variance; at most one fewer
    than there are features.

    References
    ----------
    Jackson, J. E. and Mudholkar, G. S. (1979). Control procedures for residuals associated with
    principal component analysis. Technometrics 21(3), 341-349. Tuned by the BIC of the
    probabilistic PCA: Tipping, M. E. and Bishop, C. M. (1999). Journal of the Royal Statistical
    Society B 61(3), 611-622.
    """

    n_components: int = 3
    # The variance of what is left over is not taken below: a channel that is absent has none.
    least_variance: float = 1e-3

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """Several bars for each entry of a covariance matrix."""
        return 60

    @property
    def n_parameters(self) -> int:
        """Mean, directions and variances."""
        d = len(VECTOR_FEATURES)
        return d + self._n_kept(d) * d + d

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """Each series by its own model, one after another."""
        return each_alone(self.restore, parameters, learned, span)

    def restore(self, parameters: Array) -> "Directions":
        """The model with this mean, these directions and variances."""
        d = len(VECTOR_FEATURES)
        mean, directions, variances = np.split(parameters.copy(), [d, len(parameters) - d])
        return Directions(mean, directions.reshape(-1, d), variances)

    def fit(self, panel: Array) -> "Directions":
        """Find the directions of most variance."""
        require_bars(self, panel)
        rows = sampled(vectors_of(panel), MOST_ROWS)
        mean = rows.mean(axis=0)
        with one_thread():
            variances, directions = np.linalg.eigh(np.cov(rows.T, ddof=0).reshape(len(mean), -1))
        kept = directions[:, ::-1].T[: self._n_kept(len(mean))]
        return Directions(mean, np.ascontiguousarray(kept), variances[::-1].copy())

    def grid(self) -> tuple["PrincipalResidual", ...]:
        """Numbers of components."""
        return tuple(replace(self, n_components=n) for n in N_COMPONENTS)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """The BIC of the probabilistic PCA with these directions and variances."""
        rows = sampled(vectors_of(panel), MOST_ROWS)
        n, d = rows.shape
        learned = {name: values.astype(float) for name, values in model.arrays().items()}
        k = len(learned["directions"])
        # One variance holds for all directions that are left out.
        noise = max(float(learned["variances"][k:].mean()), self.least_variance)
        kept = np.maximum(learned["variances"][:k], noise)
        along = (rows - learned["mean"]) @ learned["directions"].T
        squares = (along * along / kept).sum() + float(model.score(rows[None]).sum()) / noise
        spread = np.log(kept).sum() + (d - k) * np.log(noise)
        n_free = d + d * k - k * (k - 1) // 2 + 1
        return float(squares + n * (spread + d * np.log(2 * np.pi)) + n_free * np.log(n))

    def untrained(self, panel: Array) -> "Directions":
        """As many directions at right angles, anywhere, about 0."""
        d = panel.shape[2]
        with one_thread():
            anywhere, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
        kept = np.ascontiguousarray(anywhere.T[: self._n_kept(d)])
        return Directions(np.zeros(d), kept, np.ones(d))

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Directions":
        """The model with this mean, these directions and variances."""
        mean, directions, variances = (
            arrays[name].astype(float) for name in ("mean", "directions", "variances")
        )
        return Directions(mean, directions, variances)

    def _n_kept(self, d: int) -> int:
        return min(self.n_components, d - 1)


@dataclass(frozen=True)
class Directions:
    """A fitted ``PrincipalResidual``: mean (d,), directions (k, d), all variances (d,)."""

    mean: Array
    directions: Array
    variances: Array
    context: int = 0

    @property
    def parameters(self) -> Array:
        """Mean, directions, variances."""
        return np.concatenate([self.mean, self.directions.ravel(), self.variances])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Mean, directions, variances."""
        return {"mean": self.mean, "directions": self.directions, "variances": self.variances}

    def score(self, panel: Array) -> Array:
        """Squared reconstruction errors, in squared units of the features."""
        left = self._left(panel - self.mean)
        score: Array = (left * left).sum(axis=2)
        return score

    def contributions(self, panel: Array) -> Contributions:
        """Of feature j: (x - m)_j e_j, with e the bar's error; the sum is the squared error.

        The squared e_j sum to it too, but they lie along the directions left out: where that is
        one, they would blame the same features for every bar. These give nothing to a feature
        that did not move, and are negative where one moved as the others let expect.

        References
        ----------
        Alcala, C. F. and Qin, S. J. (2011). Analysis and generalization of fault diagnosis
        methods for process monitoring. Journal of Process Control 21(3), 322-330 (partial
        decomposition contributions).
        """
        steps = panel - self.mean
        by_feature = steps * self._left(steps)
        total = self.score(panel)
        return Contributions(
            total=total,
            by_feature=by_feature + 0.0 * total[:, :, None],
            rest=0.0 * total,
            what="squared part of the bar that the usual directions of movement cannot rebuild",
            rest_what="",
        )

    def _left(self, steps: Array) -> Array:
        """What the directions do not rebuild of steps from the mean."""
        along = np.einsum("std,kd->stk", steps, self.directions)
        left: Array = steps - np.einsum("stk,kd->std", along, self.directions)
        return left
