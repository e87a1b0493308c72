"""Features that compare a bar with the bars just before it."""

import numpy as np
from numba import njit

from components.features.price import log_return, volatility
from components.panels import Array, CandlePanel

# Earlier bars that a bar is compared with.
WINDOW = 10


def volume_ratio(panel: CandlePanel, _previous_close: Array) -> Array:
    """Volume / mean volume of the 10 earlier bars, in the shares of the bar; a ratio.

    NaN where one of the eleven volumes is missing or the ten are all 0.
    """
    volume = np.ascontiguousarray(panel.field("volume"))
    return _ratio(volume, _earlier_mean(volume, np.ascontiguousarray(panel.field("split")), WINDOW))


def volatility_ratio(panel: CandlePanel, previous_close: Array) -> Array:
    """Volatility / mean volatility of the 10 earlier bars; NaN where these had no range."""
    own = np.ascontiguousarray(volatility(panel, previous_close))
    return _ratio(own, _earlier_mean(own, np.ones_like(own), WINDOW))


def return_std(panel: CandlePanel, previous_close: Array) -> Array:
    """Standard deviation of the 10 earlier log returns (divisor 10), the bar's own left out."""
    return _earlier_std(np.ascontiguousarray(log_return(panel, previous_close)), WINDOW)


def vwap_distance(panel: CandlePanel, _previous_close: Array) -> Array:
    """ln(close / volume-weighted mean price of the bar and the 9 earlier ones), splits undone.

    A bar's price is its own vwap where the source gives one within the bar, else the typical
    price (high + low + close) / 3. NaN where a volume is missing or nothing was traded.
    """
    high, low, close, own = (panel.field(name) for name in ("high", "low", "close", "vwap"))
    with np.errstate(invalid="ignore"):
        is_given = (low <= own) & (own <= high)
    price = np.where(is_given, own, (high + low + close) / 3)
    volume, split = (np.ascontiguousarray(panel.field(name)) for name in ("volume", "split"))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.log(close / _mean_price(price, volume, split, WINDOW))
    return np.where(np.isfinite(distance), distance, np.nan)


def _ratio(values: Array, means: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(means > 0, values / means, np.nan)


# Each window is summed anew: a running sum would depend on where it began, in its last bits.


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _earlier_mean(x: Array, new_per_old: Array, window: int) -> Array:
    means = np.full(x.shape, np.nan)
    for i in range(x.shape[0]):
        for t in range(window, x.shape[1]):
            total, shares = 0.0, 1.0
            for j in range(t - 1, t - window - 1, -1):
                shares *= new_per_old[i, j + 1]
                total += x[i, j] * shares
            means[i, t] = total / window
    return means


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _earlier_std(x: Array, window: int) -> Array:
    spread = np.full(x.shape, np.nan)
    for i in range(x.shape[0]):
        for t in range(window, x.shape[1]):
            mean = 0.0
            for j in range(t - window, t):
                mean += x[i, j]
            mean /= window
            square = 0.0
            for j in range(t - window, t):
                square += (x[i, j] - mean) ** 2
            spread[i, t] = np.sqrt(square / window)
    return spread


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _mean_price(price: Array, volume: Array, split: Array, window: int) -> Array:
    means = np.full(price.shape, np.nan)
    for i in range(price.shape[0]):
        for t in range(window - 1, price.shape[1]):
            paid, traded, shares = 0.0, 0.0, 1.0
            for j in range(t, t - window, -1):
                # Money is the same in old shares and new ones.
                paid += price[i, j] * volume[i, j]
                traded += volume[i, j] * shares
                shares *= split[i, j]
            if traded > 0:
                means[i, t] = paid / traded
    return means
