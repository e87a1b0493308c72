"""The stream on Spark: what `spark-submit` runs."""

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pandas as pd

from components import logs
from components.broker import Access, Topics
from components.entrypoints.exits import exit_code
from components.entrypoints.stream_command import served_metrics, shown_of, stream_settings
from components.entrypoints.streaming import PRESENT, Stop, stopped_by_signals, until_stopped
from components.metrics import Metrics
from components.settings import Settings
from components.spark_job.run import Work, begun_work
from components.spark_job.session import submitted_session
from components.steps.parameters import Watched
from components.wiring import open_parts, watched_parameters

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger("tremor")

# How often the file of parameters is looked at, s.
LOOK_S = 1

# How often trouble with data is looked for.
TROUBLE = pd.Timedelta(hours=1)


def main() -> int:
    """Judge what comes over Kafka until it is stopped; the settings come from the environment."""
    settings = stream_settings()
    spark, metrics = submitted_session(), served_metrics(settings)
    with stopped_by_signals() as stop:
        until_stopped(lambda is_open: _worked(settings, spark, metrics, (stop, is_open)), stop)
    return 0


def _worked(
    settings: Settings,
    spark: "SparkSession",
    metrics: Metrics,
    events: tuple[Stop, threading.Event],
) -> None:
    stop, is_open = events
    stop.is_at_work = False
    access, topics = Access.of(**settings.fields()), Topics.under(settings.kafka_prefix)
    lateness = pd.Timedelta(seconds=settings.stream_lateness_s)
    given: dict[str, Any] = {"n_partitions": settings.kafka_partitions, "metrics": metrics}
    given["shown"] = shown_of(settings)
    with open_parts(settings, pd.Timestamp.now("UTC"), command="stream") as parts:
        is_open.set()
        watched = watched_parameters(settings, parts.calendars, parts.watch.symbols)
        with begun_work(spark, parts, access, topics, lateness, **given) as work:
            _until(work, watched, stop)


def _until(work: Work, watched: Watched, stop: Stop) -> None:
    """Wait; a micro-batch in hand that is broken off is done again by the next start."""
    stop.is_at_work = True
    query, looked_at = work.start(), pd.Timestamp.now("UTC")
    while not stop.is_set():
        if _has_ended(query, work):
            return
        newest, now = watched.newest(), pd.Timestamp.now("UTC")
        if newest is not None and newest != work.stream.ensemble.parameters:
            query = work.start(newest)
            work.hearers.metrics.only("parameters", newest.version)
            log.info("parameters %s judge from now on", newest.version)
        if now - looked_at >= TROUBLE:
            looked_at = now
            # Of old bars that are played again none is late.
            if now - work.stream.known < PRESENT:
                work.hearers.teller.ask(now.floor("s"), is_whole=True)


def _has_ended(query: "StreamingQuery", work: Work) -> bool:
    from pyspark.errors import StreamingQueryException

    try:
        return bool(query.awaitTermination(LOOK_S))
    except StreamingQueryException:
        # What the driver failed of is known in our own words.
        if work.recorder.trouble is None:
            raise
        raise work.recorder.trouble from None


if __name__ == "__main__":
    logs.start(sys.stderr)
    sys.exit(exit_code(main, "See the README's part on Spark."))
