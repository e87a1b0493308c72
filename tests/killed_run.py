"""Daily runs that kill themselves, each in a process of its own, at a named place.

``python -m tests.killed_run`` reads one job a line from its input (JSON: folder, postgres_url,
settings, as_of, place, and since for the features from a day on), does it in a forked child and
answers with the number of the signal that ended the child; 0 when the run came to its end. A job
whose place is null is a whole run, done in this process: the children then have their imports and
compiled code from it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path

import pandas as pd

from components import steps
from components.errors import AnotherRunAtWork
from components.steps import gather
from components.steps.runner import Runner
from components.warehouse import Warehouse, copying
from components.warehouse.connection import Connection
from components.wiring import open_parts, stream_of
from tests.worlds import World

# So few instruments a batch, that a run has several.
BATCH = 3

# In so small pieces features are computed and stored.
SMALL = {"TOGETHER": 2, "PIECE": 500, "BATCH": 150}

# Steps of a run over two batches: plan, twice (fetch, refine, load), compare, market, recall,
# judge, record, keep, tell, retire, close.
N_STEPS = 16


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killed(Runner):
    """Dies when so many steps were done."""

    def __init__(self, n_steps):
        super().__init__()
        self.left = n_steps

    def __call__(self, step, parts, *args):
        """Call the step, unless its time has come."""
        if self.left == 0:
            die()
        self.left -= 1
        result = super().__call__(step, parts, *args)
        if self.left == 0 and step is steps.close:
            die()
        return result


def wrap(owner, name, replace):
    setattr(owner, name, replace(getattr(owner, name)))


def nth(n, *, after=False):
    """Die at the n-th call, before it or after it."""
    calls = count(1)

    def replace(function):
        def called(*args, **options):
            is_last = next(calls) == n
            if is_last and not after:
                die()
            result = function(*args, **options)
            if is_last:
                die()
            return result

        return called

    return replace


def linked(n, *, after=False):
    """A raw or processed object of the lake is written beside its place, and then linked."""
    wrap(os, "link", nth(n, after=after))


def renamed(n, *, after=False):
    """The state, the mail, the report and the manifest are written beside, and then renamed."""
    wrap(os, "replace", nth(n, after=after))


def half_written(suffix, n=1):
    """Half of a file's bytes have reached the disk."""
    names, files = {}, count(1)

    def remembered(make):
        def called(*args, **options):
            descriptor, name = make(*args, **options)
            names[descriptor] = name
            return descriptor, name

        return called

    def halved(flush):
        def called(descriptor):
            name = names.pop(descriptor, None)
            if name and name.endswith(suffix) and next(files) == n:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                flush(descriptor)
                die()
            flush(descriptor)

        return called

    wrap(tempfile, "mkstemp", remembered)
    wrap(os, "fsync", halved)


