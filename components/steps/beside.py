"""A warehouse, and beside what it holds some rows that are in no table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from components.tables import Table
from components.warehouse import Warehouse


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

    def read(
        self,
        table: Table,
        *,
        symbols: Sequence[str] | None = None,
        interval: str | None = None,
        since: pd.Timestamp | None = None,
        until: pd.Timestamp | None = None,
        as_of: pd.Timestamp | None = None,
        columns: Sequence[str] | None = None,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Read both, in the order of the key; see ``Warehouse.read``."""
        stored = self._warehouse.read(
            table,
            symbols=symbols,
            interval=interval,
            since=since,
            until=until,
            as_of=as_of,
            columns=columns,
            series=series,
        )
        own = self._rows.get(table.name)
        if own is None or own.empty:
            return stored
        is_asked = pd.Series(data=True, index=own.index)
        for name, test in (
            ("symbol", None if symbols is None else own["symbol"].isin(list(symbols))),
            ("interval", None if interval is None else own["interval"].eq(interval)),
            ("ts", None if since is None else own["ts"].ge(since)),
            ("ts", None if until is None else own["ts"].lt(until)),
        ):
            is_asked &= True if test is None or name not in own else test
        picked = list(columns or table.columns)
        stored = stored[~stored["symbol"].isin(self._alone)] if self._alone else stored
        both = pd.concat([stored, own[is_asked].reindex(columns=picked)], ignore_index=True)
        key = [name for name in table.bar_key if name in both]
        both = both.drop_duplicates(key, keep="last")
        return both.sort_values(key, kind="stable", ignore_index=True)
