"""How a step is called: with its name and its seconds in the log."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from components.steps.parts import Parts, Progress, unseen

T = TypeVar("T")

log = logging.getLogger("tremor")


class Runner:
    """Calls steps one after another, logs each, and adds up their seconds.

    Another way of running (a scheduler's tasks, a test that stops between two steps)
    overrides ``__call__``.
    """

    def __init__(self, progress: Progress = unseen) -> None:
        self.progress = progress

    def __call__(self, step: Callable[..., T], parts: Parts, *args: Any) -> T:
        """Call ``step(parts, *args)`` and log how long it took."""
        started = time.perf_counter()
        result = step(parts, *args)
        seconds = time.perf_counter() - started
        name = step.__name__
        parts.run.seconds[name] = parts.run.seconds.get(name, 0.0) + seconds
        said = {"event": "step", "step": name, "seconds": round(seconds, 3)}
        log.info("%s took %.2f s", name, seconds, extra=said)
        return result
