"""Plan, fetch, refine, load: from the source to the warehouse."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import stamina

from components import checks
from components.bins import month_edges
from components.checks.series_checks import dead_after
from components.errors import SourceError, SourceUnavailable
from components.records import CandleRequest, Failure, Parsed, RawBatch, RawReply
from components.sessions import length
from components.steps.coverage import given_up, known_absent
from components.steps.measuring import measure_rows
from components.steps.missing import closed_bars, missing_bars
from components.steps.parts import Parts
from components.tables import ACTIONS, CANDLES, MEASURES, QUARANTINE, RAW_OBJECTS

# Replies fetched, checked and loaded together, and the bars that they may hold: a killed run
# loses no more than these, and memory is bounded by them.
BATCH, BATCH_BARS = 500, 360_000

# Months of payments fetched together: each may be a query that costs money.
BATCH_MONTHS = 4

# How far before a reply's first bar the checks look at what is stored.
BARS_BEFORE = 100

LAST_BARS = """
select before.* from unnest(%(symbols)s::text[]) as wanted (symbol), lateral (
    select distinct on (symbol, interval, ts)
        symbol, interval, ts, open, high, low, close, volume, source, known_at
    from all_candles
    where symbol = wanted.symbol and interval = %(interval)s and ts < %(since)s
      and known_at <= %(as_of)s
    order by symbol desc, interval desc, ts desc, known_at desc limit %(n_bars)s
) as before
"""

ANSWERED = """
select key, symbol, since, until from raw_objects where key = any(%(keys)s::text[]) and status = 200
"""

DAY, YEAR = pd.Timedelta(days=1), pd.Timedelta(days=365.25)

# Bars asked for again before the first missing one: a provider corrects late, and a name
# that was given to another instrument shows in them.
RECHECKED_BARS = 5

# After so many instruments in a row that could not be reached, each of the others is tried
# once; after more, the source counts as down and is left alone until the next run.
PATIENCE, DOWN = 3, 10


@dataclass(frozen=True)
class Sorted:
    """A batch and what its replies say, row by row; those that say nothing readable failed."""

    batch: RawBatch
    parsed: list[tuple[RawReply, Parsed]]
    failures: list[Failure]


@dataclass(frozen=True)
class Refined:
    """A batch as rows of the warehouse's tables; ``written`` once its files are in the lake."""

    candles: pd.DataFrame
    actions: pd.DataFrame
    quarantine: pd.DataFrame
    raw_objects: pd.DataFrame
    measures: pd.DataFrame
    written: "Future[list[str]] | None" = None


def plan(parts: Parts, as_of: pd.Timestamp) -> Iterator[list[CandleRequest]]:
    """Which bars to ask for: the missing ones, and a few before them, batch by batch."""
    if parts.is_measured:
        since = month_edges(as_of - parts.watch.history, as_of, parts.watch.zone)[0]
        return plan_backfill(parts, since, as_of, as_of)
    firsts = missing_bars(parts, as_of, as_of).groupby("symbol")["ts"].min()
    known = parts.warehouse.last_ts(list(firsts.index), parts.watch.interval, as_of)
    requests = [
        _request(parts, str(symbol), first, as_of, recheck=symbol in known)
        for symbol, first in firsts.sort_index().items()
    ]
    return _batches(parts, [piece for each in requests for piece in parts.source.pieces(each)])


def plan_backfill(
    parts: Parts, since: pd.Timestamp, until: pd.Timestamp, as_of: pd.Timestamp
) -> Iterator[list[CandleRequest]]:
    """Which bars of [since, until) are not in the warehouse yet, batch by batch.

    Each batch is made when it is asked for, and looks at what is held by then.
    """
    interval = parts.watch.interval
    wholes = [CandleRequest(s, interval, since, until, as_of) for s in parts.watch.symbols]
    pieces = [piece for whole in wholes for piece in parts.source.pieces(whole)]
    if parts.source.traits.at_once > 1:
        # A file of a day may hold all instruments: they ask for it one after another.
        pieces.sort(key=lambda piece: (piece.since, piece.symbol))
    seen = parts.progress(pieces, len(pieces), lambda: _told(parts))
    return _batches(parts, (w for piece in seen if (w := _still_wanted(parts, piece))))


