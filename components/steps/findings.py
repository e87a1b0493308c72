"""Findings: what the pure explanation needs, read from the warehouse."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from components import explain
from components.documents import records
from components.explain import Evidence
from components.features import FEATURES
from components.reasons import AMPLITUDE
from components.records import Finding, Part
from components.sessions import length
from components.similar import CHANNEL_NAMES
from components.steps.gaps import regular, with_steps
from components.steps.labels import last_labels
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.tables import (
    ACTIONS,
    CANDLES,
    CHANNELS,
    CONTRIBUTIONS,
    SCORES,
    VERDICTS,
    Table,
)

# Of a crowded day so many instruments are explained in full; the others are listed.
EXPLAINED = 100

# How far the pictures look back, in bars, and the base rule's past scores (1000 and some).
BARS_BACK, SCORES_BACK = 275, 1100

# Of seven days an exchange is open five, less its holidays; a night or a week may lie between
# shorter bars.
DAYS_A_SESSION, CLOSURE = 365.25 / 251, pd.Timedelta(days=5)
DAY = pd.Timedelta(days=1)

# The histories that are compared with: rows in all, shared by the instruments, and bars of one.
MOST_ROWS, MOST_BARS = 1_000_000, 50_000


def findings(parts: Parts, rows: pd.DataFrame, as_of: pd.Timestamp) -> list[Finding]:
    """Explain the verdicts of one bar, in the order of ``rows``.

    Parameters
    ----------
    rows : DataFrame
        News of one ``ts``, as ``news.news`` gives them; the most unusual first.
    """
    full, rest = rows.iloc[:EXPLAINED], rows.iloc[EXPLAINED:]
    ts, symbols = rows["ts"].iloc[0], list(full["symbol"])
    candles = dict(iter(_candles(parts, symbols, ts, as_of).groupby("symbol")))
    history = dict(iter(_history(parts, symbols, ts, as_of).groupby("symbol")))
    scores = _scores(parts, symbols, ts, as_of)
    made_of = _contributions(parts, symbols, ts, as_of)
    moves = judged_at(parts, ts, as_of).set_index("symbol")["return"].dropna()
    said = last_labels(parts, symbols, as_of)
    explained = []
    for row in records(full):
        symbol = row["symbol"]
        others = moves.drop(symbol, errors="ignore")
        evidence = Evidence(
            candles=candles[symbol],
            history=history[symbol],
            scores=scores[scores["symbol"] == symbol],
            detectors=parts.ensemble.seats,
            parts=_parts(made_of, symbol),
            market=float(others.median()) if len(others) else math.nan,
            n_others=len(others),
            bars_per_year=parts.calendars.bars_per_year(symbol, parts.watch.interval),
            labelled=said.get(symbol, ""),
        )
        finding = explain.explain(row, evidence)
        if row["kind"] == "correction":
            finding = _corrected(parts, finding, row, as_of)
        explained.append(finding)
    return explained + folded(rest)


def folded(rows: pd.DataFrame) -> list[Finding]:
    """The numbers of verdicts alone, in the order of ``rows``."""
    return [explain.briefly(row) for row in records(rows)]


def judged_at(parts: Parts, ts: pd.Timestamp, as_of: pd.Timestamp) -> pd.DataFrame:
    """Give this judge's verdicts of all watched instruments at one bar."""
    rows = _up_to(parts, VERDICTS, list(parts.watch.symbols), ts, ts, as_of)
    return rows[rows["judge"] == parts.ensemble.name]


