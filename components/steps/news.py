"""News: which verdicts are worth telling, seen from the last finished run."""

from typing import Any

import pandas as pd

from components import incidents
from components.steps.parts import Parts

# Verdicts that became known since the last finished run, each with the one known until then.
VERDICTS = """
select v.*, b.verdict as before
from verdicts v
left join lateral (
    select o.verdict from verdicts o
    where (o.symbol, o.interval, o.ts, o.judge) = (v.symbol, v.interval, v.ts, v.judge)
      and o.known_at <= %(until)s
    order by o.known_at desc limit 1
) b on true
where v.known_at > %(until)s and v.known_at <= %(as_of)s and v.symbol = any(%(symbols)s)
  and v.interval = %(interval)s and v.judge = %(judge)s and v.ts > %(horizon)s
order by v.symbol, v.ts, v.known_at
"""

# Bars of which a second version became known.
CORRECTED = """
select distinct c.symbol, c.ts from candles c
where c.known_at > %(until)s and c.known_at <= %(as_of)s and c.symbol = any(%(symbols)s)
  and c.interval = %(interval)s
  and exists (
    select 1 from candles o
    where (o.symbol, o.interval, o.ts) = (c.symbol, c.interval, c.ts)
      and o.known_at < c.known_at
  )
"""

JUDGED_BEFORE = """
select s.symbol from unnest(%(symbols)s::text[]) as s (symbol)
where exists (
    select 1 from verdicts v
    where v.symbol = s.symbol and v.interval = %(interval)s and v.known_at <= %(until)s
)
"""

LABELLED = """
select l.symbol, l.action, l.until, a.ts from labels l
join alerts a on a.id = l.alert_id
where l.action in ('snooze', 'acknowledge') and l.made_at <= %(as_of)s
"""

CALM = """
select v.symbol, max(v.ts) as ts from verdicts v
where v.symbol = any(%(symbols)s) and v.verdict = 'normal' and v.known_at <= %(as_of)s
group by v.symbol
"""

# A correction of a bar older than this is recorded, and told no more.
HORIZON = pd.Timedelta(days=31)


def finished_before(parts: Parts, as_of: pd.Timestamp) -> pd.Timestamp:
    """The ``as_of`` of the last finished run before this one; what became known since is news."""
    rows = parts.warehouse.query(
        "select max(as_of) as until from runs "
        "where command = 'run' and status = 'finished' and as_of < %(as_of)s",
        {"as_of": as_of.to_pydatetime()},
    )
    until = rows["until"].iloc[0]
    return pd.Timestamp(0, tz="UTC") if pd.isna(until) else pd.Timestamp(until)


def news(parts: Parts, until: pd.Timestamp, as_of: pd.Timestamp) -> pd.DataFrame:
    """Verdicts to tell: rows of ``verdicts`` with ``before`` and ``kind``.

    ``kind`` is "anomaly" for a bar that was judged for the first time, "correction" for a
    bar that changed and whose verdict turned.
    """
    span = {
        "until": until.to_pydatetime(),
        "as_of": as_of.to_pydatetime(),
        "interval": parts.watch.interval,
    }
    rows = parts.warehouse.query(
        VERDICTS,
        {
            **span,
            "symbols": list(parts.watch.symbols),
            "judge": parts.ensemble.name,
            "horizon": (as_of - HORIZON).to_pydatetime(),
        },
    )
    rows = rows.drop_duplicates(["symbol", "ts"], keep="last").reset_index(drop=True)
    fresh = _first_judged(parts, rows, span, as_of)
    turned = _turned(parts, rows, span)
    return pd.concat([fresh.assign(kind="anomaly"), turned.assign(kind="correction")])


def _first_judged(
    parts: Parts, rows: pd.DataFrame, span: dict[str, Any], as_of: pd.Timestamp
) -> pd.DataFrame:
    symbols = sorted(set(rows.loc[rows["verdict"] == "anomaly", "symbol"]))
    seen = parts.warehouse.query(JUDGED_BEFORE, {**span, "symbols": symbols})
    begun = _begun(parts, span)
    newest = {s: parts.calendars.last_closed(s, parts.watch.interval, begun) for s in symbols}
    fresh = incidents.fresh_anomalies(rows, set(seen["symbol"]), newest)
    return fresh[fresh["ts"] > as_of - incidents.TOLD_WITHIN]


def _begun(parts: Parts, span: dict[str, Any]) -> pd.Timestamp:
    """The ``as_of`` of the first run since the last finished one: it may have been killed."""
    rows = parts.warehouse.query(
        "select min(as_of) as begun from runs "
        "where command = 'run' and as_of > %(until)s and as_of <= %(as_of)s",
        span,
    )
    begun = rows["begun"].iloc[0]
    return pd.Timestamp(span["as_of"] if pd.isna(begun) else begun)


def _turned(parts: Parts, rows: pd.DataFrame, span: dict[str, Any]) -> pd.DataFrame:
    again = rows[rows["before"].notna() & (rows["before"] != rows["verdict"])]
    if not len(again):
        return again
    symbols = {"symbols": sorted(set(again["symbol"]))}
    changed = parts.warehouse.query(CORRECTED, {**span, **symbols})
    # A corrected close moves the return of the bar behind it as well.
    behind = rows.groupby("symbol")["ts"].shift().loc[again.index]
    bars = pd.MultiIndex.from_frame(changed)
    is_own = pd.MultiIndex.from_frame(again[["symbol", "ts"]]).isin(bars)
    is_behind = pd.MultiIndex.from_arrays([again["symbol"], behind]).isin(bars)
    told = parts.warehouse.query(
        "select symbol, ts from incidents "
        "where symbol = any(%(symbols)s) and kind <> 'data' and alert_id <> ''",
        symbols,
    )
    bars_told = set(zip(told["symbol"], told["ts"], strict=True))
    return incidents.turned(again[is_own | is_behind], bars_told)


def quiet(parts: Parts, as_of: pd.Timestamp) -> set[str]:
    """Instruments about which a person asked for silence that still holds."""
    at = {"as_of": as_of.to_pydatetime()}
    labels = parts.warehouse.query(LABELLED, at)
    calm = parts.warehouse.query(CALM, {**at, "symbols": sorted(set(labels["symbol"]))})
    return incidents.quiet_symbols(labels, calm, as_of)
