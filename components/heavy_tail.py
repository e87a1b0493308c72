"""P-values far beyond what an instrument has shown: own level, and the slope of all markets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from components.carried import State
from components.panels import Array, Flags, Ints

Singles = npt.NDArray[np.float32]

# The tail holds at least so many scores.
LEAST_IN_TAIL = 8

# No past of some thousand bars can tell smaller ones apart.
LEAST_P = 1e-12


@dataclass(frozen=True)
class HeavyTail:
    r"""P-value of the logarithm of a heavy-tailed size among the instrument's own past; a scan.

    Up to the 98 % quantile u of the last n scores the p-value is the rank,

    .. math:: p_t = (1 + \#\{i < t: s_i \ge s_t\}) / (n + 1)

    and beyond it, as sizes follow a power law, an exponential tail through the k largest,

    .. math:: p_t = (k / n) \exp(-(s_t - u) / b)

    with b their mean excess, shrunk towards ``usual_slope`` as if that had been seen in
    ``shrinkage`` excesses. Some thousand bars cannot tell the slope at one bar in fifty
    thousand, but instruments differ little in it: in their level they do. NaN before
    ``min_reference`` scores.

    Parameters
    ----------
    window : int
        Past scores remembered, as 32-bit floats; 10 080 is a week of minutes.
    min_reference : int
        Scores before the first p-value.
    tail : float
        Share of the past scores beyond u; at least eight of them.
    usual_slope : float
        In units of ln. Mean excess of ``surge`` beyond its 98 % quantile: 0.68 to 0.91, median
        0.75, on sixteen series of minutes (637 days) of ten large coins.
    shrinkage : float
        In excesses. That spread between instruments is a tenth of the slope, which a hundred
        independent excesses would measure as well; they come in bursts.

    References
    ----------
    Gabaix, X., Gopikrishnan, P., Plerou, V. and Stanley, H. E. (2003). A theory of power-law
    distributions in financial market fluctuations. Nature 423, 267-270.
    Hill, B. M. (1975). A simple general approach to inference about the tail of a
    distribution. Annals of Statistics 3(5), 1163-1174.
    """

    window: int = 10_080
    min_reference: int = 250
    tail: float = 0.02
    usual_slope: float = 0.75
    shrinkage: float = 300.0
    threshold: float | None = None

    def start(self, n_series: int) -> State:
        """Empty buffers."""
        return {
            "past": np.full((n_series, self.window), np.nan, dtype=np.float32),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(
        self,
        state: State,
        scores: Array,
        regime: Ints | None = None,  # noqa: ARG002 - as Calibration
        enters: Flags | None = None,
    ) -> tuple[State, Array, Ints]:
        """Scan scores (n_series, n_bars); a NaN score gives NaN and enters no buffer.

        A score outside of ``enters`` gets its p-value and is not remembered.
        """
        past, n = state["past"].astype(np.float32), state["n"].astype(np.int64)
        p = np.full_like(scores, np.nan)
        n_reference = np.zeros(scores.shape, dtype=np.int64)
        if enters is None:
            enters = np.ones(scores.shape, dtype=np.bool_)
        numbers = (self.tail, self.usual_slope, self.shrinkage)
        _scan(
            np.ascontiguousarray(scores),
            enters,
            past,
            n,
            p,
            n_reference,
            numbers,
            self.min_reference,
        )
        return {"past": past, "n": n}, p, n_reference


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    scores: Array,
    enters: Flags,
    past: Singles,
    n: Ints,
    p: Array,
    n_reference: Ints,
    numbers: tuple[float, float, float],
    min_reference: int,
) -> None:
    window = past.shape[1]
    for i in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            if np.isnan(scores[i, t]):
                continue
            score, held = np.float32(scores[i, t]), min(n[i], window)
            n_reference[i, t] = held
            if held >= min_reference:
                p[i, t] = _p_value(past[i, :held], score, numbers)
            if enters[i, t]:
                past[i, n[i] % window] = score
                n[i] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _p_value(past: Singles, score: np.float32, numbers: tuple[float, float, float]) -> float:
    n, (tail, usual, weight) = len(past), numbers
    k = min(max(int(tail * n), LEAST_IN_TAIL), n - 1)
    at_least = np.int32(0)
    for j in range(n):
        at_least += np.int32(past[j] >= score)
    if at_least > k:
        return (1.0 + at_least) / (n + 1.0)
    # Few bars come so far; for the others nothing is put in order.
    largest = np.sort(np.partition(past, n - k - 1)[n - k - 1 :])
    u, total = np.float64(largest[0]), usual * weight
    for j in range(1, k + 1):
        total += np.float64(largest[j]) - u
    survival = np.exp(-(np.float64(score) - u) * (k + weight) / total)
    return float(max(k / n * survival, LEAST_P))
