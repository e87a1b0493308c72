"""How far one feature lies from where it usually is: what the micro and macro views share."""

from dataclasses import dataclass

import numpy as np

from components.panels import Array


@dataclass(frozen=True)
class Distance:
    """The distance of a single feature from 0; with ``is_high`` only what lies above is odd.

    The feature comes in its own unit, or, where there are parameters (``parameters.py``), less
    the centre of its instrument class and interval, over their spread.
    """

    is_high: bool = False
    context: int = 0

    def score(self, panel: Array) -> Array:
        """Scores (n_series, n_bars) of a panel of one feature; NaN where it is missing."""
        score: Array = panel[:, :, 0] if self.is_high else np.abs(panel[:, :, 0])
        return score.copy()
