"""The bounded way from the thread of the sockets to whoever asks for arrivals."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

import pandas as pd

from components.feeds.base import Candle, Refused
from components.feeds.gaps import us_of

# So many rows wait at most; then the sockets are read no further until some are taken.
ROOM = 20_000

# How often it is looked whether there is room again, s.
LOOK_S = 0.01


@dataclass(frozen=True)
class Told:
    """A candle that came as a message, with its text."""

    candle: Candle
    text: str


Item = Told | Refused | pd.DataFrame


class Outbox:
    """Items in order; while it is held, what comes from the sockets waits for what is refilled.

    Parameters
    ----------
    room : int
        Rows that may wait; a table that is larger than that waits alone.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._ready: deque[Item] = deque()
        self._held: deque[Item] = deque()
        self._n_rows = 0
        self._is_held = False
        self._has_some = threading.Condition()

    async def put(self, item: Told | Refused) -> None:
        """Hand over what came from a socket, once there is room."""
        while self._n_rows + len(self._held) >= self._room:
            await asyncio.sleep(LOOK_S)
        with self._has_some:
            if self._is_held:
                self._held.append(item)
            else:
                self._append(item)

    async def put_first(self, item: Refused | pd.DataFrame) -> None:
        """Hand over what was asked for, ahead of what is held.

        What is held of a symbol from before these rows, heard between two cuts, goes before them.
        """
        while self._n_rows >= self._room:
            await asyncio.sleep(LOOK_S)
        with self._has_some:
            if isinstance(item, pd.DataFrame) and self._held:
                self._let_go_before(item)
            self._append(item)

    def hold(self) -> None:
        """Let what comes from the sockets wait."""
        with self._has_some:
            self._is_held = True

    def release(self) -> int:
        """Let go of what waited; give how many items did."""
        with self._has_some:
            self._is_held, n_held = False, len(self._held)
            for item in self._held:
                self._append(item)
            self._held.clear()
        return n_held

    def take(self, timeout_s: float, most: int) -> list[Item]:
        """Take up to ``most`` rows (or one table that is larger), waiting for the first."""
        with self._has_some:
            if not self._ready:
                self._has_some.wait(timeout_s)
            taken: list[Item] = []
            n_rows = 0
            while self._ready and (not taken or n_rows + _rows(self._ready[0]) <= most):
                taken.append(self._ready.popleft())
                n_rows += _rows(taken[-1])
            self._n_rows -= n_rows
        return taken

    def _let_go_before(self, rows: pd.DataFrame) -> None:
        first = {str(s): us_of(ts) for s, ts in rows.groupby("symbol")["ts"].min().items()}
        held, self._held = self._held, deque()
        for item in held:
            is_before = isinstance(item, Told) and item.candle.ts < first.get(item.candle.symbol, 0)
            if is_before:
                self._append(item)
            else:
                self._held.append(item)

    def _append(self, item: Item) -> None:
        self._ready.append(item)
        self._n_rows += _rows(item)
        self._has_some.notify()


def _rows(item: Item) -> int:
    return max(len(item), 1) if isinstance(item, pd.DataFrame) else 1
