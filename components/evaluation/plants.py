"""Planted anomalies: eight kinds in three sizes, as a provider would have sent them.

Each kind changes candles of one instrument from the bar at ``at`` on. Sizes are in units of
the instrument's own volatility before the plant (robust, 60 bars), or as the table says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from components.panels import Array

PRICES: Final = ("open", "high", "low", "close")

# A plant stands every GAP to GAP + SPREAD bars, so that each has a quiet place of its own.
GAP, SPREAD, FIRST = 110, 40, 20

# Bars that a plant may touch, and that must be there after it.
REACH = 15

# Bars before the plant from which the volatility is taken; 1.4826 MAD is a normal's sigma.
LOOK_BACK, MAD_SIGMA = 60, 1.4826
LEAST_SIGMA = 1e-3

# Bars of a burst of volatility.
BURST = 10


@dataclass(frozen=True)
class Bars:
    """Arrays (n_bars,) of one instrument, changed in place; ``sigma`` is known before a bar."""

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    sigma: Array

    def span(self, at: int) -> None:
        """Let the bar's high and low hold its close."""
        self.high[at] = max(self.high[at], self.close[at])
        self.low[at] = min(self.low[at], self.close[at])

    def lift(self, since: int, factor: float) -> None:
        """Multiply all prices from a bar on."""
        for name in PRICES:
            getattr(self, name)[since:] *= factor


Plant = Callable[[Bars, int, float, float], None]


def spike_reverts(bars: Bars, at: int, size: float, sign: float) -> None:
    """One close is displaced; the next bar is as it was."""
    bars.close[at] *= np.exp(sign * size * bars.sigma[at])
    bars.span(at)


def jump_without_volume(bars: Bars, at: int, size: float, sign: float) -> None:
    """The price jumps within the bar and stays there."""
    factor = np.exp(sign * size * bars.sigma[at])
    bars.close[at] *= factor
    bars.lift(at + 1, factor)
    bars.span(at)


def jump_with_volume(bars: Bars, at: int, size: float, sign: float) -> None:
    """The same, and the volume tells of it."""
    jump_without_volume(bars, at, size, sign)
    bars.volume[at] *= 1 + 0.5 * size
    bars.volume[at + 1] *= 1 + 0.2 * size


def volatility_burst(bars: Bars, at: int, size: float, _sign: float) -> None:
    """Ten bars whose moves are ``size`` times as large, all else in proportion."""
    within = slice(at, at + BURST)
    before = np.log(bars.close[at - 1 : at + BURST])
    last = bars.close[at + BURST - 1]
    opens, closes = np.log(bars.open[within]), before[1:]
    above = np.log(bars.high[within]) - np.maximum(opens, closes)
    below = np.minimum(opens, closes) - np.log(bars.low[within])
    new_closes = before[0] + size * (closes - before[0])
    new_opens = np.append(before[0], new_closes[:-1]) + size * (opens - before[:-1])
    bars.open[within], bars.close[within] = np.exp(new_opens), np.exp(new_closes)
    bars.high[within] = np.exp(np.maximum(new_opens, new_closes) + size * above)
    bars.low[within] = np.exp(np.minimum(new_opens, new_closes) - size * below)
    bars.volume[within] *= 1 + 0.3 * (size - 1)
    bars.lift(at + BURST, bars.close[at + BURST - 1] / last)


def volume_burst(bars: Bars, at: int, size: float, _sign: float) -> None:
    """The volume alone is ``size`` times as large."""
    bars.volume[at] *= size


def frozen_price(bars: Bars, at: int, size: float, _sign: float) -> None:
    """The provider repeats the last close and volume for ``size`` bars."""
    within = slice(at, at + int(size))
    for name in PRICES:
        getattr(bars, name)[within] = bars.close[at - 1]
    bars.volume[within] = bars.volume[at - 1]


def bad_tick(bars: Bars, at: int, size: float, sign: float) -> None:
    """A wrong close, ``size`` per cent off; 900 is a slipped decimal point."""
    bars.close[at] *= (1 + size / 100) ** sign
    bars.span(at)


def pump(bars: Bars, at: int, size: float, _sign: float) -> None:
    """Driven up with five times the volume, and dumped in the next bar."""
    factor = np.exp(size * bars.sigma[at])
    bars.close[at] *= factor
    bars.high[at] = max(bars.high[at] * factor, bars.close[at])
    bars.volume[at] *= 5
    bars.open[at + 1] = bars.close[at]
    bars.high[at + 1] = max(bars.high[at + 1], bars.open[at + 1])
    bars.volume[at + 1] *= 3


