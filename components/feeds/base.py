"""What every feed can do, and what it hands over."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import pandas as pd

NUMBERS: Final = ["open", "high", "low", "close", "volume", "vwap", "trades"]
COLUMNS: Final = ["symbol", "ts", *NUMBERS]

# Of a text that was refused so many characters are kept.
LONGEST_TEXT = 300

# Asked for the bars of ``symbols`` that open in [since, until): those that had closed by ``until``,
# with ``COLUMNS``. It raises a TremorError when it may have them later.
Refill = Callable[[Sequence[str], pd.Timestamp, pd.Timestamp], pd.DataFrame]


class Candle(NamedTuple):
    """One closed candle; ``ts`` is its open in microseconds since 1970, UTC; NaN is not known."""

    symbol: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trades: float


@dataclass(frozen=True)
class Refused:
    """A message that was not let in, or a trouble of the feed: why, and its first characters."""

    reason: str
    text: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text[:LONGEST_TEXT])


@dataclass(frozen=True)
class Arrived:
    """What came in one go.

    Parameters
    ----------
    candles : DataFrame
        Closed candles only, with ``COLUMNS``: ``ts`` is the bar's open (datetime64[us, UTC]), the
        numbers are float64, NaN where unknown. In any order; repeats are allowed. A column
        ``known_at`` says when each was first known; without it that is ``at``.
    at : Timestamp
        When it arrived, UTC; of a replay the instant that is replayed.
    number : int
        Counts what a feed handed over, from 0.
    refused : tuple of Refused
        Messages that were not let in, and troubles.
    messages : tuple of str
        The texts of those candles that came as messages; may be empty.
    through : Timestamp, optional
        Where a feed is read at several ends: the open up to which all of them are read. Absent,
        that of the newest candle.
    """

    candles: pd.DataFrame
    at: pd.Timestamp
    number: int
    refused: tuple[Refused, ...] = ()
    messages: tuple[str, ...] = ()
    through: pd.Timestamp | None = None


class Feed(Protocol):
    """Closed candles as they come. Its module has ``opened(**settings) -> Feed``."""

    @property
    def name(self) -> str:
        """The feed's name in the registry."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether the wall clock matters, so that silence is noticed."""
        ...

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give what comes until it is over or ``stop`` is set.

        Where nothing came, an empty one is given at least once a second, so that whoever asks
        can do what hangs on time.

        Raises
        ------
        FeedRefused
            When the venue does not let the feed in and asking again does not help.
        """
        ...

    def done(self, number: int) -> None:
        """Tell that the candles of all arrivals up to ``number`` are stored."""
        ...

    def close(self) -> None:
        """Let go of connections and threads; arrivals end."""
        ...


def frame_of(candles: Sequence[Candle]) -> pd.DataFrame:
    """Make the table of ``COLUMNS`` from candles, in their order."""
    columns = list(zip(*candles, strict=True)) or [()] * len(COLUMNS)
    ts = pd.DatetimeIndex(pd.array(columns[1], dtype="int64").astype("datetime64[us]"), tz="UTC")
    numbers = dict(zip(NUMBERS, columns[2:], strict=True))
    frame = pd.DataFrame({"symbol": pd.Series(columns[0], dtype="str"), "ts": ts})
    return frame.assign(**{n: pd.Series(v, dtype="float64") for n, v in numbers.items()})
