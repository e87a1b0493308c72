"""What the driver sends to topics: states and candles to itself, verdicts, alerts, dead letters."""

from typing import Protocol


class Sender(Protocol):
    """Sends to a broker."""

    def send(self, topic: str, key: bytes, value: bytes, at_ms: int | None = None) -> None:
        """Take a message on the way; ``at_ms`` is its time, milliseconds since 1970."""

    def flush(self) -> None:
        """Wait until the broker has all of them.

        Raises
        ------
        TremorError
            When it does not take one.
        """
