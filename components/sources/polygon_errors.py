"""What Massive (Polygon) means by a reply that is no answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import (
    RateLimited,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)


class NotInPlan(SourceError):
    """The key is known, but its plan does not include what was asked for (HTTP 403)."""


class NoSuchPage(SourceUnavailable):
    """Nothing answers at this address (HTTP 404 without a word from the API)."""


@dataclass(frozen=True)
class Answer:
    """A reply of any status; ``retry_after`` is the header's text."""

    status: int
    body: bytes
    retry_after: str = ""


def failure_of(status: int, said: str, symbol: str, *, is_unknown: bool) -> SourceError:
    """Say what a reply of another status than 200 means.

    Parameters
    ----------
    said : str
        The reply's own words, fit to be shown.
    is_unknown : bool
        Whether it says in so many words that there is no such thing.
    """
    told = f"HTTP {status}: {said!r}"
    if status == 429:
        return RateLimited(
            f"{symbol}: Massive asks for patience ({told}). Set "
            "TREMOR_POLYGON_REQUESTS_PER_MINUTE to what your plan allows.",
            symbol,
        )
    if status == 401:
        return SourceError(
            f"{symbol}: Massive does not take the key ({told}). Check TREMOR_POLYGON_API_KEY.",
            symbol,
        )
    if status == 403:
        return NotInPlan(
            f"{symbol}: your plan at Massive does not include this ({told}). Check the plan "
            "of TREMOR_POLYGON_API_KEY, or ask for fewer years (TREMOR_HISTORY_YEARS).",
            symbol,
        )
    if status == 404 and is_unknown:
        return SymbolNotFound(
            f"{symbol}: Massive knows no such instrument ({told}). It may be delisted or "
            "renamed; drop it or correct it in the list of symbols.",
            symbol,
        )
    if status in (400, 422):
        return SourceFormatError(f"{symbol}: Massive refuses the request ({told})", symbol)
    kind = NoSuchPage if status == 404 else SourceUnavailable
    return kind(f"{symbol}: Massive answered {told}", symbol)


def json_of(body: bytes) -> Mapping[str, Any]:
    """Read a JSON object; anything else counts as an empty one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
