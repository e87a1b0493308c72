"""Features of the price: how far a bar moved."""

import numpy as np

from components.features.channels import previous_close
from components.panels import Array, CandlePanel


def body(panel: CandlePanel, _previous_close: Array) -> Array:
    """Close / open - 1: the move from the open to the close, as a fraction."""
    return panel.field("close") / panel.field("open") - 1


def price_amplitude(panel: CandlePanel, _previous_close: Array) -> Array:
    """Close - open, in the quote currency."""
    return panel.field("close") - panel.field("open")


def close_return(panel: CandlePanel, previous: Array) -> Array:
    """Close / previous close - 1 as a fraction, with a split on the day undone.

    The close before the panel's first bar of a series is ``previous``; NaN when there
    is none. After a split of k new shares for an old one, the old close counts as 1 / k.
    """
    close = panel.field("close")
    before = np.empty_like(close)
    before[:, 1:] = close[:, :-1]
    if close.shape[1]:
        n_series, n_bars = close.shape
        first = n_bars - panel.is_bar.sum(axis=1)
        has_bars = first < n_bars
        before[np.arange(n_series)[has_bars], first[has_bars]] = previous[has_bars]
    return close * panel.field("split") / before - 1


def bar_return(panel: CandlePanel, previous: Array) -> Array:
    """``close_return`` in the size of one bar: over k steps, divided by the square root of k."""
    return close_return(panel, previous) / np.sqrt(panel.steps)


def log_return(panel: CandlePanel, previous: Array) -> Array:
    """The logarithm of close / previous close, a split on the day undone, in one bar's size."""
    growth: Array = np.log1p(close_return(panel, previous)) / np.sqrt(panel.steps)
    return growth


def volatility(panel: CandlePanel, _previous_close: Array) -> Array:
    """(High - low) / open, a fraction."""
    return (panel.field("high") - panel.field("low")) / panel.field("open")


def price_range(panel: CandlePanel, _previous_close: Array) -> Array:
    """(High - low) / close, a fraction."""
    return (panel.field("high") - panel.field("low")) / panel.field("close")


def bar_range(panel: CandlePanel, previous: Array) -> Array:
    """(High - low) / previous close, a split on the day undone; a fraction."""
    return (panel.field("high") - panel.field("low")) / previous_close(panel, previous)


def gap(panel: CandlePanel, previous: Array) -> Array:
    """The logarithm of open / previous close, a split on the day undone.

    NaN where a market never closes, and behind missing bars: there it would hold all that they
    did from open to close.
    """
    has_gap = panel.is_session[:, None] & (panel.steps == 1)
    return np.where(has_gap, np.log(panel.field("open") / previous_close(panel, previous)), np.nan)


def low_range(panel: CandlePanel, _previous_close: Array) -> Array:
    """(High - low) / low, a fraction."""
    low = panel.field("low")
    return (panel.field("high") - low) / low
