"""The same bin a week ago: what every other forecaster has to beat."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.forecasters.base import BinPanel, Forecast
from components.panels import Array, Flags, Ints


@dataclass(frozen=True)
class SeasonalNaive:
    """The last open value of the same bin of the week, and one spread for all bins.

    The spread is the mean absolute error so far, so that a band has the same width, in x, at
    all hours.

    References
    ----------
    Hyndman, R. J. and Athanasopoulos, G. (2021). Forecasting: Principles and Practice, 5.2.
    """

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "seasonal_naive"

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return {
            "last": np.full((n_series, 7 * n_day), np.nan),
            "error": np.zeros(n_series),
            "n": np.zeros(n_series),
        }

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the bins before it."""
        after = {name: a.copy() for name, a in state.items()}
        middle, spread = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        memory = (after["last"], after["error"], after["n"])
        _scan(np.ascontiguousarray(x), is_open, panel.week_slot, memory, (middle, spread))
        return after, Forecast(middle, spread, spread)

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """The last week once more, however far ahead."""
        middle = state["last"][:, coming.week_slot]
        mean = np.where(state["n"] > 0, state["error"], np.nan)[:, None]
        spread = np.broadcast_to(mean, is_open.shape).copy()
        return Forecast(middle, spread, spread)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    is_open: Flags,
    week_slot: Ints,
    memory: tuple[Array, Array, Array],
    found: tuple[Array, Array],
) -> None:
    last, error, n = memory
    middle, spread = found
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            k = week_slot[t]
            middle[i, t] = last[i, k]
            if n[i] > 0:
                spread[i, t] = error[i]
            if np.isnan(x[i, t]) or not is_open[i, t]:
                continue
            if not np.isnan(last[i, k]):
                n[i] += 1
                error[i] += (abs(x[i, t] - last[i, k]) - error[i]) / n[i]
            last[i, k] = x[i, t]