def half_copied(table):
    """The server has half of the rows that go to ``table``."""
    wanted = []

    class Half(copying.CopySource):
        def read(self, size):
            piece = super().read(size)
            if wanted:
                if wanted.pop() == "half":
                    die()
                wanted.append("half")
                return piece[: len(piece) // 2]
            return piece

    def noting(upsert):
        def called(self, into, frame, **said):
            wanted[:] = ["begin"] if into.name == table else []
            return upsert(self, into, frame, **said)

        return called

    copying.CopySource = Half
    wrap(Warehouse, "upsert", noting)


def committed(table, n=1, *, after=False):
    """The n-th transaction that wrote to ``table`` is about to be committed, or just was."""
    written, times = [], count(1)

    def noting(upsert):
        def called(self, into, frame, **said):
            # Noted before: the commit is inside, unless the caller holds a transaction.
            written.append(into.name)
            return upsert(self, into, frame, **said)

        return called

    def ending(commit):
        def called(self):
            is_last = table in written and next(times) == n
            written.clear()
            if is_last and not after:
                die()
            commit(self)
            if is_last:
                die()

        return called

    wrap(Warehouse, "upsert", noting)
    wrap(Connection, "_commit", ending)


def sent(n):
    """A message has gone out over the n-th channel and that is not noted yet."""
    wrap(sys.modules["components.steps.tell"], "_send", nth(n, after=True))


# Of a command that computes features: each file is linked to its name, what is carried renamed.
FEATURE_PLACES = {
    "warehouse: half of the rows copied": lambda: half_copied("features"),
    "warehouse: before the first commit": lambda: committed("features"),
    "warehouse: after the first commit": lambda: committed("features", after=True),
    "warehouse: before the third commit": lambda: committed("features", 3),
    "warehouse: after the market's commit": lambda: committed("market", after=True),
    "lake: half a file": lambda: half_written(""),
    "lake: half of another file": lambda: half_written("", 9),
    "lake: before a file's link": lambda: linked(1),
    "lake: the new file there, the old one too": lambda: linked(1, after=True),
    "lake: some months there": lambda: linked(7, after=True),
    "carried: before its rename": lambda: renamed(1),
    "carried: there, the run not noted": lambda: renamed(1, after=True),
    "before the run's commit": lambda: committed("runs"),
    "after the run's commit": lambda: committed("runs", after=True),
}

PLACES = {
    "lake: half a body": lambda: half_written("", 1),
    "lake: before a body's link": lambda: linked(1),
    "lake: between two bodies": lambda: linked(1, after=True),
    "lake: bodies there, manifest not": lambda: linked(4),
    "lake: manifest there": lambda: linked(4, after=True),
    "lake: half a Parquet file": lambda: half_written("", 5),
    "lake: between two Parquet files": lambda: linked(5, after=True),
    "lake: before the group's rename": lambda: renamed(1),
    "lake: the group's state there, the ledger not": lambda: renamed(1, after=True),
    "lake: before the ledger's rename": lambda: renamed(2),
    "lake: after the ledger's rename": lambda: renamed(2, after=True),
    "warehouse: half of the candles copied": lambda: half_copied("candles"),
    "warehouse: before the candles' commit": lambda: committed("candles"),
    "warehouse: after the candles' commit": lambda: committed("candles", after=True),
    "warehouse: before the second candles' commit": lambda: committed("candles", 2),
    "warehouse: half of the verdicts copied": lambda: half_copied("verdicts"),
    "warehouse: before the verdicts' commit": lambda: committed("verdicts"),
    "warehouse: after the market's commit": lambda: committed("market", after=True),
    "tell: before the alerts' commit": lambda: committed("alerts"),
    "tell: alerts stored, nothing sent": lambda: committed("alerts", after=True),
    "tell: half a mail": lambda: half_written(".part"),
    "tell: before the mail's rename": lambda: renamed(3),
    "tell: mail sent, delivery not noted": lambda: sent(1),
    "tell: delivery noted, console not told": lambda: committed("deliveries", 2, after=True),
    "tell: console told, delivery not noted": lambda: sent(2),
    "close: report there, manifest not": lambda: renamed(4, after=True),
    "close: half a manifest": lambda: renamed(5),
    "close: before the run's commit": lambda: committed("runs"),
    "close: after the run's commit": lambda: committed("runs", after=True),
}


def prepared(place) -> Runner:
    """A runner, and the process made ready to die at ``place``."""
    if isinstance(place, int):
        return Killed(place)
    (PLACES | FEATURE_PLACES)[place]()
    return Runner()


def do(job) -> None:
    world = World(Path(job["folder"]), job["postgres_url"], job["settings"])
    run = Runner() if job["place"] is None else prepared(job["place"])
    as_of = pd.Timestamp(job["as_of"])
    # This program's own output carries answers only.
    with redirect_stdout(sys.stderr):
        if "since" not in job:
            world.run(as_of, run)
            return
        with open_parts(world.read_settings(), as_of, command="features") as parts:
            steps.features(parts, pd.Timestamp(job["since"]), as_of)


def forked(job) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do(job)
            code = 0
        finally:
            os._exit(code)
    _, ended = os.waitpid(pid, 0)
    return os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else -os.WEXITSTATUS(ended)


def until_free(url):
    """Wait for the server to notice that who held the run's lock is gone."""
    with Warehouse(url) as warehouse:
        for _ in range(400):
            try:
                with (
                    warehouse.run_lock(stream_of("1m")),
                    warehouse.run_lock(stream_of("1d")),
                    warehouse.run_lock(),
                ):
                    return
            except AnotherRunAtWork:
                time.sleep(0.05)
    raise TimeoutError("the lock outlived its process")


class Killer:
    """The process that does runs which die."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed_run"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, world, as_of, place, **more):
        """Begin a run that dies at ``place``; give the signal that ended it."""
        job = {
            "folder": str(world.folder),
            "postgres_url": world.postgres_url,
            "settings": {name: str(value) for name, value in world.settings.items()},
            "as_of": as_of.isoformat(),
            "place": place,
            **more,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        ended = int(self._process.stdout.readline())
        if ended:
            until_free(world.postgres_url)
        return ended

    def close(self):
        """End it; it has no run under way."""
        self._process.stdin.close()
        self._process.wait(30)


def main() -> None:
    gather.BATCH = BATCH
    sys.modules["components.steps.features"].__dict__.update(SMALL)
    for line in sys.stdin:
        job = json.loads(line)
        answer = do(job) if job["place"] is None else forked(job)
        print(answer or 0, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