def _told(parts: Parts) -> str:
    seconds = max((parts.clock() - (parts.run.started_at or parts.clock())).total_seconds(), 1.0)
    n_rows = parts.run.counts.get("candles_new", 0) + parts.run.counts.get("measures_new", 0)
    return f"{n_rows:,} rows, {n_rows / seconds:,.0f} a second"


def _still_wanted(parts: Parts, piece: CandleRequest) -> CandleRequest | None:
    """The piece from its first absent bar on; None when all of it is held."""
    if piece.name:
        return None if _is_loaded(parts, piece) else piece
    if parts.is_measured:
        # A month that may still change is asked for whole: each of its bins may have.
        return piece
    due = closed_bars(parts, piece.symbol, piece.since, piece.as_of, piece.until)
    held = parts.warehouse.read(
        CANDLES,
        symbols=[piece.symbol],
        interval=piece.interval,
        since=piece.since,
        until=piece.until,
        as_of=piece.as_of,
        columns=["symbol", "ts"],
    )
    absent = due[~due.isin(pd.DatetimeIndex(held["ts"]))]
    bars = pd.DataFrame({"symbol": piece.symbol, "ts": absent})
    absent = absent[~known_absent(parts, bars, piece.as_of)]
    return replace(piece, since=absent[0]) if len(absent) else None


def _is_loaded(parts: Parts, piece: CandleRequest) -> bool:
    key = parts.lake.named_key(parts.source.name, piece.name)
    # A month of payments is kept once, and loaded for each length of bins.
    found = parts.warehouse.query(
        "select 1 as n from raw_objects where key = %(key)s and interval = %(interval)s",
        {"key": key, "interval": piece.interval},
    )
    return bool(len(found))


def _request(
    parts: Parts, symbol: str, first: pd.Timestamp, as_of: pd.Timestamp, *, recheck: bool
) -> CandleRequest:
    if recheck:
        step = length(parts.watch.interval)
        # A month holds at least RECHECKED_BARS sessions of any exchange, a week as many hours.
        before = first - (pd.Timedelta(days=31) if step >= DAY else pd.Timedelta(days=7))
        earlier = closed_bars(parts, symbol, before, first)
        earlier = earlier[earlier < first]
        bars = pd.DataFrame({"symbol": symbol, "ts": earlier[-RECHECKED_BARS:]})
        held = bars["ts"][~given_up(parts, bars)]
        first = held.min() if len(held) else first
    return CandleRequest(symbol, parts.watch.interval, first, as_of, as_of)


def _batches(parts: Parts, requests: Iterable[CandleRequest]) -> Iterator[list[CandleRequest]]:
    """Requests whose replies fit into memory together, in their order."""
    batch, n_bars = [], 0.0
    for request in requests:
        batch.append(request)
        n_bars += _bars_in(parts, request)
        if len(batch) >= BATCH or n_bars >= BATCH_BARS:
            yield batch
            batch, n_bars = [], 0.0
    if batch:
        yield batch


def _bars_in(parts: Parts, request: CandleRequest) -> float:
    if parts.is_measured:
        return BATCH_BARS / BATCH_MONTHS
    years = (request.until - request.since) / YEAR
    return years * parts.calendars.bars_per_year(request.symbol, request.interval)


def ahead(parts: Parts, batches: Iterator[list[CandleRequest]]) -> Iterator[Sorted]:
    """Fetch and parse each batch while the one before it is being checked and loaded."""
    with ThreadPoolExecutor(1) as pool:
        under_way = None
        for wanted in batches:
            following = pool.submit(lambda each: parse(parts, fetch(parts, each)), wanted)
            if under_way is not None:
                yield under_way.result()
            under_way = following
        if under_way is not None:
            yield under_way.result()


