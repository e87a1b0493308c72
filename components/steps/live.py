"""What a stream knows of each instrument just now: for the dashboard, and for whoever looks."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from components.incidents import gap_of
from components.steps.judging import Rows
from components.steps.parts import Parts
from components.tables import LIVE

# The newest states as rows of LIVE; a cache may take them beside the warehouse.
Shown = Callable[[pd.DataFrame], None]


@dataclass
class Live:
    """Gathers what each piece says of its instruments, and stores it now and then."""

    parts: Parts
    shown: Shown = lambda _rows: None
    _rows: dict[str, dict[str, object]] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)

    def add(self, candles: pd.DataFrame, rows: Rows) -> None:
        """Take what was stored of some bars: the last of each instrument, and the unusual ones."""
        n_judged = candles.groupby("symbol").size()
        verdicts = rows.verdicts
        unusual = verdicts[verdicts["verdict"] == "anomaly"]
        unusual = unusual.drop_duplicates("symbol", keep="last").set_index("symbol")
        known = candles.drop_duplicates("symbol", keep="last").set_index("symbol")["known_at"]
        gap = gap_of(self.parts.watch.interval)
        last = verdicts.drop_duplicates("symbol", keep="last")
        for row in last.to_dict("records"):
            symbol = str(row["symbol"])
            state = self._rows.setdefault(symbol, _blank(symbol, self.parts.watch.interval))
            state["n_judged"] = int(state["n_judged"]) + int(n_judged[symbol])  # type: ignore[call-overload]
            if symbol in unusual.index:
                state["unusual_ts"] = unusual["ts"][symbol]
                state["unusual_level"] = unusual["level"][symbol]
            closes_at = row["ts"] + pd.Timedelta(self.parts.watch.interval)
            lag = (known[symbol] - closes_at).total_seconds()
            is_open = state["unusual_ts"] is not None and row["ts"] - state["unusual_ts"] <= gap
            state |= {
                **{name: row.get(name) for name in ("ts", "verdict", "level", "votes", "p")},
                "lag_s": lag,
                "is_open": int(is_open),
                "parameters": row.get("parameters", ""),
            }
            self._fresh.add(symbol)

    def store(self) -> None:
        """Store what is new since the last time."""
        if not self._fresh:
            return
        rows = pd.DataFrame([self._rows[symbol] for symbol in sorted(self._fresh)])
        rows["updated_at"] = pd.Timestamp(self.parts.clock())
        rows["unusual_ts"] = pd.to_datetime(rows["unusual_ts"], utc=True)
        self._fresh.clear()
        self.parts.warehouse.upsert(LIVE, rows)
        self.shown(rows)


def _blank(symbol: str, interval: str) -> dict[str, object]:
    return {
        "symbol": symbol,
        "interval": interval,
        "n_judged": 0,
        "unusual_ts": None,
        "unusual_level": None,
    }
