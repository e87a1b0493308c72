"""Micro views: one closed candle by itself, against the instrument's own volatility."""

from dataclasses import dataclass

from components.detectors.base import require_bars
from components.detectors.distance import Distance
from components.panels import Array


@dataclass(frozen=True)
class Micro:
    r"""How many of its own usual sizes a candle has, in one respect.

    .. math:: s_t = |x_t - c| / d

    with x a z-score known to the bar (return, log return, body; of the range the signed one:
    only a wide bar is odd), and c, d the centre and spread of its instrument class at that
    interval (``parameters.py``; 0 and 1 where there are none). Return and log return are one
    number but for large moves: the poll measures that, and gives them one vote (``consensus.py``).

    Parameters
    ----------
    feature : str
        From the registry of features.
    is_high : bool
        Whether only a high value is odd.
    """

    feature: str
    is_high: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The one."""
        return (self.feature,)

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> Distance:
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return Distance(self.is_high)
