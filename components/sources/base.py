"""What every source can do, and which instrument names are let through."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from components.errors import InvalidSymbol
from components.records import CandleRequest, Parsed, RawReply

# What Yahoo and Binance use in names. A name becomes a file name, a URL and a key, so nothing
# that means something there (slash, quote, space, percent) is let through.
SYMBOL = re.compile(r"^[A-Za-z0-9^][A-Za-z0-9.\-=^_&]{0,31}$", re.ASCII)


@dataclass(frozen=True)
class Traits:
    """What tells one source from another, for those who ask it.

    Parameters
    ----------
    kind : str, default="candles"
        "candles" or "measures": what ``parse`` gives.
    at_once : int, default=1
        How many requests may be under way together.
    absent : str, default="missing"
        What it means when a complete reply lacks a bar that should exist: "missing" (asked for
        again), "no trade" (the provider gives no bar without one), "venue down" (the venue
        writes a bar even when nobody trades) or, of measures, "no payment" (a value of zero).
    calendar : str, default=""
        The calendar of everything that it lists; "" where an instrument's name tells.
    """

    kind: str = "candles"
    at_once: int = 1
    absent: str = "missing"
    calendar: str = ""


class Source(Protocol):
    """A provider of candles or measures.

    Its module has ``opened(**settings) -> Source``, which takes the settings that concern it.
    """

    @property
    def name(self) -> str:
        """The source's name in the registry and in every row that came from it."""
        ...

    @property
    def traits(self) -> Traits:
        """What tells it from other sources."""
        ...

    def pieces(self, request: CandleRequest) -> Sequence[CandleRequest]:
        """Cut a request into those that are answered by one reply each, oldest first. Pure."""
        ...

    def fetch(self, request: CandleRequest) -> RawReply:
        """Ask for one instrument's bars; the reply is kept as it came.

        Raises
        ------
        SourceUnavailable, RateLimited
            When the same request may be answered later. The next call starts afresh.
        SymbolNotFound
            When the provider knows no such instrument.
        SourceFormatError
            When the reply is in no shape that is known.
        InvalidSymbol
            When no market uses such a name.
        """
        ...

    def parse(self, reply: RawReply) -> Parsed:
        """Turn a reply into rows: a pure function of its bytes and its request.

        Raises
        ------
        SourceFormatError
            Naming the file or the reply, and the line and the column if there are any.
        """
        ...

    def symbols(self) -> tuple[str, ...]:
        """List the instruments that the source knows it has; empty when it cannot tell."""
        ...


def check_symbol(symbol: str) -> str:
    """Return ``symbol`` if a market may use such a name.

    Raises
    ------
    InvalidSymbol
        When it is empty, longer than 32 characters, or has others than ``A-Z a-z 0-9 . - = ^ _ &``.
    """
    if SYMBOL.fullmatch(symbol) is None or ".." in symbol:
        raise InvalidSymbol(
            f"{symbol[:40]!r} is no instrument name: 1 to 32 of A-Z a-z 0-9 . - = ^ _ &, "
            "beginning with a letter, a digit or ^. Correct the list of symbols."
        )
    return symbol
