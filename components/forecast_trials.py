"""Forecasters held against each other on the same later bins of a panel. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.bands import Band, Banded, opened, powered
from components.forecasters.base import BinPanel
from components.opening import LIVE
from components.panels import Array, Flags

# What the others are measured in.
NAIVE = "seasonal_naive"

# The peers' rule, shown beside and never chosen.
BASELINES = (NAIVE, "deviation")

# These must beat the best of the others: they are costly to fit and hard to follow.
COSTLY = ("boosted", "lstm")

# A band that holds less of the bins than stated, by more than this and three standard errors,
# cannot be champion.
SLACK = 0.01


@dataclass(frozen=True)
class Trial:
    """How one forecaster did: a row of ``forecast_trials`` without its keys.

    ``winkler`` is the mean over series of the interval score over the seasonal naive's on the
    same bins; ``covered`` the share of open bins inside; ``n_outside`` in all of ``n_bins``.
    """

    forecaster: str
    n_series: int
    n_bins: int
    winkler: float
    covered: float
    alarms_a_week: float
    seconds: float
    model: str = ""


def split_at(n_bins: int, share: float) -> int:
    """Where the bins to be learned from end: everything behind is asked of those before it."""
    return int(n_bins * share)


def learned_from(panel: BinPanel, until: int, band: Band) -> tuple[BinPanel, Array, Flags]:
    """What a recipe is fitted on: the first bins, transformed, and where they were open."""
    early = panel.bins(slice(0, until))
    _, _, standing = band.opening.run(band.opening.start(early.n_series, early.n_day), early)
    return early, powered(early.value / early.length), opened(standing)


def walked(panel: BinPanel, band: Band) -> Banded:
    """The bands of all bins, each from the bins before it."""
    return band.run(band.start(panel.n_series, panel.n_day), panel)[1]


def asked_bins(panel: BinPanel, until: int, banded: Sequence[Banded]) -> Flags:
    """The bins that all are asked of: live, behind ``until``, with a band of each of them."""
    asked: Flags = ~np.isnan(panel.value)
    asked[:, :until] = False
    for each in banded:
        asked &= (each.standing == LIVE) & np.isfinite(each.lower) & np.isfinite(each.upper)
    return asked


def interval_score(value: Array, banded: Banded, miss: float) -> Array:
    r"""Winkler's score: the width, and 2 / miss times how far outside the value lies.

    References
    ----------
    Winkler, R. L. (1972). A decision-theoretic approach to interval estimation. Journal of the
    American Statistical Association 67, 187-191.
    """
    below, above = banded.lower - value, value - banded.upper
    beyond = np.maximum(below, 0) + np.maximum(above, 0)
    return np.asarray(banded.upper - banded.lower + 2 / miss * beyond, dtype=float)


def compared(
    panel: BinPanel,
    until: int,
    banded: Mapping[str, Banded],
    miss: float,
    seconds: Mapping[str, float],
) -> list[Trial]:
    """A trial of each, the best first; the seasonal naive is among them."""
    asked = asked_bins(panel, until, list(banded.values()))
    is_in = asked.sum(axis=1) > 0
    n_bins = int(asked.sum())
    a_week = 7 * panel.n_day
    naive = _mean_score(panel, banded[NAIVE], asked, miss)[is_in]
    found = []
    for name, each in banded.items():
        own = _mean_score(panel, each, asked, miss)[is_in]
        outside = (each.is_outside & asked).sum()
        ratio = np.divide(own, naive, out=np.full(own.shape, np.nan), where=naive > 0)
        # How many of its open bins a series has in a week turns a share into alarms.
        weeks = (panel.n_bins - until) * is_in.sum() / a_week
        found.append(
            Trial(
                name,
                int(is_in.sum()),
                n_bins,
                float(np.nanmean(ratio)) if np.isfinite(ratio).any() else np.nan,
                float(1 - outside / n_bins) if n_bins else np.nan,
                float(outside / weeks) if weeks else np.nan,
                round(seconds[name], 3),
            )
        )
    return sorted(found, key=lambda trial: (np.isnan(trial.winkler), trial.winkler))


def _mean_score(panel: BinPanel, banded: Banded, asked: Flags, miss: float) -> Array:
    score = np.where(asked, interval_score(panel.value, banded, miss), 0.0)
    n: Array = asked.sum(axis=1).astype(float)
    mean: Array = np.divide(score.sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
    return mean


def champion(trials: Sequence[Trial], miss: float) -> str:
    """Who judges from now on: the least score among those that keep their coverage.

    One that is costly to fit must beat the best of the others. "" when nobody keeps it.
    """
    kept = [t for t in trials if t.forecaster not in BASELINES and _keeps(t, miss)]
    best = min(kept, key=lambda t: (t.winkler, t.forecaster in COSTLY), default=None)
    return best.forecaster if best else ""


def _keeps(trial: Trial, miss: float) -> bool:
    if not trial.n_bins or np.isnan(trial.winkler):
        return False
    error = np.sqrt(miss * (1 - miss) / trial.n_bins)
    return bool(trial.covered >= 1 - miss - SLACK - 3 * error)


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """The trials as a table, a row each."""
    return pd.DataFrame([trial.__dict__ for trial in trials])
