"""The market view: how improbable all channels of a bar are together."""

from dataclasses import dataclass

import numpy as np

from components.detectors.base import require_bars
from components.panels import Array

# Only channels at least this improbable speak; the many usual ones would drown them.
TRUNCATION = 0.1


@dataclass(frozen=True)
class Market:
    r"""Truncated Fisher sum over the channels' p-values.

    .. math:: s_t = \sum_c \max(-\ln(p_{tc} / 0.1), 0)

    A channel that the instrument lacks (a gap where trading never stops, the volume of an
    index) is left out.

    References
    ----------
    Zaykin, D. V. et al. (2002). Truncated product method for combining P-values.
    Genetic Epidemiology 22(2), 170-185.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """P-values of the channels."""
        return ("return_p", "gap_p", "body_p", "residual_p", "range_p", "volume_p")

    @property
    def min_bars(self) -> int:
        """One bar is enough: nothing is learned."""
        return 1

    def fit(self, panel: Array) -> "TruncatedFisher":
        """Give the model; there is nothing to learn."""
        require_bars(self, panel)
        return TruncatedFisher()


@dataclass(frozen=True)
class TruncatedFisher:
    """A fitted ``Market``."""

    context: int = 0

    def score(self, panel: Array) -> Array:
        """Sums of surprises, in units of ln; NaN where no channel has a p-value."""
        with np.errstate(divide="ignore"):
            surprise = np.maximum(-np.log(panel / TRUNCATION), 0)
        score: Array = np.nansum(surprise, axis=2)
        return np.where(np.isnan(panel).all(axis=2), np.nan, score)
