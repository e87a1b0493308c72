"""The query: from the topics through both stages to the driver, all of it Spark's own work."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.query import StreamingQuery

from components.spark_job.arrivals import Reading
from components.spark_job.columns import ARRIVED, FOUND, JUDGED, MESSAGE, ORDERED, schema
from components.spark_job.judge_stage import JudgeStage
from components.spark_job.market_stage import MarketStage
from components.spark_job.processors import JudgeProcessor, MarketProcessor, Reader
from components.spark_job.sent_state import layout_of
from components.spark_job.start_state import Begun


@dataclass(frozen=True)
class Job:
    """What the query works on.

    ``topics`` are those of candles and of the driver; ``options`` are those of Spark's Kafka
    source, such as how it signs in; ``at_once`` is how many messages a micro-batch takes at most.
    """

    servers: str
    topics: tuple[str, str]
    checkpoint: str
    lateness: pd.Timedelta
    market: MarketStage
    judge: JudgeStage
    at_once: int = 50_000
    options: dict[str, str] = field(default_factory=dict, repr=False)


def start(
    spark: SparkSession, job: Job, begun: Begun, each: Callable[[DataFrame, int], None]
) -> StreamingQuery:
    """Start the query; ``each`` gets every micro-batch's rows, in the columns FOUND."""
    arrived = arrivals(spark, job)
    judged = judgement(spark, job, arrived, begun)
    found = _as_found(arrived, "arrived").unionByName(_as_found(judged, "judged"))
    return (
        found.writeStream.outputMode("append")
        .foreachBatch(each)
        .option("checkpointLocation", job.checkpoint)
        .start()
    )


def arrivals(spark: SparkSession, job: Job) -> DataFrame:
    """The messages of the topics as rows, in the columns ARRIVED."""
    reading = Reading(
        job.topics[1],
        job.market.judge.interval,
        {s: job.market.judge.calendars.of(s) for s in job.market.judge.symbols},
        layout_of(job.market.judge.ensemble.start(1)),
    )
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", job.servers)
        .option("subscribe", ",".join(job.topics))
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", job.at_once)
        .options(**job.options)
        .load()
    )
    return messages.select(*MESSAGE).mapInPandas(Reader(reading), schema(ARRIVED))


def judgement(spark: SparkSession, job: Job, arrived: DataFrame, begun: Begun) -> DataFrame:
    """The verdicts on what arrived, in the columns JUDGED."""
    candles = arrived.where(f.col("reason").isNull())
    candles = candles.withWatermark("ts", f"{job.lateness.total_seconds():.0f} seconds")
    ordered = candles.groupBy("watch_list").transformWithStateInPandas(
        MarketProcessor(job.market),
        outputStructType=schema(ORDERED),
        outputMode="append",
        timeMode="eventTime",
        initialState=spark.createDataFrame(begun.markets, "watch_list string, body binary").groupBy(
            "watch_list"
        ),
        eventTimeColumnName="ts",
    )
    return ordered.groupBy("shard").transformWithStateInPandas(
        JudgeProcessor(job.judge),
        outputStructType=schema(JUDGED),
        outputMode="append",
        timeMode="none",
        initialState=spark.createDataFrame(
            begun.instruments, "shard int, symbol string, body binary"
        ).groupBy("shard"),
    )


def _as_found(rows: DataFrame, kind: str) -> DataFrame:
    columns = [
        f.col(name) if name in rows.columns else f.lit(None).cast(type_).alias(name)
        for name, type_ in FOUND.items()
        if name != "kind"
    ]
    return rows.select(f.lit(kind).alias("kind"), *columns)
