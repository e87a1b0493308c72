"""The surge view: a long way in price within one bar, on much money."""

from dataclasses import dataclass

from components.detectors.base import require_bars
from components.panels import Array


@dataclass(frozen=True)
class Surge:
    r"""The logarithm of a bar's reach in price times the money that was traded in it.

    .. math:: s_t = \ln reach_t + \ln money_t

    Nothing is divided by a recent volatility or volume: within the hour before a pump both are
    next to nothing, and any trade would look as odd as the pump. What is usual for the instrument
    its reference says, which reaches back a week (``HeavyTail``). A price that jumps on a few
    coins' worth and a volume that leaves the price alone are both not one.

    References
    ----------
    Kamps, J. and Kleinberg, B. (2018). To the moon: defining and detecting cryptocurrency
    pump-and-dumps. Crime Science 7, 18.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """Logarithms of the reach and of the money."""
        return ("log_reach", "log_money")

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> "Sum":
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return Sum()


@dataclass(frozen=True)
class Sum:
    """A fitted ``Surge``."""

    context: int = 0

    def score(self, panel: Array) -> Array:
        """Sums of logarithms; NaN where one is missing."""
        score: Array = panel.sum(axis=2)
        return score
