"""Alerts about payments: which bins outside of their band are news, and what is told of them."""

from typing import Any

import numpy as np
import pandas as pd

from components import band_news, bins, incidents
from components.band_news import Where, every_of, name_of
from components.bin_panels import TOTAL
from components.incidents import CONTINUED, TOLD, Incident, alert_id
from components.records import Alert, BandChart, Finding
from components.steps.alerts import Made, Quiet
from components.steps.parts import Parts

KIND = "payments"

# Bars that were told or noted are looked for so far back; charts show two weeks.
SHOWN = pd.Timedelta(days=14)
WEEK = pd.Timedelta(days=7)

# Findings of one alert that have a picture and all their reasons.
IN_FULL = 6

# Series of which any bin of the last days was outside, with all their bins of these days; the
# latest version of each, and the last bin that its first run judged: what lies before is history.
ROWS = """
with latest as materialized (
    select distinct on (data_set, series, ts) * from bands
    where data_set = any(%(data_sets)s) and "interval" = %(interval)s
      and ts > %(horizon)s and known_at <= %(as_of)s
    order by data_set, series, ts, known_at desc
), odd as materialized (
    select distinct data_set, series from latest where level >= 2
), begun as materialized (
    select o.data_set, o.series, g.begun from odd o
    join lateral (
        select b.ts, b.known_at from bands b
        where (b.data_set, b.series, b."interval") = (o.data_set, o.series, %(interval)s)
        order by b.ts, b.known_at limit 1
    ) f on true
    join lateral (
        select max(b.ts) as begun from bands b
        where (b.data_set, b.series, b."interval") = (o.data_set, o.series, %(interval)s)
          and b.ts < f.ts + interval '40 days' and b.known_at = f.known_at
    ) g on true
)
select l.*, g.begun from latest l join odd using (data_set, series)
join begun g using (data_set, series)
order by l.data_set, l.series, l.ts
"""

CROWDS = """
select distinct on (data_set, ts) * from silent
where data_set = any(%(data_sets)s) and "interval" = %(interval)s
  and ts > %(horizon)s and known_at <= %(as_of)s
order by data_set, ts, known_at desc
"""

# The last bin of a data set that had closed when any of it was first judged.
BEGUN = """
select d.data_set, g.begun from unnest(%(data_sets)s::text[]) d (data_set)
join lateral (
    select b.ts, b.known_at from bands b
    where (b.data_set, b."interval") = (d.data_set, %(interval)s) order by b.ts, b.known_at limit 1
) f on true
join lateral (
    select max(b.ts) as begun from bands b
    where (b.data_set, b."interval") = (d.data_set, %(interval)s)
      and b.ts < f.ts + interval '40 days' and b.known_at = f.known_at
) g on true
"""

NOTED = """
select id, symbol, ts, kind, alert_id, incident from incidents
where split_part(symbol, ':', 1) = any(%(data_sets)s) and "interval" = %(interval)s
  and kind <> 'data' and ts > %(horizon)s
"""

SILENCES = """
select l.symbol, l.action, l.until, a.ts, coalesce(calm.ts, busy.ts) as calm
from labels l join alerts a on a.id = l.alert_id
left join lateral (
    select b.ts from bands b
    where b.data_set || ':' || b.series = l.symbol and b."interval" = a."interval"
      and b.ts > a.ts and b.level < 2 and b.standing in ('live', 'sparse')
      and b.known_at <= %(as_of)s
    order by b.ts limit 1
) calm on true
left join lateral (
    select s.ts from silent s
    where s.data_set = l.symbol and s."interval" = a."interval" and s.ts > a.ts
      and s.n_silent < %(stopped)s * s.n_likely and s.known_at <= %(as_of)s
    order by s.ts limit 1
) busy on true
where l.action in ('snooze', 'acknowledge') and a.kind = 'payments'
  and l.made_at <= %(as_of)s and a."interval" = %(interval)s
"""

OF_BIN = """
select distinct on (series) series, actual - expected as difference from bands
where data_set = %(data_set)s and "interval" = %(interval)s and ts = %(ts)s
  and known_at <= %(as_of)s and series <> %(total)s
order by series, known_at desc
"""

# The sum of all in a bin that closed.
OF_ALL = """
select * from bands
where data_set = %(data_set)s and "interval" = %(interval)s and ts = %(ts)s
  and known_at <= %(as_of)s and series = %(total)s
order by known_at desc limit 1
"""

HISTORY = """
select * from (
    select distinct on (ts) ts, ends_at, actual, expected, lower, upper, level, standing from bands
    where data_set = %(data_set)s and series = %(series)s and "interval" = %(interval)s
      and ts > %(since)s and ts <= %(ts)s and known_at <= %(as_of)s
    order by ts, known_at desc
) past
union all
select ts, ends_at, null, expected, lower, upper, null, standing from forecasts
where data_set = %(data_set)s and series = %(series)s and "interval" = %(interval)s and ts > %(ts)s
  and known_at <= %(as_of)s
order by ts
"""

