"""An LSTM that learns, from all series together, what means by the bin of the week leave over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.carried import State, named, scoped
from components.detectors.keras_on_jax import Schooling, keras, seeded_lstm
from components.detectors.lstm_scan import compiled, project, step_cell
from components.detectors.sampling import drawn
from components.errors import NotEnoughBars
from components.forecasters.base import LEAST_SIDE, QUANTILES, BinPanel, Forecast
from components.forecasters.slot_ewma import SlotEwma
from components.panels import Array, Flags, Ints

Singles = npt.NDArray[np.float32]

# What each bin is told against, and measured in.
SLOT = SlotEwma()

# Error and level in spreads, hour of the day, bin of the week, whether open.
N_FEATURES = 7
MOST_ERROR, MOST_LEVEL = 8.0, 20.0

# A head of zeros tells normal quantiles: softplus(0) times this is 1.645.
UNIT = 1.6449 / np.log(2)

# The last share of the windows in time, on which training is stopped when it no longer helps,
# and epochs without a better loss there before it is.
SHARE_KEPT, PATIENCE = 0.1, 4

# What is stored of a model, in the order of Keras' weights.
WEIGHTS = ("kernel", "recurrent", "bias", "out_kernel", "out_bias")


@dataclass(frozen=True)
class Lstm:
    r"""Quantiles of the errors of ``SlotEwma``, from the last ``window`` bins, by one LSTM.

    .. math:: \hat x_{t+j} = m_{t+j} + s_{t+j} q_j(r_{t-w+1}, ..., r_t)

    with m and s the forecast and the spread that ``SlotEwma`` tells of bin t + j at the end of
    bin t. The network sees each series through its own carried means and spread, never through
    constants learned in training: a series that it has not seen is read at its own scale, and
    nothing of a bin's scale comes from later ones. Each of the ``window`` rows holds
    (x - means) / s, means / s, the hour of the day and the bin of the week as sine and cosine,
    and whether the bin was open.

    The quantiles 0.05, 0.5 and 0.95 are fitted by the pinball loss and never cross: the middle
    is told, and what lies below and above it is positive. Fitted by Keras on JAX from windows
    of all series; scored without either. Before it is fitted it says what ``SlotEwma`` says.

    Parameters
    ----------
    window : int
        Bins looked back on; 36 of two hours are three days.
    units : int
        Width of the LSTM.
    horizon : int
        Bins told ahead by the network; further ones lie round the means, as wide as its last.
    epochs : int
        Passes over the windows at most; 0 leaves the weights as they were drawn.
    batch : int
        Windows between two changes of the weights.
    learning_rate : float
        Of Adam.
    most_windows : int
        A seeded sample of this many is learned from.
    seed : int
        Of the first weights, the sample and its order.

    References
    ----------
    Hochreiter, S. and Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9(8),
    1735-1780. Wen, R. et al. (2017). A multi-horizon quantile recurrent forecaster. NeurIPS
    time series workshop. Koenker, R. and Bassett, G. (1978). Regression quantiles. Econometrica
    46, 33-50.
    """

    window: int = 36
    units: int = 24
    horizon: int = 12
    epochs: int = 30
    batch: int = 256
    learning_rate: float = 3e-3
    most_windows: int = 40_000
    seed: int = 0

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "lstm"

    @property
    def min_bars(self) -> int:
        """Some windows and what came after them, one after the other."""
        return 4 * (self.window + self.horizon)

    def fit(self, panel: BinPanel, x: Array, is_open: Flags) -> "LstmQuantiles":
        """Learn what the means leave over, from windows of all series.

        Raises
        ------
        NotEnoughBars
            When no series is long enough.
        """
        learned, kept = self._windows(panel, x, is_open)
        network = self._network()
        if self.epochs:
            self._train(network, learned, kept)
        return self._fitted(network)

    def untrained(self) -> "LstmQuantiles":
        """The network with the weights that it starts from."""
        return self._fitted(self._network())

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "LstmQuantiles":
        """The fitted forecaster with these weights, window and horizon.

        Raises
        ------
        ValueError
            Weights that do not fit each other.
        """
        missing = {*WEIGHTS, "window", "horizon"} - set(arrays)
        if missing:
            raise ValueError(f"no LSTM without {', '.join(sorted(missing))}")
        weights = {name: arrays[name].astype(float) for name in WEIGHTS}
        size = [arrays[name].astype(np.int64).ravel() for name in ("window", "horizon")]
        if any(len(a) != 1 or a[0] < 1 for a in size) or weights["recurrent"].ndim != 2:
            raise ValueError("an LSTM's window, horizon and weights do not fit")
        window, horizon, u = int(size[0][0]), int(size[1][0]), len(weights["recurrent"])
        shapes = {
            "kernel": (N_FEATURES, 4 * u),
            "recurrent": (u, 4 * u),
            "bias": (4 * u,),
            "out_kernel": (u, 3 * horizon),
            "out_bias": (3 * horizon,),
        }
        for name, shape in shapes.items():
            if weights[name].shape != shape or not np.isfinite(weights[name]).all():
                raise ValueError(f"an LSTM's {name} is not of {shape} numbers")
        return LstmQuantiles(window, horizon, weights)

    def _fitted(self, network: Any) -> "LstmQuantiles":
        weights = [np.asarray(w.value, dtype=np.float64) for w in network.weights]
        return LstmQuantiles(self.window, self.horizon, dict(zip(WEIGHTS, weights, strict=True)))

    def _windows(self, panel: BinPanel, x: Array, is_open: Flags) -> tuple["Windows", "Windows"]:
        """Windows to learn from, in random order, and later ones that share no bin with them."""
        begun = SLOT.start(panel.n_series, panel.n_day)
        _, base, _, spread = SLOT.apart(begun, panel, x, is_open)
        rows = _rows(panel, x, is_open, base, spread)
        series, bins = np.nonzero(~np.isnan(rows[:, :, 0]))
        longest = int(np.bincount(series, minlength=1).max())
        if longest < self.min_bars:
            raise NotEnoughBars("Lstm", self.min_bars, longest)
        last = np.arange(self.window - 1, len(series))
        # A window ends in its series, and something comes after it.
        last = last[series[last] == series[last - self.window + 1]]
        last = last[bins[last] + 1 < panel.n_bins]
        first = bins[last - self.window + 1]
        seam = np.quantile(first, 1 - SHARE_KEPT)
        random, found = np.random.default_rng(self.seed), []
        for is_part, share in (
            (bins[last] + self.horizon < seam, 1 - SHARE_KEPT),
            (first >= seam, SHARE_KEPT),
        ):
            part = last[is_part]
            part = part[drawn(len(part), int(share * self.most_windows), self.seed)]
            part = random.permutation(part)
            looked = bins[part[:, None] + np.arange(1 - self.window, 1)]
            entering = rows[series[part, None], looked].astype(np.float32)
            coming = _coming(panel, x, is_open, (series[part], bins[part]), self.horizon)
            has_any = ~np.isnan(coming).all(axis=1)
            if not has_any.any():
                raise NotEnoughBars("Lstm", self.min_bars, longest)
            found.append(Windows(entering[has_any], coming[has_any], looked[has_any]))
        return found[0], found[1]

    def _network(self) -> Any:
        """The LSTM's last state, and one dense layer: all middles, then belows, then aboves."""
        package = keras()
        return package.Sequential(
            [
                package.Input((self.window, N_FEATURES)),
                seeded_lstm(self.units, self.seed + 1),
                package.layers.Dense(3 * self.horizon, kernel_initializer="zeros"),
            ]
        )

    def _train(self, network: Any, learned: "Windows", kept: "Windows") -> None:
        way = Schooling(self.epochs, self.batch, self.learning_rate, PATIENCE)
        loss = _pinball(keras().ops, self.horizon)
        of_learned, of_kept = ((part.entering, part.targets) for part in (learned, kept))
        way.teach(network, loss, of_learned, of_kept)


