"""What the stream sends to the broker: candles, verdicts, alerts, each kind to its topic."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from components.broker import Access, Producer, Topics, make_topics, reached
from components.messages import encode_alerts, encode_candles, encode_verdicts
from components.sessions import length
from components.settings import Settings

# Bars of so long a time go out together.
TOGETHER = pd.Timedelta(minutes=1)


@dataclass(frozen=True)
class Brokered:
    """The topics, and a producer that is opened when something is first sent."""

    access: Access
    topics: Topics
    n_partitions: int

    @classmethod
    def of(cls, settings: Settings) -> "Brokered":
        """As the settings have it; nothing is connected yet."""
        access = Access.of(**settings.fields())
        return cls(access, Topics.under(settings.kafka_prefix), settings.kafka_partitions)

    @cached_property
    def _producer(self) -> Producer:
        make_topics(self.access, self.topics, self.n_partitions)
        return Producer(self.access)

    def candles(self, candles: pd.DataFrame, interval: str) -> None:
        """Send closed candles, bar by bar, and wait until the broker has them.

        No partition ever holds more than ``TOGETHER`` that another still lacks, however fast old
        candles are played: whoever reads them would take the others for late.
        """
        step = max(TOGETHER, length(interval))
        bars = pd.DatetimeIndex(candles["ts"]).floor(step).asi8
        cuts = [0, *(np.flatnonzero(bars[1:] != bars[:-1]) + 1).tolist(), len(candles)]
        for first, last in pairwise(cuts):
            rows = candles.iloc[first:last]
            self._producer.send(self.topics.candles, encode_candles(rows, interval))
            self._producer.flush()

    def verdicts(self, rows: pd.DataFrame) -> None:
        """Send rows of the ``verdicts`` table; ``flush`` waits for them."""
        self._producer.send(self.topics.verdicts, encode_verdicts(rows))

    def alerts(self, rows: pd.DataFrame) -> None:
        """Send rows of the ``alerts`` table, and wait until the broker has them."""
        self._producer.send(self.topics.alerts, encode_alerts(rows))
        self._producer.flush()

    def flush(self) -> None:
        """Wait until the broker has all that was sent."""
        if "_producer" in self.__dict__:
            self._producer.flush()

    def reach(self) -> str:
        """Ask whether the broker answers."""
        return reached(self.access)
