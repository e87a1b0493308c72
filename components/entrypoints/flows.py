"""The daily run as a flow of Prefect: each step a task, on a schedule, with a page to look at.

The order of the steps is ``main.daily``'s; this module only calls them otherwise. Prefect is
handed names, times and outcomes, never settings, rows or open stores. It is installed into an
environment of its own (requirements-flows.txt).
"""

import hashlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from os import environ
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import pandas as pd
import requests
import typer

from components.embedded import open_embedded
from components.entrypoints import retraining, tasks
from components.errors import (
    AnotherRunAtWork,
    SettingsError,
    StoreError,
    TremorError,
    WriteOnceError,
)
from components.records import RunSummary
from components.settings import Settings, read_settings
from components.warehouse import Warehouse
from components.wiring import code_version


def _prepare() -> None:
    """Let Prefect tell nobody, listen on this machine alone, and keep its files in the state."""
    try:
        home = read_settings().state_dir / "prefect"
    except SettingsError:
        # The run says in one line which setting is wrong; here Prefect only needs a place.
        home = Path("var/prefect")
    home.mkdir(parents=True, exist_ok=True)
    # Written for Prefect; nothing is read here.
    environ.update(
        DO_NOT_TRACK="1",
        PREFECT_HOME=str(home.absolute()),
        PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY="false",
        PREFECT_LOGGING_EXTRA_LOGGERS="tremor",
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_SERVER_API_HOST="127.0.0.1",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT="false",
    )


# Prefect reads its settings from the environment while it is imported.
_prepare()
logging.getLogger("tremor").setLevel(logging.INFO)

import prefect  # noqa: E402
from prefect import flow, task  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.deployments.runner import EntrypointType  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.schedules import Cron  # noqa: E402
from prefect.settings import (  # noqa: E402
    PREFECT_API_URL,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)
from prefect.states import Completed, Failed  # noqa: E402
from prefect.transactions import get_transaction  # noqa: E402

# So long a finished run's outcome is kept for the same inputs.
KEPT = timedelta(days=1)

# Names of the states that a run ends in, and what the command line's exit code is.
CODES = {"Completed": 0, "Skipped": 0, "DoneInPart": 3}

# The second run of a day catches up on what the first could not have yet.
DAILY = ("30 6 * * *", "30 12 * * *")
MINUTES = "*/5 * * * *"

# Markets rest, and no run is due.
WEEKLY = "30 3 * * 0"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@flow(name="tremor", persist_result=False)  # type: ignore[untyped-decorator]
def watch(
    as_of: str | None = None,
    source: str | None = None,
    symbols: str | None = None,
    interval: str | None = None,
) -> Any:
    """Run the daily pipeline once, as ``python main.py run`` does with the same options.

    Without ``as_of`` it judges what had closed when this flow run first began, so that a flow
    run which is repeated judges the same instant again.
    """
    try:
        settings = read_settings(source=source, symbols=symbols, interval=interval)
        instant = _began() if as_of is None else _past(as_of)
        key = _key(settings, instant)
    except TremorError as error:
        return _mendable(error)
    return _whole(settings, instant, key)


@flow(name="tremor-train", persist_result=False)  # type: ignore[untyped-decorator]
def retrain(detectors: str = "", *, promote: bool = False) -> Any:
    """Train a model anew on the candles held, as ``python main.py train`` does.

    ``detectors`` are names, comma-separated; none for the champion's own kind. With ``promote``
    a challenger that has earned it judges from the next run on; else a person promotes it.
    """
    named = tuple(name.strip() for name in detectors.split(",") if name.strip())
    try:
        name, message = retraining.retrained(named, is_promoted=promote)
    except TremorError as error:
        return _mendable(error)
    return Completed(name=name, message=message)


def _whole(settings: Settings, as_of: pd.Timestamp, key: str) -> Any:
    """The run as a task of its own, which holds those of the steps, and is kept by its inputs."""
    from main import daily  # the order of the steps

    call = tasks.Call()

    def attempt() -> Any:
        failed = call.of(lambda: _outcome(daily(settings, as_of, tasks.TaskRunner())))
        if isinstance(call.error, AnotherRunAtWork):
            call.result = {"name": "Skipped", "message": tasks.line(call.error)}
            failed = None
        # What was not done, or not all of it, is done when it is asked for again.
        is_done = failed is None and call.result["name"] == "Completed"
        get_transaction().write_on_commit = is_done
        return failed or call.result

    state = task(
        name="run",
        task_run_name=f"run as of {as_of:%Y-%m-%d %H:%M:%S} UTC",
        cache_key_fn=lambda *_: key,
        cache_expiration=KEPT,
        persist_result=True,
        result_serializer="json",
        retries=len(tasks.PATIENCE_S),
        retry_delay_seconds=list(tasks.PATIENCE_S),
        retry_condition_fn=lambda *_: _may_pass(call.error),
    )(attempt)(return_state=True)
    if state.is_failed() and call.error is not None:
        return _mendable(call.error)
    return Completed(**state.result())


def _may_pass(error: TremorError | None) -> bool:
    return isinstance(error, StoreError) and not isinstance(error, WriteOnceError)


