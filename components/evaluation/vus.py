r"""Volume under the surface of range-based precision and recall (VUS-PR).

A detector that is a bar early or late is not wholly wrong. So each labelled range gets slopes
of up to ``l`` bars, sqrt(1 - d / l) at distance d and cut at l / 2, and the area under the
precision-recall curve is taken for l = 0 .. L and averaged. Recall is multiplied by the share
of ranges found at all. No score is adjusted by the labels.

References
----------
Paparrizos, J. et al. (2022). Volume under the surface: a new accuracy evaluation measure for
time-series anomaly detection. PVLDB 15(11), 2774-2787.
"""

import numpy as np

from components.panels import Array, Flags, Ints

# Two weeks of sessions: the longest of the planted ranges.
LONGEST_BUFFER = 10


def vus_pr(is_anomaly: Flags, score: Array, longest: int = LONGEST_BUFFER) -> float:
    """VUS-PR of the scores of one series; NaN without a labelled bar.

    Parameters
    ----------
    is_anomaly : array of bool, shape (n,)
    score : array, shape (n,)
        Higher is odder; every distinct value is a threshold.
    longest : int
        L, the longest buffer in bars.
    """
    starts, ends = _ranges(is_anomaly)
    if not len(starts):
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    # Bars of equal score are told together: a threshold stands behind the last of them.
    is_last = np.append(ordered[1:] < ordered[:-1], True)
    n_told = np.arange(1, len(score) + 1)[is_last]
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.searchsorted(np.flatnonzero(is_last), np.arange(len(score)))
    areas = [
        _area(is_anomaly, starts, ends, order, rank, n_told, is_last, buffer)
        for buffer in range(longest + 1)
    ]
    return float(np.mean(areas))


def _ranges(flags: Flags) -> tuple[Ints, Ints]:
    """First and last bars of the runs of True."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1


def soft_labels(n: int, starts: Ints, ends: Ints, buffer: int) -> Array:
    """Labels with slopes: 1 within a range, sqrt(1 - d / buffer) at distance d <= buffer / 2."""
    label = np.zeros(n)
    for start, end in zip(starts, ends, strict=True):
        label[start : end + 1] += 1
        for distance in range(1, buffer // 2 + 1):
            slope = np.sqrt(1 - distance / buffer)
            if start - distance >= 0:
                label[start - distance] += slope
            if end + distance < n:
                label[end + distance] += slope
    return np.minimum(label, 1.0)


def _area(
    is_anomaly: Flags,
    starts: Ints,
    ends: Ints,
    order: Ints,
    rank: Ints,
    n_told: Ints,
    is_last: Flags,
    buffer: int,
) -> float:
    label = soft_labels(len(rank), starts, ends, buffer)
    weight = label[order]
    is_core = is_anomaly[order]
    hits = np.cumsum(weight)[is_last]
    # The slopes count as missed only where they are told: a range is not longer for them.
    n_labels = is_anomaly.sum() + np.cumsum(np.where(is_core, 0.0, weight))[is_last]
    # Ranges whose slopes meet are one.
    first_found = np.sort([rank[a : b + 1].min() for a, b in zip(*_ranges(label > 0), strict=True)])
    n_found = np.searchsorted(first_found, np.arange(len(n_told)), side="right")
    recall = np.minimum(hits / ((is_anomaly.sum() + n_labels) / 2), 1.0)
    recall = np.append(0.0, recall * n_found / len(first_found))
    precision = hits / n_told
    return float(np.sum(np.diff(recall) * precision))
