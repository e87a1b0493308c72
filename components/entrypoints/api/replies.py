"""Answers as HTTP sends them: tags, cursors, rows; and who may ask what."""

import base64
import binascii
import datetime as dt
import hashlib
import json
from typing import Annotated, Any

import pandas as pd
from fastapi import Depends, Query, Request, Response

from components.documents import plain, records
from components.entrypoints.api.bodies import FIRST_YEAR, LAST_YEAR
from components.entrypoints.api.problems import Problem
from components.entrypoints.api.service import Service

# Rows, and the place behind which others lie.
Page = tuple[list[dict[str, Any]], list[str] | None]

# An instant of these centuries, with its offset, as a query has it.
INSTANT = (
    r"^(19[789]|20[0-9]|21[0-9])[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}"
    r"(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
When = Annotated[str | None, Query(pattern=INSTANT, json_schema_extra={"format": "date-time"})]

# As FastAPI takes them.
Responses = dict[int | str, dict[str, Any]]

ERRORS: Responses = {
    status: {
        "description": words,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
        },
    }
    for status, words in {
        400: "The request cannot be read",
        401: "No key, or none in force",
        403: "The key has not the scope",
        404: "There is no such thing",
        409: "It contradicts what is there; the answer names the field",
        408: "The body came too slowly",
        413: "Too large, or too many rows",
        415: "The body is of another kind",
        422: "A field is wrong; the answer names it",
        429: "Too many requests",
        503: "A store is away, or too many wait",
        504: "Not answered in time",
    }.items()
}


def errors(*statuses: int) -> Responses:
    """What may go wrong, by status."""
    return {status: ERRORS[status] for status in statuses}


def service(request: Request) -> Service:
    """What the API holds."""
    found: Service = request.app.state.service
    return found


def require(scope: str) -> Any:
    """Let in who has a scope."""

    def check(request: Request) -> None:
        if scope not in request.state.key.scopes:
            raise Problem(403, f"this needs a key with the scope {scope!r}")

    return Depends(check)


def reply(
    request: Request,
    body: bytes,
    media_type: str = "application/json",
    *,
    keep: str = "private, no-cache",
) -> Response:
    """The answer with its tag; "not modified" to who has it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": keep, "Vary": "Authorization, Accept"}
    asked = request.headers.get("if-none-match", "")
    has_it = asked.strip() == "*" or tag in [each.strip() for each in asked.split(",")]
    if request.method in ("GET", "HEAD") and has_it:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def as_json(value: Any) -> bytes:
    """A document: compact, instants as ISO 8601, unknown numbers null."""
    return json.dumps(plain(value), separators=(",", ":"), allow_nan=False).encode()


def page(request: Request, items: list[dict[str, Any]], more: list[str] | None) -> Response:
    """A page of rows; ``more`` names the place of its last row where others lie behind it."""
    cursor = cursor_of(more) if more else None
    found = reply(request, as_json({"items": items, "next": cursor}))
    if cursor:
        url = request.url.include_query_params(cursor=cursor)
        found.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return found


def rows_of(table: pd.DataFrame, limit: int, by: str, name: str) -> Page:
    """The first ``limit`` rows, and the place of the last where there are more: (instant, name)."""
    items = records(table.head(limit))
    last = items[-1] if len(table) > limit else None
    return items, [last[by].isoformat(), str(last.get(name, name))] if last else None


def instant_of(said: str | None, name: str) -> pd.Timestamp | None:
    """An instant that a query names.

    Raises
    ------
    Problem
        There is no such day or hour.
    """
    if said is None:
        return None
    try:
        return pd.Timestamp(dt.datetime.fromisoformat(said)).tz_convert("UTC")
    except (ValueError, OverflowError):
        raise Problem(422, f"{name}: no instant", ((name, "no instant"),)) from None


def cursor_of(place: list[str]) -> str:
    """A place in a list as text that a client gives back."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> tuple[pd.Timestamp, str] | None:
    """The place that a cursor names: an instant and a name.

    Raises
    ------
    Problem
        It is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        instant, name = json.loads(text)
        at = dt.datetime.fromisoformat(instant)
        is_place = at.tzinfo is not None and FIRST_YEAR <= at.year <= LAST_YEAR
        if not (is_place and isinstance(name, str) and "\x00" not in name):
            raise ValueError("no place")  # noqa: TRY301
    except (ValueError, TypeError, binascii.Error, OverflowError):
        raise _no_cursor() from None
    return pd.Timestamp(at).tz_convert("UTC"), name


def _no_cursor() -> Problem:
    words = "no page of this list has such a cursor: begin without one"
    return Problem(404, words, (("cursor", words),))
