"""Candles in any order become bars in order: each released once all members' candles came.

Whatever the order in which candles come and however often, as long as none comes later than the
lateness allows, the same bars are released in the same order.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.panels import Flags, Ints

NEVER = np.iinfo(np.int64).min

# What tells candles apart: the member's number and the bar's open.
KEY = ["ts", "member"]


@dataclass(frozen=True)
class Pending:
    """Candles that wait for others of their bar.

    ``rows`` has ``member`` (the symbol's number), ``ts`` (bar open, microseconds since 1970) and
    whatever else a candle says, ordered by ts and member. ``newest`` is the largest ts seen,
    ``released`` that of the last bar released; ``NEVER`` before the first.
    """

    rows: pd.DataFrame
    newest: int = NEVER
    released: int = NEVER


@dataclass(frozen=True)
class Released:
    """What became of arrivals: bars in order, and candles of bars that were released before."""

    rows: pd.DataFrame
    late: pd.DataFrame


@dataclass(frozen=True)
class Ordering:
    """When a bar is released.

    A bar goes once every member's candle is there and the bar before it went; or, whoever is
    missing, once the stream is ``lateness`` past its open: the watermark.

    Parameters
    ----------
    n_members : int
        Instruments whose candles make a bar whole.
    step : int
        Length of a bar, microseconds.
    lateness : int
        How much older than the newest candle a candle may come, microseconds.
    """

    n_members: int
    step: int
    lateness: int

    def take(
        self,
        pending: Pending,
        rows: pd.DataFrame,
        through: int | None = None,
        overdue: int = NEVER,
    ) -> tuple[Pending, Released]:
        """Add candles, in any order, and release what is due.

        Parameters
        ----------
        rows : DataFrame
            New candles, in the columns of ``Pending.rows``. Of the same candle the last counts.
        through : int, optional
            The open up to which the stream was read, where ``newest`` is not that.
        overdue : int
            Bars up to this open are released whoever is missing: patience is over.
        """
        is_late = rows["ts"].to_numpy() <= pending.released
        late, fresh = rows[is_late], rows[~is_late]
        newest = pending.newest
        if len(fresh):
            newest = max(newest, int(fresh["ts"].max()))
        waiting = _together(pending.rows, fresh)
        opens, counts = np.unique(waiting["ts"].to_numpy(), return_counts=True)
        read = newest if through is None else min(through, newest)
        watermark = max(read - self.lateness if read != NEVER else NEVER, overdue)
        n_due = self._n_due(opens, counts, watermark, pending.released)
        released = int(opens[n_due - 1]) if n_due else pending.released
        n_rows = int(counts[:n_due].sum())
        left = Pending(waiting.iloc[n_rows:], newest, released)
        return left, Released(waiting.iloc[:n_rows], late)

    def _n_due(self, opens: Ints, counts: Ints, watermark: int, released: int) -> int:
        """How many of the waiting bars go, the oldest first."""
        is_past = opens <= watermark
        before = np.append(released, opens[:-1]) if len(opens) else opens
        # Before the first bar nothing says that it is the first.
        is_next = (counts == self.n_members) & (before != NEVER) & (opens - before == self.step)
        return int(np.argmin(np.append(is_past | is_next, False)))


def _together(waiting: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    if not len(fresh):
        return waiting
    both = pd.concat([waiting, fresh], ignore_index=True) if len(waiting) else fresh
    order = np.lexsort((both["member"].to_numpy(), both["ts"].to_numpy()))
    both = both.iloc[order]
    is_last: Flags = np.append(_differs(both), True)[: len(both)]
    return both if is_last.all() else both[is_last]


def _differs(rows: pd.DataFrame) -> Flags:
    """Whether each row but the last is of another candle than the next."""
    ts, member = rows["ts"].to_numpy(), rows["member"].to_numpy()
    return np.asarray((ts[1:] != ts[:-1]) | (member[1:] != member[:-1]), dtype=np.bool_)
