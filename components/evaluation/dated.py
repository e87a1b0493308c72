"""Dated events that everybody knows of, and whether they were told on the day or the next bar."""

import re
from typing import Any

import numpy as np
import pandas as pd

from components.evaluation.told import Told
from components.sessions import ALWAYS_OPEN, Calendars

# The next bar counts as well: news after the close moves the next session.
BARS_AFTER = 1

# What a coin is priced in, as providers write it after the coin's own letters.
QUOTE = re.compile(r"[-_]?(?:USDT|USDC|BUSD|FDUSD|USD)$")

# The two-sided 95 % quantile of the normal law.
Z95 = 1.959963984540054


def dated_recall(told: Told, events: pd.DataFrame, calendars: Calendars) -> dict[str, Any]:
    """The share of dated events that were told.

    Parameters
    ----------
    events : DataFrame
        symbol, date, what. A coin is written with what it is priced in, BTC-USD, and stands
        for that coin under any of its names: BTCUSDT, BTC_USDT.

    Returns
    -------
    dict
        ``recall`` of the ``n`` events whose instrument has the bar and a verdict on it,
        ``interval`` (Wilson, 95 %), ``n_undecided``, and ``missed``: symbol and date.
    """
    found: list[tuple[str, bool]] = []
    n_undecided = 0
    for series, symbol in enumerate(told.symbols):
        meant = [is_meant(event, symbol, calendars) for event in events["symbol"]]
        own = events.loc[np.array(meant, dtype=bool)]
        dates = pd.DatetimeIndex(pd.to_datetime(own["date"])).to_numpy().astype("datetime64[us]")
        for date, at in zip(dates, told.place(series, dates), strict=True):
            if at == told.ts.shape[1] or told.ts[series, at] != date:
                continue
            span = slice(at, at + BARS_AFTER + 1)
            if told.is_decided[series, span].any():
                is_told = bool(told.is_alert[series, span].any())
                found.append((_name(symbol, date), is_told))
            else:
                n_undecided += 1
    n_told = sum(is_told for _, is_told in found)
    low, high = wilson(n_told, len(found))
    return {
        "recall": n_told / len(found) if found else float("nan"),
        "n": len(found),
        "interval": [low, high],
        "n_undecided": n_undecided,
        "missed": [name for name, is_told in found if not is_told],
    }


def _name(symbol: str, date: np.datetime64) -> str:
    return f"{symbol} {np.datetime_as_string(date, unit='D')}"


def is_meant(event: str, symbol: str, calendars: Calendars) -> bool:
    """Whether an event's symbol stands for an instrument: by name, or as the same coin."""
    are_coins = ALWAYS_OPEN == calendars.of(event) == calendars.of(symbol)
    return event == symbol or (are_coins and coin(event) == coin(symbol))


def coin(symbol: str) -> str:
    """A coin's own letters: BTC of BTC, BTC-USD, BTCUSDT or BTC_USDT."""
    return QUOTE.sub("", symbol) or symbol


def wilson(n_true: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical
    inference. JASA 22(158), 209-212.
    """
    if not n:
        return float("nan"), float("nan")
    p, z2 = n_true / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the bounds are exact; rounding would leave them just inside.
    low = float(middle - reach) if n_true else 0.0
    return low, float(middle + reach) if n_true < n else 1.0
