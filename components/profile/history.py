"""What a picture of an instrument's whole history is drawn from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.panels import Array, CandlePanel
from components.profile.unusual import LARGE, Compared

# More columns than a picture has pixels to spare show nothing.
MOST_COLUMNS = 400


@dataclass(frozen=True)
class History:
    """One instrument's prices and volumes, in columns of one or more bars, oldest first.

    ``columns`` holds ts (of the first bar), low, high, close, volume (sum); prices and volumes
    in the newest shares. ``moves`` holds column (the place in ``columns``), close and
    is_up, the largest first; ``spikes`` column.
    """

    symbol: str
    bars_a_column: int
    columns: pd.DataFrame
    moves: pd.DataFrame
    spikes: pd.DataFrame


def histories(panel: CandlePanel, found: Compared) -> list[History]:
    """One history an instrument that has bars."""
    shares = _newest_shares(panel)
    return [
        _history(panel, found, row, shares[row])
        for row in np.flatnonzero(panel.is_bar.any(axis=1)).tolist()
    ]


def _newest_shares(panel: CandlePanel) -> Array:
    """How many newest shares one share of each bar is: the splits after it multiplied."""
    splits = np.where(panel.is_bar, panel.field("split"), 1.0)
    onward = np.cumprod(splits[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(onward / splits)


def _history(panel: CandlePanel, found: Compared, row: int, newest_shares: Array) -> History:
    own = panel.is_bar[row]
    n = int(own.sum())
    wide = -(-n // MOST_COLUMNS)
    column = np.arange(n) // wide
    shares = newest_shares[own]
    bars = pd.DataFrame(
        {
            "ts": pd.DatetimeIndex(panel.ts[row, own], tz="UTC"),
            **{name: panel.field(name)[row, own] / shares for name in ("low", "high", "close")},
            "volume": panel.field("volume")[row, own] * shares,
        }
    )
    gathered = bars.groupby(column, sort=True).agg(
        {"ts": "first", "low": "min", "high": "max", "close": "last", "volume": "sum"}
    )
    move_z = found.move_z[row, own]
    at = np.flatnonzero(np.abs(move_z) >= LARGE)
    at = at[np.argsort(-np.abs(move_z[at]), kind="stable")]
    moves = pd.DataFrame(
        {"column": column[at], "close": bars["close"].to_numpy()[at], "is_up": move_z[at] > 0}
    )
    spikes = pd.DataFrame({"column": column[found.volume_z[row, own] >= LARGE]})
    return History(panel.symbols[row], wide, gathered, moves, spikes)
