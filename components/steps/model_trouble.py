"""Trouble with a trained model: it cannot judge, or sees other bars than it was trained on."""

import numpy as np
import pandas as pd

from components import contributions
from components.drift import BOUND
from components.incidents import Incident, alert_id
from components.records import Alert
from components.steps.parts import Parts
from components.tables import DRIFT

# Of a month's trouble one message is enough.
OF_RUN = """
select name, stability, n_bars from drift
where detector = %(detector)s and interval = %(interval)s and known_at = %(as_of)s
order by stability desc nulls last, name
"""


def note_drift(parts: Parts, as_of: pd.Timestamp) -> None:
    """Store how far the bars that this run judged lie from those of the model's training.

    Of a run that judged nothing new, nothing is stored.
    """
    trained, bins = parts.ensemble.trained, parts.run.model_bins
    if trained is None or bins is None:
        return
    rows = pd.DataFrame(
        {
            "name": [*trained.features, "score"],
            "stability": trained.usual.stability(bins),
            "n_bars": np.round(bins.sum(axis=1), 3),
        }
    )
    parts.warehouse.upsert(
        DRIFT,
        rows.assign(detector=trained.name, interval=parts.watch.interval, known_at=as_of),
    )


def alerts(parts: Parts, as_of: pd.Timestamp) -> list[tuple[Alert, list[Incident]]]:
    """One alert for the model trouble that was not told this month, or none."""
    refused = _incident(parts, as_of, "model refused")
    found = [(refused, sentence) for sentence in parts.run.degraded]
    if drifted := _drifted(parts, as_of):
        found.append(drifted)
    told = parts.warehouse.query(
        "select id from incidents where id = any(%(ids)s)", {"ids": [i.id for i, _ in found]}
    )
    news = [(incident, note) for incident, note in found if incident.id not in set(told["id"])]
    if not news:
        return []
    incidents = [incident for incident, _ in news]
    alert = Alert(
        id=alert_id(incidents),
        kind="model",
        interval=parts.watch.interval,
        ts=as_of.isoformat(),
        symbols=(),
        headline="the trained model needs attention",
        notes=tuple(note for _, note in news),
    )
    return [(alert, incidents)]


def drift_of(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    """What the run of this ``as_of`` stored of its model: name, stability, n_bars; worst first."""
    trained = parts.ensemble.trained
    return parts.warehouse.query(
        OF_RUN,
        {
            "detector": trained.name if trained else "",
            "interval": parts.watch.interval,
            "as_of": as_of.to_pydatetime(),
        },
    )


def _drifted(parts: Parts, as_of: pd.Timestamp) -> tuple[Incident, str] | None:
    trained = parts.ensemble.trained
    if trained is None:
        return None
    rows = drift_of(parts, as_of)
    beyond = rows[rows["stability"] > BOUND]
    if not len(beyond):
        return None
    worst = ", ".join(
        f"{contributions.in_words(row['name'])} {row['stability']:.2f}"
        for row in beyond.head(5).to_dict("records")
    )
    note = (
        f"{trained.name} sees other bars than it was trained on (to {trained.until:%Y-%m-%d}): "
        f"population stability index {worst}; above {BOUND:g} is a major shift. It goes on "
        f"judging; train anew: python main.py train {trained.detector}"
    )
    return _incident(parts, as_of, f"drift {trained.name}"), note


def _incident(parts: Parts, as_of: pd.Timestamp, what: str) -> Incident:
    month = as_of.normalize().replace(day=1)
    return Incident("model", "model", parts.watch.interval, month, what)
