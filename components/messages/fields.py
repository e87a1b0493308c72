"""What the fields of a message may be; pure. Whatever comes from a broker is taken for hostile."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import pandas as pd

from components.errors import InvalidSymbol
from components.sources.base import check_symbol
from components.words import clean

# Milliseconds since 1970, UTC, that a bar may open at.
EARLIEST: Final = pd.Timestamp("1970-01-01", tz="UTC").value // 1_000_000
LATEST: Final = pd.Timestamp("2100-01-01", tz="UTC").value // 1_000_000

# In the place of an instant that is not known.
UNKNOWN: Final = -1

INTERVAL = re.compile(r"[1-9][0-9]{0,3}[mhd]", re.ASCII)

# Beyond it an integer is no count and no price, and may not fit a float.
LARGEST: Final = 2**53


class Malformed(Exception):
    """Why a message is not let in, in words."""


Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Shape:
    """One kind of message in one version: what must be in it, and how long it may be.

    Parameters
    ----------
    schema : str
        What stands in the message's ``schema``: its kind, a slash, the version.
    fields : mapping of str to callable
        For each field a check, which gives its value or raises ``Malformed``.
    longest : int
        Bytes of the longest message that is read at all.
    """

    schema: str
    fields: Mapping[str, Check]
    longest: int

    def read(self, message: bytes | None) -> tuple[Any, ...]:
        """Give the values of a message's fields, in the order of ``fields``.

        Fields that are not known are passed over, so that a producer may add some.

        Raises
        ------
        Malformed
            Whatever the bytes are, and nothing else is raised.
        """
        body = self._body(message)
        if body.get("schema") != self.schema:
            raise Malformed(f"schema is {shown(body.get('schema'))}, and {self.schema} is read")
        try:
            return tuple([check(body[name]) for name, check in self.fields.items()])
        except KeyError as lacking:
            raise Malformed(f"lacks {lacking.args[0]}") from None
        except Malformed:
            raise self._named(body) from None

    def _body(self, message: bytes | None) -> dict[str, Any]:
        if message is None:
            raise Malformed("has no content")
        if len(message) > self.longest:
            raise Malformed(f"is {len(message)} bytes long, more than {self.longest}")
        try:
            body = json.loads(message.decode())
        # Brackets in brackets end the parser's stack, and thousands of digits its patience.
        except (ValueError, RecursionError):
            raise Malformed("is no JSON in UTF-8") from None
        if type(body) is not dict:
            raise Malformed("is no JSON object")
        return body

    def _named(self, body: dict[str, Any]) -> Malformed:
        """What is wrong with the first field that is: looked for only once there is one."""
        for name, check in self.fields.items():
            try:
                check(body[name])
            except Malformed as wrong:
                return Malformed(f"{name} {wrong}")
        raise AssertionError("checks are functions")  # pragma: no cover


def shown(value: object) -> str:
    """Show what came in a reason: one line of ASCII, cut; of a list or an object its kind alone."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return clean(ascii(value), 60)


def number(value: Any) -> float:
    """Let a finite number through."""
    kind = type(value)
    if kind is float and math.isfinite(value):
        return float(value)
    if kind is int and -LARGEST <= value <= LARGEST:
        return float(value)
    raise Malformed(f"is {shown(value)}, and no finite number")


def number_or_unknown(value: Any) -> float:
    """Let a finite number through, or ``null``: NaN."""
    return math.nan if value is None else number(value)


def count(value: Any) -> int:
    """Let a whole number through, from 0."""
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    raise Malformed(f"is {shown(value)}, and no count")


def instant(value: Any) -> int:
    """Let milliseconds since 1970, UTC, through that lie in this age."""
    if type(value) is int and EARLIEST <= value < LATEST:
        return value
    raise Malformed(f"is {shown(value)}, and no milliseconds since 1970 before the year 2100")


def instant_or_unknown(value: Any) -> int:
    """Let such milliseconds through, or ``null``: ``UNKNOWN``."""
    return UNKNOWN if value is None else instant(value)


def symbol(value: Any) -> str:
    """Let a name through that a market may use."""
    if type(value) is str and _is_symbol(value):
        return value
    raise Malformed(f"is {shown(value)}, and no instrument name")


@lru_cache(maxsize=65_536)
def _is_symbol(value: str) -> bool:
    try:
        check_symbol(value)
    except InvalidSymbol:
        return False
    return True


def interval(value: Any) -> str:
    """Let the length of a bar through: 1m, 5m, 1h, 1d."""
    if type(value) is str and INTERVAL.fullmatch(value):
        return value
    raise Malformed(f"is {shown(value)}, and no interval such as 1m")


def one_of(*words: str) -> Check:
    """Let one of some words through."""

    def check(value: Any) -> str:
        if type(value) is str and value in words:
            return value
        raise Malformed(f"is {shown(value)}, and none of {', '.join(words)}")

    return check


def text(longest: int) -> Check:
    """Let text through that a database takes: no NUL, no half of a character."""

    def check(value: Any) -> str:
        if type(value) is not str or len(value) > longest or "\0" in value:
            raise Malformed(f"is {shown(value)}, and no text of at most {longest} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed(f"is {shown(value)}, and no text") from None
        return value

    return check
