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

Of detectors that are trained, tuned and promoted also:

10. The contributions of the features and the named rest sum to what they explain.
11. A model read back from its arrays scores the same bits.
12. Tuning picks from the stated grid, and the same one every time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from components.errors import NotEnoughBars
from components.panels import Array, Flags, Ints

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


@dataclass(frozen=True)
class Span:
    """Of each series the vectors from ``first`` to before ``last``; both (n_series,)."""

    first: Ints
    last: Ints

    @property
    def is_empty(self) -> Flags:
        """Which series have none, (n_series,)."""
        return self.last <= self.first


@dataclass(frozen=True)
class Learned:
    """The vectors that each series' model was fitted on: a span of ``held``, then ``new``.

    ``held`` (n_series, n_held, n_features) are the last ones before a panel as 32-bit floats,
    NaN in front; ``new`` (n_series, n_bars, n_features) the panel's own, without gaps.
    """

    held: npt.NDArray[np.float32]
    new: Array
    span: Span

    def of(self, i: int) -> Array:
        """Those of one series, (n, n_features)."""
        first, last, n_held = self.span.first[i], self.span.last[i], self.held.shape[1]
        new = self.new[i, max(first - n_held, 0) : max(last - n_held, 0)]
        return np.concatenate([self.held[i, first : min(last, n_held)], new], dtype=np.float64)


class OwnHistoryModel(Model, Protocol):
    """A model that can be written down as numbers."""

    @property
    def parameters(self) -> Array:
        """All that was learned, shape (n_parameters,)."""


@runtime_checkable
class OwnHistoryDetector(Protocol):
    """A detector that learns from each instrument's own past, and learns anew now and then.

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

    def score_each(self, parameters: Array, learned: Learned, span: Span) -> Array:
        """What each series' own model says of its vectors in ``span``.

        ``parameters`` (n_series, n_parameters) are those that a fit on ``learned`` gave. Scores
        are (n_series, n_bars) of ``learned.new``, NaN outside of the span.
        """


@dataclass(frozen=True)
class Contributions:
    """What each feature adds to something that says how odd a bar is; higher is odder.

    ``total`` (n_series, n_bars) is explained by ``by_feature`` (n_series, n_bars, n_features)
    and ``rest`` (n_series, n_bars), which sum to it. NaN where the bar has no score. ``what``
    says in words what the total is, ``rest_what`` what belongs to no single feature (empty when
    the rest is always 0).
    """

    total: Array
    by_feature: Array
    rest: Array
    what: str
    rest_what: str


class TrainedModel(Model, Protocol):
    """A model that explains itself and is stored as plain arrays."""

    def contributions(self, panel: Array) -> Contributions:
        """What each feature adds to the oddity of each bar of a panel."""

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that was learned, as plain numbers: fit for ``.npz`` without pickle."""


@runtime_checkable
class TrainableDetector(Protocol):
    """A detector that is fitted once, pooled over the series of a panel of any features."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it takes when none are named."""

    @property
    def min_bars(self) -> int:
        """The least number of bars of the longest series that ``fit`` accepts."""

    def fit(self, panel: Array) -> TrainedModel:
        """Learn from all series of a panel; ``NotEnoughBars`` when it is too short."""

    def grid(self) -> tuple[Self, ...]:
        """What tuning chooses from; itself alone where there is nothing to choose."""

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """How badly a model of this detector suits a panel, for tuning; lower is better."""

    def untrained(self, panel: Array) -> TrainedModel:
        """A model of the same shape that has learned nothing of the panel but its width."""

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> TrainedModel:
        """The model that gave these arrays."""


def each_alone(
    restore: Callable[[Array], Model], parameters: Array, learned: Learned, span: Span
) -> Array:
    """``score_each`` of a detector whose models are restored and asked one by one."""
    scores = np.full(learned.new.shape[:2], np.nan)
    for i in np.flatnonzero(~span.is_empty):
        own = slice(span.first[i], span.last[i])
        scores[i, own] = restore(parameters[i]).score(learned.new[i, own][None])[0]
    return scores


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
