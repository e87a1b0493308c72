"""Whether the pumps are found by a lucky choice: each number halved and doubled."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.pump_events import Tally, without_repeats
from benchmarks.pump_judge import DAY, MINUTE, Pumps, alarms, closes, judged, lone
from components import calibration
from components.apart import FINEST
from components.ensemble import Judged
from components.heavy_tail import HeavyTail

BASE = HeavyTail()

VARIANTS = {
    "as shipped": BASE,
    "window 5,040": replace(BASE, window=5_040),
    "window 20,160": replace(BASE, window=20_160),
    "tail 1 %": replace(BASE, tail=0.01),
    "tail 4 %": replace(BASE, tail=0.04),
    "usual slope 0.68, the least of a large coin": replace(BASE, usual_slope=0.68),
    "usual slope 0.91, the largest": replace(BASE, usual_slope=0.91),
    "usual slope 0.375": replace(BASE, usual_slope=0.375),
    "usual slope 1.5": replace(BASE, usual_slope=1.5),
    "shrinkage 150": replace(BASE, shrinkage=150.0),
    "shrinkage 600": replace(BASE, shrinkage=600.0),
    "first p after 125": replace(BASE, min_reference=125),
    "first p after 500": replace(BASE, min_reference=500),
}

# Of so many of the smallest p-values one is the threshold.
MOST = 5_000


@contextmanager
def varied(tail: HeavyTail) -> Iterator[None]:
    """Let the door calibrate its view of pumps otherwise, for a while."""
    rules = calibration.OWN_RULES
    before = rules[FINEST]
    rules[FINEST] = tail
    try:
        yield
    finally:
        rules[FINEST] = before


def of_variants(
    pumps: Pumps, large: Sequence[pd.DataFrame], per_week: float
) -> Iterator[Mapping[str, str]]:
    """Of each variant what is found at the stated rate, and at the p that keeps it elsewhere.

    Elsewhere is on the large coins: there the p is set at which as many alarms come, without
    repeats, and it is applied unchanged to the pumped ones.
    """
    ensemble = lone(FINEST, per_week)
    for name, tail in VARIANTS.items():
        with varied(tail):
            # An ensemble keeps its calibrations once it has judged, so each gets a new one.
            ensemble = replace(ensemble)
            quiet = [judged(ensemble, part) for part in large]
            pumped = pumps.judged_by(ensemble, pumps.candles)
        stated = pumps.tally(lambda event, told=pumped: alarms(told[event.name]))
        cut = threshold_on(quiet, per_week / 7)
        fixed = pumps.tally(lambda event, told=pumped, cut=cut: below(told[event.name], cut))
        yield {
            "variant": name,
            **_short(stated),
            "p": f"{cut:.1e}",
            **{f"{key} at p": value for key, value in _short(fixed).items()},
        }
    for factor in (0.5, 2.0):
        told = pumps.told_by(lone(FINEST, factor * per_week))
        yield {"variant": f"stated rate x {factor:g}", **_short(told)}


def threshold_on(found: Sequence[Judged], per_day: float) -> float:
    """The largest p of which no more than ``per_day`` alarms come, without repeats."""
    n_decided = sum(int(np.isfinite(each.agreed_p).sum()) for each in found)
    values = np.unique(np.concatenate([each.agreed_p.ravel() for each in found]))[:MOST]
    accepted = per_day * n_decided * (MINUTE / DAY)

    def n_told(cut: float) -> int:
        told = [below(e, cut, series) for e in found for series in range(len(e.agreed_p))]
        return sum(len(without_repeats(each)) for each in told)

    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if n_told(values[middle]) <= accepted else (low, middle - 1)
    return float(values[low])


def below(found: Judged, cut: float, series: int = 0) -> pd.DatetimeIndex:
    """When the bars of a series have closed whose p is at most ``cut``."""
    with np.errstate(invalid="ignore"):
        return closes(found.panel.ts[series][found.agreed_p[series] <= cut], "1m")


def _short(tally: Tally) -> dict[str, str]:
    return {key: tally.row()[key] for key in ("found", "false", "F1")}
