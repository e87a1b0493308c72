"""From a score to a p-value, and from a stated budget to a kept alarm rate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit, vectorize

from components.carried import State
from components.panels import Array, Flags, Ints


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

    def run(self, state: State, scores: Array) -> tuple[State, Array, Ints]:
        """P-values and the number of past scores behind each, of the shape of ``scores``."""


@dataclass(frozen=True)
class RankCalibration:
    r"""Rank of a score among the instrument's own last ``window`` scores; a carried scan.

    .. math:: p_t = (1 + \#\{i < t: s_i \ge s_t\}) / (n + 1)

    A p-value of 0.01 means: one past bar in a hundred was at least as odd, for a stablecoin
    as for a meme stock. NaN before ``min_reference`` scores; never 0, at least 1 / (n + 1).

    References
    ----------
    Laxhammar, R. and Falkman, G. (2010). Conformal prediction for distribution-independent
    anomaly detection in streaming vessel data. StreamKDD.
    """

    window: int = 1000
    min_reference: int = 250
    threshold: float | None = None

    def start(self, n_series: int) -> State:
        """Empty buffers."""
        return {
            "buffer": np.full((n_series, self.window), np.nan),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, scores: Array) -> tuple[State, Array, Ints]:
        """Scan scores (n_series, n_bars); a NaN score gives NaN and enters no buffer."""
        buffer, n = state["buffer"].astype(float), state["n"].astype(np.int64)
        p = np.full_like(scores, np.nan)
        n_reference = np.zeros(scores.shape, dtype=np.int64)
        _ranks(np.ascontiguousarray(scores), buffer, n, p, n_reference, self.min_reference)
        return {"buffer": buffer, "n": n}, p, n_reference


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _ranks(
    scores: Array, buffer: Array, n: Ints, p: Array, n_reference: Ints, min_reference: int
) -> None:
    window = buffer.shape[1]
    for i in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            held = min(n[i], window)
            n_reference[i, t] = held
            score = scores[i, t]
            if np.isnan(score):
                continue
            if held >= min_reference:
                at_least = 0
                for j in range(held):
                    at_least += buffer[i, j] >= score
                p[i, t] = (1 + at_least) / (held + 1)
            buffer[i, n[i] % window] = score
            n[i] += 1


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

    def run(self, state: State, scores: Array) -> tuple[State, Array, Ints]:
        """P-values under the normal distribution."""
        seen = ~np.isnan(scores)
        before = state["n"].astype(np.int64)[:, None] + np.cumsum(seen, axis=1) - seen
        p = np.maximum(two_sided(scores), np.nextafter(0, 1))
        return {"n": state["n"] + seen.sum(axis=1)}, p, before.astype(np.int64)


# Baselines with a decision rule of their own; every other detector is ranked.
OWN_RULES: Mapping[str, Calibration] = {"amplitude_zscore": NormalRule()}


def calibration_of(detector: str) -> Calibration:
    """How the scores of ``detector`` become p-values."""
    return OWN_RULES.get(detector, RankCalibration())


@dataclass(frozen=True)
class KeptRate:
    r"""Holds the share of bars that alert at the stated rate; a carried scan.

    .. math:: \ln\alpha_{t+1} = \ln\alpha_t + g\,(\alpha - alert_t)

    clamped to ``reach`` around ln alpha; a bar alerts when p <= alpha_t. It is a rate, not a
    quota: a quiet month may be silent.

    Parameters
    ----------
    gain : float
        g. Larger keeps the rate closer, and mutes longer after an alert.

    References
    ----------
    Gibbs, I. and Candes, E. (2021). Adaptive conformal inference under distribution shift.
    NeurIPS 34.
    """

    gain: float = 0.2
    reach: float = 3.0

    def start(self, n_series: int) -> State:
        """No correction yet."""
        return {"shift": np.zeros(n_series)}

    def run(self, state: State, p: Array, rates: Array) -> tuple[State, Flags, Array]:
        """Alert flags and the rate in force at each bar, both of the shape of ``p``.

        ``rates`` (n_series,) is the stated share of bars. A NaN p changes nothing.
        """
        shift = state["shift"].astype(float)
        alert = np.zeros(p.shape, dtype=np.bool_)
        in_force = np.full_like(p, np.nan)
        _keep(np.ascontiguousarray(p), rates, shift, alert, in_force, self.gain, self.reach)
        return {"shift": shift}, alert, in_force


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _keep(
    p: Array, rates: Array, shift: Array, alert: Flags, in_force: Array, gain: float, reach: float
) -> None:
    for i in range(p.shape[0]):
        for t in range(p.shape[1]):
            if np.isnan(p[i, t]):
                continue
            in_force[i, t] = rates[i] * np.exp(shift[i])
            alert[i, t] = p[i, t] <= in_force[i, t]
            moved = shift[i] + gain * (rates[i] - alert[i, t])
            shift[i] = min(max(moved, -reach), reach)
