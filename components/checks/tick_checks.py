"""The check of ticks: prices that leave their level by a factor, and come back by it."""

import numpy as np

from components.checks.arrays import Array, Rows
from components.checks.known import Known
from components.checks.price_checks import HUNDREDFOLD_SLACK, close_before

# A tick is off by a factor of three or more, with its high and its low, for at most three
# bars; it is back when open and close are where they were, to a tenth of its logarithm.
TICK, TICK_BARS, TICK_SLACK = 3.0, 3, 0.10

# What splits and units multiply by. Up to three it is what a bad day may do, so both steps
# must be of the factor to 5 %; beyond to 7 % of its logarithm.
FACTORS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50, 100, 1000)
SIZES = np.concatenate([np.log(FACTORS), -np.log(FACTORS)])
PLAIN, PLAIN_SLACK, STEP_SLACK = np.log(3.01), 0.05, 0.07
SMALLEST_STEP = 1.4

# How long such a run may be, and what the market may move meanwhile: 10 % a bar, growing with
# the root of time, and less than half of the factor.
RUN_BARS, MOVE, MOVE_SHARE = 20, 0.10, 1 / 2


def bad_tick(rows: Rows, known: Known) -> Array:
    """A bar, or a run of them, off by a factor, and back where it was.

    Either up to three bars by any factor of three or more, or up to twenty by a plain factor
    as splits and units have it: it is left at the open, and at the open it is back.

    The whole bar must be off, its high and low too: a real squeeze or crash passes through
    the prices between, within a bar or from one to the next, and does not return to the same
    price (twice in a row: at the open and at the close). A high or a low alone may be a real
    trade, and is let in.

    The way back is looked for within the reply. So the newest bar is let in, even if it was a
    tick; when the next reply shows that, it is told, and what is stored stays as it is.
    """
    before = close_before(rows, known)
    with np.errstate(invalid="ignore"):
        low, high = rows.low / rows.later_ratios, rows.high / rows.later_ratios
    return np.asarray(_far_off(rows, before, low, high) | _by_a_factor(rows, before, low, high))


def _far_off(rows: Rows, before: Array, low: Array, high: Array) -> Array:
    """Up to three bars, off by three times or more."""
    refused = np.zeros(len(rows), dtype=bool)
    with np.errstate(invalid="ignore"):
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


def _by_a_factor(rows: Rows, before: Array, low: Array, high: Array) -> Array:
    """Up to twenty bars off by a plain factor, all of each bar beside all of those round them."""
    refused = np.zeros(len(rows), dtype=bool)
    with np.errstate(invalid="ignore"):
        step = rows.open / rows.later_ratios / before
        steps = np.flatnonzero((step >= SMALLEST_STEP) | (step * SMALLEST_STEP <= 1))
    first, back, size = _paired(rows.reply, steps, np.log(step[steps]))
    if not len(first):
        return refused
    bars = back - first
    opened = np.log(rows.open[back] / rows.later_ratios[back] / before[first])
    is_off = np.abs(opened) < np.minimum(MOVE * np.sqrt(bars), MOVE_SHARE * np.abs(size))
    is_off &= _is_beside(rows, before, low, high, first, back, size)
    is_off &= ~_is_thin(rows, first, back)
    ended = -1
    # A way back is no way out: of runs that touch, the earlier counts. Runs are few.
    for start, end in np.unique(np.stack([first, back], axis=1)[is_off], axis=0):
        if start > ended:
            refused[start:end], ended = True, end
    return refused


def _paired(reply: Array, steps: Array, step: Array) -> tuple[Array, Array, Array]:
    """Pair each step with the next that undoes it: where a run begins, where it is back, its size.

    ``steps`` are the places of large steps from a close to the next open, ``step`` their sizes.
    """
    pairs = [(np.array([], dtype=np.int64),) * 2 + (np.array([]),)]
    for size in SIZES if len(steps) > 1 else ():
        whole = abs(size)
        slack = PLAIN_SLACK if whole < PLAIN else min(STEP_SLACK * whole, HUNDREDFOLD_SLACK)
        out, ways_back = (steps[np.abs(step - way) < slack] for way in (size, -size))
        place = np.searchsorted(ways_back, out, side="right")
        out, place = out[place < len(ways_back)], place[place < len(ways_back)]
        back = ways_back[place]
        near = (back - out <= RUN_BARS) & (reply[out] == reply[back])
        pairs.append((out[near], back[near], np.full(int(near.sum()), size)))
    first, back, size = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return first, back, size


def _is_beside(
    rows: Rows, before: Array, low: Array, high: Array, first: Array, back: Array, size: Array
) -> Array:
    """Whether no price of a run is among those of the bar before and of the bar behind."""
    at = first[:, None] + np.arange(RUN_BARS)
    at = np.minimum(at, back[:, None] - 1)
    earlier = np.maximum(first - 1, 0)
    has_earlier = ~rows.starts[first]
    top = np.maximum(before[first], high[back])
    top = np.where(has_earlier, np.maximum(top, high[earlier]), top)
    bottom = np.minimum(before[first], low[back])
    bottom = np.where(has_earlier, np.minimum(bottom, low[earlier]), bottom)
    is_above, is_below = low[at].min(axis=1) > top, high[at].max(axis=1) < bottom
    return np.asarray(np.where(size > 0, is_above, is_below))


def _is_thin(rows: Rows, first: Array, back: Array) -> Array:
    """Whether nobody traded just before a run, or when it was back, where people do trade.

    The single trades of a thin share leap to and fro, and are real.
    """
    starts = np.flatnonzero(rows.starts)
    own = np.searchsorted(starts, first, side="right") - 1
    trades = np.add.reduceat(rows.volume > 0, starts, dtype=np.int64)[own] > 0
    idle = (rows.volume[np.maximum(first - 1, 0)] == 0) & ~rows.starts[first]
    return np.asarray(trades & (idle | (rows.volume[back] == 0)))
