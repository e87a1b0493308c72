"""Rows of a table as Arrow, with its columns, types and order: for the lake and the warehouse."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import SettingsError, WarehouseError
from components.sessions import length
from components.tables import Table

DAY = pd.Timedelta(days=1)

# JSON has a type apart from text, so that it is never taken for text in COPY's binary form.
ARROW_TYPES = {
    "text": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
    "float": pa.float64(),
    "int": pa.int64(),
    "json": pa.large_string(),
}


def prepared(rows: pd.DataFrame, table: Table) -> pa.Table:
    """Give ``rows`` the table's columns and types, in the order of its key.

    Absent columns become NULL, as do NaN and NaT. Of rows with the same key the last stays.

    Raises
    ------
    WarehouseError
        A column that the table does not have, a key that is absent or NULL, a value of
        another type, a time without a time zone.
    """
    unknown = [str(name) for name in rows.columns if name not in table.columns]
    if unknown:
        raise WarehouseError(f"{table.name} has no column {unknown[0]!r}: nothing was stored.")
    arrays = {name: _array(rows, name, kind, table) for name, kind in table.columns.items()}
    for name in table.key:
        if arrays[name].null_count:
            raise WarehouseError(
                f"{table.name}: {arrays[name].null_count} of {len(rows)} rows have no {name}, "
                "which is part of the key: nothing was stored."
            )
    return _ordered(pa.table(arrays), table.key)


def versions(ordered: pa.Table, table: Table) -> list[pa.Table]:
    """Split prepared rows so that no bar is twice in a part; older versions come first."""
    if not table.versioned or len(ordered) < 2:
        return [ordered] if len(ordered) else []
    repeats = np.append(False, _same_as_previous(ordered, table.bar_key))
    if not repeats.any():
        return [ordered]
    places = np.arange(len(ordered))
    rank = places - np.maximum.accumulate(np.where(repeats, 0, places))
    return [ordered.filter(pa.array(rank == k)) for k in range(rank.max() + 1)]


def merged(stored: pa.Table, fresh: pa.Table, table: Table) -> pa.Table:
    """Put fresh rows among stored ones, in the order of the key, as the warehouse's upsert does.

    A fresh row replaces a stored one of its key; one that equals, in every value, the version in
    force at its ``known_at`` is not new.
    """
    both = pa.concat_tables([stored, fresh], promote_options="default")
    is_fresh = pa.array(np.arange(len(both)) >= len(stored))
    both = both.append_column("is_fresh", is_fresh)
    both = both.sort_by([(name, "ascending") for name in (*table.key, "is_fresh")])
    begins = np.append(True, ~_same_as_previous(both, table.key))[: len(both)]
    # Of a key's rows the stored come first: where the first is fresh, the key is new.
    is_new = both["is_fresh"].to_numpy()[np.flatnonzero(begins)]
    rows = both.filter(pa.array(np.append(begins[1:], True)[: len(both)])).drop_columns("is_fresh")
    said = tuple(name for name in table.columns if name != "known_at")
    is_same = np.append(False, _same_as_previous(rows, said))
    return rows.filter(pa.array(~(is_new & is_same[: len(rows)])))


def is_intraday(interval: str) -> bool:
    """Whether bars of this length are shorter than a day; a text that is no length is not."""
    try:
        return length(interval) < DAY
    except SettingsError:
        return False


def apart(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Split prepared candles: those of a day and more, and those that are shorter."""
    lengths = pc.unique(rows["interval"]).to_pylist()
    short = [interval for interval in lengths if is_intraday(interval)]
    if len(short) in (0, len(lengths)):
        none = rows.slice(0, 0)
        return (none, rows) if short else (rows, none)
    is_short = pc.is_in(rows["interval"], pa.array(short))
    return rows.filter(pc.invert(is_short)), rows.filter(is_short)


def framed(read: pa.Table, kinds: dict[str, str]) -> pd.DataFrame:
    """Give columns their pandas types; an int column with NULLs becomes Int64."""
    frame = pd.DataFrame(index=pd.RangeIndex(len(read)))
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = read[name].cast(ARROW_TYPES[kind])
        if kind == "int" and column.null_count:
            columns[name] = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        elif kind == "json":
            texts = column.to_pylist()
            values = [None if text is None else json.loads(text) for text in texts]
            columns[name] = pd.Series(values, dtype=object)
        else:
            columns[name] = column.to_pandas()
    return frame.assign(**columns)


def _array(rows: pd.DataFrame, name: str, kind: str, table: Table) -> pa.Array:
    wanted = ARROW_TYPES[kind]
    if name not in rows:
        return pa.nulls(len(rows), wanted)
    column = rows[name]
    try:
        if kind == "json":
            return pa.array([_json_text(value) for value in column], wanted)
        if kind == "timestamp":
            column = _utc(column).dt.tz_convert(None).to_numpy()
        array = pa.array(column, wanted, from_pandas=True, safe=kind != "timestamp")
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WarehouseError(
            f"{table.name}.{name} is not all {kind}: {reason}. Nothing was stored."
        ) from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _utc(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column
    present = column.dropna()
    naive = [value for value in present if getattr(value, "tzinfo", None) is None]
    if naive:
        raise ValueError(f"{naive[0]} has no time zone")
    return pd.to_datetime(column, utc=True)


def _json_text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _ordered(rows: pa.Table, key: tuple[str, ...]) -> pa.Table:
    if _is_increasing(rows, key):
        return rows
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in key])
    rows = rows.take(order)
    is_last = np.append(~_same_as_previous(rows, key), True)[: len(rows)]
    return rows.filter(pa.array(is_last))


def _is_increasing(rows: pa.Table, key: tuple[str, ...]) -> bool:
    """Tell whether every row's key is greater than the one before it."""
    tied = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for name in key:
        earlier, later = rows[name][:-1], rows[name][1:]
        if (tied & pc.less(later, earlier).to_numpy()).any():
            return False
        tied &= pc.equal(later, earlier).to_numpy()
    return not tied.any()


def _same_as_previous(
    rows: pa.Table, names: tuple[str, ...]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where a row agrees with the one before it in these columns; NULL equals NULL."""
    same = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for name in names:
        later, earlier = rows[name][1:], rows[name][:-1]
        equal = pc.equal(later, earlier)
        if equal.null_count:
            equal = pc.fill_null(equal, pc.and_(later.is_null(), earlier.is_null()))
        same &= equal.to_numpy()
    return same


def json_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can say them: instants as text, null for what is not known."""
    found: list[dict[str, Any]] = json.loads(rows.to_json(orient="records", date_format="iso"))
    return found
