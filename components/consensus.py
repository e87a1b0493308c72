"""Votes of several detectors: the p-value of the k-th most surprised one."""

import numpy as np

from components.panels import Array, Ints


def quorum_of(n_detectors: int) -> int:
    """Votes needed: two, or one when a single detector judges."""
    return min(2, n_detectors)


def agreed(p: Array, quorum: int) -> tuple[Array, Ints]:
    """The ``quorum``-th smallest p-value of each bar, and how many detectors did not abstain.

    Parameters
    ----------
    p : Array
        Shape (n_detectors, n_series, n_bars); NaN where a detector abstains.
    quorum : int
        k in "k or more detectors".

    Returns
    -------
    Array, Ints
        Shape (n_series, n_bars); NaN where fewer than ``quorum`` detectors could tell.
    """
    voters = np.isfinite(p).sum(axis=0)
    kth: Array = np.sort(p, axis=0)[quorum - 1]
    return kth, voters
