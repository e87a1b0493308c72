"""Features of a bar's force: how far it reached, and the money that did it."""

import numpy as np

from components.features.channels import previous_close
from components.panels import Array, CandlePanel

# A bar on which the price stood still has no logarithm of its reach: it counts as a thousandth
# of a per cent, below any tick.
LEAST_REACH = 1e-5


def log_reach(panel: CandlePanel, previous: Array) -> Array:
    """Logarithm of the true range, ln max(ln(H / L), |ln(H / C')|, |ln(L / C')|).

    The way from the close before is divided by the square root of the steps. NaN without one.
    """
    before, root = previous_close(panel, previous), np.sqrt(panel.steps)
    high, low = panel.field("high"), panel.field("low")
    with np.errstate(divide="ignore", invalid="ignore"):
        way = np.maximum(np.log(high / before), -np.log(low / before)) / root
        reach = np.maximum(np.log(high / low), way)
    return np.log(np.maximum(reach, LEAST_REACH))


def log_money(panel: CandlePanel, _previous: Array) -> Array:
    """Logarithm of close x volume, in the quote currency; NaN where nothing was traded."""
    money = panel.field("close") * panel.field("volume")
    return np.log(np.where(money > 0, money, np.nan))
