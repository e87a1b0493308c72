"""Recall, judge, record, keep: from the warehouse's new bars to verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from components.carried import Snapshot, State
from components.ensemble import Judged
from components.judgement import Done, Judgement
from components.panels import Array, Flags, pack
from components.sessions import ALWAYS_OPEN
from components.steps.bars import judged_bars
from components.steps.carrying import (
    YEARS,
    blank_ledger,
    latest_ledger,
    put_ledger,
    read_group,
    updated,
    with_groups,
    write_group,
)
from components.steps.gaps import regular
from components.steps.market import market
from components.steps.model_trouble import note_drift
from components.steps.parts import Parts
from components.steps.restarts import restarted
from components.tables import CANDLES, CHANNELS, CONTRIBUTIONS, SCORES, VERDICTS
from components.verdicts import channel_rows, contribution_rows, score_rows, verdict_rows

__all__ = ["Piece", "judge", "judge_all", "keep", "recall", "record"]


@dataclass(frozen=True)
class Piece:
    """Bars to judge, of one group: from their first bar, or behind the carried state."""

    symbols: tuple[str, ...]
    group: int
    candles: pd.DataFrame
    rates: Array
    as_of: pd.Timestamp
    from_start: bool


def recall(parts: Parts, as_of: pd.Timestamp) -> tuple[Snapshot, Iterator[Piece]]:
    """The carried ledger and the bars that became known after it, nothing later than as_of.

    An instrument whose past changed since is judged again from its first bar, as is everything
    when no state fits the settings.
    """
    symbols, interval = tuple(sorted(parts.watch.symbols)), parts.watch.interval
    # Strictly before: a run repeated with the same as_of may have more bars than the first.
    found = latest_ledger(parts, as_of - pd.Timedelta(seconds=1), symbols)
    if found is None:
        ledger = with_groups(blank_ledger(symbols), symbols)
        return ledger, rebuilds(parts, ledger, symbols, as_of)
    at, carried, known = found
    carried = with_groups(carried, symbols)
    new = regular(parts.warehouse.changed_since(at, as_of, list(symbols), interval))
    every = pd.Series(pd.DatetimeIndex(carried.state["last_ts"], tz="UTC"), index=carried.symbols)
    last = every[list(symbols)]
    restart = restarted(parts, last, new, at, as_of)
    unknown = set(symbols) - known
    restart |= unknown & set(parts.warehouse.last_ts(sorted(unknown), interval, as_of))
    if not parts.ensemble.is_carried:
        restart = set(symbols)
    onward = new[~new["symbol"].isin(restart)]
    return carried, _pieces(parts, carried, onward, last, tuple(sorted(restart)), as_of)


def _groups_of(ledger: Snapshot, symbols: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    group = pd.Series(ledger.state["group"], index=ledger.symbols)[list(symbols)]
    return {int(g): tuple(sorted(rows.index)) for g, rows in group.groupby(group)}


def _pieces(
    parts: Parts,
    ledger: Snapshot,
    onward: pd.DataFrame,
    last: "pd.Series[pd.Timestamp]",
    restart: tuple[str, ...],
    as_of: pd.Timestamp,
) -> Iterator[Piece]:
    fresh = tuple(sorted(onward["symbol"].unique()))
    rows = dict(iter(onward.groupby(onward["symbol"].map(_group_map(ledger)))))
    groups = _groups_of(ledger, fresh)
    for group, symbols in parts.progress(groups.items(), len(groups), "judging new bars"):
        candles = rows[group]
        # A panel is as wide as its longest series: those with the same number of new bars
        # go together, so that one straggler does not widen it for all.
        counts = candles["symbol"].value_counts()
        for n_bars in sorted(counts.unique()):
            alike = tuple(s for s in symbols if counts[s] == n_bars)
            own = candles[candles["symbol"].isin(alike)]
            yield _piece(parts, group, alike, own, as_of, after=last[list(alike)])
    yield from rebuilds(parts, ledger, restart, as_of)


def _group_map(ledger: Snapshot) -> dict[str, int]:
    return dict(zip(ledger.symbols, ledger.state["group"].tolist(), strict=True))


def rebuilds(
    parts: Parts, ledger: Snapshot, symbols: tuple[str, ...], as_of: pd.Timestamp
) -> Iterator[Piece]:
    """The whole past of instruments, as known at ``as_of``, group by group."""
    groups = _groups_of(ledger, symbols)
    for group, members in parts.progress(groups.items(), len(groups), "judging from the first bar"):
        rows = parts.warehouse.read(
            CANDLES, symbols=list(members), interval=parts.watch.interval, as_of=as_of
        )
        rows = regular(rows)
        if len(rows):
            yield _piece(parts, group, members, rows, as_of)


def _piece(
    parts: Parts,
    group: int,
    symbols: tuple[str, ...],
    rows: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> Piece:
    interval, budget = parts.watch.interval, parts.ensemble.alerts_per_year
    per_year = [parts.calendars.bars_per_year(symbol, interval) for symbol in symbols]
    rates = budget / np.array(per_year, dtype=float)
    rows = judged_bars(parts, rows, as_of, after)
    return Piece(symbols, group, rows, rates, as_of, from_start=after is None)


def judge(parts: Parts, carried: Snapshot, piece: Piece) -> tuple[Snapshot, Judged]:
    """Judge a piece's bars; move its group's state, and the ledger, behind them."""
    before, counts_before = _before(parts, carried, piece)
    done = judge_piece(parts, before, piece)
    return _behind(parts, carried, piece, counts_before, done)


def _before(parts: Parts, carried: Snapshot, piece: Piece) -> tuple[Snapshot, Snapshot]:
    """The state of a piece's instruments before its bars, and what was counted of them."""
    old = None if piece.from_start else read_group(parts, carried, piece.group)
    if old is None:
        start = Snapshot(piece.symbols, parts.ensemble.start(len(piece.symbols)))
        return start, blank_ledger(piece.symbols)
    return old.take(piece.symbols), carried.take(piece.symbols)


