"""The stream: closed candles as they come, screened, put in order, judged and stored.

What is stored of some bars is stored together: their candles, their market, their verdicts. So a
stream that is killed goes on behind the last of them, and nothing is judged twice or not at all.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components.carried import Snapshot
from components.ensemble import Ensemble, Judged
from components.feeds.base import NUMBERS, Arrived
from components.panels import Ints
from components.sessions import length
from components.steps.carrying import GROUP, blank_ledger, updated, write_group
from components.steps.judging import Rows, counted, keep, record_rows, rows_of
from components.steps.parts import Parts
from components.steps.screening import Screen, of_always_open
from components.steps.splits import with_splits
from components.streaming.judge import Found, StreamJudge, StreamState
from components.streaming.ordering import NEVER, Ordering, Pending
from components.tables import CANDLES, MARKET, QUARANTINE

# Rows judged and stored together: memory is bounded by them, and so is what a crash undoes.
SLICE = 10_000

MICROSECOND = pd.Timedelta(microseconds=1)

# So long a live stream waits for the others of a bar: candles of one bar come within seconds.
PATIENCE = pd.Timedelta(seconds=20)

FOREVER = int(np.iinfo(np.int64).max)

# Is told what was stored of some bars: candles, and rows of their verdicts.
Heard = Callable[[pd.DataFrame, Rows], None]


@dataclass(frozen=True)
class Taken:
    """What became of an arrival.

    ``judged`` are the verdicts in pieces; ``news`` the instants at which something unusual was
    known, of an instrument or a market, in order; ``late`` the candles of bars that were judged
    before; ``n_refused`` how many rows were kept aside, ``n_strange`` how many are of nobody
    watched.
    """

    judged: tuple[Judged, ...]
    news: tuple[pd.Timestamp, ...]
    late: pd.DataFrame
    n_refused: int = 0
    n_strange: int = 0


@dataclass
class Carried:
    """What a stream carries: the judgement's state, the ledger of it, and what waits in order."""

    state: StreamState
    ledger: Snapshot
    pending: dict[str, Pending]


