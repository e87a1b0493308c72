"""What ``features`` does with its arguments; the command itself stands in ``commands``."""

import json

import pandas as pd

from components import feature_files
from components.features import VERSION
from components.records import RunSummary
from components.sources.base import check_symbol
from components.steps import features
from components.steps.parts import Parts


def computed(
    parts: Parts, span: tuple[pd.Timestamp, pd.Timestamp], symbols: str | None
) -> RunSummary:
    """Compute and store the features of [since, until)."""
    names = [name.strip() for name in (symbols or "").split(",") if name.strip()]
    for name in names:
        check_symbol(name)
    return features(parts, *span, names)


def as_json(parts: Parts, span: tuple[pd.Timestamp, pd.Timestamp]) -> str:
    """What was done, for a program: the counts, and where the rows lie."""
    run = parts.run
    said = {
        "as_of": run.as_of.isoformat(),
        "since": span[0].isoformat(),
        "until": span[1].isoformat(),
        "interval": parts.watch.interval,
        "version": VERSION,
        "counts": run.counts,
        "failures": [vars(failure) for failure in run.failures],
        "files": f"{parts.lake.root}/{feature_files.folder(VERSION, parts.watch.interval)}",
    }
    return json.dumps(said, indent=1)
