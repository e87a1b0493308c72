"""The list of runs in the warehouse."""

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
