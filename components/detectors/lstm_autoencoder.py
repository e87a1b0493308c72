"""LSTM autoencoder: how badly a bar and the bars before it are rebuilt from a short summary."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from components.detectors.base import VECTOR_FEATURES, Contributions, TrainedModel
from components.detectors.keras_on_jax import Schooling, keras, seeded_lstm
from components.detectors.lstm_scan import squared_errors, whole_runs
from components.detectors.sampling import drawn
from components.errors import NotEnoughBars
from components.panels import Array

Windows = npt.NDArray[np.float32]

# The last share of the windows in time, on which training is stopped when it no longer helps.
SHARE_KEPT = 0.1
# Epochs without a better loss there before it is stopped.
PATIENCE = 3

# What is stored of a model, in the order of Keras' weights.
WEIGHTS = (
    "encoder_kernel",
    "encoder_recurrent",
    "encoder_bias",
    "decoder_kernel",
    "decoder_recurrent",
    "decoder_bias",
    "out_kernel",
    "out_bias",
)


@dataclass(frozen=True)
class LstmAutoencoder:
    r"""Reconstruction error of an LSTM autoencoder: of the last bar, and of its window.

    .. math:: s_t = e_t + \frac{1}{w} \sum_{i = t - w + 1}^{t} e_i, \quad
        e_i = |x_i - \hat x_i|^2

    with :math:`\hat x` the window t - w + 1 .. t, rebuilt by a decoder from the encoder's last
    state. Fitted by Keras on JAX; scored without either.

    Parameters
    ----------
    window : int
        Bars that are rebuilt together.
    units : int
        Width of both LSTM layers, and so of the summary.
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
    Malhotra, P. et al. (2016). LSTM-based encoder-decoder for multi-sensor anomaly detection.
    ICML workshop on anomaly detection. Hochreiter, S. and Schmidhuber, J. (1997). Long
    short-term memory. Neural Computation 9(8), 1735-1780.
    """

    window: int = 16
    units: int = 16
    epochs: int = 30
    batch: int = 256
    learning_rate: float = 5e-3
    most_windows: int = 60_000
    seed: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """The channel vector."""
        return VECTOR_FEATURES

    @property
    def min_bars(self) -> int:
        """Some windows side by side."""
        return 6 * self.window

    def fit(self, panel: Array) -> "Autoencoder":
        """Learn to rebuild the panel's windows."""
        learned, kept = self._windows(panel)
        network = self._network(panel.shape[2])
        if self.epochs:
            self._train(network, learned, kept)
        weights = [np.asarray(w.value, dtype=np.float64) for w in network.weights]
        return Autoencoder(self.window, dict(zip(WEIGHTS, weights, strict=True)))

    def grid(self) -> tuple["LstmAutoencoder"]:
        """Itself: another fit takes minutes."""
        return (self,)

    def criterion(self, model: TrainedModel, panel: Array) -> float:
        """The mean error of the windows that training was stopped by."""
        kept = self._windows(panel)[1]
        return float(model.score(kept.astype(float))[:, -1].mean())

    def untrained(self, panel: Array) -> "Autoencoder":
        """The network with the weights that it starts from."""
        return replace(self, epochs=0).fit(panel)

    def restore_arrays(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Autoencoder":
        """The model with these weights and this window.

        Raises
        ------
        ValueError
            Weights that do not fit each other.
        """
        weights = {name: arrays[name].astype(float) for name in WEIGHTS}
        (d, wide), u = weights["encoder_kernel"].shape, len(weights["decoder_kernel"])
        layer = {"kernel": (u, wide), "recurrent": (u, wide), "bias": (wide,)}
        shapes = {f"{side}_{of}": s for side in ("encoder", "decoder") for of, s in layer.items()}
        shapes |= {"encoder_kernel": (d, wide), "out_kernel": (u, d), "out_bias": (d,)}
        if wide != 4 * u or any(weights[name].shape != s for name, s in shapes.items()):
            raise ValueError("weights that do not fit each other")
        return Autoencoder(int(arrays["window"].astype(np.int64)[0]), weights)

    def _windows(self, panel: Array) -> tuple[Windows, Windows]:
        """Windows to learn from, in random order, and later ones that share no bar with them."""
        runs = whole_runs(panel)
        longest = int(runs.max(initial=0))
        if longest < self.min_bars:
            raise NotEnoughBars(type(self).__name__, self.min_bars, longest)
        series, ends = np.nonzero(runs >= self.window)
        seam = min(np.quantile(ends, 1 - SHARE_KEPT), ends.max() - 1.5 * self.window)
        random = np.random.default_rng(self.seed)
        found = []
        for is_part, share in (
            (ends < seam, 1 - SHARE_KEPT),
            (ends - self.window + 1 >= seam, SHARE_KEPT),
        ):
            part = np.flatnonzero(is_part)
            part = random.permutation(
                part[drawn(len(part), int(share * self.most_windows), self.seed)]
            )
            bars = ends[part, None] + np.arange(1 - self.window, 1)
            found.append(panel[series[part, None], bars].astype(np.float32))
        return found[0], found[1]

    def _network(self, n_features: int) -> Any:
        """Encoder, its last state repeated, decoder, one dense layer for all bars."""
        package = keras()
        layers, draws = package.layers, package.initializers
        return package.Sequential(
            [
                package.Input((self.window, n_features)),
                seeded_lstm(self.units, self.seed + 1),
                layers.RepeatVector(self.window),
                seeded_lstm(self.units, self.seed + 3, return_sequences=True),
                layers.Dense(
                    n_features, kernel_initializer=draws.GlorotUniform(seed=self.seed + 5)
                ),
            ]
        )

    def _train(self, network: Any, learned: Windows, kept: Windows) -> None:
        way = Schooling(self.epochs, self.batch, self.learning_rate, PATIENCE)
        way.teach(network, "mse", (learned, learned), (kept, kept))


@dataclass(frozen=True)
class Autoencoder:
    """A fitted ``LstmAutoencoder``: its weights, by the names in ``WEIGHTS``."""

    window: int
    weights: Mapping[str, Array]

    @property
    def context(self) -> int:
        """The window's earlier bars."""
        return self.window - 1

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Weights and window."""
        return {**self.weights, "window": np.array([self.window])}

    def score(self, panel: Array) -> Array:
        """Squared errors, in squared units of the features."""
        score: Array = self._errors(panel).sum(axis=2)
        return score

    def contributions(self, panel: Array) -> Contributions:
        """The squared errors, feature by feature."""
        errors = self._errors(panel)
        total = errors.sum(axis=2)
        return Contributions(
            total=total,
            by_feature=errors,
            rest=0.0 * total,
            what="squared error of the bar as rebuilt, and that of its window on average",
            rest_what="",
        )

    def _errors(self, panel: Array) -> Array:
        if panel.shape[2] != len(self.weights["encoder_kernel"]):
            raise ValueError("weights for another number of features")
        enter, again, bias, enter_2, again_2, bias_2, out, out_bias = (
            np.ascontiguousarray(self.weights[name]) for name in WEIGHTS
        )
        errors: Array = squared_errors(
            np.ascontiguousarray(panel),
            self.window,
            (enter, again, bias),
            (enter_2, again_2, bias_2),
            (out, out_bias),
        )
        return errors
