"""Rows as the bytes that PostgreSQL's COPY reads and writes, and back.

Text is quoted and NULL is not, so that an empty string and no string stay two things; a
float is written with as many digits as give it back exactly.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from psycopg2 import sql as pg

from components.rows import ARROW_TYPES, framed
from components.warehouse import binary_copy

ROWS_A_SLICE = 65_536


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
