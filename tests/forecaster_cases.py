"""One row a registered forecaster: what its law suite runs over, and the panels it is made for."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from components.forecasters import TRAINED, forecaster_named
from components.forecasters.base import BinPanel

N_DAY, N_BINS, N_SERIES = 4, 400, 3


@dataclass(frozen=True)
class ForecasterCase:
    """A forecaster, how it is made small and fast, and the laws it does not keep, with reasons."""

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    exempt: tuple[tuple[str, str], ...] = ()

    def __str__(self):
        return self.id

    @property
    def is_trained(self):
        """Whether it is a recipe to be fitted."""
        return self.id in TRAINED

    def recipe(self):
        """The registered class with the row's options."""
        return type(forecaster_named(self.id))(**self.options)

    def is_exempt(self, law):
        """Whether the case does not keep a law."""
        return law in dict(self.exempt)


FORECASTER_CASES = [
    ForecasterCase("boosted", {"n_trees": 30}),
    ForecasterCase(
        "deviation",
        {"steps": 30, "refit": 28},
        exempt=(("shape", "the peers' rule knows no hours"),),
    ),
    ForecasterCase("lstm", {"window": 8, "units": 4, "horizon": 4, "epochs": 2}),
    ForecasterCase("ridge"),
    ForecasterCase("seasonal_naive"),
    ForecasterCase("slot_ewma"),
]


@cache
def forecaster_of(case_id, n_day=N_DAY):
    """The row's forecaster; a recipe is fitted, once, on a panel of other numbers."""
    case = next(case for case in FORECASTER_CASES if case.id == case_id)
    if not case.is_trained:
        return case.recipe()
    return case.recipe().fit(*made_panel(seed=1, n_day=n_day))


@cache
def made_panel(seed=0, n_day=N_DAY, n_bins=N_BINS, noise=4.0):
    """A panel, its x and where it is open: daily shapes, a week's, and persisting noise.

    The second series rests on Sundays. The third begins later and misses some bins. The clock
    begins on a Wednesday.
    """
    random = np.random.default_rng(seed)
    at = np.arange(2 * n_day + 1, 2 * n_day + 1 + n_bins)
    day_slot, week_slot = at % n_day, at % (7 * n_day)
    weekday = week_slot // n_day
    shape = 30 * np.sin(2 * np.pi * day_slot / n_day) + 10 * (weekday == 4)
    x = np.empty((N_SERIES, n_bins))
    for i, level in enumerate((100.0, 60.0, 5000.0)):
        error = random.standard_normal(n_bins)
        for t in range(1, n_bins):
            error[t] += 0.5 * error[t - 1]
        x[i] = level * (1 + (shape + noise * error) / 100)
    is_open = np.ones(x.shape, dtype=np.bool_)
    is_open[1, weekday == 6] = False
    x[~is_open] = 0.0
    x[2, :20] = np.nan
    x[2, 20:][random.random(n_bins - 20) < 0.05] = np.nan
    panel = BinPanel(x, day_slot, week_slot, np.ones(n_bins), np.zeros(n_bins, np.bool_), n_day)
    for a in (x, is_open, day_slot, week_slot):
        a.flags.writeable = False
    return panel, x, is_open
