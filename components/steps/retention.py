"""Retention: minutes older than is kept leave the warehouse; small files of a month are merged."""

import pandas as pd

from components.rows import is_intraday
from components.steps.parts import Parts

DAY = pd.Timedelta(days=1)

# A run a minute writes a file a minute: so many of a month become one.
MANY_FILES = 24


def retire(parts: Parts, as_of: pd.Timestamp) -> int:
    """Let bars shorter than a day go as the settings say; give how many partitions went.

    Their hours and days stay, and the lake keeps them. Neither a dry run nor a run of days of
    the past gives anything up. The lake's small files are merged where a month has many.
    """
    is_past = pd.Timestamp(parts.clock()) - as_of > DAY
    if parts.is_dry or is_past or not is_intraday(parts.watch.interval):
        return 0
    parts.lake.compact_all(parts.watch.interval, least=MANY_FILES)
    n_gone = parts.warehouse.keep_minutes(parts.watch.keep_minutes_days, as_of)
    if n_gone:
        parts.run.counts["partitions_retired"] = n_gone
    return n_gone
