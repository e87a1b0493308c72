"""Recall, judge, record, keep: from the warehouse's new bars to verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from components.carried import Snapshot, from_arrow, to_arrow
from components.ensemble import Judged, score_rows, verdict_rows
from components.panels import Array, pack
from components.steps.missing import RECENT
from components.steps.parts import Parts
from components.tables import ACTIONS, CANDLES, MARKET, SCORES, VERDICTS

# Instruments whose whole history is judged together, so that memory stays bounded.
REBUILT_TOGETHER = 200

# Years since 1970 for which alerts are counted.
YEARS = 100


@dataclass(frozen=True)
class Piece:
    """Bars to judge: of some instruments, from their first bar or from the carried state."""

    symbols: tuple[str, ...]
    candles: pd.DataFrame
    rates: Array
    from_start: bool


def recall(parts: Parts, as_of: pd.Timestamp) -> tuple[Snapshot, Iterator[Piece]]:
    """The carried state and the bars that became known after it, nothing later than as_of.

    An instrument whose older bars or splits changed since is judged again from its first
    bar, as is everything when no state fits the settings.
    """
    symbols, interval = tuple(sorted(parts.watch.symbols)), parts.watch.interval
    found = _latest_snapshot(parts, as_of)
    if found is None:
        return _blank(parts, symbols), _rebuilds(parts, symbols, as_of)
    at, old = found
    carried = _for_symbols(parts, old, symbols)
    new = parts.warehouse.changed_since(at, as_of, list(symbols), interval)
    last = pd.Series(pd.DatetimeIndex(carried.state["last_ts"], tz="UTC"), index=list(symbols))
    is_late = new["ts"] <= new["symbol"].map(last)
    restart = set(new.loc[is_late, "symbol"]) | _with_new_splits(parts, at, as_of, last)
    unknown = set(symbols) - set(old.symbols)
    restart |= unknown & set(parts.warehouse.last_ts(sorted(unknown), interval, as_of))
    if not parts.ensemble.is_carried:
        restart = set(symbols)
    onward = new[~new["symbol"].isin(restart)]
    return carried, _pieces(parts, onward, last, tuple(sorted(restart)), as_of)


def _latest_snapshot(parts: Parts, as_of: pd.Timestamp) -> tuple[pd.Timestamp, Snapshot] | None:
    # Strictly before: a run repeated with the same as_of may have more bars than the first.
    found = parts.lake.latest_state(snapshot_key(parts), as_of - pd.Timedelta(seconds=1))
    if found is None:
        return None
    try:
        return found[0], from_arrow(found[1])
    except pa.ArrowInvalid:
        return None


def snapshot_key(parts: Parts) -> str:
    """Under which name the carried state of these settings lies in the lake."""
    return f"{parts.watch.interval}-{parts.ensemble.fingerprint}"


def _blank(parts: Parts, symbols: tuple[str, ...]) -> Snapshot:
    counts = {name: np.zeros((len(symbols), YEARS), dtype=np.int32) for name in ("decided", "told")}
    return Snapshot(symbols, {**parts.ensemble.start(len(symbols)), **counts})


def _for_symbols(parts: Parts, old: Snapshot, symbols: tuple[str, ...]) -> Snapshot:
    if old.symbols == symbols:
        return old
    held = tuple(s for s in symbols if s in set(old.symbols))
    return _replaced(_blank(parts, symbols), old.take(held))


def _replaced(carried: Snapshot, part: Snapshot) -> Snapshot:
    at = pd.Index(carried.symbols).get_indexer(pd.Index(part.symbols))
    state = {}
    for name, whole in carried.state.items():
        state[name] = whole.copy()
        state[name][at] = part.state[name]
    return Snapshot(carried.symbols, state)


def _with_new_splits(
    parts: Parts, known_after: pd.Timestamp, as_of: pd.Timestamp, last: "pd.Series[pd.Timestamp]"
) -> set[str]:
    rows = parts.warehouse.query(
        "select symbol, ts from actions where kind = 'split' "
        "and known_at > %(after)s and known_at <= %(as_of)s and symbol = any(%(symbols)s)",
        {
            "after": known_after.to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
            "symbols": list(last.index),
        },
    )
    return set(rows.loc[rows["ts"] <= rows["symbol"].map(last), "symbol"])


def _pieces(
    parts: Parts,
    onward: pd.DataFrame,
    last: "pd.Series[pd.Timestamp]",
    restart: tuple[str, ...],
    as_of: pd.Timestamp,
) -> Iterator[Piece]:
    if len(onward):
        # A panel is as wide as its longest series: those with the same number of new bars
        # go together, so that one straggler does not widen it for all.
        counts = onward["symbol"].value_counts()
        for n_bars in sorted(counts.unique()):
            symbols = tuple(sorted(counts.index[counts == n_bars]))
            rows = onward[onward["symbol"].isin(symbols)]
            yield _piece(parts, symbols, rows, as_of, after=last[list(symbols)])
    yield from _rebuilds(parts, restart, as_of)


def _rebuilds(parts: Parts, symbols: tuple[str, ...], as_of: pd.Timestamp) -> Iterator[Piece]:
    groups = [symbols[i : i + REBUILT_TOGETHER] for i in range(0, len(symbols), REBUILT_TOGETHER)]
    for group in parts.progress(groups, len(groups), "judging from the first bar"):
        rows = parts.warehouse.read(
            CANDLES, symbols=list(group), interval=parts.watch.interval, as_of=as_of
        )
        if len(rows):
            yield _piece(parts, group, rows, as_of)


def _piece(
    parts: Parts,
    symbols: tuple[str, ...],
    rows: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> Piece:
    interval, budget = parts.watch.interval, parts.ensemble.alerts_per_year
    per_year = [parts.calendars.bars_per_year(symbol, interval) for symbol in symbols]
    rates = budget / np.array(per_year, dtype=float)
    rows = with_splits(parts, rows, as_of, after)
    return Piece(symbols, rows, rates, from_start=after is None)


def with_splits(
    parts: Parts,
    candles: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> pd.DataFrame:
    """Add ``split``: new shares per old share since the bar before, 1 on most bars.

    A split whose own bar is absent counts on the next bar. ``after`` is the last bar of each
    instrument that was judged already: what was split up to it has counted.
    """
    candles = candles.sort_values("ts", kind="stable")
    first = candles["ts"].min()
    since = first if after is None else min(first, after.dropna().min())
    symbols = list(candles["symbol"].unique())
    actions = parts.warehouse.read(ACTIONS, symbols=symbols, since=since, as_of=as_of)
    splits = actions[actions["kind"] == "split"].sort_values("ts", kind="stable")
    if after is not None:
        splits = splits[~(splits["ts"] <= splits["symbol"].map(after))]
    bars = candles[["symbol", "ts"]].assign(bar=candles["ts"])
    met = pd.merge_asof(
        splits[["symbol", "ts", "value"]], bars, on="ts", by="symbol", direction="forward"
    )
    ratios = met.dropna(subset=["bar"]).groupby(["symbol", "bar"])["value"].prod()
    split = ratios.rename("split").rename_axis(["symbol", "ts"]).reset_index()
    rows = candles.merge(split, how="left", on=["symbol", "ts"])
    return rows.sort_values(["symbol", "ts"], kind="stable").fillna({"split": 1.0})


def judge(parts: Parts, carried: Snapshot, piece: Piece) -> tuple[Snapshot, Judged]:
    """Judge a piece's bars and move the carried state behind them."""
    before = carried.take(piece.symbols)
    if piece.from_start:
        before = _blank(parts, piece.symbols)
    panel = pack(piece.candles, piece.symbols)
    state, judged = parts.ensemble.run(before.state, panel, piece.rates)
    state = {**state, **_counted(before, judged)}
    return _replaced(carried, Snapshot(piece.symbols, state)), judged


