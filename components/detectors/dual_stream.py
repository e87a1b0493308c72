"""A peer's candle rule: historical mean and deviation, two votes of three; a baseline."""

from dataclasses import dataclass

import numpy as np

from components.detectors.base import ALL_HISTORY, require_bars
from components.panels import Array

# Rounding leaves a spread of about 1e-16 in a flat history.
LEAST_SPREAD = 1e-12


@dataclass(frozen=True)
class DualStream:
    r"""The second largest of three distances from the instrument's history.

    .. math:: s_t = \text{second largest of } |x_{tj} - m_{tj}| / d_{tj}

    over return, log return and (high - low) / low, with the mean m and the population
    deviation d of all earlier bars. More than 3 means that two of the three voted, which is
    how the system that this rule comes from alerts. Its first two votes are nearly the same
    number, so that it is a rule about returns.

    That system also watches windows of one hour of minute bars (deviation above twice the
    usual one, range above 1.5 %, volume two deviations above its mean). An hour holds no more
    than one daily bar, so on daily bars that half of it is silent.

    Parameters
    ----------
    min_history : int
        Earlier bars before the first score.
    """

    min_history: int = 30

    @property
    def features(self) -> tuple[str, ...]:
        """Return, log return, and range over low."""
        return ("return", "log_return", "low_range")

    @property
    def min_bars(self) -> int:
        """The bars before the first score, and the one that gets it."""
        return self.min_history + 1

    def fit(self, panel: Array) -> "HistoricalDistances":
        """Give the model; the history is read while scoring."""
        require_bars(self, panel)
        return HistoricalDistances(self.min_history)


@dataclass(frozen=True)
class HistoricalDistances:
    """A fitted ``DualStream``: every score reads all earlier bars of its series."""

    min_history: int
    context: int = ALL_HISTORY

    def score(self, panel: Array) -> Array:
        """Scores in standard deviations; NaN before ``min_history`` whole bars."""
        whole = np.asarray(~np.isnan(panel).any(axis=2, keepdims=True))
        x = np.where(whole, panel, 0.0)
        n = _before(whole.astype(float))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = _before(x) / n
            variance = _before(x * x) / n - mean**2
            spread = np.sqrt(np.maximum(variance, 0.0))
            distance = np.abs(panel - mean) / np.maximum(spread, LEAST_SPREAD)
        second: Array = np.sort(distance, axis=2)[:, :, -2]
        second[(n < self.min_history)[:, :, 0] | ~whole[:, :, 0]] = np.nan
        return second


def _before(values: Array) -> Array:
    """The sum over all earlier bars; running sums make it causal to the last bit."""
    sums = np.cumsum(values, axis=1)
    return np.concatenate([np.zeros_like(sums[:, :1]), sums[:, :-1]], axis=1)
