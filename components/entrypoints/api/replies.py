"""Answers as HTTP sends them: tags, cursors, rows; and who may ask what."""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from fastapi import Depends, Request, Response

from components.entrypoints.api.problems import Problem
from components.entrypoints.api.service import Service

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


def plain(value: Any) -> Any:
    """What JSON has words for."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is pd.NaT or value is pd.NA:
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def page(
    request: Request, rows: pd.DataFrame, limit: int, place: Callable[[dict[str, Any]], list[str]]
) -> Response:
    """A page of rows, of which one more than wanted was asked for; ``place`` names the last."""
    items = rows.head(limit).to_dict("records")
    last = {str(name): value for name, value in items[-1].items()} if items else {}
    more = cursor_of(place(last)) if len(rows) > limit else None
    found = reply(request, as_json({"items": items, "next": more}))
    if more:
        url = request.url.include_query_params(cursor=more)
        found.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return found


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
        at = pd.Timestamp(instant)
        if at.tzinfo is None or not isinstance(name, str) or "\x00" in name:
            raise ValueError("no place")  # noqa: TRY301
    except (ValueError, TypeError, binascii.Error, OverflowError):
        raise _no_cursor() from None
    return at.tz_convert("UTC"), name


def _no_cursor() -> Problem:
    words = "the cursor is none of this list: begin without one"
    return Problem(422, words, (("cursor", words),))
