"""What every forecaster can do: the next bin, and the ones behind it, from what came before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from components.carried import State
from components.panels import Array, Flags, Ints

# What fitted forecasters tell of a bin, and how narrow a side of it may be, in spreads.
QUANTILES = (0.05, 0.5, 0.95)
LEAST_SIDE = 0.05


@dataclass(frozen=True)
class BinPanel:
    """Values of some series in the same bins of the operator's clock, oldest first.

    Parameters
    ----------
    value : float64 (n_series, n_bins)
        Sums or counts; NaN where a series has no value (it had not begun, or it is missing).
    day_slot, week_slot : int64 (n_bins,)
        Which bin of the operator's day, and of his week (Monday's first is 0), each bin is.
    length : float64 (n_bins,)
        How long each bin lasts, in usual bins; other than 1 when the clocks change alone.
    is_holiday : bool (n_bins,)
        Bins of days on which nobody works.
    n_day : int
        Bins of a usual day.
    """

    value: Array
    day_slot: Ints
    week_slot: Ints
    length: Array
    is_holiday: Flags
    n_day: int

    @property
    def n_series(self) -> int:
        """How many series there are."""
        return int(self.value.shape[0])

    @property
    def n_bins(self) -> int:
        """How many bins there are."""
        return int(self.value.shape[1])

    def bins(self, at: slice) -> "BinPanel":
        """Some adjacent bins of all series."""
        return BinPanel(
            self.value[:, at],
            self.day_slot[at],
            self.week_slot[at],
            self.length[at],
            self.is_holiday[at],
            self.n_day,
        )

    def series(self, at: npt.NDArray[np.intp] | slice) -> "BinPanel":
        """Some series over all bins."""
        return BinPanel(
            self.value[at],
            self.day_slot,
            self.week_slot,
            self.length,
            self.is_holiday,
            self.n_day,
        )


@dataclass(frozen=True)
class Forecast:
    """Where values are expected, and how far they usually lie below and above; in x's unit.

    All of shape (n_series, n_bins), NaN where nothing can be said yet. What is told of a bin
    comes from the bins before it alone. The spreads are positive; only their ratio from bin to
    bin matters, as they are multiplied by what kept the stated coverage so far.
    """

    middle: Array
    below: Array
    above: Array


class Forecaster(Protocol):
    """A carried scan over transformed values; frozen, without randomness and side effects.

    Laws, tested over every registered one: causal; any split into pieces gives the same bits;
    deterministic; the input is not changed; a NaN changes nothing; multiplying a series by a
    number multiplies its forecast; panels equal their series one by one.
    """

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...

    def start(self, n_series: int, n_day: int) -> State:
        """The state before the first bin."""
        ...

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin of a panel from the bins before it, and take it in.

        Parameters
        ----------
        x : float64 (n_series, n_bins)
            The panel's values, transformed; NaN where there is none.
        is_open : bool (n_series, n_bins)
            Whether payments are expected; what others hold is not learned from.
        """
        ...

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """Forecast the bins that come next, all from ``state``; ``coming`` holds no values."""
        ...


class Fitted(Forecaster, Protocol):
    """A forecaster that a recipe fitted."""

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What it learned, as plain arrays."""
        ...


class Trainable(Protocol):
    """A recipe of a forecaster that learns from a panel before it forecasts."""

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...

    def fit(self, panel: BinPanel, x: Array, is_open: Flags) -> Fitted:
        """Learn from a panel.

        Raises
        ------
        NotEnoughBars
            When no series is long enough.
        """
        ...

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Fitted:
        """The fitted forecaster with these numbers, as its ``arrays`` gave them.

        Raises
        ------
        ValueError
            Numbers that do not fit each other.
        """
        ...
