"""Binance's candles as they close: combined streams of klines, spot and USD-M futures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import quote

import pandas as pd

from components.errors import SettingsError
from components.feeds.base import Feed, Refill, Refused
from components.feeds.closed import (
    Malformed,
    candle_of,
    content_of,
    in_groups,
    mean_price,
    number,
    opened_at,
)
from components.feeds.live import Live
from components.feeds.venue import Heard, Line, check_address
from components.sessions import length
from components.sources.base import check_symbol
from components.sources.binance import INTERVALS

# The plain address of the futures takes a subscription to klines, and sends none.
STREAMS: Final = {
    "spot": "wss://stream.binance.com:9443",
    "um": "wss://fstream.binance.com/market",
}

# Binance bears 1024 streams a connection, but an address of that length not everybody.
MOST_STREAMS = 200

# A message of one candle has 400 characters.
LONGEST_KLINE = 4096

NAMES: Final = {
    "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trades": "n",
}  # fmt: skip

NOTHING: Final = Heard()


def opened(
    *,
    symbols: tuple[str, ...],
    interval: str,
    refill: Refill,
    binance_market: str = "spot",
    binance_stream_url: str = "",
    **others: Any,
) -> Feed:
    """Open the stream of ``symbols``; see ``Live`` for the other arguments."""
    check_address("TREMOR_BINANCE_STREAM_URL", binance_stream_url)
    for symbol in symbols:
        check_symbol(symbol)
    if interval not in INTERVALS:
        raise SettingsError(
            f"Binance has no {interval} bars. Set TREMOR_INTERVAL to one of {', '.join(INTERVALS)}."
        )
    venue = Binance(symbols, interval, binance_market, binance_stream_url)
    return Live.of(venue, refill, symbols, interval, **others)


@dataclass(frozen=True)
class Binance:
    """The stream of closed klines; whatever else comes is passed over.

    Parameters
    ----------
    symbols : tuple of str
        Instruments in Binance's own names.
    interval : str
        The bars' length.
    market : str, default="spot"
        "spot", or "um" for USD-M futures.
    url : str, default=""
        A gateway's address that stands for Binance's own.
    """

    symbols: tuple[str, ...]
    interval: str
    market: str = "spot"
    url: str = ""
    name: ClassVar[str] = "binance"
    is_gapless: ClassVar[bool] = True
    longest_message: ClassVar[int] = 2**20
    settle_s: ClassVar[float] = 2.0
    has_chatter: ClassVar[bool] = True

    @cached_property
    def step_ms(self) -> int:
        """The bars' length, ms."""
        return length(self.interval) // pd.Timedelta(milliseconds=1)

    def lines(self) -> tuple[Line, ...]:
        """Cut the symbols into connections; the streams are in the address."""
        base = self.url.rstrip("/") or STREAMS[self.market]
        lines = []
        for group in in_groups(self.symbols, MOST_STREAMS):
            streams = "/".join(
                f"{quote(symbol.lower(), safe='')}@kline_{self.interval}" for symbol in group
            )
            lines.append(Line(f"{base}/stream?streams={streams}", group))
        return tuple(lines)

    def read(self, text: str, line: Line, now: pd.Timestamp) -> Heard:
        """Take the closed candles of the line's symbols at the interval."""
        try:
            return self._read(text, line, now)
        except Malformed as error:
            return Heard(refused=(Refused(f"Binance: {error}", text),))

    def _read(self, text: str, line: Line, now: pd.Timestamp) -> Heard:
        content = content_of(text)
        if not isinstance(content, dict):
            raise Malformed("the message is no object")
        if "error" in content:
            raise Malformed("the stream reports an error")
        event = content.get("data", content)
        if not isinstance(event, dict):
            raise Malformed("the event is no object")
        if event.get("e") == "serverShutdown":
            return Heard(is_last=True)
        if event.get("e") != "kline":
            return NOTHING
        if len(text) > LONGEST_KLINE:
            raise Malformed(f"a candle of more than {LONGEST_KLINE} characters")
        return self._candle(event.get("k"), text, line, now)

    def _candle(self, kline: Any, text: str, line: Line, now: pd.Timestamp) -> Heard:
        if not isinstance(kline, dict) or not isinstance(kline.get("x"), bool):
            raise Malformed("the candle does not say whether it has closed")
        if not kline["x"]:
            return NOTHING
        symbol, interval = kline.get("s"), kline.get("i")
        if not isinstance(symbol, str) or not isinstance(interval, str):
            raise Malformed("the candle does not say whose it is")
        if symbol not in line.known or interval != self.interval:
            return NOTHING
        open_ms = opened_at(kline.get("t"), self.step_ms, now)
        if kline.get("T") != open_ms + self.step_ms - 1:
            raise Malformed("the candle does not end where its interval does")
        return Heard(candles=((_read_numbers(symbol, open_ms, kline), text),))


def _read_numbers(symbol: str, open_ms: int, kline: Mapping[str, Any]) -> Any:
    candle = candle_of(symbol, open_ms, kline, NAMES)
    quoted = number(kline.get("q"), "quote volume") if "q" in kline else math.nan
    return candle._replace(vwap=mean_price(candle, quoted))
