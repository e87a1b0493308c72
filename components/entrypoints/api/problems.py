"""Errors as Problem+JSON (RFC 9457): what is wrong, in which field, and the request's id."""

import json
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


# How a schema calls the two ways of writing an instant.
BRANCHES = ("datetime", "date")


class Problem(Exception):
    """An answer that is an error.

    Parameters
    ----------
    errors : tuple of (str, str)
        The fields that are wrong, each with what is.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[tuple[str, str], ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status, self.detail, self.errors = status, detail, errors
        self.headers = headers or {}
        super().__init__(detail)


def body_of(problem: Problem, request_id: str) -> bytes:
    """The answer's body."""
    said: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:request:{request_id}",
    }
    if problem.errors:
        said["errors"] = [{"field": name, "message": words} for name, words in problem.errors]
    return json.dumps(said).encode()


def field_of(place: tuple[Any, ...]) -> str:
    """Where in a document: ``candles[3].high``."""
    name = ""
    for part in place:
        # Of what may be one of two, the name of which is none of the document's.
        if part in BRANCHES:
            continue
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else str(part)
    return name or "body"