def _candles(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    since = ts - _span(BARS_BACK, parts.watch.interval)
    rows = _up_to(parts, CANDLES, symbols, since, ts, as_of)
    actions = parts.warehouse.read(ACTIONS, symbols=symbols, since=since, as_of=as_of)
    paid = actions[actions["kind"] == "dividend"][["symbol", "ts", "value"]]
    rows = with_steps(parts, with_splits(parts, regular(rows), as_of))
    rows = rows.merge(paid, how="left", on=["symbol", "ts"])
    return rows.rename(columns={"value": "dividend"}).fillna({"dividend": 0.0})


def _history(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Returns, scales and channels of the instruments, oldest bar first."""
    n_bars = min(MOST_BARS, MOST_ROWS // len(symbols))
    since = max(ts - n_bars * length(parts.watch.interval), pd.Timestamp(0, tz="UTC"))
    bar = ["symbol", "ts"]
    verdicts = _up_to(
        parts, VERDICTS, symbols, since, ts, as_of, [*bar, "judge", "return", "scale"]
    )
    verdicts = verdicts[verdicts["judge"] == parts.ensemble.name].drop(columns="judge")
    channels = _up_to(parts, CHANNELS, symbols, since, ts, as_of, [*bar, *CHANNEL_NAMES])
    return verdicts.merge(channels, how="left", on=bar).sort_values(bar, kind="stable")


def _scores(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    is_baseline = parts.ensemble.seats == (AMPLITUDE,)
    since = ts - _span(SCORES_BACK, parts.watch.interval) if is_baseline else ts
    rows = _up_to(parts, SCORES, symbols, since, ts, as_of)
    return rows[rows["detector"].isin(parts.ensemble.seats)]


def _contributions(
    parts: Parts, symbols: list[str], ts: pd.Timestamp, as_of: pd.Timestamp
) -> pd.DataFrame:
    """What each feature added to the trained model's score of the bar at ``ts``."""
    rows = _up_to(parts, CONTRIBUTIONS, symbols, ts, ts, as_of)
    trained = parts.ensemble.trained
    return rows[rows["detector"] == (trained.name if trained else "")]


def _parts(made_of: pd.DataFrame, symbol: str) -> tuple[Part, ...]:
    """The contributions of one instrument, the largest first."""
    own = made_of[made_of["symbol"] == symbol]
    own = own.reindex(own["part"].abs().sort_values(ascending=False, kind="stable").index)
    return tuple(
        Part(
            view=row["detector"],
            feature=row["feature"],
            value=row["value"],
            unit=FEATURES[row["feature"]].unit if row["feature"] in FEATURES else "",
            part=row["part"],
            total=row["total"],
            what=row["what"],
        )
        for row in records(own)
    )


def _up_to(
    parts: Parts,
    table: Table,
    symbols: list[str],
    since: pd.Timestamp,
    ts: pd.Timestamp,
    as_of: pd.Timestamp,
    columns: list[str] | None = None,
) -> pd.DataFrame:
    """Rows from ``since`` up to and including the bar at ``ts``, as known at ``as_of``."""
    return parts.warehouse.read(
        table,
        symbols=symbols,
        interval=parts.watch.interval,
        since=since,
        until=ts + pd.Timedelta(microseconds=1),
        as_of=as_of,
        columns=columns,
    )


def _span(n_bars: int, interval: str) -> pd.Timedelta:
    """A time that holds so many bars of any exchange, or nearly."""
    step = length(interval)
    return n_bars * step * DAYS_A_SESSION if step >= DAY else n_bars * step + CLOSURE


def _corrected(
    parts: Parts, finding: Finding, row: Mapping[str, Any], as_of: pd.Timestamp
) -> Finding:
    """The finding of a bar whose verdict turned, with both versions of the bar in words."""
    rows = parts.warehouse.query(
        "select open, high, low, close, volume from all_candles "
        "where symbol = %(symbol)s and interval = %(interval)s and ts = %(ts)s "
        "and known_at <= %(as_of)s order by known_at desc limit 2",
        {
            "symbol": row["symbol"],
            "interval": row["interval"],
            "ts": row["ts"].to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )
    versions = records(rows)
    bar = {name: row[name] for name in ("ts", "interval")}
    before = {**bar, "verdict": row["before"], **versions[-1]}
    now = {**bar, "verdict": row["verdict"], **versions[0]}
    return replace(finding, reasons=(*explain.correction(before, now), *finding.reasons))
