"""Payment volumes for who looks: data sets, series found by name, the bins and bands of one."""

from typing import Any

import pandas as pd

from components.reading import loose_scans
from components.warehouse import Warehouse

DATA_SETS = """
select p.data_set, p."interval", newest.ts, newest.known_at from pairs p, lateral (
    select b.ts, b.known_at from bands b
    where b.data_set = p.data_set and b."interval" = p."interval" order by b.ts desc limit 1
) newest limit 200
"""

HELD = 'select data_set, "interval" from measures limit 1'

OF = 'data_set = %(data_set)s and "interval" = %(interval)s'

SERIES = """
select series, count(*) over () as n from names
where series is not null and position(upper(%(text)s) in upper(series)) > 0
order by series <> 'total', position(upper(%(text)s) in upper(series)), series limit %(limit)s
"""

# The newest judged bins of a series, and those that come behind them.
BINS = """
with judged as (
    select distinct on (ts) ts, ends_at, forecaster, actual, expected, lower, upper, p, level,
        standing, known_at
    from bands
    where data_set = %(data_set)s and series = %(series)s and "interval" = %(interval)s
      and ts > (select max(ts) from bands where data_set = %(data_set)s and series = %(series)s
                and "interval" = %(interval)s) - make_interval(secs => %(span_s)s)
    order by ts desc, known_at desc limit %(limit)s
)
select *, null::float8 as so_far, null::float8 as nowcast from judged
union all
select ts, ends_at, forecaster, null, expected, lower, upper, null, null, standing, known_at,
    so_far, nowcast
from forecasts
where data_set = %(data_set)s and series = %(series)s and "interval" = %(interval)s
  and ts > (select max(ts) from judged) and ts < (select max(ts) from judged) + interval '8 days'
order by ts
"""

# The series whose value in the data set's last closed bin lies outside of their band.
OUTSIDE = """
with newest as (
    select distinct on (b.series) b.series, b.ts, b.actual, b.expected, b.lower, b.upper, b.level,
        b.standing
    from bands b
    where b.data_set = %(data_set)s and b."interval" = %(interval)s and b.ts = (
        select max(ts) from bands where data_set = %(data_set)s and "interval" = %(interval)s)
    order by b.series, b.known_at desc
)
select *, count(*) over () as n from newest where level >= 2
order by abs(actual - case when expected = 'NaN' then 0 else coalesce(expected, 0) end) desc,
    series limit %(limit)s
"""

SILENCE = """
select distinct on (ts) ts, until, n_likely, n_silent, p from silent
where data_set = %(data_set)s and "interval" = %(interval)s
order by ts desc, known_at desc limit %(limit)s
"""

# How many of a series' newest bins were judged by a band, and how many lay outside of it.
KEPT = """
select count(*) filter (where standing = 'live') as n_open,
    count(*) filter (where standing = 'live' and level >= 2) as n_outside,
    count(*) filter (where level >= 2) as n_alarms, min(ts) as since, max(ends_at) as until
from (
    select distinct on (ts) ts, ends_at, level, standing from bands
    where data_set = %(data_set)s and series = %(series)s and "interval" = %(interval)s
      and ts > (select max(ts) from bands where data_set = %(data_set)s and series = %(series)s
                and "interval" = %(interval)s) - interval '90 days'
    order by ts desc, known_at desc limit 20000
) judged
"""

TRIALS = """
select forecaster, is_champion, winkler, covered, coverage, alarms_a_week, n_series, n_bins,
    seconds, known_at
from forecast_trials
where data_set = %(data_set)s and "interval" = %(interval)s and known_at = (
    select max(known_at) from forecast_trials
    where data_set = %(data_set)s and "interval" = %(interval)s)
order by winkler, forecaster limit 50
"""


def data_sets(warehouse: Warehouse) -> pd.DataFrame:
    """Data sets with bands: data_set, interval, ts of the newest bin, when that was judged."""
    return warehouse.query(loose_scans.pairs("bands", "data_set") + DATA_SETS)


def is_measured(warehouse: Warehouse) -> bool:
    """Whether any payment is held, with a band or without."""
    return len(warehouse.query(HELD)) > 0


def series(
    warehouse: Warehouse, data_set: str, interval: str, text: str = "", limit: int = 200
) -> pd.DataFrame:
    """The series whose names hold a text, the sum of all first: series, n (found in all)."""
    sql = loose_scans.names("bands", "series", OF) + SERIES
    return warehouse.query(sql, {**_of(data_set, interval), "text": text, "limit": limit})


def bins(
    warehouse: Warehouse,
    data_set: str,
    series: str,
    interval: str,
    span: pd.Timedelta,
    limit: int = 5000,
) -> pd.DataFrame:
    """The last judged bins of a series and those that come, oldest first.

    Returns
    -------
    DataFrame
        ts, ends_at, forecaster, actual, expected, lower, upper, p, level, standing, known_at,
        so_far, nowcast. What comes has no actual, p and level.
    """
    asked = {**_of(data_set, interval), "series": series, "limit": limit}
    found = warehouse.query(BINS, {**asked, "span_s": span.total_seconds()})
    numbers = ["actual", "expected", "lower", "upper", "p", "level", "so_far", "nowcast"]
    return found.astype(dict.fromkeys(numbers, "float64"))


def outside(warehouse: Warehouse, data_set: str, interval: str, limit: int = 200) -> pd.DataFrame:
    """The series that alarm in the last closed bin, the largest difference first.

    Returns
    -------
    DataFrame
        series, ts, actual, expected, lower, upper, level, standing, n (how many there are).
    """
    return warehouse.query(OUTSIDE, {**_of(data_set, interval), "limit": limit})


def silence(warehouse: Warehouse, data_set: str, interval: str, limit: int = 12) -> pd.DataFrame:
    """How many busy series were silent in the newest bins: ts, until, n_likely, n_silent, p."""
    return warehouse.query(SILENCE, {**_of(data_set, interval), "limit": limit})


def kept(warehouse: Warehouse, data_set: str, series: str, interval: str) -> pd.DataFrame:
    """A series' last three months, one row: n_open, n_outside, n_alarms, since, until."""
    return warehouse.query(KEPT, {**_of(data_set, interval), "series": series})


def trials(warehouse: Warehouse, data_set: str, interval: str) -> pd.DataFrame:
    """How the forecasters did on their last trial, the best first; empty before the first."""
    return warehouse.query(TRIALS, _of(data_set, interval))


def _of(data_set: str, interval: str) -> dict[str, Any]:
    return {"data_set": data_set, "interval": interval}
