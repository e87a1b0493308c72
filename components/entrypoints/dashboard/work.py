"""A process that does one piece of the dashboard's work: ``python -m ... kind folder``."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from components import logs
from components.entrypoints.dashboard import jobs
from components.entrypoints.instants import fresh_instant
from components.errors import TremorError
from components.settings import Settings, read_settings
from components.steps.parts import Parts, Progress
from components.wiring import open_parts

T = TypeVar("T")
Asked = Mapping[str, Any]
Do = Callable[[Parts, Settings, Asked], dict[str, Any]]

# How often the file is written that tells how far the work is, s.
PAUSE_S = 0.3

log = logging.getLogger("tremor")


def watched(folder: Path) -> Progress:
    """Progress that is written to a file for who looks at the page."""

    def progress(items: Iterable[T], total: int, what: Any) -> Iterator[T]:
        say: Callable[[], str] = what if callable(what) else lambda: str(what)
        before = 0.0
        for n, item in enumerate(items):
            if (now := time.monotonic()) - before >= PAUSE_S or n == 0:
                before = now
                jobs.put(folder / jobs.PROGRESS, {"what": say(), "done": n, "total": total})
            yield item

    return progress


def work(kind: str, folder: Path) -> None:
    """Do what the folder's file asks, and write there what it came to."""
    asked = json.loads((folder / jobs.ASKED).read_text(encoding="utf-8"))["asked"]
    jobs.put(folder / jobs.PROGRESS, {"what": "reading the warehouse", "done": 0, "total": 0})
    try:
        command, do = _of(kind)
        own = {key: asked[key] for key in ("source", "symbols", "model") if asked.get(key)}
        settings, writes = read_settings(**own), kind == jobs.DOWNLOAD
        now = fresh_instant() if writes else pd.Timestamp.now("UTC").floor("s")
        with open_parts(
            settings, now, command=command, reads_only=not writes, progress=watched(folder)
        ) as parts:
            outcome = {"state": jobs.DONE, **do(parts, settings, asked)}
    except TremorError as error:
        outcome = {"state": jobs.REFUSED, "words": " ".join(str(error).split())}
        # What was found on the way to a refusal is worth as much as the refusal.
        outcome["lines"] = list(getattr(error, "__notes__", []))
    jobs.put(folder / jobs.OUTCOME, outcome)


def _of(kind: str) -> tuple[str, Do]:
    """The command whose parts the work takes, and the work itself."""
    from components.entrypoints.dashboard import (
        work_on_downloads,
        work_on_evaluations,
        work_on_models,
    )

    return {
        jobs.DOWNLOAD: ("backfill", work_on_downloads.download),
        "train": ("train", work_on_models.train),
        "promote": ("models", work_on_models.promote),
        "evaluate": ("evaluate", work_on_evaluations.evaluate),
    }[kind]


if __name__ == "__main__":
    logs.start(sys.stderr)
    work(sys.argv[1], Path(sys.argv[2]))
