"""Gaussian mixture: how improbable a bar is under its instrument's usual kinds of bar."""

import warnings
from dataclasses import dataclass

import numpy as np

from components.detectors.base import VECTOR_FEATURES, require_bars, vectors_of
from components.detectors.one_thread import one_thread
from components.panels import Array


@dataclass(frozen=True)
class GaussianMixtureSurprise:
    """Negative log-likelihood under a mixture of ``n_components`` full Gaussians.

    References
    ----------
    McLachlan, G. and Peel, D. (2000). Finite Mixture Models. Wiley. Fitted by scikit-learn,
    seeded.
    """

    n_components: int = 3
    # Added to the variances: a channel that is absent has none.
    least_variance: float = 1e-3

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

    def restore(self, parameters: Array, past: Array) -> "Mixture":  # noqa: ARG002
        """The model with these means, factors and constants."""
        k, d = self.n_components, len(VECTOR_FEATURES)
        means, factors, constants = np.split(parameters.copy(), [k * d, k * (d + d * d)])
        return Mixture(means.reshape(k, d), factors.reshape(k, d, d), constants)

    def fit(self, panel: Array) -> "Mixture":
        """Fit by expectation and maximisation."""
        require_bars(self, panel)
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        # A fit that has not settled after 60 rounds is a little blunt, and harmless: its
        # scores are ranked among themselves.
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = GaussianMixture(
                self.n_components,
                reg_covar=self.least_variance,
                random_state=0,
                max_iter=60,
                tol=1e-2,
            ).fit(vectors_of(panel))
        factors = found.precisions_cholesky_
        spread = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        constant = np.log(found.weights_) + spread - 0.5 * factors.shape[1] * np.log(2 * np.pi)
        return Mixture(found.means_, factors, constant)


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

    def score(self, panel: Array) -> Array:
        """Negative log-likelihoods, in units of ln."""
        steps = panel[:, :, None, :] - self.means
        whitened = np.einsum("stkd,kde->stke", steps, self.factors)
        logs = self.constants - 0.5 * (whitened * whitened).sum(axis=3)
        top = logs.max(axis=2)
        score: Array = -(top + np.log(np.exp(logs - top[:, :, None]).sum(axis=2)))
        return score