@dataclass(frozen=True)
class Windows:
    """What the network sees, and what came after.

    Parameters
    ----------
    entering : float32 (n_windows, window, N_FEATURES)
        The rows of bins that are known.
    coming : float64 (n_windows, horizon)
        Errors of ``SlotEwma`` in its spreads; NaN where nothing is learned.
    bins : int64 (n_windows, window)
        Which bins the rows are of.
    """

    entering: Singles
    coming: Array
    bins: Ints

    @property
    def targets(self) -> Singles:
        """Errors, 0 where there is none, and behind them 1 where there is one."""
        counts = ~np.isnan(self.coming)
        errors = np.clip(np.where(counts, self.coming, 0.0), -MOST_ERROR, MOST_ERROR)
        return np.concatenate([errors, counts], axis=1).astype(np.float32)


@dataclass(frozen=True)
class LstmQuantiles:
    """A fitted ``Lstm``: its weights, by the names in ``WEIGHTS``; a carried scan.

    What it carries is the state of ``SlotEwma`` and the last ``window`` rows. Until there are
    so many it tells what ``SlotEwma`` tells. A bin without a value makes no row; of a closed one
    it is known that it was closed, whatever it held.
    """

    window: int
    horizon: int
    weights: Mapping[str, Array]

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "lstm"

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Weights, window and horizon."""
        shape = {"window": np.array([self.window]), "horizon": np.array([self.horizon])}
        return {**self.weights, **shape}

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return {
            **named(SLOT.start(n_series, n_day), "slot"),
            "rows": np.zeros((n_series, self.window * N_FEATURES)),
            "n_rows": np.zeros(n_series, dtype=np.int64),
        }

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the bins before it."""
        slot, base, persisting, spread = SLOT.apart(scoped(state, "slot"), panel, x, is_open)
        held, n_rows = state["rows"].copy(), state["n_rows"].copy()
        rows = _rows(panel, x, is_open, base, spread)
        told = self._told(rows, held, n_rows, slice(None, None, self.horizon))
        after = {**named(slot, "slot"), "rows": held, "n_rows": n_rows}
        return after, _spreaded(Forecast(base + persisting, spread, spread), told)

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """The steps that the network tells; beyond them its last spreads round the means."""
        slot = SLOT.ahead(scoped(state, "slot"), coming, is_open)
        nothing = np.full((len(state["n_rows"]), 1, N_FEATURES), np.nan)
        told = self._told(nothing, state["rows"].copy(), state["n_rows"].copy(), slice(None))
        step = np.arange(coming.n_bins)
        told = told.reshape(len(told), 3, self.horizon)[:, :, np.minimum(step, self.horizon - 1)]
        told[:, 0, step >= self.horizon] *= 0
        return _spreaded(slot, told.transpose(0, 2, 1))

    def _told(self, rows: Array, held: Array, n_rows: Ints, outputs: slice) -> Array:
        """Outputs before each row, (n_series, n_bins, n_outputs); ``held`` takes the rows in."""
        kernel, recurrent, bias, out, out_bias = (
            np.ascontiguousarray(self.weights[name]) for name in WEIGHTS
        )
        out, out_bias = np.ascontiguousarray(out[:, outputs]), out_bias[outputs].copy()
        told = np.full((*rows.shape[:2], len(out_bias)), np.nan)
        _scan(rows, (held, n_rows), (kernel, recurrent, bias), (out, out_bias), told)
        return told


