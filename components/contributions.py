"""What made a trained model's score, in words: each feature in its own unit. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from components.records import Part
from components.stances import shown
from components.words import percent

# Features that are named; the smaller ones are added up.
NAMED = 4

# What a feature's name does not say to a reader.
WORDS = {
    "adjusted_volume": "volume for this time of the day and week",
    "body": "open to close",
    "bar_range": "range",
    "dollar_volume_z": "money traded",
    "excursion_z": "reach above the close before",
    "macro_range": "largest range of the last 60 bars",
    "macro_reach": "how far the price went in the last 60 bars",
    "macro_volatility": "volatility of the last 60 bars",
    "macro_volume": "volume of the last 60 bars",
    "market_relative_return": "return beyond the market's",
    "market_relative_volume": "volume beyond the market's",
    "log_reach": "reach of the price",
    "price_range": "range",
    "residual": "return beyond the market's",
    "return_std": "volatility of the bars before",
    "volatility": "range",
    "volatility_ratio": "range against the bars before",
    "volume_ratio": "volume against the bars before",
    "vwap_distance": "distance from the average price paid",
}

# A feature's value as a person reads it, by its unit; a ratio is so many times.
UNITS: Mapping[str, Callable[[float], str]] = {
    "z": lambda value: f"z {value:+.1f}",
    "fraction": lambda value: percent(value, sign=True),
    "log": lambda value: percent(math.expm1(min(value, 50.0)), sign=True),
    "log share": lambda value: percent(math.exp(min(value, 50.0))),
}


@dataclass(frozen=True)
class Row:
    """One line of a table: what, its value in its own unit, what it adds, and its width there.

    ``width`` is the amount as a share of the largest one, between 0 and 1.
    """

    name: str
    value: str
    amount: str
    width: float
    is_against: bool


def table(parts: Sequence[Part]) -> list[Row]:
    """Every part of one verdict, the features first, the largest first."""
    largest = max((abs(part.part) for part in parts), default=0.0) or 1.0
    ordered = sorted(parts, key=lambda part: (not part.feature, -abs(part.part)))
    return [
        Row(
            name=in_words(part.feature) if part.feature else part.what,
            value=_value(part),
            amount=_amount(part.part),
            width=abs(part.part) / largest,
            is_against=part.part < 0,
        )
        for part in ordered
        if part.feature or part.what
    ]


def explained(parts: Sequence[Part]) -> str:
    """What the parts add up to: ``GMM (version 3), improbability ... 12.4``; "" for none."""
    first = next((part for part in parts if part.feature), None)
    return f"{shown(first.view)}, {first.what}: {first.total:,.1f}" if first else ""


def made_of(parts: Sequence[Part]) -> str:
    """``Isolation Forest (version 3) saw volume z +6.1 (adds 2.0 of 4.4), ...``; "" for none.

    Parameters
    ----------
    parts : sequence of Part
        Of one verdict, the largest first; they sum to their ``total``.
    """
    features = [part for part in parts if part.feature]
    if not features:
        return ""
    named = [f"{_with_value(part)} adds {_amount(part.part)}" for part in features[:NAMED]]
    others = sum(part.part for part in features[NAMED:])
    told = ", ".join(named)
    if len(features) > NAMED:
        told += f", the other features {_amount(others)}"
    rest = next((part for part in parts if not part.feature), None)
    if rest is not None and rest.what and abs(rest.part) >= 0.005:
        told += f", {rest.what} {_amount(rest.part)}"
    return f"{explained(parts)}: {told}"


def _with_value(part: Part) -> str:
    value = _value(part)
    return f"{in_words(part.feature)} ({value})" if value else in_words(part.feature)


def in_words(feature: str) -> str:
    """A feature's name as a person reads it."""
    bare = feature.removesuffix("_vector").removesuffix("_z")
    return WORDS.get(feature, WORDS.get(bare, bare.replace("_", " ")))


def _value(part: Part) -> str:
    """A feature's value in the unit that a person reads."""
    if not (part.feature and math.isfinite(part.value)):
        return ""
    if part.feature.endswith("_vector"):
        # The bent form of a channel: straightened for the reader.
        return f"z {4 * math.sinh(part.value):+.1f}"
    shown = UNITS.get(part.unit)
    return shown(part.value) if shown else f"{part.value:.1f} times"


def _amount(value: float) -> str:
    """Three digits that count."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:+,.{places}f}"
