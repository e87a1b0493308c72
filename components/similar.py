"""Earlier bars that looked like this one, and what followed them. Pure, seeded by the bar."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.panels import Array
from components.records import Followed, SimilarBar
from components.tables import CHANNELS

CHANNEL_NAMES = tuple(name for name in CHANNELS.columns if name.endswith("_z"))

HORIZONS = (1, 5, 20)

# The longest horizon: similar bars lie as far apart, so that no bar follows two of them.
SPACING = max(HORIZONS)

N_NAMED = 5

# An interval over five days would say nothing; these are still the nearest few of a thousand.
N_ALIKE = 25

# Over fewer similar bars no interval is given.
LEAST_ALIKE = 10

# A distance over fewer channels than this compares hardly anything.
LEAST_CHANNELS = 2

N_RESAMPLES = 1000

# Similar bars of one turbulent spell resemble each other: the bootstrap moves them together.
BLOCK = 3


@dataclass(frozen=True)
class Alike:
    """The most similar bars, nearest first, and what followed all ``n_alike`` of them."""

    named: tuple[SimilarBar, ...] = ()
    followed: tuple[Followed, ...] = ()
    n_alike: int = 0


def alike(history: pd.DataFrame, identity: str) -> Alike:
    """Find the bars most like the last one, and measure what followed them.

    Bars are compared by their channels, sign(z) ln(1 + abs(z)): the root mean square
    difference over the channels that both have, so that a missing one makes no bar nearer.
    What followed a bar is over before the judged bar begins.

    Parameters
    ----------
    history : DataFrame
        The instrument's bars up to and including the judged one, oldest first: ts, return,
        scale (the volatility known before the bar) and the channels.
    identity : str
        Names the judged bar, and seeds the bootstrap.
    """
    if len(history) < 2:
        return Alike()
    move = history["return"].to_numpy(dtype=float)
    scale = history["scale"].to_numpy(dtype=float)
    distance = distances(history[list(CHANNEL_NAMES)].to_numpy(dtype=float))
    # The judged bar is none of the bars that followed.
    distance[max(len(distance) - SPACING, 0) :] = np.nan
    places = nearest(distance)
    named = tuple(
        SimilarBar(history["ts"].iloc[at].isoformat(), float(distance[at]), float(move[at]))
        for at in places[:N_NAMED]
    )
    in_time = np.sort(places)
    random = np.random.default_rng(_seed(identity))
    followed = [_followed(move, scale, in_time, n_bars, random) for n_bars in HORIZONS]
    return Alike(named, tuple(each for each in followed if each is not None), len(places))


def distances(channels: Array) -> Array:
    """Distance of each earlier bar (n_bars - 1,) to the last of channels (n_bars, n_channels)."""
    vectors = np.sign(channels) * np.log1p(np.abs(channels))
    squares = np.square(vectors[:-1] - vectors[-1])
    n_shared = np.isfinite(squares).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.sqrt(np.nansum(squares, axis=1) / n_shared)
    return np.where(n_shared >= LEAST_CHANNELS, found, np.nan)


def nearest(distance: Array, n: int = N_ALIKE) -> npt.NDArray[np.intp]:
    """Places of the smallest distances, nearest first, at least ``SPACING`` bars apart."""
    left = distance.copy()
    places: list[int] = []
    while len(places) < n and np.isfinite(left).any():
        at = int(np.nanargmin(left))
        places.append(at)
        left[max(at - SPACING + 1, 0) : at + SPACING] = np.nan
    return np.array(places, dtype=np.intp)


def _followed(
    move: Array,
    scale: Array,
    places: npt.NDArray[np.intp],
    n_bars: int,
    random: np.random.Generator,
) -> Followed | None:
    after = move[places[:, None] + np.arange(1, n_bars + 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        volatility = np.sqrt(np.mean(np.square(after), axis=1)) / scale[places]
        total = np.expm1(np.log1p(after).sum(axis=1))
    values = np.stack([volatility, total], axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < LEAST_ALIKE:
        return None
    (v_low, m_low), (v_high, m_high) = interval(values, random)
    v, m = values.mean(axis=0)
    return Followed(n_bars, *map(float, (v, v_low, v_high, m, m_low, m_high)))


def interval(values: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """The 95 % moving-block-bootstrap interval of the means of values (n, n_columns), in time."""
    n = len(values)
    n_blocks = -(-n // BLOCK)
    starts = random.integers(0, n - BLOCK + 1, (N_RESAMPLES, n_blocks, 1))
    picked = (starts + np.arange(BLOCK)).reshape(N_RESAMPLES, -1)[:, :n]
    low, high = np.quantile(values[picked].mean(axis=1), [0.025, 0.975], axis=0)
    return low, high


def _seed(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
