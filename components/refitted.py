"""Detectors that learn from the instrument's own past, and learn anew now and then."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from components.carried import State
from components.detectors.base import Learned, OwnHistoryDetector, Span
from components.panels import Array, Flags, Ints
from components.sessions import length

Singles = npt.NDArray[np.float32]

# About a year of a stock's days.
YEAR = 250


def refit_every(interval: str) -> int:
    """Vectors between two fits, by the length of a bar: 250, or a day of shorter bars.

    A fit costs as much as judging hundreds of bars. In 250 minutes a market does not become
    another one: a day holds all its hours, and a model of minutes is fitted once in it.
    """
    return max(YEAR, int(length("1d") / length(interval)))


@dataclass(frozen=True)
class OwnPast:
    """The last vectors of each instrument; a carried scan.

    Parameters
    ----------
    window : int
        Vectors that a model learns from; about six years of a stock's days.
    every : int
        Vectors between two fits. At which of them is the instrument's own (by its name), so that
        not all learn at the same bar.
    first : int
        Vectors before the first fit.
    early : int
        Vectors between two fits up to the first after ``every``: a model that knows little
        should not last as long as one that knows all.
    n_channels : int
        Width of a vector.
    """

    window: int = 1500
    every: int = YEAR
    first: int = 120
    early: int = YEAR
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
        new, is_whole = compacted(vectors)
        n_new = is_whole.sum(axis=1)
        past = np.ascontiguousarray(state["past"], dtype=np.float32)
        after = np.empty_like(past)
        _append(past, new.reshape(len(past), -1), n_new * self.n_channels, after)
        return {"past": after, "n": state["n"] + n_new}

    def past_of(self, state: State) -> Singles:
        """The vectors held, (n_series, n_held, n_channels), oldest first, NaN in front."""
        past = np.ascontiguousarray(state["past"], dtype=np.float32)
        return past.reshape(-1, self._held, self.n_channels)

    def last_fit(self, symbols: Iterable[str], n: Ints) -> Ints:
        """How many vectors there were at the last fit before vector ``n`` (from 0) is scored.

        Of each symbol, (n_series,). 0: none yet. A model is fitted just before ``n`` when this
        is ``n``.
        """
        own, steps = _own_days(tuple(symbols)), self._steps
        early = n - (n - own) % steps
        early = np.where(early >= max(steps, self.first), early, self.first)
        late = np.where(n >= self._settled(own), n - (n - own) % self.every, early)
        return np.where(n < self.first, 0, late)

    def next_fit(self, symbols: Iterable[str], n: Ints) -> Ints:
        """The least counts of vectors above ``n`` at which a model is fitted, (n_series,)."""
        own, steps = _own_days(tuple(symbols)), self._steps
        settled = self._settled(own)
        early = np.maximum(n + 1, max(steps, self.first))
        early += (own - early) % steps
        late = np.maximum(n + 1, settled)
        late += (own - late) % self.every
        return np.where(n < self.first, self.first, np.where(early < settled, early, late))

    def _settled(self, own: Ints) -> Ints:
        """From which count on a model lasts its full time."""
        least = max(self.every, self.first)
        return least + (own - least) % self.every

    @property
    def _steps(self) -> int:
        return min(self.early, self.every)

    @property
    def _held(self) -> int:
        # What a model learned from is still there when the next one is due.
        return self.window + self.every


@lru_cache(maxsize=64)
def _own_days(symbols: tuple[str, ...]) -> Ints:
    return np.array([zlib.crc32(symbol.encode()) for symbol in symbols], dtype=np.int64)


def compacted(vectors: Array) -> tuple[Array, Flags]:
    """The whole vectors of each series moved to its front, and which bars have one."""
    is_whole: Flags = np.asarray(~np.isnan(vectors).any(axis=2))
    if is_whole.all():
        return np.ascontiguousarray(vectors), is_whole
    order = np.argsort(~is_whole, axis=1, kind="stable")
    return np.take_along_axis(vectors, order[:, :, None], axis=1), is_whole


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _append(past: Singles, new: Array, n_new: Ints, after: Singles) -> None:
    """Write ``past`` moved on by the first ``n_new`` numbers of ``new``."""
    n_held = past.shape[1]
    for i in range(past.shape[0]):
        n_kept = max(n_held - n_new[i], 0)
        after[i, :n_kept] = past[i, n_held - n_kept :]
        for j in range(n_kept, n_held):
            after[i, j] = np.float32(new[i, n_new[i] - n_held + j])


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
        n = self.detector.n_parameters
        parameters = state["parameters"].astype(float) if n else np.empty((len(symbols), 0))
        new, is_whole = compacted(vectors)
        n_new, before = is_whole.sum(axis=1), own_past["n"].astype(np.int64)
        held, at, stop = self.past.past_of(own_past), before, before + n_new
        found, scores = np.full((2, *is_whole.shape), np.nan)
        # From fit to fit: mostly all bars at once, and the few series with a fit in two parts.
        while True:
            fitted = self.past.last_fit(symbols, at)
            first = np.maximum(fitted - self.past.window, 0)
            shift = held.shape[1] - before
            learned = Learned(held, new, Span(first + shift, fitted + shift))
            is_due = (fitted == at) & (at > 0) & (at < stop)
            self._fit(np.flatnonzero(is_due), learned, parameters)
            upto = np.maximum(at, np.minimum(self.past.next_fit(symbols, at), stop))
            span = Span(at - before, np.where(fitted > 0, upto, at) - before)
            new_ones = self.detector.score_each(parameters, learned, span)
            found = np.where(np.isnan(new_ones), found, new_ones)
            at = upto
            if not (at < stop).any():
                break
        scores[is_whole] = found[np.arange(new.shape[1]) < n_new[:, None]]
        return ({"parameters": parameters} if n else {}), scores

    def _fit(self, due: Ints, learned: Learned, parameters: Array) -> None:
        """Fit the models of the series ``due``, and write what they learned."""
        for i in due if self.detector.n_parameters else ():
            parameters[i] = self.detector.fit(learned.of(i)[None]).parameters
