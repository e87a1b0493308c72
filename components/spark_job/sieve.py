"""Which candles are judged at once, and which the driver has to look at. Pure.

A candle that plainly passes every check is judged. One that might not is held back: the driver,
which has what is stored, puts it through all checks, and sends it again if it passes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.checks.plain import is_plain
from components.checks.series_checks import dead_after
from components.panels import Array, Flags, Ints
from components.sessions import Calendars, length


@dataclass(frozen=True)
class Sieve:
    """Sieves the candles of the members of one calendar."""

    calendars: Calendars
    interval: str
    members: tuple[str, ...]

    def sieved(
        self, rows: pd.DataFrame, last_close: Array, n_idle: Ints
    ) -> tuple[Flags, Flags, Ints]:
        """Which rows are judged, which are doubtful, and the idle bars of each member after them.

        Bars of extended hours are neither.
        """
        member = pd.Index(self.members).get_indexer(pd.Index(rows["symbol"]))
        is_idle = ((rows["volume"] == 0) & (rows["high"] == rows["low"])).to_numpy()
        so_far = (n_idle + np.bincount(member[is_idle], minlength=len(n_idle))).astype(float)
        most = dead_after(self.interval)
        is_good = is_plain(rows, last_close[member], so_far[member], most) & self._is_on_time(rows)
        is_good |= rows["is_passed"].to_numpy(dtype=bool)
        ts = pd.DatetimeIndex(rows["ts"])
        is_regular = self.calendars.is_regular(self.members[0], self.interval, ts)
        after = n_idle.copy()
        after[member[is_good & ~is_idle]] = 0
        np.add.at(after, member[is_good & is_idle], 1)
        return is_good & is_regular, ~is_good, after

    def _is_on_time(self, rows: pd.DataFrame) -> Flags:
        """Whether bars open on the grid, and had closed when they became known."""
        ts = pd.DatetimeIndex(rows["ts"])
        is_closed = ts + length(self.interval) <= pd.DatetimeIndex(rows["known_at"])
        on_grid = self.calendars.on_grid(self.members[0], self.interval, ts)
        return np.asarray(is_closed & on_grid, dtype=np.bool_)
