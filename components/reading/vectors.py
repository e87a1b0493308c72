"""How an instrument's bars lay among what was usual for it, and what was made of them."""

import pandas as pd

from components.warehouse import Warehouse

# Of each bar the channels as they are known now, and the newest verdict on it.
PLACED = """
select c.ts, c.return_z, c.gap_z, c.body_z, c.residual_z, c.range_z, c.volume_z,
       coalesce(v.level, 0) as level, coalesce(v.verdict, 'undecided') as verdict
from (
    select distinct on (symbol, "interval", ts) symbol, "interval", ts, return_z, gap_z, body_z,
           residual_z, range_z, volume_z
    from channels where symbol = %(symbol)s and "interval" = %(interval)s
    order by symbol desc, "interval" desc, ts desc, known_at desc limit %(limit)s
) c left join lateral (
    select level, verdict from verdicts
    where symbol = c.symbol and "interval" = c."interval" and ts = c.ts
    order by known_at desc limit 1
) v on true order by c.ts
"""


def placed(warehouse: Warehouse, symbol: str, interval: str, limit: int) -> pd.DataFrame:
    """The newest ``limit`` bars, oldest first: ts, the six channels, level, verdict."""
    return warehouse.query(PLACED, {"symbol": symbol, "interval": interval, "limit": limit})
