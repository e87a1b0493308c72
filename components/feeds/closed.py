"""A closed candle out of a venue's message: every value is checked, nothing is repaired."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from components.feeds.base import NUMBERS, Candle

# No venue streamed candles before; a bar may close so much later than this clock says.
EARLIEST_MS: Final = 1_262_304_000_000  # 2010-01-01
CLOCKS_APART_MS: Final = 60_000

DAY_MS: Final = 86_400_000

# A number as a venue writes it in text; Python's own reading lets in more ("1_0", "nan").
DECIMAL: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?", re.ASCII)

# Volumes are rounded at eight decimals, so a mean price may leave its bar by a hair.
VWAP_NOISE: Final = 1e-6


class Malformed(Exception):
    """A message that is not what the venue's documents say; it never leaves this room."""


def _no_number(text: str) -> float:
    raise ValueError(text)


DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def content_of(text: str) -> Any:
    """Read JSON; NaN and infinities, which JSON has not, are no numbers.

    Raises
    ------
    Malformed
        When it is no JSON, or nested too deep.
    """
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Malformed("no JSON") from None


def opened_at(value: object, step_ms: int, now: pd.Timestamp) -> int:
    """Check a bar's open in milliseconds: on the grid, and closed by ``now``.

    Raises
    ------
    Malformed
        With what is wrong.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed("the open time is no whole number")
    latest = int(now.timestamp() * 1000) + CLOCKS_APART_MS
    if not EARLIEST_MS <= value <= latest - step_ms:
        raise Malformed("the time is absurd: check this machine's clock, or the venue's")
    if value % min(step_ms, DAY_MS):
        raise Malformed("the open time is not on the interval's grid")
    return value


def candle_of(
    symbol: str, open_ms: int, content: Mapping[str, Any], names: Mapping[str, str]
) -> Candle:
    """Make a candle of the numbers in ``content``, called there as ``names`` says.

    Raises
    ------
    Malformed
        Naming the value that is none.
    """
    read = {ours: number(content.get(theirs), ours) for ours, theirs in names.items()}
    return Candle(symbol, open_ms * 1000, **{n: read.get(n, math.nan) for n in NUMBERS})


def number(value: object, name: str) -> float:
    """Read a number, or a number in text, that is finite and not below zero.

    Raises
    ------
    Malformed
        Naming it.
    """
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise Malformed(f"{name} is no number")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Malformed(f"{name} is no number")
    try:
        read = float(value)
    except OverflowError:
        raise Malformed(f"{name} is too large") from None
    if not (math.isfinite(read) and read >= 0):
        raise Malformed(f"{name} is negative or not finite")
    return read


def mean_price(candle: Candle, quote_volume: float) -> float:
    """Quote volume over volume, as the archive's reader has it; NaN where it is none."""
    if not candle.volume > 0:
        return math.nan
    vwap = quote_volume / candle.volume
    is_inside = candle.low * (1 - VWAP_NOISE) <= vwap <= candle.high * (1 + VWAP_NOISE)
    return vwap if is_inside else math.nan


def in_groups(symbols: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Cut symbols into groups of at most ``most``."""
    return [tuple(symbols[at : at + most]) for at in range(0, len(symbols), most)]
