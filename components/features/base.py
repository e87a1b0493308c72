"""What a feature is: one causal column made from bars."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from components.carried import State
from components.features.channels import Channelled
from components.panels import Array, CandlePanel

# A local feature takes the panel and the close before its first bar, shape (n_series,), and
# gives one value a bar, shape (n_series, n_bars).
OfBars = Callable[[CandlePanel, Array], Array]


class Scan(Protocol):
    """A carried feature: a scan over bars, their channels and the local features it names."""

    def start(self, n_series: int) -> State:
        """The state before the first bar."""

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; give one value a bar, (n_series, n_bars)."""


@dataclass(frozen=True)
class Feature:
    """One column of the registry.

    Parameters
    ----------
    formula : str
        In words of the bar: O, H, L, C, V of the bar; C' the close before with splits undone; k
        the expected bars since the bar before, 1 unless some are missing.
    unit : str
        "fraction", "log" (of a ratio), "log share" (of a fraction), "ratio", "z" (units of the
        instrument's own past), "money" or "log money".
    context : int
        Of a local feature: how many earlier bars a value depends on, and no other. Of a carried
        one, which remembers for ever: how many bars pass before its first value at the earliest.
    made : callable, scan or None
        What computes it; None where the channels hold it.
    needs : tuple of str
        Local features that a scan reads.
    is_scale_free : bool
        False where the value is in the price's unit: not for training.
    """

    formula: str
    unit: str
    context: int
    made: OfBars | Scan | None = None
    needs: tuple[str, ...] = ()
    is_scale_free: bool = True

    @property
    def kind(self) -> Literal["local", "carried"]:
        """Whether a value depends on its context alone, or on all bars before."""
        return "local" if callable(self.made) else "carried"

    @property
    def reads_tail(self) -> bool:
        """Whether earlier bars are read, beyond the close before."""
        return self.kind == "local" and self.context > 1
