"""What the first stage holds between micro-batches, as one value. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.carried import Snapshot, named, scoped
from components.checks.series_checks import dead_after
from components.feeds.base import NUMBERS
from components.panels import Ints
from components.state_rows import from_rows, to_rows
from components.streaming.market_scan import MarketState, start_scan
from components.streaming.ordering import Pending

WHOLE = ("member", "ts", "known_at")


@dataclass(frozen=True)
class Held:
    """Candles that wait, the market, and for how many bars each member was idle, (n_members,)."""

    pending: Pending
    market: MarketState
    n_idle: Ints

    @classmethod
    def blank(cls, n_members: int, most_idle: int = 1 << 30) -> "Held":
        """Before the first candle: whoever is idle is looked at until he trades."""
        n_idle = np.full(n_members, most_idle, dtype=np.int64)
        return cls(Pending(numbered(pd.DataFrame(), ())), start_scan(n_members), n_idle)

    def body(self) -> bytes:
        """All of it as one value; the same state gives the same bytes."""
        rows = {name: self.pending.rows[name].to_numpy()[None] for name in (*WHOLE, *NUMBERS)}
        state = {
            **named(rows, "rows"),
            "newest": np.array([self.pending.newest]),
            "released": np.array([self.pending.released]),
            "ts": self.market.ts[None],
            "fields": self.market.fields[None],
            "last": np.array([self.market.last], dtype="M8[us]"),
            "n_idle": self.n_idle[None],
            **named(self.market.judge, "judge"),
        }
        return to_rows(Snapshot(("",), state))[0]

    @classmethod
    def read(cls, body: bytes) -> "Held":
        """Read ``body`` back."""
        state = from_rows(("",), [body]).state
        rows = pd.DataFrame({name: a[0] for name, a in scoped(state, "rows").items()})
        pending = Pending(
            rows[[*WHOLE, *NUMBERS]], int(state["newest"][0]), int(state["released"][0])
        )
        market = MarketState(
            state["ts"][0], state["fields"][0], state["last"][0], scoped(state, "judge")
        )
        return cls(pending, market, state["n_idle"][0])


def begun(released: int, market: MarketState, interval: str) -> bytes:
    """What the first stage begins with behind bars that were judged up to ``released``."""
    blank = Held.blank(len(market.ts), dead_after(interval))
    pending = Pending(blank.pending.rows, released, released)
    return Held(pending, market, blank.n_idle).body()


def numbered(rows: pd.DataFrame, members: tuple[str, ...]) -> pd.DataFrame:
    """Candles as numbers: ``member``, ``ts`` and ``known_at`` in microseconds, NUMBERS."""
    if not len(rows):
        whole = {name: np.empty(0, dtype=np.int64) for name in WHOLE}
        return pd.DataFrame({**whole, **{name: np.empty(0) for name in NUMBERS}})
    at = pd.Index(members).get_indexer(pd.Index(rows["symbol"]))
    table = {"member": at, "ts": stamps(rows["ts"]), "known_at": stamps(rows["known_at"])}
    return pd.DataFrame({**table, **{n: rows[n].to_numpy(dtype=float) for n in NUMBERS}})


def stamps(instants: "pd.Series[pd.Timestamp]") -> Ints:
    """Microseconds since 1970."""
    return pd.DatetimeIndex(instants).as_unit("us").asi8


def instants(stamps: "pd.Series[int]") -> pd.DatetimeIndex:
    """The instants of microseconds since 1970."""
    return pd.DatetimeIndex(stamps.to_numpy(dtype=np.int64).view("M8[us]"), tz="UTC")
