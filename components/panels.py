"""Rows to panels and back: the one shape of numbers.

A panel is float64 ``(n_series, n_bars, n_fields)``, oldest bar first, NaN where there is no
bar. Series of different length end in the same column: the padding stands in front.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FIELDS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "split",
    "market",
    "steps",
    "market_volume",
    "vwap",
)


@dataclass(frozen=True)
class CandlePanel:
    """The candles of some instruments: ``fields`` (n_series, n_bars, len(FIELDS)), ``ts``.

    ``ts`` is datetime64[us], NaT where there is no bar. ``split`` is new shares per old share
    since the bar before, ``market`` the return of the instrument's market over the same time, a
    fraction (NaN: unknown), ``steps`` how many bars should have come since the bar before, this
    one included: 3 when two are missing. ``market_volume`` is the market's volume, the median of
    ln(volume / mean of the 10 earlier volumes), NaN when unknown; ``vwap`` the bar's mean price as
    its source gives it, NaN where it does not. ``round_the_clock`` names the instruments whose
    market never closes: they have no gap between a close and the next open.
    """

    symbols: tuple[str, ...]
    ts: npt.NDArray[np.datetime64]
    fields: Array
    round_the_clock: frozenset[str] = frozenset()

    def field(self, name: str) -> Array:
        """One field, shape (n_series, n_bars)."""
        return self.fields[:, :, FIELDS.index(name)]

    @property
    def is_bar(self) -> Flags:
        """Where there is a bar, shape (n_series, n_bars)."""
        return ~np.isnat(self.ts)

    @property
    def steps(self) -> Array:
        """Expected bars since the bar before, (n_series, n_bars), at least 1; 1 where unknown."""
        steps = self.field("steps")
        # Nothing compares with NaN: what is unknown counts as adjacent.
        return np.where(steps > 1, steps, 1.0)

    @property
    def is_session(self) -> Flags:
        """Which series' markets close, shape (n_series,)."""
        return np.array([s not in self.round_the_clock for s in self.symbols], dtype=np.bool_)


def pack(
    candles: pd.DataFrame, symbols: tuple[str, ...], round_the_clock: Collection[str] = ()
) -> CandlePanel:
    """Make a panel of the rows of ``symbols``; one row a (symbol, ts), in any order.

    Without a column ``market`` the market's return is unknown, as is its volume without
    ``market_volume``; without ``steps`` every bar counts as the next one after the bar before.
    """
    codes = pd.Index(symbols).get_indexer(pd.Index(candles["symbol"]))
    stamps = candles["ts"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    order = np.lexsort((stamps, codes))
    order = order[codes[order] >= 0]
    codes = codes[order]
    counts = np.bincount(codes, minlength=len(symbols))
    n_bars = int(counts.max(initial=0))
    firsts = np.cumsum(counts) - counts
    columns = np.arange(len(order)) - firsts[codes] + n_bars - counts[codes]

    ts = np.full((len(symbols), n_bars), np.datetime64("NaT", "us"))
    ts[codes, columns] = stamps[order]
    fields = np.full((len(symbols), n_bars, len(FIELDS)), np.nan)
    for j, name in enumerate(FIELDS):
        if name in candles:
            fields[codes, columns, j] = candles[name].to_numpy(dtype=float)[order]
    return CandlePanel(symbols, ts, fields, frozenset(round_the_clock))
