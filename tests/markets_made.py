"""Candles of made markets for tests of training: many instruments, moving together somewhat."""

import numpy as np
import pandas as pd

from components.sessions import Calendars
from components.training import feature_panel


def unseen(items, total, what):
    """Progress that nobody watches."""
    yield from items


def market(n_instruments=8, n_bars=600, seed=0, start="2018-01-01", n_wild=0):
    """Daily candles of coins: fat-tailed moves; volumes and ranges that go with them closely.

    On the last ``n_wild`` days everything moves five times as far.

    Returns
    -------
    DataFrame
        symbol, ts, open, high, low, close, volume, split; every instrument has every day.
    """
    random = np.random.default_rng(seed)
    together = 0.006 * random.standard_t(5, n_bars)
    usual = np.where(np.arange(n_bars) < n_bars - n_wild, 1.0, 5.0)
    days = pd.date_range(start, periods=n_bars, freq="D", tz="UTC", unit="us")
    rows = []
    for i in range(n_instruments):
        moves = usual * (together + 0.01 * random.standard_t(5, n_bars))
        close = 100 * np.exp(np.cumsum(moves))
        opened = np.r_[100.0, close[:-1]] * np.exp(0.001 * random.standard_normal(n_bars))
        size = np.abs(moves) / 0.012 / usual
        reach = np.exp(0.004 * usual * np.exp(0.1 * size + 0.02 * random.standard_normal(n_bars)))
        volume = 1e6 * np.exp(0.5 * size + 0.02 * random.standard_normal(n_bars))
        rows.append(
            pd.DataFrame(
                {
                    "symbol": f"C{i:02d}-USD",
                    "ts": days,
                    "open": opened,
                    "high": np.maximum(opened, close) * reach,
                    "low": np.minimum(opened, close) / reach,
                    "close": close,
                    "volume": volume.round(),
                    "split": 1.0,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def features_of(candles, names):
    """The feature panel of candles, as training makes it."""
    return feature_panel(candles, Calendars(), names, unseen)
