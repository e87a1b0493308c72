"""The checks that need one row alone, or its copies: times, prices, volumes.

Each tells of every row whether it is refused. No check takes offence at the size of a move: a
crash is what the product is there to tell.
"""

# ruff: noqa: ARG001 - every check takes the same arguments, so that a table can hold them

from collections.abc import Callable

import numpy as np
import pandas as pd

from components.checks.arrays import DAY, NO_TIME, PRICES, Array, Rows
from components.checks.known import Known

# A share of Berkshire costs 1e6; of a meme coin 1e15 change hands in a day.
LARGEST = 1e18

# Prices come as 32-bit floats, good to about 1e-7.
FLOAT_NOISE = 1e-6


def no_time(rows: Rows, known: Known) -> Array:
    """The row's text is no time."""
    return np.asarray(rows.ts == NO_TIME)


def future(rows: Rows, known: Known) -> Array:
    """The bar opens after the run; a session's date may run a day ahead of UTC."""
    replies = rows.replies
    return np.asarray(rows.ts > rows.of(replies.known_at + replies.is_daily * DAY))


def unfinished_bar(rows: Rows, known: Known) -> Array:
    """The bar had not closed when the provider stated it, or when the run began."""
    known_by = np.minimum(rows.observed_at, rows.of(rows.replies.known_at))
    return np.asarray(rows.closes_at > known_by)


def before_listing(rows: Rows, known: Known) -> Array:
    """Empty rows before the first price of the reply, and of what is stored: padding."""
    is_priced: Array = ~(
        np.isnan(rows.open) & np.isnan(rows.high) & np.isnan(rows.low) & np.isnan(rows.close)
    )
    if is_priced.all():
        return ~is_priced
    if known.stored.n:
        first = known.stored.first_of(rows.replies.instrument)
        is_priced |= rows.ts >= rows.of(first)
    seen = np.cumsum(is_priced)
    before: Array = (seen - is_priced)[rows.starts]
    return np.asarray(seen == rows.spread(before))


def null_price(rows: Rows, known: Known) -> Array:
    """A price is missing."""
    # A sum is NaN where a part is; infinities of both signs are not_finite's.
    total = rows.open + rows.high + rows.low + rows.close
    if not np.isnan(total).any():
        return np.zeros(len(rows), dtype=bool)
    opened, close = np.isnan(rows.open), np.isnan(rows.close)
    return np.asarray(opened | close | np.isnan(rows.high) | np.isnan(rows.low))


def not_finite(rows: Rows, known: Known) -> Array:
    """A price or the volume is infinite, or larger than any market's."""
    refused = np.zeros(len(rows), dtype=bool)
    for name in (*PRICES, "volume"):
        refused |= np.abs(getattr(rows, name)) > LARGEST
    return refused


def price_not_positive(rows: Rows, known: Known) -> Array:
    """A price is zero or below."""
    lowest = np.minimum(np.minimum(rows.open, rows.high), np.minimum(rows.low, rows.close))
    return np.asarray(lowest <= 0)


def ohlc_order(rows: Rows, known: Known) -> Array:
    """The high is below, or the low above, the open or the close."""
    is_low = rows.high < np.maximum(rows.open, rows.close) * (1 - FLOAT_NOISE)
    is_high = rows.low > np.minimum(rows.open, rows.close) * (1 + FLOAT_NOISE)
    return np.asarray(is_low | is_high)


def negative_volume(rows: Rows, known: Known) -> Array:
    """The volume is below zero; no volume at all is well (funds, indices, currencies)."""
    return np.asarray(rows.volume < 0)


def off_grid(rows: Rows, known: Known) -> Array:
    """The bar does not open where bars of its interval open."""
    return ~rows.on_grid


def not_a_session(rows: Rows, known: Known) -> Array:
    """No volume on a day on which the exchange is closed; with volume it did trade."""
    refused = ~rows.is_session
    return refused & ~(rows.volume > 0) if refused.any() else refused


def repeated_bar(rows: Rows, known: Known) -> Array:
    """The same bar with the same values comes again later in the reply."""
    return _among_copies(
        rows, lambda copies: copies.duplicated(["reply", "ts", *PRICES, "volume"], keep="last")
    )


def conflicting_copy(rows: Rows, known: Known) -> Array:
    """Another file of the instrument, which reaches farther, states the bar otherwise."""
    return _among_copies(
        rows,
        lambda copies: copies["copy"] < copies.groupby(["reply", "ts"])["copy"].transform("max"),
    )


def duplicate_bar(rows: Rows, known: Known) -> Array:
    """The same bar comes again later in the reply, with other values."""
    return rows.is_repeated


def _among_copies(rows: Rows, check: Callable[[pd.DataFrame], pd.Series]) -> Array:
    """Judge the bars that are there more than once; few are."""
    refused = rows.is_repeated.copy()
    if refused.any():
        refused[1:] |= refused[:-1]
        names = ("reply", "ts", *PRICES, "volume", "copy")
        copies = pd.DataFrame({name: getattr(rows, name)[refused] for name in names})
        refused[refused] = check(copies).to_numpy()
    return refused
