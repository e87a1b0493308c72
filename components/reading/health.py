"""How the data are, for who looks: freshness, rows kept aside, what waits, who is not judged."""

from typing import Any

import pandas as pd

from components.reading.instruments import names_in
from components.rows import is_intraday
from components.sessions import Calendars
from components.warehouse import Warehouse

# Of shorter bars the days made of them tell it: they are few.
LAST_DAILY = """
select symbol, ts as last_ts, known_at from candles
where symbol = names.symbol and "interval" = %(interval)s and known_at <= %(as_of)s
order by symbol desc, "interval" desc, ts desc, known_at desc limit 1
"""
LAST_SHORTER = """
select symbol, last_ts, known_at from candles_daily
where symbol = names.symbol and "interval" = %(interval)s order by ts desc limit 1
"""
HELD = "select last.* from names, lateral ({last}) as last limit %(limit)s"

UNJUDGED = """
select newest.* from names, lateral (
    select symbol, ts, verdict, state, bars_lacking from verdicts
    where symbol = names.symbol and "interval" = %(interval)s and known_at <= %(as_of)s
    order by symbol desc, "interval" desc, ts desc, known_at desc limit 1
) as newest
where verdict = 'undecided' or state = 'stale' order by newest.symbol limit %(limit)s
"""

# A quarantine that grew large is counted in part: the page has to be there at once.
ASIDE = """
select check_name, count(*) as n_rows, count(distinct symbol) as n_instruments,
       min(symbol) as first_symbol, max(known_at) as newest
from (select check_name, symbol, known_at from quarantine limit %(looked_at)s) as seen
group by check_name order by n_rows desc limit 100
"""

ASIDE_ROWS = """
select check_name as "check", symbol, ts, row_text::text as row, source, known_at from quarantine
where symbol = any(%(symbols)s) order by known_at desc, symbol, ts limit %(limit)s
"""

PENDING = """
select d.alert_id, d.channel, a.headline, a.known_at from deliveries d
join alerts a on a.id = d.alert_id where d.delivered_at is null
order by a.known_at limit %(limit)s
"""

# By each instrument's newest bars, for the table has no other order in which these lie together.
LOW = """
select bar.* from names, lateral (
    select distinct on (symbol, "interval", ts) symbol, ts, p, return, level from verdicts
    where symbol = names.symbol and "interval" = %(interval)s and ts > %(since)s
      and known_at <= %(as_of)s
    order by symbol desc, "interval" desc, ts desc, known_at desc limit 100
) as bar where level = 1 order by ts desc, p limit %(limit)s
"""

LOOKED_AT = 100_000

# Instruments that something was told of lately, the newest first.
TOLD = """
select symbol from incidents
where "interval" = %(interval)s and ts > %(since)s and known_at <= %(as_of)s and symbol <> ''
group by symbol order by max(ts) desc, symbol limit %(limit)s
"""


def freshness(
    warehouse: Warehouse,
    interval: str,
    as_of: pd.Timestamp,
    calendars: Calendars,
    grace: pd.Timedelta,
    limit: int = 20_000,
) -> pd.DataFrame:
    """The newest bar of each instrument held, against the one that should be there.

    Returns
    -------
    DataFrame
        symbol, last_ts, expected_ts, known_at, is_late (older than what closed before the grace);
        the latest ones last.
    """
    is_short = is_intraday(interval)
    last = LAST_SHORTER if is_short else LAST_DAILY
    names = names_in("candles_daily" if is_short else "candles")
    rows = warehouse.query(names + HELD.format(last=last), _asked(interval, as_of, limit))
    by_calendar = rows["symbol"].map(calendars.of)
    due = {
        name: calendars.last_closed(own.iloc[0], interval, as_of - grace)
        for name, own in rows["symbol"].groupby(by_calendar)
    }
    rows["expected_ts"] = by_calendar.map(due).astype("datetime64[us, UTC]")
    rows["is_late"] = rows["last_ts"] < rows["expected_ts"]
    return rows.sort_values(["last_ts", "symbol"], ignore_index=True)


def unjudged(
    warehouse: Warehouse, interval: str, as_of: pd.Timestamp, limit: int = 1000
) -> pd.DataFrame:
    """Instruments whose newest bar is undecided or stale: symbol, ts, verdict, state, lacking."""
    asked = _asked(interval, as_of, limit)
    return warehouse.query(names_in("verdicts") + UNJUDGED, asked)


def aside(warehouse: Warehouse) -> pd.DataFrame:
    """Rows kept aside by check: n_rows, n_instruments, first_symbol, newest."""
    return warehouse.query(ASIDE, {"looked_at": LOOKED_AT})


def aside_rows(warehouse: Warehouse, symbols: list[str], limit: int = 500) -> pd.DataFrame:
    """The newest rows kept aside of some instruments, with the check that each failed."""
    return warehouse.query(ASIDE_ROWS, {"symbols": symbols, "limit": limit})


def pending(warehouse: Warehouse, limit: int = 50) -> pd.DataFrame:
    """Deliveries that wait, the oldest first: alert_id, channel, headline, known_at."""
    return warehouse.query(PENDING, {"limit": limit})


def low(
    warehouse: Warehouse,
    interval: str,
    as_of: pd.Timestamp,
    since: pd.Timestamp,
    limit: int = 200,
) -> pd.DataFrame:
    """Bars after ``since`` with a single vote, which are recorded and not told, newest first."""
    asked = {**_asked(interval, as_of, limit), "since": since.to_pydatetime()}
    return warehouse.query(names_in("verdicts") + LOW, asked)


def told(
    warehouse: Warehouse, interval: str, as_of: pd.Timestamp, since: pd.Timestamp, limit: int
) -> list[str]:
    """Names that something was told of since, instruments and markets, the newest first."""
    asked = {**_asked(interval, as_of, limit), "since": since.to_pydatetime()}
    return [str(symbol) for symbol in warehouse.query(TOLD, asked)["symbol"]]


def _asked(interval: str, as_of: pd.Timestamp, limit: int) -> dict[str, Any]:
    return {"interval": interval, "as_of": as_of.to_pydatetime(), "limit": limit}
