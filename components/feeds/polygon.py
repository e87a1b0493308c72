"""Massive's (Polygon's) minute bars of US stocks as they close: the channel ``AM``."""

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import pandas as pd
from pydantic import SecretStr

from components.errors import FeedRefused, SettingsError
from components.feeds.base import Candle, Feed, Refill, Refused
from components.feeds.closed import Malformed, candle_of, content_of, opened_at
from components.feeds.live import Live
from components.feeds.venue import Heard, Line, check_address
from components.sources.base import check_symbol

STREAM: Final = "wss://socket.massive.com/stocks"
MINUTE_MS: Final = 60_000

# A key this short is a gateway's place-holder, and may stand in any text.
SHORTEST_KEY = 8

# ``z`` is the mean size of a trade: how many there were it does not tell.
NAMES: Final = {
    "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw",
}  # fmt: skip

NOTHING: Final = SecretStr("")


def opened(
    *,
    symbols: tuple[str, ...],
    interval: str,
    refill: Refill,
    polygon_api_key: SecretStr = NOTHING,
    polygon_stream_url: str = "",
    **others: Any,
) -> Feed:
    """Open the stream of ``symbols``; see ``Live`` for the other arguments."""
    check_address("TREMOR_POLYGON_STREAM_URL", polygon_stream_url)
    if interval != "1m":
        raise SettingsError(
            f"Massive streams bars of a minute, not of {interval}. Set TREMOR_INTERVAL=1m."
        )
    if not polygon_api_key.get_secret_value():
        raise SettingsError(
            "TREMOR_POLYGON_API_KEY is not set, and the feed 'polygon' is let in by nobody without "
            "it. Set it to the key that your dashboard at massive.com shows."
        )
    for symbol in symbols:
        check_symbol(symbol)
    venue = Polygon(symbols, polygon_api_key, polygon_stream_url)
    return Live.of(venue, refill, symbols, interval, **others)


@dataclass(frozen=True)
class Polygon:
    """The stream of minute bars, which come once the minute is over, corrected ones again.

    Parameters
    ----------
    symbols : tuple of str
        US stocks.
    key : SecretStr
        Sent once connected, and struck out of whatever comes back.
    url : str, default=""
        A gateway's address that stands for Massive's own.
    """

    symbols: tuple[str, ...]
    key: SecretStr = field(repr=False)
    url: str = ""
    name: ClassVar[str] = "polygon"
    is_gapless: ClassVar[bool] = False
    longest_message: ClassVar[int] = 2**22
    settle_s: ClassVar[float] = 10.0
    has_chatter: ClassVar[bool] = False

    def lines(self) -> tuple[Line, ...]:
        """One connection: a key has no more."""
        login = json.dumps({"action": "auth", "params": self.key.get_secret_value()})
        return (Line(self.url or STREAM, self.symbols, login),)

    def read(self, text: str, line: Line, now: pd.Timestamp) -> Heard:
        """Take the bars of the line's symbols, and what the venue says of the connection."""
        try:
            content = content_of(text)
            events = content if isinstance(content, list) else [content]
            heard = [self._event(event, line, now) for event in events]
        except Malformed as error:
            return Heard(refused=(Refused(f"Massive: {error}", self._struck(text)),))
        return _joined(heard)

    def _event(self, event: Any, line: Line, now: pd.Timestamp) -> Heard:
        if not isinstance(event, dict):
            raise Malformed("the event is no object")
        if event.get("ev") == "status":
            return self._status(str(event.get("status")), str(event.get("message", "")), line)
        symbol = event.get("sym")
        if event.get("ev") != "AM" or not isinstance(symbol, str) or symbol not in line.known:
            return Heard()
        try:
            return Heard(candles=((_bar(event, now), json.dumps(event)),))
        except Malformed as error:
            text = self._struck(json.dumps(event))
            return Heard(refused=(Refused(f"Massive: {error}", text),))

    def _status(self, status: str, message: str, line: Line) -> Heard:
        if status == "auth_success":
            wanted = ",".join(f"AM.{symbol}" for symbol in line.symbols)
            return Heard(answer=json.dumps({"action": "subscribe", "params": wanted}))
        if status == "success":
            return Heard(is_ready=True)
        said = " ".join(self._struck(message).split())[:160]
        refusal = _refusal(status, said)
        if refusal is not None:
            return Heard(refusal=refusal, is_final=status in ("auth_failed", "error"))
        if status == "error":
            return Heard(refused=(Refused("Massive reports an error", said),))
        return Heard()

    def _struck(self, text: str) -> str:
        key = self.key.get_secret_value()
        return text.replace(key, "*" * 8) if len(key) >= SHORTEST_KEY else text


def _refusal(status: str, said: str) -> FeedRefused | None:
    """Why the venue turns us away, and the remedy; None when it does not."""
    if status in ("auth_failed", "auth_timeout"):
        return FeedRefused(
            f"Massive's stream refuses the key ({said}). Check TREMOR_POLYGON_API_KEY, and that "
            "your plan includes the stream of stocks."
        )
    if status == "max_connections":
        return FeedRefused(
            f"Massive lets the key in no further time ({said}). End the other program that streams "
            "with it, or ask for more connections."
        )
    if status == "error" and "authorized" in said.lower():
        return FeedRefused(
            f"Massive's stream refuses the minute bars ({said}). Your plan has to include them."
        )
    return None


def _bar(event: dict[str, Any], now: pd.Timestamp) -> Candle:
    open_ms = opened_at(event.get("s"), MINUTE_MS, now)
    if event.get("e") != open_ms + MINUTE_MS:
        raise Malformed("the bar is none of a minute")
    names = NAMES if "vw" in event else {k: v for k, v in NAMES.items() if k != "vwap"}
    return candle_of(str(event["sym"]), open_ms, event, names)


def _joined(heard: list[Heard]) -> Heard:
    """What the events of one message say together."""
    return Heard(
        candles=tuple(each for part in heard for each in part.candles),
        refused=tuple(each for part in heard for each in part.refused),
        answer=next((part.answer for part in heard if part.answer), ""),
        is_ready=any(part.is_ready for part in heard),
        refusal=next((part.refusal for part in heard if part.refusal), None),
        is_final=any(part.is_final for part in heard),
    )