def _rows(panel: BinPanel, x: Array, is_open: Flags, base: Array, spread: Array) -> Array:
    """What is known of each bin at its end, (n_series, n_bins, N_FEATURES); NaN: no row."""
    rows = np.empty((*x.shape, N_FEATURES))
    with np.errstate(invalid="ignore", divide="ignore"):
        rows[:, :, 0] = np.where(is_open, np.clip((x - base) / spread, -MOST_ERROR, MOST_ERROR), 0)
        rows[:, :, 1] = np.clip(base / spread, -MOST_LEVEL, MOST_LEVEL) / 10
    day = 2 * np.pi * panel.day_slot / panel.n_day
    week = 2 * np.pi * panel.week_slot / (7 * panel.n_day)
    for j, turn in enumerate((np.sin(day), np.cos(day), np.sin(week), np.cos(week))):
        rows[:, :, 2 + j] = turn
    rows[:, :, 6] = is_open
    rows[np.isnan(x) | ~np.isfinite(rows[:, :, :2]).all(axis=2)] = np.nan
    return rows


def _coming(
    panel: BinPanel, x: Array, is_open: Flags, at: tuple[Ints, Ints], horizon: int
) -> Array:
    """Errors of the bins behind (series, bin), as told at that bin's end, in spreads."""
    series, bins = at
    found = np.full((len(series), horizon), np.nan)
    state, begin = SLOT.start(panel.n_series, panel.n_day), 0
    order = np.argsort(bins, kind="stable")
    for of_bin in np.split(order, np.flatnonzero(np.diff(bins[order])) + 1):
        if not len(of_bin):
            continue
        end, asked = int(bins[of_bin[0]]) + 1, series[of_bin]
        past, next_ = slice(begin, end), slice(end, end + horizon)
        state, _ = SLOT.run(state, panel.bins(past), x[:, past], is_open[:, past])
        of_asked = {name: a[asked] for name, a in state.items()}
        coming, opens = panel.bins(next_), is_open[asked, next_]
        told = SLOT.ahead(of_asked, coming, opens)
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = (x[asked, next_] - told.middle) / told.below
        is_told = opens & np.isfinite(errors)
        found[of_bin, : coming.n_bins] = np.where(is_told, errors, np.nan)
        begin = end
    return found


