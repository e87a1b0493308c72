"""When a series is open: in which bins payments are expected at all; a carried scan."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.forecasters.base import BinPanel
from components.panels import Array, Flags, Ints

WARM_UP, LIVE, CLOSED, HOLIDAY, SPARSE, ENDED = range(6)
STATES = ("warm-up", "live", "closed", "holiday", "sparse", "ended")


@dataclass(frozen=True)
class Opening:
    r"""How often each bin of the week had payments, and what that makes of the next one.

    .. math:: q = (n_w q_w + q'_d) / (n_w + 1), \quad q'_d = (n_d q_d + q_{all}) / (n_d + 1)

    with q_w the weighted share of active bins among the same bins of the week, q_d that of the
    bins at the same hour and q_all that of all. A bin is *closed* where q is below
    ``least_open``: nights, days of rest, whatever the shop's hours are. Holidays are closed and
    change nothing.

    A series is *sparse* while fewer than ``sparse_a_week`` bins a week are active: a band of
    zero and anything would tell nothing. That shows after two weeks. It has *ended* when it was
    silent through all bins of ``ended_weeks``, and begins again with its next payment.

    Parameters
    ----------
    least_open : float
        Share of bins.
    least_bins : int
        Bins before the first that is judged: two days of two-hour ones. Within the first week a
        bin of the week that was never seen is not judged either: it may be one of rest.
    sparse_a_week : float
        Active bins a week; of bins so long that a week has few, a sixth of them.
    ended_weeks : float
        A business that closes for a month is told once, and not for a year.
    """

    least_open: float = 0.1
    least_bins: int = 24
    sparse_a_week: float = 14.0
    ended_weeks: float = 4.0

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        zeros = {name: np.zeros((n_series, n_day)) for name in ("day", "n_day")}
        zeros |= {name: np.zeros((n_series, 7 * n_day)) for name in ("week", "n_week")}
        names = ("n", "active", "silent", "is_signed")
        return {**zeros, **{name: np.zeros(n_series) for name in names}}

    def run(self, state: State, panel: BinPanel) -> tuple[State, Array, Ints]:
        """How likely a payment is in each bin, and the series' state there; known before it."""
        after = {name: a.copy() for name, a in state.items()}
        share = np.full(panel.value.shape, np.nan)
        standing = np.zeros(panel.value.shape, dtype=np.int64)
        memory = tuple(after[name] for name in ("day", "n_day", "week", "n_week"))
        counts = tuple(after[name] for name in ("n", "active", "silent", "is_signed"))
        _scan(
            np.ascontiguousarray(panel.value),
            (panel.day_slot, panel.week_slot, panel.is_holiday),
            memory,
            counts,
            (share, standing),
            (self.least_open, self.least_bins, self.sparse_a_week, self.ended_weeks),
        )
        return after, share, standing

    def ahead(self, state: State, coming: BinPanel) -> tuple[Array, Ints]:
        """The same of the bins that come next."""
        blank = BinPanel(
            np.full((len(state["n"]), coming.n_bins), np.nan),
            coming.day_slot,
            coming.week_slot,
            coming.length,
            coming.is_holiday,
            coming.n_day,
        )
        _, share, standing = self.run(state, blank)
        return share, standing


# Of all bins together, the share of active ones is that of about four weeks.
WEEKS = 4.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    value: Array,
    clock: tuple[Ints, Ints, Flags],
    memory: tuple[Array, ...],
    counts: tuple[Array, ...],
    found: tuple[Array, Ints],
    numbers: tuple[float, float, float, float],
) -> None:
    day_slot, week_slot, is_holiday = clock
    day, n_day, week, n_week = memory
    n, active, silent, is_signed = counts
    share, standing = found
    least_open, least_bins, sparse_a_week, ended_weeks = numbers
    of_week = week.shape[1]
    for i in range(value.shape[0]):
        for t in range(value.shape[1]):
            h, k = day_slot[t], week_slot[t]
            usual = (n_day[i, h] * day[i, h] + active[i]) / (n_day[i, h] + 1)
            q = (n_week[i, k] * week[i, k] + usual) / (n_week[i, k] + 1)
            share[i, t] = q
            is_closed = n_day[i, h] > 0 and q < least_open
            if silent[i] >= ended_weeks * of_week:
                standing[i, t] = ENDED
            elif is_holiday[t] or is_closed:
                standing[i, t] = HOLIDAY if is_holiday[t] else CLOSED
            else:
                is_new = n[i] < least_bins or (n_week[i, k] == 0 and n[i] < of_week)
                is_sparse = active[i] * of_week < min(sparse_a_week, of_week / 6)
                standing[i, t] = _open(is_new, is_sparse, n[i] >= 2 * of_week)
            if np.isnan(value[i, t]):
                continue
            is_active = 1.0 if value[i, t] != 0 else 0.0
            is_signed[i] = max(is_signed[i], 1.0 if value[i, t] < 0 else 0.0)
            silent[i] = 0 if is_active else silent[i] + 1
            # What came after an end would make sparse who comes back.
            if is_holiday[t] or standing[i, t] == ENDED:
                continue
            n[i] += 1
            active[i] += max(1 / n[i], 1 / (WEEKS * of_week)) * (is_active - active[i])
            day[i, h] += max(1 / (n_day[i, h] + 1), 0.05) * (is_active - day[i, h])
            week[i, k] += max(1 / (n_week[i, k] + 1), 0.1) * (is_active - week[i, k])
            n_day[i, h] += 1
            n_week[i, k] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _open(is_new: bool, is_sparse: bool, is_old: bool) -> int:
    """The state of a bin in which the series may have payments."""
    if is_new or (is_sparse and not is_old):
        return WARM_UP
    return SPARSE if is_sparse else LIVE
