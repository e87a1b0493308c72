"""A search over a few values of a detector's numbers, tuned as its own grid would be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from components.detectors.base import TrainableDetector, TrainedModel
from components.errors import SettingsError
from components.panels import Array

# What is estimated beside models: where the features of the micro and macro views usually lie.
PARAMETERS = "parameters"

# Each is fitted once; more would choose by luck, and take hours.
MOST_TRIED = 24


@dataclass(frozen=True)
class Search:
    """A detector whose grid is what a person asked to try; all else is the first one's.

    Tuning chooses among them by the detector's own criterion, on the training bars alone.
    """

    candidates: tuple[TrainableDetector, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Those of the detector."""
        return self.candidates[0].features

    @property
    def min_bars(self) -> int:
        """Enough for the most demanding candidate."""
        return max(each.min_bars for each in self.candidates)

    @property
    def window(self) -> int:
        """The longest window tried: the embargo must hold for whichever is chosen."""
        return max(int(getattr(each, "window", 1)) for each in self.candidates)

    def grid(self) -> tuple[TrainableDetector, ...]:
        """The candidates."""
        return self.candidates

    def fit(self, panel: Array) -> TrainedModel:
        """A fit of the first."""
        return self.candidates[0].fit(panel)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """That of the first."""
        return self.candidates[0].criterion(model, panel)

    def untrained(self, panel: Array) -> TrainedModel:
        """That of the first."""
        return self.candidates[0].untrained(panel)

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> TrainedModel:
        """That of the first."""
        return self.candidates[0].restore_arrays(arrays)


def searched(detector: TrainableDetector, name: str, values: Mapping[str, Sequence[str]]) -> Search:
    """All combinations of the values of each number, as a person wrote them.

    Raises
    ------
    SettingsError
        A value is not of its number's kind, nothing differs, or they are too many.
    """
    from components.entrypoints.training import hyper_from

    keys = list(values)
    chosen = [
        hyper_from(
            detector, name, [f"{key}={value}" for key, value in zip(keys, each, strict=True)]
        )
        for each in product(*values.values())
    ]
    unique: list[dict[str, Any]] = []
    for each in chosen:
        if each not in unique:
            unique.append(each)
    if not 2 <= len(unique) <= MOST_TRIED:
        raise SettingsError(
            f"a search tries 2 to {MOST_TRIED} settings, and these are {len(unique)}. Write two or "
            "more values of a number, separated by commas, and not too many."
        )
    return Search(tuple(replace(detector, **each) for each in unique))  # type: ignore[type-var]
