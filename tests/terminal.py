"""The real command line in a process of its own, and what a person sees of it."""

import atexit
import json
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import psycopg2

from tests.secrets_of import secrets_in

ROOT = Path(__file__).parents[1]

# A line of the log, which is JSON where stderr is no terminal.
LOGGED = re.compile(r'^\{"level": "')


def stop(process, patience_s=30):
    """Ask a process to end, and end it when it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
    run_sql(postgres_server, "alter system set fsync = off", "select pg_reload_conf()")


def run_sql(url, *statements):
    """Run statements outside of any transaction."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
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


def begin(world, *arguments, **settings):
    """Start ``python main.py ...`` in the world's folder, where no ``.env`` lies."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=world.folder,
        env=environment(world, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process) -> Seen:
    """Wait for it."""
    out, err = process.communicate(timeout=120)
    return Seen(process.returncode, out, err)


def discreet(seen: Seen, variables) -> Seen:
    """What was seen of a command, in which none of its secrets may show: of every test."""
    shown = [text for text in secrets_in(variables) if text in seen.out + seen.err]
    assert not shown, f"a secret of {len(shown)} is shown"
    return seen


def tremor(world, *arguments, largest_file=None, **settings) -> Seen:
    """Do ``python main.py ...`` in a process of its own, forked from one that imported it all.

    Keyword arguments are settings, None leaves one out; no file may grow larger than
    ``largest_file`` bytes.
    """
    job = {
        "arguments": arguments,
        "folder": str(world.folder),
        "environment": environment(world, **settings),
        "largest_file": largest_file,
    }
    server = _server()
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    return discreet(Seen(*json.loads(server.stdout.readline())), job["environment"])


@lru_cache(maxsize=1)
def _server():
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.terminal"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.stdin.close)
    return server


def _do(job) -> None:
    """Be ``python main.py``."""
    sys.argv = ["main.py", *job["arguments"]]
    if job["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
    runpy.run_path(str(ROOT / "main.py"), run_name="__main__")


def forked(do, job, left=None) -> list | int:
    """Do a job in a child of this process: its exit code, and what it wrote to both streams.

    Of a job that ``is_left`` the number of its process, which joins ``left``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _child(do, job, out, err)
        if job.get("is_left"):
            left.append(pid)
            return pid
        _, ended = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return [os.waitstatus_to_exitcode(ended), out.read().decode(), err.read().decode()]


def _child(do, job, out, err) -> None:
    """Be the job: its folder, its environment, two files as its streams."""
    code = 1
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w"), open(2, "w")  # noqa: PTH123, SIM115
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        do(job)
        code = 0
    except SystemExit as leaving:
        code = leaving.code or 0
    except BaseException:  # noqa: BLE001 - what python prints of a bug
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Do one job a line, each in a child."""
    # What every run imports, compiles and looks up; the children have it from here.
    import components.charts
    import components.steps
    import components.wiring  # noqa: F401
    from components.ensemble import Ensemble
    from components.evaluation.assess import assess_null
    from components.sessions import Calendars
    from components.settings import Settings

    Calendars().expected("AAA", "1d", *pd.to_datetime(["2024-01-01", "2024-02-01"], utc=True))
    usual = Settings(_env_file=None)
    assess_null(Ensemble(usual.detectors, usual.budget, usual.quorum), n_series=2, n_bars=400)

    for line in sys.stdin:
        print(json.dumps(forked(_do, json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
