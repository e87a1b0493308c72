"""Where the newest features are held to be asked for: SQLite, or Redis when it is named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from components.errors import SettingsError

# Seconds until Redis counts as unreachable, and as silent.
PATIENCE_S = {"socket_connect_timeout": 10, "socket_timeout": 30}


@dataclass(frozen=True)
class Online:
    """Feast's settings of an online store, and where it is, without secrets."""

    config: Mapping[str, Any]
    shown: str


def online(url: str, home: Path) -> Online:
    """Redis at ``url``; SQLite under ``home`` when that is "".

    Raises
    ------
    SettingsError
        TREMOR_REDIS_URL cannot be read.
    """
    if url:
        return _redis(url)
    path = home / "online.db"
    return Online({"type": "sqlite", "path": str(path.absolute())}, f"SQLite in {path}")


def _redis(url: str) -> Online:
    parts = urlsplit(url)
    try:
        host, port, number = parts.hostname, parts.port or 6379, int(parts.path.strip("/") or 0)
    except ValueError:
        host = None
    if not host or parts.scheme not in ("redis", "rediss"):
        raise SettingsError(
            "TREMOR_REDIS_URL cannot be read. Write redis://:password@host:6379/0, or rediss:// "
            "for TLS, with %-codes for special characters in the password."
        )
    given = {
        "db": number,
        "ssl": parts.scheme == "rediss",
        "username": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        **PATIENCE_S,
    }
    options = [f"{k}={_quoted(v)}" for k, v in given.items() if v is not None]
    # A correction has the close of the bar that it corrects, and must come through; what is
    # written is the newest already.
    config = {
        "type": "redis",
        "connection_string": ",".join([f"{host}:{port}", *options]),
        "skip_dedup": True,
    }
    return Online(config, f"Redis at {host}:{port}/{number}")


def _quoted(value: Any) -> str:
    """A value as Feast reads it back: JSON, without the comma that parts it from the next."""
    return json.dumps(value).replace(",", "\\u002c")
