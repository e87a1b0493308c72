"""What a stream knows of each instrument just now: for the dashboard, and for whoever looks."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from components.incidents import gap_of
from components.sessions import length
from components.steps.judging import Rows
from components.steps.parts import Parts
from components.tables import LIVE

# What is said of the last judged bar.
SAID = ["ts", "verdict", "level", "votes", "p", "parameters"]

# The newest states as rows of LIVE; a cache may take them beside the warehouse.
Shown = Callable[[pd.DataFrame], None]


@dataclass
class Live:
    """Gathers what each piece says of its instruments, and stores it now and then."""

    parts: Parts
    shown: Shown = lambda _rows: None
    _state: pd.DataFrame = field(default_factory=pd.DataFrame)
    _fresh: set[str] = field(default_factory=set)

    def add(self, candles: pd.DataFrame, rows: Rows) -> None:
        """Take what was stored of some bars: the last of each instrument, and the unusual ones."""
        last = rows.verdicts.drop_duplicates("symbol", keep="last").set_index("symbol")
        closed = last["ts"] + length(self.parts.watch.interval)
        known = candles.drop_duplicates("symbol", keep="last").set_index("symbol")["known_at"]
        odd = rows.verdicts[rows.verdicts["verdict"] == "anomaly"]
        odd = odd.drop_duplicates("symbol", keep="last").set_index("symbol")
        state = last[["interval", *SAID]].assign(
            lag_s=(known - closed).dt.total_seconds(),
            n_judged=candles["symbol"].value_counts(),
            unusual_ts=odd["ts"],
            unusual_level=odd["level"],
        )
        if len(self._state):
            before = self._state.reindex(state.index)
            state["n_judged"] += before["n_judged"].fillna(0).astype("int64")
            for name in ("unusual_ts", "unusual_level"):
                state[name] = state[name].fillna(before[name])
            state = pd.concat([self._state.drop(state.index, errors="ignore"), state])
        gap = gap_of(self.parts.watch.interval)
        state["is_open"] = (state["ts"] - state["unusual_ts"] <= gap).astype("int64")
        self._state = state
        self._fresh |= set(last.index)

    def store(self) -> None:
        """Store what is new since the last time."""
        if not self._fresh:
            return
        rows = self._state.loc[sorted(self._fresh)].rename_axis("symbol").reset_index()
        rows = rows.assign(updated_at=pd.Timestamp(self.parts.clock()))
        self._fresh = set()
        self.parts.warehouse.upsert(LIVE, rows)
        self.shown(rows)
