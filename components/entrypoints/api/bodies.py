"""Candles as they are sent, JSON, Arrow or Parquet, to rows; or to a problem by field."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from components.entrypoints.api.problems import Problem, field_of
from components.entrypoints.api.schemas import Candles
from components.errors import InvalidSymbol
from components.feeds.base import COLUMNS, NUMBERS
from components.sources.base import check_symbol

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
KINDS = (JSON, ARROW, PARQUET)

# Prices that every candle has.
NEEDED = ("open", "high", "low", "close")

# Of a compressed file's rows no more is unpacked, bytes.
MOST_UNPACKED = 2**29

# Bars of other years are mistakes.
FIRST_YEAR, LAST_YEAR = 1970, 2199

# So many faults of one body are told.
MOST_FAULTS = 20

Said = TypeVar("Said", bound=BaseModel)

_candles = TypeAdapter(Candles)


def kind_of(request: Request) -> str:
    """What a body says that it is, without what goes with it."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


def said_as(model: type[BaseModel]) -> dict[str, Any]:
    """How the OpenAPI document shows a body that is read by ``said_in``."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


async def said_in(request: Request, model: type[Said]) -> Said:
    """What a body says, as JSON has it: a text is no number.

    Raises
    ------
    Problem
        415 for another kind, 422 for fields that are wrong.
    """
    if kind_of(request) != JSON:
        raise Problem(415, f"send {JSON}")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise faulty(error.errors(include_url=False, include_input=False)) from None


def candles_of(body: bytes, kind: str, most_rows: int) -> pd.DataFrame:
    """The candles of a body: symbol, ts, open, high, low, close, volume, vwap, trades.

    Raises
    ------
    Problem
        415 for another kind, 413 for too many rows, 422 for fields that are wrong.
    """
    if kind not in KINDS:
        raise Problem(415, f"send {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    rows = _of_json(body, most_rows) if kind == JSON else _of_table(body, kind, most_rows)
    _require_names(rows)
    return rows


def _of_json(body: bytes, most_rows: int) -> pd.DataFrame:
    try:
        found = _candles.validate_json(body).candles
    except ValidationError as error:
        raise faulty(error.errors(include_url=False, include_input=False)) from None
    if len(found) > most_rows:
        raise _too_many(most_rows)
    _require_years([row["ts"].year for row in found])
    ts = [_instant(row["ts"]) for row in found]
    columns = {name: [row.get(name) for row in found] for name in NUMBERS}
    numbers = {name: np.array(values, dtype=float) for name, values in columns.items()}
    return _rows([row["symbol"] for row in found], ts, numbers)


def _instant(said: dt.datetime | dt.date) -> dt.datetime:
    if isinstance(said, dt.datetime):
        return said.astimezone(dt.UTC)
    return dt.datetime(said.year, said.month, said.day, tzinfo=dt.UTC)


def _of_table(body: bytes, kind: str, most_rows: int) -> pd.DataFrame:
    try:
        table = _unpacked(body, kind, most_rows)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        words = " ".join(str(error).split())[:160]
        raise Problem(422, f"the body is no {kind}: {words}") from None
    lacking = [name for name in ("symbol", "ts", *NEEDED) if name not in table.column_names]
    if lacking:
        raise Problem(
            422, "a column lacks", tuple((name, "a column is needed") for name in lacking)
        )
    if not table.num_rows:
        raise Problem(422, "there is no row", (("candles", "at least one row is needed"),))
    return _checked(table)


def _unpacked(body: bytes, kind: str, most_rows: int) -> pa.Table:
    """The table, read in parts, so that a small body cannot become a huge one."""
    parts, n_rows = [], 0
    for part in _parts(body, kind):
        n_rows += part.num_rows
        if n_rows > most_rows:
            raise _too_many(most_rows)
        wanted = [name for name in COLUMNS if name in part.schema.names]
        parts.append(part.select(wanted))
    if not parts:
        return pa.table({name: pa.array([]) for name in COLUMNS})
    return pa.Table.from_batches(parts)


def _parts(body: bytes, kind: str) -> Iterator[pa.RecordBatch]:
    if kind == ARROW:
        yield from pa.ipc.open_stream(pa.BufferReader(body))
        return
    file = pq.ParquetFile(pa.BufferReader(body))
    groups = range(file.metadata.num_row_groups)
    if sum(file.metadata.row_group(i).total_byte_size for i in groups) > MOST_UNPACKED:
        raise Problem(413, f"unpacked it is larger than {MOST_UNPACKED // 2**20} MB")
    wanted = [name for name in COLUMNS if name in file.schema_arrow.names]
    yield from file.iter_batches(batch_size=50_000, columns=wanted)


def _checked(table: pa.Table) -> pd.DataFrame:
    """The columns in their types."""
    faults = []
    columns: dict[str, Any] = {}
    kinds = {"symbol": pa.string(), "ts": pa.timestamp("us", "UTC")}
    for name in table.column_names:
        column = table[name]
        if name == "ts" and not _is_instant(column.type):
            faults.append((name, "instants with a time zone, or dates, are needed"))
            continue
        try:
            columns[name] = column.cast(kinds.get(name, pa.float64()))
        except (pa.ArrowException, OverflowError):
            faults.append((name, f"{column.type} is no {kinds.get(name, pa.float64())}"))
    faults += [
        (name, f"{columns[name].null_count} values lack")
        for name in ("symbol", "ts", *NEEDED)
        if name in columns and columns[name].null_count
    ]
    if faults:
        raise Problem(422, "columns are wrong", tuple(faults[:MOST_FAULTS]))
    _require_years(pc.year(columns["ts"]).to_numpy())
    n_rows = table.num_rows
    numbers = {
        name: columns[name].to_numpy() if name in columns else np.full(n_rows, np.nan)
        for name in NUMBERS
    }
    return _rows(columns["symbol"].to_pylist(), columns["ts"].to_pandas(), numbers)


def _is_instant(kind: pa.DataType) -> bool:
    has_zone = pa.types.is_timestamp(kind) and kind.tz is not None
    return has_zone or pa.types.is_date(kind)


def _rows(symbols: list[str], ts: Any, numbers: dict[str, Any]) -> pd.DataFrame:
    instants = pd.DatetimeIndex(pd.to_datetime(ts, utc=True)).as_unit("us")
    found = {"symbol": pd.array(symbols, dtype="str"), "ts": instants, **numbers}
    return pd.DataFrame(found, columns=list(COLUMNS))


def _require_years(years: Any) -> None:
    """Refuse other centuries, before anything is reckoned with them."""
    said = np.asarray(years)
    outside = np.flatnonzero((said < FIRST_YEAR) | (said > LAST_YEAR))
    words = f"not in {FIRST_YEAR} to {LAST_YEAR}"
    if len(outside):
        faults = tuple((f"candles[{at}].ts", words) for at in outside[:MOST_FAULTS])
        raise Problem(422, f"{faults[0][0]}: {words}", faults)


def _require_names(rows: pd.DataFrame) -> None:
    """Refuse names that no market uses."""
    names = rows["symbol"].tolist()
    faults: list[tuple[str, str]] = []
    for symbol in sorted(set(names)):
        try:
            check_symbol(symbol)
        except InvalidSymbol:
            faults.append((f"candles[{names.index(symbol)}].symbol", "no market uses such a name"))
    if faults:
        raise Problem(422, f"{faults[0][0]}: {faults[0][1]}", tuple(faults[:MOST_FAULTS]))


def faulty(errors: Any) -> Problem:
    """What a schema found wrong."""
    faults = tuple(
        (field_of(tuple(p for p in each["loc"] if p != "body")), " ".join(str(each["msg"]).split()))
        for each in errors[:MOST_FAULTS]
    )
    return Problem(422, f"{faults[0][0]}: {faults[0][1]}", faults)


def _too_many(most: int) -> Problem:
    words = f"more than {most:,} rows: send them in parts"
    return Problem(413, words, (("candles", words),))
