"""All features of the registry at once, from candles alone."""

from components.carried import State, named, scoped
from components.features import FEATURES
from components.features.channels import Channels
from components.features.columns import Columns
from components.panels import Array, CandlePanel


class AllFeatures:
    """The channels and, beside them, every column; a carried scan."""

    def __init__(self) -> None:
        self._channels, self._columns = Channels(), Columns(tuple(FEATURES))

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        channels, columns = self._channels.start(n_series), self._columns.start(n_series)
        return {**named(channels, "channels"), **named(columns, "columns")}

    def run(self, state: State, panel: CandlePanel) -> tuple[State, dict[str, Array]]:
        """Scan a panel; give each feature by its name, (n_series, n_bars)."""
        before, own = scoped(state, "channels"), scoped(state, "columns")
        channels, channelled = self._channels.run(before, panel)
        columns, found = self._columns.run(own, panel, before["close"].astype(float), channelled)
        return {**named(channels, "channels"), **named(columns, "columns")}, found
