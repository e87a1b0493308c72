"""Expectation and maximisation of a mixture of Gaussians with full covariances, compiled.

The steps are scikit-learn's, in its order: from its K-Means labels the same mixture comes out,
to the rounding of the sums, several times sooner: a stream fits one each few seconds.
"""

import numpy as np
from numba import njit

from components.panels import Array, Ints


def mixed(
    x: Array, labels: Ints, k: int, least_variance: float, tolerance: float, rounds: int
) -> tuple[Array, Array, Array]:
    """Weights (k,), means (k, d) and Cholesky factors of the precisions (k, d, d).

    Parameters
    ----------
    x : Array
        Rows (n, d) without NaN.
    labels : Ints
        The component that each row belongs to at first, (n,).
    least_variance : float
        Added to the variances.
    tolerance : float
        Ends when the mean log-likelihood rises by less.
    rounds : int
        Ends after so many.
    """
    d = x.shape[1]
    parts = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    shares = np.eye(k)[labels]
    _mix(np.ascontiguousarray(x), shares, parts, (least_variance, tolerance), rounds)
    return parts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _mix(
    x: Array,
    shares: Array,
    parts: tuple[Array, Array, Array],
    numbers: tuple[float, float],
    rounds: int,
) -> None:
    least_variance, tolerance = numbers
    before = -np.inf
    _maximise(x, shares, parts, least_variance)
    for _ in range(rounds):
        likelihood = _expect(x, shares, parts)
        _maximise(x, shares, parts, least_variance)
        if abs(likelihood - before) < tolerance:
            return
        before = likelihood


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _expect(x: Array, shares: Array, parts: tuple[Array, Array, Array]) -> float:
    """Fill each row's shares in the components; the mean log-likelihood."""
    weights, means, factors = parts
    (n, d), k = x.shape, len(weights)
    constants, total = np.empty(k), 0.0
    for c in range(k):
        constants[c] = np.log(weights[c]) - 0.5 * d * np.log(2 * np.pi)
        for j in range(d):
            constants[c] += np.log(factors[c, j, j])
    for i in range(n):
        top = -np.inf
        for c in range(k):
            square = 0.0
            for e in range(d):
                white = 0.0
                # A factor is an upper triangle.
                for j in range(e + 1):
                    white += (x[i, j] - means[c, j]) * factors[c, j, e]
                square += white * white
            shares[i, c] = constants[c] - 0.5 * square
            top = max(top, shares[i, c])
        sum_ = 0.0
        for c in range(k):
            shares[i, c] = np.exp(shares[i, c] - top)
            sum_ += shares[i, c]
        for c in range(k):
            shares[i, c] /= sum_
        total += top + np.log(sum_)
    return float(total / n)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _maximise(
    x: Array, shares: Array, parts: tuple[Array, Array, Array], least_variance: float
) -> None:
    """The weights, means and factors that these shares make likeliest."""
    weights, means, factors = parts
    (n, d), k = x.shape, len(weights)
    held = np.full(k, 10 * np.finfo(np.float64).eps)
    means[:] = 0.0
    for i in range(n):
        for c in range(k):
            held[c] += shares[i, c]
            for j in range(d):
                means[c, j] += shares[i, c] * x[i, j]
    weights[:] = held / held.sum()
    covariance = np.empty((d, d))
    for c in range(k):
        means[c] /= held[c]
        covariance[:] = 0.0
        for i in range(n):
            for j in range(d):
                step = shares[i, c] * (x[i, j] - means[c, j])
                for e in range(j + 1):
                    covariance[j, e] += step * (x[i, e] - means[c, e])
        covariance /= held[c]
        for j in range(d):
            covariance[j, j] += least_variance
        _factor(covariance, factors[c])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _factor(covariance: Array, factor: Array) -> None:
    """Cholesky factor (upper) of the inverse; of ``covariance`` the lower half is overwritten."""
    d, lower = len(covariance), covariance
    for j in range(d):
        for e in range(j):
            lower[j, j] -= lower[j, e] * lower[j, e]
        lower[j, j] = np.sqrt(lower[j, j])
        for i in range(j + 1, d):
            for e in range(j):
                lower[i, j] -= lower[i, e] * lower[j, e]
            lower[i, j] /= lower[j, j]
    factor[:] = 0.0
    # Forward through the columns of the identity; stored transposed.
    for j in range(d):
        factor[j, j] = 1 / lower[j, j]
        for i in range(j + 1, d):
            rest = 0.0
            for e in range(j, i):
                rest -= lower[i, e] * factor[j, e]
            factor[j, i] = rest / lower[i, i]
