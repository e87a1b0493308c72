"""The swing view: how far the price went within the last hour."""

from dataclasses import dataclass

from components.detectors.base import require_bars
from components.panels import Array


@dataclass(frozen=True)
class Swing:
    r"""The logarithm of the reach of the closes of the last 60 bars.

    .. math:: s_t = \ln\left(\max \ln C - \min \ln C\right)

    A crash of hours is no odd minute: volatility grows with it, and each minute is about as wild
    as those just before. Against other hours it stands out. What is usual for the instrument its
    reference says, by hours and not by minutes (``Onset``).
    """

    @property
    def features(self) -> tuple[str, ...]:
        """The logarithm of the reach."""
        return ("macro_reach",)

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> "Reach":
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return Reach()


@dataclass(frozen=True)
class Reach:
    """A fitted ``Swing``."""

    context: int = 0

    def score(self, panel: Array) -> Array:
        """The feature itself."""
        return panel[:, :, 0].copy()
