"""The batch's commands with ``--engine spark``: instruments spread over a cluster."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.errors import SettingsError
from components.records import Failure
from components.settings import Settings
from components.steps.backfill import filled
from components.steps.parts import Parts
from components.wiring import open_parts

if TYPE_CHECKING:
    from components.spark_job.spreading import Spread

ENGINES = ("python", "spark")


def checked(engine: str, settings: Settings) -> bool:
    """Whether Spark is asked for.

    Raises
    ------
    SettingsError
        No such engine, or stores that a cluster cannot reach.
    """
    if engine not in ENGINES:
        raise SettingsError(f"--engine {engine[:20]!r} is none. Known: {', '.join(ENGINES)}.")
    is_far = not settings.spark_master.startswith("local")
    if engine == "spark" and is_far and not (settings.lake_url and settings.warehouse):
        raise SettingsError(
            "--engine spark on a cluster needs stores that all machines reach. Set "
            "TREMOR_LAKE_URL and TREMOR_WAREHOUSE_URL."
        )
    return engine == "spark"


def bench(settings: Settings) -> "Spread":
    """Executors that judge."""
    from components.spark_job.session import open_session
    from components.spark_job.spreading import Spread

    return Spread(open_session(**{"spark.master": settings.spark_master}))


@dataclass(frozen=True)
class Fill:
    """Fills the warehouse for groups of instruments on executors."""

    settings: Settings

    @cached_property
    def _spread(self) -> "Spread":
        return bench(self.settings)

    def __call__(self, parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> None:
        """Fetch and load what is missing, each group by an executor of its own."""
        from components.spark_job.spreading import spread

        n_groups = min(len(parts.watch.symbols), self._spread.at_once)
        groups = [tuple(g.tolist()) for g in np.array_split(parts.watch.symbols, n_groups)]
        given = [Group(self.settings, g, parts.run.as_of, since, until) for g in groups]
        for counts, failures in spread(self._spread.session, given, Group.filled):
            parts.run.failures += failures
            for name, count in counts.items():
                parts.run.counts[name] = parts.run.counts.get(name, 0) + count


@dataclass(frozen=True)
class Group:
    """Instruments that one executor fetches and loads."""

    settings: Settings
    symbols: tuple[str, ...]
    as_of: pd.Timestamp
    since: pd.Timestamp
    until: pd.Timestamp

    def filled(self) -> tuple[dict[str, int], list[Failure]]:
        """Do it; the counts, and what failed. The lock is the driver's."""
        own = self.settings.model_copy(update={"symbols": self.symbols})
        with open_parts(own, self.as_of, command="backfill", reads_only=True) as parts:
            filled(parts, self.since, self.until)
            return parts.run.counts, parts.run.failures
