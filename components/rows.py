"""Rows of a table as the bytes that PostgreSQL's COPY reads and writes, and back.

Text is quoted and NULL is not, so that an empty string and no string stay two things; a
float is written with as many digits as give it back exactly.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from psycopg2 import sql as pg

from components import binary_copy
from components.errors import SettingsError, WarehouseError
from components.sessions import length
from components.tables import Table

ROWS_A_SLICE = 65_536

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


class CopySource:
    """A file-like object that COPY FROM STDIN reads: rows encoded one slice ahead.

    ``form`` is "binary" or "csv", whichever is faster for these rows.
    """

    def __init__(self, rows: pa.Table) -> None:
        places = binary_copy.runs(rows)
        self.form = "csv" if places is None else "binary"
        self._chunks = _ahead(
            _csv_chunks(rows) if places is None else binary_copy.chunks(rows, places)
        )
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Give at most ``size`` bytes; none at the end."""
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)


def copy_in(cursor: Any, name: pg.Composable, rows: pa.Table) -> None:
    """Append rows to a stored table by COPY."""
    source = CopySource(rows)
    columns = pg.SQL(", ").join(map(pg.Identifier, rows.column_names))
    statement = pg.SQL("COPY {} ({}) FROM STDIN (FORMAT {})")
    cursor.copy_expert(statement.format(name, columns, pg.SQL(source.form)), source, size=1 << 20)


def decoded(body: io.BytesIO, kinds: dict[str, str]) -> pd.DataFrame:
    """Make a frame of what COPY TO STDOUT wrote, timestamps as UTC without an offset."""
    types = {
        name: pa.timestamp("us") if kind == "timestamp" else ARROW_TYPES[kind]
        for name, kind in kinds.items()
    }
    if not body.getbuffer().nbytes:
        return framed(pa.schema(types.items()).empty_table(), kinds)
    read = pyarrow.csv.read_csv(
        body,
        read_options=pyarrow.csv.ReadOptions(column_names=list(kinds)),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return framed(read, kinds)


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


def _same_as_previous(rows: pa.Table, key: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    same = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for name in key:
        same &= pc.equal(rows[name][1:], rows[name][:-1]).to_numpy()
    return same


def _ahead(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, each made while the one before it is being sent."""
    with ThreadPoolExecutor(1) as encoder:
        coming = encoder.submit(next, chunks, b"")
        while body := coming.result():
            coming = encoder.submit(next, chunks, b"")
            yield body


def _csv_chunks(rows: pa.Table) -> Iterator[bytes]:
    # Times go without their zone, which is slow to write; the session's zone is UTC.
    naive = [
        pa.timestamp("us") if pa.types.is_timestamp(kind) else kind for kind in rows.schema.types
    ]
    rows = rows.cast(pa.schema(zip(rows.column_names, naive, strict=True)))
    for at in range(0, len(rows), ROWS_A_SLICE):
        yield _csv(rows.slice(at, ROWS_A_SLICE))


def _csv(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(include_header=False))
    return sink.getvalue()
