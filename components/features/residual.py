"""The part of a return that the market does not explain."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.features.scale import LEAST_SCALE
from components.panels import Array, Ints


@dataclass(frozen=True)
class MarketResidual:
    r"""What is left of a log return after the market's share, in units of its own volatility.

    .. math:: e_t = r_t - \beta_t m_t

    with beta an exponentially weighted regression through the origin over the bars before t
    (1 during the first 30), and e divided by a scale made as in ``VolatilityUnits``. A
    carried scan; a bar without a market return gives NaN and changes nothing.

    Parameters
    ----------
    memory : float
        Decay of beta a bar: 0.98 looks back about 50 bars.
    warm_up : int
        Bars before the first z.
    """

    memory: float = 0.98
    fast: float = 0.94
    slow: float = 0.985
    cap: float = 5.0
    warm_up: int = 60

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        zeros = {name: np.zeros(n_series) for name in ("xy", "fast", "slow")}
        # A little market variance to begin with: the first quotient is never 0 / 0.
        return {**zeros, "xx": np.full(n_series, 1e-8), "n": np.zeros(n_series, dtype=np.int64)}

    def run(self, state: State, r: Array, market: Array) -> tuple[State, Array, Array]:
        """Scan log returns and the market's, (n_series, n_bars); give z and beta m."""
        after = {name: state[name].astype(float) for name in ("xy", "xx", "fast", "slow")}
        n = state["n"].astype(np.int64)
        z, share = np.full_like(r, np.nan), np.full_like(r, np.nan)
        sums = (after["xy"], after["xx"], after["fast"], after["slow"])
        numbers = (self.memory, self.fast, self.slow, self.cap, LEAST_SCALE**2)
        market = np.ascontiguousarray(market)
        _scan(np.ascontiguousarray(r), market, sums, n, z, share, numbers, self.warm_up)
        return {**after, "n": n}, z, share


# Bars before the regression is believed.
_REGRESSED = 30


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    r: Array,
    market: Array,
    sums: tuple[Array, Array, Array, Array],
    n: Ints,
    z: Array,
    share: Array,
    numbers: tuple[float, float, float, float, float],
    warm_up: int,
) -> None:
    xy, xx, fast, slow = sums
    memory, decay_fast, decay_slow, cap, least = numbers
    for i in range(r.shape[0]):
        for t in range(r.shape[1]):
            if np.isnan(r[i, t]) or np.isnan(market[i, t]):
                continue
            beta = xy[i] / xx[i] if n[i] >= _REGRESSED else 1.0
            share[i, t] = beta * market[i, t]
            rest = r[i, t] - share[i, t]
            square = rest * rest
            if n[i] < warm_up:
                fast[i] = max((fast[i] * n[i] + square) / (n[i] + 1), least)
                slow[i] = fast[i]
            else:
                variance = 0.5 * (fast[i] + slow[i])
                z[i, t] = rest / np.sqrt(variance)
                square = min(square, cap * cap * variance)
                fast[i] = max(decay_fast * fast[i] + (1 - decay_fast) * square, least)
                slow[i] = max(decay_slow * slow[i] + (1 - decay_slow) * square, least)
            xy[i] = memory * xy[i] + (1 - memory) * r[i, t] * market[i, t]
            xx[i] = memory * xx[i] + (1 - memory) * market[i, t] * market[i, t]
            n[i] += 1
