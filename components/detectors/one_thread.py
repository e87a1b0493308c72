"""Fits on one thread: the sums of several come in any order, and their last digit with it."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Hold numerical libraries to one thread; called once scikit-learn is imported."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limit


@cache
def _controller() -> Any:
    # Looking for the loaded libraries takes longer than a fit.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
