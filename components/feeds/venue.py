"""What tells one venue's stream from another's: addresses, the login, the messages. Pure."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from urllib.parse import urlsplit

import pandas as pd

from components.errors import FeedRefused, SettingsError
from components.feeds.base import Candle, Refused


@dataclass(frozen=True)
class Line:
    """One connection: where to, for which symbols, and what is said first (never logged)."""

    url: str
    symbols: tuple[str, ...]
    opening: str = ""

    @cached_property
    def known(self) -> frozenset[str]:
        """The symbols, to look one up."""
        return frozenset(self.symbols)

    @property
    def host(self) -> str:
        """The host and port: what of the address is told."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Heard:
    """What one message says.

    Parameters
    ----------
    candles : tuple of (Candle, str)
        Closed candles, each with its text.
    refused : tuple of Refused
        What was malformed.
    answer : str, default=""
        What is to be said in return; it may hold the key.
    is_ready : bool, default=False
        The venue has begun to stream.
    is_last : bool, default=False
        The venue is about to end the connection.
    refusal : FeedRefused, optional
        The venue does not let us in.
    is_final : bool, default=False
        Trying again does not help against the refusal.
    """

    candles: tuple[tuple[Candle, str], ...] = ()
    refused: tuple[Refused, ...] = ()
    answer: str = ""
    is_ready: bool = False
    is_last: bool = False
    refusal: FeedRefused | None = None
    is_final: bool = False


class Venue(Protocol):
    """A venue's stream of candles."""

    @property
    def name(self) -> str:
        """The feed's name."""
        ...

    @property
    def is_gapless(self) -> bool:
        """Whether a bar comes for each step, traded or not: one that is skipped is missing."""
        ...

    @property
    def longest_message(self) -> int:
        """Bytes; a larger message ends the connection."""
        ...

    @property
    def settle_s(self) -> float:
        """So long after its close a bar is taken from REST, s; before, it may not be whole."""
        ...

    @property
    def has_chatter(self) -> bool:
        """Whether messages come all the time, so that none for a while means trouble."""
        ...

    def lines(self) -> tuple[Line, ...]:
        """List the connections."""
        ...

    def read(self, text: str, line: Line, now: pd.Timestamp) -> Heard:
        """Tell what a message of a connection says; it never raises, whatever the text."""
        ...


def check_address(name: str, url: str) -> None:
    """Check a gateway's address, from the setting ``name``.

    Raises
    ------
    SettingsError
        When it is no WebSocket address, or holds a user.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if url and (not is_address or "@" in url or "?" in url or "#" in url):
        raise SettingsError(
            f"{name} is no address of a stream. Write it like wss://host:9443, without a user."
        )
