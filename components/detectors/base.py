"""What a detector is, and the laws that every registered one obeys.

A detector is a recipe; ``fit`` learns from a panel and gives a model; a model scores bars.
The panel is float64 (n_series, n_bars, n_features), oldest bar first, NaN where there is no
bar. No detector crosses from one series into the next, and none holds a threshold.

1. One score per bar, finite or NaN; higher is odder.
2. NaN exactly where the bar or its context misses a feature.
3. Causal: later bars change no score.
4. Local: the last ``context + 1`` bars give the batch's score.
5. Deterministic and pure: the same after pickling; the input is never changed.
6. A planted spike ranks first.
7. Too few bars raises ``NotEnoughBars`` with both numbers.
8. Different bars get different scores.
9. Scoring a panel equals scoring its series one by one.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from components.errors import NotEnoughBars
from components.panels import Array

# The context of a model whose rule reads all of a series' history.
ALL_HISTORY = 2**31

# The channel vector of a bar: sign(z) ln(1 + |z|) of each channel.
VECTOR_FEATURES = (
    "return_vector",
    "gap_vector",
    "body_vector",
    "residual_vector",
    "range_vector",
    "volume_vector",
)


class Model(Protocol):
    """What one fit learned; frozen and picklable."""

    @property
    def context(self) -> int:
        """Earlier bars needed to score one bar."""

    def score(self, panel: Array) -> Array:
        """Scores (n_series, n_bars) of a panel; higher is odder, NaN where it cannot tell."""


class Detector(Protocol):
    """Hyper-parameters only; frozen."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features of the panel, in order."""

    @property
    def min_bars(self) -> int:
        """The least number of bars of the longest series that ``fit`` accepts."""

    def fit(self, panel: Array) -> Model:
        """Learn from a panel; ``NotEnoughBars`` when it is too short."""


class OwnHistoryModel(Model, Protocol):
    """A model that can be written down as numbers."""

    @property
    def parameters(self) -> Array:
        """All that was learned, shape (n_parameters,)."""


@runtime_checkable
class OwnHistoryDetector(Protocol):
    """A detector that learns from each instrument's own past, and learns anew once a year.

    Its features are the channel vector, its models have context 0. ``refitted.py`` fits them.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""

    @property
    def min_bars(self) -> int:
        """The least number of vectors that ``fit`` accepts."""

    @property
    def n_parameters(self) -> int:
        """Numbers that restore a model."""

    def fit(self, panel: Array) -> OwnHistoryModel:
        """Learn from one series; ``NotEnoughBars`` when it is too short."""

    def restore(self, parameters: Array, past: Array) -> OwnHistoryModel:
        """The model with these parameters, which was fitted on ``past``."""


def require_bars(detector: Detector, panel: Array) -> None:
    """Refuse a panel whose longest series is shorter than ``min_bars``."""
    is_bar = ~np.isnan(panel).any(axis=2)
    longest = int(is_bar.sum(axis=1).max(initial=0))
    if longest < detector.min_bars:
        raise NotEnoughBars(type(detector).__name__, detector.min_bars, longest)


def vectors_of(panel: Array) -> Array:
    """The whole bars of a panel, (n, n_features)."""
    rows = panel.reshape(-1, panel.shape[2])
    return np.ascontiguousarray(rows[~np.isnan(rows).any(axis=1)])
