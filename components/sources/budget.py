"""A budget of requests a minute, as a provider's plan counts them."""

import threading
import time
from collections.abc import Callable
from queue import PriorityQueue
from typing import Self

LARGEST_BURST = 1000
LONGEST_HOLD_S = 300.0


class Budget:
    """At most so many requests in any minute, whichever thread makes them: ``with budget: ask()``.

    A request's place is free again one minute after its reply. As the provider counts from a
    moment between the two, it never sees one more than the plan has, however slow the network.

    Parameters
    ----------
    per_minute : float
        Requests that the plan allows; they may come in one burst.
    minute_s : float, default=60
        How long a minute is, s.
    """

    def __init__(
        self,
        per_minute: float,
        minute_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        burst = min(max(1, int(per_minute)), LARGEST_BURST)
        self.window_s = minute_s * burst / per_minute
        self._clock, self._sleep = clock, sleep
        self._free_from: PriorityQueue[float] = PriorityQueue()
        for _ in range(burst):
            self._free_from.put(clock())
        self._lock = threading.Lock()
        self._held_until = clock()

    def __enter__(self) -> Self:
        """Sleep until the next request may be made."""
        free_from = self._free_from.get()
        while (wait_s := max(free_from, self._held_until) - self._clock()) > 0:
            self._sleep(wait_s)
        return self

    def __exit__(self, *_: object) -> None:
        """Count the request from its reply on."""
        self._free_from.put(self._clock() + self.window_s)

    def hold(self, seconds: float) -> None:
        """Let no further request be made for so long, at most ``LONGEST_HOLD_S``."""
        with self._lock:
            wanted = self._clock() + min(max(seconds, 0.0), LONGEST_HOLD_S)
            self._held_until = max(self._held_until, wanted)
