"""The one room where Keras is imported, told what to compute with, and set to learn."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]

# What enters a network, and what it should then tell.
Pairs = tuple[Singles, Singles]


def keras() -> Any:
    """The Keras package, computing on JAX. Needs the extra ``models``; only training does."""
    # Keras reads this once, when it is imported, and would look for TensorFlow otherwise.
    os.environ.update(KERAS_BACKEND="jax")
    import keras as package

    return package


@dataclass(frozen=True)
class Schooling:
    """How a network learns: whole batches in their order, until it no longer helps.

    Parameters
    ----------
    epochs : int
        Passes at most.
    batch : int
        Windows between two changes of the weights.
    learning_rate : float
        Of Adam.
    patience : int
        Epochs without a better loss on the kept windows before it is stopped; the best weights
        stay.
    """

    epochs: int
    batch: int
    learning_rate: float
    patience: int

    def teach(
        self, network: Any, loss: str | Callable[..., Any], learned: Pairs, kept: Pairs
    ) -> None:
        """Fit the network in place; ``kept`` is of later time than ``learned``."""
        package = keras()
        batch = min(self.batch, len(learned[0]))
        # Whole batches only: the network is compiled anew for every other size.
        whole = len(learned[0]) // batch * batch
        # One freak window must not undo what the others taught.
        adam = package.optimizers.Adam(self.learning_rate, clipnorm=1.0)
        network.compile(optimizer=adam, loss=loss)
        stop = package.callbacks.EarlyStopping(patience=self.patience, restore_best_weights=True)
        with warnings.catch_warnings():
            # Keras copies JAX's arrays in a way that numpy will not allow for ever.
            warnings.simplefilter("ignore", DeprecationWarning)
            network.fit(
                learned[0][:whole],
                learned[1][:whole],
                validation_data=kept,
                batch_size=batch,
                validation_batch_size=len(kept[0]),
                epochs=self.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[stop],
            )


def seeded_lstm(units: int, seed: int, **options: bool) -> Any:
    """An LSTM layer with seeds of its own: no state outside the network is read or changed."""
    package = keras()
    draws = package.initializers
    return package.layers.LSTM(
        units,
        kernel_initializer=draws.GlorotUniform(seed=seed),
        recurrent_initializer=draws.Orthogonal(seed=seed + 1),
        **options,
    )
