"""A random market of coins, judged: what benchmarks serve and show."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from components.embedded import close_embedded, open_embedded
from components.settings import Settings
from main import daily

LAST = pd.Timestamp("2024-03-12", tz="UTC")
AS_OF = pd.Timestamp("2024-03-13 12:00", tz="UTC")


def histories(n_symbols: int, n_bars: int) -> dict[str, pd.DataFrame]:
    """Coins of a random market, as files have them."""
    random = np.random.default_rng(0)
    days = pd.date_range(end=LAST, periods=n_bars, freq="D")
    found = {}
    for i in range(n_symbols):
        close = 100 * np.exp(np.cumsum(0.02 * random.standard_t(5, n_bars)))
        opened = np.r_[100.0, close[:-1]]
        found[f"C{i:03d}-USD"] = pd.DataFrame(
            {
                "Date": days.strftime("%Y-%m-%d"),
                "Open": opened.round(4),
                "High": (np.maximum(opened, close) * 1.005).round(4),
                "Low": (np.minimum(opened, close) * 0.995).round(4),
                "Close": close.round(4),
                "Volume": random.integers(1_000, 9_000, n_bars),
            }
        )
    return found


@contextmanager
def judged_market(folder: Path, files: dict[str, pd.DataFrame], years: int) -> Iterator[dict]:
    """Judge a market below a folder; give the settings of whoever works with it."""
    folder.chmod(0o711)
    place, state = folder / "files", folder / "var"
    place.mkdir()
    for symbol, frame in files.items():
        path = place / f"{symbol}.csv"
        frame.to_csv(path, index=False)
        os.utime(path, (AS_OF.timestamp(),) * 2)
    own = {"source": "files", "files_root": place, "state_dir": state, "history_years": years}
    own["warehouse_url"] = open_embedded(state)
    try:
        daily(Settings(_env_file=None, **own), AS_OF)
        yield own
    finally:
        close_embedded(state)
