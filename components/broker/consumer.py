"""Reads messages, and commits what it is told is stored; nothing by itself."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from confluent_kafka import Consumer as Reading
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from components.broker.access import HOPELESS, Access, Troubles

log = logging.getLogger(__name__)

# So long, s, a group is asked what it committed.
COMMITTED_S: Final = 10.0

# A topic and one of its partitions.
Place = tuple[str, int]

# The partition went to another member of the group: it reads on from what was committed.
NOT_OURS: Final = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._STATE,  # noqa: SLF001
}


class Record(NamedTuple):
    """A message as it was read, and where it lies."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def place(self) -> Place:
        """The topic and the partition."""
        return self.topic, self.partition


class Consumer:
    """One member of a group that shares the partitions of some topics.

    Nothing is committed but by ``commit``. A partition that leaves is forgotten: what of it was
    read and not committed goes to its next owner again.

    Parameters
    ----------
    access : Access
        The way to the broker.
    topics : sequence of str
        What is read: from the last commit, or from the oldest message.
    group : str
        Members with the same name share the partitions.
    session_s : float, default=10
        After so long without a sign of life a member's partitions go to the others.
    """

    def __init__(
        self, access: Access, topics: Sequence[str], group: str, session_s: float = 10.0
    ) -> None:
        self._access, self._troubles = access, Troubles()
        self._ours: set[Place] = set()
        # Where reading began: what is committed lies before it.
        self._begun: dict[Place, int] = {}
        self._lock = threading.Lock()
        self._reading = Reading(
            {
                **access.options(),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "session.timeout.ms": int(session_s * 1000),
                "heartbeat.interval.ms": int(session_s * 1000 / 4),
                # A first judgement of long histories takes its time.
                "max.poll.interval.ms": 900_000,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
                "error_cb": self._troubles,
            }
        )
        self._reading.subscribe(
            list(topics), on_assign=self._came, on_revoke=self._left, on_lost=self._left
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def read(self, n_most: int, timeout_s: float) -> list[Record]:
        """Give what is there, at most ``n_most``; [] when nothing came in time.

        A broker that is away is waited for: ``trouble`` tells.

        Raises
        ------
        BrokerError
            When waiting mends nothing.
        """
        first = self._reading.poll(timeout_s)
        found = [] if first is None else [first, *self._reading.consume(n_most - 1, 0)]
        heard = self._troubles.worst
        if heard is not None and (heard.fatal() or heard.code() in HOPELESS):
            raise self._access.failed("nothing is read", heard)
        return [record for record in map(self._record, found) if record is not None]

    def trouble(self) -> str:
        """What the connection was heard to lack since this was last asked, or ""."""
        heard = self._troubles.taken()
        # Of many brokers one may go; and idle connections end.
        if heard is None or heard.code() == KafkaError._TRANSPORT:  # noqa: SLF001
            return ""
        return str(self._access.failed("no connection", heard))

    def behind(self, read: Mapping[Place, int]) -> set[Place]:
        """Which of its partitions hold messages behind the offsets that were ``read``.

        One of which nothing was heard yet counts as holding some.
        """
        with self._lock:
            ours = set(self._ours)
        found = set()
        for place in ours:
            _, end = self._reading.get_watermark_offsets(TopicPartition(*place), cached=True)
            start = self._begun.get(place, 0)
            if end < 0 or max(read.get(place, 0), start) < end:
                found.add(place)
        return found

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Tell the group where to read on: for each partition the offset behind the last stored.

        Partitions that are another member's by now are passed over.

        Raises
        ------
        BrokerError
            When the broker does not take it; ``is_transient`` when another try may help.
        """
        with self._lock:
            ours = {place: offset for place, offset in offsets.items() if place in self._ours}
        if not ours:
            return
        places = [TopicPartition(*place, offset) for place, offset in ours.items()]
        try:
            self._reading.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            why: KafkaError = error.args[0]
            if why.code() not in NOT_OURS:
                raise self._access.failed("offsets are not committed", why) from None
            log.info("offsets were not committed: the partitions are another member's")

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._reading.close()

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is None:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            return Record(topic or "", partition or 0, offset or 0, message.key(), message.value())
        if error.fatal() or error.code() in HOPELESS:
            raise self._access.failed("nothing is read", error)
        self._troubles(error)
        return None

    def _came(self, reading: Reading, places: list[TopicPartition]) -> None:
        with suppress(KafkaException):
            held = reading.committed(places, timeout=COMMITTED_S)
            begun = {(each.topic, each.partition): max(each.offset, 0) for each in held}
            with self._lock:
                self._begun |= begun
        with self._lock:
            self._ours |= {(place.topic, place.partition) for place in places}

    def _left(self, _: Reading, places: list[TopicPartition]) -> None:
        with self._lock:
            self._ours -= {(place.topic, place.partition) for place in places}
