"""What is new in the warehouse, for who watches: asked often, so each question is small."""

import pandas as pd

from components.warehouse import Warehouse

# Verdicts that became known in (after, until], newest versions as they are stored.
NEW = """
select symbol, "interval", ts, judge, verdict, level, state, votes, voters, p, rate, return, scale,
       known_at
from verdicts where "interval" = %(interval)s and known_at > %(after)s and known_at <= %(until)s
  and level >= %(level)s
order by known_at, symbol, ts limit %(limit)s
"""

NEWEST = """
select max(known_at) as known_at from verdicts
where "interval" = %(interval)s and known_at > %(after)s
"""

RUN = """
select id, as_of, command, finished_at from runs where finished_at is not null
order by finished_at desc, id desc limit 1
"""

MOST = 5_000


def verdicts(
    warehouse: Warehouse, interval: str, after: pd.Timestamp, until: pd.Timestamp, level: int = 0
) -> pd.DataFrame:
    """The verdicts that became known in (after, until], in that order; ``MOST`` at most."""
    asked = {
        "interval": interval,
        "after": after.to_pydatetime(),
        "until": until.to_pydatetime(),
        "level": level,
        "limit": MOST,
    }
    return warehouse.query(NEW, asked)


def newest(warehouse: Warehouse, interval: str, after: pd.Timestamp) -> pd.Timestamp | None:
    """When the newest verdict became known; None without any that was after ``after``."""
    asked = {"interval": interval, "after": after.to_pydatetime()}
    found = warehouse.query(NEWEST, asked)["known_at"].iloc[0]
    return None if pd.isna(found) else pd.Timestamp(found)


def last_run(warehouse: Warehouse) -> tuple[str, pd.Timestamp] | None:
    """The run that finished last, and its instant."""
    rows = warehouse.query(RUN, {})
    if rows.empty:
        return None
    first = rows.iloc[0]
    return f"{first['id']} {first['finished_at'].isoformat()}", pd.Timestamp(first["as_of"])
