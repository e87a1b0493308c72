"""From a score to a p-value, and from a stated budget to a kept alarm rate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numba import njit, vectorize

from components.carried import State
from components.heavy_tail import HeavyTail
from components.onset import Onset
from components.panels import Array, Flags, Ints

Singles = npt.NDArray[np.float32]
Calibrated = tuple[State, Array, Ints]


class Calibration(Protocol):
    """A scan that turns scores into p-values."""

    @property
    def threshold(self) -> float | None:
        """The score beyond which a baseline's own rule alerts; None: the budget decides."""

    @property
    def min_reference(self) -> int:
        """Scores before the first p-value."""

    def start(self, n_series: int) -> State:
        """The state before the first score."""

    def run(
        self,
        state: State,
        scores: Array,
        regime: Ints | None = None,
        enters: Flags | None = None,
    ) -> Calibrated:
        """P-values and the number of past scores behind each, of the shape of ``scores``."""


@dataclass(frozen=True)
class Reference:
    r"""Where a score lies among the instrument's own past ones; a carried scan.

    Up to the 90 % quantile u of the last n scores the p-value is the rank,

    .. math:: p_t = (1 + \#\{i < t: s_i \ge s_t\}) / (n + 1)

    and beyond it a generalised Pareto tail through the k largest,

    .. math:: p_t = (k / n) (1 + \xi (s_t - u) / b)^{-1 / \xi}

    with xi by probability-weighted moments, shrunk towards ``usual_shape`` as if that had been
    seen in 50 excesses, and b such that the mean excess is met. A p-value of 0.01 means: one
    past bar in a hundred was at least as odd, for a stablecoin as for a meme stock. NaN before
    ``min_reference`` scores.

    With ``n_regimes`` of 3 every regime has scores of its own (Mondrian); one that holds fewer
    than ``least_regime`` borrows from all.

    Parameters
    ----------
    window : int
        Past scores remembered, in each regime. They are kept as 32-bit floats.
    min_reference : int
        Scores before the first p-value.

    References
    ----------
    Laxhammar, R. and Falkman, G. (2010). Conformal prediction for distribution-independent
    anomaly detection in streaming vessel data. StreamKDD.
    Hosking, J. R. M. and Wallis, J. R. (1987). Parameter and quantile estimation for the
    generalized Pareto distribution. Technometrics 29(3), 339-349.
    Vovk, V., Gammerman, A. and Shafer, G. (2005). Algorithmic Learning in a Random World,
    section 4.5 (Mondrian).
    """

    window: int = 1000
    min_reference: int = 250
    n_regimes: int = 1
    least_regime: int = 120
    usual_shape: float = 0.15
    threshold: float | None = None

    def start(self, n_series: int) -> State:
        """Empty buffers."""
        shape = (n_series, self.n_regimes * self.window)
        return {
            "past": np.full(shape, np.nan, dtype=np.float32),
            "n": np.zeros((n_series, self.n_regimes), dtype=np.int64),
        }

    def run(
        self,
        state: State,
        scores: Array,
        regime: Ints | None = None,
        enters: Flags | None = None,
    ) -> Calibrated:
        """Scan scores (n_series, n_bars); a NaN score gives NaN and enters no buffer.

        ``regime`` (n_series, n_bars) is 0, 1 or 2; below 0 counts as 1. A score outside of
        ``enters`` gets its p-value and is not remembered.
        """
        past = state["past"].reshape(-1, self.n_regimes, self.window).copy()
        n = state["n"].reshape(-1, self.n_regimes).copy()
        p = np.full_like(scores, np.nan)
        n_reference = np.zeros(scores.shape, dtype=np.int64)
        if regime is None or self.n_regimes == 1:
            regime = np.zeros(scores.shape, dtype=np.int64)
        if enters is None:
            enters = np.ones(scores.shape, dtype=np.bool_)
        _refer(
            np.ascontiguousarray(scores),
            np.where(regime < 0, 1, regime),
            enters,
            (past, n),
            (p, n_reference),
            (self.min_reference, self.least_regime),
            self.usual_shape,
        )
        return {"past": past.reshape(state["past"].shape), "n": n}, p, n_reference


