"""The stream over a real broker, in real processes that are killed: nothing lost, nothing twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from confluent_kafka import Consumer as Reading

from components.broker import Access, Producer, Topics, make_topics
from components.messages import decode_alerts, encode_candles
from components.tables import MARKET, VERDICTS
from tests.kafka_server import broker_server
from tests.streams_made import FIRST, MINUTE, N_BARS, NAMES, SETTINGS, batch, disordered, market
from tests.terminal import ROOT
from tests.worlds import World

PREFIX = "proof"

# Bars of the last minutes wait for others that will never come: nobody says that it is over.
UNTIL = FIRST + (N_BARS - 5) * MINUTE

PATIENCE_S = 240


@pytest.fixture(scope="module")
def server():
    with broker_server() as started:
        yield started


def environment(world, server):
    """What a process of the stream is given; nothing else of Tremor's comes from outside."""
    settings = {**SETTINGS, "source": "files", "files_root": world.files, "model": "none"}
    settings |= {"state_dir": world.folder / "var", "warehouse_url": world.postgres_url}
    settings |= {"kafka_servers": server.servers, "kafka_prefix": PREFIX, "attempts": 2}
    own = {f"TREMOR_{name.upper()}": str(value) for name, value in settings.items()}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")}
    return {**kept, **own}


class Process:
    """`main.py stream` with some arguments, started again whenever it is killed."""

    def __init__(self, world, server, *arguments):
        self.command = [sys.executable, "main.py", "stream", *arguments]
        self.environment, self.folder = environment(world, server), world.folder
        self.world = world
        self.start()

    def start(self):
        """Start it, again or for the first time."""
        self.started_at = pd.Timestamp.now("UTC").to_pydatetime()
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdout=said, stderr=said
            )

    def kill(self):
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ask it to end, once it has opened its warehouse and so hears; give its exit code."""
        waited(self._has_opened, "it has not begun", self.folder / "said")
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def _has_opened(self):
        """Whether a connection other than this test's was made to its warehouse since it began."""
        others = self.world.query(
            "select 1 as n from pg_stat_activity where datname = current_database() "
            "and backend_start > %(since)s and pid <> pg_backend_pid()",
            since=self.started_at,
        )
        return len(others) > 0


def put_files(world, candles):
    """The candles as files that a replay plays."""
    world.files.mkdir(parents=True)
    for symbol, rows in candles.groupby("symbol"):
        columns = ["open", "high", "low", "close", "volume"]
        stamps = rows["ts"].dt.strftime("%Y-%m-%d %H:%M:%S")
        rows.assign(datetime=stamps)[["datetime", *columns]].to_csv(
            world.files / f"{symbol}.csv", index=False
        )


def waited(condition, what, said):
    """Wait until something is so."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"{what}: {said.read_text()[-3000:]}"
        time.sleep(0.5)


def compared(world, table, until):
    """The latest versions of a table's rows up to a bar, without when they became known."""
    key = ", ".join(f'"{name}"' for name in table.bar_key)
    rows = world.query(
        f"select distinct on ({key}) * from {table.name} where ts < %(until)s "
        f"order by {key}, known_at desc",
        until=until.to_pydatetime(),
    )
    return rows.drop(columns="known_at")


def n_judged(world, until):
    found = world.query(
        "select count(*) as n from (select distinct symbol, ts from verdicts "
        "where ts < %(until)s) judged",
        until=until.to_pydatetime(),
    )
    return int(found["n"].iloc[0])


