"""Large panels: drawn from where all rows would cost too much, scored in pieces that fit."""

from collections.abc import Callable

import numpy as np

from components.panels import Array, Ints

# Numbers that a piece may hold at once: 128 MiB.
MOST_NUMBERS = 2**24


def drawn(n: int, most: int, seed: int = 0) -> Ints:
    """At most ``most`` of the numbers from 0 to n - 1, ascending, drawn without replacement."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False)).astype(np.int64)


def sampled(rows: Array, most: int, seed: int = 0) -> Array:
    """All rows in their order, or ``most`` of them when there are more."""
    return rows if len(rows) <= most else rows[drawn(len(rows), most, seed)]


def by_pieces(score: Callable[[Array], Array], panel: Array, n_numbers: int) -> Array:
    """Scores (n_series, n_bars) of a model without context that holds ``n_numbers`` for a bar."""
    n_series, n_bars = panel.shape[:2]
    length = max(1, MOST_NUMBERS // max(1, n_numbers * n_series))
    if n_bars <= length:
        return score(panel)
    pieces = [score(panel[:, first : first + length]) for first in range(0, n_bars, length)]
    return np.concatenate(pieces, axis=1)
