"""What an instrument did beyond what its market did: the watch list's common move removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from components.carried import State
from components.features.channels import Channelled
from components.features.residual import MarketResidual
from components.panels import Array, CandlePanel


@dataclass(frozen=True)
class MarketRelativeReturn:
    """The log return less beta times the market's, in one bar's size; a fraction, not a z.

    Beta is that of the channel ``residual_z``, which carries it. NaN while stale and where the
    market's return is unknown.
    """

    def start(self, n_series: int) -> State:  # noqa: ARG002 - as every scan
        """Nothing: the channels carry beta."""
        return {}

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; reads ``log_return``."""
        return state, columns["log_return"] - channelled.market_part / np.sqrt(panel.steps)


@dataclass(frozen=True)
class MarketRelativeVolume:
    r"""ln(volume ratio) less beta times the market's volume; a carried scan.

    The market's volume is the median of ln(volume ratio) over the instruments of the calendar,
    an input like its return. Beta is an exponentially weighted regression through the origin
    over the bars before (1 during the first 30), as for returns. NaN while stale, where nothing
    was traded, and where the market's volume is unknown.
    """

    regression: MarketResidual = field(default_factory=MarketResidual)

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return self.regression.start(n_series)

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; reads ``volume_ratio``."""
        ratio = columns["volume_ratio"]
        is_traded = (ratio > 0) & ~channelled.is_stale
        own = np.log(np.where(is_traded, ratio, np.nan))
        state, _, share = self.regression.run(state, own, panel.field("market_volume"))
        return state, own - share
