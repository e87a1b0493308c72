"""The stream on Spark: what `spark-submit` runs."""

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from components import logs
from components.broker import Access, Topics
from components.entrypoints.exits import exit_code
from components.entrypoints.stream_command import stream_settings
from components.entrypoints.streaming import stopped_by_signals
from components.spark_job.run import Work, begun_work
from components.spark_job.session import submitted_session
from components.steps.parameters import Watched
from components.wiring import open_parts, watched_parameters

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger("tremor")


# How often the file of parameters is looked at, s.
LOOK_S = 1


def main() -> int:
    """Judge what comes over Kafka until it is stopped; the settings come from the environment."""
    settings = stream_settings()
    access, topics = Access.of(**settings.fields()), Topics.under(settings.kafka_prefix)
    lateness = pd.Timedelta(seconds=settings.stream_lateness_s)
    spark = submitted_session()
    with (
        stopped_by_signals() as stop,
        open_parts(settings, pd.Timestamp.now("UTC"), command="stream") as parts,
    ):
        watched = watched_parameters(settings, parts.calendars, parts.watch.symbols)
        partitions = settings.kafka_partitions
        work = begun_work(spark, parts, access, topics, lateness, n_partitions=partitions)
        while not stop.is_set():
            query = work.start()
            _until(query, lambda: stop.is_set() or _is_renewed(work, watched))
    return 0


def _until(query: "StreamingQuery", is_enough: Callable[[], bool]) -> None:
    """Wait; a micro-batch in hand that is broken off is done again by the next start."""
    while not query.awaitTermination(LOOK_S):
        if is_enough():
            query.stop()


def _is_renewed(work: Work, watched: Watched) -> bool:
    """Whether newer parameters judge from the next micro-batch on."""
    newest = watched.newest()
    if newest is None or newest == work.stream.ensemble.parameters:
        return False
    work.stream.ensemble = replace(work.stream.ensemble, parameters=newest)
    log.info("parameters %s judge from now on", newest.version)
    return True


if __name__ == "__main__":
    logs.start(sys.stderr)
    sys.exit(exit_code(main, "See the README's part on Spark."))
