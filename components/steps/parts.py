"""What the steps work with: the open stores and channels, and what is watched."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

import pandas as pd

from components.carried import Snapshot
from components.channels.base import Channel
from components.ensemble import Ensemble
from components.judgement import IN_TURN, Bench
from components.lake import Lake
from components.records import RunSummary
from components.sessions import Calendars
from components.sources.base import Source
from components.warehouse import Warehouse

T = TypeVar("T")


class Progress(Protocol):
    """Shows how far a long loop is."""

    def __call__(
        self, items: Iterable[T], total: int, what: str | Callable[[], str]
    ) -> Iterator[T]:
        """Pass ``items`` on, one by one; ``what`` may change on the way."""


def unseen(items: Iterable[T], total: int, what: str | Callable[[], str]) -> Iterator[T]:  # noqa: ARG001 - as Progress
    """Progress that nobody watches."""
    yield from items


@dataclass(frozen=True)
class Watch:
    """What is watched, and with how much patience.

    In ``zone`` the operator's days begin; ``empty_is_zero`` where no payment is a payment of 0.
    ``coverage`` is the share of open bins that a band holds, ``unit`` what payments are counted in.
    ``tolerance`` is how far the closes of two sources may lie apart, a fraction;
    ``second_names`` what the second calls an instrument, where it is another name.
    """

    symbols: tuple[str, ...]
    interval: str
    history: pd.Timedelta
    grace: pd.Timedelta
    attempts: int
    all_clear: bool
    heartbeat_url: str = field(default="", repr=False)
    zone: str = "UTC"
    empty_is_zero: bool = True
    tolerance: float = 0.01
    second_names: Mapping[str, str] = field(default_factory=dict)
    forecaster: str = "champion"
    coverage: float = 0.99
    holidays: tuple[str, ...] = ()
    unit: str = ""
    keep_minutes_days: int = 0
    keep_scores_days: int = 0
    keep_quarantine_days: int = 0


@dataclass(frozen=True)
class Parts:
    """Everything that a run has open; ``run`` collects what the run did.

    ``bench`` does the judgements of past days. ``ledger`` gives what is counted of each
    instrument just now, where that is not in the lake.
    """

    watch: Watch
    source: Source
    lake: Lake
    warehouse: Warehouse
    calendars: Calendars
    ensemble: Ensemble
    channels: tuple[Channel, ...]
    run: RunSummary
    settings: dict[str, str]
    clock: Callable[[], datetime]
    code_version: str
    progress: Progress = unseen
    second: Source | None = None
    is_dry: bool = False
    ledger: Callable[[], Snapshot] | None = None
    bench: Bench = IN_TURN

    @property
    def is_measured(self) -> bool:
        """Whether the source gives measures, in bins of the operator's clock, and no candles."""
        return self.source.traits.kind == "measures"
