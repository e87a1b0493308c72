"""Carried state: what a stage remembers between runs, as plain arrays.

A stage that remembers for ever is a *scan*: ``start(n_series) -> State`` and
``run(state, panel) -> (state, values)``. Its law: running over the whole equals running over
any split into pieces with the state carried, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

State = Mapping[str, npt.NDArray[Any]]


def scoped(state: State, stage: str) -> State:
    """The part of ``state`` that belongs to ``stage``."""
    prefix = f"{stage}."
    return {name[len(prefix) :]: a for name, a in state.items() if name.startswith(prefix)}


def named(state: State, stage: str) -> State:
    """The state of one stage under names that other stages do not use."""
    return {f"{stage}.{name}": a for name, a in state.items()}


@dataclass(frozen=True)
class Snapshot:
    """The carried state of some instruments; the arrays' first axis runs over ``symbols``."""

    symbols: tuple[str, ...]
    state: State

    def take(self, symbols: tuple[str, ...]) -> "Snapshot":
        """The same state for some of the instruments, in the order asked for."""
        at = pd.Index(self.symbols).get_indexer(pd.Index(symbols))
        return Snapshot(symbols, {name: a[at] for name, a in self.state.items()})


def to_arrow(snapshot: Snapshot) -> bytes:
    """The snapshot as an Arrow file; the same snapshot gives the same bytes."""
    columns: dict[str, pa.Array] = {"symbol": pa.array(snapshot.symbols, pa.string())}
    for name, a in sorted(snapshot.state.items()):
        flat = pa.array(np.ascontiguousarray(a).reshape(-1))
        columns[name] = flat if a.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, a.shape[1])
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_arrow(body: bytes) -> Snapshot:
    """Read ``to_arrow`` back.

    Raises
    ------
    pyarrow.ArrowInvalid
        When the bytes are no such file.
    """
    table = pa.ipc.open_file(pa.BufferReader(body)).read_all().combine_chunks()
    state: dict[str, npt.NDArray[np.generic]] = {}
    for name in table.column_names:
        if name == "symbol":
            continue
        column = table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            width = column.type.list_size
            state[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        else:
            state[name] = column.to_numpy(zero_copy_only=False)
    return Snapshot(tuple(table.column("symbol").to_pylist()), state)
