"""Backfill: old bars, fetched and loaded without alerts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd

from components.records import RunSummary
from components.steps.gather import ahead, load, plan_backfill, refine_parsed
from components.steps.ledger import note
from components.steps.parts import Parts, unseen


def backfill(parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> RunSummary:
    """Fetch and load the bars of [since, until) that are not in the warehouse yet.

    While a batch is refined and loaded the next is fetched, and no more than these two are in
    memory. An interrupted backfill goes on where it stopped.
    """
    batches = plan_backfill(parts, since, until, parts.run.as_of)
    with ThreadPoolExecutor(1) as files:
        for read in ahead(replace(parts, progress=unseen), batches):
            load(parts, refine_parsed(parts, read, beside=files))
    parts.lake.compact_all(parts.watch.interval)
    run = parts.run
    run.exit_code = 3 if run.failures else 0
    run.status, run.finished_at = "finished", parts.clock()
    note(parts, manifest="")
    return run
