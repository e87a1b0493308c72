"""A small market in files, and whole runs over it: real stores, real mail files."""

import email
import email.policy
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from components import tables
from components.sessions import Calendars
from components.settings import Settings
from components.wiring import open_warehouse
from main import daily

SYMBOLS = ("AAA", "BBB", "CCC", "DDD-USD")
LAST = pd.Timestamp("2024-03-12", tz="UTC")
MORNING = pd.Timestamp("2024-03-13 12:00", tz="UTC")
SAVED = pd.Timestamp("2024-03-13 06:00", tz="UTC")

# Columns that tell when, not what: two runs over the same data differ in them alone.
WHEN = {"delivered_at", "started_at", "finished_at", "counts"}


def history(symbol, last=LAST, n_bars=400, seed=0, crash=0.0):
    """Candles of one instrument up to ``last``, whose last bar falls by ``crash``."""
    days = Calendars().expected(symbol, "1d", last - pd.Timedelta(days=2 * n_bars), last + DAY)
    days = days[-n_bars:]
    random = np.random.default_rng([seed, *symbol.encode()])
    moves = 0.01 * random.standard_t(5, len(days))
    if crash:
        moves[-1] = np.log1p(-crash)
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.r_[100.0, close[:-1]]
    return pd.DataFrame(
        {
            "Date": days.strftime("%Y-%m-%d"),
            "Open": open_.round(4),
            "High": (np.maximum(open_, close) * 1.002).round(4),
            "Low": (np.minimum(open_, close) * 0.998).round(4),
            "Close": close.round(4),
            "Volume": random.integers(1_000, 9_000, len(days)),
        }
    )


DAY = pd.Timedelta(days=1)


@dataclass
class World:
    """A folder of the user's files, and the settings of runs over it."""

    folder: Path
    postgres_url: str
    settings: dict = field(default_factory=dict)

    @property
    def files(self) -> Path:
        """The folder that the files source reads."""
        return self.folder / "files"

    def put(self, symbol, frame, observed_at=SAVED):
        """Write one instrument's file as it was saved at ``observed_at``."""
        self.files.mkdir(parents=True, exist_ok=True)
        path = self.files / f"{symbol}.csv"
        frame.to_csv(path, index=False)
        os.utime(path, (observed_at.timestamp(),) * 2)
        return path

    def put_market(self, last=LAST, crash=0.0, observed_at=None, **crashes):
        """Write the files of all instruments; keyword arguments crash some of them."""
        for symbol in SYMBOLS:
            fall = crashes.get(symbol.replace("-", "_"), crash)
            frame = history(symbol, last, 400 - (LAST - last).days, crash=fall)
            self.put(symbol, frame, observed_at or last + pd.Timedelta(hours=30))

    def read_settings(self, **overrides) -> Settings:
        """The settings of a run; nothing comes from the environment."""
        values = {
            "source": "files",
            "files_root": self.files,
            "state_dir": self.folder / "var",
            "warehouse_url": self.postgres_url,
            "history_years": 3,
            "attempts": 1,
            **self.settings,
            **overrides,
        }
        return Settings(_env_file=None, **values)

    def run(self, as_of=MORNING, run=None, *, dry=False, **overrides):
        """The daily run, whole."""
        return daily(self.read_settings(**overrides), as_of, run, dry=dry)

    def query(self, sql, **parameters) -> pd.DataFrame:
        """Read the warehouse."""
        with open_warehouse(self.read_settings()) as warehouse:
            return warehouse.query(sql, parameters)

    def rows(self, table) -> pd.DataFrame:
        """All rows of a table without the columns that tell when."""
        columns = ", ".join(f'"{c}"' for c in table.columns if c not in WHEN)
        key = ", ".join(f'"{c}"' for c in table.key if c not in WHEN)
        return self.query(f"select {columns} from {table.name} order by {key}")

    def everything(self) -> dict[str, str]:
        """The warehouse, the lake and the outbox as texts that can be compared."""
        found = {table.name: self.rows(table).to_csv() for table in tables.TABLES}
        lake = self.folder / "var" / "lake"
        for path in sorted(lake.rglob("*")):
            name = str(path.relative_to(lake))
            if path.is_file() and not name.startswith("runs/"):
                found[name] = path.read_bytes().hex()
        found["outbox"] = str([(m["Message-ID"], m["Subject"]) for m in self.messages()])
        return found

    def messages(self) -> list:
        """The e-mails in the outbox, oldest first."""
        paths = sorted((self.folder / "var" / "outbox").glob("*.eml"))
        return [
            email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in paths
        ]

    def alerts(self, kind=None) -> pd.DataFrame:
        """The alerts told so far."""
        rows = self.query("select * from alerts order by ts, kind")
        return rows if kind is None else rows[rows["kind"] == kind]
