"""Level units: how far a log level lies above or below its own recent level."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from components.carried import State
from components.panels import Array, Ints

# A volume that never changes has no spread; one tenth of a per cent of the level is below
# what any market shows.
LEAST_SCALE = 1e-3


@dataclass(frozen=True)
class LevelUnits:
    r"""Distance of a log level from its recent mean, in units of its recent spread; a scan.

    .. math:: z_t = (x_t - m_t) / d_t

    with m and d exponentially weighted mean and deviation over the bars before t. A value
    enters them cut at ``cap`` times d, so that one burst does not hide the next. The first
    ``warm_up`` values only fill them.

    Parameters
    ----------
    mean, spread : float
        Decay a bar: 0.94 looks back about 16 bars, 0.97 about 33.
    cap : float
        In units of d.
    warm_up : int
        Values before the first z.
    """

    mean: float = 0.94
    spread: float = 0.97
    cap: float = 5.0
    warm_up: int = 30

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return {
            "mean": np.zeros(n_series),
            "variance": np.zeros(n_series),
            "n": np.zeros(n_series, dtype=np.int64),
        }

    def run(self, state: State, x: Array) -> tuple[State, Array]:
        """Scan ``x`` (n_series, n_bars) and give z of its shape; NaN changes nothing."""
        mean, variance = state["mean"].astype(float), state["variance"].astype(float)
        n = state["n"].astype(np.int64)
        z = np.full_like(x, np.nan)
        numbers = (self.mean, self.spread, self.cap, LEAST_SCALE**2)
        _scan(np.ascontiguousarray(x), mean, variance, n, z, numbers, self.warm_up)
        return {"mean": mean, "variance": variance, "n": n}, z


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    mean: Array,
    variance: Array,
    n: Ints,
    z: Array,
    numbers: tuple[float, float, float, float],
    warm_up: int,
) -> None:
    decay_mean, decay_spread, cap, least = numbers
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if np.isnan(x[i, t]):
                continue
            error = x[i, t] - mean[i]
            square = error * error
            if n[i] < warm_up:
                mean[i] += error / (n[i] + 1)
                # The first value has no mean before it, so it says nothing of the spread.
                variance[i] += (square - variance[i]) / n[i] if n[i] else 0.0
            else:
                z[i, t] = error / np.sqrt(variance[i])
                if square > cap * cap * variance[i]:
                    square = cap * cap * variance[i]
                    error = np.sign(error) * cap * np.sqrt(variance[i])
                mean[i] += (1 - decay_mean) * error
                variance[i] = decay_spread * variance[i] + (1 - decay_spread) * square
            variance[i] = max(variance[i], least)
            n[i] += 1