def fetch(parts: Parts, requests: list[CandleRequest]) -> RawBatch:
    """Ask the source for each instrument and keep what it said, byte for byte.

    What an interrupted run with the same ``as_of`` already kept is not asked for again. An
    instrument that fails is noted; the others go on.
    """
    kept = _kept_replies(parts, requests)
    wanted = [request for request in requests if request not in kept]
    with ThreadPoolExecutor(parts.source.traits.at_once) as pool:
        asked = pool.map(partial(_ask, parts), wanted)
        outcomes = list(parts.progress(asked, len(wanted), "fetching"))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    fresh = [outcome for outcome in outcomes if isinstance(outcome, RawReply)]
    # A server that is away is away for each month of a data set: that is told once.
    known = set(parts.run.failures)
    parts.run.failures.extend(f for f in dict.fromkeys(failures) if f not in known)
    if fresh or failures:
        parts.lake.put_raw(RawBatch(parts.source.name, tuple(fresh), tuple(failures)))
    return RawBatch(parts.source.name, (*kept.values(), *fresh), tuple(failures))


def _kept_replies(parts: Parts, requests: list[CandleRequest]) -> dict[CandleRequest, RawReply]:
    """What an interrupted run kept of the very requests, or under their names."""
    name, as_of = parts.source.name, requests[0].as_of
    kept = {}
    for request in requests:
        body = parts.lake.get_named(name, request.name) if request.name else None
        if body is not None:
            url = parts.lake.named_key(name, request.name)
            kept[request] = RawReply(name, request, url, 200, as_of, body, {"kind": "kept"})
    keys = parts.lake.raw_manifests(name, parts.watch.interval, as_of)
    wanted = set(requests)
    replies = (reply for key in keys for reply in parts.lake.read_raw(key, wanted).replies)
    return kept | {reply.request: reply for reply in replies}


def _ask(parts: Parts, request: CandleRequest) -> RawReply | Failure:
    missed = parts.run.unreachable_in_a_row
    if missed >= DOWN:
        return Failure(request.symbol, "unavailable", "not asked: the source is down or refuses")
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
        if parts.is_measured and type(error) is SourceError:
            # A wrong password, tried for every month, locks the user out.
            parts.run.unreachable_in_a_row = DOWN
        return _failure(request.symbol, error)
    parts.run.unreachable_in_a_row = 0
    return reply


def _failure(symbol: str, error: SourceError) -> Failure:
    # Wherever a failure is shown, its instrument stands before it.
    said = " ".join(str(error).split()).removeprefix(f"{symbol}: ")
    return Failure(symbol, type(error).__name__, said[:300])


def parse(parts: Parts, batch: RawBatch) -> Sorted:
    """Read the replies of a batch; one in no known shape makes its instrument a failed one."""
    parsed: list[tuple[RawReply, Parsed]] = []
    failures = []
    for reply in batch.replies:
        try:
            parsed.append((reply, parts.source.parse(reply)))
        except SourceError as error:
            failures.append(_failure(reply.request.symbol, error))
    return Sorted(batch, parsed, failures)


def refine(parts: Parts, batch: RawBatch) -> Refined:
    """Parse and check a batch, and write its good candles to the processed layer.

    Doubtful rows are kept aside with the check's name; a reply in no known shape makes its
    instrument a failed one.
    """
    return refine_parsed(parts, parse(parts, batch))


def refine_parsed(parts: Parts, read: Sorted, beside: Executor | None = None) -> Refined:
    """Check what was parsed; files are written at once, or ``beside`` what comes next."""
    batch, parsed = read.batch, read.parsed
    known = set(parts.run.failures)
    parts.run.failures.extend(f for f in dict.fromkeys(read.failures) if f not in known)
    objects = parts.lake.raw_rows(batch)
    parts.run.hashes.extend(objects["sha256"])
    none = pd.DataFrame()
    if not parsed or parts.is_measured:
        return Refined(none, none, none, objects, measure_rows(parts, parsed))
    stored = stored_candles(parts, [reply.request for reply, _ in parsed])
    candles, actions, quarantine = checks.apply(parsed, stored, parts.calendars)
    if beside is None:
        parts.lake.put_candles(candles)
        return Refined(candles, actions, quarantine, objects, none)
    written = beside.submit(parts.lake.put_candles, candles)
    return Refined(candles, actions, quarantine, objects, none, written)


