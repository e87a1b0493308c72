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
        slot, n = state["slot"][:, day_slot], state["n_slot"][:, day_slot]
        with np.errstate(invalid="ignore", divide="ignore"):
            of_all = (state["all"] / state["n"])[:, None]
        found = np.sqrt((n * slot + self.shrinkage * of_all) / (n + self.shrinkage))
        return np.where((state["n"] > LEAST)[:, None], found, np.nan)

    @property
    def _numbers(self) -> tuple[float, float]:
        return self.gain, self.shrinkage


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def spread_of(slot: float, n_slot: float, of_all: float, n: float, shrinkage: float) -> float:
    """The spread of one slot now; NaN before there is one."""
    if n <= LEAST:
        return np.nan
    return float(np.sqrt((n_slot * slot + shrinkage * of_all / n) / (n_slot + shrinkage)))


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
            n_slot[i, k] = min(n_slot[i, k] + 1, 1 / gain)
            slot[i, k] += max(1 / n_slot[i, k], gain) * (d * d - slot[i, k])
            n[i] = KEPT * n[i] + 1
            of_all[i] = KEPT * of_all[i] + d * d
