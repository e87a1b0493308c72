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


def expected_steps(ts, before, due):
    """How many of the bars that are due lie behind ``before`` and not behind ``ts``; at least 1."""
    return max(sum(before < each <= ts for each in due), 1)


def bar_moves(open_, high, low, close, steps, *, closes):
    """Return, gap and log true range of each bar of one series, in the size of one bar."""
    n = len(close)
    r, gap, span = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    for t in range(1, n):
        root = steps[t] ** 0.5
        r[t] = np.log(close[t] / close[t - 1]) / root
        if closes and steps[t] == 1:
            gap[t] = np.log(open_[t] / close[t - 1])
        back = max(abs(np.log(high[t] / close[t - 1])), abs(np.log(low[t] / close[t - 1])))
        span[t] = np.log(max(np.log(high[t] / low[t]), back / root))
    return r, gap, span


def level_units(x, mean=0.94, spread=0.97, cap=5.0, warm_up=30):
    """A log level in units of its own recent mean and deviation, for one series."""
    z = np.full(len(x), np.nan)
    m = v = 0.0
    for t, value in enumerate(x):
        error = value - m
        if t < warm_up:
            if t:
                v += (error**2 - v) / t
            m = np.mean(x[: t + 1])
        else:
            z[t] = error / np.sqrt(v)
            cut = np.clip(error, -cap * np.sqrt(v), cap * np.sqrt(v))
            m += (1 - mean) * cut
            v = spread * v + (1 - spread) * cut**2
        v = max(v, 1e-6)
    return z


def market_residual(r, market, memory=0.98, warm_up=60, cap=5.0):
    """What the market leaves of a return, over its own scale; z and the market's share."""
    z, share = np.full(len(r), np.nan), np.full(len(r), np.nan)
    rest_of = []
    f = g = 0.0
    for t in range(len(r)):
        weights = memory ** np.arange(t - 1, -1, -1) * (1 - memory)
        xx = 1e-8 * memory**t + np.sum(weights * market[:t] ** 2)
        beta = np.sum(weights * r[:t] * market[:t]) / xx if t >= 30 else 1.0
        share[t] = beta * market[t]
        rest = r[t] - share[t]
        rest_of.append(rest)
        if t < warm_up:
            f = g = np.mean(np.square(rest_of))
            continue
        s = np.sqrt((f + g) / 2)
        z[t] = rest / s
        square = min(rest**2, (cap * s) ** 2)
        f = 0.94 * f + 0.06 * square
        g = 0.985 * g + 0.015 * square
    return z, share


