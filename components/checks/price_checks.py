"""The checks that compare levels of prices: units, splits, rounding.

What looks like a move but is an error of the provider is told from one by exact ratios (100,
a known split), by the way back, and by what is stored.
"""

import math

import numpy as np

from components.checks.arrays import PRICES, Array, Rows, later_ratios
from components.checks.known import Known

# A hundredfold error (pence for pounds) is seen beside the day's own move: 80 to 125 times
# within a bar. From bar to bar one of open and close is 67 to 150 times off, the other 50 to
# 200 times: a way back that is missed refuses all that follows.
HUNDREDFOLD_SLACK, STEP_SLACK, LOOSE_SLACK = math.log(1.25), math.log(1.5), math.log(2)

# A split's ratio is seen beside the day's own move of up to 10 % of its logarithm, at most
# 10 %. Small ratios look like a bad day, so they count only near the split's date.
SPLIT_SLACK, SMALLEST_RATIO, TELLING_RATIO, NEAR_BARS = 0.10, 1.5, 4.0, 30

# So few bars before a hundredfold step do not say which side of it is right; but a run that
# is back after three bars, or among ten times as many others, is the wrong one.
SHORT_SIDE, SHORT_RUN, MANY = 60, 3, 10

# A provider prints coins with six decimals at least. Returns are noise where one unit of the
# last place is worth more than a tenth of the price.
DECIMALS, ROUNDED = 6, 0.10


def hundredfold(rows: Rows, known: Known) -> Array:
    """Prices are 100 times or 1/100 of those before: pence for pounds.

    Either within the bar (high / low), or from the close before to both open and close; then
    every bar is refused until the prices come back. The stored close before is the measure,
    without one a stored close of the same bars, without any the reply's first. But after a
    short beginning nobody knows which side is right: then the whole reply is refused, and a
    person must look. Coins are exempt: they have no pence, and do lose 99 %.
    """
    refused = np.zeros(len(rows), dtype=bool)
    if rows.replies.is_coin.all():
        return refused
    exempt = rows.of(rows.replies.is_coin)
    refused |= ~exempt & is_near(rows.high / rows.low, math.log(100))
    own = np.flatnonzero(~refused & ~exempt)
    series = rows if len(own) == len(rows) else rows.take(own)
    before = close_before(series, known)
    with np.errstate(invalid="ignore"):
        by_close = series.adjusted_close / before
        by_open = series.open / series.later_ratios / before
    up = _is_step(by_close, by_open, math.log(100))
    down = _is_step(by_close, by_open, -math.log(100))
    step = up.astype(np.int64) - down
    for reply in np.unique(series.reply[step != 0]):
        places = np.arange(*np.searchsorted(series.reply, [reply, reply + 1]))
        level = np.cumsum(step[places])
        if np.isnan(before[places[0]]):
            refused[own[places]] = _is_off(level, _is_as_stored(series.take(places), known))
        else:
            refused[own[places]] = level != 0
    return refused


def _is_step(by_close: Array, by_open: Array, target: float) -> Array:
    """Whether open and close went by a factor, one of them to it and the other nearly so."""
    loosely = is_near(by_close, target, LOOSE_SLACK) & is_near(by_open, target, LOOSE_SLACK)
    closely = is_near(by_close, target, STEP_SLACK) | is_near(by_open, target, STEP_SLACK)
    return np.asarray(loosely & closely)


def _is_as_stored(rows: Rows, known: Known) -> Array:
    """Whether a row's close is about that stored for the same bar."""
    stored = known.stored
    if not stored.n:
        return np.zeros(len(rows), dtype=bool)
    place = stored.at(rows.of(rows.replies.instrument), rows.ts)
    return np.asarray((place >= 0) & is_near(rows.close / stored.close[place], 0.0))


def _is_off(level: Array, is_as_stored: Array) -> Array:
    """Tell the wrong rows of a reply before which nothing is known.

    ``level`` counts the hundredfold steps up to each row, and begins at 0.
    """
    if is_as_stored.any():
        return np.asarray(level != level[np.argmax(is_as_stored)])
    is_away = level != 0
    n_first = int(np.argmax(is_away))
    is_back = ~is_away[n_first:]
    n_run, n_away = int(np.argmax(is_back)), int(is_away.sum())
    is_told = is_back.any() and (
        n_run <= max(SHORT_RUN, n_first) or len(level) - n_away >= MANY * n_away
    )
    return np.asarray(is_away | (n_first <= SHORT_SIDE and not is_told))


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


def close_before(rows: Rows, known: Known) -> Array:
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


def is_near(ratio: Array, target: float, slack: float = HUNDREDFOLD_SLACK) -> Array:
    """Whether a ratio is the target (a logarithm), give or take a day's move."""
    lowest, highest = math.exp(target - slack), math.exp(target + slack)
    return np.asarray((ratio > lowest) & (ratio < highest))
