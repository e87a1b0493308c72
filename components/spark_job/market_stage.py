"""The first stage: the candles of one calendar in order, and beside each what its market did.

Pure: Spark's processor hands over what its state store holds, and stores what comes back.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components.gaps import with_steps
from components.sessions import length
from components.spark_job.columns import DOUBTFUL, OF_MARKET, ORDERED, WATERMARK
from components.spark_job.market_state import Held, instants, numbered, stamps
from components.spark_job.sent_state import opened_tail
from components.spark_job.sieve import Sieve
from components.streaming.judge import StreamJudge
from components.streaming.market_scan import MarketState, beside
from components.streaming.ordering import NEVER, Ordering

# When a bar is overdue Spark's watermark says, and not the newest candle.
FOREVER = 1 << 62


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
        self, name: str, body: bytes | None, rows: pd.DataFrame, watermark: int
    ) -> tuple[bytes, pd.DataFrame, int | None]:
        """Add candles, and give the bars that are due.

        Parameters
        ----------
        name : str
            The calendar.
        body : bytes, optional
            What the last call gave first; None before the first.
        rows : DataFrame
            In the columns ARRIVED, in any order, none of them refused.
        watermark : int
            Up to which open nothing more is waited for, microseconds since 1970.

        Returns
        -------
        bytes, DataFrame, int or None
            What to hold; the bars in the columns ORDERED; the open of the oldest that waits.
        """
        members = self.judge.members[name]
        held = Held.blank(len(members)) if body is None else Held.read(body)
        said: list[pd.DataFrame] = []
        if len(rows):
            is_state = rows["carried"].notna()
            held, passed_on = self._replaced(held, members, rows[is_state])
            held, rows, doubtful = self._sieved(held, members, rows[~is_state])
            said = [self._placed(name, each) for each in (passed_on, doubtful) if len(each)]
            said.append(_mark(name, watermark))
        step = length(self.judge.interval).value // 1000
        ordering = Ordering(len(members), step, FOREVER)
        fresh = numbered(rows, members)
        pending, released = ordering.take(held.pending, fresh, overdue=max(watermark, NEVER))
        market = held.market
        if len(released.rows):
            market, bars = self._beside(name, market, released.rows)
            said.append(self._placed(name, bars))
        waits = pending.rows["ts"]
        held = replace(held, pending=pending, market=market)
        bars = pd.concat(said) if len(said) > 1 else said[0] if said else pd.DataFrame()
        return held.body(), bars, int(waits.iloc[0]) if len(waits) else None

    def _sieved(
        self, held: Held, members: tuple[str, ...], rows: pd.DataFrame
    ) -> tuple[Held, pd.DataFrame, pd.DataFrame]:
        """The rows that are judged, and those that the driver has to look at."""
        sieve = Sieve(self.judge.calendars, self.judge.interval, members)
        rows = rows.sort_values(["ts", "offset"], kind="stable")
        close = held.market.fields[:, -1, 0]
        is_good, is_doubtful, n_idle = sieve.sieved(rows, close, held.n_idle)
        doubtful = rows[is_doubtful].assign(mark=DOUBTFUL)
        return replace(held, n_idle=n_idle), rows[is_good], doubtful

    def _replaced(
        self, held: Held, members: tuple[str, ...], sent: pd.DataFrame
    ) -> tuple[Held, pd.DataFrame]:
        """The last bars of instruments that were judged again, in place of those held."""
        if not len(sent):
            return held, sent
        ts, fields = held.market.ts.copy(), held.market.fields.copy()
        at = pd.Index(members).get_indexer(pd.Index(sent["symbol"]))
        for i, body in zip(at, sent["carried"], strict=True):
            ts[i], fields[i] = opened_tail(bytes(body))
        return replace(held, market=replace(held.market, ts=ts, fields=fields)), sent

    def _beside(
        self, name: str, state: MarketState, rows: pd.DataFrame
    ) -> tuple[MarketState, pd.DataFrame]:
        members, judge = self.judge.members[name], self.judge
        last = pd.DatetimeIndex(state.ts[:, -1], tz="UTC").as_unit("us")
        rows = rows.assign(
            symbol=np.array(members, dtype=object)[rows["member"].to_numpy()],
            ts=instants(rows["ts"]),
            known_at=instants(rows["known_at"]),
            split=1.0,
        )
        after = pd.Series(last, index=list(members))
        rows = with_steps(judge.calendars, judge.interval, rows, after)
        state, found = judge.market(name, state, rows)
        rows = beside(rows, found)
        own = found.rename(columns={v: k for k, v in OF_MARKET.items()}).drop(columns="steps")
        place = pd.Index(stamps(own["ts"])).get_indexer(pd.Index(stamps(rows["ts"])))
        own = own.drop(columns="ts").reset_index(drop=True).reindex(place)
        return state, rows.assign(**{str(n): own[n].to_numpy() for n in own})

    def _placed(self, name: str, rows: pd.DataFrame) -> pd.DataFrame:
        at = pd.Index(self.judge.symbols).get_indexer(pd.Index(rows["symbol"]))
        rows = rows.assign(watch_list=name, shard=at % self.n_shards)
        return rows.reindex(columns=list(ORDERED))


def _mark(name: str, watermark: int) -> pd.DataFrame:
    """A row that tells the driver how far the watermark is; Spark wants it to be newer."""
    ts = pd.DatetimeIndex(np.array([watermark + 1000]).view("M8[us]"), tz="UTC")
    row = {"symbol": [""], "ts": ts, "known_at": ts, "watch_list": [name], "shard": [0]}
    return pd.DataFrame({**row, "mark": [WATERMARK]}).reindex(columns=list(ORDERED))
