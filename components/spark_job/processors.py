"""Spark's side of the two stages: their state lies in Spark's state store."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from components.spark_job.arrivals import Reading
from components.spark_job.columns import ARRIVED, JUDGED, ORDERED
from components.spark_job.judge_stage import JudgeStage
from components.spark_job.market_stage import MarketStage

TIMES = ("ts", "known_at")
OBJECTS = ("string", "binary", "boolean")


class Reader:
    """Reads the messages of a partition, in their order."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __call__(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Rows in the columns ARRIVED."""
        for messages in batches:
            if len(messages):
                yield naive(self._reading.read(utc(messages, ("timestamp",))), ARRIVED)


class MarketProcessor(StatefulProcessor):
    """Keyed by calendar; wakes by timer when the watermark has passed a bar that waits."""

    def __init__(self, stage: MarketStage) -> None:
        self._stage = stage

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state."""
        self._handle = handle
        self._held = handle.getValueState("market", "body binary")

    def handleInitialState(self, key: Any, initialState: Any, timerValues: Any) -> None:  # noqa: ARG002, N802, N803 - Spark's names
        """Put the state in that a first start begins with."""
        self._held.update((bytes(initialState["body"].iloc[0]),))

    def handleInputRows(  # noqa: N802 - Spark's name
        self,
        key: Any,
        rows: Iterator[Any],
        timerValues: Any,  # noqa: N803
    ) -> Iterator[pd.DataFrame]:
        """Candles of the calendar, each micro-batch's all together."""
        came = utc(pd.concat(list(rows), ignore_index=True))
        yield from self._taken(key[0], came, timerValues)

    def handleExpiredTimer(  # noqa: N802 - Spark's name
        self,
        key: Any,
        timerValues: Any,  # noqa: N803
        expiredTimerInfo: Any,  # noqa: ARG002, N803
    ) -> Iterator[pd.DataFrame]:
        """The watermark has passed a bar that waited."""
        yield from self._taken(key[0], pd.DataFrame(), timerValues)

    def close(self) -> None:
        """Nothing is open."""

    def _taken(self, name: str, rows: pd.DataFrame, timers: Any) -> Iterator[pd.DataFrame]:
        found = self._held.get() if self._held.exists() else None
        watermark = timers.getCurrentWatermarkInMs() * 1000
        held, bars, waits = self._stage.take(
            name, bytes(found[0]) if found else None, rows, watermark
        )
        self._held.update((held,))
        if waits is not None:
            self._handle.registerTimer(-(-waits // 1000))
        if len(bars):
            yield naive(bars, ORDERED)


class JudgeProcessor(StatefulProcessor):
    """Keyed by shard; one state row an instrument."""

    def __init__(self, stage: JudgeStage) -> None:
        self._stage = stage

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state."""
        self._held = handle.getMapState("carried", "symbol string", "body binary")

    def handleInitialState(self, key: Any, initialState: Any, timerValues: Any) -> None:  # noqa: ARG002, N802, N803 - Spark's names
        """Put the states in that a first start begins with."""
        for symbol, body in initialState[["symbol", "body"]].itertuples(index=False):
            self._held.updateValue((symbol,), (bytes(body),))

    def handleInputRows(  # noqa: N802 - Spark's name
        self,
        key: Any,  # noqa: ARG002
        rows: Iterator[Any],
        timerValues: Any,  # noqa: ARG002, N803
    ) -> Iterator[pd.DataFrame]:
        """Bars in order, each micro-batch's all together."""
        came = utc(pd.concat(list(rows), ignore_index=True))
        held = {s: self._value(s) for s in came["symbol"].unique()}
        after, found = self._stage.take(held, came)
        for symbol, body in after.items():
            self._held.updateValue((symbol,), (body,))
        if len(found):
            yield naive(found, JUDGED)

    def close(self) -> None:
        """Nothing is open."""

    def _value(self, symbol: str) -> bytes | None:
        if self._stage.is_idle:
            return None
        found = self._held.getValue((symbol,)) if self._held.exists() else None
        return bytes(found[0]) if found else None


def utc(rows: pd.DataFrame, times: Sequence[str] = TIMES) -> pd.DataFrame:
    """Spark's times are the session's, which is UTC, and say so nowhere."""
    said = {n: pd.DatetimeIndex(rows[n]).as_unit("us").tz_localize("UTC") for n in times}
    return rows.assign(**said)


def naive(rows: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The same back; what is no number as Python's own objects, for Spark takes no others."""
    times = {n: pd.DatetimeIndex(rows[n]).tz_localize(None) for n in TIMES}
    objects = [name for name, kind in columns.items() if kind in OBJECTS]
    rows = rows.assign(**times).astype(dict.fromkeys(objects, object))
    rows[objects] = rows[objects].where(rows[objects].notna(), None)
    return rows
