"""Instruments: their names, and the newest candles and verdicts of one."""

from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Depends, Path, Query, Request, Response

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
from components.reading.instruments import Span

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


async def _span(
    request: Request,
    symbol: OfPath,
    *,
    interval: Interval = None,
    since: When = None,
    until: When = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Span:
    """The bars that a page shows, and one more: whether others lie behind them."""
    end, place = instant_of(until, "until"), place_of(cursor)
    if place is not None and place[1] == symbol:
        end = place[0] if end is None else min(end, place[0])
    of = interval or service(request).settings.interval
    return Span(symbol, of, limit + 1, instant_of(since, "since"), end)


OfQuery = Annotated[Span, Depends(_span)]


@router.get(
    "/v1/instruments/{symbol}/candles",
    dependencies=[require("read")],
    responses={200: {"model": Page}, **ONE},
)
async def list_candles(request: Request, span: OfQuery) -> Response:
    """The newest candles of [since, until), the newest first, latest versions."""
    rows = await service(request).ask(reading.candles, span)
    await _require_known(request, rows, span)
    return page(request, *rows_of(rows, span.limit - 1, "ts", span.symbol))


@router.get(
    "/v1/instruments/{symbol}/scores",
    dependencies=[require("read")],
    responses={200: {"model": Page}, **ONE},
)
async def list_scores(request: Request, span: OfQuery) -> Response:
    """The newest verdicts of [since, until), the newest first, each with its views' scores."""
    held = service(request)
    rows = await held.ask(reading.verdicts, span)
    await _require_known(request, rows, span)
    items, more = rows_of(rows, span.limit - 1, "ts", span.symbol)
    views: dict[pd.Timestamp, list[dict[str, Any]]] = {}
    if items:
        ends = items[-1]["ts"], items[0]["ts"]
        scores = await held.ask(reading.scores, span.symbol, span.interval, *ends)
        told = scores.drop(columns=["known_at"])
        views = {
            pd.Timestamp(str(ts)): records(own.drop(columns="ts")) for ts, own in told.groupby("ts")
        }
    said = [{**row, "views": views.get(row["ts"], [])} for row in items]
    return page(request, said, more)


async def _require_known(request: Request, rows: pd.DataFrame, span: Span) -> None:
    """An instrument of which nothing is held is not there; a span without bars is empty."""
    if len(rows):
        return
    held = service(request)
    if (await held.ask(reading.candles, Span(span.symbol, span.interval, 1))).empty:
        raise NotStored(f"instrument with {span.interval} bars", span.symbol)
