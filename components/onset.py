"""Onsets: how rare it is that something which lasts an hour begins, or becomes clearly worse."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from components.carried import State
from components.panels import Array, Flags, Ints

Singles = npt.NDArray[np.float32]

LEAST_P = 1e-12

# At least so many of the largest past onsets make the tail.
LEAST_IN_TAIL = 20


@dataclass(frozen=True)
class Onset:
    r"""P-values of scores that look back over a window; a carried scan.

    A window that moves by a bar sees one event for as long as it is wide: its bars are no
    independent draws, and a reference of bars would be full of the last event. So a bar counts
    only when an event begins or becomes clearly worse: its score exceeds that of the last such bar
    by ``step``, or nothing counted for ``window`` bars. Of such a bar

    .. math:: p = f \cdot P(\text{onset} \ge s)

    with f the onsets per bar so far, and the probability among the last ``held`` onsets: by rank up
    to the 90 % quantile u, above it by an exponential tail, :math:`(k/n) e^{-(s - u)/b}`, b from
    the mean excess, shrunk to ``usual_slope``. Every other bar has p = 1: so p is below alpha on no
    more than alpha of all bars.

    Parameters
    ----------
    window : int
        Bars that a score looks back on.
    step : float
        ln 1.25: a swing that is a quarter larger is clearly worse.
    held : int
        Onsets remembered: of minutes some four weeks.
    min_reference : int
        Onsets before the first p-value.

    References
    ----------
    Leadbetter, M. R. (1991). On a basis for peaks over threshold modeling. Statistics and
    Probability Letters 12(4), 357-362.
    """

    window: int = 60
    step: float = 0.2231435513142097
    held: int = 1000
    min_reference: int = 100
    tail: float = 0.1
    usual_slope: float = 0.4
    shrinkage: float = 20.0
    threshold: float | None = None

    def start(self, n_series: int) -> State:
        """No bar, no onset."""
        return {
            "past": np.full((n_series, self.held), np.nan, dtype=np.float32),
            "at": np.zeros((n_series, self.held), dtype=np.int64),
            "n": np.zeros(n_series, dtype=np.int64),
            "bars": np.zeros(n_series, dtype=np.int64),
            "last": np.full(n_series, -np.inf),
            "since": np.full(n_series, self.window, dtype=np.int64),
        }

    def run(
        self,
        state: State,
        scores: Array,
        regime: Ints | None = None,  # noqa: ARG002 - as Calibration
        enters: Flags | None = None,  # noqa: ARG002 - as Calibration
    ) -> tuple[State, Array, Ints]:
        """Scan scores (n_series, n_bars); a NaN score gives NaN and changes nothing."""
        after = {name: np.array(array) for name, array in state.items()}
        p = np.full(scores.shape, np.nan)
        n_reference = np.zeros(scores.shape, dtype=np.int64)
        memory = (after["past"], after["at"], after["n"], after["bars"])
        event = (after["last"], after["since"])
        numbers = (self.step, self.tail, self.usual_slope, self.shrinkage)
        least = (self.window, self.min_reference)
        _scan(np.ascontiguousarray(scores), memory, event, p, n_reference, numbers, least)
        return after, p, n_reference


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    scores: Array,
    memory: tuple[Singles, Ints, Ints, Ints],
    event: tuple[Array, Ints],
    p: Array,
    n_reference: Ints,
    numbers: tuple[float, float, float, float],
    least: tuple[int, int],
) -> None:
    past, at, n, bars = memory
    last, since = event
    held = past.shape[1]
    for i in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            score = scores[i, t]
            if np.isnan(score):
                continue
            since[i] += 1
            if since[i] > least[0]:
                last[i] = -np.inf
            n_held = min(n[i], held)
            n_reference[i, t] = n_held
            is_enough = n_held >= least[1]
            if is_enough:
                p[i, t] = 1.0
            if score >= last[i] + numbers[0]:
                place = n[i] % held
                if is_enough:
                    first = at[i, place] if n[i] >= held else at[i, 0]
                    often = n_held / max(bars[i] - first, 1)
                    found = often * _p_value(past[i, :n_held], np.float32(score), numbers)
                    p[i, t] = min(max(found, LEAST_P), 1.0)
                past[i, place], at[i, place] = np.float32(score), bars[i]
                n[i] += 1
                last[i], since[i] = score, 0
            bars[i] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _p_value(past: Singles, score: np.float32, numbers: tuple[float, float, float, float]) -> float:
    _, tail, usual, weight = numbers
    n = len(past)
    k = min(max(int(tail * n), LEAST_IN_TAIL), n - 1)
    at_least = 0
    for j in range(n):
        at_least += int(past[j] >= score)
    if at_least > k:
        return (1.0 + at_least) / (n + 1.0)
    largest = np.sort(np.partition(past, n - k - 1)[n - k - 1 :])
    u, total = np.float64(largest[0]), usual * weight
    for j in range(1, k + 1):
        total += np.float64(largest[j]) - u
    return float(k / n * np.exp(-(np.float64(score) - u) * (k + weight) / total))
