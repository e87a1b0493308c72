"""A trained model among the views: new bars in, scores out, its context carried."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from components.carried import State, named, scoped
from components.detectors.base import Contributions
from components.drift import RecentBins, half_life_of
from components.panels import Array, CandlePanel, Flags, Ints
from components.trained import Trained


@dataclass(frozen=True)
class Seen:
    """What a trained model saw of a panel.

    ``windows`` (n_series, context + n_bars, n_features) holds the features of each series'
    bars, those carried before them in front, all at the end of the axis. ``bins``
    (n_series, n_columns, n_bins) are the recent bars by the training's bins.
    """

    trained: Trained
    panel: CandlePanel
    score: Array
    windows: Array
    bins: Array

    def contributions(self, chosen: Flags) -> tuple[Ints, Ints, Array, Contributions] | None:
        """What each feature added to the score of some bars.

        Parameters
        ----------
        chosen : Flags
            (n_series, n_bars); of these the bars with a score are explained.

        Returns
        -------
        tuple of arrays
            Series and bar of each, their features (n, n_features) and their contributions;
            None when there are none.
        """
        series, bars = np.nonzero(chosen & ~np.isnan(self.score))
        if not len(series):
            return None
        context = self.trained.context
        steps = np.arange(context + 1)
        cut = self.windows[series[:, None], bars[:, None] + steps]
        symbols = tuple(self.panel.symbols[i] for i in series)
        return series, bars, cut[:, -1], self.trained.contributions(cut, symbols)


@dataclass(frozen=True)
class TrainedSeat:
    """Scores a trained model bar by bar; a carried scan."""

    trained: Trained

    def start(self, n_series: int) -> State:
        """No bar seen."""
        shape = (n_series, self.trained.context * self._n_features)
        return {
            **({"tail": np.full(shape, np.nan)} if self.trained.context else {}),
            **named(self._recent.start(n_series), "bins"),
        }

    def run(self, state: State, panel: CandlePanel, x: Array) -> tuple[State, Seen]:
        """Score the bars of a panel; ``x`` (n_series, n_bars, n_features) are their features."""
        context, n_bars = self.trained.context, x.shape[1]
        windows = x
        after: dict[str, npt.NDArray[np.generic]] = {}
        if context:
            tail = np.asarray(state["tail"]).reshape(len(x), context, self._n_features)
            windows = _behind(tail, x, panel.is_bar)
            after["tail"] = windows[:, n_bars:].reshape(len(x), -1).copy()
        # Windows before a series' first bar in the panel hold nothing: their ts is not known.
        score = self.trained.score_any(windows, panel.symbols)[:, context:]
        columns = np.concatenate([x, score[:, :, None]], axis=2)
        recent, bins = self._recent.run(scoped(state, "bins"), columns)
        after.update(named(recent, "bins"))
        with np.errstate(invalid="ignore"):
            unseen = panel.ts > self.trained.until_naive
        score = np.where(unseen, score, np.nan)
        return after, Seen(self.trained, panel, score, windows, bins)

    @cached_property
    def _recent(self) -> RecentBins:
        return RecentBins(self.trained.usual, half_life_of(self.trained.interval))

    @property
    def _n_features(self) -> int:
        return len(self.trained.features)


def _behind(tail: Array, x: Array, is_bar: Flags) -> Array:
    """The carried bars right before each series' first one, (n_series, context + n_bars, ...)."""
    context, n_bars = tail.shape[1], x.shape[1]
    n_missing = n_bars - is_bar.sum(axis=1)
    place = np.arange(context + n_bars)[None, :] - n_missing[:, None]
    joined = np.concatenate([tail, x], axis=1)
    # Before the padding's end stands the tail, behind it the bars.
    source = np.where(place >= context, place + n_missing[:, None], place)
    rows = np.take_along_axis(joined, np.maximum(source, 0)[:, :, None], axis=1)
    return np.where((place >= 0)[:, :, None], rows, np.nan)