def _outcome(summary: RunSummary) -> dict[str, str]:
    """What the page of Prefect says of a run."""
    counts = ", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in sorted(summary.counts.items()))
    lines = [f"{failure.symbol}: {failure.message}" for failure in summary.failures]
    lines += [f"not delivered: {line}" for line in summary.undelivered]
    shown = lines[:5] + ([f"and {len(lines) - 5} more"] if len(lines) > 5 else [])
    name = "Completed" if summary.exit_code == 0 else "DoneInPart"
    return {"name": name, "message": "; ".join([f"{summary.id}: {counts or 'done'}", *shown])}


def _mendable(error: TremorError) -> Any:
    said = tasks.line(error).removeprefix("error: ")
    return Failed(name=type(error).__name__, message=f"error: {said}")


def _key(settings: Settings, as_of: pd.Timestamp) -> str:
    """Name a run's inputs: settings without secrets, stores, files, instant, and the program.

    Two warehouses whose addresses differ in the password alone are one.
    """
    url = settings.warehouse or open_embedded(settings.state_dir)
    places = [settings.files_root, settings.measures_file, settings.measures_query]
    files = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for place in places
        if place and "://" not in str(place)
        for path in _under(Path(place))
    ]
    inputs = {
        "settings": settings.shown(),
        "state_dir": str(settings.state_dir.absolute()),
        "warehouse": Warehouse(url).shown,
        "files": files,
        "code": code_version(),
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"run-{as_of:%Y%m%dT%H%M%SZ}-{digest[:32]}"


def _under(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    return [path] if path.exists() else []


def _began() -> pd.Timestamp:
    """When this flow run first ran; a repeated one keeps the instant."""
    with get_client(sync_client=True) as client:
        began = client.read_flow_run(flow_run.id).start_time
    return pd.Timestamp(began).tz_convert("UTC").floor("s")


def _past(text: str) -> pd.Timestamp:
    instant = pd.to_datetime(text, errors="coerce", utc=True)
    if pd.isna(instant) or instant.year < 1970 or instant > pd.Timestamp.now("UTC"):
        raise SettingsError(f"as_of {text!r} is no past instant. Write it as 2024-03-12T12:00.")
    return instant.floor("s")


def deployments(*, minutes: bool = False, train: bool = False) -> list[Any]:
    """What is served: the day's two runs; minutes and training stay paused unless asked for."""
    return [
        watch.to_deployment(
            name="daily",
            schedules=[Cron(each, timezone="UTC") for each in DAILY],
            entrypoint_type=EntrypointType.MODULE_PATH,
            description="What closed since the last run; the second of the day catches up.",
        ),
        watch.to_deployment(
            name="minutes",
            schedules=[Cron(MINUTES, timezone="UTC")],
            parameters={"interval": "1m"},
            paused=not minutes,
            entrypoint_type=EntrypointType.MODULE_PATH,
            description="The minutes that closed since the last run; steps aside for another.",
        ),
        retrain.to_deployment(
            name="weekly",
            schedules=[Cron(WEEKLY, timezone="UTC")],
            paused=not train,
            entrypoint_type=EntrypointType.MODULE_PATH,
            description="The champion's kind of model, trained anew; a person promotes it.",
        ),
    ]


@app.command()
def once(
    as_of: Annotated[str | None, typer.Option(help="Default: now.")] = None,
    source: Annotated[str | None, typer.Option()] = None,
    symbols: Annotated[str | None, typer.Option()] = None,
    interval: Annotated[str | None, typer.Option()] = None,
) -> int:
    """Run the flow now, and exit with the code of `python main.py run`."""
    state = watch(as_of=as_of, source=source, symbols=symbols, interval=interval, return_state=True)
    typer.echo(state.message, err=state.is_failed())
    is_mendable = state.is_failed() and state.name not in ("Failed", "Crashed")
    return 2 if is_mendable else CODES.get(state.name, 1)


@app.command()
def serve(
    *,
    minutes: Annotated[bool, typer.Option("--minutes", help="Run the minutes too.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Train every week too.")] = False,
) -> int:
    """Serve the schedules until stopped, with a server of its own or that of PREFECT_API_URL."""
    with _server() as url, temporary_settings({PREFECT_API_URL: url}):
        prefect.serve(*deployments(minutes=minutes, train=train), limit=2)
    return 0


@contextmanager
def _server() -> Iterator[str]:
    """The given server's address, or that of one on loopback, for as long as it is needed."""
    if given := PREFECT_API_URL.value():
        yield given
        return
    host, port = "127.0.0.1", PREFECT_SERVER_API_PORT.value()
    with socket.socket() as tried:
        if tried.connect_ex((host, port)) == 0:
            raise SettingsError(
                f"port {port} is taken. Set PREFECT_API_URL to the server there, or "
                "PREFECT_SERVER_API_PORT to a free one."
            )
    starting = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port"]
    server = subprocess.Popen([*starting, str(port)])  # noqa: S603 - nothing from outside
    try:
        url = f"http://{host}:{port}/api"
        while not _answers(url):
            if server.poll() is not None:
                raise SettingsError(f"Prefect's server ended with code {server.returncode}.")
            sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def main() -> None:
    """Parse the arguments, do what they say, and exit with the documented code."""
    try:
        code = app(standalone_mode=False)
    except TremorError as error:
        typer.echo(f"error: {tasks.line(error)}", err=True)
        code = 2
    sys.exit(code or 0)


if __name__ == "__main__":
    # Under its own name, by which Prefect imports the flow in the processes that it starts.
    import_module("components.entrypoints.flows").main()
