"""Candles that plainly pass every check: what is left is few, and is looked at as a whole.

A stream sees each candle alone, at once, and nearly all of them are good. What is said of them
here follows from the checks: a candle that is plain fails none of them.
"""

import numpy as np
import pandas as pd

from components.checks.row_checks import LARGEST
from components.panels import Array, Flags

# Below this a coin's printed decimals are looked at; a hundredfold step is far beyond that.
LEAST_PRICE, MOST_STEP = 1e-4, 20.0


def is_plain(rows: pd.DataFrame, last_close: Array, n_idle: Array, most_idle: int) -> Flags:
    """Which closed candles fail no check, shape (n,).

    Parameters
    ----------
    rows : DataFrame
        open, high, low, close, volume.
    last_close : Array
        The instrument's last close, (n,); NaN where none is known.
    n_idle : Array
        How many bars without trade and move came before, (n,).
    most_idle : int
        So many of them make a dead market.
    """
    o, h, low, c, v = (
        rows[name].to_numpy(dtype=float) for name in ("open", "high", "low", "close", "volume")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        is_ordered = (h >= np.maximum(o, c)) & (low <= np.minimum(o, c)) & (low >= LEAST_PRICE)
        is_bounded = (h <= LARGEST) & (v <= LARGEST) & (h <= MOST_STEP * low)
        step = np.maximum(h / last_close, last_close / low)
        is_near = np.isnan(last_close) | (step <= MOST_STEP)
        is_idle = (v == 0) & (h == low)
        is_traded = (v > 0) | (is_idle & (n_idle < most_idle - 1))
    return np.asarray(is_ordered & is_bounded & is_near & is_traded, dtype=np.bool_)
