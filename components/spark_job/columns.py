"""What flows between the parts of the Spark job: names and Spark's types of the columns. Pure."""

from components.features.channels import VECTOR
from components.feeds.base import NUMBERS

CANDLE = {"symbol": "string", "ts": "timestamp", **dict.fromkeys(NUMBERS, "double")}

# A message of the topic: a candle with its calendar, or why it is none.
ARRIVED = {
    **CANDLE,
    "known_at": "timestamp",
    "offset": "long",
    "watch_list": "string",
    "reason": "string",
    "text": "string",
}

# What a market did at a bar, beside each member's candle.
MARKET = {
    "watch_list": "string",
    "market_return": "double",
    "market_volume_ratio": "double",
    "market_n": "long",
    "market_z": "double",
    "market_p": "double",
    "market_rate": "double",
    "market_verdict": "string",
}

# A bar in order, with what it is held against; ``shard`` says who judges it. A row with a
# ``state`` is no bar: that state takes the place of the instrument's own.
ORDERED = {
    **CANDLE,
    "known_at": "timestamp",
    "shard": "int",
    "split": "double",
    "steps": "long",
    "market": "double",
    "market_volume": "double",
    **MARKET,
    "state": "binary",
}

VERDICT = {
    "verdict": "string",
    "votes": "long",
    "voters": "long",
    "vote_p": "double",
    "level": "long",
    "state": "string",
    "p": "double",
    "rate": "double",
    "bars_lacking": "long",
    "body": "double",
    "return": "double",
    "scale": "double",
    "market_part": "double",
    "residual_p": "double",
}

JUDGED = {
    "symbol": "string",
    "ts": "timestamp",
    "known_at": "timestamp",
    **VERDICT,
    **dict.fromkeys(VECTOR, "double"),
    **MARKET,
}

# A row of a micro-batch: what arrived (``kind`` "arrived"), or was judged ("judged").
FOUND = {"kind": "string", **ARRIVED, **JUDGED}


def schema(columns: dict[str, str]) -> str:
    """The columns as Spark writes them."""
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
