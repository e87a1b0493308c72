"""The past: what the raw lake shows that a provider would have answered on an earlier day.

A bar that a reply stated by then is that reply's. A bar that was fetched later, as a backfill
does, is assumed to have been known once it had closed and the provider's delay had passed. A
correction keeps the instant of the reply that brought it.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.errors import (
    LakeError,
    RateLimited,
    SettingsError,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.panels import Flags, Ints
from components.records import CandleRequest, Failure, Parsed, RawReply
from components.sources.base import Source, Traits
from components.steps.parts import Parts

# A provider states a bar's final values so long after its close.
DELAY = pd.Timedelta(hours=1)

KINDS: dict[str, type[SourceError]] = {
    kind.__name__: kind
    for kind in (SourceError, SourceUnavailable, RateLimited, SymbolNotFound, SourceFormatError)
}


@dataclass(frozen=True)
class Versions:
    """Rows of one instrument, each with the reply that stated it, ordered by ``ts``.

    ``stated`` is that reply's ``as_of`` and ``final`` the instant from which a provider would
    have stated the row, both in microseconds; ``reply`` its place among all replies.
    """

    rows: pd.DataFrame
    ts: Ints
    stated: Ints
    final: Ints
    reply: Ints

    def known(
        self, since: pd.Timestamp, until: pd.Timestamp, at: pd.Timestamp
    ) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
        """The rows of [since, until) as known at an instant; and the ``ts`` that are assumed."""
        first, last = np.searchsorted(self.ts, [_us(since), _us(until)])
        here = slice(first, last)
        ts, reply = self.ts[here], self.reply[here]
        is_stated = self.stated[here] <= _us(at)
        is_final = self.final[here] <= _us(at)
        # Of what was stated the newest reply counts; of what is assumed the one that came first.
        rank = np.where(is_stated, reply, np.where(is_final, -2 - reply, NONE))
        chosen = np.flatnonzero(_best(ts, rank))
        assumed = ts[chosen[~is_stated[chosen]]]
        return self.rows.iloc[first + chosen], pd.DatetimeIndex(assumed.view("M8[us]"), tz="UTC")


NONE = np.iinfo(np.int64).min


def _us(instant: pd.Timestamp) -> int:
    return int(instant.as_unit("us").asm8.astype(np.int64))


def _best(ts: Ints, rank: Ints) -> Flags:
    """Rows of the highest rank of their ``ts``; those without any rank are out."""
    if not len(ts):
        return np.zeros(0, dtype=np.bool_)
    starts = np.flatnonzero(np.r_[True, ts[1:] != ts[:-1]])
    highest = np.repeat(np.maximum.reduceat(rank, starts), np.diff(np.r_[starts, len(ts)]))
    return np.asarray((rank == highest) & (rank != NONE))


@dataclass(frozen=True)
class Past:
    """Everything that the raw lake knows of the watched instruments."""

    candles: dict[str, Versions]
    actions: dict[str, Versions]
    failures: dict[tuple[str, pd.Timestamp], Failure]
    begins: dict[str, pd.Timestamp]
    stated_at: dict[pd.Timestamp, list[str]]

    def watched(self, symbols: tuple[str, ...], at: pd.Timestamp) -> tuple[str, ...]:
        """The instruments of which something could have been known at an instant."""
        return tuple(s for s in symbols if s in self.begins and self.begins[s] <= at)

    def longest(self, at: pd.Timestamp) -> int:
        """Bars of the instrument that had most of them at an instant."""
        return max(len(np.unique(v.ts[v.final <= _us(at)])) for v in self.candles.values())

    def closed(self, since: pd.Timestamp, until: pd.Timestamp) -> bool:
        """Whether any bar of [since, until) became known in time, or was assumed to."""
        span = _us(since), _us(until)
        return any(
            ((v.final >= span[0]) & (v.final < span[1])).any() for v in self.candles.values()
        )

    @property
    def reach(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The first and the last bar."""
        first = min(int(v.ts[0]) for v in self.candles.values())
        last = max(int(v.ts[-1]) for v in self.candles.values())
        return pd.Timestamp(first, unit="us", tz="UTC"), pd.Timestamp(last, unit="us", tz="UTC")


def read_past(parts: Parts) -> Past:
    """Parse every reply of the raw lake once.

    Raises
    ------
    LakeError
        When it holds nothing of what is watched.
    SettingsError
        When the source has no candles.
    """
    if parts.is_measured:
        raise SettingsError(
            f"nothing to replay: {parts.source.name!r} gives payment volumes, and days are "
            "replayed of candles alone. Name a source of candles with --source."
        )
    keys = parts.lake.raw_manifests(parts.source.name, parts.watch.interval)
    gathered = _Gathered()
    for number, key in enumerate(parts.progress(keys, len(keys), "reading the raw layer")):
        _gather(parts, gathered, key, number)
    candles = {s: _versions(tables) for s, tables in gathered.candles.items()}
    candles = {symbol: versions for symbol, versions in candles.items() if len(versions.ts)}
    if not candles:
        raise LakeError(
            f"nothing to replay: the lake {parts.lake.root} holds no raw reply of "
            f"{parts.source.name!r} with bars of what is watched. Fetch some first: "
            "`python main.py backfill --since 2015-01-01`."
        )
    begins = {
        s: pd.Timestamp(int(np.minimum(v.stated, v.final).min()), unit="us", tz="UTC")
        for s, v in candles.items()
    }
    for symbol, at in gathered.failures:
        begins[symbol] = min(begins.get(symbol, at), at)
    actions = {s: _versions(tables) for s, tables in gathered.actions.items()}
    return Past(candles, actions, gathered.failures, begins, gathered.stated_at)


