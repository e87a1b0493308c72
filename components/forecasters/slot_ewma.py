"""Means by the bin of the week that follow the business, and how the last bin was missed."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.forecasters.base import BinPanel, Forecast
from components.forecasters.spread import CAP, put_error, spread_of, spreads_now, widened
from components.panels import Array, Flags, Ints

# The last error's part in the next one is measured over about a hundred open bins, and never
# believed to be more than this.
ERRORS_KEPT, MOST_PERSISTENCE = 0.99, 0.95

# While closed, what was missed before fades.
FADES = 0.8

_MEMORY = ("level", "n", "day", "n_day", "week", "n_week", "slot", "n_slot", "all", "n_all")
_ERRORS = ("error", "product", "square")


@dataclass(frozen=True)
class SlotEwma:
    r"""Level, hour of the day and bin of the week, each an exponentially weighted mean, and AR(1).

    .. math:: \hat x_t = l + d_{h(t)} + w_{k(t)} + \phi e_{t-1}

    with e what was left of the last bin without the last term and :math:`\phi` its measured
    persistence. A bin of the week deviates from the hour of the day only as far as it was seen
    to (shrunk by ``shrinkage`` bins), so thirty bins are enough to begin. A bin changes the
    means by at most four spreads. O(1) a bin.

    Parameters
    ----------
    level, day, week : float
        The least weight of a new bin in the level, its hour's and its bin of the week's mean.
    spread : float
        The same of squared errors; see ``SlotSpread``.
    shrinkage, spread_shrinkage : float
        In bins of the slot.

    References
    ----------
    Hyndman, R. J. et al. (2008). Forecasting with Exponential Smoothing. Springer.
    """

    level: float = 0.02
    day: float = 0.1
    week: float = 0.1
    spread: float = 0.03
    shrinkage: float = 3.0
    spread_shrinkage: float = 20.0

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "slot_ewma"

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        one = {name: np.zeros(n_series) for name in ("level", "n", "all", "n_all", *_ERRORS)}
        day = {name: np.zeros((n_series, n_day)) for name in ("day", "n_day", "slot", "n_slot")}
        week = {name: np.zeros((n_series, 7 * n_day)) for name in ("week", "n_week")}
        return {**one, **day, **week}

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the bins before it."""
        after, base, persisting, spread = self.apart(state, panel, x, is_open)
        return after, Forecast(base + persisting, spread, spread)

    def apart(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Array, Array, Array]:
        """The state after; the means, what of the last error persists, and the spread."""
        after = {name: a.copy() for name, a in state.items()}
        base, persisting, spread = (np.full(x.shape, np.nan) for _ in range(3))
        _scan(
            np.ascontiguousarray(x),
            is_open,
            (panel.day_slot, panel.week_slot),
            tuple(after[name] for name in _MEMORY),
            tuple(after[name] for name in _ERRORS),
            (base, persisting, spread),
            (self.level, self.day, self.week, self.spread, self.shrinkage, self.spread_shrinkage),
        )
        return after, base, persisting, spread

    def base(self, state: State, coming: BinPanel) -> Array:
        """The means of coming bins; NaN before anything was seen."""
        means = (
            state["level"][:, None]
            + state["day"][:, coming.day_slot]
            + state["week"][:, coming.week_slot]
        )
        return np.where((state["n"] > 0)[:, None], means, np.nan)

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """The means, the last error fading, and a spread that grows as errors add up."""
        phi, steps = _persistence(state)[:, None], np.arange(1, coming.n_bins + 1)
        left = np.where(is_open[:, :-1], phi, FADES)
        left = np.concatenate([phi, left], axis=1)[:, : coming.n_bins]
        middle = self.base(state, coming) + np.cumprod(left, axis=1) * state["error"][:, None]
        spread = self.spread_now(state, coming) * widened(_response(phi, self.level, steps))
        return Forecast(middle, spread, spread)

    def spread_now(self, state: State, coming: BinPanel) -> Array:
        """The spread of coming bins, one bin ahead; NaN before there is one."""
        memory = tuple(state[name] for name in ("slot", "n_slot", "all", "n_all"))
        return spreads_now(memory, coming.day_slot, self.spread_shrinkage)


def _response(phi: Array, level: float, steps: Ints) -> Array:
    """What of an error is left so many bins later: it persists by phi, and moves the level."""
    powers = phi ** (steps - 1)
    return np.asarray(np.where(steps > 1, powers + level * (1 - powers), 1.0), dtype=float)


def _persistence(state: State) -> Array:
    square = state["square"]
    ratio = np.divide(state["product"], square, out=np.zeros_like(square), where=square > 0)
    return np.clip(ratio, 0, MOST_PERSISTENCE)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    is_open: Flags,
    slots: tuple[Ints, Ints],
    memory: tuple[Array, ...],
    errors: tuple[Array, ...],
    found: tuple[Array, Array, Array],
    numbers: tuple[float, ...],
) -> None:
    day_slot, week_slot = slots
    level, n, day, n_day, week, n_week, slot, n_slot, of_all, n_all = memory
    error, product, square = errors
    base, persisting, spread = found
    a_level, a_day, a_week, a_spread, shrinkage, spread_shrinkage = numbers
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            h, k = day_slot[t], week_slot[t]
            mean = level[i] + day[i, h] + week[i, k]
            phi = 0.0
            if square[i] > 0:
                phi = min(max(product[i] / square[i], 0.0), MOST_PERSISTENCE)
            s = spread_of(slot[i, h], n_slot[i, h], of_all[i], n_all[i], spread_shrinkage)
            if n[i] > 0:
                base[i, t], persisting[i, t], spread[i, t] = mean, phi * error[i], s
            if np.isnan(x[i, t]):
                continue
            if not is_open[i, t]:
                error[i] *= FADES
                continue
            r = x[i, t] - mean
            if not np.isnan(s):
                r = min(max(r, -CAP * s), CAP * s)
            d = r - phi * error[i]
            n[i] += 1
            n_day[i, h] += 1
            n_week[i, k] += 1
            up = max(1 / n[i], a_level)
            level[i] += up * r
            # An hour's first bin moves it half of the way: the level has gone some of it.
            day[i, h] += max(1 / (n_day[i, h] + 1), a_day) * (1 - up) * r
            week[i, k] += max(1 / (n_week[i, k] + shrinkage), a_week) * (1 - up) * r
            if n[i] > 1:
                product[i] = ERRORS_KEPT * product[i] + error[i] * r
                square[i] = ERRORS_KEPT * square[i] + error[i] * error[i]
                put_error((slot, n_slot, of_all, n_all), i, h, d, a_spread)
            error[i] = r
