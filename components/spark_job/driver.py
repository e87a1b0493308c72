"""The driver's part of a micro-batch: what was judged and what came late, in one transaction.

A micro-batch that is repeated after a crash has the same rows, and a row that is stored already
is not new. What the driver sends is sent before the transaction ends: a crash may repeat it,
never lose it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from pyspark.sql import DataFrame

from components.broker import Producer, Topics
from components.ensemble import Ensemble
from components.errors import TremorError
from components.feeds.base import NUMBERS
from components.messages import DeadLetter, encode_candles, encode_verdicts
from components.spark_job.columns import DOUBTFUL, OUTRUN, WATERMARK
from components.spark_job.hearers import Hearers
from components.spark_job.processors import utc
from components.spark_job.rebuilding import rebuilt
from components.spark_job.stored_rows import tables_of
from components.steps.judging import Rows, record_rows
from components.steps.parts import Parts
from components.steps.screening import Screen
from components.steps.stream import Stream
from components.steps.stream_late import not_stored
from components.tables import CANDLES, MARKET, QUARANTINE

BAR = ["symbol", "ts"]
MILLISECOND = pd.Timedelta(milliseconds=1)


@dataclass
class Counts:
    """What went through since the start."""

    judged: int = 0
    new: int = 0
    late: int = 0
    refused: int = 0
    doubtful: int = 0
    rebuilt: list[str] = field(default_factory=list)


class Superseded(Exception):
    """A query that was stopped hands over another micro-batch: its successor will, again."""


class Recorder:
    """Stores micro-batches; ``stream`` is the state behind all that was stored at the start.

    ``topics`` are the stream's, and the driver's own; ``trouble`` is what a micro-batch failed of,
    which Spark tells in its own words.
    """

    def __init__(
        self, stream: Stream, sender: Producer, topics: tuple[Topics, str], hearers: Hearers
    ) -> None:
        self._stream, self._begun, self._hearers = stream, stream.known, hearers
        self._guard, self._turn = threading.Lock(), 0
        self.trouble: TremorError | None = None
        self._sender, (self._topics, self._driver_topic) = sender, topics
        self._screen = Screen(stream.parts, stream.judge.symbols)
        self._members = pd.Index(stream.judge.symbols)
        # Up to which bar each calendar is judged.
        self._judged_to = {n: stream.released(n) or pd.Timestamp(0, tz="UTC") for n in self._names}
        self._newest = max(self._judged_to.values())
        self.counts = Counts()

    @property
    def _parts(self) -> Parts:
        return self._stream.parts

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._stream.judge.members)

    def turn(self, ensemble: Ensemble | None = None) -> Callable[[DataFrame, int], None]:
        """Wait for the micro-batch in hand, and take those of one query alone from now on.

        ``ensemble`` judges from now on.
        """
        with self._guard:
            self._turn += 1
            own = self._turn
            if ensemble is not None:
                self._stream.ensemble = ensemble

        def each(batch: DataFrame, _number: int) -> None:
            rows = utc(batch.toPandas())
            with self._guard:
                if own != self._turn:
                    raise Superseded
                try:
                    self.take(rows)
                except TremorError as error:
                    self.trouble = error
                    raise

        return each

    def take(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Store the rows of one micro-batch, in the columns FOUND; give the verdicts."""
        if not len(rows):
            return rows
        rows = rows.assign(known_at=self._known(rows["known_at"]))
        is_arrived = (rows["kind"] == "arrived").to_numpy()
        came, said = rows[is_arrived], rows[~is_arrived]
        marks = said[said["verdict"] == WATERMARK]
        outrun = tuple(said.loc[said["verdict"] == OUTRUN, "symbol"])
        doubtful = said[said["verdict"] == DOUBTFUL]
        judged = said[~said["verdict"].isin([WATERMARK, OUTRUN, DOUBTFUL])]
        refused = came[came["reason"].notna()]
        candles = came[came["reason"].isna() & came["carried"].isna()]
        late, extended = self._apart(candles, judged, doubtful, marks)
        if len(candles):
            self._newest = max(self._newest, candles["ts"].max())
        self._stream.known = max(self._stream.known, rows["known_at"].max())
        with self._parts.warehouse.transaction():
            stored = self._store(judged, extended)
            self._move(judged)
            again = {*outrun, *self._store_late(late)}
            self._look_at(doubtful)
            if again:
                self._rebuild(tuple(sorted(again)))
            self._set_aside(refused)
            if stored is not None:
                self._sender.send(self._topics.verdicts, encode_verdicts(stored[1].verdicts))
            self._sender.flush()
        self._hearers.came(len(candles), len(refused), len(late))
        if stored is not None:
            self._hearers.stored(*stored)
        self._tell(judged, is_whole=bool(again))
        return judged if stored is None else stored[1].verdicts

    def _tell(self, judged: pd.DataFrame, *, is_whole: bool) -> None:
        """Tell what was unusual; a micro-batch that is repeated tells nothing twice."""
        odd = (judged["verdict"] == "anomaly") | (judged["market_verdict"] == "anomaly")
        when = judged.groupby("ts")["known_at"].max().cummax()
        news = when[when.index.isin(judged.loc[odd, "ts"])].drop_duplicates()
        for instant in news:
            self._hearers.teller.ask(instant)
        if is_whole:
            self._hearers.teller.ask(self._stream.known, is_whole=True)

    def _known(self, known_at: "pd.Series[pd.Timestamp]") -> "pd.Series[pd.Timestamp]":
        """What was kept at the start must be seen to have been known before what comes now."""
        least = self._begun + pd.Timedelta(microseconds=1)
        return known_at.where(known_at >= least, least)

    def _apart(
        self, came: pd.DataFrame, judged: pd.DataFrame, doubtful: pd.DataFrame, marks: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Candles that neither wait nor were judged now; and those of extended hours."""
        if not len(came):
            return came, came
        hours = self._screen.hours(self._numbered(came))
        came = came.assign(hours=hours.to_numpy())
        is_extended = came["hours"].eq("extended")
        # Of a calendar without a mark Spark let nothing through: all of it was late.
        marked = dict(zip(marks["watch_list"], marks["ts"] - MILLISECOND, strict=True))
        up_to = {
            name: max(marked.get(name, came["ts"].max()), self._judged_to[name])
            for name in self._names
        }
        is_over = came["ts"] <= pd.DatetimeIndex([up_to[n] for n in came["watch_list"]])
        now = pd.MultiIndex.from_frame(pd.concat([judged[BAR], doubtful[BAR]]))
        is_now = pd.MultiIndex.from_frame(came[BAR]).isin(now)
        return came[is_over & ~is_now & ~is_extended], came[is_extended]

    def _numbered(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(member=self._members.get_indexer(pd.Index(rows["symbol"])))

    def _store(
        self, judged: pd.DataFrame, extended: pd.DataFrame
    ) -> tuple[pd.DataFrame, Rows] | None:
        """Store bars with their market and verdicts; give the candles and the rows."""
        self._store_candles(extended)
        if not len(judged):
            return None
        judged = judged.sort_values(BAR, kind="stable", ignore_index=True)
        when = judged.groupby("ts")["known_at"].max().cummax()
        hours = self._screen.hours(self._numbered(judged))
        candles = self._store_candles(judged.assign(hours=hours))
        moves, found = tables_of(
            judged, when, self._parts.watch.interval, self._parts.ensemble.name
        )
        if len(moves):
            self._parts.warehouse.upsert(MARKET, moves)
        self.counts.judged += len(found.verdicts)
        self.counts.new += record_rows(self._parts, found)
        return candles, found

    def _store_candles(self, rows: pd.DataFrame) -> pd.DataFrame:
        if not len(rows):
            return rows
        columns = [*BAR, *NUMBERS, "hours", "known_at"]
        said = {"interval": self._parts.watch.interval, "source": self._parts.source.name}
        candles = rows[columns].assign(**said)
        self._parts.warehouse.upsert(CANDLES, candles)
        return candles

    def _move(self, judged: pd.DataFrame) -> None:
        for name, ts in judged.groupby("watch_list")["ts"].max().items():
            self._judged_to[str(name)] = max(self._judged_to[str(name)], ts)

    def _store_late(self, late: pd.DataFrame) -> set[str]:
        """Store late candles that say something new; give their instruments."""
        news = not_stored(self._parts, late)
        if not len(news):
            return set()
        passed, aside = self._screen.looked_at(self._numbered(news))
        if len(aside):
            self._parts.warehouse.upsert(QUARANTINE, aside)
        self._store_candles(passed.assign(hours=self._screen.hours(passed)))
        self.counts.late += len(passed)
        return set(passed["symbol"])

    def _look_at(self, doubtful: pd.DataFrame) -> None:
        """Put doubtful candles through all checks; those that pass are sent again."""
        if not len(doubtful):
            return
        passed, aside = self._screen.looked_at(self._numbered(doubtful))
        if len(aside):
            self._parts.warehouse.upsert(QUARANTINE, aside)
        self.counts.doubtful += len(doubtful)
        if len(passed):
            again = encode_candles(passed, self._parts.watch.interval)
            self._sender.send(self._driver_topic, again)

    def _rebuild(self, symbols: tuple[str, ...]) -> None:
        """Judge instruments again from their first bar, and send the state behind the last."""
        states = rebuilt(self._stream, symbols, self._stream.known, self._newest)
        self._sender.send(self._driver_topic, list(states))
        self.counts.rebuilt += symbols

    def _set_aside(self, refused: pd.DataFrame) -> None:
        self.counts.refused += len(refused)
        names = ["reason", "topic", "partition", "offset", "message"]
        letters = [DeadLetter.of(*said) for said in refused[names].itertuples(index=False)]
        if letters:
            said = [(b"", letter.encode()) for letter in letters]
            self._sender.send(self._topics.dead_letters, said)
