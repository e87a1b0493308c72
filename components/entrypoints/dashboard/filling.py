"""A process that downloads history, as ``python main.py backfill`` does; and how it is started.

It goes on when the page is left, and any visitor sees how far it is.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from components import logs
from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.work import watched
from components.errors import AnotherRunAtWork, SettingsError, TremorError
from components.settings import Settings, read_settings
from components.words import counted

KIND = "backfill"

# So many failures are told, each in a line.
MOST_TOLD = 10


@dataclass(frozen=True)
class Filling:
    """The last download: what was asked, how far it is, what it came to ("" while it works)."""

    is_working: bool
    asked: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)


def start(held: Held, asked: dict[str, Any]) -> None:
    """Begin a download of source, symbols, since and until, in a process of its own.

    Raises
    ------
    AnotherRunAtWork
        A download is going on.
    SettingsError
        The visitor may only look; or the folder of the jobs cannot be written.
    """
    held.require_write()
    folder = jobs.folder_of(held.settings, KIND)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"{folder}: {error.strerror}. Set TREMOR_STATE_DIR to a folder that may be written."
        ) from None
    try:
        if not _take(lock):
            raise AnotherRunAtWork("a download is going on: wait until it has ended.")
        for name in (jobs.PROGRESS, jobs.OUTCOME):
            (folder / name).unlink(missing_ok=True)
        jobs.put(folder / jobs.ASKED, {**asked, "who": held.who})
        with (folder / jobs.LOG).open("wb") as log:
            # The child holds the lock by the open file that it was given, for as long as it lives.
            subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", __name__, str(folder.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
    finally:
        os.close(lock)


def last(settings: Settings) -> Filling:
    """The last download, going on or ended."""
    folder = jobs.folder_of(settings, KIND)
    is_working = False
    if (folder / "lock").exists():
        lock = os.open(folder / "lock", os.O_RDWR)
        is_working = not _take(lock)
        os.close(lock)
    outcome = _read(folder / jobs.OUTCOME)
    asked = _read(folder / jobs.ASKED)
    if asked and not is_working and not outcome:
        outcome = {
            "state": "broken",
            "words": f"It ended before its time. See {folder / jobs.LOG}.",
        }
    return Filling(is_working, asked, _read(folder / jobs.PROGRESS), outcome)


def fill(folder: Path) -> None:
    """Do what the folder's file asks, and write there what it came to."""
    from components.steps import backfill
    from components.wiring import open_parts

    asked = _read(folder / jobs.ASKED)
    try:
        settings = read_settings(source=asked["source"], symbols=tuple(asked["symbols"]) or None)
        span = pd.Timestamp(asked["since"]), pd.Timestamp(asked["until"])
        # A second that no run before this one can have had, for an instant names what it fetched.
        now = pd.Timestamp.now("UTC").ceil("s") + pd.Timedelta(seconds=1)
        time.sleep(max((now - pd.Timestamp.now("UTC")).total_seconds(), 0))
        with open_parts(settings, now, command=KIND, progress=watched(folder)) as parts:
            run = backfill(parts, *span)
        n_new = int(run.counts.get("candles_new", 0))
        failed = [f"{each.symbol}: {each.message}" for each in run.failures]
        outcome = {
            "state": "done",
            "words": f"{counted(n_new, 'new candle')} stored.",
            "lines": failed[:MOST_TOLD],
            "n_failed": len(failed),
        }
    except TremorError as error:
        outcome = {"state": "refused", "words": " ".join(str(error).split())}
    jobs.put(folder / jobs.OUTCOME, outcome)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    logs.start(sys.stderr)
    fill(Path(sys.argv[1]))
