"""What the command line reads from the warehouse, and the one thing it writes: labels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.errors import SettingsError
from components.tables import LABELS
from components.warehouse import Warehouse
from components.words import clean, level_word, moment

if TYPE_CHECKING:
    from components.steps.parts import Parts

# A last run so long ago was one of old days.
LONG_AGO = pd.Timedelta(days=7)

FINDINGS = ("confirmed", "expected", "data-error", "new-regime", "false")

RUNS = """
select id, status, exit_code,
       to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as finished,
       (counts ->> 'candles_new')::int as candles_new,
       (counts ->> 'measures_new')::int as measures_new, (counts ->> 'alerts')::int as alerts
from runs order by started_at desc limit 10
"""

FRESHNESS = """
select symbol, interval, to_char(first_ts at time zone 'UTC', shown) as first,
       to_char(last_ts at time zone 'UTC', shown) as last, n_bars,
       to_char(known_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as known
from freshness, lateral (
    select case when interval like '%%d' then 'YYYY-MM-DD' else 'YYYY-MM-DD HH24:MI' end as shown
) as form order by symbol, interval
"""

# Payment volumes, by data set: how many series, and how far the bins reach that are held; their
# times are shown on the operator's clock.
PAYMENTS = """
select data_set, interval, count(distinct series) as series, count(distinct ts) as bins,
       min(ts) as first, max(ts) as last, max(known_at) as changed
from measures group by data_set, interval order by data_set, interval
"""

ASIDE = """
select check_name, count(*) as rows, min(symbol) as first_symbol, min(ts)::date::text as first_ts
from quarantine group by check_name order by rows desc
"""

ASIDE_ROWS = """
select check_name, symbol, ts, row_text::text as row, known_at from quarantine
order by known_at desc, symbol, ts limit 500
"""

PENDING = """
select d.alert_id, d.channel, a.headline from deliveries d
join alerts a on a.id = d.alert_id where d.delivered_at is null order by a.ts
"""

ALERTS = """
select a.id, a.kind, a.ts::date::text as ts, a.headline,
       (select count(distinct i.id) from incidents i where i.alert_id = a.id) as bars,
       (select string_agg(said.what, ', ' order by said.made_at) from (
            select distinct on (l.action, l.label) l.made_at,
                   case when l.action = 'label' then l.label
                        when l.action = 'snooze' then 'snooze until ' || l.until::date::text
                        else l.action end as what
            from labels l where l.alert_id = a.id
            order by l.action, l.label, l.made_at desc
        ) said) as said
from alerts a order by a.known_at desc, a.ts desc, a.id limit %(limit)s
"""


def status(warehouse: Warehouse, zone: str) -> dict[str, pd.DataFrame]:
    """The last runs, freshness and coverage, rows kept aside by check, pending deliveries.

    And what keeps the bars shorter than a day; since when, where older ones were given up. And
    the payment volumes, where there are any, on the clock of ``zone``.
    """
    queries = {
        "runs": RUNS,
        "freshness": FRESHNESS,
        "quarantine": ASIDE,
        "pending deliveries": PENDING,
    }
    tables = {name: warehouse.query(sql, {}) for name, sql in queries.items()}
    payments = warehouse.query(PAYMENTS, {})
    if len(payments):
        tables["payments"] = _on_the_clock(payments, zone)
    else:
        tables["runs"] = tables["runs"].drop(columns="measures_new")
    since = warehouse.minutes_since
    kept = {} if since is None else {"minutes_since": f"{since:%Y-%m-%d %H:%M}"}
    tables["warehouse"] = pd.DataFrame([{"engine": warehouse.engine, **kept}])
    return tables


def _on_the_clock(payments: pd.DataFrame, zone: str) -> pd.DataFrame:
    """The table with its times as the clock of ``zone`` shows them, and the zone's name."""
    for name in ("first", "last", "changed"):
        shown = [moment(ts, "1m", zone).removesuffix(f" {zone}") for ts in payments[name]]
        payments[name] = shown
    return payments.assign(time_zone=zone)


def quarantine(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    """The newest 500 rows kept aside."""
    return {"quarantine": warehouse.query(ASIDE_ROWS, {})}


def quality(parts: "Parts", since: pd.Timestamp | None, out: Path | None, *, is_json: bool) -> str:
    """What is held against what should exist: as text or JSON; the page is written beside.

    Raises
    ------
    SettingsError
        ``since`` is not before the run's instant, or the file cannot be written.
    """
    from components import quality_page
    from components.steps.quality import quality as measured

    as_of = parts.run.as_of
    if since is not None and since >= as_of:
        raise SettingsError(f"--since {since:%Y-%m-%d %H:%M} is not before {as_of:%Y-%m-%d %H:%M}.")
    found = measured(parts, as_of, since)
    body = quality_page.page(found).encode()
    where = _written(out, body) if out else parts.lake.put_run(parts.run.id, "quality.html", body)
    if is_json:
        return json.dumps({**quality_page.as_json(found), "page": where}, indent=1)
    return f"{quality_page.text_table(found)}\n\npage: {where}"


def _written(path: Path, body: bytes) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    except OSError as error:
        raise SettingsError(f"--out {path}: {error.strerror}. Name another file.") from None
    return str(path)


def alerts(warehouse: Warehouse, limit: int) -> pd.DataFrame:
    """The newest alerts, a line each."""
    return warehouse.query(ALERTS, {"limit": limit})


def alert(warehouse: Warehouse, alert_id: str) -> dict[str, Any]:
    """One alert as it was made, and what people said of it.

    Raises
    ------
    SettingsError
        When there is no such alert.
    """
    rows = warehouse.query(
        "select payload::text as payload from alerts where id = %(id)s", {"id": alert_id}
    )
    if not len(rows):
        raise SettingsError(f"no alert {alert_id!r}. See `python main.py alerts list`.")
    said = warehouse.query(
        "select symbol, action, until, label, note, made_at from labels "
        "where alert_id = %(id)s order by made_at, symbol",
        {"id": alert_id},
    )
    records = json.loads(said.to_json(orient="records", date_format="iso"))
    more = warehouse.query(
        "select symbol, ts from incidents where alert_id = %(id)s and kind = 'continued' "
        "order by symbol, ts",
        {"id": alert_id},
    )
    continued = json.loads(more.to_json(orient="records", date_format="iso"))
    return {**json.loads(rows["payload"].iloc[0]), "said": records, "continued": continued}


def in_words(alert: dict[str, Any]) -> str:
    """An alert as a person reads it."""
    interval = alert["interval"]
    lines = [f"{alert['id']}  {alert['kind']}  {alert['ts'][:10]}", alert["headline"], ""]
    lines += [f"- {note}" for note in alert["notes"]]
    for finding in alert["findings"]:
        level = level_word(finding.get("level", 0))
        lines += [f"{finding['symbol']} {level}".rstrip()]
        lines += [f"  - {reason}" for reason in finding["reasons"]]
    for bar in alert["continued"]:
        lines.append(f"{bar['symbol']} went on {moment(bar['ts'], interval)}, not told again")
    for said in alert["said"]:
        until = f" until {said['until'][:10]}" if said["until"] else ""
        lines.append(
            f"{said['action']} {said['symbol']}{until} {said['label']} {said['note']}".rstrip()
        )
    return "\n".join(lines)


def said_at(warehouse: Warehouse, now: pd.Timestamp) -> pd.Timestamp:
    """When something said now counts: at once, or just after the last run of old days.

    Whoever runs days of the past looks at their alerts as on the morning after.
    """
    last = warehouse.query(
        "select max(as_of) as run, max(made_at) filter (where made_at <= now() - %(days)s * "
        "interval '1 day') as said from runs left join labels on true where command = 'run'",
        {"days": LONG_AGO.days},
    ).iloc[0]
    if pd.isna(last["run"]) or now - last["run"] < LONG_AGO:
        return now
    said = max(last["run"], last["said"]) if not pd.isna(last["said"]) else last["run"]
    return pd.Timestamp(said) + pd.Timedelta(seconds=1)


def act(  # noqa: PLR0913 - what a person says has so many parts
    warehouse: Warehouse,
    alert_id: str,
    action: str,
    made_at: pd.Timestamp,
    *,
    until: pd.Timestamp | None = None,
    label: str = "",
    note: str = "",
    symbol: str = "",
    made_by: str = "",
) -> list[str]:
    """Keep what a person said of an alert, for one or each of its instruments; give these.

    Raises
    ------
    SettingsError
        No such alert, no such finding, or the alert is not about ``symbol``.
    """
    if until is not None and until <= made_at:
        raise SettingsError(f"--until {until:%Y-%m-%d} is past: name a later day.")
    if action == "label" and label not in FINDINGS:
        raise SettingsError(f"--as {label!r} is no finding. Known: {', '.join(FINDINGS)}.")
    acted_on = alert(warehouse, alert_id)
    # Silence about a market-wide day is silence about the market as well.
    market = [acted_on["calendar"]] if acted_on.get("calendar") else []
    symbols = [*acted_on["symbols"], *market]
    if symbol and symbol not in symbols:
        raise SettingsError(
            f"--symbol {symbol!r} is not in alert {alert_id}. It is about: {', '.join(symbols)}."
        )
    symbols = [symbol] if symbol else symbols
    rows = pd.DataFrame({"symbol": symbols}).assign(
        alert_id=alert_id,
        action=action,
        label=label,
        note=clean(note),
        made_by=clean(made_by, 64),
        made_at=made_at,
    )
    rows["until"] = pd.Series([until] * len(rows), dtype="datetime64[us, UTC]")
    warehouse.upsert(LABELS, rows)
    return symbols
