"""Messages about messages that could not be read; pure."""

import base64
from dataclasses import dataclass

from components.messages.coding import written
from components.messages.shapes import DEAD_LETTER, KEPT


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be read: why, where it lies, its first bytes and its whole size."""

    reason: str
    topic: str
    partition: int
    offset: int
    size: int
    message: bytes

    @classmethod
    def of(
        cls, reason: str, topic: str, partition: int, offset: int, message: bytes | None
    ) -> "DeadLetter":
        """Write one about the message that lies at ``offset``."""
        held = message or b""
        return cls(reason, topic, partition, offset, len(held), held[:KEPT])

    def encode(self) -> bytes:
        """Make a message of it."""
        held = base64.b64encode(self.message).decode()
        return written({"schema": DEAD_LETTER.schema, **vars(self), "message": held})

    @classmethod
    def decode(cls, message: bytes | None) -> "DeadLetter":
        """Read one.

        Raises
        ------
        Malformed
            When it is none.
        """
        return cls(*DEAD_LETTER.read(message))
