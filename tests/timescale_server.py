"""A real TimescaleDB for the tests: npm packages, run by node, one connection at a time.

COPY FROM STDIN ends this server, so rows go in by INSERT; everything else is as it is.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2 import sql as pg
from psycopg2.extras import execute_values

# Where `make test` installs the packages, or says what was in the way.
FOLDER = Path(__file__).parent.parent / ".venv" / "timescale"

NO_NODE = "node or npm is not installed"
NO_PACKAGE = "the npm packages of TimescaleDB cannot be had here"


def installed():
    """The folder in which the packages are; they are part of the set-up, and of no test."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(NO_NODE)
    lacking = FOLDER / "lacking"
    if lacking.exists():
        pytest.skip(f"{NO_PACKAGE}: {' '.join(lacking.read_text().split())[:200]}")
    if not (FOLDER / ".tried").exists():
        pytest.fail("the tests' TimescaleDB is not installed: run `make test` once")
    return FOLDER


@contextmanager
def timescale_server():
    """Start a fresh server in memory; gives its address, and stops it."""
    folder = installed()
    server = subprocess.Popen(
        ["node", "server.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    try:
        port = server.stdout.readline().split()[-1]
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        server.kill()
        server.communicate()


def insert(cursor, name, rows):
    """Append rows by INSERT, where the program has COPY."""
    columns = pg.SQL(", ").join(map(pg.Identifier, rows.column_names))
    statement = pg.SQL("INSERT INTO {} ({}) VALUES %s").format(name, columns)
    values = [tuple(row.values()) for row in rows.to_pylist()]
    execute_values(cursor, statement, values, page_size=100)
