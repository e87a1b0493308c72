"""What is new in the warehouse, for who watches: asked often, so each question is small."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.warehouse import Warehouse

# Verdicts that became known up to an instant, behind a place in their order.
NEW = """
select symbol, "interval", ts, judge, verdict, level, state, votes, voters, p, rate, return, scale,
       known_at
from verdicts
where "interval" = %(interval)s and known_at >= %(after)s and known_at <= %(until)s
  and (known_at, symbol, ts, judge) > (%(after)s, %(symbol)s, %(ts)s, %(judge)s)
  and level >= %(level)s and (%(only)s = '' or symbol = %(only)s)
order by known_at, symbol, ts, judge limit %(limit)s
"""

NEWEST = """
select max(known_at) as known_at from verdicts
where "interval" = %(interval)s and known_at > %(after)s
"""

# What is stored of an instrument's past, and said of it, beside its verdicts.
CHANGED = """
select (select max(known_at) from all_candles
        where "interval" = %(interval)s and known_at > %(after)s) as candles,
       (select count(*)::text || coalesce(max(made_at)::text, '') from labels) as labels,
       (select count(*)::text || coalesce(max(known_at)::text, '') from actions) as actions
"""

RUN = """
select id, as_of, command, finished_at from runs where finished_at is not null
order by finished_at desc, id desc limit 1
"""

MOST = 5_000

FIRST = pd.Timestamp(0, tz="UTC")


@dataclass(frozen=True)
class Place:
    """A verdict's place in the order in which verdicts become known; before all of an instant."""

    known_at: pd.Timestamp
    symbol: str = ""
    ts: pd.Timestamp = FIRST
    judge: str = ""


def verdicts(
    warehouse: Warehouse,
    interval: str,
    after: Place,
    until: pd.Timestamp,
    level: int = 0,
    symbol: str = "",
) -> pd.DataFrame:
    """The verdicts behind a place that became known by ``until``, in order; ``MOST`` at most."""
    asked = {
        "interval": interval,
        "after": after.known_at.to_pydatetime(),
        "symbol": after.symbol,
        "ts": after.ts.to_pydatetime(),
        "judge": after.judge,
        "until": until.to_pydatetime(),
        "level": level,
        "only": symbol,
        "limit": MOST,
    }
    return warehouse.query(NEW, asked)


def place_of(row: Mapping[str, Any]) -> Place:
    """Where a verdict stands."""
    return Place(row["known_at"], str(row["symbol"]), row["ts"], str(row["judge"]))


def newest(warehouse: Warehouse, interval: str, after: pd.Timestamp) -> pd.Timestamp | None:
    """When the newest verdict became known; None without any that was after ``after``."""
    asked = {"interval": interval, "after": after.to_pydatetime()}
    found = warehouse.query(NEWEST, asked)["known_at"].iloc[0]
    return None if pd.isna(found) else pd.Timestamp(found)


def changed(
    warehouse: Warehouse, interval: str, after: pd.Timestamp
) -> tuple[pd.Timestamp | None, str]:
    """When the newest candle behind ``after`` became known; a mark of labels and actions."""
    asked = {"interval": interval, "after": after.to_pydatetime()}
    row = warehouse.query(CHANGED, asked).iloc[0]
    known = None if pd.isna(row["candles"]) else pd.Timestamp(row["candles"])
    return known, f"{row['labels']} {row['actions']}"


def last_run(warehouse: Warehouse) -> tuple[str, pd.Timestamp] | None:
    """The run that finished last, and its instant."""
    rows = warehouse.query(RUN, {})
    if rows.empty:
        return None
    first = rows.iloc[0]
    return f"{first['id']} {first['finished_at'].isoformat()}", pd.Timestamp(first["as_of"])
