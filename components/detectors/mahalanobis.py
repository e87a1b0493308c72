"""Mahalanobis distance: how far a bar lies from the bulk, along how the features move together."""

from collections.abc import Mapping
from dataclasses import dataclass

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

# Rows that a fit learns from.
MOST_ROWS = 20_000


@dataclass(frozen=True)
class RobustDistance:
    r"""Squared Mahalanobis distance from a robust centre.

    .. math:: s = (x - m)^T P (x - m)

    with m and the inverse of P, location and covariance, those of the half of the bars whose
    covariance has the least determinant, so that odd bars do not widen what they are measured by.

    Parameters
    ----------
    least_variance : float
        Variance of the seeded noise that is added before fitting: a channel that is absent has
        none of its own, nor has one that is 0 on most bars.

    References
    ----------
    Rousseeuw, P. J. and Van Driessen, K. (1999). A fast algorithm for the minimum covariance
    determinant estimator. Technometrics 41(3), 212-223. Found by scikit-learn, seeded.
    """

    least_variance: float = 1e-2

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
        """Centre and precision."""
        d = len(VECTOR_FEATURES)
        return d + d * d

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """Each series by its own model, one after another."""
        return each_alone(self.restore, parameters, learned, span)

    def restore(self, parameters: Array) -> "Bulk":
        """The model with this centre and precision."""
        centre, precision = np.split(parameters.copy(), [len(VECTOR_FEATURES)])
        return Bulk(centre, precision.reshape(len(centre), -1))

    def fit(self, panel: Array) -> "Bulk":
        """Find the bulk."""
        require_bars(self, panel)
        from sklearn.covariance import MinCovDet

        rows = sampled(vectors_of(panel), MOST_ROWS)
        noise = np.random.default_rng(0).standard_normal(rows.shape)
        with one_thread():
            found = MinCovDet(random_state=0).fit(rows + np.sqrt(self.least_variance) * noise)
            return Bulk(found.location_, np.linalg.inv(found.covariance_))

    def grid(self) -> tuple["RobustDistance"]:
        """Itself: there is nothing to choose."""
        return (self,)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """The mean squared distance of the panel's bars."""
        return float(np.nanmean(model.score(panel)))

    def untrained(self, panel: Array) -> "Bulk":
        """The plain squared distance from 0."""
        return Bulk(np.zeros(panel.shape[2]), np.eye(panel.shape[2]))

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Bulk":
        """The model with this centre and precision."""
        return Bulk(arrays["centre"].astype(float), arrays["precision"].astype(float))


@dataclass(frozen=True)
class Bulk:
    """A fitted ``RobustDistance``: centre (d,), precision (d, d)."""

    centre: Array
    precision: Array
    context: int = 0

    @property
    def parameters(self) -> Array:
        """Centre, precision."""
        return np.concatenate([self.centre, self.precision.ravel()])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Centre, precision."""
        return {"centre": self.centre, "precision": self.precision}

    def score(self, panel: Array) -> Array:
        """Squared distances, about the number of features on usual bars."""
        score: Array = self._terms(panel).sum(axis=2)
        return score

    def contributions(self, panel: Array) -> Contributions:
        """Of feature j: (x - m)_j (P (x - m))_j.

        It is negative where a feature moved as its correlation with the others lets expect.
        """
        terms = self._terms(panel)
        total = terms.sum(axis=2)
        return Contributions(
            total=total,
            by_feature=terms + 0.0 * total[:, :, None],
            rest=0.0 * total,
            what="squared distance from the bulk of usual bars",
            rest_what="",
        )

    def _terms(self, panel: Array) -> Array:
        steps = panel - self.centre
        pull = np.einsum("std,de->ste", steps, self.precision)
        terms: Array = steps * pull
        return terms
