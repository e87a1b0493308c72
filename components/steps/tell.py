"""Tell: from verdicts and troubles to delivered messages, each thing once."""

import json
from datetime import datetime
from typing import Any

import pandas as pd
import stamina

from components.channels.base import Channel
from components.errors import ChannelError, PartlyDelivered
from components.incidents import CONTINUED, Incident, digest
from components.records import Alert, Message, alert_from_json, alert_to_json
from components.steps import model_trouble, troubles
from components.steps.alerts import Made, Quiet, market_alerts
from components.steps.band_alerts import band_alerts
from components.steps.parts import Parts
from components.steps.realised import budget_in_words
from components.tables import ALERTS, DELIVERIES, INCIDENTS
from components.words import counted, moment

# Alerts whose delivery over a channel is still to be noted.
WAITING = """
select a.payload::text as payload
from deliveries d join alerts a on a.id = d.alert_id
where d.channel = %(channel)s and d.delivered_at is null
order by array_position(
    array['market', 'anomaly', 'payments', 'correction', 'data', 'model'], a.kind
), a.ts desc, a.id
"""

MADE_AT = """
select payload::text as payload from alerts where known_at = %(as_of)s
order by array_position(
    array['market', 'anomaly', 'payments', 'correction', 'data', 'model'], kind
), ts desc, id
"""

# Incidents that were told: of a market-wide day all instruments are one.
TOLD_SO_FAR = """
select count(distinct case when a.kind = 'market' then a.id else coalesce(i.incident, i.id) end)
           as n,
       count(distinct a.id) as n_alerts, min(i.known_at) as since
from incidents i join alerts a on a.id = i.alert_id
where a.kind in ('anomaly', 'market', 'payments') and i.interval = %(interval)s
  and i.known_at <= %(as_of)s
"""


def tell(
    parts: Parts, as_of: pd.Timestamp, *, of_new_bars_alone: bool = False
) -> tuple[Alert, ...]:
    """Make this run's alerts, keep them, and deliver whatever is still to be delivered.

    ``of_new_bars_alone`` leaves out what a stream asks for now and then only: corrections, and
    trouble with data and models.

    Alerts and the deliveries that they wait for are stored before anything is sent, and a
    delivery is noted after it was sent: a crash may repeat a message, never lose one.
    """
    found, quiet = (
        band_alerts(parts, as_of)
        if parts.is_measured
        else market_alerts(parts, as_of, has_corrections=not of_new_bars_alone)
    )
    made = list(found)
    if not of_new_bars_alone:
        made += [*troubles.alerts(parts, as_of), *model_trouble.alerts(parts, as_of)]
    alerts = tuple(alert for alert, _ in made)
    if parts.is_dry:
        for channel in parts.channels:
            if channel.name == "console":
                channel.send(_message(parts, alerts, as_of))
        return alerts
    _keep(parts, made, quiet, as_of)
    sent = [_deliver(parts, channel, as_of) for channel in parts.channels]
    parts.run.counts["messages_sent"] = sum(sent)
    return _made_at(parts, as_of)


def _made_at(parts: Parts, as_of: pd.Timestamp) -> tuple[Alert, ...]:
    """The alerts of this ``as_of``, those that an interrupted run had made included."""
    rows = parts.warehouse.query(MADE_AT, {"as_of": as_of.to_pydatetime()})
    return tuple(map(alert_from_json, rows["payload"]))


def _keep(parts: Parts, made: Made, quiet: Quiet, as_of: pd.Timestamp) -> None:
    with parts.warehouse.transaction():
        for alert, incidents in made:
            _note(parts, [_row(incident, alert.id) for incident in incidents], as_of)
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
        _note_quiet(parts, quiet, as_of)


def _note_quiet(parts: Parts, quiet: Quiet, as_of: pd.Timestamp) -> None:
    """Note what is not told: silenced, or continued under the alert that told its incident."""
    told = parts.warehouse.query(
        "select id, alert_id from incidents where id = any(%(ids)s)",
        {"ids": [teller for _, teller in quiet if teller]},
    )
    alert_of = dict(zip(told["id"], told["alert_id"], strict=True))
    rows = [
        {**_row(incident, alert_of[teller]), "kind": CONTINUED} if teller else _row(incident, "")
        for incident, teller in quiet
    ]
    _note(parts, rows, as_of)


def _row(incident: Incident, told_by: str) -> dict[str, Any]:
    return {
        "id": incident.id,
        "alert_id": told_by,
        "kind": incident.kind,
        "symbol": incident.symbol,
        "interval": incident.interval,
        "ts": incident.ts,
        "incident": incident.continues or incident.id,
    }


def _note(parts: Parts, rows: list[dict[str, Any]], as_of: pd.Timestamp) -> None:
    if rows:
        parts.warehouse.upsert(INCIDENTS, pd.DataFrame(rows).assign(known_at=as_of))


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
    what = "data sets read" if parts.is_measured else "instruments judged"
    return Message(
        id=digest(*name),
        as_of=stamp,
        alerts=alerts,
        budget=" ".join(filter(None, [budget_in_words(parts), _told_so_far(parts, as_of)])),
        all_clear="" if alerts else f"all clear, {n_judged} {what}",
    )


def _told_so_far(parts: Parts, as_of: pd.Timestamp) -> str:
    """How many incidents were told: adjacent bars are one, and alerts hold several."""
    rows = parts.warehouse.query(
        TOLD_SO_FAR, {"as_of": as_of.to_pydatetime(), "interval": parts.watch.interval}
    )
    n, n_alerts, since = rows.iloc[0]
    if not n:
        return ""
    return f"Told since {moment(since)}: {counted(n, 'incident')} in {counted(n_alerts, 'alert')}."


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
