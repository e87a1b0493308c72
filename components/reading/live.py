"""A stream's state for who looks, and stored bars as they were first known, for a replay."""

from dataclasses import dataclass

import pandas as pd

from components.reading import loose_scans
from components.reading.instruments import Span
from components.warehouse import Warehouse

JUDGED = """
select "interval", count(*) as n
from (select * from pairs limit 20000) p group by "interval" order by n desc, "interval"
"""

INTERVALS = """
select "interval", max(updated_at) as updated_at from live
group by "interval" order by max(updated_at) desc limit 20
"""

SUMMARY = """
select count(*) as n, sum(n_judged)::bigint as n_judged, sum(is_open)::bigint as n_open,
    max(updated_at) as updated_at, max(ts) as ts, (array_agg(symbol order by ts desc))[1] as symbol,
    max(lag_s) as lag_s
from live where "interval" = %(interval)s
"""

# Open incidents first, then the newest unusual bars.
ROWS = """
select * from live
where "interval" = %(interval)s and position(upper(%(text)s) in upper(symbol)) > 0
order by is_open desc, unusual_ts desc nulls last, symbol limit %(limit)s
"""

SPAN = """
select first.ts as first, last.ts as last from
(select ts from verdicts where symbol = %(symbol)s and "interval" = %(interval)s
 order by ts limit 1) first,
(select ts from verdicts where symbol = %(symbol)s and "interval" = %(interval)s
 order by ts desc limit 1) last
"""

# Of each bar what was known of it first: what came later a replay of that time cannot show.
CANDLES = """
select distinct on (symbol, "interval", ts) ts, open, high, low, close, volume from all_candles
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
  and hours is distinct from 'extended'
order by symbol, "interval", ts, known_at limit %(limit)s
"""

VERDICTS = """
select distinct on (symbol, "interval", ts) ts, judge, verdict, level, state, votes, voters,
       vote_p, p, return, bars_lacking
from verdicts
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
order by symbol, "interval", ts, known_at limit %(limit)s
"""

SCORES = """
select distinct on (symbol, "interval", ts, detector) ts, detector, p from scores
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
order by symbol, "interval", ts, detector, known_at limit 20 * %(limit)s
"""


def judged_intervals(warehouse: Warehouse) -> list[str]:
    """The lengths of bars of which verdicts are stored, that of most instruments first."""
    found = warehouse.query(loose_scans.pairs("verdicts", "symbol") + JUDGED)
    return [str(name) for name in found["interval"]]


def intervals(warehouse: Warehouse) -> pd.DataFrame:
    """The lengths of bars that streams judged, the newest first: interval, updated_at."""
    return warehouse.query(INTERVALS)


def summary(warehouse: Warehouse, interval: str) -> pd.DataFrame:
    """A stream's state in all, one row.

    Returns
    -------
    DataFrame
        n (instruments), n_judged (candles), n_open (incidents), updated_at, ts (newest bar),
        symbol (an instrument that has it), lag_s (the longest of the last bars).
    """
    return warehouse.query(SUMMARY, {"interval": interval})


def rows(warehouse: Warehouse, interval: str, text: str = "", limit: int = 200) -> pd.DataFrame:
    """What the stream knows of the instruments whose names hold a text, as rows of ``live``."""
    return warehouse.query(ROWS, {"interval": interval, "text": text, "limit": limit})


def summary_of(held: pd.DataFrame) -> pd.DataFrame:
    """The same as ``summary`` of rows of ``live`` that are at hand."""
    newest = held.sort_values("ts", kind="stable").iloc[-1]
    found = {
        "n": len(held),
        "n_judged": int(held["n_judged"].sum()),
        "n_open": int(held["is_open"].sum()),
        "updated_at": held["updated_at"].max(),
        "ts": newest["ts"],
        "symbol": newest["symbol"],
        "lag_s": held["lag_s"].max(),
    }
    return pd.DataFrame([found])


def rows_of(held: pd.DataFrame, text: str = "", limit: int = 200) -> pd.DataFrame:
    """The same as ``rows`` of rows that are at hand."""
    is_named = held["symbol"].str.upper().str.contains(text.upper(), regex=False)
    order = ["is_open", "unusual_ts", "symbol"]
    found = held[is_named].sort_values(order, ascending=[False, False, True], kind="stable")
    return found.head(limit).reset_index(drop=True)


def span(warehouse: Warehouse, symbol: str, interval: str) -> pd.DataFrame:
    """The first and the last judged bar of an instrument: first, last; no row where none is."""
    return warehouse.query(SPAN, {"symbol": symbol, "interval": interval})


@dataclass(frozen=True)
class Stored:
    """What is stored of an instrument's bars, oldest first, each as it was first known."""

    candles: pd.DataFrame
    verdicts: pd.DataFrame
    scores: pd.DataFrame


def stored(warehouse: Warehouse, span: Span) -> Stored:
    """The first bars of a span: candles, verdicts, and the views' scores."""
    asked = span.asked()
    return Stored(*(warehouse.query(sql, asked) for sql in (CANDLES, VERDICTS, SCORES)))
