"""Trials of forecasters on a data set's history: fit, walk, compare, keep the best one."""

import io
import time
from dataclasses import replace

import numpy as np

from components.bands import Band, Banded
from components.bin_panels import panel_of
from components.errors import NotEnoughBars, TremorError
from components.forecast_trials import (
    Trial,
    champion,
    compared,
    learned_from,
    split_at,
    table,
    walked,
)
from components.forecasters import FORECASTERS, TRAINED, forecaster_named, recipe_named
from components.forecasters.base import BinPanel
from components.steps.bands import Recalled, measures_of
from components.steps.parts import Parts
from components.tables import TRIALS

# The largest series are enough to tell forecasters apart, and a trial ends within minutes.
MOST_SERIES = 200


def try_forecasters(
    parts: Parts, at: Recalled, names: tuple[str, ...] = tuple(FORECASTERS), share: float = 0.6
) -> tuple[list[Trial], str]:
    """Hold the forecasters against each other on the later bins; keep the trials, crown one.

    Returns
    -------
    list of Trial, str
        The best first, and who is champion from now on ("" when none keeps its coverage).

    Raises
    ------
    TremorError
        There are too few bins to hold anything against.
    """
    panel = largest(panel_of(measures_of(parts, at), at.series, at.clock, at.ts))
    until = split_at(panel.n_bins, share)
    miss = at.band.miss
    banded: dict[str, Banded] = {}
    seconds: dict[str, float] = {}
    models: dict[str, str] = {}
    for name in parts.progress(names, len(names), lambda: f"{len(banded)} of {len(names)} tried"):
        began = time.perf_counter()
        try:
            banded[name], models[name] = _walked(parts, at, name, panel, until)
        except NotEnoughBars:
            continue
        seconds[name] = time.perf_counter() - began
    trials = compared(panel, until, banded, miss, seconds)
    if not trials or not trials[0].n_bins:
        raise TremorError(
            f"{at.data_set}: none of {panel.n_bins:,} bins has a band of each forecaster. Fetch "
            "more history: `python main.py backfill --since ...`; six weeks are enough."
        )
    crowned = champion(trials, miss)
    trials = [replace(trial, model=models[trial.forecaster]) for trial in trials]
    _keep(parts, at, trials, crowned)
    return trials, crowned


def _walked(
    parts: Parts, at: Recalled, name: str, panel: BinPanel, until: int
) -> tuple[Banded, str]:
    if name not in TRAINED:
        forecaster = forecaster_named(name)
        is_bare = getattr(forecaster, "is_bare", False)
        return walked(panel, Band(forecaster, at.band.miss, is_bare=is_bare)), ""
    fitted = recipe_named(name).fit(*learned_from(panel, until, at.band))
    sink = io.BytesIO()
    # A plain dict of arrays: nothing here is pickled, and reading refuses what is.
    np.savez(sink, allow_pickle=False, **fitted.arrays())  # type: ignore[arg-type, unused-ignore]
    model = parts.lake.put_forecaster(at.data_set, sink.getvalue())
    return walked(panel, Band(fitted, at.band.miss)), model


def largest(panel: BinPanel) -> BinPanel:
    """The series with the most active bins."""
    active = (np.nan_to_num(panel.value) != 0).sum(axis=1)
    chosen = np.sort(np.argsort(-active, kind="stable")[:MOST_SERIES])
    return panel.series(chosen)


def _keep(parts: Parts, at: Recalled, trials: list[Trial], crowned: str) -> None:
    rows = table(trials).assign(
        data_set=at.data_set,
        interval=parts.watch.interval,
        coverage=parts.watch.coverage,
        is_champion=[int(trial.forecaster == crowned) for trial in trials],
        known_at=parts.run.as_of,
    )
    parts.warehouse.upsert(TRIALS, rows)