@dataclass(frozen=True)
class Kind:
    """A kind of plant: what it does, its three sizes, and where a detection counts.

    ``window`` is the number of later bars in which it counts; None: as many as it lasts.
    ``checks`` are the data checks that name it rightly.
    """

    plant: Plant
    sizes: tuple[float, float, float]
    window: int | None = 0
    checks: frozenset[str] = frozenset()
    needs_volume: bool = False

    def last(self, size: float) -> int:
        """Bars after the first in which a detection counts."""
        return int(size) - 1 if self.window is None else self.window


# What a data check may rightly say of a price that is wrong.
WRONG_PRICE = frozenset(
    {"hundredfold", "ohlc_order", "price_not_positive", "not_finite", "split_not_applied"}
)

KINDS: Final[Mapping[str, Kind]] = {
    "spike_reverts": Kind(spike_reverts, (3, 5, 8), 1),
    "jump_with_volume": Kind(jump_with_volume, (3, 5, 8)),
    "jump_without_volume": Kind(jump_without_volume, (3, 5, 8)),
    "volatility_burst": Kind(volatility_burst, (2, 3, 5), BURST - 1),
    "volume_burst": Kind(volume_burst, (3, 6, 12), needs_volume=True),
    "frozen_price": Kind(frozen_price, (3, 5, 10), None, frozenset({"copied_bar"})),
    "bad_tick": Kind(bad_tick, (5, 20, 900), 1, WRONG_PRICE),
    "pump": Kind(pump, (2, 3, 5), 1),
}

SIZES: Final = ("small", "middle", "large")


def planted(
    candles: pd.DataFrame, live: Mapping[str, pd.DatetimeIndex], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plant anomalies into candles.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split; others stay as they are.
    live : Mapping of str to DatetimeIndex
        The bars at which a plant of an instrument may begin, oldest first: those that are
        judged at all. An instrument without any holds none.
    seed : int
        The same seed and candles give the same plants, whichever other symbols there are.

    Returns
    -------
    candles : DataFrame
        The same rows with other prices and volumes.
    plants : DataFrame
        symbol, kind, size (0 to 2), ts (its first bar), until (the last at which it counts).
    """
    parts, plants = [], []
    for name, rows in candles.sort_values("ts").groupby("symbol", sort=True):
        symbol = str(name)
        if len(live.get(symbol, ())):
            changed, found = _planted(rows, symbol, live[symbol], seed)
            parts.append(changed)
            plants.extend(found)
        else:
            parts.append(rows)
    columns = ["symbol", "kind", "size", "ts", "until"]
    table = pd.DataFrame(plants, columns=columns)
    # Without any plant pandas would not know what the columns hold.
    return pd.concat(parts), table.astype(dict.fromkeys(("ts", "until"), candles["ts"].dtype))


def _planted(
    rows: pd.DataFrame, symbol: str, live: pd.DatetimeIndex, seed: int
) -> tuple[pd.DataFrame, list[tuple[str, str, int, pd.Timestamp, pd.Timestamp]]]:
    random = np.random.default_rng([seed, *symbol.encode()])
    fields = {name: rows[name].to_numpy(dtype=float).copy() for name in (*PRICES, "volume")}
    split = rows["split"].to_numpy(dtype=float)
    bars = Bars(**fields, sigma=sigma_before(fields["close"], split))
    ts, plants = rows["ts"], []
    may_begin = ts.isin(live).to_numpy()
    at = int(np.argmax(may_begin)) + FIRST + int(random.integers(SPREAD))
    while at < len(rows) - REACH:
        kind = str(random.choice(list(KINDS)))
        size = int(random.integers(len(SIZES)))
        sign = float(random.choice([-1, 1]))
        made = KINDS[kind]
        amount = made.sizes[size]
        # A split changes what a price of the bar before means.
        is_plain = bool((split[at : at + REACH] == 1).all())
        if is_plain and may_begin[at] and (bars.volume[at] > 0 or not made.needs_volume):
            made.plant(bars, at, amount, sign)
            plants.append((symbol, kind, size, ts.iloc[at], ts.iloc[at + made.last(amount)]))
        at += GAP + int(random.integers(SPREAD))
    return rows.assign(**fields), plants


def sigma_before(close: Array, split: Array) -> Array:
    """The robust volatility of returns over the 60 bars before each bar, as a fraction."""
    moves = np.diff(np.log(close)) + np.log(split[1:])
    sigma = np.full(len(close), np.nan)
    if len(moves) >= LOOK_BACK:
        windows = np.lib.stride_tricks.sliding_window_view(moves, LOOK_BACK)[:-1]
        middle = np.median(windows, axis=1, keepdims=True)
        # The window's last move is that of the bar before.
        sigma[LOOK_BACK + 1 :] = MAD_SIGMA * np.median(np.abs(windows - middle), axis=1)
    return np.where(np.isnan(sigma), 0.02, np.maximum(sigma, LEAST_SIGMA))
