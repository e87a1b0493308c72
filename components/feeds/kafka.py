"""Candles from Kafka: what cannot be read is told and set aside, what is stored is committed."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from components.broker import Access, Consumer, Place, Producer, Record, Topics, make_topics
from components.errors import BrokerError
from components.feeds.base import COLUMNS, Arrived, Refused
from components.messages import DeadLetter, decode_candles

log = logging.getLogger(__name__)

# Messages of one arrival at most: what is behind them waits in the broker.
AT_ONCE: Final = 5000

# A partition from which nothing came for so long, s, is read to its end.
IDLE_S: Final = 2.0

LONG_AGO: Final = pd.Timestamp(0, tz="UTC")

# So long, s, the dead letters of what is stored are waited for before its offsets are committed.
PATIENCE_S: Final = 10.0


def opened(
    *,
    interval: str,
    symbols: tuple[str, ...] = (),
    kafka_prefix: str = "tremor",
    kafka_partitions: int = 4,
    **settings: Any,
) -> "KafkaFeed":
    """Open the feed as the settings say; the topics are made when they are not there.

    Raises
    ------
    SettingsError
        When no broker is named.
    BrokerError
        When it does not answer.
    """
    access = Access.of(**settings)
    topics = Topics.under(kafka_prefix)
    make_topics(access, topics, kafka_partitions)
    return KafkaFeed(access, topics, f"{kafka_prefix}.stream", interval, symbols)


class KafkaFeed:
    """The topic of candles as one member of a group.

    A message that is no candle goes to the topic of dead letters, with the reason, before the
    offset behind it is committed; a message is committed once ``done`` tells that it is stored.
    After a crash what was not committed comes again, its dead letters too.

    Parameters
    ----------
    access : Access
        The way to the broker.
    topics : Topics
        Where candles lie and dead letters go.
    group : str
        Members of one name share the partitions.
    interval : str
        The length of the bars that are watched.
    symbols : tuple of str, optional
        The instruments that are watched, others are passed over; () means all.
    session_s : float, default=10
        After so long without a sign of life others take over.
    """

    name: Final = "kafka"
    is_live: Final = True

    def __init__(
        self,
        access: Access,
        topics: Topics,
        group: str,
        interval: str,
        symbols: tuple[str, ...] = (),
        session_s: float = 10.0,
    ) -> None:
        self._topics, self._interval, self._symbols = topics, interval, frozenset(symbols)
        self._consumer = Consumer(access, [topics.candles], group, session_s)
        self._producer = Producer(access)
        self._lock = threading.Lock()
        # What each arrival ends before, by its number, until it is committed; and up to which
        # arrival all is stored.
        self._ends: dict[int, dict[Place, int]] = {}
        self._stored = -1
        self._trouble = ""
        # Of each partition the offset behind what was read, and the newest open among it.
        self._read: dict[Place, int] = {}
        self._newest: dict[Place, pd.Timestamp] = {}
        self._heard_at: dict[Place, float] = {}
        self._clock = time.monotonic

    def arrivals(self, stop: threading.Event) -> Iterator[Arrived]:
        """Give what lies in the topic, then what comes, and an empty one each second without.

        Raises
        ------
        BrokerError
            When waiting mends nothing.
        """
        number = 0
        while not stop.is_set():
            records = self._consumer.read(AT_ONCE, timeout_s=1.0)
            yield self._arrived(records, number)
            number += 1

    def _arrived(self, records: list[Record], number: int) -> Arrived:
        now = pd.Timestamp.now("UTC")
        candles, unread = decode_candles([each.value for each in records], self._interval, now)
        letters = [(records[place], reason) for place, reason in unread]
        self._set_aside(letters)
        ends: dict[Place, int] = {}
        for each in records:
            ends[each.place] = each.offset + 1
        with self._lock:
            self._ends[number] = ends
        if records:
            self._trouble = ""
        unreadable = {place for place, _ in unread}
        texts = [each for place, each in enumerate(records) if place not in unreadable]
        self._note(records, candles["ts"].tolist(), unreadable)
        keep = candles["symbol"].isin(self._symbols) if self._symbols else slice(None)
        candles = candles.loc[keep, [*COLUMNS, "known_at"]].reset_index(drop=True)
        known_at = candles["known_at"].fillna(now.as_unit("us"))
        return Arrived(
            candles.assign(known_at=known_at),
            now,
            number,
            (*(Refused(why, _text(each)) for each, why in letters), *self._troubles()),
            tuple(map(_text, texts)),
            self._through(),
        )

    def _note(self, records: list[Record], opens: list[pd.Timestamp], unread: set[int]) -> None:
        """Remember how far each partition was read; ``opens`` are those of what could be read."""
        candles = (each for place, each in enumerate(records) if place not in unread)
        for each, ts in zip(candles, opens, strict=True):
            self._newest[each.place] = max(ts, self._newest.get(each.place, ts))
        now = self._clock()
        for each in records:
            self._read[each.place] = each.offset + 1
            self._heard_at[each.place] = now

    def _through(self) -> pd.Timestamp | None:
        """The open up to which all partitions are read; None where nothing more is known of any.

        A partition may be read far ahead of another: its candles are no sign that those of the
        other will not come. One that is read to its end counts for as long as it may seem so
        because the broker was not asked again.
        """
        now = self._clock()
        lively = {place for place, at in self._heard_at.items() if now - at < IDLE_S}
        reading = self._consumer.behind(self._read) | lively
        return min((self._newest.get(place, LONG_AGO) for place in reading), default=None)

    def _set_aside(self, letters: list[tuple[Record, str]]) -> None:
        made = [
            (each.key or b"", DeadLetter.of(why, *each[:3], each.value).encode())
            for each, why in letters
        ]
        self._producer.send(self._topics.dead_letters, made)

    def _troubles(self) -> tuple[Refused, ...]:
        """What the connection lacks, once for as long as it lacks it."""
        said, before = self._consumer.trouble(), self._trouble
        self._trouble = said or before
        return (Refused(said),) if said and not before else ()

    def done(self, number: int) -> None:
        """Commit what all arrivals up to ``number`` ended before, their dead letters first.

        Where the broker is away the next call does it; until then the messages would come again.

        Raises
        ------
        BrokerError
            When waiting mends nothing.
        """
        self._stored = max(self._stored, number)
        ends = self._ends_until(self._stored)
        if not any(ends.values()):
            self._forget(ends)
            return
        offsets: dict[Place, int] = {}
        for each in ends.values():
            offsets |= each
        try:
            self._producer.flush(PATIENCE_S)
            self._consumer.commit(offsets)
        except BrokerError as error:
            if not error.is_transient:
                raise
            log.warning("%s", error)
        else:
            self._forget(ends)

    def _ends_until(self, number: int) -> dict[int, dict[Place, int]]:
        with self._lock:
            return {each: end for each, end in sorted(self._ends.items()) if each <= number}

    def _forget(self, ends: Mapping[int, object]) -> None:
        with self._lock:
            for each in ends:
                self._ends.pop(each, None)

    def close(self) -> None:
        """Commit what is stored, and leave the group."""
        if self._stored >= 0:
            self.done(self._stored)
        self._consumer.close()


def _text(record: Record) -> str:
    return (record.value or b"").decode(errors="replace")
