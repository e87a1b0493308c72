"""A venue made for tests of feeds: its closed candles, its clock, its messages, its REST."""

import json
import random
import threading
from dataclasses import replace
from typing import Any

import pandas as pd

from components.errors import SourceUnavailable
from components.feeds import COLUMNS, Candle, frame_of
from components.feeds.gaps import instant_of, us_of
from components.feeds.live import Terms
from components.feeds.patience import Backoff, Patience

MINUTE = pd.Timedelta(minutes=1)
START = pd.Timestamp("2024-03-01 12:00", tz="UTC")
QUICK = Terms(
    patience=Patience(open_s=2.0, silence_s=0.3, late_s=0.6),
    backoff=Backoff(0.01, 0.05, random.Random(7)),
    settle_s=0.0,
    hold_s=10.0,
)


class Venue:
    """What a venue has: ``now``, and ``closed`` candles by symbol and open.

    ``refill`` is its REST; it fails as often as ``failures`` says, and knows none of ``unshown``.
    """

    def __init__(self, symbols=("AAAUSDT", "BBBUSDT"), start=START) -> None:
        self.symbols, self.now, self.start = symbols, start, start
        self.closed: dict[tuple[str, int], Candle] = {}
        self.unshown: set[tuple[str, int]] = set()
        self.failures = 0
        self.asked: list[tuple[str, pd.Timestamp, pd.Timestamp]] = []
        self._lock = threading.Lock()

    def pass_minute(self) -> list[Candle]:
        """Close a bar of each symbol; the clock shows a second after."""
        ts = us_of(self.now.floor("min"))
        made = []
        for at, symbol in enumerate(self.symbols):
            price = 100.0 + at + (ts // 60_000_000) % 997
            candle = Candle(symbol, ts, price, price + 2, price - 2, price + 1, 10.0, price, 5.0)
            with self._lock:
                self.closed[symbol, ts] = candle
            made.append(candle)
        self.now = instant_of(ts) + MINUTE + pd.Timedelta(seconds=1)
        return made

    def refill(self, symbols, since, until):
        """Give the closed bars that open in [since, until)."""
        with self._lock:
            self.asked += [(symbol, since, until) for symbol in symbols]
            if self.failures > 0:
                self.failures -= 1
                raise SourceUnavailable("the REST API is down", symbols[0])
            rows = [
                candle
                for (symbol, ts), candle in self.closed.items()
                if symbol in symbols
                and us_of(since) <= ts < us_of(until)
                and (symbol, ts) not in self.unshown
            ]
        return frame_of(rows[::-1])

    def terms(self, **others: Any) -> Terms:
        """Quick ones, with the venue's clock."""
        return replace(QUICK, clock=lambda: self.now, **others)


def kline(candle: Candle, *, is_closed: bool = True, interval: str = "1m", **others: Any) -> str:
    """A candle as Binance's combined stream tells it."""
    open_ms = candle.ts // 1000
    content = {
        "t": open_ms, "T": open_ms + 59_999, "s": candle.symbol, "i": interval, "f": 1, "L": 9,
        "o": f"{candle.open:.8f}", "c": f"{candle.close:.8f}", "h": f"{candle.high:.8f}",
        "l": f"{candle.low:.8f}", "v": f"{candle.volume:.8f}", "n": int(candle.trades),
        "x": is_closed, "q": f"{candle.volume * candle.vwap:.8f}", "V": "1", "Q": "1", "B": "0",
    }  # fmt: skip
    stream = f"{candle.symbol.lower()}@kline_{interval}"
    data = {"e": "kline", "E": open_ms + 60_001, "s": candle.symbol, "k": content | others}
    return json.dumps({"stream": stream, "data": data})


def minute_bar(candle: Candle, **others: Any) -> dict[str, Any]:
    """A candle as Massive's channel AM tells it."""
    start = candle.ts // 1000
    return {
        "ev": "AM", "sym": candle.symbol, "v": candle.volume, "av": 1e6, "op": 90.0,
        "vw": candle.vwap, "o": candle.open, "c": candle.close, "h": candle.high, "l": candle.low,
        "a": 91.0, "z": 2, "s": start, "e": start + 60_000,
    } | others  # fmt: skip


def unclosed(candle: Candle) -> Candle:
    """The candle as it stood before its close: other numbers."""
    return candle._replace(close=candle.open + 0.5, volume=1.0)


class Collected:
    """What a feed handed over, gathered in a thread of its own.

    ``with Collected(feed) as got: got.wait_for(lambda: ...)``
    """

    def __init__(self, feed) -> None:
        self.feed, self.arrived, self.failure = feed, [], None
        self.stop, self._changed = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._gather, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _gather(self) -> None:
        try:
            for arrived in self.feed.arrivals(self.stop):
                with self._changed:
                    self.arrived.append(arrived)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.failure = error
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, is_so, timeout_s=30.0) -> None:
        """Wait until it is so, or the feed failed."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_so() or self.failure, timeout_s), self.shown()

    def ended(self) -> bool:
        """Whether the feed came to its end."""
        return not self._thread.is_alive()

    @property
    def candles(self) -> list[Candle]:
        """The candles in the order in which they came."""
        rows = []
        for each in list(self.arrived):
            assert list(each.candles.columns) == COLUMNS
            frame = each.candles.assign(ts=[us_of(ts) for ts in each.candles["ts"]])
            rows += [Candle(*row) for row in frame.itertuples(index=False)]
        return rows

    @property
    def reasons(self) -> list[str]:
        """Why something was refused."""
        return [refused.reason for each in list(self.arrived) for refused in each.refused]

    def shown(self):
        """What a failed wait says."""
        return self.failure, len(self.candles), self.reasons
