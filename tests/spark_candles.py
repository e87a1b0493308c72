"""Minutes of six coins that never close, as candles and as rows of a micro-batch."""

import numpy as np
import pandas as pd

from components.feeds.base import NUMBERS
from components.sessions import ALWAYS_OPEN
from components.spark_job.columns import ARRIVED

SYMBOLS = tuple(f"{letter * 3}USDT" for letter in "ABCDEF")
SINCE = pd.Timestamp("2024-03-01", tz="UTC")


def minutes(n, *, symbols=SYMBOLS, since=SINCE, seed=7):
    """``n`` minutes of each, of one random walk each, ordered by instrument."""
    ts = pd.date_range(since, periods=n, freq="min", unit="us")
    tables = []
    for number, symbol in enumerate(symbols):
        random = np.random.default_rng([seed, number])
        close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, (n, 1)), axis=0))[:, 0]
        opened = np.append(100, close[:-1])
        reach = np.abs(random.normal(0, 5e-4, (2, n)))
        tables.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "ts": ts,
                    "open": opened,
                    "high": np.maximum(opened, close) * (1 + reach[0]),
                    "low": np.minimum(opened, close) * (1 - reach[1]),
                    "close": close,
                    "volume": random.lognormal(3, 1, n),
                    "vwap": np.nan,
                    "trades": 10.0,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def arrived(candles):
    """Rows of a micro-batch, known as each closed, in the order of the bars."""
    rows = candles.sort_values(["ts", "symbol"], kind="stable", ignore_index=True)
    rows = rows.assign(
        known_at=rows["ts"] + pd.Timedelta(minutes=1),
        watch_list=ALWAYS_OPEN,
        is_passed=False,
        carried=None,
        offset=np.arange(len(rows)),
    )
    return rows.reindex(columns=list(ARRIVED)).astype(dict.fromkeys(NUMBERS, float))
