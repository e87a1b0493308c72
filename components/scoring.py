"""The newest bar of each instrument, scored by a trained model: what it is, and what it is made of.

Pure: features come in as rows, whoever stored them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.errors import ModelError
from components.feature_views import CLOSED, KEY, KNOWN, OPENED
from components.features import FEATURES
from components.panels import Array
from components.records import Failure, Part
from components.sessions import Calendars
from components.trained import Trained
from components.words import moment

SEEN = "its training saw this bar"
UNKNOWN = "a feature is unknown in its context"
NO_MODEL = "the model knows no such instrument"


@dataclass(frozen=True)
class Scored:
    """A bar's score, and what each feature added, the largest first.

    ``why`` says why there is no score (NaN); "" where there is one.
    """

    symbol: str
    ts: pd.Timestamp
    closes_at: pd.Timestamp
    known_at: pd.Timestamp
    score: float
    why: str = ""
    parts: tuple[Part, ...] = field(default=())


def score(trained: Trained, rows: pd.DataFrame) -> list[Scored]:
    """Score each instrument's newest bar, in the order of their names.

    Parameters
    ----------
    rows : DataFrame
        symbol, ts, closes_at, known_at and the model's features, of the bars that the model
        needs of each instrument: its context and one, or fewer.
    """
    rows = rows.sort_values([KEY, OPENED], ignore_index=True)
    newest = rows.groupby(KEY, sort=True).tail(1)
    symbols = tuple(newest[KEY])
    windows = _windows(rows, trained)
    scores = trained.score_any(windows, symbols)[:, -1]
    is_seen = (newest[OPENED] <= trained.until).to_numpy()
    scores = np.where(is_seen, np.nan, scores)
    parts = _parts(trained, windows, symbols, scores)
    return [
        Scored(
            symbol=symbols[i],
            ts=bar[OPENED],
            closes_at=bar[CLOSED],
            known_at=bar[KNOWN],
            score=float(scores[i]),
            why="" if np.isfinite(scores[i]) else _why(trained, symbols[i], is_seen[i]),
            parts=parts.get(i, ()),
        )
        for i, bar in enumerate(newest.to_dict("records"))
    ]


def stale(
    rows: pd.DataFrame,
    asked: Sequence[str],
    calendars: Calendars,
    interval: str,
    as_of: pd.Timestamp,
    grace: pd.Timedelta,
) -> list[Failure]:
    """The instruments whose newest bar is not there, or not the newest that has closed.

    Parameters
    ----------
    grace : Timedelta
        So long after its close a bar may still be on its way.
    """
    newest = dict(rows.groupby(KEY)[OPENED].max())
    failures = []
    for symbol in asked:
        due = calendars.last_closed(symbol, interval, as_of - grace)
        if symbol not in newest:
            failures.append(Failure(symbol, "FeatureStoreError", "no features of it are stored"))
        elif newest[symbol] < due:
            is_of, then = moment(newest[symbol], interval), moment(due, interval)
            said = f"its features are those of {is_of}, and the bar of {then} has closed"
            failures.append(Failure(symbol, "FeatureStoreError", said))
    return failures


def require_known_by(rows: pd.DataFrame, as_of: pd.Timestamp) -> None:
    """Refuse rows of which something became known later.

    Raises
    ------
    ModelError
        With the first of them.
    """
    late = rows[(rows[KNOWN] > as_of) | (rows[CLOSED] > as_of)]
    if len(late):
        first = late.iloc[0]
        raise ModelError(
            f"the features of {first[KEY]} became known on {first[KNOWN]:%Y-%m-%d %H:%M}, behind "
            f"--as-of {as_of:%Y-%m-%d %H:%M}. "
            "A feature server knows the newest alone: leave --as-of out, or unset TREMOR_FEAST_URL"
        )


def _windows(rows: pd.DataFrame, trained: Trained) -> Array:
    """(n_instruments, context + 1, n_features), the newest bar last; NaN where there is none."""
    n = trained.context + 1
    rows = rows.groupby(KEY, sort=True).tail(n)
    series = rows.groupby(KEY, sort=True).ngroup().to_numpy()
    place = n - 1 - rows.groupby(KEY, sort=True).cumcount(ascending=False).to_numpy()
    windows = np.full((rows[KEY].nunique(), n, len(trained.features)), np.nan)
    windows[series, place] = rows[list(trained.features)].to_numpy(float)
    return windows


def _why(trained: Trained, symbol: str, is_seen: bool) -> str:
    if is_seen:
        return SEEN
    is_known = trained.is_pooled or symbol in trained.models or "" in trained.models
    return UNKNOWN if is_known else NO_MODEL


def _parts(
    trained: Trained, windows: Array, symbols: tuple[str, ...], scores: Array
) -> dict[int, tuple[Part, ...]]:
    """What each feature added to each score, by the instrument's place."""
    places = np.flatnonzero(np.isfinite(scores))
    if not len(places):
        return {}
    found = trained.contributions(windows[places], tuple(symbols[i] for i in places))
    made: dict[int, tuple[Part, ...]] = {}
    for at, place in enumerate(places):
        added = found.by_feature[at, 0]
        total, rest = float(found.total[at, 0]), float(found.rest[at, 0])
        parts = [
            Part(
                view=trained.name,
                feature=name,
                value=float(windows[place, -1, j]),
                unit=FEATURES[name].unit,
                part=float(added[j]),
                total=total,
                what=found.what,
            )
            for j, name in enumerate(trained.features)
        ]
        parts.sort(key=lambda part: -abs(part.part))
        if found.rest_what:
            parts.append(Part(trained.name, "", np.nan, "", rest, total, found.rest_what))
        made[int(place)] = tuple(parts)
    return made
