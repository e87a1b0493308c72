"""What the command line reads from the warehouse, and the one thing it writes: labels."""

import json
from typing import Any

import pandas as pd

from components.errors import SettingsError
from components.tables import LABELS
from components.warehouse import Warehouse

FINDINGS = ("confirmed", "expected", "data-error", "new-regime", "false")

RUNS = """
select id, status, exit_code,
       to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as finished,
       (counts ->> 'candles_new')::int as candles_new, (counts ->> 'alerts')::int as alerts
from runs order by started_at desc limit 10
"""

FRESHNESS = """
select symbol, interval, first_ts::date::text as first, last_ts::date::text as last, n_bars,
       to_char(known_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as known
from freshness order by symbol
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
       (select string_agg(l.action, ',' order by l.made_at) from labels l
        where l.alert_id = a.id) as said
from alerts a order by a.known_at desc, a.ts desc, a.id limit %(limit)s
"""


def status(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    """The last runs, freshness and coverage, rows kept aside by check, pending deliveries."""
    queries = {
        "runs": RUNS,
        "freshness": FRESHNESS,
        "quarantine": ASIDE,
        "pending deliveries": PENDING,
    }
    return {name: warehouse.query(sql, {}) for name, sql in queries.items()}


def quarantine(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    """The newest 500 rows kept aside."""
    return {"quarantine": warehouse.query(ASIDE_ROWS, {})}


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
    return {**json.loads(rows["payload"].iloc[0]), "said": records}


def in_words(alert: dict[str, Any]) -> str:
    """An alert as a person reads it."""
    lines = [f"{alert['id']}  {alert['kind']}  {alert['ts'][:10]}", alert["headline"], ""]
    for finding in alert["findings"]:
        lines += [finding["symbol"], *(f"  - {reason}" for reason in finding["reasons"])]
    lines += [f"- {note}" for note in alert["notes"]]
    for said in alert["said"]:
        until = f" until {said['until'][:10]}" if said["until"] else ""
        lines.append(
            f"{said['action']} {said['symbol']}{until} {said['label']} {said['note']}".rstrip()
        )
    return "\n".join(lines)


def act(
    warehouse: Warehouse,
    alert_id: str,
    action: str,
    made_at: pd.Timestamp,
    until: pd.Timestamp | None = None,
    label: str = "",
    note: str = "",
) -> list[str]:
    """Keep what a person said of an alert, for each of its instruments; give these."""
    if action == "label" and label not in FINDINGS:
        raise SettingsError(f"--as {label!r} is no finding. Known: {', '.join(FINDINGS)}.")
    symbols = list(alert(warehouse, alert_id)["symbols"])
    rows = pd.DataFrame({"symbol": symbols}).assign(
        alert_id=alert_id,
        action=action,
        label=label,
        note=note[:500],
        made_at=made_at,
    )
    rows["until"] = pd.Series([until] * len(rows), dtype="datetime64[us, UTC]")
    warehouse.upsert(LABELS, rows)
    return symbols
