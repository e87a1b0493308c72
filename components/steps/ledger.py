"""The list of runs in the warehouse: noted when one begins, and when it has ended."""

import json

import pandas as pd

from components.steps.parts import Parts
from components.tables import RUNS


def note(parts: Parts, manifest: str) -> None:
    """Put the run into the warehouse's list."""
    run = parts.run
    row = {
        "id": run.id,
        "command": run.command,
        "as_of": run.as_of,
        "status": run.status,
        "exit_code": run.exit_code,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "counts": json.dumps(run.counts, sort_keys=True),
        "manifest": manifest,
    }
    parts.warehouse.upsert(RUNS, pd.DataFrame([row]))


def begin(parts: Parts) -> None:
    """Note that a run has begun: if it is killed, the next one knows since when there is news."""
    done = parts.warehouse.query(
        "select 1 from runs where id = %(id)s and status = 'finished'", {"id": parts.run.id}
    )
    if not len(done) and not parts.is_dry:
        note(parts, manifest="")
