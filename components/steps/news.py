"""News: which verdicts are worth telling. What was told already is in ``incidents``."""

from typing import Any

import pandas as pd

from components import incidents
from components.steps.parts import Parts

# The anomalies of the last weeks by this judge, latest versions, each with its first verdict.
ANOMALIES = """
select v.*, f.verdict as before
from verdicts v
cross join lateral (
    select o.verdict from verdicts o
    where (o.symbol, o.interval, o.ts, o.judge) = (v.symbol, v.interval, v.ts, v.judge)
    order by o.known_at limit 1
) f
where v.symbol = any(%(symbols)s) and v.interval = %(interval)s and v.judge = %(judge)s
  and v.ts > %(horizon)s and v.known_at <= %(as_of)s and v.verdict = 'anomaly'
  and not exists (
    select 1 from verdicts n
    where (n.symbol, n.interval, n.ts, n.judge) = (v.symbol, v.interval, v.ts, v.judge)
      and n.known_at > v.known_at and n.known_at <= %(as_of)s
  )
order by v.symbol, v.ts
"""

# When this judge first judged an instrument.
BEGUN = """
select v.symbol, min(v.known_at) as begun from verdicts v
where v.symbol = any(%(symbols)s) and v.interval = %(interval)s and v.judge = %(judge)s
group by v.symbol
"""

# Bars that changed behind their verdict, or before a bar that had its verdict: a second
# version, a bar that came late, a split that became known late.
CHANGED = """
select c.symbol, c.ts, c.known_at from candles c
where c.known_at > %(horizon)s and c.known_at <= %(as_of)s and c.ts > %(horizon)s
  and c.symbol = any(%(symbols)s) and c.interval = %(interval)s
  and exists (
    select 1 from verdicts v
    where v.symbol = c.symbol and v.interval = c.interval and v.ts >= c.ts
      and v.judge = %(judge)s and v.known_at < c.known_at
  )
union
select a.symbol, a.ts, a.known_at from actions a
where a.kind = 'split' and a.known_at > %(horizon)s and a.known_at <= %(as_of)s
  and a.ts > %(horizon)s and a.symbol = any(%(symbols)s)
"""

# The verdict of each bar before and after a change.
TURNED = """
select v.*, b.verdict as before
from unnest(%(changed)s::text[], %(ts)s::timestamptz[], %(known)s::timestamptz[])
    as c (symbol, ts, known_at)
cross join lateral (
    select distinct n.ts from verdicts n
    where n.symbol = c.symbol and n.interval = %(interval)s and n.ts >= c.ts
      and n.judge = %(judge)s
    order by n.ts limit 2
) near
cross join lateral (
    select o.* from verdicts o
    where o.symbol = c.symbol and o.interval = %(interval)s and o.ts = near.ts
      and o.judge = %(judge)s and o.known_at >= c.known_at and o.known_at <= %(as_of)s
    order by o.known_at desc limit 1
) v
cross join lateral (
    select o.verdict from verdicts o
    where o.symbol = c.symbol and o.interval = %(interval)s and o.ts = near.ts
      and o.judge = %(judge)s and o.known_at < c.known_at
    order by o.known_at desc limit 1
) b
where b.verdict <> v.verdict
"""

LABELLED = """
select l.symbol, l.action, l.until, a.ts from labels l
join alerts a on a.id = l.alert_id
where l.action in ('snooze', 'acknowledge') and a.kind in ('anomaly', 'correction')
  and l.made_at <= %(as_of)s
"""

CALM = """
select distinct on (v.symbol) v.symbol, v.ts from verdicts v
where v.symbol = any(%(symbols)s) and v.interval = %(interval)s and v.judge = %(judge)s
  and v.verdict = 'normal' and v.known_at <= %(as_of)s
  and not exists (
    select 1 from verdicts n
    where (n.symbol, n.interval, n.ts, n.judge) = (v.symbol, v.interval, v.ts, v.judge)
      and n.known_at > v.known_at and n.known_at <= %(as_of)s
  )
order by v.symbol, v.ts desc
"""


def news(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    """Verdicts to tell, told ones included: rows of ``verdicts`` with ``before`` and ``kind``.

    ``kind`` is "anomaly" for a bar that was an anomaly when it was first judged,
    "correction" for a bar that changed and whose verdict turned.
    """
    span = {
        "as_of": as_of.to_pydatetime(),
        "horizon": (as_of - incidents.TOLD_WITHIN).to_pydatetime(),
        "symbols": list(parts.watch.symbols),
        "interval": parts.watch.interval,
        "judge": parts.ensemble.name,
    }
    rows = parts.warehouse.query(ANOMALIES, span)
    begun = parts.warehouse.query(BEGUN, {**span, "symbols": sorted(set(rows["symbol"]))})
    first = {
        symbol: parts.calendars.last_closed(symbol, parts.watch.interval, pd.Timestamp(instant))
        for symbol, instant in zip(begun["symbol"], begun["begun"], strict=True)
    }
    fresh = incidents.fresh_anomalies(rows, first)
    return pd.concat([fresh.assign(kind="anomaly"), _turned(parts, span).assign(kind="correction")])


def _turned(parts: Parts, span: dict[str, Any]) -> pd.DataFrame:
    changed = parts.warehouse.query(CHANGED, span)
    parameters = {
        **span,
        "changed": list(changed["symbol"]),
        "ts": [ts.to_pydatetime() for ts in changed["ts"]],
        "known": [instant.to_pydatetime() for instant in changed["known_at"]],
    }
    rows = parts.warehouse.query(TURNED, parameters)
    rows = rows.sort_values(["symbol", "ts", "known_at"]).drop_duplicates(
        ["symbol", "ts"], keep="last"
    )
    told = parts.warehouse.query(
        "select symbol, ts from incidents "
        "where symbol = any(%(symbols)s) and kind <> 'data' and alert_id <> ''",
        {"symbols": sorted(set(rows["symbol"]))},
    )
    return incidents.turned(rows, set(zip(told["symbol"], told["ts"], strict=True)))


def quiet(parts: Parts, as_of: pd.Timestamp) -> set[str]:
    """Instruments about which a person asked for silence that still holds."""
    at = {
        "as_of": as_of.to_pydatetime(),
        "interval": parts.watch.interval,
        "judge": parts.ensemble.name,
    }
    labels = parts.warehouse.query(LABELLED, at)
    calm = parts.warehouse.query(CALM, {**at, "symbols": sorted(set(labels["symbol"]))})
    return incidents.quiet_symbols(labels, calm, as_of)
