"""Worlds whose source is a stand-in of a provider of minutes, and what such a world holds."""

import hashlib
from pathlib import Path

import pandas as pd

from components.lake import Lake
from components.objects import Folder

# What two loads of the same bars may differ in: when they were asked for.
WHEN = ["known_at"]


def of_binance(world, server, symbols, **settings):
    """Let a world watch instruments of the stand-in, by the minute."""
    world.settings = {
        "source": "binance",
        "files_root": None,
        "interval": "1m",
        "symbols": ",".join(symbols),
        "binance_archive_url": server.url,
        "binance_api_url": server.url,
        "attempts": 2,
        "history_years": 0.01,
        **settings,
    }
    return world


def stored(world):
    """Every version of every minute in the warehouse, without the instants of the runs."""
    rows = world.query("select * from candles_intraday order by symbol, ts, known_at")
    return rows.drop(columns=WHEN)


def processed(world, interval="1m"):
    """The same from the Parquet files."""
    lake = Lake(str(world.folder / "var/lake"))
    rows = pd.concat(lake.processed(interval), ignore_index=True)
    return rows.sort_values(["symbol", "ts", "known_at"], ignore_index=True).drop(columns=WHEN)


def raw(world):
    """The names of the raw bodies; each is what its name says."""
    lake = Folder(world.folder / "var/lake")
    bodies = [key for key in lake.list("raw/") if "/bodies/" in key]
    for key in bodies:
        assert hashlib.sha256(lake.get(key)).hexdigest() == Path(key).name
    return {Path(key).name for key in bodies}
