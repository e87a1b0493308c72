"""What hears of a micro-batch once it is stored: alerts, the live state, the log, the metrics."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pandas as pd

from components.metrics import Metrics
from components.sessions import length
from components.steps.judging import Rows
from components.steps.live import Live, Shown
from components.steps.parts import Parts
from components.steps.stream_log import StreamLog
from components.steps.telling import Teller

SECOND = pd.Timedelta(seconds=1)


@dataclass(frozen=True)
class Hearers:
    """All of them; ``teller`` tells beside, over a connection of its own."""

    parts: Parts
    metrics: Metrics
    live: Live
    journal: StreamLog
    teller: Teller

    def stored(self, candles: pd.DataFrame, rows: Rows) -> None:
        """Take what was stored of some bars, ordered by instrument and bar."""
        self.journal.add(candles, rows)
        self.live.add(candles, rows)
        self.live.store()
        n_odd = int((rows.verdicts["verdict"] == "anomaly").sum())
        self.metrics.count("verdicts", n_odd, "anomaly")
        self.metrics.count("verdicts", len(rows.verdicts) - n_odd, "other")
        now = pd.Timestamp(self.parts.clock())
        closed = candles["ts"].max() + length(self.parts.watch.interval)
        self.metrics.set("lag", (now - closed) / SECOND)
        self.metrics.observe("stored", max(0.0, (now - candles["known_at"].max()) / SECOND))

    def came(self, n_candles: int, n_refused: int, n_late: int) -> None:
        """Count what arrived."""
        self.metrics.count("candles", n_candles)
        self.metrics.count("refused", n_refused, "message")
        self.metrics.count("late", n_late, "any")


@contextmanager
def opened_hearers(parts: Parts, metrics: Metrics, shown: Shown) -> Iterator[Hearers]:
    """Open them; at the end what waits is told and written."""
    with ExitStack() as stack:
        warehouse = stack.enter_context(parts.warehouse.another())
        run = replace(parts.run, undelivered=[], counts={})
        teller = Teller(
            replace(parts, warehouse=warehouse, run=run),
            lambda alerts: metrics.count("alerts", len(alerts)),
        )
        stack.callback(teller.close)
        journal = StreamLog(parts)
        stack.callback(journal.close)
        yield Hearers(parts, metrics, Live(parts, shown), journal, teller)
