"""The kinds of messages and what must be in each; pure."""

import base64
import binascii
import json
from typing import Any, Final

from components.messages import fields as let
from components.messages.fields import Malformed, Shape

NUMBERS: Final = ("open", "high", "low", "close", "volume", "vwap", "trades")

# A broker takes a message of at most 1 MiB when nothing else is said, its headers included.
LONGEST: Final = 900_000

# Of a message that cannot be read so many bytes are kept.
KEPT: Final = 8192


def _strict_json(value: Any) -> str:
    """Let an object or an array of JSON through, as text."""
    if type(value) not in (dict, list):
        raise Malformed(f"is {let.shown(value)}, and no JSON object")
    try:
        said = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError):
        raise Malformed("holds a number that is none") from None
    if r"\u0000" in said:
        raise Malformed("holds a NUL, which no database takes")
    return str(let.text(LONGEST)(said))


def _symbols(value: Any) -> str:
    if type(value) is not list:
        raise Malformed(f"is {let.shown(value)}, and no list")
    return json.dumps([let.symbol(each) for each in value])


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(let.text(2 * KEPT)(value), validate=True)
    except (ValueError, binascii.Error):
        raise Malformed("is no base64") from None


_BAR: Final[dict[str, let.Check]] = {
    "symbol": let.symbol,
    "interval": let.interval,
    "ts": let.instant,
}

CANDLE: Final = Shape(
    "candle/1",
    {
        **_BAR,
        **dict.fromkeys(NUMBERS[:4], let.number),
        **dict.fromkeys(NUMBERS[4:], let.number_or_unknown),
        "known_at": let.instant_or_unknown,
    },
    longest=4096,
)

VERDICT: Final = Shape(
    "verdict/1",
    {
        **_BAR,
        "judge": let.text(500),
        "verdict": let.one_of("anomaly", "normal", "undecided"),
        "level": let.count,
        "votes": let.count,
        "p": let.number_or_unknown,
        "rate": let.number_or_unknown,
        "return": let.number_or_unknown,
        "parameters": let.text(200),
    },
    longest=4096,
)

ALERT: Final = Shape(
    "alert/1",
    {
        "id": let.text(200),
        "kind": let.text(40),
        "interval": let.interval,
        "ts": let.instant,
        "symbols": _symbols,
        "headline": let.text(2000),
        "payload": _strict_json,
    },
    longest=LONGEST,
)

DEAD_LETTER: Final = Shape(
    "dead-letter/1",
    {
        "reason": let.text(500),
        "topic": let.text(249),
        "partition": let.count,
        "offset": let.count,
        "size": let.count,
        "message": _bytes,
    },
    longest=4 * KEPT,
)
