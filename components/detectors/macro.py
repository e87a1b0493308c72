"""Macro views: the last 60 bars together, moving by one."""

from dataclasses import dataclass

from components.detectors.base import require_bars
from components.detectors.distance import Distance
from components.panels import Array


@dataclass(frozen=True)
class Macro:
    r"""How far 60 bars lie above the level that was usual before them, in one respect.

    .. math:: s_t = (x_t - c) / d

    with x the logarithm of a ratio (standard deviation of returns, largest bar range, or mean
    volume, each over its level before the 60 bars: ``features/macro.py``), and c, d the centre
    and spread of the instrument class at that interval (``parameters.py``; 0 and 1 where there
    are none). A quiet hour is not odd.

    Parameters
    ----------
    feature : str
        From the registry of features.
    """

    feature: str

    @property
    def features(self) -> tuple[str, ...]:
        """The one."""
        return (self.feature,)

    @property
    def min_bars(self) -> int:
        """One bar is enough: what the window needs, the feature waits for."""
        return 1

    def fit(self, panel: Array) -> Distance:
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return Distance(is_high=True)