@dataclass
class _Gathered:
    candles: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    actions: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    failures: dict[tuple[str, pd.Timestamp], Failure] = field(default_factory=dict)
    stated_at: dict[pd.Timestamp, list[str]] = field(default_factory=dict)


def _gather(parts: Parts, into: _Gathered, key: str, number: int) -> None:
    batch, watched = parts.lake.read_raw(key), set(parts.watch.symbols)
    at = pd.to_datetime(key.rpartition("as_of=")[2].partition("/")[0], utc=True)
    for failure in batch.failures:
        if failure.symbol in watched:
            into.failures[failure.symbol, at] = failure
    into.stated_at.setdefault(at, []).append(key)
    for reply in batch.replies:
        symbol = reply.request.symbol
        if symbol not in watched:
            continue
        try:
            parsed = parts.source.parse(reply)
        except SourceError:
            # The day's own run meets the reply again, and tells of it.
            continue
        rows = _finished(parts, reply, parsed.candles)
        into.candles.setdefault(symbol, []).append(_stamped(parts, reply, rows, number))
        actions = _stamped(parts, reply, parsed.actions, number)
        into.actions.setdefault(symbol, []).append(actions)


def _finished(parts: Parts, reply: RawReply, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were asked for, and whose bar had closed when the provider stated them."""
    request = reply.request
    rows = rows[(rows["ts"] >= request.since) & (rows["ts"] < request.until)]
    closes = _closes(parts, request, rows)
    seen = rows.get("observed_at", reply.observed_at)
    return rows[closes <= seen]


def _closes(parts: Parts, request: CandleRequest, rows: pd.DataFrame) -> pd.DatetimeIndex:
    return parts.calendars.closes(
        request.symbol, request.interval, pd.DatetimeIndex(rows["ts"]).as_unit("us")
    )


def _stamped(parts: Parts, reply: RawReply, rows: pd.DataFrame, number: int) -> pd.DataFrame:
    return rows.assign(
        stated=_us(reply.request.as_of),
        final=_micro(_closes(parts, reply.request, rows) + DELAY),
        reply=number,
    )


def _micro(instants: pd.DatetimeIndex) -> Ints:
    return instants.as_unit("us").asi8


def _versions(tables: list[pd.DataFrame]) -> Versions:
    full = [table for table in tables if len(table)] or tables[:1]
    rows = pd.concat(full, ignore_index=True)
    by = ["ts", "reply", "line" if "line" in rows else "kind"]
    rows = rows.sort_values(by, kind="stable", ignore_index=True)
    marks = [rows.pop(name).to_numpy(dtype=np.int64) for name in ("stated", "final", "reply")]
    ts = _micro(pd.DatetimeIndex(rows["ts"]))
    # Every row here had closed when it was stated; as what it is answered later, it still has.
    rows = rows.drop(columns="observed_at", errors="ignore")
    if "line" in rows:
        rows["line"] = np.arange(len(rows))
    return Versions(rows, ts, *marks)


@dataclass
class Recorded:
    """A source that answers from the raw lake as its provider would have on that day.

    A request that was really made at that instant gets the very reply, or the very failure.
    ``assumed`` collects the (symbol, ts) that had to be assumed.
    """

    parts: Parts
    past: Past
    assumed: set[tuple[str, pd.Timestamp]] = field(default_factory=set)
    _served: dict[CandleRequest, Parsed] = field(default_factory=dict)
    _really: tuple[pd.Timestamp | None, dict[CandleRequest, RawReply]] = (None, {})

    @property
    def name(self) -> str:
        """That of the source whose replies they are."""
        return self.parts.source.name

    @property
    def traits(self) -> Traits:
        """Those of the source whose replies they are."""
        return self.parts.source.traits

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """What the raw layer has of a request is one reply."""
        return (request,)

    @property
    def _source(self) -> Source:
        return self.parts.source

    def symbols(self) -> tuple[str, ...]:
        """The instruments of which the lake holds replies."""
        return tuple(sorted(self.past.candles))

    def fetch(self, request: CandleRequest) -> RawReply:
        """Answer as on that day; see ``Source``."""
        failure = self.past.failures.get((request.symbol, request.as_of))
        if failure is not None:
            raise KINDS.get(failure.kind, SourceUnavailable)(failure.message, request.symbol)
        really = self._replies(request.as_of).get(request)
        if really is not None:
            return really
        self._served[request] = self._known(request)
        body = json.dumps({"as_of": request.as_of.isoformat(), "from": "the raw layer"}).encode()
        return RawReply(self.name, request, "", 200, request.as_of, body, {"kind": "replayed"})

    def parse(self, reply: RawReply) -> Parsed:
        """The rows of an answer; see ``Source``."""
        if reply.details.get("kind") == "replayed":
            return self._served.pop(reply.request)
        return self._source.parse(reply)

    def _known(self, request: CandleRequest) -> Parsed:
        symbol, span = request.symbol, (request.since, request.until, request.as_of)
        if symbol not in self.past.candles:
            raise SymbolNotFound(f"no bar of {symbol} is in the raw layer.", symbol)
        candles, assumed = self.past.candles[symbol].known(*span)
        self.assumed.update((symbol, ts) for ts in assumed)
        actions, _ = self.past.actions[symbol].known(*span)
        return Parsed(candles, actions)

    def _replies(self, as_of: pd.Timestamp) -> dict[CandleRequest, RawReply]:
        if self._really[0] != as_of:
            keys = self.past.stated_at.get(as_of, [])
            replies = [r for key in keys for r in self.parts.lake.read_raw(key).replies]
            self._really = (as_of, {reply.request: reply for reply in replies})
        return self._really[1]
