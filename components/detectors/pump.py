"""The pump view: a high far above the close before, on a volume far above the usual."""

from dataclasses import dataclass

import numpy as np

from components.detectors.base import require_bars
from components.panels import Array


@dataclass(frozen=True)
class Pump:
    r"""Fisher's sum over the high excursion and the volume.

    .. math:: s_t = -\ln p^{excursion}_t - \ln p^{volume}_t

    Both one-sided: a price pushed up for an hour while the volume swells, whatever the close.

    References
    ----------
    Kamps, J. and Kleinberg, B. (2018). To the moon: defining and detecting cryptocurrency
    pump-and-dumps. Crime Science 7, 18.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """P-values of the high excursion and of the volume."""
        return ("excursion_p", "volume_p")

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> "FisherSum":
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return FisherSum()


@dataclass(frozen=True)
class FisherSum:
    """A fitted ``Pump``."""

    context: int = 0

    def score(self, panel: Array) -> Array:
        """Sums of surprises, in units of ln; NaN where one is missing."""
        score: Array = -np.log(panel).sum(axis=2)
        return score
