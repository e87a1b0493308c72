"""Features held against the volatility that the channels know before the bar."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.carried import State
from components.features.channels import Channelled
from components.panels import Array, CandlePanel


@dataclass(frozen=True)
class SimpleReturn:
    """The simple return over the volatility of log returns; NaN while stale.

    Beside ``return_z``, which is the log return over the same, it says nothing new of small moves.
    """

    def start(self, n_series: int) -> State:  # noqa: ARG002 - as every scan
        """Nothing: the channels carry the volatility."""
        return {}

    def run(
        self,
        state: State,
        panel: CandlePanel,  # noqa: ARG002 - as every scan
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; reads ``return``. Stale bars have no volatility."""
        return state, columns["return"] / channelled.scale
