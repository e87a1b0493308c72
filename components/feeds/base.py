"""What a feed is: closed candles as they come, from a venue, a broker or a store."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

# What a feed says of each closed candle, beside ``symbol`` and ``ts``; NaN where it is unknown.
NUMBERS = ("open", "high", "low", "close", "volume", "vwap", "trades")


@dataclass(frozen=True)
class Refused:
    """A message that is no candle: why, and how it began."""

    reason: str
    text: str


@dataclass(frozen=True)
class Arrived:
    """What came in one go; nothing at all when only time has passed.

    Parameters
    ----------
    candles : DataFrame
        Closed candles alone: symbol, ts (bar open, datetime64[us, UTC]), open, high, low, close,
        volume, vwap, trades, and ``known_at``, when each was first known (of a replay: when it
        closed). Any order; a candle may come again.
    number : int
        Counts what a feed gives, from 0.
    refused : tuple of Refused
        Messages that were none.
    through : Timestamp, optional
        Where a feed is read from several ends: the open up to which all of them are read. Unset:
        the newest candle's.
    """

    candles: pd.DataFrame
    number: int
    refused: tuple[Refused, ...] = ()
    through: pd.Timestamp | None = None


class Feed(Protocol):
    """A source of closed candles that does not end, or one that is played again."""

    @property
    def name(self) -> str:
        """Its name in the registry."""

    @property
    def is_live(self) -> bool:
        """Whether the wall clock is the market's: then silence means something."""

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give what comes until it is over or ``stop`` is set.

        A live feed gives something at least once a second, if only nothing.
        """

    def done(self, number: int) -> None:
        """All candles of arrivals up to ``number`` are stored: they need not come again."""

    def close(self) -> None:
        """Let go of what is open."""
