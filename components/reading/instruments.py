"""Instruments for who looks: found by their names, and the newest bars of one."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.reading import loose_scans
from components.warehouse import Warehouse

FOUND = """
select symbol from (
    select symbol, position(upper(%(text)s) in upper(symbol)) as at from names
) found
where symbol is not null and at > 0 and (at, symbol) > (%(at)s, %(after)s)
order by at, symbol limit %(limit)s
"""

CANDLES = """
select distinct on (symbol, "interval", ts) ts, open, high, low, close, volume, vwap, hours,
       source, known_at
from all_candles
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
order by symbol desc, "interval" desc, ts desc, known_at desc limit %(limit)s
"""

VERDICTS = """
select distinct on (symbol, "interval", ts) symbol, ts, judge, verdict, level, state, votes, voters,
       vote_p, p, rate, bars_lacking, body, return, scale, market_part, residual_p, parameters,
       known_at
from verdicts
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
order by symbol desc, "interval" desc, ts desc, known_at desc limit %(limit)s
"""

SCORES = """
select distinct on (symbol, "interval", ts, detector) ts, detector, score, p, n_reference, known_at
from scores
where symbol = %(symbol)s and "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
order by symbol desc, "interval" desc, ts desc, detector desc, known_at desc limit %(limit)s
"""

# The newest verdict of each of some instruments.
NEWEST = """
select v.* from unnest(%(symbols)s::text[]) as wanted (symbol), lateral (
    select symbol, ts, judge, verdict, level, state, votes, voters, p, rate, return, scale,
           market_part, residual_p, bars_lacking, known_at
    from verdicts where symbol = wanted.symbol and "interval" = %(interval)s
      and known_at <= %(as_of)s
    order by symbol desc, "interval" desc, ts desc, known_at desc limit 1
) as v
"""

# The levels of the newest bars of some instruments.
GLANCE = """
select v.* from unnest(%(symbols)s::text[]) as wanted (symbol), lateral (
    select distinct on (symbol, "interval", ts) symbol, ts, verdict, level, state, p, return
    from verdicts where symbol = wanted.symbol and "interval" = %(interval)s
      and ts >= %(since)s and known_at <= %(as_of)s
    order by symbol desc, "interval" desc, ts desc, known_at desc limit %(n_bars)s
) as v
"""

FIRST = pd.Timestamp(0, tz="UTC")
LAST = pd.Timestamp("2200-01-01", tz="UTC")


@dataclass(frozen=True)
class Span:
    """At most ``limit`` bars of [since, until) of an instrument; None is open."""

    symbol: str
    interval: str
    limit: int
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None

    def asked(self) -> dict[str, Any]:
        """The same as values of a statement."""
        return {
            "symbol": self.symbol,
            "interval": self.interval,
            "limit": self.limit,
            "since": (self.since if self.since is not None else FIRST).to_pydatetime(),
            "until": (self.until if self.until is not None else LAST).to_pydatetime(),
        }


def names_in(table: str) -> str:
    """The head of a statement: the ``names`` of instruments in a table, of one interval."""
    return loose_scans.names(table, "symbol", '"interval" = %(interval)s')


def names(
    warehouse: Warehouse,
    interval: str,
    text: str = "",
    limit: int = 1000,
    *,
    judged: bool = True,
    after: str = "",
) -> list[str]:
    """The instruments whose names hold a text, those that begin with it first.

    ``judged`` ones have verdicts; the others have candles of a day or longer. ``after`` is the last
    name of the page before.
    """
    table = "verdicts" if judged else "candles"
    found = warehouse.query(
        names_in(table) + FOUND,
        {
            "interval": interval,
            "text": text,
            "limit": limit,
            "at": after.upper().find(text.upper()) + 1 if after else 0,
            "after": after,
        },
    )
    return [str(symbol) for symbol in found["symbol"]]


def candles(warehouse: Warehouse, span: Span) -> pd.DataFrame:
    """The newest candles of a span, the newest first, latest versions."""
    return warehouse.query(CANDLES, span.asked())


def verdicts(warehouse: Warehouse, span: Span) -> pd.DataFrame:
    """The newest verdicts of a span, the newest first, latest versions."""
    return warehouse.query(VERDICTS, span.asked())


def scores(
    warehouse: Warehouse, symbol: str, interval: str, since: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    """The views' scores of the bars of [since, until], the newest first; 100,000 at most."""
    span = Span(symbol, interval, 100_000, since, until + pd.Timedelta(microseconds=1))
    return warehouse.query(SCORES, span.asked())


def newest(
    warehouse: Warehouse, symbols: list[str], interval: str, as_of: pd.Timestamp
) -> pd.DataFrame:
    """The newest verdict of each instrument, in the order of ``symbols``."""
    asked = {"symbols": symbols, "interval": interval, "as_of": as_of.to_pydatetime()}
    return warehouse.query(NEWEST, asked)


def glance(
    warehouse: Warehouse,
    symbols: list[str],
    interval: str,
    n_bars: int,
    as_of: pd.Timestamp,
    since: pd.Timestamp = FIRST,
) -> pd.DataFrame:
    """The last ``n_bars`` verdicts of each: symbol, ts, verdict, level, state, p, return."""
    asked = {
        "symbols": symbols,
        "interval": interval,
        "as_of": as_of.to_pydatetime(),
        "n_bars": n_bars,
        "since": since.to_pydatetime(),
    }
    return warehouse.query(GLANCE, asked)