def _behind(
    parts: Parts, carried: Snapshot, piece: Piece, counts_before: Snapshot, done: Done
) -> tuple[Snapshot, Judged]:
    """The ledger behind a piece's bars, whose state is kept."""
    state, judged = done
    carried = write_group(parts, carried, piece.group, Snapshot(piece.symbols, state), piece.as_of)
    counts = {**counted(counts_before, judged), **{k: state[k] for k in ("last_ts", "n_bars")}}
    return updated(carried, Snapshot(piece.symbols, counts)), judged


def judge_piece(parts: Parts, before: Snapshot, piece: Piece) -> tuple[State, Judged]:
    """Judge a piece's bars behind a state of its instruments; give the state behind them."""
    state, judged = _judgement(parts, before, piece).done()
    _note_seen(parts, judged)
    return state, judged


def _judgement(parts: Parts, before: Snapshot, piece: Piece) -> Judgement:
    panel = pack(piece.candles, piece.symbols, _round_the_clock(parts, piece.symbols))
    return Judgement(parts.ensemble, before.state, panel, piece.rates)


def _note_seen(parts: Parts, judged: Judged) -> None:
    """Count what the trained model saw, where there is one."""
    if judged.seen is not None:
        seen = judged.seen.bins.sum(axis=0)
        known = parts.run.model_bins
        parts.run.model_bins = seen if known is None else known + seen


def _round_the_clock(parts: Parts, symbols: tuple[str, ...]) -> list[str]:
    return [symbol for symbol in symbols if parts.calendars.of(symbol) == ALWAYS_OPEN]


