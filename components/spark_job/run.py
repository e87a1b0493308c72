"""The job: the stores opened, the query started, until it is stopped."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from components.broker import Access, Producer, Topics, make_topics
from components.metrics import Metrics
from components.parameters import Parameters
from components.spark_job.driver import Recorder
from components.spark_job.hearers import Hearers, opened_hearers
from components.spark_job.judge_stage import JudgeStage
from components.spark_job.market_stage import MarketStage
from components.spark_job.query import Job, start
from components.spark_job.start_state import Begun, begun_of
from components.steps.live import Shown
from components.steps.parts import Parts
from components.steps.stream import Stream
from components.steps.stream_start import EPOCH, begin, newest_known

# Instruments of a shard: as many are judged as one panel.
OF_SHARD = 50

LEAST_SHARDS = 4


@dataclass
class Work:
    """The query over open stores, which may be started again with other parameters.

    ``is_idle`` passes candles on unjudged, to measure; ``at_once`` is how many messages a
    micro-batch takes at most.
    """

    spark: SparkSession
    stream: Stream
    access: Access
    topics: Topics
    sender: Producer
    hearers: Hearers
    n_partitions: int = 4
    is_idle: bool = False
    at_once: int = 50_000
    recorder: Recorder = field(init=False)
    _query: StreamingQuery | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the topics."""
        make_topics(self.access, [*self.topics, self._driver_topic], self.n_partitions)
        self.recorder = Recorder(
            self.stream, self.sender, (self.topics, self._driver_topic), self.hearers
        )

    def start(self, parameters: Parameters | None = None) -> StreamingQuery:
        """Go on behind the checkpoint, or else behind all that is stored.

        A query that is at work ends first; ``parameters`` judge from then on.
        """
        self.stop(parameters)
        each = self.recorder.turn()
        judge = self.stream.judge
        # The state lies by shard: the number hangs on nothing that changes between two starts.
        n_shards = max(LEAST_SHARDS, -(-len(judge.symbols) // OF_SHARD))
        checkpoint = _checkpoint(self.stream.parts)
        is_new = not _is_there(self.spark, f"{checkpoint}/commits")
        job = Job(
            servers=self.access.servers,
            topics=(self.topics.candles, self._driver_topic),
            checkpoint=checkpoint,
            lateness=self.stream.lateness,
            market=MarketStage(judge, n_shards),
            judge=JudgeStage(judge, is_idle=self.is_idle),
            at_once=self.at_once,
            options=_signed_in(self.access),
        )
        begun = begun_of(self.stream, n_shards) if is_new else Begun()
        self._query = start(self.spark, job, begun, each)
        return self._query

    def stop(self, parameters: Parameters | None = None) -> None:
        """End the query behind the micro-batch in hand; ``parameters`` judge from then on."""
        ensemble = self.stream.ensemble
        self.recorder.turn(
            ensemble if parameters is None else replace(ensemble, parameters=parameters)
        )
        if self._query is not None:
            self._query.stop()

    @property
    def _driver_topic(self) -> str:
        return f"{self.topics.candles}-driver"


@contextmanager
def begun_work(
    spark: SparkSession,
    parts: Parts,
    access: Access,
    topics: Topics,
    lateness: pd.Timedelta,
    *,
    metrics: Metrics | None = None,
    shown: Shown = lambda _rows: None,
    **others: Any,
) -> Iterator[Work]:
    """Judge what is stored and was not judged, as a batch does; the query goes on from there.

    At the end the query is stopped, and what waits is told.
    """
    stream = begin(parts, newest_known(parts) or EPOCH, lateness)
    with Producer(access) as sender, opened_hearers(parts, metrics or Metrics(), shown) as hearers:
        work = Work(spark, stream, access, topics, sender, hearers, **others)
        # What a job that was killed had judged and not told.
        hearers.teller.ask(stream.known)
        try:
            yield work
        finally:
            work.stop()


def _checkpoint(parts: Parts) -> str:
    """Where it lies in the lake: other settings or instruments have another one."""
    symbols = hashlib.sha256(",".join(sorted(parts.watch.symbols)).encode()).hexdigest()[:12]
    # Parameters may change while it runs: what is carried stays.
    judge = replace(parts.ensemble, parameters=None).fingerprint
    name = f"{parts.watch.interval}-{judge}-{symbols}"
    root = str(parts.lake.root)
    root = f"s3a://{root.removeprefix('s3://')}" if root.startswith("s3://") else root
    return f"{root}/stream/checkpoint-{name}"


def _is_there(spark: SparkSession, path: str) -> bool:
    java: Any = spark.sparkContext._jvm  # noqa: SLF001 - Spark's own file systems have no other door
    where = java.org.apache.hadoop.fs.Path(path)
    files = where.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # noqa: SLF001
    return bool(files.exists(where))


def _signed_in(access: Access) -> dict[str, str]:
    """How Spark's source signs in, as the other clients do."""
    if not access.user:
        return {}
    module = "scram.Scram" if access.mechanism.startswith("SCRAM") else "plain.Plain"
    said = {"username": access.user, "password": access.password}
    quoted = " ".join(f'{k}="{_escaped(v)}"' for k, v in said.items())
    login = f"org.apache.kafka.common.security.{module}LoginModule required {quoted};"
    return {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": access.mechanism,
        "kafka.sasl.jaas.config": login,
    }


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
