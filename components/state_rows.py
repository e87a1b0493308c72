"""Carried state as one value an instrument, for a store that keeps it by key. Pure.

A snapshot lies in memory by array; a store of states by key wants it by instrument. A row here
is the layout of its numbers and then the numbers, so that thousands are read in one copy.
"""

import json
from collections.abc import Sequence

import numpy as np

from components.carried import Snapshot

# Bytes that say how long the layout is.
SIZE = 4


def to_rows(snapshot: Snapshot) -> list[bytes]:
    """One value an instrument, in the snapshot's order; the same state gives the same bytes."""
    fields = sorted(snapshot.state.items())
    layout = np.dtype([(name, a.dtype, a.shape[1:]) for name, a in fields])
    rows = np.empty(len(snapshot.symbols), layout)
    for name, a in fields:
        rows[name] = a
    head = json.dumps([[name, a.dtype.str, a.shape[1:]] for name, a in fields]).encode()
    head = len(head).to_bytes(SIZE, "little") + head
    return [head + rows[i : i + 1].tobytes() for i in range(len(rows))]


def from_rows(symbols: tuple[str, ...], rows: Sequence[bytes]) -> Snapshot:
    """Read ``to_rows`` back.

    Raises
    ------
    ValueError
        The rows are of different layouts, or cut short.
    """
    n = SIZE + int.from_bytes(rows[0][:SIZE], "little")
    head = rows[0][:n]
    if any(row[:n] != head for row in rows):
        raise ValueError("carried states of different layouts do not go together")
    fields = json.loads(head[SIZE:])
    layout = np.dtype([(name, kind, tuple(shape)) for name, kind, shape in fields])
    body = np.frombuffer(b"".join(row[n:] for row in rows), layout)
    if len(body) != len(symbols):
        raise ValueError(f"{len(body)} carried states for {len(symbols)} instruments")
    return Snapshot(symbols, {name: np.ascontiguousarray(body[name]) for name, _, _ in fields})
