"""Instruments: their names, and the newest candles and verdicts of one."""

from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Path, Query, Request, Response

from components.documents import records
from components.entrypoints.api.alerts import ONE, READ, Cursor, Limit
from components.entrypoints.api.replies import (
    When,
    instant_of,
    page,
    place_of,
    require,
    rows_of,
    service,
)
from components.entrypoints.api.schemas import SHOWN_SYMBOL, SYMBOL, Page
from components.errors import NotStored
from components.reading import instruments as reading

router = APIRouter(tags=["instruments"])

EPOCH = pd.Timestamp("1970-01-01", tz="UTC")

OfPath = Annotated[str, Path(pattern=SYMBOL, examples=["BTC-USD"], json_schema_extra=SHOWN_SYMBOL)]
Interval = Annotated[
    str | None, Query(pattern="^[1-9][0-9]{0,3}[mhd]$", description="Unset: that of the service.")
]


@router.get(
    "/v1/instruments", dependencies=[require("read")], responses={200: {"model": Page}, **READ}
)
async def list_instruments(
    request: Request,
    *,
    search: Annotated[str, Query(max_length=32, pattern="^[A-Za-z0-9.=^_&-]*$")] = "",
    interval: Interval = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The judged instruments whose names hold a text, those that begin with it first."""
    held, now = service(request), pd.Timestamp.now("UTC")
    of, place = interval or held.settings.interval, place_of(cursor)
    after = place[1] if place else ""
    names = await held.ask(reading.names, of, search, limit + 1, after=after)
    newest = await held.ask(reading.newest, names[:limit], of, now)
    # A cursor holds an instant too, which a list of names has no use for.
    more = [EPOCH.isoformat(), names[limit - 1]] if len(names) > limit else None
    return page(request, records(newest), more)


@router.get(
    "/v1/instruments/{symbol}/candles",
    dependencies=[require("read")],
    responses={200: {"model": Page}, **ONE},
)
async def list_candles(
    request: Request,
    symbol: OfPath,
    *,
    interval: Interval = None,
    since: When = None,
    until: When = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The newest candles of [since, until), the newest first, latest versions."""
    held, of = service(request), interval or service(request).settings.interval
    end = _end(until, cursor, symbol)
    rows = await held.ask(reading.candles, symbol, of, limit + 1, instant_of(since, "since"), end)
    await _require_known(request, rows, symbol, of)
    return page(request, *rows_of(rows, limit, "ts", symbol))


@router.get(
    "/v1/instruments/{symbol}/scores",
    dependencies=[require("read")],
    responses={200: {"model": Page}, **ONE},
)
async def list_scores(
    request: Request,
    symbol: OfPath,
    *,
    interval: Interval = None,
    since: When = None,
    until: When = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The newest verdicts of [since, until), the newest first, each with its views' scores."""
    held, of = service(request), interval or service(request).settings.interval
    end = _end(until, cursor, symbol)
    rows = await held.ask(reading.verdicts, symbol, of, limit + 1, instant_of(since, "since"), end)
    await _require_known(request, rows, symbol, of)
    items, more = rows_of(rows, limit, "ts", symbol)
    views: dict[pd.Timestamp, list[dict[str, Any]]] = {}
    if items:
        span = items[-1]["ts"], items[0]["ts"]
        scores = await held.ask(reading.scores, symbol, of, *span)
        told = scores.drop(columns=["known_at"])
        views = {
            pd.Timestamp(str(ts)): records(own.drop(columns="ts")) for ts, own in told.groupby("ts")
        }
    said = [{**row, "views": views.get(row["ts"], [])} for row in items]
    return page(request, said, more)


def _end(until: str | None, cursor: str | None, symbol: str) -> pd.Timestamp | None:
    """Before which bar a page ends."""
    end, place = instant_of(until, "until"), place_of(cursor)
    if place is None or place[1] != symbol:
        return end
    return place[0] if end is None else min(end, place[0])


async def _require_known(request: Request, rows: pd.DataFrame, symbol: str, of: str) -> None:
    """An instrument of which nothing is held is not there; a span without bars is empty."""
    if len(rows):
        return
    held = service(request)
    if (await held.ask(reading.candles, symbol, of, 1)).empty:
        raise NotStored(f"instrument with {of} bars", symbol)
