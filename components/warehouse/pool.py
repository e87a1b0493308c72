"""Warehouses lent to the threads of who serves many readers at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue

from components.errors import WarehouseError
from components.warehouse import Warehouse

# So long, s, who finds all of them lent waits for one.
PATIENCE_S = 10.0


class Pool:
    """At most ``size`` connections to one warehouse; the last one used is lent first.

    Parameters
    ----------
    url : str
        The warehouse.
    statement_timeout_s : float
        How long one statement may take.
    """

    def __init__(self, url: str, size: int = 8, *, statement_timeout_s: float = 20) -> None:
        self._free: LifoQueue[Warehouse] = LifoQueue()
        for _ in range(size):
            self._free.put(
                Warehouse(url, statement_timeout_s=statement_timeout_s, lock_timeout_s=5)
            )

    @contextmanager
    def lent(self) -> Iterator[Warehouse]:
        """Lend a warehouse; it connects when it is first asked.

        Raises
        ------
        WarehouseError
            All are lent, and none came back in time.
        """
        try:
            warehouse = self._free.get(timeout=PATIENCE_S)
        except Empty:
            raise WarehouseError("all connections to the warehouse are busy: ask later.") from None
        try:
            yield warehouse
        finally:
            self._free.put(warehouse)

    def close(self) -> None:
        """Close the connections that are not lent."""
        while True:
            try:
                self._free.get_nowait().close()
            except Empty:
                return
