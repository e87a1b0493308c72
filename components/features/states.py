"""The state that an instrument is in at a bar: trading or stale, calm or wild."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.panels import Array, Flags, Ints


@dataclass(frozen=True)
class Staleness:
    """Whether at least half of the last ``window`` bars were flat; a carried scan.

    A flat bar has its four prices equal to the close before it. A dead contract or a halted
    share goes on giving such bars; its first real trade would look like a crash.
    """

    window: int = 20

    def start(self, n_series: int) -> State:
        """No bar yet; ``bits`` holds the last bars' flatness, newest in the lowest bit."""
        return {"bits": np.zeros(n_series, dtype=np.int64)}

    def run(self, state: State, is_flat: Flags, is_bar: Flags) -> tuple[State, Flags]:
        """Scan flags (n_series, n_bars); bars outside ``is_bar`` change nothing."""
        bits = state["bits"].astype(np.int64)
        is_stale = np.zeros(is_flat.shape, dtype=np.bool_)
        _count_flat(is_flat, is_bar, bits, is_stale, self.window)
        return {"bits": bits}, is_stale


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _count_flat(is_flat: Flags, is_bar: Flags, bits: Ints, is_stale: Flags, window: int) -> None:
    mask = (1 << window) - 1
    for i in range(is_flat.shape[0]):
        for t in range(is_flat.shape[1]):
            if not is_bar[i, t]:
                continue
            bits[i] = ((bits[i] << 1) | is_flat[i, t]) & mask
            left, n_flat = bits[i], 0
            while left:
                left &= left - 1
                n_flat += 1
            is_stale[i, t] = 2 * n_flat >= window


@dataclass(frozen=True)
class Regime:
    """Which third of its own history the trailing volatility lies in; a carried scan.

    0 calm, 1 usual, 2 wild: the root mean square of the last ``window`` log returns before the
    bar, among the last ``memory`` such values. -1 until ``window`` returns are known; 1 until
    ``least`` values are.
    """

    window: int = 60
    memory: int = 2500
    least: int = 60

    def start(self, n_series: int) -> State:
        """Empty rings."""
        return {
            "squares": np.full((n_series, self.window), np.nan, dtype=np.float32),
            "past": np.full((n_series, self.memory), np.nan, dtype=np.float32),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, r: Array) -> tuple[State, Ints]:
        """Scan log returns (n_series, n_bars); NaN gives -1 and changes nothing."""
        after = {name: a.copy() for name, a in state.items()}
        regime = np.full(r.shape, -1, dtype=np.int64)
        _place(
            np.ascontiguousarray(r), after["squares"], after["past"], after["n"], regime, self.least
        )
        return after, regime


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _place(r: Array, squares: Array, past: Array, n: Ints, regime: Ints, least: int) -> None:
    window, memory = squares.shape[1], past.shape[1]
    for i in range(r.shape[0]):
        for t in range(r.shape[1]):
            if np.isnan(r[i, t]):
                continue
            if n[i] >= window:
                total = np.float64(0)
                for j in range(window):
                    total += squares[i, j]
                now = np.float32(total)
                held = min(n[i] - window, memory)
                below = 0
                for j in range(held):
                    below += past[i, j] < now
                regime[i, t] = 1 if held < least else (3 * below) // (held + 1)
                past[i, (n[i] - window) % memory] = now
            squares[i, n[i] % window] = r[i, t] * r[i, t]
            n[i] += 1
