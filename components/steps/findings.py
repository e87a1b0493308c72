"""Findings: what the pure explanation needs, read from the warehouse."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from components import explain
from components.records import Finding
from components.steps.judging import with_splits
from components.steps.parts import Parts
from components.tables import ACTIONS, CANDLES, SCORES, VERDICTS, Table

# Of a crowded day so many instruments are explained in full; the others are listed.
EXPLAINED = 100

# How far the pictures and the comparisons look back: bars, and scores (1000 and some).
BARS_BACK, SCORES_BACK = pd.Timedelta(days=400), pd.Timedelta(days=1600)


def findings(parts: Parts, rows: pd.DataFrame, as_of: pd.Timestamp) -> list[Finding]:
    """Explain the verdicts of one bar, the most unusual first.

    Parameters
    ----------
    rows : DataFrame
        News of one ``ts``, as ``news.news`` gives them.
    """
    full, rest = rows.iloc[:EXPLAINED], rows.iloc[EXPLAINED:]
    ts, symbols = rows["ts"].iloc[0], list(full["symbol"])
    candles = dict(iter(_candles(parts, symbols, ts, as_of).groupby("symbol")))
    scores = dict(iter(_scores(parts, symbols, ts, as_of).groupby("symbol")))
    moves = _moves(parts, ts, as_of)
    explained = []
    for row in _records(full):
        others = moves.drop(row["symbol"], errors="ignore")
        finding = explain.explain(
            row,
            candles[row["symbol"]],
            scores.get(row["symbol"], pd.DataFrame(columns=list(SCORES.columns))),
            market=float(others.median()) if len(others) else math.nan,
            n_others=len(others),
            bars_per_year=parts.calendars.bars_per_year(row["symbol"], parts.watch.interval),
            detector=parts.ensemble.detectors[0],
        )
        if row["kind"] == "correction":
            finding = _corrected(parts, finding, row, as_of)
        explained.append(finding)
    explained.sort(key=lambda finding: (finding.p, -abs(finding.sigmas)))
    return explained + [explain.briefly(row) for row in _records(rest)]


def _candles(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    rows = _up_to(parts, CANDLES, symbols, ts - BARS_BACK, ts, as_of)
    actions = parts.warehouse.read(ACTIONS, symbols=symbols, since=ts - BARS_BACK, as_of=as_of)
    paid = actions[actions["kind"] == "dividend"][["symbol", "ts", "value"]]
    rows = with_splits(parts, rows, as_of).merge(paid, how="left", on=["symbol", "ts"])
    return rows.rename(columns={"value": "dividend"}).fillna({"dividend": 0.0})


def _scores(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    rows = _up_to(parts, SCORES, symbols, ts - SCORES_BACK, ts, as_of)
    return rows[rows["detector"] == parts.ensemble.detectors[0]]


def _moves(parts: Parts, ts: pd.Timestamp, as_of: pd.Timestamp) -> pd.Series:
    rows = _up_to(parts, VERDICTS, list(parts.watch.symbols), ts, ts, as_of)
    rows = rows[rows["judge"] == parts.ensemble.name]
    return rows.set_index("symbol")["return"].dropna()


def _up_to(
    parts: Parts,
    table: Table,
    symbols: list[str],
    since: pd.Timestamp,
    ts: pd.Timestamp,
    as_of: pd.Timestamp,
) -> pd.DataFrame:
    """Rows from ``since`` up to and including the bar at ``ts``, as known at ``as_of``."""
    return parts.warehouse.read(
        table,
        symbols=symbols,
        interval=parts.watch.interval,
        since=since,
        until=ts + pd.Timedelta(microseconds=1),
        as_of=as_of,
    )


def _corrected(
    parts: Parts, finding: Finding, row: Mapping[str, Any], as_of: pd.Timestamp
) -> Finding:
    """The finding of a bar whose verdict turned, with both versions of the bar in words."""
    rows = parts.warehouse.query(
        "select open, high, low, close, volume from candles "
        "where symbol = %(symbol)s and interval = %(interval)s and ts = %(ts)s "
        "and known_at <= %(as_of)s order by known_at desc limit 2",
        {
            "symbol": row["symbol"],
            "interval": row["interval"],
            "ts": row["ts"].to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )
    versions = _records(rows)
    bar = {name: row[name] for name in ("ts", "interval")}
    before = {**bar, "verdict": row["before"], **versions[-1]}
    now = {**bar, "verdict": row["verdict"], **versions[0]}
    return replace(finding, reasons=(*explain.correction(before, now), *finding.reasons))


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
