"""Work that goes on while the visitor looks elsewhere: a process of its own.

Of what needs the models one piece is done at a time, and beside it one download. What was asked,
how far it is and what it came to lie as small files under ``{state_dir}/jobs``, so that any visitor
sees them, also after the dashboard was started anew.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from components.entrypoints.dashboard.held import Held
from components.errors import AnotherRunAtWork, SettingsError
from components.settings import Settings

MODULE = "components.entrypoints.dashboard.work"

# A download writes candles and needs no model: it has a lock of its own.
DOWNLOAD = "backfill"

# So often the lock is asked for before somebody is said to be at work.
LOOKS = 30

ASKED, PROGRESS, OUTCOME, STOPPED, LOG = (
    "asked.json",
    "progress.json",
    "outcome.json",
    "stopped",
    "log.txt",
)

# In words, as a person reads them; the first is before any was ever asked for.
NONE, WORKING, DONE, REFUSED, STOPPED_BY, BROKEN = (
    "none",
    "working",
    "done",
    "refused",
    "stopped",
    "broken",
)


@dataclass(frozen=True)
class Job:
    """The last piece of work of a kind.

    ``state`` is none, working, done, refused (the user can mend it), stopped or broken (a bug).
    ``progress`` has what, done, total; ``outcome`` what the work gave, with ``words``.
    """

    kind: str
    state: str = NONE
    asked: Mapping[str, Any] = field(default_factory=dict)
    who: str = ""
    started_at: pd.Timestamp | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    log: Path = Path()


def folder_of(settings: Settings, kind: str = "") -> Path:
    """Where the files of a kind of work lie."""
    return settings.state_dir / "jobs" / kind


def start(held: Held, kind: str, asked: Mapping[str, Any]) -> None:
    """Begin a piece of work.

    Raises
    ------
    AnotherRunAtWork
        A piece of work is going on.
    SettingsError
        The visitor may only look; or the folder of the jobs cannot be written.
    """
    held.require_write()
    settings = held.settings
    folder = folder_of(settings, kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(_lock(settings, kind), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"{folder}: {error.strerror}. Give this user the right to write there, or set "
            "TREMOR_STATE_DIR."
        ) from None
    try:
        if not _take_alone(lock):
            what = "a download" if kind == DOWNLOAD else "another piece of work"
            raise AnotherRunAtWork(f"{what} is going on: wait until it has ended.")
        for name in (PROGRESS, OUTCOME, STOPPED):
            (folder / name).unlink(missing_ok=True)
        # What an earlier piece wrote there is not this one's.
        os.ftruncate(lock, 0)
        began = pd.Timestamp.now("UTC").floor("s").isoformat()
        put(folder / ASKED, {"asked": dict(asked), "who": held.who, "started_at": began})
        # The child holds the lock by the open file that it was given, for as long as it lives.
        process = _spawn(kind, folder, lock)
        body = json.dumps({"kind": kind, "pid": process.pid}).encode()
        os.pwrite(lock, body, 0)
    finally:
        os.close(lock)


def _spawn(kind: str, folder: Path, lock: int) -> "subprocess.Popen[bytes]":
    # Its environment is this process's, which finds our modules (``start.py``).
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", MODULE, kind, str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )


def at_work(settings: Settings, of: str = "") -> str:
    """The kind of the work that is going on under the lock of a kind; "" when none is."""
    return str(_worker(settings, of).get("kind", ""))


def last(settings: Settings, kind: str) -> Job:
    """The last piece of work of a kind, going on or ended."""
    folder = folder_of(settings, kind)
    # Asked before the outcome is read: what ends in between is seen as ended the next time.
    is_working = at_work(settings, kind) == kind
    said = _read(folder / ASKED)
    if not said:
        return Job(kind)
    outcome = _read(folder / OUTCOME)
    if is_working:
        state = WORKING
    elif outcome:
        state = str(outcome.get("state", DONE))
    else:
        state = STOPPED_BY if (folder / STOPPED).exists() else BROKEN
    return Job(
        kind,
        state,
        said["asked"],
        str(said["who"]),
        pd.Timestamp(said["started_at"]),
        _read(folder / PROGRESS),
        outcome,
        folder / LOG,
    )


def stop(held: Held, kind: str) -> bool:
    """End the work of a kind, when it is going on; whether it was.

    Raises
    ------
    SettingsError
        The visitor may only look.
    """
    held.require_write()
    settings = held.settings
    worker = _worker(settings, kind)
    # Between its start and its first word a piece of work has no pid yet.
    if worker.get("kind") != kind or "pid" not in worker:
        return False
    (folder_of(settings, kind) / STOPPED).touch()
    with suppress(ProcessLookupError):
        os.kill(int(worker["pid"]), signal.SIGTERM)
    return True


def put(path: Path, value: Mapping[str, Any]) -> None:
    """Write a small file whole or not at all."""
    beside = path.with_suffix(".writing")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


def _worker(settings: Settings, of: str) -> dict[str, Any]:
    """Who holds the lock of a kind: kind and pid; nothing when nobody does."""
    try:
        lock = os.open(_lock(settings, of), os.O_RDWR)
    except OSError:
        return {}
    try:
        # Shared, so that of two who look at once neither takes the other for one at work.
        return {} if _take(lock, fcntl.LOCK_SH) else _read(_lock(settings, of))
    finally:
        os.close(lock)


def _take(lock: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _take_alone(lock: int) -> bool:
    """Take it for work: whoever only looks holds it for a moment."""
    for _ in range(LOOKS):
        if _take(lock):
            return True
        time.sleep(0.01)
    return False


def _lock(settings: Settings, kind: str) -> Path:
    return folder_of(settings, kind if kind == DOWNLOAD else "") / "lock"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
