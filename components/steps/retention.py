"""Retention: what is older than is kept leaves the warehouse; small files of a month are merged."""

import pandas as pd

from components.rows import is_intraday
from components.steps.parts import Parts

DAY = pd.Timedelta(days=1)

# A run a minute writes a file a minute: so many of a month become one.
MANY_FILES = 24

# The table's key begins with the instrument: of each the old end is found without reading the
# rest, and from one name to the next the key is leapt over.
OLD_SCORES = """
with recursive named as (
    (select symbol from scores order by symbol limit 1)
    union all
    select (select s.symbol from scores s where s.symbol > named.symbol order by s.symbol limit 1)
    from named where named.symbol is not null
)
delete from scores using named
where scores.symbol = named.symbol and scores."interval" = %(interval)s
  and scores.ts < %(before)s
"""

OLD_FEATURES = OLD_SCORES.replace("scores", "features")

# A refused bar behind which no bar came is what keeps a dead market from being asked for, and
# told, anew each day: it stays, however old it is.
OLD_QUARANTINE = """
delete from quarantine q
where q.known_at < %(before)s and q."interval" = %(interval)s
  and (%(is_measured)s or q.ts is null or exists (
    select from all_candles c
    where c.symbol = q.symbol and c."interval" = q."interval" and c.ts > q.ts
  ))
"""


def retire(parts: Parts, as_of: pd.Timestamp) -> int:
    """Let go of what is older than the settings keep; give how many rows and partitions went.

    Scores go by the age of their bar, rows kept aside by when they were, minutes by partitions
    and their features with them; hours, days, verdicts, alerts and the whole lake stay. Neither a
    dry run nor a run of days of the past gives anything up. The lake's small files are merged
    where a month has many.
    """
    if parts.is_dry or pd.Timestamp(parts.clock()) - as_of > DAY:
        return 0
    watch = parts.watch
    gone = {
        "scores_retired": _let_go(parts, OLD_SCORES, _ago(as_of, watch.keep_scores_days)),
        "quarantine_retired": _let_go(
            parts, OLD_QUARANTINE, _ago(as_of, watch.keep_quarantine_days)
        ),
    }
    if is_intraday(watch.interval):
        parts.lake.compact_all(watch.interval, least=MANY_FILES)
        n_partitions = parts.warehouse.keep_minutes(watch.keep_minutes_days, as_of)
        gone["partitions_retired"] = n_partitions
        minutes_since = parts.warehouse.minutes_since if watch.keep_minutes_days else None
        gone["features_retired"] = _let_go(parts, OLD_FEATURES, minutes_since)
    parts.run.counts |= {name: n for name, n in gone.items() if n}
    return sum(gone.values())


def _ago(as_of: pd.Timestamp, days: int) -> pd.Timestamp | None:
    return as_of - days * DAY if days else None


def _let_go(parts: Parts, statement: str, before: pd.Timestamp | None) -> int:
    if before is None:
        return 0
    asked = {
        "before": before.to_pydatetime(),
        "interval": parts.watch.interval,
        "is_measured": parts.is_measured,
    }
    return parts.warehouse.execute(statement, asked)
