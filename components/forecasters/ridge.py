"""A regression of what the means leave on what they left before: hours, a day, a week ago."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from components.carried import State, named, scoped
from components.forecasters.base import BinPanel, Forecast
from components.forecasters.slot_ewma import SlotEwma
from components.forecasters.spread import SlotSpread, widened
from components.panels import Array, Flags, Ints

# Rests 1, 2, 3 bins, a day, a day and a bin, a week ago, and their mean over the last day.
N_LAGS = 7

# Before them in the regression: 1 and the means themselves.
FIRST_LAG = 2
_K = FIRST_LAG + N_LAGS

# What is left enters cut at so many spreads. Turmoil is followed by turmoil, so that less than
# twice the cut of the means would hide what a regression is for.
REST_CAP = 8.0

_MEMORY = ("rest", "normal", "moment", "weights")


@dataclass(frozen=True)
class Ridge:
    r"""Means by the bin of the week, and a ridge regression of what they leave.

    .. math:: \hat x_t = b_t + w^T z_t, \quad
        z_t = (1, b_t, r_{t-1}, r_{t-2}, r_{t-3}, r_{t-D}, r_{t-D-1}, r_{t-7D},
        \textstyle\sum_{j \le D} r_{t-j} / D)

    with b the means of ``SlotEwma``, r = x - b cut at eight spreads (0 while closed or missing)
    and D the bins of a day. The weights minimise the squared errors of open bins, each forgotten
    by ``forgetting``, plus ``penalty`` times each weight's square times its feature's sum of
    squares. They are found anew with the first bin of each week, which no split of the bins can
    move; before the first time ``SlotEwma`` forecasts. O(1) a bin.

    Parameters
    ----------
    slots : SlotEwma
        Gives the means.
    spreads : SlotSpread
        Of this forecaster's own errors.
    penalty : float
        Relative to each feature's sum of squares, so that the unit does not matter.
    forgetting : float
        An open bin's weight once the next has come.
    least : int
        Open bins before the first weights.

    References
    ----------
    Hoerl, A. E. and Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal
    problems. Technometrics 12, 55-67.
    """

    slots: SlotEwma = field(default_factory=SlotEwma)
    spreads: SlotSpread = field(default_factory=SlotSpread)
    penalty: float = 0.01
    forgetting: float = 0.9995
    least: int = 100

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "ridge"

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return {
            **named(self.slots.start(n_series, n_day), "slots"),
            **named(self.spreads.start(n_series, n_day), "spreads"),
            "rest": np.zeros((n_series, 7 * n_day)),
            "normal": np.zeros((n_series, _K * _K)),
            "moment": np.zeros((n_series, _K)),
            "weights": np.zeros((n_series, _K)),
            "n": np.zeros(n_series),
            "is_solved": np.zeros(n_series),
            "last": np.full(n_series, -1, dtype=np.int64),
        }

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the bins before it."""
        slots, base, persisting, usual = self.slots.apart(scoped(state, "slots"), panel, x, is_open)
        own = {name: state[name].copy() for name in (*_MEMORY, "n", "is_solved", "last")}
        rest = np.full(x.shape, np.nan)
        _scan(
            (np.ascontiguousarray(x), base, usual),
            is_open,
            (panel.week_slot, panel.n_day),
            tuple(own[name] for name in _MEMORY),
            (own["n"], own["is_solved"], own["last"]),
            rest,
            (self.penalty, self.forgetting, self.least),
        )
        is_ours = ~np.isnan(rest)
        middle = base + np.where(is_ours, rest, persisting)
        spreads, spread = self.spreads.run(
            scoped(state, "spreads"), x - middle, is_open, panel.day_slot
        )
        spread = np.where(is_ours, spread, usual)
        after = {**named(slots, "slots"), **named(spreads, "spreads"), **own}
        return after, Forecast(middle, spread, spread)

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """The regression fed with its own forecasts; the spread grows as errors pass on."""
        slots = scoped(state, "slots")
        plain, base = self.slots.ahead(slots, coming, is_open), self.slots.base(slots, coming)
        now = self.spreads.now(scoped(state, "spreads"), coming.day_slot)
        rest, response = np.full(base.shape, np.nan), np.zeros(base.shape)
        _iterate(
            (base, now),
            is_open,
            (coming.week_slot, coming.n_day),
            (state["rest"].copy(), state["last"].copy()),
            np.ascontiguousarray(state["weights"]),
            rest,
        )
        _respond(np.ascontiguousarray(state["weights"]), coming.n_day, response)
        is_ours = (state["is_solved"] > 0)[:, None]
        spread = np.where(is_ours, now * widened(response), plain.below)
        return Forecast(np.where(is_ours, base + rest, plain.middle), spread, spread)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def lagged(rest: Array, last: int, k: int, n_day: int, into: Array) -> None:
    """What was left before bin ``k`` of the week, ``N_LAGS`` numbers.

    ``rest`` holds it by the bin of the week, ``last`` is the bin that was seen last; those
    between were missed and count as 0.
    """
    gap = (k - last - 1) % len(rest) + 1
    into[:] = 0.0
    for place, lag in enumerate((1, 2, 3, n_day, n_day + 1, len(rest))):
        if lag >= gap:
            into[place] = rest[(k - lag) % len(rest)]
    for lag in range(gap, n_day + 1):
        into[N_LAGS - 1] += rest[(k - lag) % len(rest)] / n_day


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def put(rest: Array, last: int, k: int, r: float) -> None:
    """Take in what was left of bin ``k`` of the week, and 0 for those missed since ``last``."""
    for lag in range(1, (k - last - 1) % len(rest) + 1):
        rest[(k - lag) % len(rest)] = 0.0
    rest[k] = r


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def cut(r: float, spread: float) -> float:
    """At most eight spreads, where there is one."""
    if np.isnan(spread):
        return r
    return float(min(max(r, -REST_CAP * spread), REST_CAP * spread))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    values: tuple[Array, Array, Array],
    is_open: Flags,
    clock: tuple[Ints, int],
    memory: tuple[Array, ...],
    counts: tuple[Array, Array, npt.NDArray[np.int64]],
    found: Array,
    numbers: tuple[float, float, int],
) -> None:
    x, base, usual = values
    week_slot, n_day = clock
    rest, normal, moment, weights = memory
    n, is_solved, last = counts
    penalty, forgetting, least = numbers
    z = np.ones(_K)
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if np.isnan(base[i, t]):
                continue
            k = week_slot[t]
            z[1] = base[i, t]
            lagged(rest[i], last[i], k, n_day, z[FIRST_LAG:])
            if is_solved[i]:
                found[i, t] = _product(weights[i], z)
            if np.isnan(x[i, t]):
                continue
            r = 0.0
            if is_open[i, t]:
                r = cut(x[i, t] - base[i, t], usual[i, t])
                _add(normal[i], moment[i], z, r, forgetting)
                n[i] += 1
            put(rest[i], last[i], k, r)
            if k <= last[i] and n[i] >= least:
                _solve(normal[i], moment[i], penalty, weights[i])
                is_solved[i] = 1
            last[i] = k


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _product(weights: Array, z: Array) -> float:
    total = 0.0
    for j in range(_K):
        total += weights[j] * z[j]
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _add(normal: Array, moment: Array, z: Array, r: float, forgetting: float) -> None:
    for j in range(_K):
        moment[j] = forgetting * moment[j] + z[j] * r
        for m in range(_K):
            normal[j * _K + m] = forgetting * normal[j * _K + m] + z[j] * z[m]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _solve(normal: Array, moment: Array, penalty: float, weights: Array) -> None:
    """Weights for features brought to length 1; one that was always 0 gets none."""
    matrix, right = normal.copy().reshape(_K, _K), moment.copy()
    size = np.ones(_K)
    for j in range(_K):
        if matrix[j, j] > 0:
            size[j] = np.sqrt(matrix[j, j])
    for j in range(_K):
        right[j] /= size[j]
        for m in range(_K):
            matrix[j, m] /= size[j] * size[m]
        matrix[j, j] += penalty
    weights[:] = np.linalg.solve(matrix, right) / size


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _iterate(
    values: tuple[Array, Array],
    is_open: Flags,
    clock: tuple[Ints, int],
    memory: tuple[Array, npt.NDArray[np.int64]],
    weights: Array,
    found: Array,
) -> None:
    base, spread = values
    week_slot, n_day = clock
    rest, last = memory
    z = np.ones(_K)
    for i in range(base.shape[0]):
        for t in range(base.shape[1]):
            k = week_slot[t]
            z[1] = base[i, t]
            lagged(rest[i], last[i], k, n_day, z[FIRST_LAG:])
            found[i, t] = _product(weights[i], z)
            r = cut(found[i, t], spread[i, t]) if is_open[i, t] else 0.0
            put(rest[i], last[i], k, r)
            last[i] = k


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _respond(weights: Array, n_day: int, response: Array) -> None:
    """What of an error is left in each bin behind it; never believed to be more than all."""
    n_steps = response.shape[1]
    by_lag = np.zeros(7 * n_day + 2)
    for i in range(response.shape[0]):
        by_lag[:] = 0.0
        for place, lag in enumerate((1, 2, 3, n_day, n_day + 1, 7 * n_day)):
            by_lag[lag] += weights[i, FIRST_LAG + place]
        by_lag[1 : n_day + 1] += weights[i, _K - 1] / n_day
        for step in range(n_steps):
            total = 1.0 if step == 0 else 0.0
            for lag in range(1, min(step, 7 * n_day) + 1):
                total += by_lag[lag] * response[i, step - lag]
            response[i, step] = min(max(total, -1.0), 1.0)
