"""Clouds on loopback that make CloudFormation stacks, for the tests alone."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import boto3

from tests.athena_server import free_port

REGION = "eu-central-1"


def clients(url):
    """Make clients of the cloud at ``url`` by the service's name."""

    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="secret-of-the-tests",
        )

    return client


@contextmanager
def ministack_server(folder):
    """Give the address of a cloud that makes nearly all that a stack names."""
    port = free_port()
    environment = {
        **os.environ,
        # Unless told so it would listen on every interface.
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url, server, log):
    """Wait until something answers at ``url``."""
    for _ in range(600):
        try:
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)


@contextmanager
def moto_server():
    """Give the address of the other cloud."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
