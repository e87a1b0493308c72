"""Others' rules on the same pumps: candles of an hour, and rush orders in chunks of 25 s."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.pump_events import Count, Event, count

HOUR, CHUNK = pd.Timedelta(hours=1), pd.Timedelta(seconds=25)

# Kamps, J. and Kleinberg, B. (2018). To the moon: defining and detecting cryptocurrency
# pump-and-dumps. Crime Science 7, 18: rise of the high over the mean close, rise of the volume
# over its mean, and hours of both means.
KAMPS = {
    "Kamps and Kleinberg, initial": (0.03, 0.25, 12),
    "Kamps and Kleinberg, balanced": (0.05, 3.0, 12),
    "Kamps and Kleinberg, strict": (0.10, 4.0, 24),
}

# La Morgia, M., Mei, A., Sassi, F. and Stefa, J. (2020). Pump and dumps in the Bitcoin era: real
# time detection of cryptocurrency market manipulations. ICCCN, Table III: precision, recall, F1 in
# per cent, of chunks, over 104 pumps of Binance; their own by 5-fold cross-validation.
LA_MORGIA = {
    "Kamps and Kleinberg, initial, 1 h": (15.6, 96.7, 26.8),
    "Kamps and Kleinberg, balanced, 1 h": (38.4, 93.5, 54.4),
    "Kamps and Kleinberg, strict, 1 h": (50.1, 75.0, 60.5),
    "random forest, 5 s": (92.4, 78.4, 84.0),
    "random forest, 15 s": (91.3, 84.4, 87.7),
    "random forest, 25 s": (93.7, 91.3, 91.8),
}

# Of their features the one that their forest leans on most looks back on so many chunks.
LOOK_BACK = 900


def hours(minutes: pd.DataFrame) -> pd.DataFrame:
    """Candles of an hour; one without trade repeats the close before, with no volume."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    rows = minutes.set_index("ts")[list(how)].resample(HOUR).agg(how)
    close = rows["close"].ffill()
    prices = {name: rows[name].fillna(close) for name in ("open", "high", "low")}
    rows = rows.assign(**prices, close=close).reset_index()
    return rows.assign(symbol=minutes["symbol"].iloc[0], split=1.0)


def kamps(rows: pd.DataFrame, rule: tuple[float, float, int]) -> pd.DatetimeIndex:
    """Closes of the hours whose high and volume rose beyond the means of the hours before."""
    rise, swell, window = rule
    usual = rows[["close", "volume"]].rolling(window).mean().shift()
    is_odd = rows["high"] > (1 + rise) * usual["close"]
    is_odd &= rows["volume"] > (1 + swell) * usual["volume"]
    return pd.DatetimeIndex(rows["ts"][is_odd]) + HOUR


def chunk_scores(trades: pd.DataFrame) -> pd.DataFrame:
    """What rush orders did in each chunk with a trade; the index is when the chunk closes.

    A rush order is a taker's buys of one millisecond, summed. ``orders`` counts them, ``large``
    those of two trades or more, as La Morgia et al. do; ``force`` is the logarithm of the
    chunk's reach times the money of these; ``spread`` La Morgia's first feature, the relative
    change of the standard deviation of ``large`` over 900 chunks with buys.
    """
    buys = trades[trades["side"] == "buy"]
    money = buys["price"] * buys["amount"]
    each = money.groupby(buys["ts"]).agg(["size", "sum"])
    of_two = each[each["size"] > 1]
    prices = trades["price"].groupby(trades["ts"].dt.floor(CHUNK)).agg(["max", "min", "last"])

    def per_chunk(values: pd.Series, how: str) -> pd.Series:
        found = values.groupby(values.index.floor(CHUNK)).agg(how)
        return found.reindex(prices.index, fill_value=0)

    orders, large = per_chunk(each["size"], "size"), per_chunk(of_two["size"], "size")
    before = prices["last"].shift()
    reach = np.log(prices["max"].clip(lower=before) / prices["min"].clip(upper=before))
    with np.errstate(divide="ignore"):
        force = np.log(reach) + np.log(per_chunk(of_two["sum"], "sum"))
    spread = large[orders > 0].rolling(LOOK_BACK).std().pct_change()
    table = pd.DataFrame({"orders": orders, "large": large, "force": force, "spread": spread})
    table = table.replace([np.inf, -np.inf], np.nan)
    return table.set_axis(table.index + CHUNK)


def leave_one_coin_out(
    events: Sequence[Event], scores: Mapping[str, pd.Series], per_day: float, chunk: pd.Timedelta
) -> list[Count]:
    """Counts of each coin's events at the threshold that keeps the rate on all other coins.

    Parameters
    ----------
    scores : Mapping of str to Series
        By the event's name; the index is when a chunk closes.
    per_day : float
        False alarms a day that the others may have.
    """
    found: list[Count] = []
    for coin in sorted({event.symbol for event in events}):
        others = [event for event in events if event.symbol != coin]
        threshold = _threshold(others, scores, per_day, chunk)
        own = [event for event in events if event.symbol == coin]
        found += [_count(event, scores[event.name], threshold, chunk) for event in own]
    return found


def _threshold(
    events: Sequence[Event], scores: Mapping[str, pd.Series], per_day: float, chunk: pd.Timedelta
) -> float:
    """The least score beyond which no more than ``per_day`` is told, by bisection."""
    told = np.unique(np.concatenate([scores[event.name].dropna() for event in events]))
    values = np.append(-np.inf, told)
    accepted = per_day * sum(event.days for event in events)
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        counts = [_count(event, scores[event.name], values[middle], chunk) for event in events]
        if sum(len(each.false) for each in counts) <= accepted:
            high = middle
        else:
            low = middle + 1
    return float(values[low])


def _count(event: Event, score: pd.Series, threshold: float, chunk: pd.Timedelta) -> Count:
    return count(event, pd.DatetimeIndex(score.index[score > threshold]), chunk)
