"""What the checks know beside the rows: the stored candles, and the replies' actions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from components.checks.arrays import NO_TIME, Array, Replies, key_of


@dataclass(frozen=True)
class Stored:
    """Stored candles of the instruments asked for, ordered by instrument and time."""

    key: Array
    instrument: Array
    ts: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.ts)

    def first_of(self, instrument: Array) -> Array:
        """The first stored instant of each instrument, NO_TIME where there is none."""
        place = np.searchsorted(self.instrument, instrument)
        found = self._is_of(place, instrument)
        return np.where(found, self.ts[np.minimum(place, self.n - 1)], NO_TIME)

    def up_to(self, instrument: Array, ts: Array) -> Array:
        """Where the last candle of each instrument at or before ``ts`` is, -1 for none."""
        place = np.searchsorted(self.key, key_of(instrument, ts), side="right") - 1
        return np.where(self._is_of(place, instrument), place, -1)

    def at(self, instrument: Array, ts: Array) -> Array:
        """Where the candle of each instrument at ``ts`` is, -1 for none."""
        place = self.up_to(instrument, ts)
        return np.where((place >= 0) & (self.ts[place] == ts), place, -1)

    def _is_of(self, place: Array, instrument: Array) -> Array:
        inside = (place >= 0) & (place < self.n)
        near = np.clip(place, 0, self.n - 1)
        return np.asarray(inside & (self.instrument[near] == instrument))


@dataclass(frozen=True)
class Known:
    """What the checks know beside the rows."""

    candles: pd.DataFrame
    actions: pd.DataFrame
    replies: Replies

    @cached_property
    def stored(self) -> Stored:
        """The stored candles as arrays."""
        if self.candles.empty:
            return Stored(*(np.array([], dtype=np.int64) for _ in range(8)))
        rows = self.candles
        ts = np.array(pd.DatetimeIndex(rows["ts"]).as_unit("us").asi8)
        instrument = self._instruments(rows)
        order = np.lexsort((ts, instrument))
        order = order[instrument[order] >= 0]
        ts, instrument = ts[order], instrument[order]
        numbers = ("open", "high", "low", "close", "volume")
        columns = [
            rows[name].to_numpy(dtype=float)[order] if name in rows else np.full(len(ts), np.nan)
            for name in numbers
        ]
        return Stored(key_of(instrument, ts), instrument, ts, *columns)

    def _instruments(self, rows: pd.DataFrame) -> Array:
        """The number of each row's instrument among the replies', -1 for others."""
        replies = self.replies
        asked = pd.DataFrame(
            {
                "symbol": replies.symbol,
                "interval": replies.interval,
                "instrument": replies.instrument,
            }
        ).drop_duplicates("instrument")
        numbers = np.full(len(rows), -1, dtype=np.int64)
        for interval, own in asked.groupby("interval"):
            place = pd.Index(own["symbol"]).get_indexer(rows["symbol"])
            is_own = (place >= 0) & (rows["interval"] == interval).to_numpy()
            numbers[is_own] = own["instrument"].to_numpy()[place[is_own]]
        return numbers
