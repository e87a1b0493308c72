"""The peers' rule for payment volumes: an LSTM of one series, and how much its forecasts vary."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from components.carried import State
from components.detectors.lstm_scan import compiled, tanh
from components.forecasters.base import BinPanel, Forecast
from components.panels import Array, Flags, Ints

# Adam's, as published, with Keras' smallest divisor.
MEAN_KEPT, SQUARE_KEPT, LEAST_DIVISOR = 0.9, 0.999, 1e-7

# A forecaster's spreads are positive; the net may always say the same.
LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Deviation:
    r"""A small LSTM fitted on the last 30 values, with the deviation of its forecasts as band.

    .. math:: \hat x_t \pm 2 \mathrm{sd}(\hat x_{t-27}, ..., \hat x_{t-1})

    A baseline, run beside so that the difference is seen. The standard deviation is that of the
    forecasts, not of what they missed: it tells how much the net moves, and nothing of how far
    values lie from it, so no coverage follows from it. The band is bare: whoever uses it takes
    ``middle`` - ``below`` and ``middle`` + ``above`` as the bounds as they are, and does not
    widen them to a stated coverage.

    The values are the open bins', scaled to 0 .. 1 by the least and the largest of the fit. One
    LSTM layer and one output read ``look`` values and tell the next; they are fitted anew, from
    the same start, every ``refit`` open bins, by ``steps`` of Adam on all windows at once. While
    all held values are the same there is nothing to scale by, and the fit waits. NaN before the
    first fit.

    Parameters
    ----------
    held : int
        Values that are learned from.
    look : int
        Values that the net reads.
    units : int
        Width of the LSTM.
    steps : int
        Of Adam, each fit.
    learning_rate : float
        Of Adam.
    refit : int
        Open bins between two fits; 84 of two hours are a week.
    widths : float
        Standard deviations on each side.
    seed : int
        Of the weights that every fit starts from.

    References
    ----------
    Hochreiter, S. and Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9(8),
    1735-1780. Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
    """

    # The spreads are the band's, and are not to be widened to a coverage.
    is_bare: ClassVar[bool] = True

    held: int = 30
    look: int = 3
    units: int = 8
    steps: int = 100
    learning_rate: float = 0.02
    refit: int = 84
    widths: float = 2.0
    seed: int = 0

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "deviation"

    def start(self, n_series: int, n_day: int) -> State:  # noqa: ARG002 - a law of all forecasters
        """Nothing seen."""
        return {
            "values": np.zeros((n_series, self.held)),
            "net": np.zeros((n_series, n_weights(self.units))),
            "low": np.zeros(n_series),
            "span": np.zeros(n_series),
            "n": np.zeros(n_series, dtype=np.int64),
            "since": np.zeros(n_series, dtype=np.int64),
        }

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the open bins before it."""
        after = {name: a.copy() for name, a in state.items()}
        middle, spread = (np.full(panel.value.shape, np.nan) for _ in range(2))
        _scan(
            np.ascontiguousarray(x),
            is_open,
            (after["values"], after["net"], after["low"], after["span"]),
            (after["n"], after["since"]),
            (middle, spread),
            started(self.units, self.seed),
            (self.look, self.steps, self.refit),
            (self.learning_rate, self.widths),
        )
        return after, Forecast(middle, spread, spread)

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """Each forecast read as the value it was of; as wide as the first."""
        shape = len(state["n"]), coming.n_bins
        middle, spread = np.full(shape, np.nan), np.full(shape, np.nan)
        memory = state["values"].copy(), state["net"], state["low"], state["span"]
        _ahead(is_open, memory, (middle, spread), self.look, self.widths)
        return Forecast(middle, spread, spread)


def n_weights(units: int) -> int:
    """Weights of the net: of the value, the hidden state and the bias, and of the output."""
    return 4 * units * (units + 2) + units + 1


