"""The application: routes, errors as problems, and the guard round all of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from components.entrypoints.api import alerts, events, instruments, score, state
from components.entrypoints.api.bodies import faulty
from components.entrypoints.api.guard import FAULT, Guard
from components.entrypoints.api.problems import MEDIA_TYPE, Problem, body_of
from components.entrypoints.api.schemas import (
    Acknowledged,
    Candles,
    Labelled,
    ProblemOut,
    Snoozed,
)
from components.entrypoints.api.service import Service
from components.errors import NotStored, TremorError

DESCRIPTION = """
Candles in, verdicts out, by the same functions as the daily run; alerts with their reasons.

Every request carries a key, `Authorization: Bearer KEY`. Errors are Problem+JSON, by field.
"""


def make_app(held: Service) -> ASGIApp:
    """The application over one warehouse, lake and registry."""
    settings = held.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await held.start()
        app.state.broadcast = events.Broadcast(held)
        yield
        await held.close()

    app = FastAPI(
        title="Tremor",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        # Their pages would be fetched from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.service = held
    for room in (score, alerts, instruments, state, events):
        app.include_router(room.router)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TremorError, _known)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Exception, _problem)
    _describe(app)
    guarded: ASGIApp = Guard(app, held)
    if not settings.api_origins:
        return guarded
    # Round the guard, for a browser asks without a key whether it may ask.
    return CORSMiddleware(
        guarded,
        allow_origins=list(settings.api_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key", "last-event-id"],
        expose_headers=["etag", "link", "x-request-id", "retry-after"],
    )


def _describe(app: FastAPI) -> None:
    """Say in the OpenAPI document how keys are sent, and what a problem looks like."""
    made = app.openapi()
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemOut, Candles, Acknowledged, Snoozed, Labelled):
        whole = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= whole.pop("$defs", {})
        schemas[model.__name__] = whole
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"key": []}]
    app.openapi_schema = made


async def _problem(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else Problem(500, FAULT)
    body = body_of(problem, request.state.request_id)
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(body, problem.status, headers=headers, media_type=MEDIA_TYPE)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    words = HTTPStatus(status).description or HTTPStatus(status).phrase
    return await _problem(request, Problem(status, words, headers=headers))


async def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return await _problem(request, faulty(found))


async def _known(request: Request, error: Exception) -> Response:
    """What somebody can mend: not there, or a store that is away."""
    status = 404 if isinstance(error, NotStored) else 503
    headers = {} if status == 404 else {"Retry-After": "5"}
    return await _problem(request, Problem(status, str(error), headers=headers))
