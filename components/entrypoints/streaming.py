"""The command ``stream``: a feed, the judgement, and what hears of it, until it is told to stop."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from components.errors import AnotherRunAtWork, BrokerError, StoreError
from components.feeds import Arrived, Feed, frame_of
from components.metrics import Metrics
from components.records import Alert
from components.sessions import length
from components.steps.judging import Rows
from components.steps.live import Live, Shown
from components.steps.parts import Parts
from components.steps.stream import Stream, Taken
from components.steps.stream_late import take_late
from components.steps.stream_log import StreamLog
from components.steps.stream_start import begin
from components.steps.telling import Teller, tell_at

log = logging.getLogger("tremor")

# How often the carried state goes to the lake, trouble with data is looked for, and the live
# state is stored, s.
KEEP_S, TROUBLE_S, SHOW_S = 1800.0, 3600.0, 1.0

# After a warehouse that went away, so long until the next try, s.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0

# Arrivals without a candle, one a second, after which a broker whose sender has ended is empty.
ENOUGH_EMPTY = 3

# Bars that became known longer ago are those of the past.
PRESENT = pd.Timedelta(days=1)

# Of messages that were refused so many a minute are named in the log.
NAMED_A_MINUTE = 5


@dataclass
class Told:
    """Tells alerts at once: a replay's own clock goes on when they are told."""

    parts: Parts
    heard: Callable[[tuple[Alert, ...]], None]

    def ask(self, as_of: pd.Timestamp, *, is_whole: bool = False) -> None:
        """Tell what is known at ``as_of``."""
        self.heard(tell_at(self.parts, as_of, is_whole=is_whole))


@dataclass
class Outlets:
    """What hears of a stream beside its warehouse."""

    metrics: Metrics
    shown: Shown = lambda _rows: None
    verdicts: Callable[[pd.DataFrame], None] = lambda _rows: None
    flush: Callable[[], None] = lambda: None
    parameters: Callable[[], Any] = lambda: None
    csv: Path | None = None


@dataclass
class Session:
    """One stream at work: takes what a feed gives until it ends or is told to stop."""

    parts: Parts
    feed: Feed
    outlets: Outlets
    lateness: pd.Timedelta
    is_kept: bool = True
    is_over: Callable[[], bool] = lambda: False
    n_judged: int = 0
    _named: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def work(self, as_of: pd.Timestamp, stop: threading.Event) -> None:
        """Begin behind what is stored, and take what comes."""
        self._stop = stop
        if isinstance(stop, Stop):
            stop.is_at_work = False
        with ExitStack() as stack:
            stream = begin(self.parts, as_of, self.lateness)
            self.parts = stream.parts = replace(self.parts, ledger=lambda: stream.ledger)
            teller = self._teller(stack)
            journal = StreamLog(self.parts, self.outlets.csv)
            stack.callback(journal.close)
            live = Live(self.parts, self.outlets.shown)
            stream.sending = self._send
            stream.heard = lambda candles, rows: self._stored(candles, rows, journal, live)
            # What a stream that was killed had judged and not told.
            teller.ask(stream.known, is_whole=self._is_present(stream))
            due, number, n_empty = _Due(), -1, 0
            if isinstance(stop, Stop):
                stop.is_at_work = True
            try:
                for arrived in self.feed.arrivals(stop):
                    self._take(stream, teller, arrived)
                    number = arrived.number
                    is_empty = not len(arrived.candles) and arrived.through is None
                    n_empty = n_empty + 1 if is_empty and self.is_over() else 0
                    if n_empty >= ENOUGH_EMPTY:
                        break
                    if due.is_due("show", SHOW_S):
                        live.store()
                    if due.is_due("keep", KEEP_S):
                        self._keep(stream, journal)
                    if due.is_due("trouble", TROUBLE_S) and self._is_present(stream):
                        teller.ask(self._now(stream), is_whole=True)
                if not stop.is_set():
                    self._take(stream, teller, _nothing(number), is_over=True)
            finally:
                # Whatever ended it: what is judged is stored, and what is carried goes along.
                live.store()
                self._keep(stream, journal)

    def _teller(self, stack: ExitStack) -> Any:
        def heard(alerts: tuple[Alert, ...]) -> None:
            self.outlets.metrics.count("alerts", len(alerts))

        if not self.feed.is_live:
            return Told(self.parts, heard)
        warehouse = stack.enter_context(self.parts.warehouse.another())
        run = replace(self.parts.run, undelivered=[], counts={})
        teller = Teller(replace(self.parts, warehouse=warehouse, run=run), heard)
        stack.callback(teller.close)
        return teller

    def _take(
        self, stream: Stream, teller: Any, arrived: Arrived, *, is_over: bool = False
    ) -> None:
        began = time.perf_counter()
        self._swap(stream)
        now = pd.Timestamp(self.parts.clock()) if self.feed.is_live else None
        taken = stream.take(arrived, now, is_over=is_over)
        rebuilt = take_late(stream, taken.late)
        self._count(stream, arrived, taken, time.perf_counter() - began)
        if rebuilt:
            log.warning("judged again from the first bar, for late candles: %s", ", ".join(rebuilt))
        for instant in taken.news:
            if self._stop.is_set():
                # What is judged and not told the next start tells.
                break
            teller.ask(instant)
        if rebuilt:
            teller.ask(stream.known, is_whole=True)
        self.feed.done(stream.stored_through(arrived.number))

    def _swap(self, stream: Stream) -> None:
        """Let newer parameters judge from now on."""
        newest = self.outlets.parameters()
        if newest is not None and newest != getattr(stream.ensemble, "parameters", None):
            stream.ensemble = replace(stream.ensemble, parameters=newest)
            self.outlets.metrics.only("parameters", newest.version)
            log.info("parameters %s judge from now on", newest.version)

    def _count(self, stream: Stream, arrived: Arrived, taken: Taken, seconds: float) -> None:
        metrics = self.outlets.metrics
        metrics.count("candles", len(arrived.candles))
        metrics.count("refused", len(arrived.refused), "message")
        metrics.count("refused", taken.n_refused, "check")
        metrics.count("refused", taken.n_strange, "not watched")
        metrics.count("late", len(taken.late), "any")
        metrics.set("waiting", stream.n_waiting)
        if self.feed.is_live and (closed := _newest_close(stream)) is not None:
            metrics.set("lag", (pd.Timestamp(self.parts.clock()) - closed).total_seconds())
        for judged in taken.judged:
            is_bar = judged.panel.is_bar
            n_bars, n_odd = int(is_bar.sum()), int(judged.is_anomaly.sum())
            self.n_judged += n_bars
            metrics.count("verdicts", n_odd, "anomaly")
            metrics.count("verdicts", n_bars - n_odd, "other")
        if taken.judged:
            metrics.observe("stored", seconds)
        for refused in arrived.refused:
            self._name(refused.reason, refused.text)

    def _name(self, reason: str, text: str) -> None:
        now = time.monotonic()
        self._named = [at for at in self._named if now - at < 60]
        if len(self._named) < NAMED_A_MINUTE:
            self._named.append(now)
            log.warning("refused: %s%s", reason, f": {text[:120]!r}" if text else "")

    def _stored(self, candles: pd.DataFrame, rows: Rows, journal: StreamLog, live: Live) -> None:
        journal.add(candles, rows)
        live.add(candles, rows)

    def _send(self, verdicts: pd.DataFrame) -> None:
        """Let others have verdicts before they are stored: a crash may repeat, and loses none."""
        self.outlets.verdicts(verdicts)
        self.outlets.flush()

    def _keep(self, stream: Stream, journal: StreamLog) -> None:
        journal.keep()
        if self.is_kept:
            stream.keep()

    def _is_present(self, stream: Stream) -> bool:
        """Whether the bars are those of today: of old ones that are played again none is late."""
        now = pd.Timestamp(self.parts.clock())
        return self.feed.is_live and now - stream.known < PRESENT

    def _now(self, stream: Stream) -> pd.Timestamp:
        return max(stream.known, pd.Timestamp(self.parts.clock()).floor("s"))


