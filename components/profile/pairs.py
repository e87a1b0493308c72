"""How instruments move together: correlation of returns over the same time, pair by pair."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.panels import Array, CandlePanel, Flags, Ints
from components.profile.unusual import since_before

# Of fewer common bars a correlation of nothing is as likely as not beyond 0.12.
LEAST_COMMON = 30

# Returns kept at once, at four bytes each: 120 MB.
MOST_CELLS = 30_000_000

# Instruments multiplied with each other at once.
BLOCK = 256

# What is left of a variance when equal numbers are subtracted.
NOISE = 1e-9

# Two numbers in one int64: the minute of an instant, times the minutes of 31 years.
MINUTE_US, MINUTES = 60_000_000, 1 << 24

Floats = npt.NDArray[np.floating[Any]]
Seen = Callable[[Iterable[tuple[int, int]], int, str], Iterator[tuple[int, int]]]


@dataclass(frozen=True)
class Returns:
    """Returns of many instruments by the time that they are over.

    A column is a pair of neighbouring bars of a calendar: of returns that end together only
    those count as common that began together as well (a coin's Monday is a day, a share's
    three). ``of`` is float32 (n_symbols, n_columns), NaN where there is none.
    """

    symbols: tuple[str, ...]
    columns: Ints
    of: Floats = field(repr=False)

    def put(self, first: int, panel: CandlePanel, move: Array) -> None:
        """Write the log returns of a panel, whose instruments begin in row ``first``."""
        if not len(self.columns):
            return
        keys = _keys(panel)
        place = np.searchsorted(self.columns, keys).clip(max=len(self.columns) - 1)
        series, bars = np.nonzero((self.columns[place] == keys) & np.isfinite(move))
        self.of[first + series, place[series, bars]] = np.log1p(move[series, bars])


def no_returns(symbols: Sequence[str], grids: Iterable[Ints]) -> Returns:
    """Room for the newest returns of the instruments.

    Parameters
    ----------
    grids : iterable of int64 (n_bars,)
        The bars that each calendar expects: opens in microseconds, ascending.
    """
    most = MOST_CELLS // max(len(symbols), 1)
    newest = (grid[-most - 1 :] for grid in grids)
    keys = [_key(grid[1:], np.diff(grid)) for grid in newest if len(grid) > 1]
    columns = np.unique(np.concatenate(keys))[-most:] if keys else np.zeros(0, dtype=np.int64)
    values = np.full((len(symbols), len(columns)), np.nan, dtype=np.float32)
    return Returns(tuple(symbols), columns, values)


def _keys(panel: CandlePanel) -> Ints:
    gone = since_before(panel)
    known = np.isfinite(gone)
    us = np.where(known, panel.ts.astype("datetime64[us]").astype(np.int64), 0)
    return _key(us, np.where(known, gone, 0).astype(np.int64))


def _key(ts_us: Ints, gone_us: Ints) -> Ints:
    """One number of when a return ends and of how long before it began, in this order."""
    gone = np.minimum(gone_us // MINUTE_US, MINUTES - 1)
    return np.asarray(ts_us // MINUTE_US * MINUTES + gone, dtype=np.int64)


def correlations(first: Floats, second: Floats) -> tuple[Array, Ints]:
    """Pearson's correlation over the common columns, and how many these are.

    Parameters
    ----------
    first, second : float (n, n_columns), (m, n_columns)
        Returns, NaN where there is none.

    Returns
    -------
    correlation : (n, m)
        NaN where fewer than 30 columns are common, or where one of both never moves there.
    n_common : int (n, m)
    """
    (a, has_a), (b, has_b) = _centred(first), _centred(second)
    n = has_a @ has_b.T
    sum_a, sum_b = a @ has_b.T, has_a @ b.T
    square_a, square_b = (a * a) @ has_b.T, has_a @ (b * b).T
    with np.errstate(divide="ignore", invalid="ignore"):
        within_a = square_a - sum_a * sum_a / n
        within_b = square_b - sum_b * sum_b / n
        moves = (within_a > NOISE * n) & (within_b > NOISE * n) & (n >= LEAST_COMMON)
        found = (a @ b.T - sum_a * sum_b / n) / np.sqrt(within_a * within_b)
    return np.where(moves, found.clip(-1, 1), np.nan), n.astype(np.int64)


def _centred(returns: Floats) -> tuple[Array, Array]:
    """Rows less their mean in units of their spread, zero where absent; and where they are."""
    has: Flags = np.isfinite(returns)
    n = np.maximum(has.sum(axis=1, keepdims=True), 1)
    filled = np.where(has, returns, 0.0).astype(np.float64)
    centred = np.where(has, filled - filled.sum(axis=1, keepdims=True) / n, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n)
    return centred / np.where(spread > 0, spread, 1.0), has.astype(np.float64)


def strongest(returns: Returns, most: int, progress: Seen | None = None) -> pd.DataFrame:
    """The pairs with the largest correlations in size, the strongest first.

    Returns
    -------
    DataFrame
        first, second (symbols, in the order of their names), correlation, n_common; at most
        ``most`` rows.
    """
    n = len(returns.symbols)
    blocks = [(i, j) for i in range(0, n, BLOCK) for j in range(i, n, BLOCK)]
    held = np.zeros(0), np.zeros((0, 3), dtype=np.int64)
    for i, j in blocks if progress is None else progress(blocks, len(blocks), "correlating"):
        one, other = returns.of[i : i + BLOCK], returns.of[j : j + BLOCK]
        found, n_common = correlations(one, other)
        # Where so many are held already, a weaker pair is none of them.
        weakest = np.abs(held[0][-1]) if len(held[0]) == most else 0.0
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero(np.abs(found) >= weakest - NOISE)
        if i == j:
            is_above = rows < columns
            rows, columns = rows[is_above], columns[is_above]
        new = np.column_stack([rows + i, columns + j, n_common[rows, columns]])
        held = _kept(np.r_[held[0], found[rows, columns]], np.r_[held[1], new], most)
    names = np.sort(np.array(returns.symbols, dtype=object)[held[1][:, :2]], axis=1)
    return pd.DataFrame(
        {
            "first": names[:, 0],
            "second": names[:, 1],
            "correlation": held[0],
            "n_common": held[1][:, 2],
        }
    )


def _kept(found: Array, pairs: Ints, most: int) -> tuple[Array, Ints]:
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -np.abs(found).round(12)))[:most]
    return found[order], pairs[order]


@dataclass(frozen=True)
class Matrix:
    """Correlations of some instruments with each other, and their common bars, (n, n)."""

    symbols: tuple[str, ...]
    correlation: Array
    n_common: Ints


def matrix(returns: Returns, chosen: Sequence[str]) -> Matrix:
    """The correlations of the chosen instruments, those alike beside each other."""
    rows = pd.Index(returns.symbols).get_indexer(pd.Index(chosen))
    found, n_common = correlations(returns.of[rows], returns.of[rows])
    order = _alike(found)
    names = tuple(chosen[place] for place in order)
    return Matrix(names, found[np.ix_(order, order)], n_common[np.ix_(order, order)])


def _alike(found: Array) -> list[int]:
    """An order that puts instruments beside those that they move with.

    By the angle of each between the two main axes of the matrix, begun at the widest gap.

    References
    ----------
    Friendly, M. (2002). Corrgrams: exploratory displays for correlation matrices. The American
    Statistician 56(4), 316-324.
    """
    if len(found) < 3:
        return list(range(len(found)))
    known = np.nan_to_num((found + found.T) / 2)
    np.fill_diagonal(known, 1.0)
    axes = np.linalg.eigh(known)[1][:, [-1, -2]]
    # An axis may point either way.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    angle = np.arctan2(axes[:, 1], axes[:, 0])
    order = np.argsort(angle, kind="stable")
    gaps = np.diff(angle[order], append=angle[order[0]] + 2 * np.pi)
    return [int(place) for place in np.roll(order, -1 - int(gaps.argmax()))]