def tail_p(past, score, usual_shape=0.15):
    """Rank below the 90 % quantile, generalised Pareto tail beyond it."""
    ordered = np.sort(np.float32(past)).astype(float)
    score = float(np.float32(score))
    n = len(ordered)
    k = max(int(0.1 * n), 8)
    at_least = np.sum(ordered >= score)
    if at_least > k:
        return (1 + at_least) / (n + 1)
    threshold = ordered[n - k - 1]
    y = ordered[n - k :] - threshold
    b0, b1 = y.mean(), np.mean(y * (1 - (np.arange(1, k + 1) - 0.35) / k))
    if b0 == 0:
        return (1 + at_least) / (n + 1)
    shape = 2 - b0 / (b0 - 2 * b1) if b0 - 2 * b1 > 1e-12 else 0.0
    shape = (k * shape + 50 * usual_shape) / (k + 50)
    shape = min(max(shape, -0.1), 0.6)
    b0 = max(b0, 0.05 * (threshold - ordered[n // 2]))
    tail = max(1 + shape * (score - threshold) / (b0 * (1 - shape)), 1e-6) ** (-1 / shape)
    return max(k / n * tail, 1e-12)


def reference_p(scores, regime, window, min_reference, n_regimes, least_regime):
    """Each score among the past ones of its regime, or of all when these are few."""
    p = np.full(len(scores), np.nan)
    past = [[] for _ in range(n_regimes)]
    for t, score in enumerate(scores):
        if np.isnan(score):
            continue
        own = past[regime[t]][-window:]
        everything = [s for each in past for s in each[-window:]]
        if len(everything) >= min_reference:
            p[t] = tail_p(own if len(own) >= least_regime else everything, score)
        past[regime[t]].append(score)
    return p


def kept_rate(p, regime, rate, gain=0.5, reach=3.0, share=0.7):
    """Alerts and the rate in force, one correction for all bars and one a regime."""
    common, own = 0.0, [0.0, 0.0, 0.0]
    alert, in_force = np.zeros(len(p), dtype=bool), np.full(len(p), np.nan)
    for t, value in enumerate(p):
        if np.isnan(value):
            continue
        k = regime[t]
        in_force[t] = min(rate * np.exp((1 - share) * common + share * own[k]), 1.0)
        alert[t] = value <= in_force[t]
        step = gain * (rate - alert[t])
        common = np.clip(common + step, -reach, reach)
        own[k] = np.clip(own[k] + step, -reach, reach)
    return alert, in_force


def kth_vote(p, groups, k):
    """The p at which the k-th independent vote is cast; views of one group share a vote."""
    order = sorted(v for v in range(len(p)) if not np.isnan(p[v]))
    for value in sorted(p[v] for v in order):
        weight = 0.0
        for v in order:
            if p[v] <= value:
                weight += 1 / sum(groups[w] == groups[v] for w in order)
        if weight >= k - 1e-9:
            return value
    return np.nan


def heavy_tail_p(past, score, tail=0.02, usual_slope=0.75, shrinkage=300.0):
    """Rank below the 98 % quantile; beyond it an exponential tail of the shrunk mean excess."""
    ordered = np.sort(np.float32(past)).astype(float)
    score = float(np.float32(score))
    n = len(ordered)
    k = max(int(tail * n), 8)
    u = ordered[n - k - 1]
    if score <= u:
        return (1 + np.sum(ordered >= score)) / (n + 1)
    excess = ordered[n - k :] - u
    slope = (excess.sum() + shrinkage * usual_slope) / (k + shrinkage)
    return max(k / n * np.exp(-(score - u) / slope), 1e-12)


def heavy_tail(scores, window, min_reference, enters=None, **numbers):
    """Each score among the last ``window`` before it that entered."""
    p, past = np.full(len(scores), np.nan), []
    for t, score in enumerate(scores):
        if np.isnan(score):
            continue
        if len(past) >= min_reference:
            p[t] = heavy_tail_p(past[-window:], score, **numbers)
        if enters is None or enters[t]:
            past.append(score)
    return p


def macro_reach(closes):
    """Ln of the span of the logarithms of the last 61 closes; NaN before, and of none."""
    found = np.full(len(closes), np.nan)
    for t in range(60, len(closes)):
        span = np.ptp(np.log(closes[t - 60 : t + 1]))
        found[t] = np.log(span) if span > 0 else np.nan
    return found


def onset(scores, window, step, held, min_reference, tail=0.1, usual_slope=0.4, shrinkage=20.0):
    """Each onset among the last ``held`` ones, times how often one came; 1 between them."""
    p, past = np.full(len(scores), np.nan), []
    known = [(t, score) for t, score in enumerate(scores) if not np.isnan(score)]
    for bar, (t, score) in enumerate(known):
        kept = past[-held:]
        is_told = len(kept) >= min_reference
        if is_told:
            p[t] = 1.0
        if past and bar - past[-1][0] <= window and score < past[-1][1] + step:
            continue
        if is_told:
            often = len(kept) / max(bar - kept[0][0], 1)
            sizes = np.sort([np.float32(size) for _, size in kept]).astype(float)
            p[t] = np.clip(often * onset_p(sizes, score, tail, usual_slope, shrinkage), 1e-12, 1)
        past.append((bar, score))
    return p


def onset_p(ordered, score, tail, usual_slope, shrinkage):
    """Rank below the 90 % quantile; beyond it an exponential tail of the shrunk mean excess."""
    score, n = float(np.float32(score)), len(ordered)
    k = min(max(int(tail * n), 20), n - 1)
    u = ordered[n - k - 1]
    if score <= u:
        return (1 + np.sum(ordered >= score)) / (n + 1)
    excess = ordered[n - k :] - u
    slope = (excess.sum() + shrinkage * usual_slope) / (k + shrinkage)
    return k / n * np.exp(-(score - u) / slope)
