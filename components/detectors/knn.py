"""Nearest neighbours: how far a bar lies from the bars most like it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from components.detectors.base import VECTOR_FEATURES, Learned, Span, require_bars, vectors_of
from components.panels import Array, Ints

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearestNeighbours:
    """Euclidean distance to the ``k``-th nearest reference vector.

    Parameters
    ----------
    k : int
        A cluster of fewer bars than this is still odd.

    References
    ----------
    Ramaswamy, S., Rastogi, R. and Shim, K. (2000). Efficient algorithms for mining outliers
    from large data sets. SIGMOD.
    """

    k: int = 5

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """A neighbourhood needs some multiples of ``k``."""
        return 12 * self.k

    @property
    def n_parameters(self) -> int:
        """None: the past itself is the model."""
        return 0

    def fit(self, panel: Array) -> "Neighbourhood":
        """Keep the panel's vectors as the reference."""
        require_bars(self, panel)
        return Neighbourhood(vectors_of(panel), self.k)

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:  # noqa: ARG002
        """Distances among each series' own vectors."""
        scores = np.full(learned.new.shape[:2], np.nan)
        known = learned.span
        _score_each(
            learned.new,
            learned.held,
            (known.first, known.last),
            (span.first, span.last),
            scores,
            self.k,
        )
        return scores


@dataclass(frozen=True)
class Neighbourhood:
    """A fitted ``NearestNeighbours``: the reference vectors, (n, n_features)."""

    reference: Array
    k: int
    context: int = 0

    @property
    def parameters(self) -> Array:
        """None."""
        return np.empty(0)

    def score(self, panel: Array) -> Array:
        """Distances, in units of the vector's logarithms."""
        scores = np.full(panel.shape[:2], np.nan)
        _score(np.ascontiguousarray(panel), self.reference, scores, self.k)
        return scores


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score_each(
    new: Array,
    held: Singles,
    known: tuple[Ints, Ints],
    asked: tuple[Ints, Ints],
    scores: Array,
    k: int,
) -> None:
    nearest, n_held = np.empty(k), held.shape[1]
    for i in range(new.shape[0]):
        first, last = known[0][i], known[1][i]
        own = held[i, first : min(last, n_held)]
        of_panel = new[i, max(first - n_held, 0) : max(last - n_held, 0)]
        for t in range(asked[0][i], asked[1][i]):
            nearest[:] = np.inf
            _take_nearest(new[i, t], own, nearest)
            _take_nearest(new[i, t], of_panel, nearest)
            scores[i, t] = np.sqrt(nearest[k - 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score(panel: Array, reference: Array, scores: Array, k: int) -> None:
    nearest = np.empty(k)
    for i in range(panel.shape[0]):
        for t in range(panel.shape[1]):
            if np.isnan(panel[i, t]).any():
                continue
            nearest[:] = np.inf
            _take_nearest(panel[i, t], reference, nearest)
            scores[i, t] = np.sqrt(nearest[k - 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _take_nearest(x: Array, reference: Array | Singles, nearest: Array) -> None:
    """Put the squared distances of ``reference`` among the least, ascending."""
    k = len(nearest)
    for r in range(reference.shape[0]):
        square = 0.0
        for j in range(len(x)):
            step = x[j] - np.float64(reference[r, j])
            square += step * step
        if square >= nearest[k - 1]:
            continue
        place = k - 1
        while place > 0 and nearest[place - 1] > square:
            nearest[place] = nearest[place - 1]
            place -= 1
        nearest[place] = square
