"""The default: the larger of body and return, in units of the instrument's own volatility."""

from dataclasses import dataclass

import numpy as np

from components.detectors.base import require_bars
from components.panels import Array


@dataclass(frozen=True)
class VolatilityZScore:
    r"""How many of its own usual moves a bar has moved.

    .. math:: s_t = \max(|z^{body}_t|, |z^{return}_t|)

    The features come in volatility units already (``features/scale.py``), known before the
    bar, so this model itself learns nothing. Scores are in those units; they have fat tails,
    and become comparable between instruments only by their rank (``calibration.py``).
    """

    @property
    def features(self) -> tuple[str, ...]:
        """Body and return in volatility units."""
        return ("body_z", "return_z")

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> "LargestMove":
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return LargestMove()


@dataclass(frozen=True)
class LargestMove:
    """A fitted ``VolatilityZScore``."""

    context: int = 0

    def score(self, panel: Array) -> Array:
        """The larger absolute feature of each bar; NaN where one is missing."""
        score: Array = np.abs(panel).max(axis=2)
        return score
