"""Numbers, instants and counts as a person reads them; text from outside made harmless."""

import math
import unicodedata
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

UNKNOWN = "n/a"

# What stands in place of the date of a row that has none.
UNTIMED = "without a time"

# Invisible marks that turn the reading direction: "3.2 % fall" can be made to read otherwise.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})

_UNITS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


def clean(text: str, limit: int = 500) -> str:
    """Text from outside as one harmless line: no control character, at most ``limit`` long."""
    line = "".join(" " if _is_unsafe(char) else char for char in text)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _is_unsafe(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in _BREAKING


def level_word(level: int) -> str:
    """How many independent votes agree, in a word: LOW, MEDIUM, HIGH; "" when it is unknown."""
    return {1: "LOW", 2: "MEDIUM"}.get(level, "HIGH" if level > 2 else "")


def number(value: Any) -> float:
    """``value`` as a float; NaN when it is absent, no number or infinite."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def price(value: float) -> str:
    """A price with the digits it needs: 64,000, 1128.15, 1.0003, 0.0000081."""
    size = abs(value)
    if not math.isfinite(value):
        return UNKNOWN
    if size >= 10_000:
        return f"{value:,.0f}"
    if size >= 100 or size == 0:
        return f"{value:.2f}"
    decimals = 4 if size >= 1 else 3 - math.floor(math.log10(size))
    whole, _, part = f"{value:.{decimals}f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def percent(fraction: float, *, sign: bool = False) -> str:
    """A fraction in percent: 3.2 %, 0.034 %, 150 %; ``sign`` writes the plus as well."""
    value = 100 * fraction
    if not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size < 0.0005:
        return "0 %"
    decimals = 0 if size >= 100 else 1 if size >= 0.1 else 1 - math.floor(math.log10(size))
    digits = f"{value:{'+' if sign else ''}.{decimals}f}"
    return f"{digits.rstrip('0') if decimals > 1 else digits} %"


def times(value: float) -> str:
    """A ratio with two or three digits: 0.25, 3.9, 12, 1,200."""
    if not math.isfinite(value):
        return UNKNOWN
    decimals = 0 if abs(value) >= 10 else 1 if abs(value) >= 1 else 2
    return f"{value:,.{decimals}f}"


def probability(p: float) -> str:
    """``p = 0.004``, or ``p below 0.000001``."""
    if not math.isfinite(p):
        return f"p {UNKNOWN}"
    return "p below 0.000001" if p < 1e-6 else f"p = {share(p)}"


def share(p: float) -> str:
    """A probability with two significant digits, never in powers of ten."""
    if not math.isfinite(p):
        return UNKNOWN
    if p < 1e-6:
        return "<0.000001"
    decimals = 1 - math.floor(math.log10(p))
    return f"{p:.{max(decimals, 2)}f}".rstrip("0").rstrip(".")


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 101st."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def counted(n: int, noun: str) -> str:
    """``1 instrument``, ``2 instruments``, ``10,000 instruments``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def is_daily(interval: str) -> bool:
    """Whether the interval's bars carry a date and no time of day."""
    return interval.endswith(("d", "wk", "mo"))


def moment(ts: Any, interval: str = "1d", zone: str = "UTC") -> str:
    """A bar's open in words: the date of a daily bar, date, time and zone of a shorter one.

    A time that the clock of ``zone`` shows twice, in autumn, is given with its offset as well.
    """
    try:
        instant: Any = pd.Timestamp(ts)
    except (TypeError, ValueError):
        return clean(str(ts), 40)
    if pd.isna(instant):
        return UNKNOWN
    instant = instant if instant.tzinfo else instant.tz_localize("UTC")
    local: datetime = instant.to_pydatetime(warn=False).astimezone(ZoneInfo(zone))
    if is_daily(interval):
        return local.strftime("%Y-%m-%d")
    is_shown_twice = local.replace(fold=1 - local.fold).utcoffset() != local.utcoffset()
    shown = local if is_shown_twice else local.replace(tzinfo=None)
    return f"{shown.isoformat(' ', 'minutes')} {zone}"


def bar_word(interval: str) -> str:
    """``day``, ``minute``, ``hour``; ``bar`` for lengths that have no word of their own."""
    return _UNITS.get(interval[-1:], "bar") if interval[:-1] == "1" else "bar"


def usual_word(interval: str) -> str:
    """``daily``, ``hourly``; ``1-minute``, ``15-minute``; ``bar-to-bar``."""
    length, unit = interval[:-1], _UNITS.get(interval[-1:])
    if length == "1" and unit in ("day", "hour"):
        return "daily" if unit == "day" else "hourly"
    return f"{length}-{unit}" if unit and length.isdigit() else "bar-to-bar"


def seconds(value: float) -> str:
    """A duration: 0.25 s, 12 s, 3 min 5 s."""
    if not math.isfinite(value):
        return UNKNOWN
    if value >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest} s"
    return f"{times(value)} s"


def clock_time(instant: datetime | None) -> str:
    """An instant to the minute, in UTC."""
    if instant is None or pd.isna(instant):
        return UNKNOWN
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
