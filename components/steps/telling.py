"""Telling beside judging: a stream's alerts are made and sent while it goes on."""

import logging
import threading
from collections.abc import Callable

import pandas as pd

from components.errors import AnotherRunAtWork, TremorError
from components.records import Alert
from components.steps.parts import Parts
from components.steps.tell import tell

log = logging.getLogger("tremor")

# A run that tells at the same time is waited for.
PATIENCE_S = 1.0

# What a channel did not take is tried again after so long.
RETRY_S = 60.0

Heard = Callable[[tuple[Alert, ...]], None]


def tell_at(parts: Parts, as_of: pd.Timestamp, *, is_whole: bool) -> tuple[Alert, ...]:
    """Tell what is known at ``as_of``; the whole of it, or what new bars brought alone."""
    parts.run.as_of = as_of
    parts.run.undelivered.clear()
    alerts = tell(parts, as_of, of_new_bars_alone=not is_whole)
    for failure in parts.run.undelivered:
        log.warning("not delivered, and tried again: %s", failure)
    counts = parts.run.counts
    counts["alerts"] = counts.get("alerts", 0) + len(alerts)
    return alerts


class Teller:
    """Tells in a thread of its own, over a warehouse connection of its own.

    ``ask`` returns at once; what is asked while it tells is told next, together. What fails is
    logged, and tried again until it is told.
    """

    def __init__(self, parts: Parts, heard: Heard) -> None:
        self._parts, self._heard = parts, heard
        self._asked = threading.Event()
        self._guard = threading.Lock()
        self._as_of: pd.Timestamp | None = None
        self._is_whole = self._is_over = False
        self._failure: Exception | None = None
        self._said = ""
        self._thread = threading.Thread(target=self._work, name="teller", daemon=True)
        self._thread.start()

    def ask(self, as_of: pd.Timestamp, *, is_whole: bool = False) -> None:
        """Let what is known at ``as_of`` be told; a bug in what was told before is raised."""
        self._raise()
        with self._guard:
            self._as_of = as_of if self._as_of is None else max(as_of, self._as_of)
            self._is_whole |= is_whole
        self._asked.set()

    def close(self) -> None:
        """Tell what was asked for, or try to once, and end."""
        self._is_over = True
        self._asked.set()
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _work(self) -> None:
        try:
            self._until_over()
        except Exception as error:  # noqa: BLE001 - raised where it is asked, or closed
            self._failure = error

    def _until_over(self) -> None:
        while True:
            self._asked.wait(RETRY_S if self._parts.run.undelivered else None)
            self._asked.clear()
            with self._guard:
                as_of, is_whole = self._as_of, self._is_whole
                self._as_of, self._is_whole = None, False
            if as_of is None and self._parts.run.undelivered:
                as_of = self._parts.run.as_of
            if as_of is not None and not self._told(as_of, is_whole=is_whole):
                if self._is_over:
                    return
                self.ask(as_of, is_whole=is_whole)
                threading.Event().wait(PATIENCE_S)
            elif self._is_over and self._as_of is None:
                return

    def _told(self, as_of: pd.Timestamp, *, is_whole: bool) -> bool:
        """Whether it was told; a run that tells at the same time is waited for."""
        try:
            with self._parts.warehouse.run_lock():
                alerts = tell_at(self._parts, as_of, is_whole=is_whole)
        except AnotherRunAtWork:
            return False
        except TremorError as error:
            if str(error) != self._said:
                log.warning("alerts are told later: %s", error)
            self._said = str(error)
            return False
        self._said = ""
        self._heard(alerts)
        return True
