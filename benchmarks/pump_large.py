"""What the judges tell of large coins, which nobody pumps: their rate, and what they still find."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.pump_events import without_repeats
from benchmarks.pump_judge import DAY, MINUTE, alarms, judged
from components.ensemble import Ensemble
from components.evaluation import Trials, assess


def of_large(
    judges: Mapping[str, Ensemble], large: Sequence[pd.DataFrame]
) -> Iterator[Mapping[str, str]]:
    """How often each judge tells something, a row a judge."""
    for name, ensemble in judges.items():
        told = told_of(ensemble, large)
        yield {
            "judge": name,
            "days": f"{told['days']:.0f}",
            "alerts": f"{told['alerts']:.0f}",
            "a week": f"{7 * told['alerts'] / told['days']:.2f}",
            "a day": f"{told['alerts'] / told['days']:.3f}",
            "a day without repeats": f"{told['without repeats'] / told['days']:.3f}",
        }


def told_of(ensemble: Ensemble, large: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Days decided, alerts, and those of them that repeat none."""
    days, n_alerts, n_apart = 0.0, 0, 0
    for rows in large:
        found = judged(ensemble, rows)
        days += np.isfinite(found.agreed_p).sum() / (DAY / MINUTE)
        n_alerts += int(found.is_anomaly.sum())
        n_apart += sum(
            len(without_repeats(alarms(found, series))) for series in range(len(found.is_anomaly))
        )
    return {"days": days, "alerts": n_alerts, "without repeats": n_apart}


def of_planted(judges: Mapping[str, Ensemble], rows: pd.DataFrame) -> Iterator[Mapping[str, str]]:
    """What each judge finds of planted anomalies, one in some 130 minutes."""
    for name, ensemble in judges.items():
        found = assess(ensemble, rows, Trials(interval="1m"), baselines=())["planted"]
        yield {
            "judge": name,
            "plants": str(found["n"]),
            "average precision": f"{found['average_precision']:.3f}",
            "VUS-PR": f"{found['vus_pr']:.3f}",
            "told": f"{found['told']:.3f}",
        }
