"""An LSTM autoencoder's forward pass: plain sums in a fixed order, the same bits everywhere."""

import numpy as np
from numba import njit

from components.panels import Array, Ints

# Without Python's check for a division by 0, which would keep the loops from being vectorised.
compiled = njit(cache=True, error_model="numpy")


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def whole_runs(panel: Array) -> Ints:
    """How many whole bars stand in a row up to each bar, itself included, (n_series, n_bars)."""
    runs = np.zeros(panel.shape[:2], dtype=np.int64)
    for i in range(panel.shape[0]):
        run = 0
        for t in range(panel.shape[1]):
            run = 0 if np.isnan(panel[i, t]).any() else run + 1
            runs[i, t] = run
    return runs


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def squared_errors(
    panel: Array,
    window: int,
    encoder: tuple[Array, Array, Array],
    decoder: tuple[Array, Array, Array],
    out: tuple[Array, Array],
) -> Array:
    """Squared errors of the last bar, plus those of the window on average, by feature.

    Parameters
    ----------
    panel : Array
        Shape (n_series, n_bars, n_features).
    window : int
        Bars that are rebuilt together.
    encoder, decoder : tuple of Array
        Kernel (n_inputs, 4 n_units), recurrent kernel (n_units, 4 n_units) and bias
        (4 n_units,), the gates in the order of Keras: input, forget, cell, output.
    out : tuple of Array
        Kernel (n_units, n_features) and bias (n_features,) of the last layer.

    Returns
    -------
    Array
        Shape of the panel; NaN where the window misses a feature.
    """
    n_series, n_bars, n_features = panel.shape
    n_units = encoder[1].shape[0]
    errors = np.full(panel.shape, np.nan)
    runs = whole_runs(panel)
    entry = np.empty((n_bars, 4 * n_units))
    gates = np.empty(4 * n_units)
    summary = np.empty(4 * n_units)
    hidden, cell = np.empty(n_units), np.empty(n_units)
    rebuilt = np.empty(n_features)
    for i in range(n_series):
        for t in range(n_bars):
            project(panel[i, t], encoder[0], encoder[2], entry[t])
            if runs[i, t] < window:
                continue
            hidden[:], cell[:] = 0.0, 0.0
            for s in range(t - window + 1, t + 1):
                project(hidden, encoder[1], entry[s], gates)
                step_cell(gates, hidden, cell)
            project(hidden, decoder[0], decoder[2], summary)
            hidden[:], cell[:], errors[i, t] = 0.0, 0.0, 0.0
            for s in range(t - window + 1, t + 1):
                project(hidden, decoder[1], summary, gates)
                step_cell(gates, hidden, cell)
                project(hidden, out[0], out[1], rebuilt)
                share = 1.0 / window + (1.0 if s == t else 0.0)
                for j in range(n_features):
                    errors[i, t, j] += share * (panel[i, s, j] - rebuilt[j]) ** 2
    return errors


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def project(x: Array, kernel: Array, bias: Array, result: Array) -> None:
    """Write x times the kernel plus the bias into ``result``."""
    result[:] = bias
    for k in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            result[j] += x[k] * kernel[k, j]


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def step_cell(gates: Array, hidden: Array, cell: Array) -> None:
    """One bar of an LSTM layer, in place."""
    n = len(hidden)
    for j in range(4 * n):
        # A sigmoid is a tanh of half the width; the third quarter is the new cell.
        half = 1.0 if 2 * n <= j < 3 * n else 0.5
        gates[j] = tanh(half * gates[j]) * half + (1.0 - half)
    for j in range(n):
        cell[j] = gates[n + j] * cell[j] + gates[j] * gates[2 * n + j]
        hidden[j] = gates[3 * n + j] * tanh(cell[j])


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def tanh(x: float) -> float:
    """Hyperbolic tangent to 1e-6, as a ratio of polynomials.

    It is what JAX computed with in training (Eigen's, for 32-bit floats), and several bars' fit
    into one instruction.
    """
    x = min(max(x, -9.0), 9.0)
    square = x * x
    above = -2.76076847742355e-16
    above = above * square + 2.00018790482477e-13
    above = above * square - 8.60467152213735e-11
    above = above * square + 5.12229709037114e-08
    above = above * square + 1.48572235717979e-05
    above = above * square + 6.37261928875436e-04
    above = above * square + 4.89352455891786e-03
    below = 1.19825839466702e-06
    below = below * square + 1.18534705686654e-04
    below = below * square + 2.26843463243900e-03
    below = below * square + 4.89352518554385e-03
    ratio: float = x * above / below
    return ratio


def warm() -> None:
    """Compile the pass over a panel."""
    layer = np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4)
    squared_errors(np.zeros((1, 2, 1)), 2, layer, layer, (np.zeros((1, 1)), np.zeros(1)))
