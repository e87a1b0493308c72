"""Where candles and measures come from: each source fetches a reply (I/O) and parses it (pure)."""

from importlib import import_module
from typing import Any, Final, cast

from components.errors import UnknownName
from components.sources.base import Source, Traits, check_symbol

__all__ = ["SOURCES", "Source", "Traits", "check_symbol", "open_source"]

# Each module has ``opened(**settings)``; it and its libraries are imported when it is asked for.
SOURCES: Final[dict[str, str]] = {
    "athena": "components.sources.athena",
    "binance": "components.sources.binance",
    "files": "components.sources.files",
    "polygon": "components.sources.polygon",
    "sample": "components.sources.sample",
    "sql": "components.sources.sql",
    "yahoo": "components.sources.yahoo",
}


def open_source(name: str, **settings: Any) -> Source:
    """Open the source called ``name``; it takes those of the ``settings`` that concern it.

    Raises
    ------
    UnknownName
        When no source has that name.
    SettingsError
        When a setting that it needs is missing.
    """
    if name not in SOURCES:
        raise UnknownName("source", name, list(SOURCES))
    return cast("Source", import_module(SOURCES[name]).opened(**settings))
