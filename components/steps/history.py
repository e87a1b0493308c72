"""Candles of all history: those that the warehouse let go are read from the lake."""

import pandas as pd

from components.rows import is_intraday, merged, prepared
from components.steps.parts import Parts
from components.tables import CANDLES, known

# What is read of a candle.
COLUMNS = [n for n in CANDLES.columns if n not in ("interval", "trades", "source")]


def candles_between(
    parts: Parts,
    symbols: tuple[str, ...],
    since: pd.Timestamp,
    until: pd.Timestamp,
    as_of: pd.Timestamp,
) -> pd.DataFrame:
    """The latest versions, known at ``as_of``, of the bars in [since, until)."""
    interval, warehouse = parts.watch.interval, parts.warehouse
    kept = warehouse.minutes_since if is_intraday(interval) else None
    begin = since if kept is None else max(since, kept)
    held = warehouse.read(
        CANDLES,
        symbols=symbols,
        interval=interval,
        since=begin,
        until=until,
        as_of=as_of,
        columns=COLUMNS,
    )
    if begin == since:
        return held
    gone = known(_of_lake(parts, symbols, since, min(begin, until)), as_of)
    return pd.concat([gone[COLUMNS], held], ignore_index=True)


def _of_lake(
    parts: Parts, symbols: tuple[str, ...], since: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    """All versions of the bars in [since, until), as the warehouse had them."""
    months = pd.date_range(since.floor("D").replace(day=1), until, freq="MS", inclusive="left")
    tables = [
        parts.lake.read_month(parts.watch.interval, symbol, f"{month:%Y-%m}")
        for symbol in symbols
        for month in months
    ]
    rows = prepared(pd.concat(tables, ignore_index=True), CANDLES)
    # A bar that was asked for again and had not changed is a row of the lake, and no version.
    found: pd.DataFrame = merged(rows.slice(0, 0), rows, CANDLES).to_pandas()
    return found[(found["ts"] >= since) & (found["ts"] < until)]