def counted(before: Snapshot, judged: Judged) -> dict[str, np.ndarray]:
    """Decided bars and anomalies by year, those of a judgement added to those before."""
    series, bars = np.nonzero(~np.isnan(judged.agreed_p))
    years = judged.panel.ts[series, bars].astype("datetime64[Y]").astype(int)
    years = np.clip(years, 0, YEARS - 1)
    decided, told = before.state["decided"].copy(), before.state["told"].copy()
    np.add.at(decided, (series, years), 1)
    np.add.at(told, (series, years), judged.is_anomaly[series, bars].astype(np.int32))
    return {"decided": decided, "told": told}


@dataclass(frozen=True)
class Rows:
    """What was judged as rows of the tables that keep it."""

    verdicts: pd.DataFrame
    scores: pd.DataFrame
    channels: pd.DataFrame
    contributions: pd.DataFrame


def rows_of(
    parts: Parts,
    judged: Judged,
    when: "pd.Timestamp | pd.Series[pd.Timestamp]",
    scored: Flags | None = None,
) -> Rows:
    """What was judged as rows; ``when`` it was, of all bars or by their ``ts``.

    The views' scores are those of the bars in ``scored`` (n_series, n_bars), or of all.
    """
    interval = parts.watch.interval
    as_of = when if isinstance(when, pd.Timestamp) else when.iloc[-1]
    tables = [
        verdict_rows(judged, parts.ensemble.name, interval, as_of),
        score_rows(judged, parts.ensemble.seats, interval, as_of, scored),
        channel_rows(judged, interval, as_of),
        contribution_rows(judged, interval, as_of),
    ]
    if not isinstance(when, pd.Timestamp):
        tables = [t.assign(known_at=t["ts"].map(when)) if len(t) else t for t in tables]
    return Rows(*tables)


def record_rows(parts: Parts, rows: Rows, *, is_fresh: bool = False) -> int:
    """Keep the rows of a judgement, all or none; give the number of verdicts that are new.

    ``is_fresh``: these bars were most likely never judged.
    """
    with parts.warehouse.transaction():
        if len(rows.scores):
            parts.warehouse.upsert(SCORES, rows.scores)
        parts.warehouse.upsert(CHANNELS, rows.channels, is_fresh=is_fresh)
        if len(rows.contributions):
            parts.warehouse.upsert(CONTRIBUTIONS, rows.contributions)
        n_new = parts.warehouse.upsert(VERDICTS, rows.verdicts, is_fresh=is_fresh)
    counts = parts.run.counts
    counts["bars_judged"] = counts.get("bars_judged", 0) + len(rows.verdicts)
    counts["verdicts_new"] = counts.get("verdicts_new", 0) + n_new
    return n_new


def record(parts: Parts, judged: Judged, as_of: pd.Timestamp) -> int:
    """Keep scores, channels and verdicts; give the number of verdicts that are new."""
    return record_rows(parts, rows_of(parts, judged, as_of))


def keep(parts: Parts, carried: Snapshot, as_of: pd.Timestamp) -> None:
    """Store the ledger of the carried state, behind the verdicts and groups that it names."""
    note_drift(parts, as_of)
    if not parts.is_dry:
        put_ledger(parts, carried, as_of)


def judge_all(parts: Parts, as_of: pd.Timestamp) -> None:
    """Market, recall, judge, record, keep: as ``main.py`` takes them, for days of the past."""
    market(parts, as_of)
    carried, pieces = recall(parts, as_of)
    while wave := list(islice(pieces, parts.bench.at_once)):
        befores = [_before(parts, carried, piece) for piece in wave]
        done = parts.bench(
            [_judgement(parts, b, piece) for (b, _), piece in zip(befores, wave, strict=True)]
        )
        for piece, (_, counts), found in zip(wave, befores, done, strict=True):
            _note_seen(parts, found[1])
            carried, judged = _behind(parts, carried, piece, counts, found)
            record(parts, judged, as_of)
    keep(parts, carried, as_of)
