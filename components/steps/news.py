"""News: which verdicts are worth telling. What was told already is in ``incidents``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from components import incidents
from components.incidents import Incident
from components.steps.labels import data_errors, quiet
from components.steps.parts import Parts

# The anomalies of the last weeks by this judge, latest versions, each with its first verdict and
# the anomaly that it continues: that of the bar before, or of the gap that an incident lasts.
ANOMALIES = """
select v.*, f.verdict as before, g.ts is not null or coalesce(p.verdict = 'anomaly', false)
           as follows,
       coalesce(g.ts, p.ts) as ts_before
from verdicts v
cross join lateral (
    select o.verdict from verdicts o
    where (o.symbol, o.interval, o.ts, o.judge) = (v.symbol, v.interval, v.ts, v.judge)
    order by o.known_at limit 1
) f
left join lateral (
    select o.verdict, o.ts from verdicts o
    where o.symbol = v.symbol and o.interval = v.interval and o.judge = v.judge
      and o.ts < v.ts and o.known_at <= %(as_of)s
    order by o.ts desc, o.known_at desc limit 1
) p on true
left join lateral (
    select o.ts from verdicts o
    where o.symbol = v.symbol and o.interval = v.interval and o.judge = v.judge
      and o.ts < v.ts and o.ts >= v.ts - %(gap)s and o.known_at <= %(as_of)s
      and o.verdict = 'anomaly'
      and not exists (
        select 1 from verdicts n
        where (n.symbol, n.interval, n.ts, n.judge) = (o.symbol, o.interval, o.ts, o.judge)
          and n.known_at > o.known_at and n.known_at <= %(as_of)s
      )
    order by o.ts desc limit 1
) g on true
where v.symbol = any(%(symbols)s) and v.interval = %(interval)s and v.judge = %(judge)s
  and v.ts > %(horizon)s and v.known_at <= %(as_of)s and v.verdict = 'anomaly'
  and not exists (
    select 1 from verdicts n
    where (n.symbol, n.interval, n.ts, n.judge) = (v.symbol, v.interval, v.ts, v.judge)
      and n.known_at > v.known_at and n.known_at <= %(as_of)s
  )
order by v.symbol, v.ts
"""

# A market whose move is at least so rare has moved, though its own alarm rate may be muted
# after other such days.
MOVED = 0.05

# The bars of the last weeks on which a market moved as one, each with when its market was first
# judged. An anomaly is told; the others may gather what moved with them.
MARKET_WIDE = """
select * from (
    select m.*,
           coalesce(lag(m.verdict) over of_market = 'anomaly', false)
           or coalesce(max(case when m.verdict = 'anomaly' then m.ts end) over earlier
               >= m.ts - %(gap)s, false) as follows,
           min(m.known_at) over (partition by m.watch_list) as begun
    from market m
    where m.watch_list = any(%(calendars)s) and m.interval = %(interval)s
      and m.known_at <= %(as_of)s and m.verdict is not null
    window of_market as (partition by m.watch_list order by m.ts),
        earlier as (of_market rows between unbounded preceding and 1 preceding)
) judged
where (verdict = 'anomaly' or p <= %(moved)s) and ts > %(horizon)s order by watch_list, ts
"""

NOTED = """
select id, symbol, ts, kind, alert_id, incident from incidents
where symbol = any(%(symbols)s) and interval = %(interval)s and kind <> 'data'
  and ts > %(horizon)s
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
select symbol, ts, known_at from (
    select *, min(judged_at) over (partition by symbol order by ts desc) as before
    from (
        select symbol, ts, known_at, null::timestamptz as judged_at from all_candles
        where known_at > %(horizon)s and known_at <= %(as_of)s and ts > %(horizon)s
          and symbol = any(%(symbols)s) and interval = %(interval)s
        union all
        select symbol, ts, null, min(known_at) from verdicts
        where ts > %(horizon)s and known_at <= %(as_of)s
          and symbol = any(%(symbols)s) and interval = %(interval)s and judge = %(judge)s
        group by symbol, ts
    ) both_tables
) beside_later
where known_at > before
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


