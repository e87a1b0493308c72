"""Worlds whose instruments are those of a made market, long enough to train on."""

import pandas as pd

from tests.markets_made import market

N_BARS = 1800
LAST = pd.Timestamp("2024-03-12", tz="UTC")
MORNING = "2024-03-13T12:00"
FIRST = LAST - pd.Timedelta(days=N_BARS - 1)
SINCE = f"{FIRST:%Y-%m-%d}"

COLUMNS = {
    "ts": "Date",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}


def fill(world, n_instruments=10, *, seed=0, crash=0.3, n_days_more=0, n_wild=0):
    """Write the files of a market; the first instrument falls by ``crash`` on the last day.

    ``n_days_more`` days follow that day, the last ``n_wild`` of them wild.
    """
    candles = market(n_instruments, N_BARS + n_days_more, seed, start=SINCE, n_wild=n_wild)
    first = candles["symbol"] == candles["symbol"].iloc[0]
    fallen = first & (candles["ts"] >= LAST)
    for name in ("open", "high", "low", "close"):
        candles.loc[fallen, name] *= 1 - crash
    day = fallen & (candles["ts"] == LAST)
    candles.loc[day, ["open", "high"]] /= 1 - crash
    candles.loc[day, "volume"] *= 3
    until = LAST + pd.Timedelta(days=n_days_more)
    for symbol, rows in candles.groupby("symbol"):
        frame = rows[list(COLUMNS)].rename(columns=COLUMNS)
        frame["Date"] = frame["Date"].dt.strftime("%Y-%m-%d")
        world.put(symbol, frame.round(6), until + pd.Timedelta(hours=30))
    world.settings = {"history_years": 6, **world.settings}
    return candles
