"""Volatility units: a move divided by the instrument's own recent volatility."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.panels import Array, Ints

# A halted instrument has no spread: dividing by it would turn the first tick after the halt
# into an infinite score, so the scale never falls below one thousandth of a per cent.
LEAST_SCALE = 1e-5


@dataclass(frozen=True)
class VolatilityUnits:
    r"""Signed moves in units of the volatility known before the bar; a carried scan.

    .. math:: z_t = x_t / s_t,\quad s_t^2 = (f_t + g_t) / 2

    where f and g are exponentially weighted variances around zero over the bars before t
    with decay ``fast`` and ``slow``; a value enters them cut at ``cap`` times s, so that one
    crash does not hide the next. The first ``warm_up`` values only fill the variances.

    Parameters
    ----------
    fast, slow : float
        Decay a bar: 0.94 looks back about 16 bars, 0.985 about 66.
    cap : float
        In units of s.
    warm_up : int
        Values before the first z.

    References
    ----------
    J.P. Morgan/Reuters (1996). RiskMetrics Technical Document, 4th ed., section 5.2.
    """

    fast: float = 0.94
    slow: float = 0.985
    cap: float = 5.0
    warm_up: int = 30

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return {
            "fast": np.zeros(n_series),
            "slow": np.zeros(n_series),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, x: Array) -> tuple[State, Array, Array]:
        """Scan ``x`` (n_series, n_bars) and give z and s, both of its shape.

        NaN bars are passed over: they give NaN and change nothing.
        """
        fast, slow = state["fast"].astype(float), state["slow"].astype(float)
        n = state["n"].astype(np.int64)
        z, s = np.full_like(x, np.nan), np.full_like(x, np.nan)
        _scan(np.ascontiguousarray(x), fast, slow, n, z, s, self._numbers, self.warm_up)
        return {"fast": fast, "slow": slow, "n": n}, z, s

    @property
    def _numbers(self) -> tuple[float, float, float, float]:
        return self.fast, self.slow, self.cap, LEAST_SCALE**2


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    fast: Array,
    slow: Array,
    n: Ints,
    z: Array,
    s: Array,
    numbers: tuple[float, float, float, float],
    warm_up: int,
) -> None:
    decay_fast, decay_slow, cap, least = numbers
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            value = x[i, t]
            if np.isnan(value):
                continue
            square = value * value
            if n[i] < warm_up:
                fast[i] = max((fast[i] * n[i] + square) / (n[i] + 1), least)
                slow[i] = fast[i]
            else:
                variance = 0.5 * (fast[i] + slow[i])
                s[i, t] = np.sqrt(variance)
                z[i, t] = value / s[i, t]
                square = min(square, cap * cap * variance)
                fast[i] = max(decay_fast * fast[i] + (1 - decay_fast) * square, least)
                slow[i] = max(decay_slow * slow[i] + (1 - decay_slow) * square, least)
            n[i] += 1
