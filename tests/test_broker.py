"""A real broker: nothing is lost over it, and nothing is committed that is not stored."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from itertools import count, islice

import pandas as pd
import pytest
from confluent_kafka import Consumer as Reading
from confluent_kafka import TopicPartition

from components.broker import Access, Consumer, Producer, Topics, make_topics
from components.errors import BrokerError, SettingsError
from components.feeds import COLUMNS, open_feed
from components.feeds.kafka import KafkaFeed
from components.messages import DeadLetter, decode_candles, encode_candles
from tests.kafka_server import Kafka, Noida, broker_server, lacking
from tests.proxies import free_port
from tests.terminal import ROOT

SECRET = "s3cret-of-kafka"

_numbers = count()


@pytest.fixture(scope="module")
def server():
    with broker_server() as started:
        yield started


@pytest.fixture
def apache(server):
    """Apache Kafka by name, where a part is killed."""
    if said := lacking("broker"):
        why = "keeps killed readers in their group, and forgets new topics when it is killed"
        pytest.skip(f"{said}; {server.name} {why}")
    return server


@pytest.fixture
def access(server):
    return Access(server.servers)


@pytest.fixture
def topics(access):
    """Fresh topics."""
    made = Topics.under(f"test{next(_numbers)}")
    make_topics(access, made, 4)
    return made


def candles(n_minutes, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"), first=0):
    ts = pd.date_range("2021-05-19", periods=first + n_minutes, freq="min", tz="UTC")[first:]
    rows = [(s, t, 1.0 + i, 2.0 + i, 1.0, 2.0, 5.0) for i, t in enumerate(ts) for s in symbols]
    table = pd.DataFrame(rows, columns=COLUMNS[:7])
    unknown = float("nan")
    return table.assign(ts=table["ts"].dt.as_unit("us"), vwap=unknown, trades=unknown)


def send(access, topic, messages):
    with Producer(access) as producer:
        producer.send(topic, messages)


SESSION_S = (Noida if lacking("broker") else Kafka).session_s


def feed(access, topics, **settings):
    settings |= {"session_s": SESSION_S}
    return KafkaFeed(access, topics, f"{topics.candles}.group", "1m", **settings)


def arrive(coming, n_candles):
    """Arrivals until so many candles came, of a feed or of what goes on arriving."""
    if isinstance(coming, KafkaFeed):
        coming = coming.arrivals(threading.Event())
    came, got = 0, []
    for arrived in islice(coming, 90):
        got.append(arrived)
        came += len(arrived.candles)
        if came >= n_candles:
            return got
    raise AssertionError(f"{came} of {n_candles} candles came")


def keys(arrivals):
    rows = pd.concat([each.candles for each in arrivals])
    return Counter(zip(rows["symbol"], rows["ts"], strict=True))


def committed(access, topics):
    """The offsets of the group, by partition; 0 where there is none."""
    group = {**access.options(), "group.id": f"{topics.candles}.group"}
    client = Reading(group)
    places = [TopicPartition(topics.candles, number) for number in range(4)]
    found = client.committed(places, timeout=20)
    client.close()
    return [max(each.offset, 0) for each in found]


def everything(access, topic, n_messages):
    """All records of a topic."""
    found = []
    with Consumer(access, [topic], f"reader{next(_numbers)}") as reader:
        for _ in range(60):
            found += reader.read(10_000, 1.0)
            if len(found) >= n_messages:
                found += reader.read(10_000, 0.3)
                return found
    raise AssertionError(f"{len(found)} of {n_messages} came")


def test_the_broker_is_apache_kafka(server):
    """What these tests hold they hold of the real one; where it cannot be had, of another."""
    if said := lacking("broker"):
        pytest.skip(f"{said}; the tests of the broker ran on {server.name}")
    assert server.name == "Apache Kafka"


def test_topics_are_made_once(access, topics):
    """With the wished partitions; made again, they stay as they are."""
    make_topics(access, topics, 9)
    client = Reading({**access.options(), "group.id": "looks"})
    found = client.list_topics(timeout=20).topics
    assert [len(found[name].partitions) for name in topics] == [4] * 4
    assert topics.dead_letters.endswith(".dead-letters")


def test_an_instruments_candles_keep_their_order(access, topics):
    """One instrument, one partition; each message once, more of them than the queue holds."""
    table = candles(11_000)
    send(access, topics.candles, encode_candles(table, "1m"))
    found = everything(access, topics.candles, len(table))
    assert len(found) == len(table)
    places = {(each.key, each.partition) for each in found}
    assert len(places) == 5
    read, unread = decode_candles([each.value for each in found], "1m")
    assert unread == []
    for symbol, rows in read.groupby("symbol"):
        expected = table[table["symbol"] == symbol][COLUMNS].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[COLUMNS].reset_index(drop=True), expected)


def test_only_what_is_done_is_committed(access, topics):
    """Reading commits nothing; ``done`` commits what its arrivals ended before, no more."""
    first, second = candles(20), candles(20, first=20)
    reading = feed(access, topics)
    send(access, topics.candles, encode_candles(first, "1m"))
    coming = reading.arrivals(threading.Event())
    earlier = arrive(coming, len(first))
    send(access, topics.candles, encode_candles(second, "1m"))
    later = arrive(coming, len(second))
    assert sum(committed(access, topics)) == 0
    reading.done(earlier[-1].number)
    assert sum(committed(access, topics)) == len(first)
    reading.done(later[-1].number)
    assert sum(committed(access, topics)) == len(first) + len(second)
    reading.close()


def test_what_was_not_stored_comes_again(access, topics):
    """After one that left without ``done`` the next reads all; what is stored comes no more."""
    table = candles(30)
    send(access, topics.candles, encode_candles(table, "1m"))
    one = feed(access, topics)
    assert sum(keys(arrive(one, len(table))).values()) == len(table)
    one.close()
    two = feed(access, topics)
    again = arrive(two, len(table))
    assert set(keys(again)) == set(zip(table["symbol"], table["ts"], strict=True))
    two.done(again[-1].number)
    two.close()
    more = candles(1, first=30)
    send(access, topics.candles, encode_candles(more, "1m"))
    three = feed(access, topics)
    assert keys(arrive(three, 1)).keys() <= set(zip(more["symbol"], more["ts"], strict=True))
    three.close()


KILLED = """
import json, os, signal, sys, threading
from components.broker import Access, Topics
from components.feeds.kafka import KafkaFeed
servers, prefix, n_most = sys.argv[1], sys.argv[2], int(sys.argv[3])
topics = Topics.under(prefix)
group, session_s = topics.candles + ".group", float(sys.argv[4])
feed = KafkaFeed(Access(servers), topics, group, "1m", session_s=session_s)
import components.feeds.kafka as module
module.AT_ONCE = 7
for arrived in feed.arrivals(threading.Event()):
    rows = arrived.candles
    print(json.dumps([[s, t.isoformat()] for s, t in zip(rows["symbol"], rows["ts"])]), flush=True)
    if arrived.number == n_most:
        os.kill(os.getpid(), signal.SIGKILL)
    feed.done(arrived.number)
