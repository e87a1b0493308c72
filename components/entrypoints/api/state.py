"""Runs, models, health and figures: the state of the service."""

import asyncio
import time
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from components.documents import records
from components.entrypoints import training
from components.entrypoints.api.alerts import READ, Cursor, Limit
from components.entrypoints.api.replies import (
    Responses,
    as_json,
    page,
    place_of,
    reply,
    require,
    rows_of,
    service,
)
from components.entrypoints.api.schemas import Page
from components.entrypoints.api.service import Service
from components.errors import ModelError, TremorError
from components.reading import runs as reading
from components.sessions import Calendars
from components.wiring import registry_of

router = APIRouter(tags=["state"])

# So long, s, nothing is looked at only when something is wrong.
LONGEST_LOOK_S = 30.0

# Of a watch list so many instruments are looked at, evenly chosen, to say how fresh it is.
LOOKED_AT = 200

UNREADY: Responses = {
    503: {"description": "Not ready: the body says what lacks", "content": {"application/json": {}}}
}


@router.get("/v1/runs", dependencies=[require("read")], responses={200: {"model": Page}, **READ})
async def list_runs(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The newest runs, with what they counted."""
    rows = await service(request).ask(reading.page, limit=limit + 1, before=place_of(cursor))
    return page(request, *rows_of(rows, limit, "started_at", "id"))


@router.get("/v1/models", dependencies=[require("read")], responses={200: {"model": Page}, **READ})
async def list_models(request: Request) -> Response:
    """The registered models of the interval, the newest first; and who judges."""
    held = service(request)
    ensemble = held.parts.ensemble
    items: list[dict[str, Any]] = []
    try:
        models = registry_of(held.settings)
        if models.is_there:
            rows = await asyncio.to_thread(training.listed, held.settings)
            items = records(rows)
        lacking = held.lacking
    except ModelError as error:
        lacking = str(error)
    judges = {
        "name": ensemble.name,
        "views": list(ensemble.seats),
        "trained": ensemble.trained.name if ensemble.trained else None,
        "alerts_per_year": ensemble.alerts_per_year,
        "quorum": ensemble.quorum,
        "interval": held.settings.interval,
        "lacking": lacking,
    }
    return reply(request, as_json({"items": items, "next": None, "judge": judges}))


@router.get("/v1/health", dependencies=[require("read")], responses={**READ, **UNREADY})
async def health(request: Request) -> Response:
    """Live, and whether it is ready: database, cache, model, freshness."""
    held = service(request)
    since_look = time.monotonic() - held.looked_at
    checks = {
        "database": await _database(held),
        # Keys, runs and models are looked at twice a second.
        "watch": {"ok": since_look < LONGEST_LOOK_S, "seconds_since_look": round(since_look, 1)},
        "cache": {"ok": "away" not in held.cache.state, "state": held.cache.state},
        "model": {"ok": not held.lacking, "lacking": held.lacking},
        "freshness": {"ok": False, "state": "unknown: the database is away"},
    }
    is_ready = bool(checks["database"]["ok"])
    if is_ready:
        checks["freshness"] = await _freshness(held)
    is_whole = all(check["ok"] for check in checks.values())
    state = "unready" if not is_ready else "ready" if is_whole else "degraded"
    body = as_json({"live": True, "ready": is_ready, "state": state, "checks": checks})
    headers = {"Cache-Control": "no-store"}
    status = 200 if is_ready else 503
    return Response(body, status, headers=headers, media_type="application/json")


@router.get(
    "/metrics",
    dependencies=[require("read")],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **READ},
)
async def metrics(request: Request) -> PlainTextResponse:
    """Figures for Prometheus."""
    return PlainTextResponse(service(request).metrics.text())


async def _database(held: Service) -> dict[str, Any]:
    try:
        rows = await held.ask(reading.last)
    except TremorError as error:
        return {"ok": False, "state": str(error)}
    last = None if rows.empty else rows.iloc[0].to_dict()
    return {"ok": True, "last_run": last}


async def _freshness(held: Service) -> dict[str, Any]:
    """How many of the watched instruments lack the bar that should have come by now."""
    parts, interval = held.parts, held.settings.interval
    every = sorted(parts.watch.symbols)
    chosen = every[:: max(1, len(every) // LOOKED_AT)]
    now = pd.Timestamp.now("UTC")
    newest = await held.ask(lambda warehouse: warehouse.last_ts(chosen, interval, now))
    due = await asyncio.to_thread(_due, parts.calendars, chosen, interval, now - parts.watch.grace)
    late = [symbol for symbol in chosen if symbol not in newest or newest[symbol] < due[symbol]]
    return {"ok": not late, "looked_at": len(chosen), "late": len(late), "first_late": late[:5]}


def _due(
    calendars: Calendars, symbols: list[str], interval: str, by: pd.Timestamp
) -> dict[str, pd.Timestamp]:
    return {symbol: calendars.last_closed(symbol, interval, by) for symbol in symbols}
