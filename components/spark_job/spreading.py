"""Groups of instruments spread over a cluster: whatever is done for each, results in order."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pandas as pd
from pyspark.sql import SparkSession

from components.judgement import Done, Judgement

T = TypeVar("T")

RESULT = "number int, body binary"

# Groups for each core: one that is slow does not hold up the others.
A_CORE = 2


class Spread:
    """Does judgements on the executors of a session; what it is given and gives is plain data."""

    def __init__(self, spark: SparkSession) -> None:
        self.session = spark
        self.at_once = A_CORE * spark.sparkContext.defaultParallelism

    def __call__(self, judgements: Sequence[Judgement]) -> list[Done]:
        """Do them all; the results are in their order."""
        return spread(self.session, judgements, Judgement.done)


def spread(spark: SparkSession, given: Sequence[Any], do: Callable[[Any], T]) -> list[T]:
    """Do something for each of ``given`` on the executors; the results are in their order."""

    def one(rows: pd.DataFrame) -> pd.DataFrame:
        body = pickle.dumps(do(pickle.loads(bytes(rows["body"].iloc[0]))))  # noqa: S301 - our own
        return pd.DataFrame({"number": rows["number"], "body": [body]})

    rows = [(number, pickle.dumps(each)) for number, each in enumerate(given)]
    table = spark.createDataFrame(rows, RESULT).repartition(max(len(rows), 1), "number")
    found = {
        row.number: row.body for row in table.groupBy("number").applyInPandas(one, RESULT).collect()
    }
    return [pickle.loads(bytes(found[number])) for number in range(len(rows))]  # noqa: S301