@cache
def started(units: int, seed: int) -> Array:
    """The weights that every fit starts from, in one row; drawn as Keras draws its own."""
    random, wide = np.random.default_rng(seed), 4 * units
    enter = random.uniform(-1, 1, wide) * math.sqrt(6 / (1 + wide))
    again = np.linalg.qr(random.standard_normal((wide, units)))[0].T
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], units)
    out = random.uniform(-1, 1, units) * math.sqrt(6 / (units + 1))
    found = np.concatenate([enter, again.ravel(), bias, out, [0.0]])
    found.flags.writeable = False
    return found


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    x: Array,
    is_open: Flags,
    memory: tuple[Array, Array, Array, Array],
    counts: tuple[Ints, Ints],
    found: tuple[Array, Array],
    begin: Array,
    whole: tuple[int, int, int],
    numbers: tuple[float, float],
) -> None:
    values, net, low, span = memory
    n, since = counts
    middle, spread = found
    look, steps, refit = whole
    rate, widths = numbers
    held = values.shape[1]
    for i in range(x.shape[0]):
        # What the net tells of a window stays the same until it is fitted anew.
        told = told_by(net[i], (values[i] - low[i]) / (span[i] if span[i] > 0 else 1.0), look)
        deviation = widths * np.std(told[:-1])
        for t in range(x.shape[1]):
            if span[i] > 0:
                middle[i, t] = low[i] + span[i] * told[-1]
                spread[i, t] = span[i] * max(deviation, LEAST_SHARE)
            if np.isnan(x[i, t]) or not is_open[i, t]:
                continue
            _shift(values[i], x[i, t])
            n[i] += 1
            since[i] += 1
            width = values[i].max() - values[i].min()
            if n[i] >= held and (span[i] == 0 or since[i] >= refit) and width > 0:
                low[i], span[i], since[i] = values[i].min(), width, 0
                scaled = (values[i] - low[i]) / width
                net[i] = fitted(begin, scaled, look, steps, rate)
                told = told_by(net[i], scaled, look)
            elif span[i] > 0:
                _shift(told, told_by(net[i], (values[i, -look:] - low[i]) / span[i], look)[0])
            deviation = widths * np.std(told[:-1])


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _ahead(
    is_open: Flags,
    memory: tuple[Array, Array, Array, Array],
    found: tuple[Array, Array],
    look: int,
    widths: float,
) -> None:
    values, net, low, span = memory
    middle, spread = found
    for i in range(is_open.shape[0]):
        if span[i] == 0:
            continue
        for t in range(is_open.shape[1]):
            told = told_by(net[i], (values[i] - low[i]) / span[i], look)
            middle[i, t] = low[i] + span[i] * told[-1]
            if t == 0:
                spread[i, :] = span[i] * max(widths * np.std(told[:-1]), LEAST_SHARE)
            if is_open[i, t]:
                _shift(values[i], middle[i, t])


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _shift(past: Array, new: float) -> None:
    """Put ``new`` behind the others in place of the oldest."""
    for k in range(len(past) - 1):
        past[k] = past[k + 1]
    past[-1] = new


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def fitted(begin: Array, scaled: Array, look: int, steps: int, rate: float) -> Array:
    """The weights after ``steps`` of Adam on all windows of the scaled values."""
    net = begin.copy()
    mean, square = np.zeros(len(net)), np.zeros(len(net))
    kept_mean, kept_square = 1.0, 1.0
    for _ in range(steps):
        gradient = slope(net, scaled, look)
        kept_mean *= MEAN_KEPT
        kept_square *= SQUARE_KEPT
        for j in range(len(net)):
            mean[j] = MEAN_KEPT * mean[j] + (1 - MEAN_KEPT) * gradient[j]
            square[j] = SQUARE_KEPT * square[j] + (1 - SQUARE_KEPT) * gradient[j] ** 2
            size = math.sqrt(square[j] / (1 - kept_square)) + LEAST_DIVISOR
            net[j] -= rate * mean[j] / (1 - kept_mean) / size
    return net


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def told_by(net: Array, scaled: Array, look: int) -> Array:
    """What the net tells after each ``look`` values in a row; the last is of what comes next."""
    u = _units(len(net))
    gates, cells, hiddens = _room(look, u)
    told = np.empty(len(scaled) - look + 1)
    for p in range(len(told)):
        told[p] = _forward(net, scaled[p : p + look], gates, cells, hiddens)
    return told


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def slope(net: Array, scaled: Array, look: int) -> Array:
    """The gradient of the mean squared error over all windows that have a next value."""
    u = _units(len(net))
    gates, cells, hiddens = _room(look, u)
    found = np.zeros(len(net))
    n, at_again, at_bias, at_out = len(scaled) - look, 4 * u, 4 * u * (u + 1), 4 * u * (u + 2)
    of_hidden, of_cell, of_gate = np.empty(u), np.empty(u), np.empty(4 * u)
    for p in range(n):
        told = _forward(net, scaled[p : p + look], gates, cells, hiddens)
        of_told = 2 * (told - scaled[p + look]) / n
        found[-1] += of_told
        for j in range(u):
            found[at_out + j] += of_told * hiddens[look, j]
            of_hidden[j], of_cell[j] = of_told * net[at_out + j], 0.0
        for s in range(look - 1, -1, -1):
            for j in range(u):
                enter, forget, new, leave = (
                    gates[s, j], gates[s, u + j], gates[s, 2 * u + j], gates[s, 3 * u + j],
                )  # fmt: skip
                bent = tanh(cells[s + 1, j])
                d = of_cell[j] + of_hidden[j] * leave * (1 - bent * bent)
                of_gate[j] = d * new * enter * (1 - enter)
                of_gate[u + j] = d * cells[s, j] * forget * (1 - forget)
                of_gate[2 * u + j] = d * enter * (1 - new * new)
                of_gate[3 * u + j] = of_hidden[j] * bent * leave * (1 - leave)
                of_cell[j] = d * forget
            for g in range(4 * u):
                found[g] += of_gate[g] * scaled[p + s]
                found[at_bias + g] += of_gate[g]
            for k in range(u):
                total, row = 0.0, at_again + 4 * u * k
                for g in range(4 * u):
                    found[row + g] += of_gate[g] * hiddens[s, k]
                    total += of_gate[g] * net[row + g]
                of_hidden[k] = total
    return found


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _forward(net: Array, seen: Array, gates: Array, cells: Array, hiddens: Array) -> float:
    """The next value after the seen ones; gates (look, 4 u) and states (look + 1, u) are kept."""
    u = cells.shape[1]
    at_again, at_bias, at_out = 4 * u, 4 * u * (u + 1), 4 * u * (u + 2)
    for s in range(len(seen)):
        for g in range(4 * u):
            gates[s, g] = net[at_bias + g] + seen[s] * net[g]
        for k in range(u):
            for g in range(4 * u):
                gates[s, g] += hiddens[s, k] * net[at_again + 4 * u * k + g]
        for g in range(4 * u):
            # A sigmoid is a tanh of half the width; the third quarter is the new cell.
            half = 1.0 if 2 * u <= g < 3 * u else 0.5
            gates[s, g] = tanh(half * gates[s, g]) * half + (1.0 - half)
        for j in range(u):
            cells[s + 1, j] = gates[s, u + j] * cells[s, j] + gates[s, j] * gates[s, 2 * u + j]
            hiddens[s + 1, j] = gates[s, 3 * u + j] * tanh(cells[s + 1, j])
    told = net[len(net) - 1]
    for j in range(u):
        told += hiddens[len(seen), j] * net[at_out + j]
    return float(told)


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _room(look: int, u: int) -> tuple[Array, Array, Array]:
    return np.empty((look, 4 * u)), np.zeros((look + 1, u)), np.zeros((look + 1, u))


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _units(n: int) -> int:
    """How wide the net of ``n`` weights is: n = 4 u (u + 2) + u + 1."""
    return int((math.sqrt(81 + 16 * (n - 1)) - 9) / 8 + 0.5)
