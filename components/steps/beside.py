"""A warehouse, and beside what it holds some rows that are in no table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.tables import Table
from components.warehouse import Warehouse

# What a read may be bounded by: the column, and how a row passes.
TESTS: tuple[tuple[str, str, Callable[..., "pd.Series[bool]"]], ...] = (
    ("symbols", "symbol", lambda own, asked: own.isin(list(asked))),
    ("interval", "interval", lambda own, asked: own == asked),
    ("since", "ts", lambda own, asked: own >= asked),
    ("until", "ts", lambda own, asked: own < asked),
)


class Beside(Warehouse):
    """Reads as the warehouse does, with ``rows`` by the table's name; it stores nothing.

    Parameters
    ----------
    rows : Mapping of str to DataFrame
        They count as the latest versions.
    alone : collection of str
        Instruments of which nothing but these rows is known.
    """

    def __init__(
        self, warehouse: Warehouse, rows: Mapping[str, pd.DataFrame], alone: Sequence[str] = ()
    ) -> None:
        self._warehouse, self._rows, self._alone = warehouse, rows, set(alone)

    def query(self, statement: Any, params: Any = None) -> pd.DataFrame:
        """Ask the warehouse alone."""
        return self._warehouse.query(statement, params)

    def read(self, table: Table, **asked: Any) -> pd.DataFrame:
        """Read both, in the order of the key; see ``Warehouse.read``."""
        stored, own = self._warehouse.read(table, **asked), self._rows.get(table.name)
        if own is None or own.empty:
            return stored
        is_asked = pd.Series(data=True, index=own.index)
        for name, column, test in TESTS:
            if asked.get(name) is not None and column in own:
                is_asked &= test(own[column], asked[name])
        picked = list(asked.get("columns") or table.columns)
        stored = stored[~stored["symbol"].isin(self._alone)] if self._alone else stored
        both = pd.concat([stored, own[is_asked].reindex(columns=picked)], ignore_index=True)
        key = [name for name in table.bar_key if name in both]
        both = both.drop_duplicates(key, keep="last")
        return both.sort_values(key, kind="stable", ignore_index=True)
