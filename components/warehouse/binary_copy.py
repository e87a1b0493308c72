"""Rows in the binary form of PostgreSQL's COPY: neither side writes or reads a number as text.

Consecutive rows whose texts are the same and whose NULLs stand in the same columns have one
layout, so that NumPy writes a run of them at once. Minutes of an instrument are one run.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

# PostgreSQL counts microseconds from 2000, Arrow from 1970.
EPOCH_US = 946_684_800_000_000

# Shorter runs are written faster as text.
ROWS_A_RUN = 200

ROWS_A_SLICE = 16_384


def runs(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Where the runs of one layout begin, and the end; None when text is the faster form."""
    begins = np.zeros(max(len(rows) - 1, 0), dtype=bool)
    for column in rows.columns:
        if pa.types.is_string(column.type):
            known = pc.fill_null(column, "")
            begins |= pc.not_equal(known[1:], known[:-1]).to_numpy()
        elif not (pa.types.is_timestamp(column.type) or pa.types.is_primitive(column.type)):
            return None
        if 0 < column.null_count < len(column):
            absent = column.is_null()
            begins |= pc.not_equal(absent[1:], absent[:-1]).to_numpy()
    places = np.concatenate(([0], np.flatnonzero(begins) + 1, [len(rows)]))
    return None if (len(places) - 1) * ROWS_A_RUN > len(rows) else places


def chunks(rows: pa.Table, places: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[bytes]:
    """Encode run by run, at most ``ROWS_A_SLICE`` rows at a time."""
    yield HEADER
    rows = rows.combine_chunks()
    for first, end in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        for at in range(first, end, ROWS_A_SLICE):
            yield _encoded(rows.slice(at, min(end - at, ROWS_A_SLICE)))
    yield TRAILER


def _encoded(run: pa.Table) -> bytes:
    layout: list[tuple[str, str]] = [("n", ">i2")]
    fields: dict[str, Any] = {"n": run.num_columns}
    for place, column in enumerate(run.columns):
        value, kind = _value(column)
        layout.append((f"size{place}", ">i4"))
        fields[f"size{place}"] = -1 if kind is None else np.dtype(kind).itemsize
        if kind is not None and np.dtype(kind).itemsize:
            layout.append((f"value{place}", kind))
            fields[f"value{place}"] = value
    body = np.empty(len(run), dtype=layout)
    for name, value in fields.items():
        body[name] = value
    return body.tobytes()


def _value(column: pa.ChunkedArray) -> tuple[Any, str | None]:
    """The values of a run and their form on the wire; no form when they are NULL."""
    if column.null_count:
        return None, None
    if pa.types.is_string(column.type):
        text = column[0].as_py().encode()
        return np.void(text) if text else b"", f"V{len(text)}"
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_numpy() - EPOCH_US, ">i8"
    return column.to_numpy(), ">f8" if pa.types.is_floating(column.type) else ">i8"
