"""The job: the stores opened, the query started, until it is stopped."""

import hashlib
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from components.broker import Access, Producer, Topics, make_topics
from components.spark_job.driver import Recorder
from components.spark_job.judge_stage import JudgeStage
from components.spark_job.market_stage import MarketStage
from components.spark_job.query import Job, start
from components.spark_job.start_state import Begun, begun_of
from components.steps.parts import Parts
from components.steps.stream_start import begin, newest_known

# Instruments of a shard: as many are judged as one panel.
OF_SHARD = 50

EPOCH = pd.Timestamp(0, tz="UTC")
LEAST_SHARDS = 4

# Messages that a micro-batch takes at most: memory is bounded by them.
AT_ONCE = 50_000


def launched(
    spark: SparkSession,
    parts: Parts,
    access: Access,
    topics: Topics,
    lateness: pd.Timedelta,
    *,
    n_partitions: int = 4,
    is_idle: bool = False,
    at_once: int = AT_ONCE,
    every: str = "0 seconds",
) -> tuple[StreamingQuery, Recorder]:
    """Begin behind all that is stored, or behind the checkpoint where there is one."""
    driver_topic = f"{topics.candles}-driver"
    make_topics(access, [*topics, driver_topic], n_partitions)
    stream = begin(parts, newest_known(parts) or EPOCH, lateness)
    recorder = Recorder(stream, Producer(access), topics, driver_topic)
    # The state lies by shard: the number hangs on nothing that changes between two starts.
    n_shards = max(LEAST_SHARDS, -(-len(stream.judge.symbols) // OF_SHARD))
    checkpoint = _checkpoint(parts)
    begun = Begun() if _is_there(spark, f"{checkpoint}/commits") else begun_of(stream, n_shards)
    job = Job(
        servers=access.servers,
        topics=(topics.candles, driver_topic),
        checkpoint=checkpoint,
        lateness=lateness,
        market=MarketStage(stream.judge, n_shards),
        judge=JudgeStage(stream.judge, is_idle=is_idle),
        every=every,
        at_once=at_once,
        options=_signed_in(access),
    )
    return start(spark, job, begun, recorder), recorder


def _checkpoint(parts: Parts) -> str:
    """Where it lies in the lake: other settings or instruments have another one."""
    symbols = hashlib.sha256(",".join(sorted(parts.watch.symbols)).encode()).hexdigest()[:12]
    name = f"{parts.watch.interval}-{parts.ensemble.fingerprint}-{symbols}"
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
