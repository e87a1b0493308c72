"""What ``models score`` does with its arguments; the command itself stands in ``commands``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from components import contributions, scoring
from components.documents import plain
from components.errors import FeatureStoreError, ModelError
from components.feature_server import FeatureServer
from components.records import Failure
from components.scoring import Scored
from components.sessions import Calendars
from components.settings import Settings
from components.steps.stored_features import newest_features
from components.trained import Trained
from components.wiring import open_warehouse, registry_of, source_of, symbols_of
from components.words import moment

# Of what a score is made of, so much is shown.
SHOWN = 3

REMEDY = "Run `python main.py features`{brought}."


@dataclass(frozen=True)
class Found:
    """The scores of a model, the instruments that have none, and where features came from."""

    trained: Trained
    scores: list[Scored]
    failures: list[Failure]
    place: str


def scored(settings: Settings, which: str, as_of: pd.Timestamp, *, is_now: bool) -> Found:
    """Score the newest bar of each watched instrument with a registered model.

    Raises
    ------
    ModelError
        There is no such model, it does not fit, or needs more than the feature server has.
    StoreError
        The features cannot be had, or are stale, of all instruments.
    """
    models = registry_of(settings)
    trained = models.usable(models.version(which))
    source = source_of(settings)
    symbols = symbols_of(settings, source)
    rows, place = _rows(settings, trained, symbols, as_of)
    if not is_now:
        scoring.require_known_by(rows, as_of)
    calendars = Calendars(settings.calendars, source.traits.calendar)
    grace = pd.Timedelta(hours=settings.grace_hours)
    failures = scoring.stale(rows, symbols, calendars, settings.interval, as_of, grace)
    lacking = {failure.symbol for failure in failures}
    rows = rows[~rows["symbol"].isin(lacking)]
    if not len(rows):
        brought = ", then bring them online" if settings.feast_url else ""
        first = f"{failures[0].symbol}: {failures[0].message}" if failures else "nothing to score"
        raise FeatureStoreError(f"{place}: {first}. {REMEDY.format(brought=brought)}")
    return Found(trained, scoring.score(trained, rows), failures, place)


def _rows(
    settings: Settings, trained: Trained, symbols: Sequence[str], as_of: pd.Timestamp
) -> tuple[pd.DataFrame, str]:
    """The features that the model needs, and where they came from."""
    if settings.feast_url:
        if trained.context:
            raise ModelError(
                f"{trained.name} needs the {trained.context} bars before a bar too, and a "
                "feature server holds the newest alone. Unset TREMOR_FEAST_URL"
            )
        server = FeatureServer(settings.feast_url, settings.interval, settings.timeout_s)
        return server.newest(symbols, trained.features), f"feature server {server.url}"
    with open_warehouse(settings) as warehouse:
        n_bars = trained.context + 1
        rows = newest_features(
            warehouse, symbols, settings.interval, trained.features, n_bars, as_of
        )
        return rows, f"warehouse {warehouse.shown}"


def in_words(found: Found, interval: str) -> str:
    """The scores as a table, the oddest first."""
    first = next((each.parts for each in found.scores if each.parts), ())
    what = f"{found.trained.name}, made of: {first[0].what}" if first else found.trained.name
    ordered = sorted(found.scores, key=lambda each: -each.score if not each.why else 1e300)
    rows = [
        {
            "symbol": each.symbol,
            "bar": moment(each.ts, interval),
            "known": f"{each.known_at:%Y-%m-%d %H:%M}",
            "score": "-" if each.why else f"{each.score:.4g}",
            "made of": each.why or _made_of(each),
        }
        for each in ordered
    ]
    table = pd.DataFrame(rows).to_string(index=False)
    return f"{what}; features of {found.place}\n{table}"


def _made_of(each: Scored) -> str:
    rows = contributions.table(each.parts)[:SHOWN]
    return ", ".join(f"{row.name} {row.value} ({row.amount})" for row in rows)


def as_json(found: Found) -> str:
    """The same for a program; unknown numbers are null."""
    said: dict[str, Any] = {
        "model": found.trained.name,
        "features": found.place,
        "scores": [_plain(each) for each in found.scores],
        "failures": [asdict(failure) for failure in found.failures],
    }
    return json.dumps(said, indent=1)


def _plain(each: Scored) -> dict[str, Any]:
    instants = {k: getattr(each, k).isoformat() for k in ("ts", "closes_at", "known_at")}
    parts = [{k: getattr(p, k) for k in ("feature", "value", "unit", "part")} for p in each.parts]
    said = {**instants, "score": each.score, "why": each.why, "parts": parts}
    return {"symbol": each.symbol, **plain(said)}