class Stream:
    """Takes arrivals; ``known`` is the instant up to which everything is judged and stored.

    ``is_torn`` while something is stored, and for good once that failed: what is carried is then
    ahead of what is stored.
    """

    def __init__(
        self,
        parts: Parts,
        carried: Carried,
        lateness: pd.Timedelta,
        known: pd.Timestamp,
        *,
        stores_candles: bool = True,
    ) -> None:
        self.parts, self.known, self.lateness = parts, known, lateness
        self.is_torn = False
        self.heard: Heard = lambda _candles, _rows: None
        # Is given verdicts inside the transaction that stores them.
        self.sending: Callable[[pd.DataFrame], None] = lambda _verdicts: None
        self.judge = StreamJudge(
            parts.ensemble,
            parts.calendars,
            parts.watch.interval,
            tuple(sorted(parts.watch.symbols)),
        )
        self._carried, self._kept, self._stores_candles = carried, known, stores_candles
        self._screen = Screen(parts, self.judge.symbols)
        self._members = pd.Index(self.judge.symbols)
        self._has_splits = not of_always_open(parts)

    @property
    def ensemble(self) -> Ensemble:
        """Who judges; another may take over between two arrivals, with the same views."""
        return self.judge.ensemble

    @ensemble.setter
    def ensemble(self, other: Ensemble) -> None:
        self.parts = replace(self.parts, ensemble=other)
        self.judge = replace(self.judge, ensemble=other)

    @property
    def state(self) -> StreamState:
        """What the judgement carries."""
        return self._carried.state

    @property
    def n_waiting(self) -> int:
        """Candles that wait for others of their bar."""
        return sum(len(pending.rows) for pending in self._carried.pending.values())

    def released(self, calendar: str) -> pd.Timestamp | None:
        """The last bar of a calendar that was judged; None before the first."""
        at = self._carried.pending[calendar].released
        return None if at == NEVER else pd.Timestamp(at, unit="us", tz="UTC")

    def stored_through(self, number: int) -> int:
        """The last arrival of which, and of all before it, nothing waits any more."""
        waiting = [p.rows["number"].min() for p in self._carried.pending.values() if len(p.rows)]
        return min([number, *(int(first) - 1 for first in waiting)])

    def take(
        self, arrived: Arrived, now: pd.Timestamp | None = None, *, is_over: bool = False
    ) -> Taken:
        """Screen and order what arrived, judge the bars that are due, and store them.

        Parameters
        ----------
        now : Timestamp, optional
            The clock of a live stream: a bar whose first candle came ``PATIENCE`` ago waits for
            nobody any more.
        is_over : bool
            Nothing more comes: all that waits is due.
        """
        rows, n_strange = self._numbered(arrived, now)
        aside = pd.DataFrame()
        if len(rows):
            last_close = self.state.judge["channels.close"].astype(float)
            rows, aside = self._screen.sieved(rows, last_close)
        extended = rows[rows["hours"].eq("extended")] if len(rows) else rows
        rows = rows[rows["hours"].ne("extended")] if len(rows) else rows
        due, late, pending = self._ordered(rows, arrived, now, is_over=is_over)
        self.is_torn = True
        if len(extended) or len(aside):
            self._store_aside(extended, aside)
        pieces = self._judged(_slices(due))
        self._carried.pending, self.is_torn = pending, False
        news = [instant for _, instants in pieces for instant in instants]
        return Taken(
            tuple(judged for judged, _ in pieces), tuple(news), late, len(aside), n_strange
        )

    def _numbered(self, arrived: Arrived, now: pd.Timestamp | None) -> tuple[pd.DataFrame, int]:
        """The candles of those that are watched, with their number; how many were of others."""
        candles = arrived.candles
        if not len(candles):
            return candles, 0
        if "known_at" not in candles:
            candles = candles.assign(known_at=arrived.at.as_unit("us"))
        member = self._members.get_indexer(pd.Index(candles["symbol"]))
        is_own = member >= 0
        came = NEVER if now is None else _us(now)
        rows = candles.assign(member=member, number=arrived.number, came=came)
        if not is_own.all():
            rows = rows[is_own]
        return rows, int((~is_own).sum())

    def _ordered(
        self,
        rows: pd.DataFrame,
        arrived: Arrived,
        now: pd.Timestamp | None,
        *,
        is_over: bool,
    ) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Pending]]:
        """The rows that are due, oldest bar first; those that are late; what waits on."""
        through = None if arrived.through is None else _us(arrived.through)
        step, due, late, waiting = length(self.judge.interval), [], [], {}
        of = np.array([self.parts.calendars.of(symbol) for symbol in self.judge.symbols])
        calendar = of[rows["member"].to_numpy()] if len(rows) else np.array([])
        numbered = rows.assign(ts=_stamps(rows)) if len(rows) else None
        for name, pending in self._carried.pending.items():
            order = Ordering(len(self.judge.members[name]), _length(step), _length(self.lateness))
            own = pending.rows.iloc[:0] if numbered is None else numbered[calendar == name]
            overdue = FOREVER if is_over else _overdue(pending.rows, now, through)
            waiting[name], released = order.take(pending, own, through, overdue)
            due.append(released.rows)
            late.append(released.late)
        return _dated(due), _dated(late), waiting

    def _judged(self, slices: list[pd.DataFrame]) -> list[tuple[Judged, list[pd.Timestamp]]]:
        """Judge bars and store them, slice by slice; give when news was known.

        Of several slices one is stored while the next is judged. A slice is stored whole or not.
        """
        slices = [self._behind_kept(rows) for rows in slices]
        if len(slices) < 2:
            return [self._stored(rows, *self._found(rows)) for rows in slices]
        with ThreadPoolExecutor(1) as writer:
            stored: list[Future[tuple[Judged, list[pd.Timestamp]]]] = []
            for rows in slices:
                found = self._found(rows)
                if stored:
                    stored[-1].result()
                stored.append(writer.submit(self._stored, rows, *found))
            return [each.result() for each in stored]

    def _behind_kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows, known after what was kept: the next start looks for what came behind it.

        Some of them waited in order while it was kept.
        """
        return rows.assign(known_at=_at_least(rows["known_at"], self._kept + MICROSECOND))

    def _found(self, rows: pd.DataFrame) -> tuple[Found, "pd.Series[pd.Timestamp]"]:
        """Judge some bars; give what was found, and when each could be judged."""
        when = self._judged_at(rows)
        known = when.iloc[-1]
        split = rows.assign(split=1.0)
        if self._has_splits:
            split = with_splits(self.parts, rows.drop(columns="known_at"), known, self._after())
        state, found = self.judge.run(self.state, split)
        self._moved(state, found, known)
        return found, when

    def _stored(
        self, rows: pd.DataFrame, found: Found, when: "pd.Series[pd.Timestamp]"
    ) -> tuple[Judged, list[pd.Timestamp]]:
        """Store some bars and what was found in them, all of it or nothing."""
        candles, warehouse = self._candles(rows), self.parts.warehouse
        judged = rows_of(self.parts, found.judged, when, found.judged.is_anomaly)
        with warehouse.transaction():
            if self._stores_candles:
                warehouse.upsert(CANDLES, candles, is_fresh=True)
            if len(found.market):
                market = found.market.assign(known_at=found.market["ts"].map(when))
                warehouse.upsert(MARKET, market)
            record_rows(self.parts, judged, is_fresh=True)
            self.sending(judged.verdicts)
        self.heard(candles, judged)
        return found.judged, _news(found, when)

    def _judged_at(self, rows: pd.DataFrame) -> "pd.Series[pd.Timestamp]":
        """When each bar could be judged: when the last of its candles, or of earlier ones, came."""
        latest = rows.groupby("ts")["known_at"].max().cummax()
        return _at_least(latest, self.known)

    def _moved(self, state: StreamState, found: Found, known: pd.Timestamp) -> None:
        ledger, symbols = self._carried.ledger, self.judge.symbols
        counts = counted(ledger.take(symbols), found.judged)
        news = {**counts, **{k: state.judge[k] for k in ("last_ts", "n_bars")}}
        self._carried.ledger = updated(ledger, Snapshot(symbols, news))
        self._carried.state, self.known = state, known

    def _candles(self, rows: pd.DataFrame) -> pd.DataFrame:
        columns = ["symbol", "ts", *NUMBERS, "hours", "known_at"]
        return rows[columns].assign(interval=self.judge.interval, source=self.parts.source.name)

    def _store_aside(self, extended: pd.DataFrame, aside: pd.DataFrame) -> None:
        with self.parts.warehouse.transaction():
            if len(extended) and self._stores_candles:
                self.parts.warehouse.upsert(CANDLES, self._candles(extended))
            if len(aside):
                self.parts.warehouse.upsert(QUARANTINE, aside)

    def _after(self) -> "pd.Series[pd.Timestamp]":
        """The last judged bar of each instrument."""
        last = pd.DatetimeIndex(self.state.judge["last_ts"], tz="UTC").as_unit("us")
        return pd.Series(last, index=self.judge.symbols)

    def keep(self) -> None:
        """Put what is carried into the lake, so that the next start reads no history.

        Whatever comes later counts as known later. What is torn is not kept: the next start
        finds what is stored.
        """
        if self.is_torn:
            return
        at = self.known.ceil("s")
        ledger, symbols = self._carried.ledger, self.judge.symbols
        group = pd.Series(ledger.state["group"], index=ledger.symbols)[list(symbols)].to_numpy()
        for number in np.unique(group):
            own = np.flatnonzero(group == number)
            part = Snapshot(
                tuple(symbols[i] for i in own), {k: a[own] for k, a in self.state.judge.items()}
            )
            ledger = write_group(self.parts, ledger, int(number), part, at)
        keep(self.parts, ledger, at)
        self._carried.ledger, self._kept = ledger, at
        self.known = max(self.known, at)

    @property
    def ledger(self) -> Snapshot:
        """What is counted of each instrument."""
        return self._carried.ledger

    def store_late(self, rows: pd.DataFrame) -> None:
        """Store candles whose bars were judged before: known from now on."""
        rows = self._behind_kept(rows)
        self.known = max(self.known, rows["known_at"].max())
        if self._stores_candles:
            self.parts.warehouse.upsert(CANDLES, self._candles(rows))

    def put_back(self, part: Snapshot, counts: Mapping[str, np.ndarray]) -> None:
        """Put the state of instruments that were judged again in place of what is carried."""
        at = self._members.get_indexer(pd.Index(part.symbols))
        judge = {}
        for name, values in self.state.judge.items():
            judge[name] = values.copy()
            judge[name][at] = part.state[name]
        self._carried.state = replace(self.state, judge=judge)
        news = {**counts, **{k: part.state[k] for k in ("last_ts", "n_bars")}}
        self._carried.ledger = updated(self.ledger, Snapshot(part.symbols, news))

    def put_tails(self, calendar: str, ts: np.ndarray, fields: np.ndarray) -> None:
        """Put the last bars of a market's members, read anew, in place of those carried."""
        market = replace(self.state.markets[calendar], ts=ts, fields=fields)
        markets = {**self.state.markets, calendar: market}
        self._carried.state = replace(self.state, markets=markets)