def _newest_close(stream: Stream) -> pd.Timestamp | None:
    """When the newest judged bar closed; None before the first."""
    opens = [stream.released(calendar) for calendar in stream.judge.members]
    judged = [ts for ts in opens if ts is not None]
    return max(judged) + length(stream.judge.interval) if judged else None


class _Due:
    """What is done now and then."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._last.setdefault(what, now) < every_s:
            return False
        self._last[what] = now
        return True


def _nothing(number: int) -> Arrived:
    return Arrived(frame_of(()), pd.Timestamp(0, tz="UTC"), number)


class Stop(threading.Event):
    """Set when the stream is to end; before it ``is_at_work`` a signal ends it where it is."""

    is_at_work = False


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """An event that SIGTERM and SIGINT set: the bar in hand is finished, then the stream ends.

    What comes before the first bar may be broken off anywhere: every write is keyed.
    """
    stop = Stop()

    def heard(_number: int, _frame: Any) -> None:
        stop.set()
        if not stop.is_at_work:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    except KeyboardInterrupt:
        log.info("ended before the first bar")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until_stopped(work: Callable[[threading.Event], None], stop: threading.Event) -> None:
    """Begin again, with patience, whenever a store or the broker goes away; other errors end it.

    Parameters
    ----------
    work : callable
        Sets the event that it is given once its stores are open.

    Raises
    ------
    TremorError
        What waiting does not mend: a warehouse that was never there, another stream.
    """
    wait_s, began, is_open = FIRST_WAIT_S, time.monotonic(), threading.Event()
    while not stop.is_set():
        try:
            work(is_open)
            return  # noqa: TRY300 - the feed ended
        except (StoreError, BrokerError, AnotherRunAtWork) as error:
            if isinstance(error, BrokerError) and not error.is_transient:
                raise
            lasted_s = time.monotonic() - began
            is_first = lasted_s < FIRST_WAIT_S and wait_s == FIRST_WAIT_S
            if is_first or not is_open.is_set():
                raise
            log.warning("%s The stream begins again in %.0f s.", error, wait_s)
            stop.wait(wait_s)
            wait_s = FIRST_WAIT_S if lasted_s > LONGEST_WAIT_S else min(2 * wait_s, LONGEST_WAIT_S)
            began = time.monotonic()
