"""Sends messages, each once and in the order of its key."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Writing

from components.broker.access import Access, Troubles
from components.errors import BrokerError


class Producer:
    """Sends messages, each once and in the order of its key, to all copies of a partition.

    Parameters
    ----------
    access : Access
        The way to the broker.
    patience_s : float, default=120
        A message that was not taken for so long is an error.
    """

    def __init__(self, access: Access, patience_s: float = 120.0) -> None:
        self._access, self._patience_s = access, patience_s
        self._refused: KafkaError | None = None
        self._troubles = Troubles()
        self._writing = Writing(
            {
                **access.options(),
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "delivery.timeout.ms": int(patience_s * 1000),
                "queue.buffering.max.messages": 50_000,
                "queue.buffering.max.kbytes": 65_536,
                "partitioner": "murmur2_random",
                "error_cb": self._troubles,
                "on_delivery": self._delivered,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def send(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Hand over (key, bytes) pairs; waits while the queue is full.

        Raises
        ------
        BrokerError
            When an earlier message could not be delivered, or this one is not taken.
        """
        for key, body in messages:
            until = time.monotonic() + self._patience_s
            while not self._taken(topic, key, body):
                self._writing.poll(0.1)
                self._raise_refused()
                if time.monotonic() > until:
                    raise self._late(f"{topic} takes no message: the queue stays full")
            self._writing.poll(0)
        self._raise_refused()

    def _taken(self, topic: str, key: bytes, body: bytes) -> bool:
        try:
            self._writing.produce(topic, body, key)
        except BufferError:
            return False
        except KafkaException as error:
            raise self._access.failed(f"{topic} takes no message", error.args[0]) from None
        return True

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until all that was sent is delivered.

        Raises
        ------
        BrokerError
            When a message could not be delivered, or was not in time.
        """
        n_left = self._writing.flush(self._patience_s if timeout_s is None else timeout_s)
        self._raise_refused()
        if n_left:
            raise self._late(f"{n_left} messages are not delivered yet")

    def _late(self, what: str) -> BrokerError:
        heard = self._troubles.taken() or KafkaError(KafkaError._TIMED_OUT, "no answer")  # noqa: SLF001
        return self._access.failed(what, heard)

    def close(self) -> None:
        """Deliver what is left."""
        self.flush()

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused = error

    def _raise_refused(self) -> None:
        error, self._refused = self._refused, None
        if error is not None:
            raise self._access.failed("a message is not delivered", error)
