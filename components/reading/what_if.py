"""What "Would have fired" asks: how many bars there are, and what was really found in them."""

import pandas as pd

from components.warehouse import Warehouse

SIZES = """
select symbol, n_bars from freshness
where symbol = any(%(symbols)s) and "interval" = %(interval)s order by symbol
"""

# Of each bar the newest verdict of this judge.
ANOMALIES = """
select v.symbol, v.ts, v.level from unnest(%(symbols)s::text[]) as wanted (symbol), lateral (
    select distinct on (symbol, "interval", ts) symbol, ts, verdict, level from verdicts
    where symbol = wanted.symbol and "interval" = %(interval)s and judge = %(judge)s
      and known_at <= %(as_of)s
    order by symbol desc, "interval" desc, ts desc, known_at desc
) as v where v.verdict = 'anomaly' order by v.ts, v.symbol limit %(limit)s
"""


def sizes(warehouse: Warehouse, symbols: tuple[str, ...], interval: str) -> dict[str, int]:
    """How many bars of each instrument are held."""
    rows = warehouse.query(SIZES, {"symbols": list(symbols), "interval": interval})
    return {str(s): int(n) for s, n in zip(rows["symbol"], rows["n_bars"], strict=True)}


def anomalies(
    warehouse: Warehouse,
    symbols: tuple[str, ...],
    interval: str,
    judge: str,
    as_of: pd.Timestamp,
    limit: int,
) -> pd.DataFrame:
    """The stored anomalies by ``judge``, oldest first: symbol, ts, level; ``limit`` at most."""
    asked = {
        "symbols": list(symbols),
        "interval": interval,
        "judge": judge,
        "as_of": as_of.to_pydatetime(),
        "limit": limit,
    }
    return warehouse.query(ANOMALIES, asked)
