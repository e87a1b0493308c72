"""Clouds on loopback that make CloudFormation stacks, for the tests alone."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import boto3

from tests.proxies import free_port

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


@dataclass(frozen=True)
class Made:
    """A stack that a cloud made: how to ask the services, names by logical name, outputs."""

    client: Callable[[str], Any]
    name: str
    id: str
    status: str
    ids: dict[str, str]
    outputs: dict[str, str]


def make_stack(client, name, body, verb="create", **parameters):
    """Create or update a stack and wait for its end."""
    cloud = client("cloudformation")
    act = getattr(cloud, f"{verb}_stack")
    act(
        StackName=name,
        TemplateBody=body,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": str(v)} for k, v in parameters.items()],
    )
    found = stack_at_rest(client, name)
    pages = cloud.get_paginator("list_stack_resources").paginate(StackName=name)
    made = [each for page in pages for each in page["StackResourceSummaries"]]
    return Made(
        client,
        name,
        found["StackId"],
        found["StackStatus"],
        {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in made},
        {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
    )


def delete_stack(made):
    """Delete a stack and give how that ended."""
    made.client("cloudformation").delete_stack(StackName=made.name)
    return stack_at_rest(made.client, made.id)["StackStatus"]


def stack_at_rest(client, name):
    """The stack, once nothing is under way."""
    for _ in range(600):
        (found,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            return found
        time.sleep(0.1)
    raise AssertionError(found["StackStatus"])
