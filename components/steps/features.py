"""Features: computed from the candles held, stored in the warehouse and the lake."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from components.carried import Snapshot
from components.errors import SettingsError
from components.records import Failure, RunSummary
from components.sessions import length
from components.steps.feature_rows import Span, feature_rows, last_bars, nothing_behind
from components.steps.feature_state import carried_before, keep
from components.steps.ledger import note
from components.steps.market import market
from components.steps.parts import Parts
from components.tables import FEATURE_VALUES

# Instruments that are computed together, how many bars of theirs, and the rows that are stored
# together: memory is bounded by them.
TOGETHER, PIECE, BATCH = 50, 100_000, 50_000

# The time behind a bar's beginning at which the next may begin.
LEAST = pd.Timedelta(microseconds=1)

Work = tuple[Snapshot, list[Span]]


def features(
    parts: Parts, since: pd.Timestamp, until: pd.Timestamp, symbols: Sequence[str] = ()
) -> RunSummary:
    """Compute and store the features of the bars in [since, until), of all watched or ``symbols``.

    Carried features remember for ever, so each instrument is read from its first bar on, or from
    where the last command left it. What is stored already is not new: it may be killed at any
    instant and repeated.

    Raises
    ------
    SettingsError
        No candle is held to compute from.
    """
    run, interval = parts.run, parts.watch.interval
    wanted = sorted(set(symbols or parts.watch.symbols))
    firsts = parts.warehouse.first_ts({*wanted, *parts.watch.symbols}, interval)
    held = [symbol for symbol in wanted if symbol in firsts]
    if not held:
        raise SettingsError(_nothing_held(parts, wanted))
    run.failures.extend(
        Failure(symbol, "NotEnoughBars", f"no {interval} candle of it is held. Run `backfill`.")
        for symbol in wanted
        if symbol not in firsts
    )
    if firsts.keys() >= set(parts.watch.symbols):
        # The median of some of the watched is no market of all, and the first value stays.
        run.counts["market_new"] = market(parts, run.as_of)
    run.counts |= {"bars_read": 0, "features_new": 0, "files_changed": 0}
    work, kept = _work(parts, held, firsts, since, until), list[Snapshot]()
    n_spans = sum(len(spans) for _, spans in work)
    made = parts.progress(_made(parts, work, since, kept), n_spans, lambda: _told(parts))
    for rows in _together(made):
        _store(parts, rows)
    keep(parts, kept)
    run.exit_code = 3 if run.failures else 0
    run.status, run.finished_at = "finished", parts.clock()
    note(parts, manifest="")
    return run


def _nothing_held(parts: Parts, wanted: list[str]) -> str:
    if parts.is_measured:
        return (
            f"features: {parts.source.name!r} gives payment volumes, and features are made from "
            "candles. Set TREMOR_SOURCE to a source of candles."
        )
    return (
        f"features: the warehouse holds no {parts.watch.interval} candles of "
        f"{', '.join(wanted[:5])}. Run `python main.py backfill --since 2015-01-01` first."
    )


def _work(
    parts: Parts,
    held: list[str],
    firsts: Mapping[str, pd.Timestamp],
    since: pd.Timestamp,
    until: pd.Timestamp,
) -> list[Work]:
    """Groups of instruments, as they are carried or with nothing behind, and their spans."""
    carried = carried_before(parts, held, since)
    fresh = [symbol for symbol in held if symbol not in set(carried.symbols)]
    groups = [carried.take(some) for some in _chunks(carried.symbols)]
    groups += [nothing_behind(some) for some in _chunks(fresh)]
    behind = last_bars(carried) + LEAST
    begins = {**firsts, **dict(zip(carried.symbols, behind, strict=True))}
    lasts = parts.warehouse.last_ts(held, parts.watch.interval, parts.run.as_of)
    work = []
    for group in groups:
        first = min(begins[symbol] for symbol in group.symbols)
        ends = [lasts[symbol] + LEAST for symbol in group.symbols if symbol in lasts]
        end = min(until, max(ends, default=until))
        step = PIECE // len(group.symbols) * length(parts.watch.interval)
        # What is carried from here to the next command is what is behind ``since``.
        before = _spans(first, min(since, end), step)
        work.append((group, before + _spans(max(first, since), end, step)))
    return work


def _chunks(symbols: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(symbols[i : i + TOGETHER]) for i in range(0, len(symbols), TOGETHER)]


def _spans(first: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> list[Span]:
    edges = pd.date_range(first, end, freq=step, inclusive="left", unit="us")
    return [(edge, min(edge + step, end)) for edge in edges]


def _made(
    parts: Parts, work: list[Work], since: pd.Timestamp, kept: list[Snapshot]
) -> Iterator[pd.DataFrame]:
    """Rows, span by span; ``kept`` gets what each group has behind the bars before ``since``."""
    for group, spans in work:
        before = group
        rows = feature_rows(parts, group, spans, since)
        for (_, end), (behind, made) in zip(spans, rows, strict=True):
            before = behind if end <= since else before
            yield made
        kept.append(before)


def _told(parts: Parts) -> str:
    n_bars = parts.run.counts["bars_read"]
    seconds = max((parts.clock() - (parts.run.started_at or parts.clock())).total_seconds(), 1.0)
    return f"{n_bars:,} bars, {n_bars / seconds:,.0f} a second"


def _together(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same rows, about ``BATCH`` at a time."""
    held: list[pd.DataFrame] = []
    for rows in frames:
        if len(rows):
            held.append(rows)
        if sum(map(len, held)) >= BATCH:
            yield pd.concat(held, ignore_index=True)
            held = []
    if held:
        yield pd.concat(held, ignore_index=True)


def _store(parts: Parts, rows: pd.DataFrame) -> None:
    """Put rows into the warehouse and the lake; what the one holds the other has as well."""
    counts = parts.run.counts
    with parts.warehouse.transaction():
        counts["features_new"] += parts.warehouse.upsert(FEATURE_VALUES, rows)
        counts["files_changed"] += parts.lake.put_features(rows)
