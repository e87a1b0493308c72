"""The checks that compare levels of prices: units, splits, ticks, rounding.

What looks like a move but is an error of the provider is told from one by exact ratios (100,
a known split), by the way back, and by what is stored.
"""

import math

import numpy as np

from components.checks.arrays import PRICES, Array, Rows, later_ratios
from components.checks.known import Known

# A hundredfold error (pence for pounds) is seen beside the day's own move: 80 to 125 times.
HUNDREDFOLD_SLACK = math.log(1.25)

# A split's ratio is seen beside the day's own move of up to 10 % of its logarithm, at most
# 10 %. Small ratios look like a bad day, so they count only near the split's date.
SPLIT_SLACK, SMALLEST_RATIO, TELLING_RATIO, NEAR_BARS = 0.10, 1.5, 4.0, 30

# A tick is off by a factor of three or more, with its high and its low, for at most three
# bars; it is back when open and close are where they were, to a tenth of its logarithm.
TICK, TICK_BARS, TICK_SLACK = 3.0, 3, 0.10

# A provider prints coins with six decimals at least. Returns are noise where one unit of the
# last place is worth more than a tenth of the price.
DECIMALS, ROUNDED = 6, 0.10


def hundredfold(rows: Rows, known: Known) -> Array:
    """Prices are 100 times or 1/100 of those before: pence for pounds.

    Either within the bar (high / low), or from the close before to both open and close; then
    every bar is refused until the prices come back. The stored close before is the measure,
    without one the reply's first. Coins are exempt: they have no pence, and do lose 99 %.
    """
    refused = np.zeros(len(rows), dtype=bool)
    if rows.replies.is_coin.all():
        return refused
    exempt = rows.of(rows.replies.is_coin)
    refused |= ~exempt & _is_near(rows.high / rows.low, math.log(100))
    own = np.flatnonzero(~refused & ~exempt)
    series = rows if len(own) == len(rows) else rows.take(own)
    before = _close_before(series, known)
    with np.errstate(invalid="ignore"):
        by_close = series.adjusted_close / before
        by_open = series.open / series.later_ratios / before
    up = _is_near(by_close, math.log(100)) & _is_near(by_open, math.log(100))
    down = _is_near(by_close, -math.log(100)) & _is_near(by_open, -math.log(100))
    step = up.astype(np.int64) - down
    if not step.any():
        return refused
    level = np.cumsum(step)
    refused[own] = level != series.spread((level - step)[series.starts])
    return refused


def split_not_applied(rows: Rows, known: Known) -> Array:
    """The provider forgot to restate the row by a later split that it names itself.

    Seen by a jump of exactly the split's ratio on another date. Rows before such a jump, back
    to the jump that undoes it, are refused. A split that the reply does not name is no split
    here: a jump of its ratio that stays is a move, and one that comes back is ``bad_tick``.
    """
    refused = np.zeros(len(rows), dtype=bool)
    if known.actions.empty:
        return refused
    splits = known.actions[known.actions["kind"] == "split"]
    first, last = (np.searchsorted(rows.reply, splits["reply"], side=s) for s in ("left", "right"))
    at = splits["ts"].dt.as_unit("us").astype("int64")
    for start, end, ts, ratio in zip(first, last, at, splits["value"], strict=True):
        if end > start and abs(math.log(ratio)) >= math.log(SMALLEST_RATIO):
            refused[start:end] |= _unapplied(rows, slice(start, end), ts, ratio)
    return refused


def _unapplied(rows: Rows, own: slice, ts: int, ratio: float) -> Array:
    size = math.log(ratio)
    close = rows.adjusted_close[own]
    before = np.append(np.nan, close[:-1])
    by_close = np.log(close / before)
    by_open = np.log(rows.open[own] / rows.later_ratios[own] / before)
    slack = min(SPLIT_SLACK, SPLIT_SLACK * abs(size))
    starts = (np.abs(by_close + size) < slack) & (np.abs(by_open + size) < 2 * slack)
    ends = (np.abs(by_close - size) < slack) & (np.abs(by_open - size) < 2 * slack)
    is_before = rows.ts[own] < ts
    last = int(is_before.sum())
    at = np.arange(len(close))
    usable = at <= last
    if abs(size) < math.log(TELLING_RATIO):
        usable &= at > last - NEAR_BARS
    starts, ends = usable & starts, usable & ends & ~starts
    # The next jump behind a row says on which side of the split's restatement it stands.
    following = np.append(np.where(starts | ends, at, len(at))[1:], len(at))
    nearest = np.minimum.accumulate(following[::-1])[::-1]
    return np.asarray(np.append(starts, False)[nearest] & is_before)


