"""Values that are made once, whichever thread asks first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """Values made once a key, while other threads that ask for it wait; the oldest leave.

    Parameters
    ----------
    limit : int
        The sum of all ``size`` above which the oldest values leave.
    """

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self._limit, self._size, self._total = limit, size, 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._locks: dict[K, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V], is_fit: Callable[[V], bool] = lambda _: True) -> V:
        """Give the value of ``key``, made anew where there is none that ``is_fit``."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            with self._lock:
                if key in self._values and is_fit(self._values[key]):
                    return self._values[key]
            value = make()
            with self._lock:
                self._keep(key, value)
            return value

    def _keep(self, key: K, value: V) -> None:
        if key in self._values:
            self._total -= self._size(self._values.pop(key))
        self._values[key] = value
        self._total += self._size(value)
        while self._total > self._limit and len(self._values) > 1:
            oldest, gone = self._values.popitem(last=False)
            self._total -= self._size(gone)
            self._locks.pop(oldest, None)