# The tail begins here, as a share of the reference.
TAIL = 0.1
# The shape is shrunk as if the usual one had been seen in so many excesses.
SHRINKAGE = 50.0
# The mean excess is at least this share of the way from the median to the tail: where many
# scores are equal, a tail could else come out as thin as rounding.
LEAST_TAIL = 0.05
# Beyond these a fitted shape is noise.
SHAPES = (-0.1, 0.6)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _refer(
    scores: Array,
    regime: Ints,
    enters: Flags,
    memory: tuple[Singles, Ints],
    found: tuple[Array, Ints],
    least: tuple[int, int],
    usual_shape: float,
) -> None:
    past, n = memory
    p, n_reference = found
    n_regimes, window = past.shape[1], past.shape[2]
    pool = np.empty(n_regimes * window, dtype=np.float32)
    # A buffer is sorted when its tail is asked for again, and kept so from then on: a stream that
    # comes bar by bar never asks twice in a call, and what is asked once need not be sorted.
    ordered = np.empty((n_regimes, window), dtype=np.float32)
    is_ordered, was_asked = np.zeros((2, n_regimes), dtype=np.bool_)
    for i in range(scores.shape[0]):
        is_ordered[:], was_asked[:] = False, False
        for t in range(scores.shape[1]):
            if np.isnan(scores[i, t]):
                continue
            score, own = np.float32(scores[i, t]), regime[i, t]
            held, total = min(n[i, own], window), np.minimum(n[i], window).sum()
            is_enough = held >= least[1] or held == total
            n_reference[i, t] = held if is_enough else total
            if total >= least[0] and is_enough:
                reference = past[i, own, :held]
                if is_ordered[own]:
                    reference = ordered[own, :held]
                    at_least = held - np.searchsorted(reference, score)
                else:
                    at_least = _at_least(reference, score)
                is_tail = at_least <= _n_tail(held)
                if is_tail and was_asked[own] and not is_ordered[own]:
                    ordered[own, :held] = np.sort(reference)
                    reference, is_ordered[own] = ordered[own, :held], True
                was_asked[own] |= is_tail
                p[i, t] = _p_value(reference, is_ordered[own], at_least, score, usual_shape)
            elif total >= least[0]:
                reference = _pooled(past[i], n[i], pool)
                at_least = _at_least(reference, score)
                p[i, t] = _p_value(reference, False, at_least, score, usual_shape)
            if enters[i, t]:
                _remember(past[i, own], ordered[own], is_ordered[own], n[i, own], score)
                n[i, own] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _remember(past: Singles, ordered: Singles, is_ordered: bool, n: int, score: np.float32) -> None:
    place = n % len(past)
    if is_ordered:
        put_sorted(ordered, min(n, len(past)), past[place], score)
    past[place] = score


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _pooled(past: Singles, n: Ints, pool: Singles) -> Singles:
    """The scores of all regimes together."""
    window, m = past.shape[1], 0
    for k in range(len(past)):
        held = min(n[k], window)
        pool[m : m + held] = past[k, :held]
        m += held
    return pool[:m]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _n_tail(n: int) -> int:
    return max(int(TAIL * n), 8)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _at_least(past: Singles, score: np.float32) -> int:
    count = np.int32(0)
    for j in range(len(past)):
        count += np.int32(past[j] >= score)
    return int(count)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def put_sorted(ordered: Singles, held: int, old: np.float32, new: np.float32) -> None:
    """Put ``new`` into the first ``held`` sorted values, in place of ``old`` when full."""
    gap = int(np.searchsorted(ordered, old)) if held == len(ordered) else held
    while gap > 0 and ordered[gap - 1] > new:
        ordered[gap] = ordered[gap - 1]
        gap -= 1
    while gap < min(held, len(ordered) - 1) and ordered[gap + 1] < new:
        ordered[gap] = ordered[gap + 1]
        gap += 1
    ordered[gap] = new


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _p_value(
    past: Singles, is_ordered: bool, at_least: int, score: np.float32, usual_shape: float
) -> float:
    """Rank, or tail through the largest scores."""
    n, k = len(past), _n_tail(len(past))
    if at_least > k:
        return (1.0 + at_least) / (n + 1.0)
    largest = past[n - k - 1 :] if is_ordered else _largest(past, k + 1)
    threshold = np.float64(largest[0])
    mean, weighted = 0.0, 0.0
    for j in range(k):
        excess = np.float64(largest[j + 1]) - threshold
        mean += excess
        weighted += excess * (1.0 - (j + 0.65) / k)
    mean, weighted = mean / k, weighted / k
    if mean <= 0:
        return (1.0 + at_least) / (n + 1.0)
    slack = mean - 2 * weighted
    shape = 2 - mean / slack if slack > 1e-12 else 0.0
    weight = k / (k + SHRINKAGE)
    shape = min(max(weight * shape + (1 - weight) * usual_shape, SHAPES[0]), SHAPES[1])
    scale = max(mean, _least_scale(past, threshold, mean))
    y = (np.float64(score) - threshold) / (scale * (1 - shape))
    survival = np.exp(-y) if abs(shape) < 1e-6 else max(1 + shape * y, 1e-6) ** (-1 / shape)
    return float(max(k / n * survival, LEAST_P))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _largest(past: Singles, k: int) -> Singles:
    """The ``k`` largest, ascending."""
    largest: Singles = np.sort(np.partition(past, len(past) - k)[len(past) - k :])
    return largest


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _least_scale(past: Singles, threshold: float, mean: float) -> float:
    """What the mean excess is at least; 0 where it is far above."""
    # The median costs a search: the least score tells mostly that it does not matter.
    if mean >= LEAST_TAIL * (threshold - np.float64(past.min())):
        return 0.0
    middle = len(past) // 2
    return float(LEAST_TAIL * (threshold - np.float64(np.partition(past, middle)[middle])))


