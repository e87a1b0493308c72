"""Large panels: a fit learns from some rows where all would cost too much."""

import numpy as np

from components.panels import Array, Ints


def drawn(n: int, most: int, seed: int = 0) -> Ints:
    """At most ``most`` of the numbers from 0 to n - 1, ascending, drawn without replacement."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False)).astype(np.int64)


def sampled(rows: Array, most: int, seed: int = 0) -> Array:
    """All rows in their order, or ``most`` of them when there are more."""
    return rows if len(rows) <= most else rows[drawn(len(rows), most, seed)]
