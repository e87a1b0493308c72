"""Slow, obviously right twins of fast code; this module imports nothing of the program."""

import numpy as np


def amplitude_zscore(x, k=1.5, min_history=30):
    """The base rule, bar by bar, with NumPy's own percentiles."""
    scores = np.full(len(x), np.nan)
    for t in range(len(x)):
        past = x[:t]
        past = past[~np.isnan(past)]
        if np.isnan(x[t]) or len(past) < min_history:
            continue
        q1, q3 = np.percentile(past, [25, 75])
        reach = k * (q3 - q1)
        inside = past[(past >= q1 - reach) & (past <= q3 + reach)]
        spread = inside.std()
        if spread > 1e-12 * np.abs(inside).max():
            scores[t] = abs(x[t] - inside.mean()) / spread
    return scores


def volatility_units(x, fast=0.94, slow=0.985, cap=5.0, warm_up=30):
    """Moves over the volatility known before them, for one series without gaps."""
    z = np.full(len(x), np.nan)
    f = g = 0.0
    for t, value in enumerate(x):
        if t < warm_up:
            f = g = np.mean(np.square(x[: t + 1]))
            continue
        s = np.sqrt((f + g) / 2)
        z[t] = value / s
        square = min(value**2, (cap * s) ** 2)
        f = fast * f + (1 - fast) * square
        g = slow * g + (1 - slow) * square
    return z


def rank_p(scores, window=1000, min_reference=250):
    """Rank of each score among the last ``window`` before it."""
    p = np.full(len(scores), np.nan)
    past = []
    for t, score in enumerate(scores):
        if np.isnan(score):
            continue
        reference = np.array(past[-window:])
        if len(reference) >= min_reference:
            p[t] = (1 + np.sum(reference >= score)) / (len(reference) + 1)
        past.append(score)
    return p


def vus_pr(flags, scores, longest):
    """Range-based areas under precision and recall, threshold by threshold, buffer by buffer."""
    n = len(flags)
    if not flags.any():
        return np.nan
    areas = []
    for buffer in range(longest + 1):
        label = np.zeros(n)
        for t in range(n):
            if not flags[t] or (t > 0 and flags[t - 1]):
                continue
            end = t
            while end + 1 < n and flags[end + 1]:
                end += 1
            for other in range(n):
                distance = max(t - other, other - end, 0)
                if distance == 0:
                    label[other] += 1
                elif distance <= buffer // 2:
                    label[other] += np.sqrt(1 - distance / buffer)
        label = np.minimum(label, 1)
        ranges = np.split(np.arange(n), np.flatnonzero(np.diff(label > 0)) + 1)
        ranges = [places for places in ranges if label[places[0]] > 0]
        area = before = 0.0
        for threshold in sorted(set(scores), reverse=True):
            told = scores >= threshold
            hits = label[told].sum()
            counted = sum(1 if flags[t] else label[t] * told[t] for t in range(n))
            share_found = np.mean([told[places].any() for places in ranges])
            recall = min(hits / ((flags.sum() + counted) / 2), 1) * share_found
            area += (recall - before) * hits / told.sum()
            before = recall
        areas.append(area)
    return np.mean(areas)
