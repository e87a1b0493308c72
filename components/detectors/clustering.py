"""Lloyd's K-Means from a k-means++ seed, compiled.

Draws and steps are scikit-learn's, in its order: the same clusters come out, to the rounding of
the sums, several times sooner: a stream fits some each few seconds, beside its other work.
"""

import warnings

import numpy as np
from numba import njit

from components.detectors.one_thread import one_thread
from components.panels import Array, Ints

# Ends when all centroids together moved by less than this share of the mean variance.
TOLERANCE = 1e-4


def clustered(x: Array, k: int, rounds: int) -> tuple[Array, Ints]:
    """Centroids (k, d) of rows (n, d) without NaN, and the number of each row's own, (n,).

    Always the same for the same rows. Ends after ``rounds``.
    """
    n = len(x)
    # What scikit-learn draws from.
    random = np.random.RandomState(0)
    start = int(random.choice(n, p=np.full(n, 1 / n)))
    draws = random.uniform(size=(k - 1, 2 + int(np.log(k))))
    mean = x.mean(axis=0)
    centred = np.ascontiguousarray(x - mean)
    centroids, labels = np.empty((k, x.shape[1])), np.full(n, -1)
    _seed(centred, start, draws, centroids)
    least_move = TOLERANCE * float(x.var(axis=0).mean())
    if _settle(centred, centroids, labels, least_move, rounds):
        return centroids + mean, labels
    return _filled(x, k, rounds)


def _filled(x: Array, k: int, rounds: int) -> tuple[Array, Ints]:
    """As scikit-learn does it where a cluster loses its last row: seldom, on few kinds of row."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=1, max_iter=rounds, tol=TOLERANCE, random_state=0).fit(x)
    return found.cluster_centers_, found.labels_.astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _seed(x: Array, start: int, draws: Array, centroids: Array) -> None:
    """Rows far from each other: of some drawn by their squared distance, the best one each."""
    n, n_trials = len(x), draws.shape[1]
    centroids[0] = x[start]
    closest, trial, best = np.empty(n), np.empty(n), np.empty(n)
    total = 0.0
    for i in range(n):
        closest[i] = _square(x[i], centroids[0])
        total += closest[i]
    for c in range(1, len(centroids)):
        sums, least, chosen = np.cumsum(closest), np.inf, 0
        for each in range(n_trials):
            row = min(int(np.searchsorted(sums, draws[c - 1, each] * total)), n - 1)
            left = 0.0
            for i in range(n):
                trial[i] = min(closest[i], _square(x[i], x[row]))
                left += trial[i]
            if left < least:
                least, chosen = left, row
                best, trial = trial, best
        closest, best = best, closest
        total, centroids[c] = least, x[chosen]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _settle(x: Array, centroids: Array, labels: Ints, least_move: float, rounds: int) -> bool:
    """Move the centroids to the means of their rows, until they rest; False: one has none."""
    k, d = centroids.shape
    sums, counts = np.empty((k, d)), np.empty(k)
    for _ in range(rounds):
        is_changed = _assign(x, centroids, labels)
        sums[:], counts[:] = 0.0, 0.0
        for i in range(len(x)):
            counts[labels[i]] += 1
            for j in range(d):
                sums[labels[i], j] += x[i, j]
        if (counts == 0).any():
            return False
        moved = 0.0
        for c in range(k):
            for j in range(d):
                mean = sums[c, j] / counts[c]
                moved += (mean - centroids[c, j]) ** 2
                centroids[c, j] = mean
        if not is_changed:
            return True
        if moved <= least_move:
            break
    _assign(x, centroids, labels)
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _assign(x: Array, centroids: Array, labels: Ints) -> bool:
    """Give each row to its nearest centroid; whether any went to another."""
    is_changed = False
    for i in range(len(x)):
        nearest, least = 0, np.inf
        for c in range(len(centroids)):
            square = _square(x[i], centroids[c])
            if square < least:
                nearest, least = c, square
        is_changed |= labels[i] != nearest
        labels[i] = nearest
    return is_changed


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _square(a: Array, b: Array) -> float:
    square = 0.0
    for j in range(len(a)):
        square += (a[j] - b[j]) * (a[j] - b[j])
    return square
