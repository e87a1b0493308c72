"""Alerts and incidents for who looks: a page at a time, one by its name."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.documents import records
from components.errors import NotStored
from components.records import Alert, alert_from_json
from components.warehouse import Warehouse

# An alert with what people said of it last. Its level is the highest of its findings.
ALERT = """
select a.id, a.kind, a.interval, a.ts, a.symbols, a.headline, a.known_at,
       coalesce((select max((f ->> 'level')::int)
                 from jsonb_array_elements(a.payload -> 'findings') f), 0) as level,
       coalesce((select jsonb_agg(jsonb_build_object(
                     'action', said.action, 'label', said.label, 'until', said.until,
                     'note', said.note, 'made_at', said.made_at) order by said.made_at)
                 from (select distinct on (l.action, l.label) l.* from labels l
                       where l.alert_id = a.id
                       order by l.action, l.label, l.made_at desc) said), '[]') as said
from alerts a
"""

PAGE = f"with a as ({ALERT}) select * from a where %s order by known_at desc, id desc "  # noqa: S608 - our own words

ONE = ALERT + " where a.id = %(id)s"

OPEN = """not exists (
    select from labels l where l.alert_id = a.id
    and (l.action in ('acknowledge', 'label') or (l.action = 'snooze' and l.until > %(now)s)))
"""

INCIDENT = "select incident from incidents where id = %(id)s"

BARS = """
select i.id, i.symbol, i.interval, i.ts, i.kind, i.alert_id, i.known_at
from incidents i where i.incident = %(id)s order by i.ts, i.symbol limit 1000
"""


@dataclass(frozen=True)
class Wanted:
    """Which alerts: of an instrument, of a kind, of bars in [since, until), of a level or higher.

    ``is_open``: those that nobody acknowledged, labelled or snoozed for longer than now.
    """

    symbol: str = ""
    kind: str = ""
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None
    level: int = 0
    is_open: bool = False

    def tests(self, now: pd.Timestamp) -> tuple[list[str], dict[str, Any]]:
        """What a row must pass, and the values of it."""
        asked: list[tuple[str, str, Any]] = []
        if self.symbol:
            asked.append(("symbols @> %(symbol)s::jsonb", "symbol", json.dumps([self.symbol])))
        if self.kind:
            asked.append(("kind = %(kind)s", "kind", self.kind))
        if self.since is not None:
            asked.append(("ts >= %(since)s", "since", self.since.to_pydatetime()))
        if self.until is not None:
            asked.append(("ts < %(until)s", "until", self.until.to_pydatetime()))
        if self.level:
            asked.append(("level >= %(level)s", "level", self.level))
        if self.is_open:
            asked.append((OPEN, "now", now.to_pydatetime()))
        return [test for test, _, _ in asked], {name: value for _, name, value in asked}


EVERY = Wanted()


def page(
    warehouse: Warehouse,
    wanted: Wanted = EVERY,
    *,
    limit: int,
    now: pd.Timestamp,
    before: tuple[pd.Timestamp, str] | None = None,
) -> pd.DataFrame:
    """The newest alerts that are wanted, by when they were told; ``before`` a page's last row.

    Returns
    -------
    DataFrame
        id, kind, interval, ts, symbols, headline, known_at, level, said.
    """
    tests, params = wanted.tests(now)
    if before is not None:
        tests.append("(known_at, id) < (%(known)s, %(id)s)")
        params |= {"known": before[0].to_pydatetime(), "id": before[1]}
    params["limit"] = limit
    return warehouse.query(PAGE % " and ".join(tests or ["true"]) + "limit %(limit)s", params)


def one(warehouse: Warehouse, alert_id: str) -> tuple[Alert, dict[str, Any]]:
    """An alert as it was told, and its row as ``page`` gives it.

    Raises
    ------
    NotStored
        There is no such alert.
    """
    rows = warehouse.query(ONE, {"id": alert_id})
    if rows.empty:
        raise NotStored("alert", alert_id)
    payload = warehouse.query(
        "select payload::text as payload from alerts where id = %(id)s", {"id": alert_id}
    )
    return alert_from_json(payload["payload"].iloc[0]), records(rows)[0]


def incident(warehouse: Warehouse, incident_id: str) -> pd.DataFrame:
    """The bars of an incident, oldest first: id, symbol, interval, ts, kind, alert_id, known_at.

    It may be named by the incident, or by one of its bars.

    Raises
    ------
    NotStored
        There is no such incident.
    """
    rows = warehouse.query(BARS, {"id": incident_id})
    if rows.empty:
        own = warehouse.query(
            "select incident from incidents where id = %(id)s", {"id": incident_id}
        )
        if own.empty:
            raise NotStored("incident", incident_id)
        rows = warehouse.query(BARS, {"id": own["incident"].iloc[0]})
    return rows
