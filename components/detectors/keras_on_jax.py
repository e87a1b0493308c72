"""The one room where Keras is imported, and told what to compute with."""

import os
from typing import Any


def keras() -> Any:
    """The Keras package, computing on JAX. Needs the extra ``models``; only training does."""
    # Keras reads this once, when it is imported, and would look for TensorFlow otherwise.
    os.environ.update(KERAS_BACKEND="jax")
    import keras as package

    return package
