"""The stream's log: candles and verdicts as Parquet in the lake, and as CSV where wanted."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from components.steps.judging import Rows
from components.steps.parts import Parts

# So many rows are written together, and after so long all that wait.
MANY, LONG_S = 200_000, 60.0

# What a verdict says beside its candle.
VERDICT = ["judge", "parameters", "verdict", "level", "votes", "p", "rate", "return", "state"]
BAR = ["symbol", "interval", "ts"]


class StreamLog:
    """Collects what was stored, and writes it in pieces; nothing of it decides anything.

    Parameters
    ----------
    csv : Path, optional
        A folder that takes a CSV file a day beside.
    """

    def __init__(self, parts: Parts, csv: Path | None = None) -> None:
        self._parts, self._csv = parts, csv
        self._candles: list[pd.DataFrame] = []
        self._verdicts: list[pd.DataFrame] = []
        self._since = parts.clock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._under_way: Future[None] | None = None
        self._unkept: list[pd.DataFrame] = []

    def add(self, candles: pd.DataFrame, rows: Rows) -> None:
        """Take what was stored of some bars."""
        self._candles.append(candles)
        self._verdicts.append(rows.verdicts)
        self._unkept.append(candles)
        waited_s = (self._parts.clock() - self._since).total_seconds()
        if sum(map(len, self._unkept)) >= MANY:
            self.keep()
        elif waited_s >= LONG_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits, beside what comes next; what was written before is waited for.

        Raises
        ------
        LakeError
            It could not be written, or what was before it.
        """
        self.settle()
        self._since = self._parts.clock()
        if self._candles:
            tables = self._candles, self._verdicts
            self._candles, self._verdicts = [], []
            self._under_way = self._writer.submit(self._write, *tables)

    def settle(self) -> None:
        """Wait until all that was flushed is written."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def keep(self) -> None:
        """Write what waits, and put its candles into the processed layer, an instrument a file.

        So many files are not written each minute: after a crash the next start writes them.
        """
        self.flush()
        self.settle()
        unkept, self._unkept = self._unkept, []
        if unkept:
            self._parts.lake.put_candles(pd.concat(unkept, ignore_index=True))

    def close(self) -> None:
        """Write what waits, and wait for it."""
        self.keep()
        self._writer.shutdown()

    def _write(self, tables: list[pd.DataFrame], verdicts: list[pd.DataFrame]) -> None:
        candles = pd.concat(tables, ignore_index=True)
        judged = pd.concat(verdicts, ignore_index=True)
        said = [name for name in VERDICT if name in judged]
        rows = candles.merge(judged[[*BAR, *said]], how="left", on=BAR)
        self._parts.lake.put_stream_log(rows)
        if self._csv is not None:
            _append(self._csv, rows)


def _append(folder: Path, rows: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for day, own in rows.groupby(rows["ts"].dt.strftime("%Y-%m-%d")):
        path = folder / f"stream-{day}.csv"
        own.to_csv(path, mode="a", header=not path.exists(), index=False)
