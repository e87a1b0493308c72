"""What followed alerts: volatility against its forecast from before, and returns."""

from typing import Any

import numpy as np

from components.evaluation.told import Told
from components.panels import Array, Ints

HORIZON = 5
DRAWS = 1000
INTERVAL = (0.025, 0.975)


def event_study(told: Told, seed: int = 0) -> dict[str, Any]:
    """The five bars after each alert.

    Returns
    -------
    dict
        ``volatility_ratio``: mean of (root mean square return over the next five bars) /
        (volatility known before the alert's bar), over the same mean of all judged bars: a
        root of so few squares comes out too small, alert or not, and that mean,
        ``usual_ratio``, is what a right forecast shows; ``return``: mean return over these bars;
        ``reversal``: the same, counted against the alert's own direction. Each with a 95 %
        ``interval`` by resampling whole calendar months, as shocks come together.
    """
    series, bars = np.nonzero(told.is_alert & told.is_decided)
    inside = bars + HORIZON < told.ts.shape[1]
    series, bars = series[inside], bars[inside]
    after = told.move[series[:, None], bars[:, None] + 1 + np.arange(HORIZON)]
    scale = told.scale[series, bars]
    known = np.isfinite(after).all(axis=1) & (scale > 0)
    series, bars, after, scale = series[known], bars[known], after[known], scale[known]
    months = told.ts[series, bars].astype("datetime64[M]").astype(np.int64)

    ratio = np.sqrt((after**2).mean(axis=1)) / scale
    gain = np.prod(1 + after, axis=1) - 1
    against = -np.sign(told.move[series, bars]) * gain
    usual = _usual_ratio(told)
    mean, interval = block_mean(ratio / usual, months, seed)
    return {
        "volatility_ratio": mean,
        "interval": interval,
        "usual_ratio": usual,
        "n": len(ratio),
        "bars": HORIZON,
        "return": _with_words(gain, months, seed),
        "reversal": _with_words(against, months, seed),
    }


def _usual_ratio(told: Told) -> float:
    """The mean over all judged bars of what is asked of the alerts."""
    if told.ts.shape[1] <= HORIZON:
        return float("nan")
    later = np.lib.stride_tricks.sliding_window_view(told.move[:, 1:] ** 2, HORIZON, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.sqrt(later.mean(axis=2)) / told.scale[:, : later.shape[1]]
    known = np.isfinite(ratio) & told.is_decided[:, : later.shape[1]]
    return float(ratio[known].mean()) if known.any() else float("nan")


def _with_words(values: Array, months: Ints, seed: int) -> dict[str, Any]:
    mean, interval = block_mean(values, months, seed)
    low, high = interval
    is_pattern = low > 0 or high < 0
    return {"mean": mean, "interval": interval, "told": "a pattern" if is_pattern else "no pattern"}


def block_mean(values: Array, blocks: Ints, seed: int) -> tuple[float, list[float]]:
    """The mean, and its 95 % interval by drawing whole blocks with replacement."""
    if not len(values):
        return float("nan"), [float("nan")] * 2
    _, at = np.unique(blocks, return_inverse=True)
    sums = np.bincount(at, weights=values)
    counts = np.bincount(at)
    drawn = np.random.default_rng([seed, 2]).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return float(values.mean()), [float(bound) for bound in np.quantile(means, INTERVAL)]
