"""What flows between the parts of the Spark job: names and Spark's types of the columns. Pure."""

from components.features.channels import VECTOR
from components.feeds.base import NUMBERS

# What Spark's source says of a message.
MESSAGE = ("topic", "partition", "offset", "timestamp", "key", "value")

BAR = {"symbol": "string", "ts": "timestamp"}
CANDLE = {**BAR, **dict.fromkeys(NUMBERS, "double"), "known_at": "timestamp"}

# A message: a candle, one that the driver has looked at and let pass (``is_passed``), a state that
# the driver sends (``carried``), or none of these and the ``reason``.
ARRIVED = {
    **CANDLE,
    "watch_list": "string",
    "is_passed": "boolean",
    "carried": "binary",
    "topic": "string",
    "partition": "int",
    "offset": "long",
    "reason": "string",
    "message": "binary",
}

# What a market did at a bar, beside each member's candle: the columns of the table.
MARKET = {
    "market_return": "double",
    "market_volume_ratio": "double",
    "market_n": "long",
    "market_z": "double",
    "market_p": "double",
    "market_rate": "double",
    "market_verdict": "string",
}
OF_MARKET = dict(
    zip(MARKET, ("return", "volume", "n_instruments", "z", "p", "rate", "verdict"), strict=True)
)

# A bar in order, with what it is held against; ``shard`` says who judges it. One with a ``mark``
# is not judged; a row with ``carried`` is no bar.
ORDERED = {
    **CANDLE,
    "watch_list": "string",
    "shard": "int",
    "split": "double",
    "steps": "long",
    "market": "double",
    "market_volume": "double",
    "mark": "string",
    "carried": "binary",
    **MARKET,
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
    "parameters": "string",
}

# ``beside`` holds the scores and contributions of an unusual bar, as JSON.
JUDGED = {
    **CANDLE,
    **VERDICT,
    "beside": "string",
    **dict.fromkeys(VECTOR, "double"),
    "watch_list": "string",
    **MARKET,
}

# A row of a micro-batch: what arrived (``kind`` "arrived"), or was judged ("judged").
FOUND = {"kind": "string", **ARRIVED, **JUDGED}

# Verdicts that are none: the bar waits for the driver; the state that was sent came too late; how
# far the watermark was, one millisecond before the row's ``ts``.
DOUBTFUL, OUTRUN, WATERMARK = "doubtful", "outrun", "watermark"


def schema(columns: dict[str, str]) -> str:
    """The columns as Spark writes them."""
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
