"""How rare payments are where no band fits: while a series is closed, or too sparse for one."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.forecasters.base import BinPanel
from components.opening import CLOSED, LIVE, SPARSE
from components.panels import Array, Flags, Ints

# No bin is surer than this to have a payment, however often it had one.
SUREST = 0.98


@dataclass(frozen=True)
class Rarity:
    r"""P-values of single payments, of silence and of crowds; a carried scan.

    Of a *closed* bin with a payment p is the share of closed bins that had one so far,
    (1 + active) / (1 + closed): who never sells at three in the morning hears of it.

    A *sparse* series is asked how long it has been silent, and how many bins of the last day
    were active. With q the share of the earlier bins like it that were active,

    .. math:: p_{silent} = \prod_{i=last+1}^{t} (1 - q_i), \quad
        p_{crowd} = P(\mathrm{Poisson}(\textstyle\sum_{day} q) \ge active)

    and p is the smaller one, doubled. Of a *live* bin without a payment p is that of silence.
    """

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        rings = {name: np.zeros((n_series, n_day)) for name in ("likely", "was_active")}
        names = ("n_closed", "n_closed_active", "survival", "n")
        return {**rings, **{name: np.zeros(n_series) for name in names}}

    def run(
        self, state: State, panel: BinPanel, share: Array, standing: Ints
    ) -> tuple[State, Array]:
        """P-values of closed, sparse and silent bins, NaN of all others; known at their end.

        ``share`` and ``standing`` are the ``Opening``'s.
        """
        after = {name: a.copy() for name, a in state.items()}
        p = np.full(panel.value.shape, np.nan)
        counts = tuple(after[name] for name in ("n_closed", "n_closed_active", "survival", "n"))
        rings = (after["likely"], after["was_active"])
        _scan(np.ascontiguousarray(panel.value), share, standing, counts, rings, p)
        return after, p


def log_silence(share: Array, is_silent: Flags) -> Array:
    """Ln of the chance that the silent ones of independent series are so, summed over series.

    ``share`` and ``is_silent`` (n_series, n_bins); a series that is not silent adds nothing.
    """
    rare = np.log1p(-np.minimum(share, SUREST))
    return np.asarray(np.where(is_silent, rare, 0.0).sum(axis=0), dtype=float)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    value: Array,
    share: Array,
    standing: Ints,
    counts: tuple[Array, ...],
    rings: tuple[Array, Array],
    p: Array,
) -> None:
    n_closed, n_closed_active, survival, n = counts
    likely, was_active = rings
    n_day = likely.shape[1]
    for i in range(value.shape[0]):
        for t in range(value.shape[1]):
            if np.isnan(value[i, t]):
                continue
            is_active = value[i, t] != 0
            q = min(share[i, t], SUREST)
            place = int(n[i]) % n_day
            likely[i, place], was_active[i, place] = q, is_active
            n[i] += 1
            survival[i] = 0.0 if is_active else survival[i] + math.log1p(-q)
            if standing[i, t] == CLOSED:
                if is_active:
                    p[i, t] = (1 + n_closed_active[i]) / (1 + n_closed[i])
                n_closed[i] += 1
                n_closed_active[i] += is_active
            elif standing[i, t] == SPARSE:
                crowd = _at_least(was_active[i].sum(), likely[i].sum())
                silent = 1.0 if is_active else math.exp(survival[i])
                p[i, t] = min(1.0, 2 * min(crowd, silent))
            elif standing[i, t] == LIVE and not is_active:
                p[i, t] = math.exp(survival[i])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _at_least(count: float, mean: float) -> float:
    """The chance that a Poisson number of this mean reaches the count."""
    term, below = math.exp(-mean), 0.0
    for k in range(int(count)):
        below += term
        term *= mean / (k + 1)
    return float(max(1 - below, 1e-12))