# No sample of a thousand can tell smaller ones apart.
LEAST_P = 1e-12


@vectorize(["float64(float64)"], cache=True)  # type: ignore[untyped-decorator, no-untyped-call, unused-ignore]
def two_sided(z: float) -> float:
    """The share of a normal law further from its mean than ``z`` standard deviations."""
    return math.erfc(abs(z) / math.sqrt(2))


@dataclass(frozen=True)
class NormalRule:
    """The base system's own decision: two-sided normal p-value, alert beyond ``threshold``.

    The budget is not applied to a detector under this rule. The smallest p-value is the
    smallest positive float, never 0.
    """

    threshold: float | None = 3.0
    min_reference: int = 0

    def start(self, n_series: int) -> State:
        """How many scores were seen."""
        return {"n": np.zeros(n_series, dtype=np.int64)}

    def run(
        self,
        state: State,
        scores: Array,
        regime: Ints | None = None,  # noqa: ARG002 - as Calibration
        enters: Flags | None = None,  # noqa: ARG002 - as Calibration
    ) -> Calibrated:
        """P-values under the normal distribution."""
        seen = ~np.isnan(scores)
        before = state["n"].astype(np.int64)[:, None] + np.cumsum(seen, axis=1) - seen
        p = np.maximum(two_sided(scores), np.nextafter(0, 1))
        return {"n": state["n"] + seen.sum(axis=1)}, p, before.astype(np.int64)


# Baselines with a decision rule of their own, and sizes with a tail of their own; every other
# detector is ranked.
OWN_RULES: Mapping[str, Calibration] = {
    "amplitude_zscore": NormalRule(),
    "dual_stream": NormalRule(),
    "surge": HeavyTail(),
    "swing": Onset(),
}


def calibration_of(detector: str, ranked: Calibration = Reference()) -> Calibration:
    """How the scores of ``detector`` become p-values: by a rule of its own, or as ``ranked``."""
    return OWN_RULES.get(detector, ranked)


@dataclass(frozen=True)
class KeptRate:
    r"""Holds the share of bars that alert at the stated rate; a carried scan.

    .. math:: \ln\alpha_t = \ln\alpha + (1 - w)\,a_t + w\,a^r_t,\quad
        a_{t+1} = a_t + g\,(\alpha - alert_t)

    with one correction a for all bars and one a^r for those of the bar's regime r, each within
    ``reach`` of 0; a bar alerts when p <= alpha_t. It is a rate, not a quota: a quiet month
    may be silent.

    Parameters
    ----------
    gain : float
        g. Larger keeps the rate closer, and mutes longer after an alert.
    regime_share : float
        w. After an alert in a wild time the calm times should not be muted as well.

    References
    ----------
    Gibbs, I. and Candes, E. (2021). Adaptive conformal inference under distribution shift.
    NeurIPS 34.
    """

    gain: float = 0.5
    reach: float = 3.0
    regime_share: float = 0.7

    def start(self, n_series: int) -> State:
        """No correction yet: one for all bars, then one a regime."""
        return {"shift": np.zeros((n_series, 4))}

    def run(self, state: State, p: Array, rates: Array, regime: Ints) -> tuple[State, Flags, Array]:
        """Alert flags and the rate in force at each bar, both of the shape of ``p``.

        ``rates`` (n_series,) is the stated share of bars; ``regime`` of the shape of ``p`` is
        0, 1 or 2, below 0 counts as 1. A NaN p changes nothing.
        """
        shift = state["shift"].astype(float)
        alert = np.zeros(p.shape, dtype=np.bool_)
        in_force = np.full_like(p, np.nan)
        numbers = (self.gain, self.reach, self.regime_share)
        regime = np.where(regime < 0, 1, regime)
        _keep(np.ascontiguousarray(p), regime, rates, shift, alert, in_force, numbers)
        return {"shift": shift}, alert, in_force


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _keep(
    p: Array,
    regime: Ints,
    rates: Array,
    shift: Array,
    alert: Flags,
    in_force: Array,
    numbers: tuple[float, float, float],
) -> None:
    gain, reach, share = numbers
    for i in range(p.shape[0]):
        for t in range(p.shape[1]):
            if np.isnan(p[i, t]):
                continue
            own = 1 + regime[i, t]
            shifted = (1 - share) * shift[i, 0] + share * shift[i, own]
            in_force[i, t] = min(rates[i] * np.exp(shifted), 1.0)
            alert[i, t] = p[i, t] <= in_force[i, t]
            step = gain * (rates[i] - alert[i, t])
            shift[i, 0] = min(max(shift[i, 0] + step, -reach), reach)
            shift[i, own] = min(max(shift[i, own] + step, -reach), reach)
