"""The stream on a real Spark and a real broker: the batch's verdicts, through cuts and crashes."""

import time

import numpy as np
import pandas as pd
import pytest

from components.broker import Access, Producer, Topics, make_topics
from components.messages import encode_candles
from components.spark_job.run import launched
from components.spark_job.session import open_session
from components.wiring import open_parts
from tests.kafka_server import broker_server, connector
from tests.spark_candles import SYMBOLS, minutes

LATENESS = pd.Timedelta(seconds=120)
NAMES = {
    "source": "binance",
    "files_root": None,
    "interval": "1m",
    "symbols": ",".join(SYMBOLS),
    "detectors": "market,volatility_zscore",
}
VERDICTS = "select * from verdicts order by symbol, ts, known_at"
WHEN = ["known_at"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """Spark on two cores and little memory."""
    session = open_session(
        **{
            "spark.master": "local[2]",
            "spark.jars": connector(),
            "spark.driver.memory": "1g",
            "spark.local.dir": str(tmp_path_factory.mktemp("spark")),
        }
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def kafka():
    """A broker of its own."""
    with broker_server() as server:
        yield server


def produce(access, topic, candles):
    with Producer(access) as producer:
        producer.send(topic, encode_candles(candles, "1m"))


def wait_for(query, recorder, n, seconds=120):
    until = time.monotonic() + seconds
    while recorder.counts.judged < n and time.monotonic() < until:
        if query.exception():
            raise query.exception()
        time.sleep(0.2)
    query.processAllAvailable()


def test_the_stream_on_spark_gives_the_verdicts_of_the_batch(spark, kafka, make_world):
    """Candles mixed, repeated and late, messages that are none: the same verdicts, each once."""
    world = make_world()
    world.settings = NAMES
    access, topics = Access(kafka.servers), Topics.under("one")
    make_topics(access, topics, 2)
    candles = minutes(150, seed=3)
    order = candles["ts"] + pd.to_timedelta(
        np.random.default_rng(1).integers(0, 60, len(candles)), unit="s"
    )
    mixed = candles.loc[order.sort_values().index]
    held_back = (mixed["symbol"] == SYMBOLS[1]) & (mixed["ts"] == candles["ts"].iloc[100])
    with open_parts(
        world.read_settings(), pd.Timestamp.now("UTC"), command="stream", reads_only=True
    ) as parts:
        query, recorder = launched(spark, parts, access, topics, LATENESS, n_partitions=2)
        produce(access, topics.candles, mixed[~held_back])
        with Producer(access) as producer:
            producer.send(topics.candles, [(b"x", b"{"), (b"x", b"\x00\xff")])
        produce(access, topics.candles, mixed.iloc[:40])
        n = len(candles) - 1
        wait_for(query, recorder, n)
        produce(access, topics.candles, mixed[held_back])
        query.processAllAvailable()
        query.processAllAvailable()
        counts = recorder.counts
        query.stop()
        verdicts = parts.warehouse.query(VERDICTS)
        print(counts, len(verdicts))
        assert counts.refused == 2
        assert counts.late == 1
        assert counts.rebuilt == [SYMBOLS[1]]
    assert not len(verdicts[verdicts.duplicated(["symbol", "ts"])])
    assert len(verdicts) == len(candles)
