"""Runs and freshness for who looks."""

import pandas as pd

from components.warehouse import Warehouse

RUNS = """
select id, command, as_of, status, exit_code, started_at, finished_at, counts, manifest
from runs where {where} order by started_at desc, id desc limit %(limit)s
"""

LAST_RUN = """
select id, as_of, status, exit_code, finished_at from runs
where command in ('run', 'stream', 'forecast') and finished_at is not null
order by started_at desc, id desc limit 1
"""


def page(
    warehouse: Warehouse, *, limit: int, before: tuple[pd.Timestamp, str] | None = None
) -> pd.DataFrame:
    """The newest runs; ``before`` the last row of a page (started_at, id)."""
    if before is None:
        return warehouse.query(RUNS.format(where="true"), {"limit": limit})
    params = {"limit": limit, "at": before[0].to_pydatetime(), "id": before[1]}
    where = "(started_at, id) < (%(at)s, %(id)s)"
    return warehouse.query(RUNS.format(where=where), params)


def last(warehouse: Warehouse) -> pd.DataFrame:
    """The last run that judged and finished, a row or none."""
    return warehouse.query(LAST_RUN, {})
