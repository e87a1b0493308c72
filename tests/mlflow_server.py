"""A real MLflow server on loopback, over a database and a folder of its own."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.proxies import free_port


@contextmanager
def mlflow_server(folder):
    """The server's address, for as long as it is needed."""
    folder = Path(folder)
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
        *("--port", url.rpartition(":")[2], "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while not _answers(url):
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < until, (folder / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(url):
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False
