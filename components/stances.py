"""How each view stood to a bar: voted, voted against, or abstained and why. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from components.apart import SHARES
from components.detectors import DETECTORS
from components.records import View
from components.words import counted, number

NAMES: Mapping[str, str] = {
    "knn": "kNN",
    "kmeans": "K-Means",
    "gmm": "GMM",
    "isolation_forest": "Isolation Forest",
    "lstm_autoencoder": "LSTM autoencoder",
    "mahalanobis": "Mahalanobis distance",
    "pca": "PCA",
    "swing": "swing of 60 bars",
    "micro_return": "return",
    "micro_log_return": "log return",
    "micro_range": "bar range",
    "micro_body": "body",
    "macro_volatility": "volatility of 60 bars",
    "macro_range": "largest range of 60 bars",
    "macro_volume": "volume of 60 bars",
}


def shown(name: str) -> str:
    """A view's name as a reader knows it: ``K-Means``, ``K-Means (version 3)``."""
    bare, _, version = name.partition("@")
    told = NAMES.get(bare, bare.replace("_", " "))
    return f"{told} (version {version})" if version else told


# The other views leave a channel out that a bar does not have; these cannot.
NEEDS_VOLUME = frozenset({"pump", "surge", "macro_volume"})


def stances(
    detectors: Sequence[str],
    scores: pd.DataFrame,
    rate: float,
    channels: Mapping[str, Any],
    n_bars: int,
) -> tuple[View, ...]:
    """How each of the views stood to one bar.

    Parameters
    ----------
    detectors : sequence of str
        The views that were asked, by their names in the registry.
    scores : DataFrame
        Of those that have a score at the bar: detector, p, n_reference.
    rate : float
        The share of bars that may alert: a view votes when its p is no larger.
    channels : Mapping
        The bar's channels by name; NaN or absent for one that it does not have.
    n_bars : int
        Bars of the instrument up to and including this one.
    """
    rows = {str(row["detector"]): row for row in scores.to_dict("records")}
    return tuple(_stance(name, rows.get(name), rate, channels, n_bars) for name in detectors)


def _stance(
    name: str,
    row: Mapping[Any, Any] | None,
    rate: float,
    channels: Mapping[str, Any],
    n_bars: int,
) -> View:
    p = math.nan if row is None else number(row.get("p"))
    if math.isfinite(p) and math.isfinite(rate):
        return View(shown(name), "voted" if p <= rate else "against", p)
    if row is not None:
        n_past = number(row.get("n_reference"))
        return View(shown(name), "abstained", why="" if math.isnan(n_past) else _only(n_past))
    return View(shown(name), "abstained", why=_why(name, channels, n_bars))


def _why(name: str, channels: Mapping[str, Any], n_bars: int) -> str:
    known = {channel for channel, z in channels.items() if math.isfinite(number(z))}
    if name in NEEDS_VOLUME and known and "volume_z" not in known:
        return "no volume data"
    lacking = DETECTORS[name].min_bars - n_bars if name in DETECTORS else 0
    return f"needs {counted(lacking, 'more bar')}" if lacking > 0 else ""


def _only(n_past: float) -> str:
    return f"only {counted(int(n_past), 'past score')} to compare with"


def in_words(views: Sequence[View], n_independent: float, level: int) -> str:
    """``4 of 6 views call it unusual: ...; not kNN; pump abstains (no volume data)``."""
    if len(views) < 2 or all(view.stance == "abstained" for view in views):
        return ""
    voted = [view.name for view in views if view.stance == "voted"]
    against = [view.name for view in views if view.stance == "against"]
    call = "calls" if len(voted) == 1 else "call"
    told = f"{len(voted)} of {len(views)} views {call} it unusual"
    if voted:
        told += f": {_listed(voted)}"
    if level and voted and set(voted) <= {shown(name) for name in SHARES}:
        is_, needs = ("is", "needs") if len(voted) == 1 else ("are", "need")
        told += f", which {is_} asked apart and {needs} no second"
    # Views that repeat each other count as one.
    if level and 0 < n_independent < len(voted):
        told += f" (they count as {counted(int(n_independent), 'independent vote')})"
    if against:
        told += f"; not {_listed(against, 'or')}"
    return "; ".join([told, *_abstained(views)])


def _abstained(views: Sequence[View]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for view in views:
        if view.stance == "abstained":
            reasons.setdefault(view.why, []).append(view.name)
    return [_abstain(names, why) for why, names in reasons.items()]


def _abstain(names: Sequence[str], why: str) -> str:
    told = f"{_listed(names)} {'abstains' if len(names) == 1 else 'abstain'}"
    return f"{told} ({why})" if why else told


def _listed(names: Sequence[str], last: str = "and") -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
