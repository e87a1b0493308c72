"""Backfill: old bars, fetched and loaded without alerts."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd

from components.lake import manifest_as_of
from components.records import RawBatch, RunSummary, run_id
from components.steps.gather import ahead, load, plan_backfill, refine, refine_parsed
from components.steps.ledger import note
from components.steps.parts import Parts, unseen

Fill = Callable[[Parts, pd.Timestamp, pd.Timestamp], None]

# The commands that ask a source.
FETCHING = ("run", "backfill")

FINISHED = "select id from runs where id = any(%(ids)s) and status = 'finished'"

LOADED = "select key, symbol from raw_objects where key = any(%(keys)s)"


def backfill(
    parts: Parts, since: pd.Timestamp, until: pd.Timestamp, fill: Fill | None = None
) -> RunSummary:
    """Fetch and load the bars of [since, until) that are not in the warehouse yet.

    ``fill`` does it otherwise than in this process.
    """
    (fill or filled)(parts, since, until)
    parts.lake.compact_all(parts.watch.interval)
    run = parts.run
    run.exit_code = 3 if run.failures else 0
    run.status, run.finished_at = "finished", parts.clock()
    note(parts, manifest="")
    return run


def filled(parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Fetch and load, batch by batch.

    While a batch is refined and loaded the next is fetched, and no more than these two are in
    memory. An interrupted backfill goes on where it stopped: what was fetched and not loaded is
    loaded first, under the instant at which it was asked for.
    """
    for batch in left_over(parts, since, until):
        load(parts, refine(parts, batch))
    batches = plan_backfill(parts, since, until, parts.run.as_of)
    with ThreadPoolExecutor(1) as files:
        for read in ahead(replace(parts, progress=unseen), batches):
            load(parts, refine_parsed(parts, read, beside=files))


def left_over(parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> Iterator[RawBatch]:
    """What killed runs had kept of [since, until) and did not load, oldest first."""
    symbols, span = set(parts.watch.symbols), (since, until)
    for key in _unfinished(parts):
        bodies = parts.lake.raw_bodies(key)
        found = parts.warehouse.query(LOADED, {"keys": [body for _, body in bodies]})
        loaded = set(zip(found["key"], found["symbol"], strict=True))
        lost = {
            request
            for request, body in bodies
            if (body, request.symbol) not in loaded
            and request.symbol in symbols
            and request.since < span[1]
            and request.until > span[0]
        }
        if lost:
            yield parts.lake.read_raw(key, lost)


def _unfinished(parts: Parts) -> list[str]:
    """The manifests of batches whose run has no record: it was killed, or told nobody."""
    interval = parts.watch.interval
    keys = parts.lake.raw_manifests(parts.source.name, interval)
    runs = {key: {run_id(c, interval, manifest_as_of(key)) for c in FETCHING} for key in keys}
    asked = sorted(set().union(*runs.values()))
    finished = set(parts.warehouse.query(FINISHED, {"ids": asked})["id"])
    return [key for key in keys if not runs[key] & finished]
