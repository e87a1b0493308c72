"""The real command line in a process of its own, and what a person sees of it."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg2

ROOT = Path(__file__).parents[1]

# A line of the log: time, level, name, text.
LOGGED = re.compile(r"^\d{4}-\d\d-\d\d \S+ (?:INFO|WARNING|ERROR) ")


@dataclass(frozen=True)
class Seen:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines on stderr, without those of the log."""
        return [line for line in self.err.splitlines() if not LOGGED.match(line)]

    @property
    def error(self) -> str:
        """The one line of an error that the user can mend; anything else is a failed test."""
        assert self.code == 2, self
        assert "Traceback" not in self.err + self.out
        (line,) = self.said
        assert line.startswith("error: "), line
        return line


def hurry(postgres_server):
    """Let the tests' server answer before the disk has everything: nobody pulls its plug."""
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("alter system set fsync = off")
        cursor.execute("select pg_reload_conf()")
    connection.close()


def environment(world, **settings):
    """The variables of a run over a world: none of the caller's settings."""
    values = {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "warehouse_url": world.postgres_url,
        "history_years": 3,
        "attempts": 1,
        **world.settings,
        **settings,
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")}
    return {**kept, **{f"TREMOR_{k.upper()}": str(v) for k, v in values.items() if v is not None}}


def begin(world, *arguments, preexec_fn=None, **settings):
    """Start ``python main.py ...`` in the world's folder, where no ``.env`` lies."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=world.folder,
        env=environment(world, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


def end(process) -> Seen:
    """Wait for it."""
    out, err = process.communicate(timeout=120)
    return Seen(process.returncode, out, err)


def tremor(world, *arguments, preexec_fn=None, **settings) -> Seen:
    """Do ``python main.py ...``; keyword arguments are settings, None leaves one out."""
    return end(begin(world, *arguments, preexec_fn=preexec_fn, **settings))
