"""Spark as the job needs it: state in RocksDB, instants in UTC, Arrow between Java and Python."""

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
    """The session of `spark-submit`, or one on this machine; ``others`` are Spark's own names."""
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName("tremor")
    given = builder._options  # noqa: SLF001 - what nobody has set is not to be read otherwise
    said = {**ALONE, "spark.pyspark.python": sys.executable, **given, **others, **NEEDED}
    for name, value in said.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
