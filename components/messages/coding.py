"""Messages to columns and back, many at a time; pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from components.messages.fields import UNKNOWN, Malformed, Shape
from components.messages.shapes import NUMBERS

# A message as it is sent: its key and its bytes.
Coded = tuple[bytes, bytes]

# A message that was not let in: its place among those that were given, and why.
Unread = tuple[int, str]


def decoded(
    shape: Shape,
    messages: Sequence[bytes | None],
    wanted: Callable[[tuple[Any, ...]], None] = lambda _: None,
) -> tuple[pd.DataFrame, list[Unread]]:
    """Read messages of a shape into a table of its fields, and tell which are none, and why.

    ``wanted`` raises ``Malformed`` at values that are well formed and not asked for.
    """
    rows, unread = [], []
    for place, message in enumerate(messages):
        try:
            row = shape.read(message)
            wanted(row)
        except Malformed as wrong:
            unread.append((place, str(wrong)))
        else:
            rows.append(row)
    read = list(zip(*rows, strict=True)) or [()] * len(shape.fields)
    return _table(dict(zip(shape.fields, read, strict=True))), unread


def _table(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: _column(name, values) for name, values in columns.items()})


def _column(name: str, values: Sequence[Any]) -> "pd.Series[Any]":
    if name in ("ts", "known_at"):
        read = pd.Series(values, dtype="int64").to_numpy()
        stamps = pd.DatetimeIndex(read.astype("datetime64[ms]").astype("datetime64[us]"), tz="UTC")
        return pd.Series(stamps).where(read != UNKNOWN)
    if name in (*NUMBERS, "p", "rate", "return"):
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="int64" if name in ("level", "votes") else "str")


def coded(shape: Shape, columns: Mapping[str, list[Any]], keys: list[str]) -> list[Coded]:
    """Write a message of each row of columns that hold what JSON can say."""
    names = ("schema", *columns)
    rows = zip([shape.schema] * len(keys), *columns.values(), strict=True)
    bodies = (written(dict(zip(names, row, strict=True))) for row in rows)
    return [(key.encode(), body) for key, body in zip(keys, bodies, strict=True)]


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def written(body: dict[str, Any]) -> bytes:
    """Write one message."""
    return _ENCODER.encode(body).encode()


def milliseconds(ts: "pd.Series[Any]") -> list[int]:
    """Instants as milliseconds since 1970, UTC."""
    return pd.DatetimeIndex(ts).as_unit("ms").asi8.tolist()


def milliseconds_or_null(ts: "pd.Series[Any]") -> list[int | None]:
    """The same, null where one is not known."""
    return [None if pd.isna(at) else at.value // 1_000_000 for at in ts]


def or_null(numbers: "pd.Series[Any]") -> list[float | None]:
    """Numbers as JSON says them: null where one is not known."""
    read = numbers.astype(float)
    return [None if value != value else value for value in read.tolist()]  # noqa: PLR0124


def parsed(value: Any) -> Any:
    """What a column of JSON holds: the warehouse gives it parsed, a row to be written as text."""
    return json.loads(value) if isinstance(value, str) else value
