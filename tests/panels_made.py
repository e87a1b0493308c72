"""Random candle panels for the judgement's tests."""

import numpy as np

from components.panels import CandlePanel


def candle_panel(seed=3, n_series=3, n_bars=400, start="2020-01-01", *, with_market=False):
    """Candles of some instruments with fat-tailed moves, ranges and volumes."""
    random = np.random.default_rng(seed)
    moves = 0.01 * random.standard_t(4, (n_series, n_bars))
    close = 100 * np.exp(np.cumsum(moves, axis=1))
    open_ = close * np.exp(0.004 * random.standard_normal(close.shape))
    reach = np.exp(np.abs(0.003 * random.standard_t(4, close.shape)))
    market = np.full(close.shape, np.nan)
    if with_market:
        market[:] = 0.008 * random.standard_t(4, n_bars)
    fields = np.stack(
        [
            open_,
            np.maximum(open_, close) * reach,
            np.minimum(open_, close) / reach,
            close,
            np.round(1e6 * np.exp(0.4 * random.standard_normal(close.shape))),
            np.ones_like(close),
            market,
            np.ones_like(close),
            np.full_like(close, np.nan),
            np.full_like(close, np.nan),
        ],
        axis=2,
    )
    days = np.datetime64(start, "us") + np.arange(n_bars) * np.timedelta64(1, "D")
    symbols = tuple(f"S{i}" for i in range(n_series))
    return CandlePanel(symbols, np.tile(days, (n_series, 1)), fields)
