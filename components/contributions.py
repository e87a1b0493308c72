"""What made a trained model's score, in words: each feature in its own unit. Pure."""

import math
from collections.abc import Sequence

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
    "market_relative_return": "return beyond the market's",
    "market_relative_volume": "volume beyond the market's",
    "price_range": "range",
    "residual": "return beyond the market's",
    "return_std": "volatility of the bars before",
    "volatility": "range",
    "volatility_ratio": "range against the bars before",
    "volume_ratio": "volume against the bars before",
    "vwap_distance": "distance from the average price paid",
}


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
    first = features[0]
    named = [f"{_value(part)} adds {_amount(part.part)}" for part in features[:NAMED]]
    others = sum(part.part for part in features[NAMED:])
    told = ", ".join(named)
    if len(features) > NAMED:
        told += f", the other features {_amount(others)}"
    rest = next((part for part in parts if not part.feature), None)
    if rest is not None and rest.what and abs(rest.part) >= 0.005:
        told += f", {rest.what} {_amount(rest.part)}"
    return f"{shown(first.view)}, {first.what} {first.total:.1f}: {told}"


def _value(part: Part) -> str:
    """A feature's name and value, in the unit that a person reads."""
    bare = part.feature.removesuffix("_vector").removesuffix("_z")
    name = WORDS.get(part.feature, WORDS.get(bare, bare.replace("_", " ")))
    if not math.isfinite(part.value):
        return name
    if part.feature.endswith("_vector"):
        # The bent form of a channel: straightened for the reader.
        return f"{name} (z {4 * math.sinh(part.value):+.1f})"
    if part.unit == "z":
        return f"{name} (z {part.value:+.1f})"
    if part.unit == "fraction":
        return f"{name} ({percent(part.value, sign=True)})"
    if part.unit == "log":
        return f"{name} ({percent(math.expm1(min(part.value, 50.0)), sign=True)})"
    return f"{name} ({part.value:.1f} times)"


def _amount(value: float) -> str:
    return f"{value:+.2f}"
