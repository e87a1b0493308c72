"""Spark as the job needs it: state in RocksDB, instants in UTC, Arrow between Java and Python."""

import os
import sys
import warnings

from pyspark.sql import SparkSession

ROCKS = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"

NEEDED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.streaming.stateStore.providerClass": ROCKS,
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
}

# What else holds where `spark-submit` says nothing: the whole machine, nothing open to others.
ALONE = {
    "spark.master": "local[*]",
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
}


def open_session(**others: str) -> SparkSession:
    """A session on this machine; ``others`` are Spark's own names and win."""
    # The worker that Spark starts for itself on the driver asks for no setting of Spark's.
    os.environ.update(PYSPARK_PYTHON=sys.executable)
    is_here = others.get("spark.master", "local").startswith("local")
    return _opened({**(ALONE if is_here else {}), **others, **NEEDED})


def submitted_session() -> SparkSession:
    """The session that `spark-submit` was asked for."""
    return _opened(NEEDED)


def _opened(options: dict[str, str]) -> SparkSession:
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName("tremor")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
