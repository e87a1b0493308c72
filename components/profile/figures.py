"""One row an instrument: volatility, what was unusual, and whether its bars are consistent."""

import numpy as np
import pandas as pd
from numba import njit

from components.features.channels import unsplit_volume
from components.panels import Array, CandlePanel, Flags, Ints
from components.profile.unusual import LARGE, Axis, Compared

# A spread of so many returns is itself known to a sixth, of fewer to less.
LEAST_RETURNS = 20

# Returns that count as recent.
RECENT = 60

# The plain rule that is often used for spikes: volume over 3 times the mean of up to 19 bars
# before, at least 5 of them.
PLAIN_TIMES, PLAIN_WINDOW, PLAIN_LEAST = 3.0, 19, 5


def figures(panel: CandlePanel, axis: Axis, found: Compared) -> pd.DataFrame:
    """Describe each instrument of a panel that has bars.

    Returns
    -------
    DataFrame
        symbol, n_bars, first, last, bars_per_year; volatility and volatility_recent (of all log
        returns and of the last 60, a year, fractions; each return divided by the square root of
        the bars that it is over; NaN of fewer than 20); n_judged_moves, n_large_moves,
        n_judged_volumes, n_volume_spikes; the largest of each: largest_move (a fraction),
        largest_move_times, largest_move_ts, largest_spike_z, largest_spike_ts; n_plain_judged,
        n_plain_spikes (volume over 3 times the mean of up to 19 bars before); n_unchanged (close
        equal to the close before), longest_unchanged (bars in a row), n_flat (the four prices
        equal),
        n_zero_volume, n_no_volume, n_gaps (places where a due bar is not held),
        longest_gap_bars.
    """
    n_bars = panel.is_bar.sum(axis=1)
    last = np.where(n_bars > 0, panel.ts.shape[1] - 1, -1)
    rows = pd.DataFrame(
        {
            "symbol": list(panel.symbols),
            "n_bars": n_bars,
            "first": _ts_at(panel, np.where(n_bars > 0, last + 1 - n_bars, -1)),
            "last": _ts_at(panel, last),
            "bars_per_year": axis.per_year,
            **_volatilities(panel, axis, found),
            **_unusual(panel, found),
            **_consistent(panel, found),
        }
    )
    return pd.DataFrame(rows[n_bars > 0]).reset_index(drop=True)


def _volatilities(panel: CandlePanel, axis: Axis, found: Compared) -> dict[str, Array]:
    returns = np.log1p(found.move) / np.sqrt(panel.steps)
    known = np.isfinite(returns)
    # Counted from the last one backwards: the recent ones have the small numbers.
    place = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    recent = np.where(known & (place <= RECENT), returns, np.nan)
    root = np.sqrt(axis.per_year)
    return {
        "volatility": _spread(returns) * root,
        "volatility_recent": _spread(recent) * root,
    }


def _spread(values: Array) -> Array:
    """Standard deviation of each row (divisor n - 1), NaN where too few are known."""
    known = np.isfinite(values)
    n = known.sum(axis=1)
    least = n >= LEAST_RETURNS
    mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(n, 1)
    squares = (np.where(known, values - mean[:, None], 0.0) ** 2).sum(axis=1)
    return np.where(least, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)


def _unusual(panel: CandlePanel, found: Compared) -> dict[str, object]:
    size, spike = np.abs(found.move_z), found.volume_z
    volume = np.ascontiguousarray(unsplit_volume(panel, np.ones(len(panel.symbols)))[1])
    judged, over = _plain(volume, panel.is_bar, PLAIN_WINDOW, PLAIN_LEAST, PLAIN_TIMES)
    move_at, spike_at = _place_of_largest(size), _place_of_largest(spike)
    return {
        "n_judged_moves": np.isfinite(size).sum(axis=1),
        "n_large_moves": (size >= LARGE).sum(axis=1),
        "largest_move": _at(found.move, move_at),
        "largest_move_times": _at(size, move_at),
        "largest_move_ts": _ts_at(panel, move_at),
        "n_judged_volumes": np.isfinite(spike).sum(axis=1),
        "n_volume_spikes": (spike >= LARGE).sum(axis=1),
        "largest_spike_z": _at(spike, spike_at),
        "largest_spike_ts": _ts_at(panel, spike_at),
        "n_plain_judged": judged,
        "n_plain_spikes": over,
    }


def _place_of_largest(values: Array) -> Ints:
    """The bar of the largest value of each series, -1 where none is known."""
    if not values.shape[1]:
        return np.full(len(values), -1)
    known = np.where(np.isfinite(values), values, -np.inf)
    return np.where(np.isfinite(values).any(axis=1), known.argmax(axis=1), -1)


def _at(values: Array, place: Ints) -> Array:
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.where(place >= 0, values[np.arange(len(place)), place], np.nan)


def _ts_at(panel: CandlePanel, place: Ints) -> pd.DatetimeIndex:
    never = np.full(len(place), np.datetime64("NaT", "us"))
    ts = panel.ts[np.arange(len(place)), place] if panel.ts.shape[1] else never
    return pd.DatetimeIndex(np.where(place >= 0, ts, never), tz="UTC")


def _consistent(panel: CandlePanel, found: Compared) -> dict[str, Ints]:
    open_, high, low, close, volume = (
        panel.field(name) for name in ("open", "high", "low", "close", "volume")
    )
    is_unchanged = found.move == 0
    is_gap = panel.is_bar & (panel.steps > 1)
    return {
        "n_unchanged": is_unchanged.sum(axis=1),
        "longest_unchanged": _longest(is_unchanged),
        "n_flat": ((high == low) & (open_ == close) & (high == close)).sum(axis=1),
        "n_zero_volume": (volume == 0).sum(axis=1),
        "n_no_volume": (panel.is_bar & np.isnan(volume)).sum(axis=1),
        "n_gaps": is_gap.sum(axis=1),
        "longest_gap_bars": (np.where(is_gap, panel.steps, 1.0) - 1)
        .max(axis=1, initial=0)
        .astype(np.int64),
    }


def _longest(flags: Flags) -> Ints:
    """How many in a row are set at most, of each series."""
    place = np.arange(1, flags.shape[1] + 1)
    begun = np.maximum.accumulate(np.where(flags, 0, place), axis=1)
    return np.asarray((np.where(flags, place, begun) - begun).max(axis=1, initial=0))


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _plain(
    volume: Array, is_bar: Flags, window: int, least: int, times: float
) -> tuple[Ints, Ints]:
    """Bars with enough volumes before them, and those above the mean; of each series."""
    judged = np.zeros(volume.shape[0], dtype=np.int64)
    over = np.zeros(volume.shape[0], dtype=np.int64)
    for i in range(volume.shape[0]):
        for t in range(volume.shape[1]):
            if not is_bar[i, t] or np.isnan(volume[i, t]):
                continue
            total, n = 0.0, 0
            for j in range(max(t - window, 0), t):
                if not np.isnan(volume[i, j]):
                    total += volume[i, j]
                    n += 1
            if n >= least:
                judged[i] += 1
                over[i] += volume[i, t] * n > times * total
    return judged, over