def _pinball(ops: Any, horizon: int) -> Any:
    """The quantiles' mean loss over the bins that count."""

    def loss(targets: Any, told: Any) -> Any:
        errors, counts = targets[:, :horizon], targets[:, horizon:]
        middle = told[:, :horizon]
        below = middle - UNIT * ops.softplus(told[:, horizon : 2 * horizon])
        above = middle + UNIT * ops.softplus(told[:, 2 * horizon :])
        total = 0.0
        for q, quantile in zip(QUANTILES, (below, middle, above), strict=True):
            miss = errors - quantile
            total += ops.sum(counts * ops.maximum(q * miss, (q - 1) * miss), axis=1)
        return total / horizon

    return loss


def _spreaded(slot: Forecast, told: Array) -> Forecast:
    """The slots' forecast moved and widened by what is told, (n_series, n_bins, 3)."""
    is_told = ~np.isnan(told[:, :, 0])
    sides = np.maximum(UNIT * np.logaddexp(0, np.where(is_told[:, :, None], told, 0)), LEAST_SIDE)
    return Forecast(
        slot.middle + np.where(is_told, told[:, :, 0] * slot.below, 0.0),
        np.where(is_told, sides[:, :, 1] * slot.below, slot.below),
        np.where(is_told, sides[:, :, 2] * slot.above, slot.above),
    )


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    rows: Array,
    memory: tuple[Array, Ints],
    layer: tuple[Array, Array, Array],
    head: tuple[Array, Array],
    told: Array,
) -> None:
    """The head's outputs before each row, from the ``window`` rows before it."""
    ring, n_rows = memory
    n_series, n_bins, n_features = rows.shape
    window, n_units = ring.shape[1] // n_features, layer[1].shape[0]
    held = np.empty((window + n_bins, n_features))
    entry = np.empty((window + n_bins, 4 * n_units))
    gates, hidden, cell = np.empty(4 * n_units), np.empty(n_units), np.empty(n_units)
    for i in range(n_series):
        n = n_rows[i]
        for k in range(n):
            held[k] = ring[i, k * n_features : (k + 1) * n_features]
            project(held[k], layer[0], layer[2], entry[k])
        for t in range(n_bins):
            if n >= window:
                hidden[:], cell[:] = 0.0, 0.0
                for k in range(n - window, n):
                    project(hidden, layer[1], entry[k], gates)
                    step_cell(gates, hidden, cell)
                project(hidden, head[0], head[1], told[i, t])
            if not np.isnan(rows[i, t, 0]):
                held[n] = rows[i, t]
                project(held[n], layer[0], layer[2], entry[n])
                n += 1
        n_rows[i] = min(n, window)
        for k in range(n_rows[i]):
            ring[i, k * n_features : (k + 1) * n_features] = held[n - n_rows[i] + k]
