"""Plan, fetch, refine, load: from the source to the warehouse."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import stamina

from components import checks
from components.errors import SourceError, SourceUnavailable
from components.records import CandleRequest, Failure, Parsed, RawBatch, RawReply
from components.steps.missing import closed_bars, missing_bars
from components.steps.parts import Parts
from components.tables import ACTIONS, CANDLES, QUARANTINE, RAW_OBJECTS

# Instruments fetched, checked and loaded together: a killed run loses no more than these.
BATCH = 500

# Bars asked for again before the first missing one: a provider corrects late, and a name
# that was given to another instrument shows in them.
RECHECKED_BARS = 5

# After so many instruments in a row that could not be reached, each of the others is tried
# once; after more, the source counts as down and is left alone until the next run.
PATIENCE, DOWN = 3, 10


@dataclass(frozen=True)
class Refined:
    """A batch as rows of the warehouse's tables, and the file that holds its candles."""

    candles: pd.DataFrame
    actions: pd.DataFrame
    quarantine: pd.DataFrame
    raw_objects: pd.DataFrame


def plan(parts: Parts, as_of: pd.Timestamp) -> Iterator[list[CandleRequest]]:
    """Which bars to ask for: the missing ones, and a few before them, batch by batch."""
    firsts = missing_bars(parts, as_of, as_of).groupby("symbol")["ts"].min()
    known = parts.warehouse.last_ts(list(firsts.index), parts.watch.interval, as_of)
    requests = [
        _request(parts, str(symbol), first, as_of, as_of, recheck=symbol in known)
        for symbol, first in firsts.sort_index().items()
    ]
    return iter(_batches(requests))


def plan_backfill(
    parts: Parts, since: pd.Timestamp, until: pd.Timestamp, as_of: pd.Timestamp
) -> Iterator[list[CandleRequest]]:
    """Which bars of [since, until) are not in the warehouse yet, batch by batch."""
    watch, requests = parts.watch, []
    for symbol in watch.symbols:
        due = closed_bars(parts, symbol, since, as_of)
        held = parts.warehouse.read(
            CANDLES,
            symbols=[symbol],
            interval=watch.interval,
            since=since,
            until=until,
            as_of=as_of,
            columns=["symbol", "ts"],
        )
        absent = due[(due < until) & ~due.isin(pd.DatetimeIndex(held["ts"]))]
        if len(absent):
            requests.append(_request(parts, symbol, absent[0], until, as_of, recheck=False))
    batches = _batches(requests, size=1)
    return parts.progress(batches, len(batches), "fetching")


def _request(
    parts: Parts,
    symbol: str,
    first: pd.Timestamp,
    until: pd.Timestamp,
    as_of: pd.Timestamp,
    *,
    recheck: bool,
) -> CandleRequest:
    if recheck:
        # A month holds at least RECHECKED_BARS sessions of any exchange.
        before = closed_bars(parts, symbol, first - pd.Timedelta(days=31), first)
        before = before[before < first]
        first = before[-RECHECKED_BARS:].min() if len(before) else first
    return CandleRequest(symbol, parts.watch.interval, first, until, as_of)


def _batches(requests: list[CandleRequest], size: int = BATCH) -> list[list[CandleRequest]]:
    return [requests[i : i + size] for i in range(0, len(requests), size)]


def fetch(parts: Parts, requests: list[CandleRequest]) -> RawBatch:
    """Ask the source for each instrument and keep what it said, byte for byte.

    What an interrupted run with the same ``as_of`` already kept is not asked for again. An
    instrument that fails is noted; the others go on.
    """
    kept = _kept_replies(parts, requests[0].as_of)
    replies, failures, fresh = [], [], []
    for request in parts.progress(requests, len(requests), "fetching"):
        if request in kept:
            replies.append(kept[request])
            continue
        outcome = _ask(parts, request)
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            fresh.append(outcome)
    parts.run.failures.extend(failures)
    if fresh or failures:
        parts.lake.put_raw(RawBatch(parts.source.name, tuple(fresh), tuple(failures)))
    return RawBatch(parts.source.name, (*replies, *fresh), tuple(failures))


def _kept_replies(parts: Parts, as_of: pd.Timestamp) -> dict[CandleRequest, RawReply]:
    keys = parts.lake.raw_manifests(parts.source.name, parts.watch.interval, as_of)
    return {reply.request: reply for key in keys for reply in parts.lake.read_raw(key).replies}


def _ask(parts: Parts, request: CandleRequest) -> RawReply | Failure:
    missed = parts.run.unreachable_in_a_row
    if missed >= DOWN:
        return Failure(request.symbol, "unavailable", "not asked: the source is down")
    try:
        for attempt in stamina.retry_context(
            on=SourceUnavailable,
            attempts=1 if missed >= PATIENCE else parts.watch.attempts,
            timeout=None,
            wait_initial=1.0,
            wait_max=60.0,
        ):
            with attempt:
                reply = parts.source.fetch(request)
    except SourceError as error:
        is_down = isinstance(error, SourceUnavailable)
        parts.run.unreachable_in_a_row = missed + 1 if is_down else 0
        return _failure(request.symbol, error)
    parts.run.unreachable_in_a_row = 0
    return reply


def _failure(symbol: str, error: SourceError) -> Failure:
    # Wherever a failure is shown, its instrument stands before it.
    said = " ".join(str(error).split()).removeprefix(f"{symbol}: ")
    return Failure(symbol, type(error).__name__, said[:300])


def refine(parts: Parts, batch: RawBatch) -> Refined:
    """Parse and check a batch, and write its good candles to the processed layer.

    Doubtful rows are kept aside with the check's name; a reply in no known shape makes its
    instrument a failed one.
    """
    parsed: list[tuple[RawReply, Parsed]] = []
    for reply in batch.replies:
        try:
            parsed.append((reply, parts.source.parse(reply)))
        except SourceError as error:
            parts.run.failures.append(_failure(reply.request.symbol, error))
    objects = parts.lake.raw_rows(batch)
    parts.run.hashes.extend(objects["sha256"])
    if not parsed:
        return Refined(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), objects)
    since = min(reply.request.since for reply, _ in parsed)
    as_of = parsed[0][0].request.as_of
    stored = parts.warehouse.read(
        CANDLES,
        symbols=sorted({reply.request.symbol for reply, _ in parsed}),
        interval=parts.watch.interval,
        since=since,
        as_of=as_of,
    )
    candles, actions, quarantine = checks.apply(parsed, stored, parts.calendars)
    parts.lake.put_candles(candles)
    return Refined(candles, actions, quarantine, objects)


def load(parts: Parts, refined: Refined) -> int:
    """Put a refined batch into the warehouse, all of it or nothing; give the new candles.

    Carried states that are not older than the batch have not seen it, so they go first.
    """
    if len(refined.candles):
        parts.lake.forget_states(refined.candles["known_at"].min())
    with parts.warehouse.transaction():
        n_new = 0
        if len(refined.candles):
            n_new = parts.warehouse.upsert(CANDLES, refined.candles)
        for table, rows in (
            (ACTIONS, refined.actions),
            (QUARANTINE, refined.quarantine),
            (RAW_OBJECTS, refined.raw_objects),
        ):
            if len(rows):
                parts.warehouse.upsert(table, rows)
    counts = parts.run.counts
    counts["candles_new"] = counts.get("candles_new", 0) + n_new
    counts["rows_kept_aside"] = counts.get("rows_kept_aside", 0) + len(refined.quarantine)
    return n_new