# Of the busy series so large a part must be silent, at a chance so much below the stated rate.
STOPPED, RARE = 0.8, 0.1


def band_alerts(parts: Parts, as_of: pd.Timestamp) -> tuple[Made, Quiet]:
    """One alert for each data set and bin with news, and what is noted without a word."""
    span = {
        "as_of": as_of.to_pydatetime(),
        "horizon": (as_of - incidents.told_within(parts.watch.interval)).to_pydatetime(),
        "interval": parts.watch.interval,
        "data_sets": list(parts.watch.symbols),
    }
    rows = _odd(parts, span)
    if rows.empty:
        return [], []
    noted = parts.warehouse.query(NOTED, span)
    silences = parts.warehouse.query(SILENCES, {**span, "stopped": STOPPED})
    rows["is_quiet"] = incidents.is_quiet(rows, silences, as_of).to_numpy()
    fates = incidents.followed(rows, noted)
    noted_as = [
        Incident(KIND, symbol, parts.watch.interval, ts, continues=first)
        for symbol, ts, first in zip(fates["symbol"], fates["ts"], fates["incident"], strict=True)
    ]
    fates = fates.assign(noted=pd.Series(noted_as, index=fates.index, dtype=object))
    still = fates[fates["fate"] != TOLD]
    tellers = still["teller"].where(still["fate"] == CONTINUED, "")
    quiet: Quiet = list(zip(still["noted"], tellers, strict=True))
    made: Made = []
    loud = fates[fates["fate"] == TOLD].sort_values("ts", ascending=False, kind="stable")
    for _, group in loud.groupby(["data_set", "ts"], sort=False):
        made.append(_told(parts, group, as_of))
    return made, quiet


def _odd(parts: Parts, span: dict[str, Any]) -> pd.DataFrame:
    """Bins outside of their band; of those in which payments stopped, one row for them all."""
    rows = parts.warehouse.query(ROWS, span)
    crowds = parts.warehouse.query(CROWDS, span)
    most = (1 - parts.watch.coverage) * RARE
    is_stopped = (crowds["n_silent"] >= STOPPED * crowds["n_likely"]) & (crowds["p"] <= most)
    rows["symbol"] = [*map(name_of, rows["data_set"], rows["series"])]
    stopped = crowds.assign(
        series="",
        symbol=[every_of(name) for name in crowds["data_set"]],
        level=np.where(is_stopped, 3, 0),
        standing="live",
        actual=0.0,
    ).merge(parts.warehouse.query(BEGUN, span), on="data_set")
    held = pd.MultiIndex.from_frame(crowds.loc[is_stopped, ["data_set", "ts"]])
    is_held = pd.MultiIndex.from_frame(rows[["data_set", "ts"]]).isin(held)
    rows = rows[~(is_held & (rows["actual"] == 0).to_numpy())]
    tables = [table for table in (rows, stopped) if len(table)]
    if not tables:
        return rows
    both = pd.concat(tables, ignore_index=True)
    both = both.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)
    is_odd = both["level"] >= 2
    asked = both[~both["standing"].isin(["closed", "holiday"]) | is_odd]
    was_odd = (asked["level"] >= 2).groupby(asked["symbol"]).shift(fill_value=False)
    both["follows"] = was_odd.reindex(both.index, fill_value=False)
    odd = both[is_odd].reset_index(drop=True)
    odd["is_fresh"] = odd["ts"] >= odd["begun"]
    odd["own_p"] = odd["p"].astype(float).fillna(1.0)
    # A silence grows rarer by the hour, and is no news for that.
    odd["p"] = odd["own_p"].where(odd["actual"] != 0, most)
    odd["level"] = odd["level"].astype(float)
    interval = parts.watch.interval
    odd["id"] = [
        Incident(KIND, symbol, interval, ts).id
        for symbol, ts in zip(odd["symbol"], odd["ts"], strict=True)
    ]
    return odd


