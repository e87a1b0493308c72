"""Where closed candles come from as they close: sockets of venues, and replays of stored ones."""

from importlib import import_module
from typing import Any, Final, cast

from components.errors import UnknownName
from components.feeds.base import COLUMNS, Arrived, Candle, Feed, Refill, Refused, frame_of

__all__ = [
    "COLUMNS", "FEEDS", "Arrived", "Candle", "Feed", "Refill", "Refused", "frame_of", "open_feed",
]  # fmt: skip

# Each module has ``opened(**settings)``; it and its libraries are imported when it is asked for.
FEEDS: Final[dict[str, str]] = {
    "binance": "components.feeds.binance",
    "kafka": "components.feeds.kafka",
    "polygon": "components.feeds.polygon",
    "replay": "components.feeds.replay",
}


def open_feed(name: str, **settings: Any) -> Feed:
    """Open the feed called ``name``; it takes those of the ``settings`` that concern it.

    Raises
    ------
    UnknownName
        When no feed has that name.
    SettingsError
        When a setting that it needs is missing or malformed.
    """
    if name not in FEEDS:
        raise UnknownName("feed", name, list(FEEDS))
    return cast("Feed", import_module(FEEDS[name]).opened(**settings))
