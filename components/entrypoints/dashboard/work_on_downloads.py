"""A download of history as a piece of work: ``python main.py backfill``, told to a page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from components.settings import Settings
from components.steps import backfill
from components.steps.parts import Parts
from components.words import counted

# So many failures are told, each in a line.
MOST_TOLD = 10


def download(parts: Parts, _settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fetch and load what was asked for; how much was new, and what failed."""
    run = backfill(parts, pd.Timestamp(asked["since"]), pd.Timestamp(asked["until"]))
    failed = [f"{each.symbol}: {each.message}" for each in run.failures]
    n_new = int(run.counts.get("candles_new", 0))
    return {
        "words": f"{counted(n_new, 'new candle')} stored.",
        "lines": failed[:MOST_TOLD],
        "n_failed": len(failed),
    }
