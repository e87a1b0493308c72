"""The steps of a run as tasks of Prefect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from components import steps
from components.errors import TremorError
from components.steps.parts import Parts
from components.steps.runner import Runner

T = TypeVar("T")

# A source or a store that is away for longer than the steps' own patience of seconds, s.
PATIENCE_S = (60, 300)

# What a failure is called whose source could not be reached.
AWAY = ("SourceUnavailable", "RateLimited", "unavailable")


@dataclass
class Call:
    """What one call gave; Prefect learns of it only how it ended."""

    result: Any = None
    error: TremorError | None = None

    def of(self, work: Callable[[], Any]) -> Any:
        """Do ``work``; an error that the user can mend becomes a state of one line."""
        from prefect.states import Failed

        self.error = None
        try:
            self.result = work()
        except TremorError as error:
            self.error = error
            return Failed(name=type(error).__name__, message=line(error))
        return None


class TaskRunner(Runner):
    """Calls each step as a task of Prefect, in this process.

    Only ``fetch`` is called again: a step that lost its warehouse may have lost the lock that
    keeps other runs away, so then the whole run begins anew with parts of its own.
    """

    def __call__(self, step: Callable[..., T], parts: Parts, *args: Any) -> T:
        """Call ``step(parts, *args)`` as a task of the step's name."""
        from prefect import task
        from prefect.cache_policies import NO_CACHE
        from prefect.states import Failed

        call, usual = Call(), super().__call__
        patience = list(PATIENCE_S) if step is steps.fetch else []
        left = [*patience]

        def attempt() -> Any:
            noted = len(parts.run.failures)
            failed = call.of(lambda: usual(step, parts, *args))
            if failed or not left:
                return failed
            left.pop()
            away = [f for f in call.result.failures if f.kind in AWAY]
            if not away:
                return None
            # Asked again for these alone: what came is in the lake. Nobody is told of a failure
            # that the next attempt may undo.
            del parts.run.failures[noted:]
            parts.run.unreachable_in_a_row = 0
            return Failed(name=away[0].kind, message=f"{away[0].symbol}: {away[0].message}")

        name = step.__name__
        state = task(
            name=name,
            task_run_name=f"{name} {parts.run.id}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=len(patience),
            retry_delay_seconds=patience,
            retry_condition_fn=lambda *_: call.error is None,
        )(attempt)(return_state=True)
        if call.error is not None:
            raise call.error
        state.result()  # raises what a bug raised
        return call.result  # type: ignore[no-any-return]


def line(error: TremorError) -> str:
    """An error as the one line that it is."""
    return " ".join(str(error).split())
