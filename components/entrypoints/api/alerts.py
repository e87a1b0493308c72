"""Alerts and incidents: pages of them, one whole, its picture, and what people say of it."""

import asyncio
import json
from typing import Annotated, Literal

import pandas as pd
from fastapi import APIRouter, Path, Query, Request, Response

from components.charts import finding_png
from components.entrypoints import views
from components.entrypoints.api.bodies import FIRST_YEAR, LAST_YEAR, said_as, said_in
from components.entrypoints.api.problems import Problem
from components.entrypoints.api.replies import (
    Responses,
    When,
    as_json,
    errors,
    instant_of,
    page,
    place_of,
    reply,
    require,
    rows_of,
    service,
)
from components.entrypoints.api.schemas import (
    Acknowledged,
    Kept,
    Labelled,
    Page,
    Snoozed,
    Symbol,
)
from components.errors import NotStored, SettingsError
from components.reading import alerts as reading
from components.records import Finding, alert_to_json

router = APIRouter(tags=["alerts"])

AlertId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", examples=["0a85e3a62b51"])]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before.")]

READ = errors(400, 401, 403, 404, 408, 413, 422, 429, 503)
ONE = READ
WRITE = {**ONE, **errors(409, 415)}
PNG: Responses = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}

# An alert never changes, and its picture only with the program.
FOREVER = "private, max-age=86400"


@router.get("/v1/alerts", dependencies=[require("read")], responses={200: {"model": Page}, **READ})
async def list_alerts(  # noqa: PLR0913 - each filter of a list is an argument
    request: Request,
    *,
    limit: Limit = 50,
    cursor: Cursor = None,
    symbol: Symbol | None = None,
    kind: Annotated[str, Query(max_length=20, pattern="^[a-z]*$")] = "",
    level: Annotated[int, Query(ge=0, le=3, description="1 LOW, 2 MEDIUM, 3 HIGH")] = 0,
    since: When = None,
    until: When = None,
    state: Literal["any", "open"] = "any",
) -> Response:
    """The newest alerts, by when they were told; ``open``: that nobody has answered."""
    wanted = reading.Wanted(
        symbol=symbol or "",
        kind=kind,
        since=instant_of(since, "since"),
        until=instant_of(until, "until"),
        level=level,
        is_open=state == "open",
    )
    rows = await service(request).ask(
        reading.page,
        wanted,
        limit=limit + 1,
        now=pd.Timestamp.now("UTC"),
        before=place_of(cursor),
    )
    return page(request, *rows_of(rows, limit, "known_at", "id"))


@router.get("/v1/alerts/{alert_id}", dependencies=[require("read")], responses=ONE)
async def show_alert(request: Request, alert_id: AlertId) -> Response:
    """One alert as it was told, with its reasons, and what people said of it."""
    alert, row = await service(request).ask(reading.one, alert_id)
    said = json.loads(alert_to_json(alert))
    told = {"known_at": row["known_at"], "level": row["level"], "said": row["said"]}
    return reply(request, as_json({**said, **told}))


@router.get("/v1/incidents/{incident_id}", dependencies=[require("read")], responses=ONE)
async def show_incident(request: Request, incident_id: AlertId) -> Response:
    """The bars of an incident, the alerts that told it, and why they were unusual."""
    held = service(request)
    bars = await held.ask(reading.incident, incident_id)
    told = {}
    for alert_id in [each for each in bars["alert_id"].unique() if each][:20]:
        alert, row = await held.ask(reading.one, alert_id)
        own = set(bars["symbol"])
        findings = json.loads(alert_to_json(alert))["findings"]
        told[alert_id] = {
            "headline": alert.headline,
            "kind": alert.kind,
            "level": row["level"],
            "said": row["said"],
            "findings": [f for f in findings if f["symbol"] in own],
        }
    first = bars["id"].iloc[0]
    said = {
        "id": first,
        "symbol": bars["symbol"].iloc[0],
        "interval": bars["interval"].iloc[0],
        "bars": bars.drop(columns=["interval"]).to_dict("records"),
        "alerts": told,
        "chart": f"/v1/incidents/{first}/chart.png",
    }
    return reply(request, as_json(said))


