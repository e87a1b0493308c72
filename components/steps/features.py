"""Features: computed from the candles held, stored in the warehouse and the lake."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from components.errors import SettingsError
from components.records import Failure, RunSummary
from components.sessions import length
from components.steps.feature_rows import Span, feature_rows
from components.steps.ledger import note
from components.steps.market import market
from components.steps.parts import Parts
from components.tables import FEATURE_VALUES

# Instruments that are computed together, how many bars of theirs, and the rows that are stored
# together: memory is bounded by them.
TOGETHER, PIECE, BATCH = 50, 100_000, 50_000


def features(
    parts: Parts, since: pd.Timestamp, until: pd.Timestamp, symbols: Sequence[str] = ()
) -> RunSummary:
    """Compute and store the features of the bars in [since, until), of all watched or ``symbols``.

    Carried features remember for ever, so each instrument is read from its first bar on. What
    is stored already is not new: it may be killed at any instant and repeated.

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
    lasts = parts.warehouse.last_ts(held, interval, run.as_of)
    groups = [tuple(held[i : i + TOGETHER]) for i in range(0, len(held), TOGETHER)]
    work = {group: _spans(group, firsts, lasts, until, interval) for group in groups}
    run.counts |= {"bars_read": 0, "features_new": 0, "files_changed": 0}
    made = (rows for g, spans in work.items() for rows in feature_rows(parts, g, spans, since))
    n_spans = sum(map(len, work.values()))
    for rows in _together(parts.progress(made, n_spans, lambda: _told(parts))):
        _store(parts, rows)
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


def _spans(
    symbols: Sequence[str],
    firsts: Mapping[str, pd.Timestamp],
    lasts: Mapping[str, pd.Timestamp],
    until: pd.Timestamp,
    interval: str,
) -> list[Span]:
    """Stretches of time that hold ``PIECE`` bars at most, from the first bar to the last."""
    bar = length(interval)
    step = PIECE // len(symbols) * bar
    end = min(until, max((lasts[s] for s in symbols if s in lasts), default=until) + bar)
    first = min(firsts[symbol] for symbol in symbols)
    edges = pd.date_range(first, end, freq=step, inclusive="left", unit="us")
    return [(edge, min(edge + step, end)) for edge in edges]


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
