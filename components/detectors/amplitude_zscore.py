"""The base rule: the distance of close - open from its fenced history."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.detectors.base import ALL_HISTORY, require_bars
from components.panels import Array


@dataclass(frozen=True)
class AmplitudeZScore:
    r"""Distance of close - open from its earlier values inside Tukey's fences.

    .. math:: s_t = |x_t - m| / d

    with mean m and population standard deviation d of those earlier values of the series
    that lie within [Q1 - k (Q3 - Q1), Q3 + k (Q3 - Q1)], quartiles by linear interpolation.
    All history counts alike, so the rule follows the price level: see the model card.

    Parameters
    ----------
    k : float
        Width of the fences in interquartile ranges.
    min_history : int
        Earlier bars before the first score; fewer leave the mean and the spread to chance.

    References
    ----------
    Tukey, J. W. (1977). Exploratory Data Analysis, section 2D.
    """

    k: float = 1.5
    min_history: int = 30

    @property
    def features(self) -> tuple[str, ...]:
        """Close - open in the quote currency."""
        return ("price_amplitude",)

    @property
    def min_bars(self) -> int:
        """The bars before the first score, and the one that gets it."""
        return self.min_history + 1

    def fit(self, panel: Array) -> "FencedHistory":
        """Give the model; the history is read while scoring."""
        require_bars(self, panel)
        return FencedHistory(self.k, self.min_history)


@dataclass(frozen=True)
class FencedHistory:
    """A fitted ``AmplitudeZScore``: every score reads all earlier bars of its series."""

    k: float
    min_history: int
    context: int = ALL_HISTORY

    def score(self, panel: Array) -> Array:
        """Scores in standard deviations; NaN before ``min_history`` bars or without spread."""
        x = np.ascontiguousarray(panel[:, :, 0])
        scores = np.full_like(x, np.nan)
        _score(x, scores, self.k, self.min_history)
        return scores


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _quantile(ordered: Array, n: int, share: float) -> float:
    place = share * (n - 1)
    low = int(place)
    high = min(low + 1, n - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score(x: Array, scores: Array, k: float, min_history: int) -> None:
    ordered = np.empty(x.shape[1])
    for i in range(x.shape[0]):
        n = 0
        for t in range(x.shape[1]):
            value = x[i, t]
            if np.isnan(value):
                continue
            if n >= min_history:
                q1, q3 = _quantile(ordered, n, 0.25), _quantile(ordered, n, 0.75)
                reach = k * (q3 - q1)
                low = np.searchsorted(ordered[:n], q1 - reach, side="left")
                high = np.searchsorted(ordered[:n], q3 + reach, side="right")
                inside = ordered[low:high]
                spread = np.std(inside)
                # Rounding leaves a spread of about 1e-16 of the values in a flat history.
                if spread > 1e-12 * max(np.abs(inside).max(), 1e-300):
                    scores[i, t] = np.abs(value - np.mean(inside)) / spread
            place = np.searchsorted(ordered[:n], value)
            ordered[place + 1 : n + 1] = ordered[place:n].copy()
            ordered[place] = value
            n += 1