def _told(parts: Parts, group: pd.DataFrame, as_of: pd.Timestamp) -> tuple[Alert, list[Incident]]:
    """The alert of one bin of a data set, and what it notes."""
    data_set, ts = str(group["data_set"].iloc[0]), pd.Timestamp(group["ts"].iloc[0])
    where = Where(parts.watch.zone, parts.watch.unit)
    is_crowd = group["symbol"] == every_of(data_set)
    own = [_record(row) for row in group[~is_crowd].to_dict("records")]
    own.sort(key=_first_told)
    crowd = group[is_crowd]
    silent = _record(crowd.iloc[0].to_dict()) if len(crowd) else None
    if silent is not None:
        silent["p"] = silent["own_p"]
    asked = {
        "data_set": data_set,
        "interval": parts.watch.interval,
        "ts": ts.to_pydatetime(),
        "as_of": as_of.to_pydatetime(),
        "total": TOTAL,
    }
    parts_of = parts.warehouse.query(OF_BIN, asked)
    if silent is not None:
        # Who fell silent is counted; what that comes to is shown of all together.
        of_all = parts.warehouse.query(OF_ALL, asked)
        of_all = of_all[(of_all["actual"] == 0).to_numpy()]
        shown = {"own_p": silent["p"], "level": 3, "symbol": name_of(data_set, TOTAL)}
        own = [*({**_record(row), **shown} for row in of_all.to_dict("records")), *own]
    found = [
        _finding(parts, row, parts_of, where, as_of, in_full=place < IN_FULL)
        for place, row in enumerate(own)
    ]
    noted = list(group["noted"])
    alert = Alert(
        id=alert_id(noted),
        kind=KIND,
        interval=parts.watch.interval,
        ts=ts.isoformat(),
        symbols=tuple(sorted({incident.symbol for incident in noted})),
        headline=band_news.headline(data_set, own, silent, where),
        findings=tuple(found),
        notes=() if silent is None else band_news.silence_notes(silent, where),
    )
    return alert, noted


def _first_told(row: dict[str, Any]) -> tuple[Any, ...]:
    """The sum of all leads, unless it is closed: then the one that was paid does."""
    place = 1 if row["series"] != TOTAL else 2 if row["standing"] == "closed" else 0
    return place, -row["level"], row["p"], row["series"]


def _record(row: dict[Any, Any]) -> dict[str, Any]:
    found = {str(name): value for name, value in row.items()}
    for name in ("ts", "ends_at", "until"):
        if not pd.isna(found.get(name)):
            found[name] = pd.Timestamp(found[name])
    return found


def _finding(
    parts: Parts,
    row: dict[str, Any],
    parts_of: pd.DataFrame,
    where: Where,
    as_of: pd.Timestamp,
    *,
    in_full: bool,
) -> Finding:
    ts, expected, p = row["ts"], float(row["expected"]), float(row["own_p"])
    history = _history(parts, row, as_of) if in_full else pd.DataFrame()
    nothing = parts_of.iloc[:0]
    reasons: tuple[str, ...] = ()
    if in_full:
        reasons = band_news.reasons(
            {**row, "p": p},
            since=_since(history, ts),
            before=_week_before(history, ts, where.zone),
            parts=parts_of if row["series"] == TOTAL else nothing,
            where=where,
        )
    nan = float("nan")
    return Finding(
        symbol=row["symbol"],
        ts=ts.isoformat(),
        verdict="anomaly",
        move=(row["actual"] - expected) / expected if expected > 0 else nan,
        body=nan,
        sigmas=nan,
        p=p,
        rank=0,
        n_reference=0,
        market=nan,
        reasons=reasons,
        chart=_chart(history, row, where) if in_full else None,
        level=int(row["level"]),
        surprise=float(-np.log10(p)) if p > 0 else nan,
    )


def _history(parts: Parts, row: dict[str, Any], as_of: pd.Timestamp) -> pd.DataFrame:
    return parts.warehouse.query(
        HISTORY,
        {
            "data_set": row["data_set"],
            "series": row["series"],
            "interval": parts.watch.interval,
            "ts": row["ts"].to_pydatetime(),
            "since": (row["ts"] - SHOWN).to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )


def _since(history: pd.DataFrame, ts: pd.Timestamp) -> pd.Timestamp:
    """The first bin of the run of bins outside that ends at ``ts``, closed ones passed over."""
    open_ = history[(history["ts"] <= ts) & ~history["standing"].isin(["closed", "holiday"])]
    inside = open_.loc[open_["level"].astype(float) < 2, "ts"]
    run = open_[open_["ts"] > inside.max()] if len(inside) else open_
    return pd.Timestamp(run["ts"].min()) if len(run) else ts


def _week_before(history: pd.DataFrame, ts: pd.Timestamp, zone: str) -> dict[str, Any] | None:
    """The bin that began a week before on the operator's clock."""
    wall = ts.tz_convert(zone).tz_localize(None) - WEEK
    found = history[history["ts"] == bins.instants(pd.DatetimeIndex([wall]), zone)[0]]
    return None if found.empty else _record(found.iloc[0].to_dict())


def _chart(history: pd.DataFrame, row: dict[str, Any], where: Where) -> BandChart:
    columns = {
        name: tuple(history[name].astype(float))
        for name in ("actual", "expected", "lower", "upper")
    }
    return BandChart(
        ts=tuple(pd.DatetimeIndex(history["ts"]).map(lambda each: each.isoformat())),
        judged=row["ts"].isoformat(),
        unit=where.unit,
        zone=where.zone,
        title=row["symbol"],
        **columns,
    )
