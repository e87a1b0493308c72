"""Drift: how far what a model sees has moved from what it was trained on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from components.carried import State
from components.panels import Array
from components.sessions import length

# Tenths of the training bars.
N_BINS = 10

# A bar's weight is halved after so many bars, about three months of days; of shorter bars after
# a week, or the hours of the day would look like drift.
HALF_LIFE_DAYS, HALF_LIFE_SHORT = 60.0, pd.Timedelta(days=7)

# From here on the population has shifted, as the industry reads the index (Siddiqi 2006: below
# 0.1 none, 0.1 to 0.25 some, above a major shift).
BOUND = 0.25

# Fewer bars (weights added up) than this say nothing. One instrument's days come to 87; they count
# like 160 equal ones, of which, drawn from the training, the index is 9 / 160 = 0.06 on average.
LEAST_BARS = 80.0

# An empty bin counts as this share: the logarithm of nothing has no value.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Usual:
    """How each column (the features, then the score) was spread over the training bars.

    ``edges`` (n_columns, N_BINS - 1) are the deciles, ``shares`` (n_columns, N_BINS) the part
    of the training bars between them: a tenth each, unless many values are equal.
    """

    edges: Array
    shares: Array

    @classmethod
    def of(cls, columns: Array) -> "Usual":
        """The spread of training bars (n, n_columns) without NaN."""
        edges = np.quantile(columns, np.arange(1, N_BINS) / N_BINS, axis=0).T.copy()
        counts = np.stack(
            [
                np.bincount(np.searchsorted(own, values, side="right"), minlength=N_BINS)
                for own, values in zip(edges, columns.T, strict=True)
            ]
        )
        return cls(edges, counts / len(columns))

    def stability(self, counts: Array) -> Array:
        r"""The population stability index of each column, (n_columns,).

        .. math:: \sum_b (q_b - p_b) \ln(q_b / p_b)

        with p the shares in training and q those of ``counts`` (n_columns, N_BINS). 0 when
        nothing has moved; NaN for a column with fewer than ``LEAST_BARS`` bars.

        References
        ----------
        Siddiqi, N. (2006). Credit Risk Scorecards. Wiley, chapter 9.
        """
        n = counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            now = np.maximum(counts / n, LEAST_SHARE)
        then = np.maximum(self.shares, LEAST_SHARE)
        index: Array = ((now - then) * np.log(now / then)).sum(axis=1)
        return np.where(n[:, 0] >= LEAST_BARS, index, np.nan)


@dataclass(frozen=True)
class RecentBins:
    """Where the last bars of each instrument fell among the training's bins; a carried scan.

    Older bars count less: by half after ``half_life`` bars.
    """

    usual: Usual
    half_life: float = HALF_LIFE_DAYS

    def start(self, n_series: int) -> State:
        """No bar seen."""
        return {"counts": np.zeros((n_series, self.usual.shares.size))}

    def run(self, state: State, columns: Array) -> tuple[State, Array]:
        """Scan columns (n_series, n_bars, n_columns) and give the counts behind the last bar.

        A bar without any one of its columns changes nothing. The counts are
        (n_series, n_columns, N_BINS).
        """
        n_columns = columns.shape[2]
        counts = state["counts"].reshape(-1, n_columns, N_BINS).copy()
        _count(np.ascontiguousarray(columns), self.usual.edges, counts, 0.5 ** (1 / self.half_life))
        return {"counts": counts.reshape(state["counts"].shape)}, counts


def half_life_of(interval: str) -> float:
    """After how many bars of this length a bar counts half."""
    return max(HALF_LIFE_DAYS, HALF_LIFE_SHORT / length(interval))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _count(columns: Array, edges: Array, counts: Array, decay: float) -> None:
    for i in range(columns.shape[0]):
        for t in range(columns.shape[1]):
            if np.isnan(columns[i, t]).any():
                continue
            for j in range(columns.shape[2]):
                counts[i, j] *= decay
                counts[i, j, np.searchsorted(edges[j], columns[i, t, j], side="right")] += 1.0


def warm() -> None:
    """Compile the count over a panel."""
    recent = RecentBins(Usual(np.zeros((1, N_BINS - 1)), np.full((1, N_BINS), 1 / N_BINS)))
    recent.run(recent.start(1), np.zeros((1, 1, 1)))
