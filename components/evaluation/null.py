"""A market without anomalies: the rate that a method realises on it is that of false alarms."""

import numpy as np
import pandas as pd
from numba import njit

from components.panels import Array

# Daily volatility in three regimes (one calm year is about 11 % annual), each of which lasts
# 250 bars on average.
REGIMES = (0.007, 0.014, 0.028)
LEAVES = 1 / 250

# GJR-GARCH(1, 1): persistence 0.03 + 0.08 / 2 + 0.91 = 0.98, fat-tailed innovations.
SHOCK, LEVERAGE, MEMORY = 0.03, 0.08, 0.91
FREEDOM = 5

# The price rises or falls by this factor from the first bar to the last.
DRIFT = 20.0

# Bars let go before the first, so that the variance has forgotten its start.
BURN_IN = 500

# Steps within a bar: enough for a plausible high and low.
STEPS = 16


def quiet_market(n_series: int = 40, n_bars: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Candles of instruments whose every move is drawn from one unchanging law.

    Returns follow a GJR-GARCH process with Student-t innovations, whose level of variance
    moves between three regimes; the price drifts twenty-fold, up for every other instrument.

    Returns
    -------
    DataFrame
        symbol (``NULL000`` ...), ts (weekdays), open, high, low, close, volume, split.

    References
    ----------
    Glosten, L. R., Jagannathan, R. and Runkle, D. E. (1993). On the relation between the
    expected value and the volatility of the nominal excess return on stocks. Journal of
    Finance 48(5), 1779-1801.
    """
    ts = pd.date_range("2005-01-03", periods=n_bars, freq="B", tz="UTC").as_unit("us")
    parts = [_instrument(series, ts, seed) for series in range(n_series)]
    return pd.concat(parts, ignore_index=True)


def _instrument(series: int, ts: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    random = np.random.default_rng([seed, 3, series])
    n = len(ts) + BURN_IN
    # A t law of 5 degrees of freedom has the variance 5 / 3.
    shocks = random.standard_t(FREEDOM, n) / np.sqrt(FREEDOM / (FREEDOM - 2))
    moves, sigma = _garch(shocks, _regime(random, n))
    moves, sigma = moves[BURN_IN:], sigma[BURN_IN:]
    drift = np.log(DRIFT) / len(ts) * (1 if series % 2 == 0 else -1)
    # The sum of the moves is taken out, so that the price ends where the drift leads.
    close = 100 * np.exp(np.cumsum(moves - moves.mean() + drift))
    open_, high, low = _within(random, close, sigma)
    usual = random.normal(0, 0.25, len(ts)) + 0.15 * np.log1p(np.abs(moves) / sigma)
    volume = 1e6 * np.exp(_smooth(random, len(ts)) + usual)
    return pd.DataFrame(
        {
            "symbol": f"NULL{series:03}",
            "ts": ts,
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume.round(),
            "split": 1.0,
        }
    )


def _regime(random: np.random.Generator, n: int) -> Array:
    changes = random.random(n) < LEAVES
    drawn = random.integers(len(REGIMES), size=int(changes.sum()) + 1)
    volatility: Array = np.array(REGIMES)[drawn[np.cumsum(changes)]]
    return volatility


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _garch(shocks: Array, level: Array) -> tuple[Array, Array]:
    moves, sigma = np.empty_like(shocks), np.empty_like(shocks)
    variance = level[0] ** 2
    for t in range(len(shocks)):
        sigma[t] = np.sqrt(variance)
        moves[t] = sigma[t] * shocks[t]
        share = SHOCK + (LEVERAGE if moves[t] < 0 else 0.0)
        persistence = SHOCK + LEVERAGE / 2 + MEMORY
        variance = (1 - persistence) * level[t] ** 2 + share * moves[t] ** 2 + MEMORY * variance
    return moves, sigma


def _smooth(random: np.random.Generator, n: int) -> Array:
    """A slow swing of the logarithm of volume: an AR(1) with a memory of about 50 bars."""
    return _carried(random.normal(0, 0.06, n), 0.98)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _carried(noise: Array, memory: float) -> Array:
    out = np.empty_like(noise)
    level = 0.0
    for t in range(len(noise)):
        level = memory * level + noise[t]
        out[t] = level
    return out


def _within(random: np.random.Generator, close: Array, sigma: Array) -> tuple[Array, Array, Array]:
    """Open, high and low: a bridge from the open to the close, a third of the way overnight."""
    n = len(close)
    gap = random.normal(0, 0.4, n) * sigma
    open_ = np.append(close[0], close[:-1]) * np.exp(gap)
    walk = np.cumsum(random.normal(0, 1, (n, STEPS)), axis=1) / np.sqrt(STEPS)
    share = np.arange(1, STEPS + 1) / STEPS
    bridge = (walk - walk[:, -1:] * share) * sigma[:, None]
    path = np.log(open_)[:, None] + share * np.log(close / open_)[:, None] + bridge
    high = np.maximum(np.maximum(open_, close), np.exp(path.max(axis=1)))
    low = np.minimum(np.minimum(open_, close), np.exp(path.min(axis=1)))
    return open_, high, low
