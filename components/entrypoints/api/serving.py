"""``python main.py serve``: the application on uvicorn."""

import logging
import sys

from components.entrypoints.dashboard.start import is_loopback
from components.errors import SettingsError
from components.settings import Settings
from components.steps import keys
from components.wiring import open_warehouse

log = logging.getLogger("tremor")

# Connections at once; more are answered 503 without being read.
MOST_CONNECTIONS = 512


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests at work are answered first.

    Raises
    ------
    SettingsError
        It would be open to the network without keys; no key is in force; the port is taken; or
        FastAPI is not installed.
    """
    try:
        import uvicorn

        from components.entrypoints.api.app import make_app
    except ImportError:
        raise SettingsError(
            "the API needs FastAPI and uvicorn, which are not installed. Run `make .venv/.web`."
        ) from None
    _require_keys(settings)
    config = uvicorn.Config(
        make_app(settings),
        host=settings.api_address,
        port=settings.api_port,
        access_log=False,
        log_level="warning",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = uvicorn.Server(config)
    try:
        with config.bind_socket() as listening:
            host, port = listening.getsockname()[:2]
            sys.stdout.write(f"http://{host}:{port}/openapi.json\n")
            sys.stdout.flush()
            server.run([listening])
    except SystemExit:
        raise SettingsError(
            f"TREMOR_API_ADDRESS={settings.api_address}, TREMOR_API_PORT={settings.api_port}: "
            "cannot listen there. Name another port, or stop who has it."
        ) from None


def _require_keys(settings: Settings) -> None:
    if settings.api_open:
        if not is_loopback(settings.api_address):
            raise SettingsError(
                f"TREMOR_API_ADDRESS={settings.api_address} is open to the network, where nobody "
                "is answered without a key. Leave out --open (TREMOR_API_OPEN), and make a key: "
                "`python main.py keys make NAME --scope read`."
            )
        return
    with open_warehouse(settings) as warehouse:
        if not keys.held(warehouse):
            raise SettingsError(
                "no key is in force: nobody could ask anything. Make one (`python main.py keys "
                "make NAME --scope read --scope score`), or on this machine alone use --open."
            )
