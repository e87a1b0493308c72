"""Features of the last 60 bars together, against the level that was known before them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.features.channels import Channelled, unsplit_volume
from components.features.scale import LEAST_SCALE
from components.panels import Array, CandlePanel, Ints

# Bars of the window, the newest included: an hour of minutes.
WINDOW = 60

# What is made of the window's values; of a spread the squares make the level.
SPREAD, LARGEST, MEAN = 0, 1, 2


@dataclass(frozen=True)
class MacroReach:
    """ln of how far apart the highest and the lowest of the last 61 closes are; -inf is NaN.

    The closes are those of the bar, the 59 earlier and the one before these, in one kind of
    shares. NaN before there are so many, where no price moved, and while stale.
    """

    def start(self, n_series: int) -> State:
        """The state before the first bar: the last log returns."""
        return {
            "last": np.full((n_series, WINDOW), np.nan),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(
        self,
        state: State,
        panel: CandlePanel,  # noqa: ARG002 - as every scan
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; reads ``log_return``."""
        after = {name: array.copy() for name, array in state.items()}
        x = columns["log_return"]
        found = np.full(x.shape, np.nan)
        _reach(np.ascontiguousarray(x), after["last"], after["n"], found)
        return after, np.where(channelled.is_stale, np.nan, found)


@dataclass(frozen=True)
class Level:
    r"""What 60 bars came to, over the level of the bars before them; a carried scan.

    .. math:: z_t = \ln(q_t / s_t)

    with q the spread, the largest or the mean of the last 60 values, and s an exponentially
    weighted mean of the values older than those (the root of one of squares for a spread). So a
    long burst does not hide in its own level, and instruments are comparable. A value enters the
    level cut at ``cap`` times it, once ``warm_up`` have; before, nothing is told.

    Parameters
    ----------
    decay : float
        A bar: 0.999 looks back about 1000 bars.
    cap : float
        In units of the level.
    warm_up : int
        Values older than the window before the first z.
    """

    decay: float = 0.999
    cap: float = 5.0
    warm_up: int = 30

    def start(self, n_series: int) -> State:
        """The state before the first bar: the last values, and the level before them."""
        return {
            "last": np.full((n_series, WINDOW), np.nan),
            "level": np.zeros(n_series),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, x: Array, what: int, least: float) -> tuple[State, Array]:
        """Scan ``x`` (n_series, n_bars); NaN gives NaN and changes nothing.

        Nothing is below ``least``; where that is 0, a window or a level of 0 gives NaN.
        """
        after = {name: array.copy() for name, array in state.items()}
        found = np.full(x.shape, np.nan)
        memory = (after["last"], after["level"], after["n"])
        numbers = (self.decay, self.cap, least)
        _scan(np.ascontiguousarray(x), memory, found, what, numbers, self.warm_up)
        return after, found


@dataclass(frozen=True)
class OverLevel:
    """What 60 values of another feature come to, against their level; NaN while stale.

    Parameters
    ----------
    column : str
        The feature that is looked at.
    what : int
        ``SPREAD``, ``LARGEST`` or ``MEAN``.
    """

    column: str
    what: int
    level: Level = Level()

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return self.level.start(n_series)

    def run(
        self,
        state: State,
        panel: CandlePanel,  # noqa: ARG002 - as every scan
        channelled: Channelled,
        columns: Mapping[str, Array],
    ) -> tuple[State, Array]:
        """Scan a panel; reads ``column``."""
        live = np.where(channelled.is_stale, np.nan, columns[self.column])
        return self.level.run(state, live, self.what, LEAST_SCALE)


@dataclass(frozen=True)
class MacroVolume:
    """The mean volume of 60 bars against that before them, in one kind of shares.

    A volume of 0 is one; an unknown one is passed over. NaN while stale.
    """

    level: Level = Level()

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return {**self.level.start(n_series), "shares": np.ones(n_series)}

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],  # noqa: ARG002 - as every scan
    ) -> tuple[State, Array]:
        """Scan a panel."""
        own = {name: array for name, array in state.items() if name != "shares"}
        shares, volume = unsplit_volume(panel, state["shares"].astype(float))
        live = np.where(channelled.is_stale, np.nan, volume)
        after, found = self.level.run(own, live, MEAN, 0.0)
        kept = np.where(panel.is_bar.any(axis=1), shares, state["shares"])
        return {**after, "shares": kept}, found


# The window is gone through anew at each bar: a running sum would depend, in its last bits, on
# all that ever left it.


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _reach(x: Array, last: Array, n: Ints, found: Array) -> None:
    window = last.shape[1]
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if np.isnan(x[i, t]):
                continue
            last[i, n[i] % window] = x[i, t]
            n[i] += 1
            if n[i] < window:
                continue
            at, low, high = 0.0, 0.0, 0.0
            for j in range(window):
                at += last[i, (n[i] + j) % window]
                low, high = min(low, at), max(high, at)
            if high > low:
                found[i, t] = np.log(high - low)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    memory: tuple[Array, Array, Ints],
    found: Array,
    what: int,
    numbers: tuple[float, float, float],
    warm_up: int,
) -> None:
    last, level, n = memory
    decay, cap, least = numbers
    window = last.shape[1]
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if np.isnan(x[i, t]):
                continue
            place, n_older = n[i] % window, n[i] - window
            if n_older >= 0:
                level[i] = _moved(level[i], last[i, place], n_older, what, decay, cap, warm_up)
            last[i, place] = x[i, t]
            n[i] += 1
            if n_older + 1 >= warm_up:
                usual = np.sqrt(level[i]) if what == SPREAD else level[i]
                own, usual = max(_of_window(last[i], what), least), max(usual, least)
                if own > 0 and usual > 0:
                    found[i, t] = np.log(own / usual)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _moved(
    level: float, value: float, n_older: int, what: int, decay: float, cap: float, warm_up: int
) -> float:
    """The level, with one more value that left the window."""
    if what == SPREAD:
        value, cap = value * value, cap * cap
    if n_older >= warm_up and level > 0:
        value = min(value, cap * level)
    return level + max(1 - decay, 1 / (n_older + 1)) * (value - level)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _of_window(values: Array, what: int) -> float:
    if what == LARGEST:
        return float(values.max())
    mean = values.mean()
    if what == MEAN:
        return float(mean)
    return float(np.sqrt(((values - mean) ** 2).mean()))
