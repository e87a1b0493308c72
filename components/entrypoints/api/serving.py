"""``python main.py serve``: the application on uvicorn."""

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from components.channels.email import is_loopback
from components.errors import SettingsError
from components.settings import Settings
from components.steps import keys
from components.wiring import open_warehouse

if TYPE_CHECKING:
    from components.entrypoints.api.service import Service

# So long, s, a connection may be silent before its request, and between two.
LONGEST_SILENCE_S = 15.0

# How long, s, one thread may compute while another waits: who judges does not keep who reads and
# writes from it for Python's usual 5 ms at each turn.
TURN_S = 0.0005

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
        import uvloop

        from components.entrypoints.api.app import make_app
        from components.entrypoints.api.service import Service
    except ImportError:
        raise SettingsError(
            "the API needs FastAPI and uvicorn, which are not installed. Run `make .venv/.web`."
        ) from None
    _require_keys(settings)
    held = Service(settings)
    config = uvicorn.Config(
        make_app(held),
        access_log=False,
        log_level="warning",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    sys.setswitchinterval(TURN_S)
    with suppress(KeyboardInterrupt), _listening(settings) as listening:
        uvloop.run(_served(uvicorn.Server(config), listening, held))


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens, of TCP by name: only such a one is set to send small answers at once.

    Raises
    ------
    SettingsError
        Nobody can listen there.
    """
    address, port = settings.api_address, settings.api_port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((address, port))
        except OSError as error:
            raise SettingsError(
                f"TREMOR_API_ADDRESS={address}, TREMOR_API_PORT={port}: cannot listen there "
                f"({error.strerror}). Name another port, or stop who has it."
            ) from None
        yield opened


async def _served(server: Any, listening: socket.socket, held: "Service") -> None:
    """Serve, and say where once somebody is answered; let listeners go first at the end."""
    serving = asyncio.create_task(server.serve([listening]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.05)
    if server.started:
        # What is there now stays: to look through it for garbage again and again takes 0.1 s.
        gc.collect()
        gc.freeze()
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"http://{shown}:{port}/openapi.json\n")
        sys.stdout.flush()
    since: dict[Any, float] = {}
    while not (server.should_exit or serving.done()):
        await asyncio.sleep(0.2)
        since = _sweep(server.server_state.connections, since)
    held.leave()
    await serving


def _sweep(connections: Iterable[Any], since: dict[Any, float]) -> dict[Any, float]:
    """Close connections that ask nothing for too long; since when each of the others has not.

    uvicorn waits for ever for the head of a request, and counts who waits.
    """
    now, silent = time.monotonic(), {}
    for connection in list(connections):
        cycle = getattr(connection, "cycle", None)
        if cycle is not None and not cycle.response_complete:
            continue
        silent[connection] = since.get(connection, now)
        if now - silent[connection] > LONGEST_SILENCE_S and connection.transport is not None:
            connection.transport.close()
    return silent


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
