"""Servers that the tests need: started here, on loopback, and stopped here."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import psycopg2
import pytest

from components.embedded import close_embedded, open_embedded
from components.lake import Lake
from components.warehouse import Warehouse
from tests.worlds import World

# What a machine may truly lack; a test skipped for any other reason fails the run.
LACKING = (
    "the folder ../shared/data is not beside this checkout",
    "mariadbd is not installed on this machine",
    "node or npm is not installed",
    "the npm packages of TimescaleDB cannot be had here",
    "java or mvn is not installed",
    "the jars of Kafka or of Spark's connector cannot be had here",
    "chromium is not installed on this machine",
    "buildah, debootstrap or root's rights, which building an image needs, are not here",
)

_numbers = itertools.count()

# A machine under load is slow, and that is no failure; the same examples on every run.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def postgres_server():
    """The address of a real PostgreSQL server, embedded, for the whole session."""
    folder = Path(tempfile.mkdtemp(prefix="tremor-tests-"))
    folder.chmod(0o711)
    yield open_embedded(folder)
    close_embedded(folder)
    shutil.rmtree(folder)


@pytest.fixture
def make_postgres_url(postgres_server):
    """Make a fresh database and give its address."""

    def make():
        name = f"test_{os.getpid()}_{next(_numbers)}"
        connection = psycopg2.connect(postgres_server)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'create database "{name}"')
        connection.close()
        return postgres_server.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture
def postgres_url(make_postgres_url):
    """The address of a fresh database."""
    return make_postgres_url()


@pytest.fixture
def warehouse(postgres_url):
    """An empty warehouse of this program's version."""
    with Warehouse(postgres_url) as opened:
        opened.migrate()
        yield opened


@pytest.fixture(scope="session")
def s3_server():
    """The address of a real S3 server on loopback, for the whole session."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_server, monkeypatch):
    """A fresh bucket's address; the environment names the server, as an operator's does."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    bucket = f"bucket-{os.getpid()}-{next(_numbers)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/a/prefix"


@pytest.fixture(params=["folder", "s3"])
def lake(request, tmp_path):
    """An empty lake: in a folder, and on S3."""
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    return Lake(request.getfixturevalue("s3_url"))


@pytest.fixture
def make_world(tmp_path, make_postgres_url):
    """Make a small market of its own: a folder, a database."""

    def make():
        folder = tmp_path / f"world{next(_numbers)}"
        folder.mkdir()
        return World(folder, make_postgres_url())

    return make


@pytest.fixture
def world(make_world):
    """A small market, and runs over it."""
    return make_world()


@pytest.fixture(scope="module")
def chromium():
    """A headless browser."""
    from tests.browser import CHROMIUM, NO_CHROMIUM, browser

    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with browser() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _windows_closed(request):
    """What a test opened is closed behind it: an open page goes on asking, and takes its time."""
    if "chromium" not in request.fixturenames:
        yield
        return
    opened = request.getfixturevalue("chromium")
    before = opened.contexts
    yield
    for window in opened.contexts:
        if window not in before:
            window.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip, or a failure that is called expected, without a good reason into a failure."""
    report = yield
    if report.skipped:
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        reason = str(getattr(report, "wasxfail", told))
        if not any(text in reason for text in LACKING):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped: {reason}"
    return report
