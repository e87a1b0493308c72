"""The real API in a process of its own, and whoever asks it."""

import contextlib
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import requests

from tests.browser import environment
from tests.terminal import ROOT, run_sql, stop
from tests.worlds import LAST, SYMBOLS, World, history

WAIT_S = 120

_numbers = itertools.count()


@dataclass
class Api:
    """A running server; ``key`` is sent with every request that names no other."""

    url: str
    process: subprocess.Popen
    log: Path
    key: str = ""

    def ask(self, method, path, *, key=None, **more):
        """One request."""
        text = self.key if key is None else key
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        headers |= more.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=WAIT_S, **more)

    def get(self, path, **more):
        """Read."""
        return self.ask("GET", path, **more)

    def post(self, path, **more):
        """Send."""
        return self.ask("POST", path, **more)

    @property
    def said(self):
        """What it wrote on its terminal."""
        return self.log.read_text()


def operator(world, **more):
    """The settings of a world's operator, as the environment names them."""
    return {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "warehouse_url": world.postgres_url,
        "history_years": 3,
        **more,
    }


def command(world, *arguments, **more):
    """Run a command of the program as the operator of a world; give what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=world.folder,
        env=environment(operator(world, **more)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def serving(world, *arguments, key="", **more):
    """Run ``python main.py serve`` over a world until the end, and stop it."""
    log = world.folder / "api.log"
    line = [sys.executable, str(ROOT / "main.py"), "serve", "--port", "0", *arguments]
    settings = operator(world, **more)
    with log.open("w") as err:
        process = subprocess.Popen(
            line, cwd=world.folder, env=environment(settings), stdout=subprocess.PIPE, stderr=err
        )
    try:
        said = process.stdout.readline().decode()
        assert said.startswith("http"), log.read_text()
        api = Api(said.strip().removesuffix("/openapi.json"), process, log, key)
        api.get("/v1/health")
        yield api
    finally:
        stop(process)
        process.stdout.close()


def candles(symbol, frame):
    """Rows of an instrument's file as the API takes them."""
    return [
        {
            "symbol": symbol,
            "ts": row["Date"],
            **{name.lower(): row[name] for name in ("Open", "High", "Low", "Close", "Volume")},
        }
        for row in frame.to_dict("records")
    ]


def full_histories(crash=0.3, n_bars=400, symbols=SYMBOLS):
    """The files of a market whose first instrument crashes on the last day."""
    fall = {symbol: crash if symbol == symbols[0] else 0.0 for symbol in symbols}
    return {s: history(s, LAST, n_bars, crash=fall[s]) for s in symbols}


def put(world, files, upto, hours=6):
    """Write the files as they were when the bar of ``upto`` had closed."""
    for symbol, frame in files.items():
        own = frame[frame["Date"] <= f"{upto:%Y-%m-%d}"]
        world.put(symbol, own, observed_at=upto + pd.Timedelta(hours=24 + hours))


def made_world(folder, postgres_server):
    """A world of a module's own, over a database of its own."""
    name = f"api_{os.getpid()}_{next(_numbers)}"
    run_sql(postgres_server, f'create database "{name}"')
    return World(folder, postgres_server.replace("/postgres?", f"/{name}?"))
