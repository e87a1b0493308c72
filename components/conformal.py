"""From errors to the width that keeps a stated coverage; and how rare an error is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from components.calibration import put_sorted
from components.carried import State
from components.panels import Array, Flags

Singles = npt.NDArray[np.float32]

# The tail begins here, as a share of the held errors, of which it has at least so many.
TAIL, LEAST_IN_TAIL = 0.1, 5

# Smaller ones cannot be told apart.
LEAST_P = 1e-12

# A correction of the rate by more than this factor would follow accidents.
REACH = 1.5


@dataclass(frozen=True)
class Conformal:
    r"""How many usual errors below and above past values lay; a carried scan.

    Of the last ``window`` errors, each over its usual size, the widths are the quantiles of rank
    (a / 2)(n + 1) from either end, beyond the outermost an exponential tail through the outer
    tenth. So a side that errs less is told more narrowly. The rate a follows what was missed on
    both,

    .. math:: \ln a_{t+1} = \ln a_t + g (\alpha - missed_t)

    so that coverage is kept while a business grows or changes. Below ``trusted`` errors the
    quantiles are mixed with Student's t of n - 1 degrees of freedom, which is what a few errors
    allow to say.

    Parameters
    ----------
    miss : float
        alpha, the share of bins that may lie outside.
    window : int
        Errors remembered, as 32-bit floats.
    gain : float
        g.
    trusted, least : int
        Errors from which the quantiles stand alone, and before the first widths.

    References
    ----------
    Lei, J. et al. (2018). Distribution-free predictive inference for regression. Journal of the
    American Statistical Association 113, 1094-1111. Gibbs, I. and Candes, E. (2021). Adaptive
    conformal inference under distribution shift. NeurIPS 34.
    """

    miss: float = 0.01
    window: int = 1000
    gain: float = 0.02
    trusted: int = 100
    least: int = 6

    def start(self, n_series: int) -> State:
        """No errors."""
        return {
            "past": np.full((n_series, self.window), np.nan, dtype=np.float32),
            "n": np.zeros(n_series, dtype=np.int64),
            "shift": np.zeros(n_series),
        }

    def run(self, state: State, error: Array, counts: Flags) -> tuple[State, Array, Array, Array]:
        """The widths below and above before each bin, and how rare its error is among the past.

        ``error`` is (x - middle) over its usual size, (n_series, n_bins). What is NaN, or not of
        ``counts``, enters nothing.
        """
        past, n = state["past"].copy(), state["n"].copy()
        shift = state["shift"].copy()
        below, above, p = (np.full(error.shape, np.nan) for _ in range(3))
        scores = np.where(counts, error, np.nan).astype(np.float32)
        _scan(scores, (past, n, shift), (below, above, p), self._students, self._numbers)
        return {"past": past, "n": n, "shift": shift}, below, above, p

    def now(self, state: State) -> tuple[Array, Array]:
        """The widths below and above for the next bin, (n_series,) each."""
        below, above = np.full((2, len(state["n"])), np.nan)
        n, shift = state["n"].astype(np.int64), state["shift"].astype(float)
        _now(state["past"], n, shift, (below, above), self._students, self._numbers)
        return below, above

    @property
    def _numbers(self) -> tuple[float, float, int, int]:
        return self.miss, self.gain, self.trusted, self.least

    @property
    def _students(self) -> Array:
        """Student's quantile for 0 .. trusted errors."""
        n = np.arange(self.trusted + 1)
        quantile = stats.t.ppf(1 - self.miss / 2, np.maximum(n - 1, 1))
        found: Array = quantile * np.sqrt(1 + 1 / np.maximum(n, 1))
        return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    scores: Singles,
    memory: tuple[Singles, npt.NDArray[np.int64], Array],
    found: tuple[Array, Array, Array],
    students: Array,
    numbers: tuple[float, float, int, int],
) -> None:
    past, n, shift = memory
    below, above, p = found
    miss, gain, _, least = numbers
    window = past.shape[1]
    ordered = np.empty(window, dtype=np.float32)
    for i in range(scores.shape[0]):
        held = min(n[i], window)
        ordered[:held] = np.sort(past[i, :held])
        for t in range(scores.shape[1]):
            low, high = _widths(ordered[:held], shift[i], students, numbers)
            below[i, t], above[i, t] = low, high
            score = scores[i, t]
            if np.isnan(score):
                continue
            if held >= least:
                p[i, t] = _p_value(ordered[:held], score)
                missed = 1.0 if score > high or score < -low else 0.0
                shift[i] = min(max(shift[i] + gain * (miss - missed), -REACH), REACH)
            place = n[i] % window
            put_sorted(ordered, held, past[i, place], score)
            past[i, place] = score
            n[i] += 1
            held = min(n[i], window)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _now(
    past: Singles,
    n: npt.NDArray[np.int64],
    shift: Array,
    found: tuple[Array, Array],
    students: Array,
    numbers: tuple[float, float, int, int],
) -> None:
    below, above = found
    for i in range(len(n)):
        held = min(n[i], past.shape[1])
        below[i], above[i] = _widths(np.sort(past[i, :held]), shift[i], students, numbers)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _widths(
    ordered: Singles, shift: float, students: Array, numbers: tuple[float, float, int, int]
) -> tuple[float, float]:
    miss, _, trusted, least = numbers
    n = len(ordered)
    if n < least:
        return np.nan, np.nan
    a = min(miss * np.exp(shift), 0.5) / 2
    low, high = _quantile(ordered, a, -1), _quantile(ordered, a, 1)
    share = min(n / trusted, 1.0)
    own = (1 - share) * students[min(n, trusted)]
    return share * low + own, share * high + own


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _outward(ordered: Singles, place: int, side: int) -> float:
    """The error that has so many, from 0, farther inside than it; towards ``side`` it grows."""
    if side > 0:
        return float(ordered[place])
    return -float(ordered[len(ordered) - 1 - place])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _tail(ordered: Singles, side: int) -> tuple[int, float, float]:
    """How many errors the tail has, where it begins, and their mean beyond that."""
    n = len(ordered)
    k = min(max(int(TAIL * n), LEAST_IN_TAIL), n - 1)
    begin, total = _outward(ordered, n - k - 1, side), 0.0
    for j in range(n - k, n):
        total += _outward(ordered, j, side) - begin
    return k, begin, total / k


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _quantile(ordered: Singles, a: float, side: int) -> float:
    n = len(ordered)
    place = (1 - a) * (n + 1) - 1
    if place <= n - 1:
        low = max(int(np.floor(place)), 0)
        part = min(max(place - low, 0.0), 1.0)
        inner = _outward(ordered, low, side)
        outer = _outward(ordered, min(low + 1, n - 1), side)
        return inner * (1 - part) + outer * part
    k, begin, mean = _tail(ordered, side)
    return float(max(_outward(ordered, n - 1, side), begin + mean * np.log(k / n / a)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _p_value(ordered: Singles, score: np.float32) -> float:
    """The share of errors as far out on this side, doubled; beyond all of them, by the tail."""
    n = len(ordered)
    n_above = n - np.searchsorted(ordered, score)
    n_below = np.searchsorted(ordered, score, side="right")
    side = 1 if n_above <= n_below else -1
    beyond = min(n_above, n_below)
    if beyond > 0:
        return min(2 * (1.0 + beyond) / (n + 1.0), 1.0)
    k, begin, mean = _tail(ordered, side)
    least = 2 / (n + 1.0)
    if mean <= 0:
        return min(least, 1.0)
    out = np.float64(score) * side
    return float(min(max(2 * k / n * np.exp(-(out - begin) / mean), LEAST_P), least))
