"""The stream on a real Spark and a real broker: the batch's verdicts, through cuts and crashes."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.broker import Access, Producer, Topics, make_topics
from components.messages import encode_candles
from components.spark_job.run import begun_work
from components.spark_job.session import open_session
from components.steps.judging import judge_all
from components.steps.telling import tell_at
from components.tables import CHANNELS, MARKET, SCORES, VERDICTS
from components.wiring import open_parts
from tests.kafka_server import broker_server, connector
from tests.streams_made import CRASH, FALL, MINUTE, NAMES, SETTINGS, known, latest, market, put
from tests.streams_made import same as is_same
from tests.worlds import SYMBOLS as DAILY

LATENESS = pd.Timedelta(seconds=120)
WATCHED = {**SETTINGS, "source": "binance", "files_root": None, "history_years": 5}
INCIDENTS = "select id, kind, symbol, ts, incident from incidents order by ts, symbol, id"
ROOT = Path(__file__).parents[1]


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


def wait_for(query, recorder, n, seconds=400, what="judged"):
    until = time.monotonic() + seconds
    while getattr(recorder.counts, what) < n and time.monotonic() < until:
        if query.exception():
            raise query.exception()
        time.sleep(0.2)
    assert getattr(recorder.counts, what) >= n


@pytest.fixture
def make_batch(make_world):
    """Make a world whose batch judges and tells, at once, the candles that a stream was given."""

    def make(world, candles):
        other = make_world()
        other.settings = world.settings
        as_of = candles["known_at"].max()
        with open_parts(other.read_settings(), as_of) as parts:
            put(parts, candles)
            judge_all(parts, as_of)
            tell_at(parts, as_of, is_whole=False)
        return other

    return make


def test_the_stream_on_spark_gives_the_verdicts_of_the_batch(spark, kafka, make_world, make_batch):
    """All that judges minutes, candles mixed and repeated, messages that are none.

    Every column but known_at is the batch's, to the last bit.
    """
    world = make_world()
    world.settings = WATCHED
    access, topics = Access(kafka.servers), Topics.under("one")
    make_topics(access, topics, 2)
    # Told is what is known of the last days: each candle says that it was known as it closed.
    every = known(market())
    random = np.random.default_rng(1)
    came = every["ts"] + pd.to_timedelta(random.integers(0, 60, len(every)), unit="s")
    mixed = every.loc[came.sort_values().index]
    of_fallen = (mixed["symbol"] == NAMES[1]) & (mixed["ts"] > FALL + 30 * MINUTE)
    late = mixed[of_fallen].iloc[:1]
    mixed = mixed.drop(late.index)
    none = [(b"x", b"{"), (b"x", b"\x00\xff"), (NAMES[0].encode(), b"x")]
    with at_work(world, spark, access, topics) as work:
        query = work.start()
        for topic in (topics.candles, f"{topics.candles}-driver"):
            with Producer(access) as producer:
                producer.send(topic, none)
        produce(access, topics.candles, mixed)
        produce(access, topics.candles, mixed.iloc[:40])
        produce(access, topics.candles, closing(every))
        wait_for(query, work.recorder, len(mixed))
    assert (work.recorder.counts.refused, work.recorder.counts.late) == (6, 0)
    judged = make_batch(world, mixed)
    rows = is_same(world, judged, VERDICTS)
    assert len(rows) == len(mixed)
    # The world is not empty: the fall of one, and the crash of all.
    assert rows["p"].notna().mean() > 0.7
    odd = rows[rows["verdict"] == "anomaly"]
    named = set(zip(odd["symbol"], odd["ts"], strict=True))
    assert (NAMES[1], FALL) in named
    assert {(name, CRASH) for name in NAMES[:5]} <= named
    for table in (MARKET, CHANNELS):
        assert len(is_same(world, judged, table)) > 1000
    scores = latest(world, SCORES)
    assert named == set(zip(scores["symbol"], scores["ts"], strict=True))
    assert len(world.query(INCIDENTS)) > 0


@contextlib.contextmanager
def at_work(world, spark, access, topics):
    """The job over a world's stores."""
    now = pd.Timestamp.now("UTC")
    with (
        open_parts(world.read_settings(), now, command="stream", reads_only=True) as parts,
        begun_work(spark, parts, access, topics, LATENESS, n_partitions=2) as work,
    ):
        yield work


def closing_of(last):
    """A candle so much later that nothing is waited for any more; it waits itself."""
    later = {name: last[name] + 3 * MINUTE for name in ("ts", "known_at") if name in last}
    return last.assign(**later)


def closing(candles):
    """The one that closes made candles."""
    at = (candles["symbol"] == NAMES[0]) & (candles["ts"] == candles["ts"].max())
    return closing_of(candles[at])


