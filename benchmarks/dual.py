"""What the micro and macro views find of minutes, beside the shipped judge and in its place.

python -m benchmarks.dual PUMPS COINS

PUMPS is the folder of the listed pumps, COINS one folder of large coins' minutes.
``docs/decisions/0018-micro-and-macro.md`` says what followed from it.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pump_judge import judged, read_minutes, read_pumps
from benchmarks.pump_large import of_planted
from benchmarks.pumps import PER_WEEK, USUAL, shown
from components.ensemble import Ensemble
from components.settings import ENSEMBLE_OF_SHORT, SETS

DUAL = SETS["dual"]
MICRO = tuple(name for name in DUAL if name.startswith("micro_"))
MACRO = tuple(name for name in DUAL if name.startswith("macro_"))

JUDGES = {
    "shipped for minutes": ENSEMBLE_OF_SHORT,
    "and micro": (*ENSEMBLE_OF_SHORT, *MICRO),
    "and macro": (*ENSEMBLE_OF_SHORT, *MACRO),
    "and both": (*ENSEMBLE_OF_SHORT, *DUAL),
    "dual": DUAL,
    "dual and surge": (*DUAL, "surge"),
}


def judges(per_week: float) -> dict[str, Ensemble]:
    """Each set of views at a budget."""
    return {name: Ensemble(views, per_week * 365.25 / 7) for name, views in JUDGES.items()}


def of_coins(rows: pd.DataFrame, per_week: float) -> Iterator[Mapping[str, str]]:
    """How often each judge tells something of large coins, and what a bar costs it."""
    for name, ensemble in judges(per_week).items():
        judged(ensemble, rows)
        start = time.process_time()
        found = judged(ensemble, rows)
        spent = time.process_time() - start
        days = np.isfinite(found.agreed_p).sum() / 1440
        yield {
            "judge": name,
            "alerts a week": f"{7 * found.is_anomaly.sum() / days:.2f}",
            "us a bar": f"{1e6 * spent / found.panel.is_bar.sum():.0f}",
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pumps", type=Path, help="folder of the pumps: events, trades, candles")
    parser.add_argument("coins", type=Path, help="folder of folders of large coins' minutes")
    given = parser.parse_args()
    coins = max((rows for _, rows in read_minutes(given.coins)), key=len)
    shown(list(of_coins(coins, USUAL)), f"Large coins, {USUAL:g} a week stated")
    pumps = read_pumps(given.pumps)
    for per_week in (USUAL, PER_WEEK):
        told = {name: pumps.told_by(each) for name, each in judges(per_week).items()}
        rows = [{"judge": name, **tally.row()} for name, tally in told.items()]
        shown(rows, f"Pumps, {per_week:.3g} a week stated")
    shown(list(of_planted(judges(USUAL), coins)), "Planted anomalies")


if __name__ == "__main__":
    main()
