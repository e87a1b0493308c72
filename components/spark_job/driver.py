"""The driver's part of a micro-batch: what was judged and what came late, in one transaction.

A micro-batch that is repeated after a crash has the same rows, and a row that is stored already
is not new. What the driver sends is sent before the transaction ends: a crash may repeat it,
never lose it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from components.broker import Producer, Topics
from components.features.channels import VECTOR
from components.feeds.base import NUMBERS
from components.messages import DeadLetter, encode_candles, encode_verdicts
from components.spark_job.columns import DOUBTFUL, OF_MARKET, OUTRUN, VERDICT, WATERMARK
from components.spark_job.processors import utc
from components.spark_job.rebuilding import rebuilt
from components.steps.judging import Rows, record_rows
from components.steps.parts import Parts
from components.steps.screening import Screen
from components.steps.stream import Stream
from components.steps.stream_late import not_stored
from components.steps.telling import tell_at
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


class Recorder:
    """Stores micro-batches; ``stream`` is the state behind all that was stored at the start."""

    def __init__(self, stream: Stream, sender: Producer, topics: Topics, driver_topic: str) -> None:
        self._stream, self._begun = stream, stream.known
        self._sender, self._topics, self._driver_topic = sender, topics, driver_topic
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

    def __call__(self, batch: DataFrame, number: int) -> None:  # noqa: ARG002 - as Spark calls it
        """Store one micro-batch."""
        self.take(utc(batch.toPandas()))

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
            verdicts = self._store(judged, extended)
            self._move(judged)
            again = {*outrun, *self._store_late(late)}
            self._look_at(doubtful)
            if again:
                self._rebuild(tuple(sorted(again)))
            self._set_aside(refused)
            self._sender.flush()
        if len(verdicts):
            self._sender.send(self._topics.verdicts, encode_verdicts(verdicts))
            self._sender.flush()
        self._tell(judged, is_whole=bool(again))
        return verdicts

    def _tell(self, judged: pd.DataFrame, *, is_whole: bool) -> None:
        """Tell what was unusual; a micro-batch that is repeated tells nothing twice."""
        odd = (judged["verdict"] == "anomaly") | (judged["market_verdict"] == "anomaly")
        when = judged.groupby("ts")["known_at"].max().cummax()
        news = when[when.index.isin(judged.loc[odd, "ts"])].drop_duplicates()
        for instant in news:
            tell_at(self._parts, instant, is_whole=False)
        if is_whole:
            tell_at(self._parts, self._stream.known, is_whole=True)

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

    def _store(self, judged: pd.DataFrame, extended: pd.DataFrame) -> pd.DataFrame:
        """Store bars with their market and verdicts; give the verdicts."""
        self._store_candles(extended)
        if not len(judged):
            return judged
        when = judged.groupby("ts")["known_at"].max().cummax()
        self._store_candles(judged.assign(hours=self._screen.hours(self._numbered(judged))))
        bars = {**dict.fromkeys(["interval"], self._parts.watch.interval)}
        rows = judged.drop(columns="known_at").assign(**bars, known_at=judged["ts"].map(when))
        moves = rows.dropna(subset=["market_return"]).drop_duplicates(["watch_list", "ts"])
        names = ["watch_list", "interval", "ts", "known_at"]
        moves = moves[[*names, *OF_MARKET]].rename(columns=OF_MARKET)
        if len(moves):
            self._parts.warehouse.upsert(MARKET, moves)
        named = [*BAR, "interval", "known_at"]
        verdicts = rows[[*named, *VERDICT]].assign(judge=self._parts.ensemble.name)
        whole = [name for name, kind in VERDICT.items() if kind == "long"]
        verdicts = verdicts.astype(dict.fromkeys(whole, "int64"))
        channels = rows[[*named, *VECTOR]].dropna(subset=list(VECTOR), how="all")
        scores, contributions = _beside(rows)
        self.counts.judged += len(verdicts)
        self.counts.new += record_rows(self._parts, Rows(verdicts, scores, channels, contributions))
        return verdicts

    def _store_candles(self, rows: pd.DataFrame) -> None:
        if len(rows):
            columns = [*BAR, *NUMBERS, "hours", "known_at"]
            said = {"interval": self._parts.watch.interval, "source": self._parts.source.name}
            self._parts.warehouse.upsert(CANDLES, rows[columns].assign(**said))

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


def _beside(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scores and contributions of the unusual bars as rows of their tables."""
    tables: tuple[list[Any], list[Any]] = ([], [])
    named = [*BAR, "interval", "known_at"]
    unusual = rows[rows["beside"].notna()]
    for bar, text in zip(unusual[named].to_dict("records"), unusual["beside"], strict=True):
        for table, own in zip(tables, json.loads(text), strict=True):
            table += [{**bar, **row} for row in own]
    return pd.DataFrame(tables[0]), pd.DataFrame(tables[1])
