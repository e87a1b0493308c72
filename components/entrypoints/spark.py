"""The stream on Spark: what `spark-submit` runs."""

import signal
import sys
import threading

import pandas as pd

from components import logs
from components.broker import Access, Topics
from components.entrypoints.exits import exit_code
from components.settings import read_settings
from components.spark_job.run import launched
from components.spark_job.session import submitted_session
from components.wiring import open_parts


def main() -> int:
    """Judge what comes over Kafka until it is stopped; the settings come from the environment."""
    settings = read_settings()
    access, topics = Access.of(**settings.fields()), Topics.under(settings.kafka_prefix)
    lateness = pd.Timedelta(seconds=settings.stream_lateness_s)
    spark = submitted_session()
    with open_parts(settings, pd.Timestamp.now("UTC"), command="stream") as parts:
        query, _ = launched(
            spark, parts, access, topics, lateness, n_partitions=settings.kafka_partitions
        )
        leaving = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: leaving.set())
        # A micro-batch in hand that is broken off is done again by the next start.
        while not query.awaitTermination(1):
            if leaving.is_set():
                query.stop()
    return 0


if __name__ == "__main__":
    logs.start(sys.stderr)
    sys.exit(exit_code(main, "See the README's part on Spark."))
