"""Training: an honest split in time, the features before it, tuning, and the fitted model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from components import features
from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector, TrainedModel
from components.drift import Usual
from components.errors import NotEnoughBars, UnknownName
from components.features.channels import Channels
from components.features.columns import Columns
from components.model_files import hyper_of
from components.panels import Array, CandlePanel, pack
from components.sessions import ALWAYS_OPEN, Calendars
from components.trained import POOLED, Scaler, Trained

T = TypeVar("T")

# Instruments whose features are computed together, so that memory stays bounded.
TOGETHER = 50

# The scaler and the spread of the training bars are taken from so many of them at most.
MOST_ROWS = 200_000


class Progress(Protocol):
    """Shows how far a long loop is."""

    def __call__(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Pass ``items`` on, one by one."""


@dataclass(frozen=True)
class FeaturePanel:
    """Features of some instruments: ``x`` (n_series, n_bars, n_features) and ``ts``.

    Padding stands in front: NaN, and NaT in ``ts`` (n_series, n_bars).
    """

    symbols: tuple[str, ...]
    ts: npt.NDArray[np.datetime64]
    x: Array

    def until(self, last: pd.Timestamp) -> "FeaturePanel":
        """The same panel with nothing behind ``last``."""
        with np.errstate(invalid="ignore"):
            keep = self.ts <= naive(last)
        n = int(np.flatnonzero(keep.any(axis=0))[-1]) + 1 if keep.any() else 0
        # The last column of one series may lie years before that of another.
        ts = np.where(keep, self.ts, np.datetime64("NaT", "us"))
        x = np.where(keep[:, :, None], self.x, np.nan)
        return FeaturePanel(self.symbols, ts[:, :n], x[:, :n])


@dataclass(frozen=True)
class Split:
    """A cut in time, the same for all instruments: never by instrument.

    ``until`` is the last bar that training sees and ``since`` the first held out; between them
    lies an embargo of ``n_embargo`` bars, the model's context and that of its features: no
    window of a held-out bar reaches a bar of the training.
    """

    first: pd.Timestamp
    until: pd.Timestamp
    since: pd.Timestamp
    last: pd.Timestamp
    n_embargo: int


def split(ts: npt.NDArray[np.datetime64], share: float, n_embargo: int) -> Split:
    """Cut where ``share`` of all bars lie before.

    Raises
    ------
    NotEnoughBars
        When nothing would be left on either side.
    """
    stamps = np.sort(ts[~np.isnat(ts)])
    if not len(stamps):
        raise NotEnoughBars("train", 2 + n_embargo, 0)
    times = np.unique(stamps)
    place = int(np.searchsorted(times, stamps[min(int(share * len(stamps)), len(stamps) - 1)]))
    held_out = place + 1 + n_embargo
    if place < 1 or held_out >= len(times):
        raise NotEnoughBars("train", held_out + 1, len(times))
    first, until, since, last = (pd.Timestamp(t, tz="UTC") for t in times[[0, place, held_out, -1]])
    return Split(first, until, since, last, n_embargo)


def trainable(name: str) -> TrainableDetector:
    """The detector of this name, which can be trained.

    Raises
    ------
    UnknownName
        No detector is called so, or it has nothing to learn.
    """
    found = DETECTORS.get(name)
    if not isinstance(found, TrainableDetector):
        known = [n for n, d in DETECTORS.items() if isinstance(d, TrainableDetector)]
        raise UnknownName("trainable detector", name, known)
    return found


def feature_panel(
    candles: pd.DataFrame,
    calendars: Calendars,
    names: tuple[str, ...],
    progress: Progress,
) -> FeaturePanel:
    """The features of all candles, each instrument from its first bar.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split, market, steps.
    """
    symbols = tuple(sorted(candles["symbol"].unique()))
    groups = [symbols[i : i + TOGETHER] for i in range(0, len(symbols), TOGETHER)]
    rows = dict(tuple(candles.groupby("symbol", sort=False)))
    parts = []
    for group in progress(groups, len(groups), "features"):
        always = [symbol for symbol in group if calendars.of(symbol) == ALWAYS_OPEN]
        panel = pack(pd.concat([rows[symbol] for symbol in group]), group, always)
        parts.append((panel.ts, columns_of(panel, names)))
    n_bars = max(ts.shape[1] for ts, _ in parts)
    ts = np.concatenate([_padded(ts, n_bars, np.datetime64("NaT", "us")) for ts, _ in parts])
    x = np.concatenate([_padded(x, n_bars, np.nan) for _, x in parts])
    return FeaturePanel(symbols, ts, x)


def columns_of(panel: CandlePanel, names: tuple[str, ...]) -> Array:
    """The features of a panel from its first bar, (n_series, n_bars, n_features)."""
    n_series = len(panel.symbols)
    nothing_before = np.full(n_series, np.nan)
    _, channelled = Channels().run(Channels().start(n_series), panel)
    columns = Columns(names)
    _, found = columns.run(columns.start(n_series), panel, nothing_before, channelled)
    return np.stack([found[name] for name in names], axis=2)


