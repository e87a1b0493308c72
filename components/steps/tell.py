"""Tell: from verdicts and troubles to delivered messages, each thing once."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import stamina

from components import explain
from components.channels.base import Channel
from components.errors import ChannelError, PartlyDelivered
from components.incidents import Incident, alert_id, digest
from components.records import Alert, Message, alert_from_json, alert_to_json
from components.steps import troubles
from components.steps.findings import findings
from components.steps.news import news, quiet
from components.steps.parts import Parts
from components.steps.realised import budget_in_words
from components.tables import ALERTS, DELIVERIES, INCIDENTS

Made = list[tuple[Alert, list[Incident]]]

# Alerts whose delivery over a channel is still to be noted.
WAITING = """
select a.payload::text as payload
from deliveries d join alerts a on a.id = d.alert_id
where d.channel = %(channel)s and d.delivered_at is null
order by array_position(array['anomaly', 'correction', 'data'], a.kind), a.ts desc, a.id
"""


def tell(parts: Parts, as_of: pd.Timestamp) -> tuple[Alert, ...]:
    """Make this run's alerts, keep them, and deliver whatever is still to be delivered.

    Alerts and the deliveries that they wait for are stored before anything is sent, and a
    delivery is noted after it was sent: a crash may repeat a message, never lose one.
    """
    made = [*_market(parts, as_of), *troubles.alerts(parts, as_of)]
    alerts = tuple(alert for alert, _ in made)
    if parts.is_dry:
        for channel in parts.channels:
            if channel.name == "console":
                channel.send(_message(parts, alerts, as_of))
        return alerts
    _keep(parts, made, as_of)
    sent = [_deliver(parts, channel, as_of) for channel in parts.channels]
    parts.run.counts["messages_sent"] = sum(sent)
    return _made_at(parts, as_of)


def _made_at(parts: Parts, as_of: pd.Timestamp) -> tuple[Alert, ...]:
    """The alerts of this ``as_of``, those that an interrupted run had made included."""
    rows = parts.warehouse.query(
        "select payload::text as payload from alerts where known_at = %(as_of)s "
        "order by array_position(array['anomaly', 'correction', 'data'], kind), ts desc, id",
        {"as_of": as_of.to_pydatetime()},
    )
    return tuple(map(alert_from_json, rows["payload"]))


def _market(parts: Parts, as_of: pd.Timestamp) -> Made:
    """One alert for the anomalies of each bar, one for the corrections of each bar."""
    rows = news(parts, as_of)
    if not len(rows):
        return []
    incidents = [_incident(parts, row) for row in rows.to_dict("records")]
    rows = rows.assign(incident=pd.Series(incidents, index=rows.index, dtype=object))
    rows = rows[~rows["incident"].map(lambda i: i.id).isin(_told(parts, incidents))]
    silenced = rows["symbol"].isin(quiet(parts, as_of))
    if silenced.any() and not parts.is_dry:
        _note(parts, "", list(rows.loc[silenced, "incident"]), as_of)
    made = []
    loud = rows[~silenced].sort_values(["p", "symbol"])
    bars = loud[["ts", "kind"]].drop_duplicates().sort_values(["ts", "kind"], ascending=False)
    for ts, kind in zip(bars["ts"], bars["kind"], strict=True):
        group = loud[(loud["ts"] == ts) & (loud["kind"] == kind)]
        found, incidents = findings(parts, group, as_of), list(group["incident"])
        alert = Alert(
            id=alert_id(incidents),
            kind=kind,
            interval=parts.watch.interval,
            ts=ts.isoformat(),
            symbols=tuple(finding.symbol for finding in found),
            headline=explain.headline(found, len(parts.watch.symbols), kind),
            findings=tuple(found),
        )
        made.append((alert, incidents))
    return made


def _incident(parts: Parts, row: Mapping[Any, Any]) -> Incident:
    bar = (row["kind"], row["symbol"], parts.watch.interval, row["ts"])
    if row["kind"] == "anomaly":
        return Incident(*bar)
    # A bar may turn twice: each turn is told.
    return Incident(*bar, what=row["verdict"], version=row["known_at"].isoformat())


def _told(parts: Parts, incidents: list[Incident]) -> set[str]:
    rows = parts.warehouse.query(
        "select id from incidents where id = any(%(ids)s)",
        {"ids": [incident.id for incident in incidents]},
    )
    return set(rows["id"])


def _keep(parts: Parts, made: Made, as_of: pd.Timestamp) -> None:
    with parts.warehouse.transaction():
        for alert, incidents in made:
            _note(parts, alert.id, incidents, as_of)
            row = {
                "id": alert.id,
                "kind": alert.kind,
                "interval": alert.interval,
                "ts": pd.Timestamp(alert.ts),
                "symbols": json.dumps(alert.symbols),
                "headline": alert.headline,
                "payload": alert_to_json(alert),
                "known_at": as_of,
            }
            parts.warehouse.upsert(ALERTS, pd.DataFrame([row]))
            for channel in parts.channels:
                _note_delivery(parts, channel.name, [alert.id], "", None)


def _note(parts: Parts, told_by: str, incidents: list[Incident], as_of: pd.Timestamp) -> None:
    rows = pd.DataFrame(
        {
            "id": [incident.id for incident in incidents],
            "alert_id": told_by,
            "kind": [incident.kind for incident in incidents],
            "symbol": [incident.symbol for incident in incidents],
            "interval": parts.watch.interval,
            "ts": pd.DatetimeIndex([incident.ts for incident in incidents]),
            "known_at": as_of,
        }
    )
    parts.warehouse.upsert(INCIDENTS, rows)


def _deliver(parts: Parts, channel: Channel, as_of: pd.Timestamp) -> bool:
    """Send what waits for a channel, and note it; tell whether something was sent."""
    waiting = parts.warehouse.query(WAITING, {"channel": channel.name})
    message = _message(parts, tuple(map(alert_from_json, waiting["payload"])), as_of)
    if not message.alerts and not (parts.watch.all_clear and not _cleared(parts, channel, message)):
        return False
    try:
        _send(parts, channel, message)
    except PartlyDelivered as error:
        parts.run.undelivered.append(f"{channel.name}: {error}")
    except ChannelError as error:
        parts.run.undelivered.append(f"{channel.name}: {error}")
        return False
    ids = [alert.id for alert in message.alerts] or [message.id]
    _note_delivery(parts, channel.name, ids, message.id, parts.clock())
    return True


def _send(parts: Parts, channel: Channel, message: Message) -> None:
    for attempt in stamina.retry_context(
        on=lambda error: isinstance(error, ChannelError) and error.retryable,
        attempts=parts.watch.attempts,
        timeout=None,
        wait_initial=1.0,
        wait_max=30.0,
    ):
        with attempt:
            channel.send(message)


def _message(parts: Parts, alerts: tuple[Alert, ...], as_of: pd.Timestamp) -> Message:
    stamp = as_of.isoformat()
    n_judged = len(parts.watch.symbols) - len({f.symbol for f in parts.run.failures})
    name = [alert.id for alert in alerts] or ["all clear", stamp]
    return Message(
        id=digest(*name),
        as_of=stamp,
        alerts=alerts,
        budget=budget_in_words(parts),
        all_clear="" if alerts else f"all clear, {n_judged} instruments judged",
    )


def _cleared(parts: Parts, channel: Channel, message: Message) -> bool:
    """Whether this run's all-clear has gone out already."""
    rows = parts.warehouse.query(
        "select 1 from deliveries where alert_id = %(id)s and channel = %(channel)s",
        {"id": message.id, "channel": channel.name},
    )
    return len(rows) > 0


def _note_delivery(
    parts: Parts, channel: str, ids: list[str], message_id: str, delivered_at: datetime | None
) -> None:
    rows = pd.DataFrame({"alert_id": ids}).assign(channel=channel, message_id=message_id)
    rows["delivered_at"] = pd.Series([delivered_at] * len(rows), dtype="datetime64[us, UTC]")
    parts.warehouse.upsert(DELIVERIES, rows)