def _counted(before: Snapshot, judged: Judged) -> dict[str, np.ndarray]:
    series, bars = np.nonzero(~np.isnan(judged.agreed_p))
    years = judged.panel.ts[series, bars].astype("datetime64[Y]").astype(int)
    years = np.clip(years, 0, YEARS - 1)
    decided, told = before.state["decided"].copy(), before.state["told"].copy()
    np.add.at(decided, (series, years), 1)
    np.add.at(told, (series, years), judged.is_anomaly[series, bars].astype(np.int32))
    return {"decided": decided, "told": told}


def record(parts: Parts, judged: Judged, as_of: pd.Timestamp) -> int:
    """Keep scores and verdicts; give the number of verdicts that are new."""
    interval = parts.watch.interval
    verdicts = verdict_rows(judged, parts.ensemble.name, interval, as_of)
    scores = score_rows(judged, parts.ensemble.detectors, interval, as_of)
    with parts.warehouse.transaction():
        parts.warehouse.upsert(SCORES, scores)
        n_new = parts.warehouse.upsert(VERDICTS, verdicts)
    counts = parts.run.counts
    counts["bars_judged"] = counts.get("bars_judged", 0) + len(verdicts)
    counts["verdicts_new"] = counts.get("verdicts_new", 0) + n_new
    return n_new


def keep(parts: Parts, carried: Snapshot, as_of: pd.Timestamp) -> None:
    """Store the market's return, then the carried state, behind the verdicts they belong to."""
    market = _market(parts, as_of)
    if len(market):
        parts.warehouse.upsert(MARKET, market)
    parts.lake.put_state(snapshot_key(parts), as_of, to_arrow(carried))
    parts.lake.prune_states(parts.watch.interval, snapshot_key(parts))


def _market(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    """The median return of the watch list at each recent bar; late members count."""
    watch = parts.watch
    recent = parts.warehouse.read(
        VERDICTS,
        symbols=list(watch.symbols),
        interval=watch.interval,
        since=as_of - RECENT,
        as_of=as_of,
    )
    recent = recent[recent["judge"] == parts.ensemble.name].dropna(subset=["return"])
    rows = recent.groupby("ts")["return"].agg(["median", "size"]).reset_index()
    rows.columns = pd.Index(["ts", "return", "n_instruments"])
    return rows.assign(watch_list="default", interval=watch.interval, known_at=as_of)
