"""How far values usually lie from their forecast, by the bin of the day; a carried scan."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.panels import Array, Flags, Ints

# An error enters cut at so many spreads: one freak day must not widen a month.
CAP = 4.0

# Of all bins together, an error's weight halves in about 23 bins: turmoil comes and goes.
KEPT = 0.97

# Errors of all bins together before the first spread.
LEAST = 5.0


@dataclass(frozen=True)
class SlotSpread:
    r"""Root mean square error of the bins of one time of day, drawn to that of all bins.

    .. math:: s^2 = (n v_{slot} + k v) / (n + k)

    with v exponentially weighted means of squared errors, each cut at four spreads.

    Parameters
    ----------
    gain : float
        The least weight of a new error in its slot's mean.
    shrinkage : float
        k, in bins of the slot.
    """

    gain: float = 0.03
    shrinkage: float = 20.0

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return {
            "slot": np.zeros((n_series, n_day)),
            "n_slot": np.zeros((n_series, n_day)),
            "all": np.zeros(n_series),
            "n": np.zeros(n_series),
        }

    def run(
        self, state: State, error: Array, is_open: Flags, day_slot: Ints
    ) -> tuple[State, Array]:
        """The spread known before each bin; an error that is NaN or of a closed bin is left out."""
        after = {name: a.copy() for name, a in state.items()}
        found = np.full(error.shape, np.nan)
        memory = (after["slot"], after["n_slot"], after["all"], after["n"])
        _scan(np.ascontiguousarray(error), is_open, day_slot, memory, found, self._numbers)
        return after, found

    def now(self, state: State, day_slot: Ints) -> Array:
        """The spread of coming bins, (n_series, n_bins)."""
        memory = (state["slot"], state["n_slot"], state["all"], state["n"])
        return spreads_now(memory, day_slot, self.shrinkage)

    @property
    def _numbers(self) -> tuple[float, float]:
        return self.gain, self.shrinkage


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def spread_of(slot: float, n_slot: float, of_all: float, n: float, shrinkage: float) -> float:
    """The spread of one slot now; NaN before there is one."""
    if n <= LEAST:
        return np.nan
    return float(np.sqrt((n_slot * slot + shrinkage * of_all / n) / (n_slot + shrinkage)))


def widened(response: Array) -> Array:
    r"""How many times wider the error of h steps is than that of one.

    :math:`\sqrt{1 + \sum_{0 < j < h} \psi_j^2}` with :math:`\psi_j` (n_series, n_steps) what of
    an error is left j bins later, its first column 1.
    """
    found: Array = np.sqrt(np.cumsum(response**2, axis=1))
    return found


def spreads_now(memory: tuple[Array, ...], day_slot: Ints, shrinkage: float) -> Array:
    """The spread of bins at these times of day, (n_series, n_bins); NaN before there is one."""
    slot, n_slot, of_all, n = memory
    found = np.empty((len(n), len(day_slot)))
    _now(slot, n_slot, of_all, n, day_slot, shrinkage, found)
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _now(
    slot: Array,
    n_slot: Array,
    of_all: Array,
    n: Array,
    day_slot: Ints,
    shrinkage: float,
    found: Array,
) -> None:
    for i in range(found.shape[0]):
        for t in range(found.shape[1]):
            k = day_slot[t]
            found[i, t] = spread_of(slot[i, k], n_slot[i, k], of_all[i], n[i], shrinkage)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def put_error(
    memory: tuple[Array, Array, Array, Array], i: int, k: int, d: float, gain: float
) -> None:
    """Take in an error of series ``i`` at time of day ``k``."""
    slot, n_slot, of_all, n = memory
    n_slot[i, k] = min(n_slot[i, k] + 1, 1 / gain)
    slot[i, k] += max(1 / n_slot[i, k], gain) * (d * d - slot[i, k])
    n[i] = KEPT * n[i] + 1
    of_all[i] = KEPT * of_all[i] + d * d


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    error: Array,
    is_open: Flags,
    day_slot: Ints,
    memory: tuple[Array, Array, Array, Array],
    found: Array,
    numbers: tuple[float, float],
) -> None:
    slot, n_slot, of_all, n = memory
    gain, shrinkage = numbers
    for i in range(error.shape[0]):
        for t in range(error.shape[1]):
            k = day_slot[t]
            s = spread_of(slot[i, k], n_slot[i, k], of_all[i], n[i], shrinkage)
            found[i, t] = s
            d = error[i, t]
            if np.isnan(d) or not is_open[i, t]:
                continue
            if not np.isnan(s):
                d = min(max(d, -CAP * s), CAP * s)
            put_error(memory, i, k, d, gain)
