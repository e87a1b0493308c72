"""Minute bars for tests, and their hours and days computed the slow, obvious way."""

import numpy as np
import pandas as pd

from components.tables import CANDLES, known

T0 = pd.Timestamp("2024-03-30T22:00", tz="UTC")
MINUTE = pd.Timedelta(minutes=1)
HOUR = pd.Timedelta(hours=1)
LATER = pd.Timestamp("2030-01-01", tz="UTC")


def minute(symbol="A", at=0, close=1.5, known_hours=100, volume=3.0, interval="1m", **other):
    """One bar that opens ``at`` minutes after T0."""
    row = {"symbol": symbol, "interval": interval, "ts": T0 + at * MINUTE, "open": close / 2}
    numbers = {"high": close * 2, "low": close / 4, "close": close, "volume": volume}
    rest = {"vwap": np.nan, "trades": 7.0, "hours": "regular", "source": "s"}
    return {**row, **numbers, **rest, "known_at": T0 + known_hours * HOUR, **other}


def frame(*rows):
    """Rows with the table's columns."""
    return pd.DataFrame(list(rows), columns=list(CANDLES.columns))


def minutes(n_symbols=2, n_bars=4000, first=T0, known_at=LATER, interval="1m", seed=5):
    """Many bars, in the order of their key."""
    random, size = np.random.default_rng(seed), n_symbols * n_bars
    close = random.lognormal(size=size).round(4)
    ts = pd.date_range(first, periods=n_bars, freq=pd.Timedelta(interval), unit="us")
    rows = {
        "symbol": np.repeat([f"S{k:03d}" for k in range(n_symbols)], n_bars),
        "interval": interval,
        "ts": np.tile(ts, n_symbols),
        "open": random.lognormal(size=size),
        "high": close * 1.5,
        "low": close * 0.5,
        "close": close,
        "volume": random.lognormal(size=size),
        "vwap": np.nan,
        "trades": 4.0,
        "hours": "regular",
        "source": "s",
        "known_at": known_at.as_unit("us"),
    }
    return pd.DataFrame(rows)


def summed(rows, unit):
    """Hours ("h") or days ("D") of the latest versions, bar by bar."""
    latest = known(rows, LATER)
    groups = latest.groupby(["symbol", "interval", latest["ts"].dt.floor(unit)])
    made = []
    for (symbol, interval, start), bars in groups:
        made.append(
            {
                "symbol": symbol,
                "interval": interval,
                "ts": start,
                "open": bars["open"].iloc[0],
                "high": bars["high"].max(),
                "low": bars["low"].min(),
                "close": bars["close"].iloc[-1],
                "volume": bars["volume"].sum(min_count=1),
                "n_bars": len(bars),
                "first_ts": bars["ts"].iloc[0],
                "last_ts": bars["ts"].iloc[-1],
                "known_at": bars["known_at"].max(),
            }
        )
    return pd.DataFrame(made)


def same(left, right):
    """Check that two frames hold the same, sums up to rounding."""
    pd.testing.assert_frame_equal(
        left.reset_index(drop=True), right.reset_index(drop=True), check_dtype=False, rtol=1e-12
    )