"""


def test_a_killed_reader_loses_nothing(access, apache, topics):
    """Killed between storing and committing, three times: each candle is stored, few twice."""
    table = candles(60)
    send(access, topics.candles, encode_candles(table, "1m"))
    stored = Counter()
    for n_most in (6, 9, 4):
        prefix = topics.candles.removesuffix(".candles")
        command = [
            sys.executable,
            "-c",
            KILLED,
            apache.servers,
            prefix,
            str(n_most),
            str(SESSION_S),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        for line in done.stdout.splitlines():
            stored.update((s, pd.Timestamp(t)) for s, t in json.loads(line))
    reading = feed(access, topics)
    left = len(table) - sum(committed(access, topics))
    assert 0 < left < len(table)
    stored += keys(arrive(reading, left))
    reading.close()
    assert set(stored) == set(zip(table["symbol"], table["ts"], strict=True))
    assert sum(stored.values()) - len(table) <= 3 * 7


def test_a_killed_broker_loses_nothing(access, apache, topics):
    """Killed in the middle of what is sent and started again: each message is there, once."""
    table = candles(4000)
    coded = encode_candles(table, "1m")
    with Producer(access) as producer:
        producer.send(topics.candles, coded[:8000])
        apache.kill()
        sending = threading.Thread(target=producer.send, args=(topics.candles, coded[8000:]))
        sending.start()
        apache.start()
        sending.join()
    found = everything(access, topics.candles, len(table))
    read, _ = decode_candles([each.value for each in found], "1m")
    assert len(read) == len(table)
    assert not read.duplicated(["symbol", "ts"]).any()


def test_a_feed_outlives_its_broker(access, apache, topics):
    """It says that the broker is away, once, goes on when it is back, and commits then."""
    reading = feed(access, topics)
    send(access, topics.candles, encode_candles(candles(2), "1m"))
    before = arrive(reading, 10)
    apache.kill()
    said = []
    for arrived in islice(reading.arrivals(threading.Event()), 60):
        said += arrived.refused
        if said:
            break
    assert "no connection" in said[0].reason
    apache.start()
    send(access, topics.candles, encode_candles(candles(2, first=2), "1m"))
    after = arrive(reading, 10)
    assert sum(keys(after).values()) >= 10
    reading.done(before[-1].number + 10_000)
    for _ in range(50):
        if sum(committed(access, topics)) == 20:
            break
        reading.done(before[-1].number + 10_000)
    assert sum(committed(access, topics)) == 20
    reading.close()


def test_what_is_no_candle_is_set_aside_with_the_reason(access, topics):
    """Before anything is committed; the candles beside it are read, and nothing stops."""
    good = encode_candles(candles(3), "1m")
    bad = [(b"BTCUSDT", b"{"), (b"X", b""), (b"", good[0][1].replace(b"1m", b"5m"))]
    send(access, topics.candles, [*good[:7], *bad, *good[7:]])
    reading = feed(access, topics)
    came = arrive(reading, 15)
    refused = [each for arrived in came for each in arrived.refused]
    assert len(refused) == 3
    assert len([text for arrived in came for text in arrived.messages]) == 15
    reading.done(came[-1].number)
    assert sum(committed(access, topics)) == 18
    letters = [DeadLetter.decode(r.value) for r in everything(access, topics.dead_letters, 3)]
    assert Counter(each.message for each in letters) == Counter(body for _, body in bad)
    assert {each.topic for each in letters} == {topics.candles}
    assert {each.reason for each in letters} == {each.reason for each in refused}
    reading.close()


def test_other_instruments_are_passed_over(access, topics):
    """They are no trouble, and are committed with the rest."""
    send(access, topics.candles, encode_candles(candles(4), "1m"))
    reading = feed(access, topics, symbols=("BTCUSDT",))
    came = arrive(reading, 4)
    assert {s for s, _ in keys(came)} == {"BTCUSDT"}
    assert [each for arrived in came for each in arrived.refused] == []
    reading.close()


def test_a_partition_that_went_to_another_is_not_committed(access, topics):
    """Its next owner reads on from what was stored, whatever the first one read."""
    table = candles(40)
    send(access, topics.candles, encode_candles(table, "1m"))
    one = feed(access, topics)
    read = arrive(one, len(table))
    two = Consumer(access, [topics.candles], f"{topics.candles}.group", session_s=SESSION_S)
    theirs = []
    for _ in range(60):
        one._consumer.read(100, 0.2)
        theirs += two.read(5000, 0.5)
        if theirs:
            break
    assert theirs
    one.done(read[-1].number)
    moved = {each.partition for each in theirs}
    offsets = committed(access, topics)
    assert [offsets[number] for number in moved] == [0] * len(moved)
    two.close()
    one.close()


def test_a_broker_that_is_not_there_is_one_line():
    """What, where, the remedy; in the time that was given."""
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError) as caught:
        make_topics(Access(place, patience_s=1.0), ["t"])
    said = str(caught.value)
    assert place in said
    assert "TREMOR_KAFKA_SERVERS" in said
    assert "\n" not in said
    producer = Producer(Access(place), patience_s=1.0)
    producer.send("t", [(b"k", b"v")])
    with pytest.raises(BrokerError, match="not delivered") as caught:
        producer.flush(3.0)
    assert caught.value.is_transient


def test_the_password_is_in_no_error_and_no_picture_of_the_access(capfd, caplog, server):
    """A broker that speaks no TLS is a line; who asks is not in it."""
    access = Access(server.servers, "someone", SECRET, patience_s=2.0)
    with pytest.raises(BrokerError) as caught:
        make_topics(access, ["t"])
    seen = repr(access) + str(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in seen
    assert "someone" not in seen


def test_a_feed_without_a_broker_says_which_setting_is_missing():
    """So does a user without a password."""
    with pytest.raises(SettingsError, match="TREMOR_KAFKA_SERVERS is not set"):
        open_feed("kafka", interval="1m")
    with pytest.raises(SettingsError, match="go together"):
        Access.of(kafka_servers="a:1", kafka_user="me")


def test_the_feed_opens_as_the_settings_say(server):
    """Topics are made under the prefix; a quiet topic gives an empty arrival each second."""
    settings = {"kafka_servers": server.servers, "kafka_prefix": f"made{os.getpid()}"}
    reading = open_feed("kafka", interval="1m", kafka_partitions=2, source="binance", **settings)
    (arrived,) = islice(reading.arrivals(threading.Event()), 1)
    assert (len(arrived.candles), arrived.number, arrived.refused) == (0, 0, ())
    assert arrived.candles.columns.tolist() == [*COLUMNS, "known_at"]
    reading.close()
