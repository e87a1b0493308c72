"""Votes: what k or more independent views say together."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.panels import Array, Flags, Ints

# Votes that make LOW, MEDIUM and HIGH.
LEVELS = (1, 2, 3)


def quorum_of(n_detectors: int) -> int:
    """Votes needed: two, or one when a single detector judges."""
    return min(2, n_detectors)


@dataclass(frozen=True)
class Polled:
    """The votes of a panel; arrays (n_series, n_bars) unless said.

    ``kth`` (3, n_series, n_bars): the p-value at which the first, second and third independent
    vote is cast; NaN where fewer can. ``weight`` (n_views, n_series, n_bars): the vote of each
    view, 1 or a share of 1, 0 where it abstains. ``is_usual``: whether the same views spoke
    as usual.
    """

    kth: Array
    weight: Array
    is_usual: Flags


@dataclass(frozen=True)
class Poll:
    r"""Counts independent views; a carried scan.

    Two views whose surprises x = min(-ln p, 5) - 1 have a correlation above ``same`` over the
    instrument's past bars are one: each of n such views has 1 / n of a vote. The k-th vote is
    cast at the smallest p at which the votes of all views with that p or less reach k. Entered
    twice, a view changes nothing. Nothing is polled before ``measured`` bars on which two
    views spoke.

    A bar on which other views spoke than usual (a volume is missing) is judged, and its score
    is not remembered; after ``accepted`` such bars in a row the new set is the usual one.
    """

    same: float = 0.95
    measured: int = 30
    accepted: int = 20

    def start(self, n_series: int, n_views: int) -> State:
        """Nothing measured yet."""
        zeros = {
            name: np.zeros(n_series, dtype=np.int64) for name in ("n", "usual", "other", "run")
        }
        return {"products": np.zeros((n_series, n_views * n_views)), **zeros}

    def run(self, state: State, p: Array) -> tuple[State, Polled]:
        """Scan p-values (n_views, n_series, n_bars); NaN where a view abstains."""
        n_views = len(p)
        after = {name: a.copy() for name, a in state.items()}
        products = after["products"].reshape(-1, n_views, n_views)
        kth = np.full((len(LEVELS), *p.shape[1:]), np.nan)
        weight = np.zeros(p.shape)
        is_usual = np.zeros(p.shape[1:], dtype=np.bool_)
        counts = (after["n"], after["usual"], after["other"], after["run"])
        _poll(
            np.ascontiguousarray(p),
            products,
            counts,
            (kth, weight, is_usual),
            (self.same, self.measured, self.accepted),
        )
        return after, Polled(kth, weight, is_usual)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _poll(
    p: Array,
    products: Array,
    counts: tuple[Ints, Ints, Ints, Ints],
    found: tuple[Array, Array, Flags],
    numbers: tuple[float, int, int],
) -> None:
    n, usual, other, run = counts
    kth, weight, is_usual = found
    same, measured, accepted = numbers
    n_views = p.shape[0]
    surprise = np.empty(n_views)
    for i in range(p.shape[1]):
        for t in range(p.shape[2]):
            n_speaking, speaking = 0, 0
            for v in range(n_views):
                if not np.isnan(p[v, i, t]):
                    n_speaking += 1
                    speaking |= 1 << v
                    surprise[v] = min(-np.log(p[v, i, t]), 5.0) - 1.0
            if n_speaking == 0:
                continue
            if n[i] >= measured:
                _weigh(products[i], speaking, same, weight[:, i, t])
                _cast(p[:, i, t], weight[:, i, t], kth[:, i, t])
                _accept(usual, other, run, i, speaking, accepted)
                is_usual[i, t] = speaking == usual[i]
            if n_speaking >= min(2, n_views):
                n[i] += 1
            _measure(products[i], speaking, surprise)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _measure(products: Array, speaking: int, surprise: Array) -> None:
    for v in range(len(surprise)):
        for w in range(len(surprise)):
            if speaking >> v & 1 and speaking >> w & 1:
                products[v, w] += surprise[v] * surprise[w]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _weigh(products: Array, speaking: int, same: float, weight: Array) -> None:
    for v in range(len(weight)):
        if speaking >> v & 1:
            weight[v] = 1.0 / _n_alike(products, v, speaking, same)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _n_alike(products: Array, view: int, speaking: int, same: float) -> int:
    n_alike = 0
    for w in range(products.shape[0]):
        if speaking >> w & 1:
            spread = np.sqrt(products[view, view] * products[w, w])
            if w == view or products[view, w] > same * spread:
                n_alike += 1
    return n_alike


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _cast(p: Array, weight: Array, kth: Array) -> None:
    total, k, least = 0.0, 0, -1.0
    while k < len(kth):
        # The next larger p, and the votes of all who have it.
        value = np.inf
        for v in range(len(p)):
            if weight[v] > 0 and least < p[v] < value:
                value = p[v]
        if value == np.inf:
            return
        for v in range(len(p)):
            total += weight[v] if p[v] == value else 0.0
        # A third of a vote three times is a whole one.
        while k < len(kth) and total >= k + 1 - 1e-9:
            kth[k] = value
            k += 1
        least = value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _accept(usual: Ints, other: Ints, run: Ints, i: int, speaking: int, accepted: int) -> None:
    if usual[i] == 0 or speaking == usual[i]:
        usual[i], run[i] = speaking, 0
        return
    run[i] = run[i] + 1 if speaking == other[i] else 1
    other[i] = speaking
    if run[i] >= accepted:
        usual[i], run[i] = speaking, 0