def read(server, topic, n_wanted):
    """The messages of a topic, from its beginning."""
    reading = Reading(
        {"bootstrap.servers": server.servers, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    reading.subscribe([topic])
    found, until = [], time.monotonic() + 60
    while len(found) < n_wanted and time.monotonic() < until:
        message = reading.poll(1)
        if message is not None and message.error() is None:
            found.append(message.value())
    reading.close()
    return found


def test_killed_feeders_judges_and_brokers_lose_and_repeat_nothing(
    server, make_postgres_url, tmp_path
):
    """Each verdict, market bar and incident is the batch's; garbage is set aside with reasons."""
    candles = market().drop(columns="trades").assign(trades=float("nan"))
    world = World(tmp_path / "stream", make_postgres_url(), dict(SETTINGS))
    other = World(tmp_path / "batch", make_postgres_url(), dict(SETTINGS))
    put_files(world, candles)
    garbage = [b"no json", b"{}", b'{"schema": "candle/9"}', bytes(range(256)), b"x" * 10_000]
    access, topics = Access(server.servers), Topics.under(PREFIX)
    make_topics(access, topics, 4)
    with Producer(access) as producer:
        producer.send(topics.candles, [(b"", each) for each in garbage])

    span = ("--since", f"{FIRST:%Y-%m-%d}", "--until", f"{FIRST + N_BARS * MINUTE:%Y-%m-%d %H:%M}")
    judge = Process(world, server, "--part", "judge")
    feeder = Process(world, server, "--part", "feed", "--keep", *span)
    said, chance = world.folder / "said", random.Random(5)
    wanted = int((candles["ts"] < UNTIL).sum())
    deaths = threading.Thread(target=_deaths, args=(chance, server, judge, feeder, world))
    deaths.start()
    deaths.join()
    waited(lambda: feeder.process.poll() == 0, "the feeder has not ended", said)
    waited(lambda: n_judged(world, UNTIL) >= wanted, "bars are not judged", said)
    assert judge.stop() == 0, said.read_text()[-3000:]

    batch(other, candles, model="none", files_root=world.files)
    for table in (VERDICTS, MARKET):
        here, there = (compared(each, table, UNTIL) for each in (world, other))
        assert here.equals(there), (here != there).any()
    twice = world.query(
        "select symbol, ts, judge from verdicts group by 1, 2, 3 having count(*) > 1"
    )
    assert twice.empty
    noted = world.query("select id, alert_id, kind from incidents where alert_id <> ''")
    assert len(noted) > 3
    assert not world.query("select 1 as n from deliveries where delivered_at is null").size
    alerts, unread = decode_alerts(read(server, topics.alerts, noted["alert_id"].nunique()))
    assert not unread
    assert set(alerts["id"]) == set(noted["alert_id"])
    letters = [json.loads(each) for each in read(server, topics.dead_letters, len(garbage))]
    assert len({(each["partition"], each["offset"]) for each in letters}) == len(garbage)
    assert all(letter["reason"] for letter in letters)


def _deaths(chance, server, judge, feeder, world):
    """The feeder, the judge and the broker die, at random moments, and begin again."""
    for victim in (judge, feeder, server, judge):
        time.sleep(chance.uniform(4, 9))
        victim.kill()
        victim.start()


def test_candles_out_of_order_and_repeated_over_a_broker_are_judged_as_the_batch_does(
    server, make_postgres_url, tmp_path
):
    """As a venue's several servers send them, some twice; one process reads all partitions."""
    candles = market(700, seed=4)
    world = World(tmp_path / "stream", make_postgres_url(), dict(SETTINGS))
    other = World(tmp_path / "batch", make_postgres_url(), dict(SETTINGS))
    put_files(world, candles)
    access, topics = Access(server.servers), Topics.under("mixed")
    make_topics(access, topics, 3)
    rows = disordered(candles).assign(known_at=lambda rows: rows["ts"] + MINUTE)
    with Producer(access) as producer:
        producer.send(topics.candles, encode_candles(rows.drop(columns="came"), "1m"))
    judge = Process(world, server, "--part", "judge")
    judge.kill()
    judge.environment |= {"TREMOR_KAFKA_PREFIX": "mixed"}
    judge.start()
    until = FIRST + 690 * MINUTE
    wanted = int((candles["ts"] < until).sum())
    waited(lambda: n_judged(world, until) >= wanted, "bars are not judged", world.folder / "said")
    assert judge.stop() == 0
    batch(other, candles, model="none", files_root=world.files)
    assert set(candles["symbol"]) == set(NAMES)
    for table in (VERDICTS, MARKET):
        here, there = (compared(each, table, until) for each in (world, other))
        assert here.equals(there), (here != there).any()