def stored_candles(parts: Parts, requests: list[CandleRequest]) -> pd.DataFrame:
    """The candles of the span asked for, and of each instrument the last ones before it."""
    interval, as_of = parts.watch.interval, requests[0].as_of
    step, since = length(interval), min(request.since for request in requests)
    symbols = sorted({request.symbol for request in requests})
    stored = parts.warehouse.read(
        CANDLES,
        symbols=symbols,
        interval=interval,
        since=since - BARS_BEFORE * min(step, DAY / 2),
        until=max(request.until for request in requests),
        as_of=as_of,
    )
    # Of a market that died long ago the last bars that were let in lie further back.
    n_before = stored.loc[stored["ts"] < since, "symbol"].value_counts()
    few = n_before.reindex(symbols, fill_value=0) <= dead_after(interval)
    if not few.any():
        return stored
    last = parts.warehouse.query(
        LAST_BARS,
        {
            "symbols": list(few.index[few]),
            "interval": interval,
            "since": since.to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
            "n_bars": BARS_BEFORE,
        },
    )
    if last.empty:
        return stored
    both = pd.concat([last, stored], ignore_index=True)
    return both.drop_duplicates(["symbol", "ts"], keep="last", ignore_index=True)


def load(parts: Parts, refined: Refined) -> int:
    """Put a refined batch into the warehouse, all of it or nothing; give the new candles.

    Carried states that are not older than the batch have not seen it, so they go first.
    """
    if len(refined.candles):
        parts.lake.forget_states(refined.candles["known_at"].min())
    with parts.warehouse.transaction():
        n_new = n_measures = 0
        if len(refined.candles):
            n_new = parts.warehouse.upsert(CANDLES, refined.candles)
        if len(refined.measures):
            n_measures = parts.warehouse.upsert(MEASURES, refined.measures)
        for table, rows in (
            (ACTIONS, refined.actions),
            (QUARANTINE, refined.quarantine),
            (RAW_OBJECTS, _widened(parts, refined.raw_objects)),
        ):
            if len(rows):
                parts.warehouse.upsert(table, rows)
        if refined.written is not None:
            # What the warehouse holds is asked for no more, so the lake must have it as well.
            refined.written.result()
    counts = parts.run.counts
    counts["candles_new"] = counts.get("candles_new", 0) + n_new
    if len(refined.measures):
        counts["measures_new"] = counts.get("measures_new", 0) + n_measures
    counts["rows_kept_aside"] = counts.get("rows_kept_aside", 0) + len(refined.quarantine)
    return n_new


def _widened(parts: Parts, objects: pd.DataFrame) -> pd.DataFrame:
    """Let the same bytes stand for all spans that they answered, if these adjoin.

    What a file lacks of an earlier request is not forgotten when it answers a later one.
    """
    keys = list(objects.loc[objects["status"] == 200, "key"]) if len(objects) else []
    earlier = parts.warehouse.query(ANSWERED, {"keys": keys})
    if earlier.empty:
        return objects
    both = objects.merge(earlier, on=["key", "symbol"], how="left", suffixes=("", "_before"))
    adjoin = (both["since_before"] <= both["until"]) & (both["until_before"] >= both["since"])
    adjoin &= both["status"] == 200
    since, until = (
        both[["since", "since_before"]].min(axis=1),
        both[["until", "until_before"]].max(axis=1),
    )
    return objects.assign(
        since=both["since"].where(~adjoin, since), until=both["until"].where(~adjoin, until)
    )