@dataclass(frozen=True)
class Recipe:
    """What is to be trained.

    Parameters
    ----------
    detector : TrainableDetector
        With its hyper-parameters; tuning may choose others of its grid.
    name : str
        Its name in the registry.
    is_pooled : bool
        One model for all instruments, or one for each.
    is_tuned : bool
        Whether its grid is searched.
    """

    detector: TrainableDetector
    name: str
    interval: str
    features: tuple[str, ...]
    is_pooled: bool = True
    is_tuned: bool = True


def tune(
    recipe: Recipe, panel: FeaturePanel, scaler: Scaler, progress: Progress
) -> tuple[TrainableDetector, list[dict[str, Any]]]:
    """The candidate of the grid with the least criterion, and what each came to.

    Tuning sees the training bars of all instruments, also where each gets a model of its own.
    """
    grid = recipe.detector.grid() if recipe.is_tuned else (recipe.detector,)
    if len(grid) == 1:
        return grid[0], []
    x, tried = scaler(panel.x), []
    for candidate in progress(grid, len(grid), f"tuning {recipe.name}"):
        criterion = candidate.criterion(candidate.fit(x), x)
        tried.append({**hyper_of(candidate), "criterion": float(criterion)})
    best = int(np.argmin([each["criterion"] for each in tried]))
    return grid[best], tried


def fit(
    recipe: Recipe,
    detector: TrainableDetector,
    panel: FeaturePanel,
    scaler: Scaler,
    progress: Progress,
) -> Trained:
    """Fit on a panel that holds the training bars alone.

    Raises
    ------
    NotEnoughBars
        When no instrument has enough of them.
    """
    x = scaler(panel.x)
    models: dict[str, TrainedModel] = {}
    if recipe.is_pooled:
        models[POOLED] = detector.fit(x)
    else:
        places = range(len(panel.symbols))
        for i in progress(places, len(places), f"training {recipe.name}, one each"):
            if int((~np.isnan(x[i]).any(axis=1)).sum()) >= detector.min_bars:
                models[panel.symbols[i]] = detector.fit(x[i : i + 1])
        if not models:
            raise NotEnoughBars(f"train {recipe.name}", detector.min_bars, _longest(x))
    return _trained(recipe, detector, panel, scaler, models)


def untrained_twin(trained: Trained, recipe: Recipe, panel: FeaturePanel) -> Trained:
    """The same kind of model, which has learned nothing of the panel."""
    detector = trainable(recipe.name)
    same = type(detector)(**trained.hyper)
    twin = same.untrained(trained.scaler(panel.x))
    return _trained(recipe, same, panel, trained.scaler, {POOLED: twin})


def scaler_of(panel: FeaturePanel) -> Scaler:
    """The scaler of the panel's bars.

    Raises
    ------
    NotEnoughBars
        When no bar has all features.
    """
    return Scaler.of(_rows(panel.x))


def _trained(
    recipe: Recipe,
    detector: TrainableDetector,
    panel: FeaturePanel,
    scaler: Scaler,
    models: dict[str, TrainedModel],
) -> Trained:
    bare = Trained(
        detector=recipe.name,
        hyper=hyper_of(detector),
        interval=recipe.interval,
        features=recipe.features,
        features_version=features.VERSION,
        until=pd.Timestamp(np.nanmax(panel.ts), tz="UTC"),
        scaler=scaler,
        models=models,
        usual=Usual(np.empty((0, 0)), np.empty((0, 0))),
    )
    scores = bare.score_any(panel.x, panel.symbols)
    usual = Usual.of(_rows(np.concatenate([panel.x, scores[:, :, None]], axis=2)))
    return Trained(**{**_fields(bare), "usual": usual})


def _fields(trained: Trained) -> dict[str, Any]:
    return {name: getattr(trained, name) for name in trained.__dataclass_fields__}


def _rows(x: Array) -> Array:
    """The whole bars of a panel, (n, n_features), at most ``MOST_ROWS``, evenly drawn."""
    rows = x.reshape(-1, x.shape[2])
    whole = np.flatnonzero(~np.isnan(rows).any(axis=1))
    if len(whole) < 10:
        raise NotEnoughBars("train: bars with all features", 10, len(whole))
    if len(whole) > MOST_ROWS:
        whole = whole[np.linspace(0, len(whole) - 1, MOST_ROWS).astype(np.int64)]
    return rows[whole]


def _longest(x: Array) -> int:
    return int((~np.isnan(x).any(axis=2)).sum(axis=1).max(initial=0))


def _padded(a: npt.NDArray[Any], n_bars: int, fill: Any) -> npt.NDArray[Any]:
    whole = np.full((a.shape[0], n_bars, *a.shape[2:]), fill, dtype=a.dtype)
    whole[:, n_bars - a.shape[1] :] = a
    return whole


def naive(instant: pd.Timestamp) -> np.datetime64:
    """An instant as numpy holds it: UTC, without saying so."""
    bare: np.datetime64 = instant.tz_convert("UTC").tz_localize(None).to_datetime64()
    return bare
