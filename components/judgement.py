"""A judgement as plain data: it may be done in another process, or on another machine. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from components.carried import State
from components.ensemble import Ensemble, Judged
from components.panels import Array, CandlePanel


@dataclass(frozen=True)
class Judgement:
    """Bars to judge behind a state; ``rates`` are the shares that may alert, (n_series,)."""

    ensemble: Ensemble
    before: State
    panel: CandlePanel
    rates: Array

    def done(self) -> tuple[State, Judged]:
        """The state behind the bars, and what was found in them."""
        state, judged = self.ensemble.run(self.before, self.panel, self.rates)
        return {name: np.asarray(values) for name, values in state.items()}, judged


Done = tuple[State, Judged]


class Bench(Protocol):
    """Does judgements, ``at_once`` of them together."""

    at_once: int

    def __call__(self, judgements: Sequence[Judgement]) -> list[Done]:
        """Do them all; the results are in their order."""


class InTurn:
    """Does one judgement after the other, in this process."""

    at_once = 1

    def __call__(self, judgements: Sequence[Judgement]) -> list[Done]:
        """Do them all; the results are in their order."""
        return [judgement.done() for judgement in judgements]


IN_TURN = InTurn()