def blank(parts: Parts) -> Snapshot:
    """The ledger of nothing, its instruments in groups."""
    symbols = tuple(sorted(parts.watch.symbols))
    ledger = blank_ledger(symbols)
    return Snapshot(symbols, {**ledger.state, "group": np.arange(len(symbols)) // GROUP})


def _slices(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows in pieces of whole bars."""
    if len(rows) <= SLICE:
        return [rows] if len(rows) else []
    ts = rows["ts"].to_numpy()
    starts = np.append(np.flatnonzero(ts[1:] != ts[:-1]) + 1, len(rows))
    cuts, last = [0], 0
    for at in starts:
        if at - cuts[-1] > SLICE and last > cuts[-1]:
            cuts.append(last)
        last = int(at)
    return [rows.iloc[a:b] for a, b in zip(cuts, [*cuts[1:], len(rows)], strict=True)]


def _stamps(rows: pd.DataFrame) -> Ints:
    return pd.DatetimeIndex(rows["ts"]).as_unit("us").asi8


def _us(instant: pd.Timestamp) -> int:
    return int(instant.as_unit("us").asm8.astype(np.int64))


def _length(span: pd.Timedelta) -> int:
    return int(span / MICROSECOND)


def _dated(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all calendars with their opens as instants, oldest bar first."""
    filled = [table for table in tables if len(table)] or tables[:1]
    rows = pd.concat(filled, ignore_index=True) if len(filled) > 1 else filled[0]
    if not len(rows):
        return rows
    if len(filled) > 1:
        rows = rows.iloc[np.lexsort((rows["member"].to_numpy(), rows["ts"].to_numpy()))]
    ts = pd.DatetimeIndex(rows["ts"].to_numpy().view("M8[us]")).tz_localize("UTC")
    return rows.assign(ts=ts)


def _news(found: Found, when: "pd.Series[pd.Timestamp]") -> list[pd.Timestamp]:
    """When the bars became known on which an instrument or a market was unusual."""
    own = found.judged.panel.ts[found.judged.is_anomaly]
    odd = pd.DatetimeIndex(np.unique(own), tz="UTC").as_unit("us")
    market = found.market
    wide = pd.DatetimeIndex(market.loc[market["verdict"] == "anomaly", "ts"])
    instants = when[when.index.isin(odd.append(wide))]
    return list(instants.drop_duplicates())


def _overdue(waiting: pd.DataFrame, now: pd.Timestamp | None, through: int | None) -> int:
    """The newest bar whose first candle came so long ago that it waits no more."""
    if now is None or not len(waiting):
        return NEVER
    is_old = waiting["came"].to_numpy() <= _us(now - PATIENCE)
    newest = int(waiting["ts"].to_numpy()[is_old].max(initial=NEVER))
    # Of several ends that are read one may be behind: what it holds is no reason to hurry.
    return newest if through is None else min(newest, through)


def _at_least(
    instants: "pd.Series[pd.Timestamp]", least: pd.Timestamp
) -> "pd.Series[pd.Timestamp]":
    return instants.where(instants >= least, least)