def test_a_driver_that_is_killed_goes_on_where_it_was(kafka, make_world, make_batch):
    """By `spark-submit` as the README has it: no bar unjudged, none twice."""
    world = make_world()
    world.settings = {**WATCHED, "detectors": "market,volatility_zscore"}
    access, topics = Access(kafka.servers), Topics.under("two")
    make_topics(access, topics, 2)
    candles = known(market())
    produce(access, topics.candles, candles.iloc[:6000])
    driver = submitted(world, kafka)
    judged_by(world, 5900, driver)
    produce(access, topics.candles, candles.iloc[6000:])
    produce(access, topics.candles, closing(candles))
    time.sleep(1.5)
    driver.kill()
    driver.wait()
    driver = submitted(world, kafka)
    judged_by(world, len(candles), driver)
    driver.terminate()
    driver.wait(60)
    rows = world.query("select symbol, ts, count(*) as n from verdicts group by 1, 2")
    assert set(rows["n"]) == {1}
    judged = make_batch(world, candles)
    rows = is_same(world, judged, VERDICTS)
    assert (rows["verdict"] == "anomaly").sum() > 10
    is_same(world, judged, MARKET)


def submitted(world, kafka):
    """The driver by `spark-submit`, with the world's settings in its environment."""
    said = {f"TREMOR_{name.upper()}": str(value) for name, value in world.settings.items() if value}
    said |= {
        "TREMOR_STATE_DIR": str(world.folder / "var"),
        "TREMOR_WAREHOUSE_URL": world.postgres_url,
        "TREMOR_KAFKA_SERVERS": kafka.servers,
        "TREMOR_KAFKA_PREFIX": "two",
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    command = [
        *(Path(sys.executable).parent / "spark-submit", "--master", "local[2]"),
        *("--driver-memory", "1g", "--jars", connector()),
        *("--conf", "spark.sql.shuffle.partitions=2", "--conf", "spark.ui.enabled=false"),
        *("--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.driver.host=127.0.0.1"),
        ROOT / "components/entrypoints/spark.py",
    ]
    log = (world.folder / "driver.log").open("ab")
    return subprocess.Popen(
        command, env={**os.environ, **said}, cwd=world.folder, stdout=log, stderr=log
    )


def judged_by(world, n, driver, seconds=400):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if driver.poll() is not None:
            raise AssertionError((world.folder / "driver.log").read_text()[-3000:])
        with contextlib.suppress(Exception):
            if world.query("select count(*) as n from verdicts")["n"].iloc[0] >= n:
                return
        time.sleep(0.5)
    raise AssertionError((world.folder / "driver.log").read_text()[-3000:])


def test_a_backfill_on_spark_stores_what_the_ordinary_one_stores(make_world):
    """Instruments spread over executors: the same bars, the same answers of the provider kept."""
    stored = []
    for engine in ("python", "spark"):
        world = make_world()
        world.put_market()
        world.settings = {"spark_master": "local[2]"}
        answer = commanded(world, "backfill", "--since", "2023-06-01", "--engine", engine)
        assert "candles new" in answer
        rows = world.query("select * from candles order by symbol, ts, known_at")
        raw = world.query("select symbol, sha256 from raw_objects order by symbol, sha256")
        stored.append((rows.drop(columns="known_at"), raw))
    pd.testing.assert_frame_equal(stored[0][0], stored[1][0])
    pd.testing.assert_frame_equal(stored[0][1], stored[1][1])
    assert stored[0][0]["symbol"].nunique() == len(DAILY)


def test_a_backtest_on_spark_says_what_the_ordinary_one_says(world):
    """Judged by executors: the same alerts, the same figures."""
    world.put_market(DDD_USD=0.3)
    world.settings = {"spark_master": "local[2]"}
    commanded(world, "backfill", "--since", "2022-01-01")
    span = ("--since", "2024-03-10", "--until", "2024-03-14", "--at", "12:00")
    said = [
        commanded(
            world, "backtest", *span, "--engine", engine, "--json", "--out", world.folder / engine
        )
        for engine in ("python", "spark")
    ]
    python, spark = (json.loads(each[each.index("{") : each.rindex("}") + 1]) for each in said)
    assert python == spark
    assert python


def commanded(world, *arguments):
    """What ``main.py`` answers, with the world's settings in its environment."""
    settings = world.read_settings()
    said = {
        "TREMOR_SOURCE": "files",
        "TREMOR_FILES_ROOT": str(world.files),
        "TREMOR_STATE_DIR": str(settings.state_dir),
        "TREMOR_WAREHOUSE_URL": world.postgres_url,
        "TREMOR_SPARK_MASTER": "local[2]",
    }
    done = subprocess.run(
        [sys.executable, ROOT / "main.py", *map(str, arguments)],
        env={**os.environ, **said},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