def bad_tick(rows: Rows, known: Known) -> Array:
    """A bar, or up to three, off by a factor of three or more, and back where it was.

    The whole bar must be off, its high and low too: a real squeeze or crash passes through
    the prices between, within a bar or from one to the next, and does not return to the same
    price (twice in a row: at the open and at the close). A high or a low alone may be a real
    trade, and is let in.

    The way back is looked for within the reply. So the newest bar is let in, even if it was a
    tick; when the next reply shows that, it is told, and what is stored stays as it is.
    """
    refused = np.zeros(len(rows), dtype=bool)
    before = _close_before(rows, known)
    with np.errstate(invalid="ignore"):
        low, high = rows.low / rows.later_ratios, rows.high / rows.later_ratios
        off = np.flatnonzero((low >= TICK * before) | (high * TICK <= before))
    for n_bars in range(1, TICK_BARS + 1):
        off = off[off + n_bars < len(rows)]
        if not len(off):
            break
        base, back = before[off], off + n_bars
        inside = rows.reply[off] == rows.reply[back]
        is_up = low[off] >= TICK * base
        size = np.abs(np.log(rows.adjusted_close[off] / base))
        for k in range(n_bars):
            is_off = np.where(is_up, low[off + k] >= TICK * base, high[off + k] * TICK <= base)
            inside &= is_off & ~refused[off + k]
        slack = np.minimum(TICK_SLACK * size, HUNDREDFOLD_SLACK)
        opened = rows.open[back] / rows.later_ratios[back]
        for price in (opened, rows.adjusted_close[back]):
            inside &= np.abs(np.log(price / base)) < slack
        for k in range(n_bars):
            refused[off[inside] + k] = True
    return refused


def rounded_price(rows: Rows, known: Known) -> Array:  # noqa: ARG001 - as the other checks
    """One unit of the last decimal that is printed is worth more than a tenth of the price.

    Of coins only, and below 0.00001: 0.000001, 0.000002. What is printed is judged by the
    finest price of the reply so far, later rows are not looked at.
    """
    refused = np.zeros(len(rows), dtype=bool)
    smallest = 10.0**-DECIMALS / ROUNDED
    suspects = rows.close < smallest * (1 - 1e-9)
    if not suspects.any():
        return refused
    suspects &= rows.of(rows.replies.is_coin)
    for reply in np.unique(rows.reply[suspects]):
        start, end = np.searchsorted(rows.reply, [reply, reply + 1])
        finest = np.full(end - start, DECIMALS)
        for name in PRICES:
            finest = np.maximum(finest, _decimals(getattr(rows, name)[start:end]))
        tick = 10.0 ** -np.maximum.accumulate(finest).astype(float)
        refused[start:end] = suspects[start:end] & (tick > ROUNDED * rows.close[start:end] * 1.001)
    return refused


def _decimals(prices: Array) -> Array:
    """How many decimals a price has, from 6 to 18, float noise of its last digits aside."""
    found = np.full(len(prices), DECIMALS)
    for digits in range(DECIMALS, 18):
        scaled = prices * 10.0**digits
        coarse = np.abs(scaled - np.round(scaled)) < 1e-6 * np.maximum(scaled, 1.0)
        found = np.where((found == digits) & ~coarse, digits + 1, found)
    return found


def _close_before(rows: Rows, known: Known) -> Array:
    """The adjusted close before each row.

    Before a reply's first it is the last that is stored, or that of the reply before.
    """
    before = rows.before(rows.adjusted_close)
    if not len(rows):
        return before
    stored, firsts = known.stored, np.flatnonzero(rows.starts)
    reply = rows.reply[firsts]
    ts, close = _of_reply_before(rows, firsts)
    if stored.n:
        place = stored.up_to(rows.replies.instrument[reply], rows.ts[firsts])
        is_newer = (place >= 0) & (stored.ts[place] >= ts)
        ts = np.where(is_newer, stored.ts[place], ts)
        close = np.where(is_newer, stored.close[place], close)
    before[firsts] = close / later_ratios(reply, ts, known.actions)
    return before


def _of_reply_before(rows: Rows, firsts: Array) -> tuple[Array, Array]:
    """When the instrument's reply before each reply ended, and its last close; NaN for none."""
    ts, close = np.full(len(firsts), np.iinfo(np.int64).min), np.full(len(firsts), np.nan)
    instrument = rows.replies.instrument[rows.reply[firsts]]
    order = np.lexsort((rows.ts[firsts], instrument))
    earlier, later = order[:-1], order[1:]
    lasts = np.append(firsts[1:], len(rows)) - 1
    is_before = instrument[earlier] == instrument[later]
    is_before &= rows.ts[lasts[earlier]] < rows.ts[firsts[later]]
    ts[later[is_before]] = rows.ts[lasts[earlier[is_before]]]
    close[later[is_before]] = rows.close[lasts[earlier[is_before]]]
    return ts, close


def _is_near(ratio: Array, target: float) -> Array:
    """Whether a ratio is the target (a logarithm), give or take a day's move."""
    lowest, highest = math.exp(target - HUNDREDFOLD_SLACK), math.exp(target + HUNDREDFOLD_SLACK)
    return np.asarray((ratio > lowest) & (ratio < highest))
