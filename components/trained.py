"""A trained model: what one fit learned, from which bars, and which bars it may judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from components import features
from components.detectors.base import Contributions, TrainedModel
from components.drift import Usual
from components.panels import Array

# The model of the instruments that have none of their own.
POOLED = ""

# Where the scaled value turns from straight to logarithmic, in spreads.
BEND = 4.0

# 1.349 sigma lie between the quartiles of a normal law.
NORMAL_QUARTILES = 1.349


@dataclass(frozen=True)
class Scaler:
    r"""Features to one scale: :math:`4\,\mathrm{arsinh}((x - m) / (4 d))`.

    m is the median and d the distance of the quartiles over 1.349, both (n_features,) and of
    the training bars alone. Nearly straight up to four spreads and logarithmic beyond.
    """

    center: Array
    spread: Array

    def __call__(self, x: Array) -> Array:
        """Features (..., n_features) in spreads; NaN stays NaN."""
        return BEND * np.arcsinh((x - self.center) / (BEND * self.spread))

    @classmethod
    def of(cls, rows: Array) -> "Scaler":
        """The scaler of training bars (n, n_features) without NaN."""
        low, center, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
        spread = (high - low) / NORMAL_QUARTILES
        # A feature that hardly ever differs (a volume that mostly is 0) is taken as it is.
        return cls(center, np.where(spread > 0, spread, 1.0))


@dataclass(frozen=True)
class Trained:
    """A fitted model, ready to score features as the training found them.

    Parameters
    ----------
    detector : str
        Its name in the registry.
    hyper : Mapping
        The hyper-parameters, as tuning chose them.
    interval : str
        Length of the bars that it was trained on; it judges no others.
    features : tuple of str
        In the panel's order.
    features_version : str
        The arithmetic of the features, as it was then.
    until : Timestamp
        The last bar that training saw. That bar and all before it get no score: a model that
        has seen a bar does not judge it.
    models : Mapping of str to TrainedModel
        By instrument; "" for all that have none of their own.
    usual : Usual
        How features and score were spread over the training bars.
    version : str
        Its number in the registry.
    """

    detector: str
    hyper: Mapping[str, Any]
    interval: str
    features: tuple[str, ...]
    features_version: str
    until: pd.Timestamp
    scaler: Scaler
    models: Mapping[str, TrainedModel]
    usual: Usual
    version: str = ""
    code_version: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Its name among the views: ``kmeans@3``."""
        return f"{self.detector}@{self.version}" if self.version else self.detector

    @property
    def is_pooled(self) -> bool:
        """Whether one model serves every instrument."""
        return set(self.models) == {POOLED}

    @property
    def context(self) -> int:
        """Earlier bars needed to score one bar."""
        return max(model.context for model in self.models.values())

    @property
    def until_naive(self) -> np.datetime64:
        """``until`` as numpy holds it: UTC, without saying so."""
        return self.until.tz_convert("UTC").tz_localize(None).to_datetime64()

    def score_any(self, x: Array, symbols: tuple[str, ...]) -> Array:
        """Scores (n_series, n_bars) of features (n_series, n_bars, n_features).

        NaN for bars without all features in their context, and for instruments without a
        model. Bars that training saw get a score too: drift is measured against theirs.
        """
        scaled = self.scaler(x)
        if self.is_pooled:
            return self.models[POOLED].score(scaled)
        scores = np.full(x.shape[:2], np.nan)
        for i, symbol in enumerate(symbols):
            if model := self._model(symbol):
                scores[i] = model.score(scaled[i : i + 1])[0]
        return scores

    def group(self, scaled: Array) -> Array:
        """Which of the model's kinds of bar each scaled bar (n, n_features) is next to.

        All 0 for a model that knows no kinds, or one of its own for each instrument.
        """
        model = self.models.get(POOLED)
        centers = getattr(model, "centroids", getattr(model, "means", None))
        if centers is None:
            return np.zeros(len(scaled))
        steps = scaled[:, None, :] - centers
        nearest: Array = np.argmin((steps * steps).sum(axis=2), axis=1).astype(float)
        return nearest

    def contributions(self, x: Array, symbols: tuple[str, ...]) -> Contributions:
        """What each feature adds at the last bar of each window.

        Parameters
        ----------
        x : Array
            Windows (n_windows, context + 1, n_features).
        symbols : tuple of str
            The instrument of each window.

        Returns
        -------
        Contributions
            Arrays with one bar: (n_windows, 1) and (n_windows, 1, n_features).
        """
        scaled = self.scaler(x)
        if self.is_pooled:
            found = self.models[POOLED].contributions(scaled)
            return _last(found)
        each = []
        for i, symbol in enumerate(symbols):
            model = self._model(symbol)
            if model is None:
                raise KeyError(symbol)
            each.append(_last(model.contributions(scaled[i : i + 1])))
        return Contributions(
            total=np.concatenate([found.total for found in each]),
            by_feature=np.concatenate([found.by_feature for found in each]),
            rest=np.concatenate([found.rest for found in each]),
            what=each[0].what,
            rest_what=each[0].rest_what,
        )

    def _model(self, symbol: str) -> TrainedModel | None:
        return self.models.get(symbol, self.models.get(POOLED))


def unfit(trained: Trained, interval: str) -> str:
    """Why a model cannot judge bars of an interval with this program's features; "" when it can."""
    if trained.interval != interval:
        return f"was trained on {trained.interval} bars, not {interval}"
    if trained.features_version != features.VERSION:
        return (
            f"was trained on features of version {trained.features_version[:20]!r}, and this "
            f"program makes version {features.VERSION!r}"
        )
    unknown = [name for name in trained.features if name not in features.FEATURES]
    return f"asks for the unknown feature {unknown[0][:60]!r}" if unknown else ""


def _last(found: Contributions) -> Contributions:
    return Contributions(
        total=found.total[:, -1:],
        by_feature=found.by_feature[:, -1:],
        rest=found.rest[:, -1:],
        what=found.what,
        rest_what=found.rest_what,
    )
