"""Columns: the features asked for, of a panel that goes on where the last one ended."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.carried import State, named, scoped
from components.errors import UnknownName
from components.features import FEATURES, VECTORS
from components.features.channels import Channelled, vectors
from components.panels import FIELDS, Array, CandlePanel

# What the market did is never looked back on by a local feature.
TAIL_FIELDS = tuple(name for name in FIELDS if name not in ("market", "market_volume"))

NEVER, WHENEVER = np.datetime64("NaT", "us"), np.datetime64(0, "us")


@dataclass(frozen=True)
class Columns:
    """Features by name; a carried scan.

    Local features with a context read the last bars before the panel, which are carried; carried
    ones carry what they remember. Names that need neither leave the state empty.

    Parameters
    ----------
    names : tuple of str
        From the registry.

    Raises
    ------
    UnknownName
        No feature is called so.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in FEATURES]
        if unknown:
            raise UnknownName("feature", unknown[0], list(FEATURES))

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        shape = n_series, self._tail
        state = named({f: np.full(shape, np.nan) for f in TAIL_FIELDS if self._tail}, "tail")
        for name in self._scans:
            state = {**state, **named(FEATURES[name].made.start(n_series), name)}  # type: ignore[union-attr]
        return state

    def run(
        self, state: State, panel: CandlePanel, close: Array, channelled: Channelled
    ) -> tuple[State, dict[str, Array]]:
        """Compute a panel's columns, (n_series, n_bars) by name.

        Parameters
        ----------
        state : State
            Behind the bars before the panel.
        panel : CandlePanel
            New bars.
        close : Array
            The close before the panel's first bar, (n_series,); NaN where there is none.
        channelled : Channelled
            What ``Channels().run`` gave for the same panel.
        """
        after = dict(state)
        columns = {}
        longer = _behind(scoped(state, "tail"), panel) if self._tail else panel
        unknown = np.full(len(close), np.nan)
        for name in self._locals:
            feature = FEATURES[name]
            if feature.reads_tail:
                columns[name] = feature.made(longer, unknown)[:, self._tail :]  # type: ignore[operator, misc]
            else:
                columns[name] = feature.made(panel, close)  # type: ignore[operator, misc]
        for name in self._scans:
            scan = FEATURES[name].made
            own, columns[name] = scan.run(scoped(state, name), panel, channelled, columns)  # type: ignore[union-attr]
            after.update(named(own, name))
        if self._tail:
            last = slice(longer.ts.shape[1] - self._tail, None)
            after.update(named({f: longer.field(f)[:, last].copy() for f in TAIL_FIELDS}, "tail"))
        columns.update(channelled.columns)
        if not set(VECTORS).isdisjoint(self.names):
            bent = vectors(channelled.columns, panel.steps > 1)
            columns.update({name: bent[:, :, j] for j, name in enumerate(VECTORS)})
        return after, {name: columns[name] for name in self.names}

    @cached_property
    def _locals(self) -> tuple[str, ...]:
        wanted = {n for name in self.names for n in (name, *FEATURES[name].needs)}
        return tuple(name for name in FEATURES if name in wanted and FEATURES[name].kind == "local")

    @cached_property
    def _scans(self) -> tuple[str, ...]:
        carried = (name for name in self.names if FEATURES[name].kind == "carried")
        return tuple(name for name in carried if FEATURES[name].made is not None)

    @cached_property
    def _tail(self) -> int:
        """Bars carried: the longest context of a local feature that looks back."""
        contexts = (FEATURES[name] for name in self._locals)
        return max((each.context for each in contexts if each.reads_tail), default=0)


def _behind(tail: State, panel: CandlePanel) -> CandlePanel:
    """The panel with the carried bars just before each instrument's first one."""
    width = tail["close"].shape[1]
    n_series, n_bars = panel.ts.shape
    fields = np.full((n_series, width + n_bars, len(FIELDS)), np.nan)
    fields[:, width:] = panel.fields
    ts = np.full((n_series, width + n_bars), NEVER)
    ts[:, width:] = panel.ts
    first = n_bars - panel.is_bar.sum(axis=1)
    series, bars = np.arange(n_series)[:, None], first[:, None] + np.arange(width)
    for name, carried in tail.items():
        fields[series, bars, FIELDS.index(name)] = carried
    # When these bars were does not matter, only that they are bars.
    ts[series, bars] = np.where(np.isnan(tail["close"]), NEVER, WHENEVER)
    return CandlePanel(panel.symbols, ts, fields, panel.round_the_clock)
