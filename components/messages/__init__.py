"""Messages of candles, verdicts, alerts and dead letters, as they travel over a broker; pure.

Each is one JSON object whose ``schema`` names its kind and version (``candle/1``), with the
instrument's name as the key, so that one instrument's candles keep their order. ``ts`` is the
bar's open in milliseconds since 1970, UTC; ``null`` is not known. A version changes when a field
changes its meaning or leaves; a reader passes over fields that it does not know.
"""

from components.messages.coding import Coded, Unread
from components.messages.dead_letter import DeadLetter
from components.messages.fields import Malformed
from components.messages.rows import (
    decode_alerts,
    decode_candles,
    decode_verdicts,
    encode_alerts,
    encode_candles,
    encode_verdicts,
)
from components.messages.shapes import ALERT, CANDLE, DEAD_LETTER, KEPT, LONGEST, VERDICT

__all__ = [
    "ALERT", "CANDLE", "DEAD_LETTER", "KEPT", "LONGEST", "VERDICT", "Coded", "DeadLetter",
    "Malformed", "Unread", "decode_alerts", "decode_candles", "decode_verdicts", "encode_alerts",
    "encode_candles", "encode_verdicts",
]  # fmt: skip