def news(
    parts: Parts, as_of: pd.Timestamp, *, has_corrections: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is not noted yet, and the market-wide bars of the last weeks.

    The first has rows of ``verdicts`` with ``kind`` ("anomaly"; "market", whose symbol is its
    calendar; "correction" for a bar that changed and whose verdict turned), ``noted`` (the
    ``Incident``), ``fate`` and ``teller`` as ``incidents.followed`` gives them, and ``before``.
    """
    watched = parts.watch.symbols
    span = {
        "as_of": as_of.to_pydatetime(),
        "horizon": (as_of - incidents.told_within(parts.watch.interval)).to_pydatetime(),
        "symbols": list(watched),
        "interval": parts.watch.interval,
        "judge": parts.ensemble.name,
        "moved": MOVED,
        "gap": incidents.gap_of(parts.watch.interval).to_pytimedelta(),
        "calendars": sorted({parts.calendars.of(symbol) for symbol in watched}),
    }
    wide = _market_wide(parts, span)
    of_market = wide[wide["verdict"] == "anomaly"]
    sides = (_anomalies(parts, span, as_of), of_market)
    found = [_followed(parts, rows, span, as_of) for rows in sides]
    if has_corrections:
        found.append(_corrections(parts, span, as_of))
    return pd.concat(found, ignore_index=True), wide


def _anomalies(parts: Parts, span: dict[str, Any], as_of: pd.Timestamp) -> pd.DataFrame:
    rows = _without_errors(parts, parts.warehouse.query(ANOMALIES, span), span, as_of)
    begun = parts.warehouse.query(BEGUN, {**span, "symbols": sorted(set(rows["symbol"]))})
    first = {
        symbol: parts.calendars.last_closed(symbol, parts.watch.interval, pd.Timestamp(instant))
        for symbol, instant in zip(begun["symbol"], begun["begun"], strict=True)
    }
    # Verdicts that are older than the levels have none.
    level = pd.to_numeric(rows["level"], errors="coerce").astype("float64")
    return rows.assign(kind="anomaly", level=level, is_fresh=incidents.is_fresh(rows, first))


def _without_errors(
    parts: Parts, rows: pd.DataFrame, span: dict[str, Any], as_of: pd.Timestamp
) -> pd.DataFrame:
    """Leave out the bars that were data errors: what comes behind them continues nothing."""
    wrong = data_errors(parts.warehouse, span["symbols"], span["interval"], as_of)
    is_wrong, is_behind = (
        pd.MultiIndex.from_frame(rows[["symbol", ts]]).isin(wrong) for ts in ("ts", "ts_before")
    )
    rows = rows.assign(follows=rows["follows"].astype(bool) & ~is_behind)
    return rows[~is_wrong].drop(columns="ts_before").reset_index(drop=True)


def _market_wide(parts: Parts, span: dict[str, Any]) -> pd.DataFrame:
    rows = parts.warehouse.query(MARKET_WIDE, span)
    member = {parts.calendars.of(symbol): symbol for symbol in parts.watch.symbols}
    first = [
        parts.calendars.last_closed(member[name], parts.watch.interval, pd.Timestamp(instant))
        for name, instant in zip(rows["watch_list"], rows["begun"], strict=True)
    ]
    return rows.assign(
        kind="market",
        symbol=rows["watch_list"],
        level=float("nan"),
        before="anomaly",
        is_fresh=rows["ts"] >= pd.Series(first, index=rows.index, dtype=rows["ts"].dtype),
    )


def _followed(
    parts: Parts, rows: pd.DataFrame, span: dict[str, Any], as_of: pd.Timestamp
) -> pd.DataFrame:
    rows = rows.assign(id=[_incident(row).id for row in rows.to_dict("records")])
    rows["is_quiet"] = quiet(parts, rows, as_of)
    noted = parts.warehouse.query(NOTED, {**span, "symbols": sorted(set(rows["symbol"]))})
    return _with_incidents(incidents.followed(rows, noted))


def _corrections(parts: Parts, span: dict[str, Any], as_of: pd.Timestamp) -> pd.DataFrame:
    rows = _with_incidents(_turned(parts, span).assign(kind="correction", incident="", teller=""))
    noted = parts.warehouse.query(
        "select id from incidents where id = any(%(ids)s)", {"ids": [i.id for i in rows["noted"]]}
    )
    rows = rows[~rows["noted"].map(lambda incident: incident.id).isin(noted["id"])]
    fates = {True: incidents.SILENCED, False: incidents.TOLD}
    return rows.assign(fate=quiet(parts, rows, as_of).map(fates))


def _with_incidents(rows: pd.DataFrame) -> pd.DataFrame:
    noted = [_incident(row) for row in rows.to_dict("records")]
    return rows.assign(noted=pd.Series(noted, index=rows.index, dtype=object))


def _incident(row: Mapping[Any, Any]) -> Incident:
    bar = (row["kind"], row["symbol"], row["interval"], row["ts"])
    if row["kind"] != "correction":
        return Incident(*bar, continues=row.get("incident", ""))
    # A bar may turn twice: each turn is told.
    return Incident(*bar, what=row["verdict"], version=row["known_at"].isoformat())


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
        "where symbol = any(%(symbols)s) and kind in ('anomaly', 'correction') "
        "and alert_id <> ''",
        {"symbols": sorted(set(rows["symbol"]))},
    )
    return incidents.turned(rows, set(zip(told["symbol"], told["ts"], strict=True)))
