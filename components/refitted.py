"""Detectors that learn from the instrument's own past, and learn anew once a year."""

import itertools
import zlib
from dataclasses import dataclass, field

import numpy as np

from components.carried import State
from components.detectors.base import Model, OwnHistoryDetector
from components.panels import Array, Flags


@dataclass(frozen=True)
class OwnPast:
    """The last vectors of each instrument; a carried scan.

    Parameters
    ----------
    window : int
        Vectors that a model learns from; about six years of a stock's days.
    every : int
        Vectors between two fits; about a year of a stock's days. Which day of that year is
        the instrument's own (by its name), so that not all learn on the same day.
    first : int
        Vectors before the first fit.
    n_channels : int
        Width of a vector.
    """

    window: int = 1500
    every: int = 250
    first: int = 120
    n_channels: int = 6

    def start(self, n_series: int) -> State:
        """No vector yet."""
        shape = (n_series, self._held * self.n_channels)
        return {
            "past": np.full(shape, np.nan, dtype=np.float32),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, vectors: Array) -> State:
        """Append the vectors (n_series, n_bars, n_channels) of a panel; NaN ones are left out."""
        past = self.past_of(state).copy()
        is_whole: Flags = np.asarray(~np.isnan(vectors).any(axis=2))
        for i in np.flatnonzero(is_whole.any(axis=1)):
            new = vectors[i, is_whole[i]]
            past[i] = np.concatenate([past[i], new.astype(np.float32)])[-self._held :]
        return {
            "past": past.reshape(state["past"].shape),
            "n": state["n"] + is_whole.sum(axis=1),
        }

    def past_of(self, state: State) -> Array:
        """The vectors held, (n_series, n_held, n_channels), oldest first, NaN in front."""
        past: Array = np.asarray(state["past"]).reshape(-1, self._held, self.n_channels)
        return past

    def last_fit(self, symbol: str, n: int) -> int:
        """How many vectors there were at the last fit before vector ``n`` (from 0) is scored.

        0: none yet. A model is fitted just before ``n`` when this is ``n``.
        """
        if n < self.first:
            return 0
        latest = n - (n - self._own_day(symbol)) % self.every
        return latest if latest >= self.every else self.first

    def fits_within(self, symbol: str, start: int, stop: int) -> list[int]:
        """The counts of vectors in (start, stop) at which a model is fitted."""
        due = max(self.every, start + 1)
        due += (self._own_day(symbol) - due) % self.every
        first = [self.first] if start < self.first < stop else []
        return first + list(range(due, stop, self.every))

    def _own_day(self, symbol: str) -> int:
        return zlib.crc32(symbol.encode()) % self.every

    @property
    def _held(self) -> int:
        # What a model learned from is still there when the next one is due.
        return self.window + self.every


@dataclass(frozen=True)
class Refitted:
    """One detector over ``OwnPast``; a carried scan. No model has seen what it scores."""

    detector: OwnHistoryDetector
    past: OwnPast = field(default_factory=OwnPast)

    def start(self, n_series: int) -> State:
        """No model yet; nothing at all when the past itself is the model."""
        n = self.detector.n_parameters
        return {"parameters": np.full((n_series, n), np.nan)} if n else {}

    def run(
        self, state: State, own_past: State, vectors: Array, symbols: tuple[str, ...]
    ) -> tuple[State, Array]:
        """Score vectors (n_series, n_bars, n_channels); NaN before the first fit.

        ``own_past`` is the state of ``OwnPast`` before these vectors.
        """
        parameters = np.empty((len(symbols), 0))
        if self.detector.n_parameters:
            parameters = state["parameters"].astype(float)
        held, n_before = self.past.past_of(own_past), own_past["n"].astype(np.int64)
        scores = np.full(vectors.shape[:2], np.nan)
        is_whole: Flags = np.asarray(~np.isnan(vectors).any(axis=2))
        for i in np.flatnonzero(is_whole.any(axis=1)):
            new = vectors[i, is_whole[i]]
            known = held[i, held.shape[1] - min(int(n_before[i]), held.shape[1]) :]
            series = _Series(symbols[i], int(n_before[i]), len(known), np.concatenate([known, new]))
            scores[i, is_whole[i]] = self._score(series, parameters[i])
        return ({"parameters": parameters} if self.detector.n_parameters else {}), scores

    def _score(self, series: "_Series", parameters: Array) -> Array:
        """Score the new vectors; ``parameters`` is overwritten with those of the last model."""
        start, stop = series.n_before, series.n_before + len(series.x) - series.n_known
        edges = [start, *self.past.fits_within(series.symbol, start, stop), stop]
        scores = np.full(stop - start, np.nan)
        for first, last in itertools.pairwise(edges):
            model = self._model(series, first, parameters)
            if model is not None:
                found = model.score(series.between(first, last)[None])
                scores[first - start : last - start] = found[0]
        return scores

    def _model(self, series: "_Series", n: int, parameters: Array) -> Model | None:
        at = self.past.last_fit(series.symbol, n)
        if at == 0:
            return None
        past = series.between(at - self.past.window, at)[None]
        if at < n:
            return self.detector.restore(parameters, past)
        model = self.detector.fit(past)
        parameters[:] = model.parameters
        return model


@dataclass(frozen=True)
class _Series:
    """One instrument's vectors: ``x`` holds the ``n_known`` last of ``n_before``, then the new."""

    symbol: str
    n_before: int
    n_known: int
    x: Array

    def between(self, first: int, last: int) -> Array:
        """The vectors from number ``first`` to before ``last``, as far as they are held."""
        base = self.n_before - self.n_known
        return self.x[max(0, first - base) : last - base]
