"""The first stage: the candles of one calendar in order, and beside each what its market did.

Pure: Spark's processor hands over what its state store holds, and stores what comes back.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.carried import Snapshot, named, scoped
from components.feeds.base import NUMBERS
from components.gaps import with_steps
from components.sessions import length
from components.spark_job.columns import MARKET, ORDERED
from components.state_rows import from_rows, to_rows
from components.streaming.judge import StreamJudge
from components.streaming.market_scan import MarketState, beside, start_scan
from components.streaming.ordering import NEVER, Ordering, Pending

# When a bar is overdue Spark's watermark says, and not the newest candle.
FOREVER = 1 << 62

KEPT = [*NUMBERS, "known_at"]

OF_MARKET = dict(zip(MARKET, ("", "return", "volume", "n_instruments", "z", "p", "rate", "verdict"), strict=True))  # noqa: E501


@dataclass(frozen=True)
class MarketStage:
    """Puts the candles of a calendar in order, and its market's move beside them.

    Parameters
    ----------
    n_shards : int
        Into how many parts the instruments are spread to be judged.
    """

    judge: StreamJudge
    n_shards: int

    def take(
        self, name: str, held: bytes | None, rows: pd.DataFrame, watermark: int
    ) -> tuple[bytes, pd.DataFrame, int | None]:
        """Add candles, and give the bars that are due.

        Parameters
        ----------
        name : str
            The calendar.
        held : bytes, optional
            What the last call gave first; None before the first.
        rows : DataFrame
            symbol, ts (UTC), ``offset``, NUMBERS and ``known_at``, in any order.
        watermark : int
            Up to which open nothing more is waited for, microseconds since 1970.

        Returns
        -------
        bytes, DataFrame, int or None
            What to hold; the bars in the columns ORDERED; the open of the oldest that waits.
        """
        members = self.judge.members[name]
        pending, market = self.start(name) if held is None else opened(held)
        ordering = Ordering(len(members), length(self.judge.interval).value // 1000, FOREVER)
        fresh = _numbered(rows, members)
        pending, released = ordering.take(pending, fresh, overdue=max(watermark, NEVER))
        market, bars = self._beside(name, market, released.rows)
        waits = pending.rows["ts"]
        return closed(pending, market), bars, int(waits.iloc[0]) if len(waits) else None

    def start(self, name: str) -> tuple[Pending, MarketState]:
        """The state before the first candle."""
        return Pending(_numbered(pd.DataFrame(), ())), start_scan(len(self.judge.members[name]))

    def _beside(
        self, name: str, state: MarketState, rows: pd.DataFrame
    ) -> tuple[MarketState, pd.DataFrame]:
        if not len(rows):
            return state, pd.DataFrame(columns=list(ORDERED))
        members = self.judge.members[name]
        last = pd.DatetimeIndex(state.ts[:, -1], tz="UTC").as_unit("us")
        rows = rows.assign(
            symbol=np.array(members, dtype=object)[rows["member"]],
            ts=_instants(rows["ts"]),
            known_at=_instants(rows["known_at"]),
            split=1.0,
        )
        judge = self.judge
        rows = with_steps(
            judge.calendars, judge.interval, rows, pd.Series(last, index=list(members))
        )
        state, found = judge.market(name, state, rows)
        rows = beside(rows, found)
        own = found.rename(columns={v: k for k, v in OF_MARKET.items() if v})
        rows = rows.merge(own.drop(columns="steps"), how="left", on="ts")
        at = pd.Index(judge.symbols).get_indexer(pd.Index(rows["symbol"]))
        rows = rows.assign(watch_list=name, shard=at % self.n_shards, state=None)
        return state, rows[list(ORDERED)]


def _instants(us: "pd.Series[int]") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(us.to_numpy(dtype=np.int64).view("M8[us]"), tz="UTC")


def _numbered(rows: pd.DataFrame, members: tuple[str, ...]) -> pd.DataFrame:
    """The rows of members as numbers: member, ts, KEPT; the last said comes last."""
    if not len(rows):
        none = np.empty(0)
        return pd.DataFrame(
            {
                "member": none.astype(np.int64),
                "ts": none.astype(np.int64),
                **dict.fromkeys(NUMBERS, none),
                "known_at": none.astype(np.int64),
            }
        )
    rows = rows.sort_values(["ts", "offset"], kind="stable")
    at = pd.Index(members).get_indexer(pd.Index(rows["symbol"]))
    us = {name: pd.DatetimeIndex(rows[name]).as_unit("us").asi8 for name in ("ts", "known_at")}
    table = pd.DataFrame({"member": at, "ts": us["ts"], **{n: rows[n].to_numpy() for n in NUMBERS}})
    return table.assign(known_at=us["known_at"])[at >= 0]


def closed(pending: Pending, market: MarketState) -> bytes:
    """Both states as one value."""
    rows = {name: pending.rows[name].to_numpy()[None] for name in pending.rows}
    state = {
        **named(rows, "rows"),
        "newest": np.array([pending.newest]),
        "released": np.array([pending.released]),
        "ts": market.ts[None],
        "fields": market.fields[None],
        "last": np.array([market.last], dtype="M8[us]"),
        **named(market.judge, "judge"),
    }
    return to_rows(Snapshot(("",), state))[0]


def opened(held: bytes) -> tuple[Pending, MarketState]:
    """Read ``closed`` back."""
    state = from_rows(("",), [held]).state
    rows = pd.DataFrame({name: a[0] for name, a in scoped(state, "rows").items()})
    pending = Pending(rows, int(state["newest"][0]), int(state["released"][0]))
    judge = scoped(state, "judge")
    return pending, MarketState(state["ts"][0], state["fields"][0], state["last"][0], judge)
