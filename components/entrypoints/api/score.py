"""``POST /v1/score``: candles in, verdicts out."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pandas as pd
import pyarrow as pa
from fastapi import APIRouter, Request, Response

from components.answers import records
from components.entrypoints.api.bodies import ARROW, JSON, PARQUET, candles_of, kind_of
from components.entrypoints.api.problems import Problem
from components.entrypoints.api.replies import errors, reply, require, service
from components.entrypoints.api.schemas import EXAMPLE, ScoreOut
from components.entrypoints.api.service import Service
from components.steps.requested import Answer, Asked
from components.verdicts import verdict_rows

router = APIRouter(tags=["score"])

T = TypeVar("T")

# A body of so many bytes is read in a thread of its own.
LARGE = 2**16

# A body of so many candles goes by the quick lane; and of so many all have reasons.
SMALL, MOST_REASONS = 100, 100

# What is judged on request is stored never.
NEVER = pd.Timestamp(0, tz="UTC")

BINARY = {"schema": {"type": "string", "format": "binary"}}

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/Candles"},
                "examples": {"one candle": {"value": {"candles": [EXAMPLE]}}},
            },
            ARROW: BINARY,
            PARQUET: BINARY,
        },
    }
}

STATUSES = (400, 401, 403, 408, 413, 415, 422, 429, 503, 504)


@router.post(
    "/v1/score",
    dependencies=[require("score")],
    responses={
        200: {"model": ScoreOut, "content": {ARROW: BINARY}},
        **errors(*STATUSES),
    },
    openapi_extra=BODY,
    summary="Judge candles",
)
async def score(
    request: Request,
    history: Literal["stored", "none"] = "stored",
    reasons: Literal["anomalies", "all", "none"] = "anomalies",
) -> Response:
    """Judge closed candles by the same functions as the daily run; nothing is stored.

    With ``history=stored`` they follow the last stored bar of their instruments; a bar up to it
    was judged before, and is put aside. With ``history=none`` each instrument begins with its
    first candle here. Reasons are given of anomalies, of all (100 at most) or of none.
    An Arrow body, or answer, is a stream of record batches.
    """
    held, body = service(request), await request.body()
    kind = kind_of(request)
    as_arrow = request.headers.get("accept", "").startswith(ARROW)
    key = _key(held.version, kind, history, reasons, as_arrow, body)
    found = await held.cache.get(key)
    held.metrics.looked_up(is_found=found is not None)
    if found is None:
        candles = await _aside(body, candles_of, body, kind, held.settings.api_max_rows)
        if reasons == "all" and len(candles) > MOST_REASONS:
            words = f"reasons of all are given of {MOST_REASONS} candles at most"
            raise Problem(422, words, (("reasons", words),))
        found = await _judged(held, Asked(candles, history == "none", reasons), key, as_arrow)
    return reply(request, found, ARROW if as_arrow else JSON)


async def _judged(held: Service, asked: Asked, key: str, as_arrow: bool) -> bytes:
    lane = held.small if len(asked.candles) <= SMALL else held.bulk
    answer = await lane.ask(asked)
    held.metrics.judged(sum(int(judged.panel.is_bar.sum()) for judged in answer.judged))
    made = _arrow if as_arrow else as_json_bytes
    found = (
        made(held, answer) if lane is held.small else await asyncio.to_thread(made, held, answer)
    )
    if answer.is_lasting:
        await held.cache.put(key, found)
    return found


async def _aside(body: bytes, work: Callable[..., T], *args: Any) -> T:
    """Do what takes long of a large body in a thread: small ones are answered meanwhile."""
    return work(*args) if len(body) < LARGE else await asyncio.to_thread(work, *args)


def _key(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        said = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(said).to_bytes(8, "big") + said)
    return digest.hexdigest()


def as_json_bytes(held: Service, answer: Answer) -> bytes:
    """The answer as a document."""
    ensemble = held.parts.ensemble
    verdicts = [
        record
        for judged in answer.judged
        for record in records(judged, ensemble.seats, ensemble.name, answer.findings)
    ]
    verdicts.sort(key=lambda record: (record["symbol"], record["ts"]))
    aside = [
        {"symbol": row["symbol"], "ts": row["ts"].isoformat(), "check": row["check_name"]}
        for row in (answer.aside.to_dict("records") if len(answer.aside) else ())
    ]
    said = {
        "version": held.version,
        "judge": ensemble.name,
        "model": ensemble.trained.name if ensemble.trained else None,
    }
    # All of it is plain already. Verdict by verdict: one long piece of work would let nobody in.
    parts = [_dumped(said)[:-1], b',"verdicts":[', b",".join(map(_dumped, verdicts))]
    return b"".join([*parts, b'],"aside":', _dumped(aside), b"}"])


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _arrow(held: Service, answer: Answer) -> bytes:
    """The verdicts as a stream of record batches; what was put aside has the verdict "aside"."""
    name, interval = held.parts.ensemble.name, held.parts.watch.interval
    tables = [verdict_rows(judged, name, interval, NEVER) for judged in answer.judged]
    aside = answer.aside.assign(verdict="aside", interval=interval)
    frame = pd.concat([*tables, *([aside] if len(aside) else [])], ignore_index=True)
    frame = frame.drop(columns=["known_at"], errors="ignore").sort_values(["symbol", "ts"])
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
