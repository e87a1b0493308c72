"""Backfill: old bars, fetched and loaded without alerts."""

import pandas as pd

from components.records import RunSummary
from components.steps.gather import fetch, load, plan_backfill, refine
from components.steps.ledger import note
from components.steps.parts import Parts


def backfill(parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> RunSummary:
    """Fetch and load the bars of [since, until) that are not in the warehouse yet.

    Each instrument is loaded before the next is fetched, so an interrupted backfill goes on
    where it stopped.
    """
    for wanted in plan_backfill(parts, since, until, parts.run.as_of):
        load(parts, refine(parts, fetch(parts, wanted)))
    run = parts.run
    run.exit_code = 3 if run.failures else 0
    run.status, run.finished_at = "finished", parts.clock()
    note(parts, manifest="")
    return run
