"""A real TimescaleDB for the tests: npm packages, run by node, one connection at a time.

COPY FROM STDIN ends this server, so rows go in by INSERT; everything else is as it is.
"""

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2 import sql as pg
from psycopg2.extras import execute_values

HERE = Path(__file__).parent / "timescale"

# Kept from run to run: the packages are 60 MB.
CACHE = Path(__file__).parent.parent / "var" / "timescale"

NPM = ("npm", "ci", "--legacy-peer-deps", "--no-audit", "--no-fund")

NO_NODE = "node or npm is not installed"
NO_PACKAGE = "the npm packages of TimescaleDB cannot be had here"


def installed():
    """The folder in which the packages are, installed there when they are not."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(NO_NODE)
    lock = (HERE / "package-lock.json").read_bytes()
    done = CACHE / "installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for name in ("package.json", "package-lock.json", "server.mjs"):
            shutil.copy(HERE / name, CACHE / name)
        if not done.exists() or done.read_bytes() != lock:
            ended = subprocess.run(NPM, cwd=CACHE, capture_output=True, text=True, check=False)
            if ended.returncode:
                pytest.skip(f"{NO_PACKAGE}: {' '.join(ended.stderr.split())[:200]}")
            done.write_bytes(lock)
    return CACHE


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
