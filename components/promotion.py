"""Promotion: what a trained model must have earned before it judges."""

from dataclasses import dataclass

import numpy as np

from components.evaluation.contest import Contest
from components.panels import Array

CHALLENGER, CHAMPION = "challenger", "champion"

# Who every challenger has to beat, beside the champion: the plain volatility-scaled z-score, and
# its own kind of model that learned nothing.
PLAIN, TWIN = "volatility_zscore", "untrained twin"

# Of all held-out scores so many differ, or the model does not tell bars apart.
LEAST_DISTINCT = 0.9

# Realised over stated alerts, with the model judging alone.
RATES = (0.5, 1.5)


@dataclass(frozen=True)
class Condition:
    """One thing that promotion asks for, whether it is met, and the figures in words."""

    name: str
    is_met: bool
    words: str


def distinct(scores: Array) -> float:
    """The share of scores that differ from every other one; NaN where there are none."""
    finite = scores[np.isfinite(scores)]
    return float(len(np.unique(finite)) / len(finite)) if len(finite) else float("nan")


def conditions(
    held: Contest, diversity: float, *, is_champion: bool = False
) -> tuple[Condition, ...]:
    """What was asked of a challenger on held-out time, and what it came to.

    Parameters
    ----------
    held : Contest
        With the challenger first, and beside it the plain z-score, the untrained twin, and the
        champion where there is one.
    diversity : float
        The share of the challenger's held-out scores that differ.
    is_champion : bool
        Whether it is the champion over again: the same numbers from the same bars.
    """
    realised = held.figures[CHALLENGER]["realised"]
    low, high = (share * held.alerts_per_year for share in RATES)
    asked = [
        Condition(
            "tells bars apart",
            diversity >= LEAST_DISTINCT,
            f"{diversity:.0%} of its scores differ; asked for {LEAST_DISTINCT:.0%}",
        ),
        Condition(
            "keeps the rate",
            low <= realised <= high,
            f"{realised:.2f} alerts per instrument and year alone, {held.alerts_per_year:g} stated",
        ),
    ]
    for other in (PLAIN, TWIN, CHAMPION):
        if other in held.leads:
            lead, recall = held.leads[other], held.figures[other]["recall"]
            asked.append(
                Condition(
                    f"beats the {other}",
                    lead.low > 0,
                    f"finds {held.figures[CHALLENGER]['recall']:.1%} of {held.n_plants} planted, "
                    f"the other {recall:.1%}: {lead.mean:+.1%} [{lead.low:+.1%}, {lead.high:+.1%}]",
                )
            )
    if is_champion:
        asked.append(
            Condition(
                f"is another than the {CHAMPION}",
                is_met=False,
                words="it learned the same from the same bars. Train on later ones: --since",
            )
        )
    return tuple(asked)
