"""Channels, p-values, the market and pump views and their vote, against pandas' own windows.

python -m benchmarks.judgement [--series 60] [--bars 2520]

Prints bars a second on one core, and the ratio to the same channels by pandas in the same run.
Both sides run once unmeasured first.
"""

import argparse
import time

import numpy as np
import pandas as pd

from components.ensemble import Ensemble
from components.panels import FIELDS, CandlePanel
from components.settings import ENSEMBLE


def made(n_series: int, n_bars: int) -> CandlePanel:
    """Seeded candles with fat tails, clustered volatility and a market."""
    random = np.random.default_rng(0)
    calm = np.exp(0.5 * np.sin(np.arange(n_bars) / 90))
    market = 0.008 * calm * random.standard_t(5, n_bars)
    moves = market + 0.01 * calm * random.standard_t(5, (n_series, n_bars))
    close = 100 * np.exp(np.cumsum(moves, axis=1))
    open_ = close * np.exp(-0.7 * moves)
    reach = np.exp(np.abs(0.004 * random.standard_t(5, close.shape)))
    volume = np.round(1e6 * np.exp(0.4 * random.standard_normal(close.shape)))
    fields = np.empty((n_series, n_bars, len(FIELDS)))
    columns = (
        open_,
        np.maximum(open_, close) * reach,
        np.minimum(open_, close) / reach,
        close,
        volume,
        np.ones_like(close),
        np.broadcast_to(market, close.shape),
        np.ones_like(close),
    )
    for j, column in enumerate(columns):
        fields[:, :, j] = column
    days = np.datetime64("2014-01-01", "us") + np.arange(n_bars) * np.timedelta64(1, "D")
    symbols = tuple(f"S{i:05d}" for i in range(n_series))
    return CandlePanel(symbols, np.tile(days, (n_series, 1)), fields)


def judged(panel: CandlePanel, detectors: tuple[str, ...]) -> None:
    """The whole judgement by these detectors, from the first bar."""
    ensemble, n = Ensemble(detectors, 4), len(panel.symbols)
    ensemble.run(ensemble.start(n), panel, np.full(n, 4 / 252))


def by_pandas(panel: CandlePanel) -> None:
    """The same channels and ranks by rolling and exponential windows of pandas."""
    for i in range(len(panel.symbols)):
        bars = pd.DataFrame(panel.fields[i], columns=list(FIELDS))
        before = bars["close"].shift()
        r = np.log(bars["close"] / before)
        market = np.log1p(bars["market"])
        beta = (r * market).ewm(alpha=0.02).mean() / (market**2).ewm(alpha=0.02).mean()
        moves = {
            "return": r,
            "gap": np.log(bars["open"] / before),
            "body": np.log(bars["close"] / bars["open"]),
            "residual": r - beta.shift() * market,
        }
        odd = {}
        for name, x in moves.items():
            square = x**2
            both = square.ewm(alpha=0.06).mean() + square.ewm(alpha=0.015).mean()
            odd[name] = (x / np.sqrt(both / 2).shift()).abs()
        spans = [np.log(bars["high"] / bars["low"]), np.log(bars["high"] / before).abs()]
        spans.append(np.log(bars["low"] / before).abs())
        levels = {
            "range": np.log(pd.concat(spans, axis=1).max(axis=1)),
            "volume": np.log(bars["volume"]),
        }
        for name, x in levels.items():
            error = x - x.ewm(alpha=0.06).mean().shift()
            odd[name] = error / np.sqrt((error**2).ewm(alpha=0.03).mean()).shift()
        p = pd.DataFrame({name: 1 - x.rolling(1000, 60).rank(pct=True) for name, x in odd.items()})
        surprise = -np.log(p.clip(lower=1e-3) / 0.1).clip(lower=0).sum(axis=1)
        surprise.rolling(700, 60).rank(pct=True)


def seconds(work, *args) -> float:
    """How long ``work`` takes, its warm-up run left out."""
    work(*args)
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=60)
    parser.add_argument("--bars", type=int, default=2520)
    given = parser.parse_args()
    panel, n_bars = made(given.series, given.bars), given.series * given.bars
    fast = seconds(judged, panel, ("market", "pump"))
    slow = seconds(by_pandas, panel)
    whole = seconds(judged, panel, ENSEMBLE)
    print(f"{given.series} instruments of {given.bars} bars, one core")
    print(f"channels, p-values, market, pump and vote: {n_bars / fast:,.0f} bars a second")
    print(f"the same by pandas: {n_bars / slow:,.0f} bars a second, {slow / fast:.1f} times longer")
    print(
        f"the default ensemble from the first bar, yearly fits included: "
        f"{n_bars / whole:,.0f} bars a second, {whole / fast:.1f} times longer"
    )


if __name__ == "__main__":
    main()