@router.get(
    "/v1/incidents/{incident_id}/chart.png",
    dependencies=[require("read")],
    responses={**ONE, **PNG},
)
async def show_chart(
    request: Request, incident_id: AlertId, symbol: Symbol | None = None
) -> Response:
    """The picture of an incident as its alert has it; of a market-wide one name the instrument."""
    held = service(request)
    key = f"chart {held.parts.code_version} {incident_id} {symbol or ''}"
    picture = await held.cache.get(key)
    if picture is None:
        finding = await _charted(request, incident_id, symbol)
        picture = await asyncio.to_thread(finding_png, finding.chart)
        await held.cache.put(key, picture)
    return reply(request, picture, "image/png", keep=FOREVER)


async def _charted(request: Request, incident_id: str, symbol: str | None) -> Finding:
    held = service(request)
    bars = await held.ask(reading.incident, incident_id)
    for alert_id in [each for each in bars["alert_id"].unique() if each][:20]:
        alert, _ = await held.ask(reading.one, alert_id)
        wanted = {symbol} if symbol else set(bars["symbol"])
        # A market is no instrument: its picture is that of the first that moved with it.
        own = [f for f in alert.findings if f.symbol in wanted] or (
            [] if symbol else list(alert.findings)
        )
        for finding in own:
            if finding.chart is not None:
                return finding
    raise NotStored("picture of an incident", incident_id)


@router.post(
    "/v1/alerts/{alert_id}/acknowledge",
    dependencies=[require("write")],
    responses={200: {"model": Kept}, **WRITE},
    openapi_extra=said_as(Acknowledged),
)
async def acknowledge(request: Request, alert_id: AlertId) -> Response:
    """Keep quiet about the alert's instruments until each has had a normal bar again."""
    said = await said_in(request, Acknowledged)
    return await _act(request, alert_id, "acknowledge", said)


@router.post(
    "/v1/alerts/{alert_id}/snooze",
    dependencies=[require("write")],
    responses={200: {"model": Kept}, **WRITE},
    openapi_extra=said_as(Snoozed),
)
async def snooze(request: Request, alert_id: AlertId) -> Response:
    """Keep quiet about the alert's instruments until an instant."""
    said = await said_in(request, Snoozed)
    if not FIRST_YEAR < said.until.year < LAST_YEAR:
        words = f"not in {FIRST_YEAR} to {LAST_YEAR}"
        raise Problem(422, f"until: {words}", (("until", words),))
    until = pd.Timestamp(said.until)
    until = until.tz_localize("UTC") if until.tzinfo is None else until.tz_convert("UTC")
    return await _act(request, alert_id, "snooze", said, until=until.as_unit("us"))


@router.post(
    "/v1/alerts/{alert_id}/label",
    dependencies=[require("write")],
    responses={200: {"model": Kept}, **WRITE},
    openapi_extra=said_as(Labelled),
)
async def label(request: Request, alert_id: AlertId) -> Response:
    """Keep what a person found; bars labelled data-error are learned from no more."""
    said = await said_in(request, Labelled)
    return await _act(request, alert_id, "label", said, label=said.label)


async def _act(
    request: Request,
    alert_id: str,
    action: str,
    said: Acknowledged,
    until: pd.Timestamp | None = None,
    label: str = "",
) -> Response:
    held, by = service(request), request.state.key.name
    now = pd.Timestamp.now("UTC").floor("us").as_unit("us")
    # Who is not there is not there, however the question is put.
    await held.ask(reading.one, alert_id)
    made_at = await held.ask(views.said_at, now)
    try:
        symbols = await held.ask(
            views.act,
            alert_id,
            action,
            made_at,
            until=until,
            label=label,
            note=said.note,
            symbol=said.symbol or "",
            made_by=by,
        )
    except SettingsError as error:
        field = "until" if "--until" in str(error) else "symbol"
        words = str(error).replace("--", "")
        raise Problem(409, words, ((field, words),)) from None
    return reply(request, as_json({"alert_id": alert_id, "action": action, "symbols": symbols}))
