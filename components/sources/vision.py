"""Binance's candles as rows: the CSV of its archive in zips, the pages of its REST API."""

import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from components.errors import SourceFormatError
from components.records import Parsed, RawReply
from components.sources.bars import actions_frame, candles_frame

# Binance's own order; the files of the spot market have no line of names.
COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
    "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
NEEDED: Final = ("open_time", "open", "high", "low", "close", "volume")
READ: Final = (*NEEDED, "quote_volume", "count")

# Spot files have microseconds since 2025, all others milliseconds. A time of 1e14 is the year
# 5138 in milliseconds and 1973 in microseconds: no candle lies near either.
FIRST_MICROSECONDS = 10**14

# A month of minutes is 4 MB; what unpacks to more was made to fill a memory.
MAX_UNPACKED = 256 * 2**20

# Volumes are rounded at eight decimals, so a mean price may leave its bar by a hair.
VWAP_NOISE = 1e-6

# How the parts of a reply are kept: one file of the archive as it came, or several parts.
ZIP, TAR = "zip", "tar"

# The page that told where an instrument's bars begin is kept as a proof, and has no rows.
FIRST_BAR = "-first.json"

Columns = dict[str, np.ndarray]


def parse_reply(reply: RawReply) -> Parsed:
    """Turn a zip, or a tar of zips and REST pages, into rows in the order of its parts.

    Raises
    ------
    SourceFormatError
        With the part's name, and the line and the column if there are any.
    """
    symbol = reply.request.symbol
    parts = [_columns_of(name, body, symbol) for name, body in _parts(reply)] or [_no_columns()]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in READ}
    ts = pd.DatetimeIndex(whole["open_time"]).tz_localize("UTC")
    numbers = {name: whole[name] for name in NEEDED[1:]}
    numbers |= {"vwap": _vwap(whole), "trades": whole["count"]}
    return Parsed(candles_frame(ts, numbers), actions_frame())


def packed(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """Make a tar archive of named parts: the same parts give the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in parts:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return archive.getvalue()


def page(body: bytes, name: str, symbol: str) -> Columns:
    """Read a page of the REST API: a JSON list of lists of twelve, prices as text.

    Raises
    ------
    SourceFormatError
        With the row (from 0) and the column that cannot be read.
    """
    try:
        rows = json.loads(body)
        table = np.array(rows, dtype=object)
    except (ValueError, RecursionError):
        raise SourceFormatError(
            f"{name}: not the list of candles that Binance's REST API gives. {_ASK_AGAIN}", symbol
        ) from None
    if isinstance(rows, list) and not rows:
        return _no_columns()
    if table.ndim != 2 or table.shape[1] != len(COLUMNS):
        raise SourceFormatError(
            f"{name}: candles of {len(COLUMNS)} values each expected. {_ASK_AGAIN}", symbol
        )
    columns = {}
    for each in READ:
        values = table[:, COLUMNS.index(each)]
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
        is_text = np.isnan(numbers)
        if is_text.any():
            row = int(is_text.argmax())
            raise SourceFormatError(
                f"{name}: row {row}, column {each!r}: {str(values[row])[:40]!r} is no number. "
                f"{_ASK_AGAIN}",
                symbol,
            )
        columns[each] = numbers
    # Whole numbers up to 2^53 pass through a float unharmed, and times stay below it.
    return columns | {"open_time": _times(columns["open_time"].astype(np.int64))}


_ASK_AGAIN = "Run it again; if it stays so, check TREMOR_BINANCE_ARCHIVE_URL and _API_URL."


def _parts(reply: RawReply) -> Iterator[tuple[str, bytes]]:
    symbol = reply.request.symbol
    if reply.details.get("kind") != TAR:
        yield reply.details.get("files", f"{symbol}.zip"), reply.body
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None and not member.name.endswith(FIRST_BAR):
                    yield member.name, content.read()
    except tarfile.TarError as error:
        raise SourceFormatError(
            f"{symbol}: the kept archive is damaged ({error}). Backfill these bars again.", symbol
        ) from None


def _columns_of(name: str, body: bytes, symbol: str) -> Columns:
    if name.endswith(".json"):
        return page(body, name, symbol)
    return sheet(_unzipped(body, name, symbol), name, symbol)


def _no_columns() -> Columns:
    empty = {name: np.array([], dtype=float) for name in READ}
    return empty | {"open_time": np.array([], dtype="datetime64[us]")}


def _unzipped(body: bytes, name: str, symbol: str) -> bytes:
    inside = name.removesuffix(".zip") + ".csv"
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            held = ", ".join(member.filename for member in members[:3])[:120] or "nothing"
            if held != inside or len(members) > 1:
                raise SourceFormatError(
                    f"{name}: should hold {inside}, holds {held}. {_ASK_AGAIN}", symbol
                )
            # The zip's own word for its size also bounds what is unpacked.
            if members[0].file_size > MAX_UNPACKED:
                raise SourceFormatError(
                    f"{name}: unpacks to more than {MAX_UNPACKED // 2**20} MB, which no month of "
                    f"candles does. {_ASK_AGAIN}",
                    symbol,
                )
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        # A password is a RuntimeError, and so is an unknown way of packing.
        raise SourceFormatError(
            f"{name}: cannot be unpacked ({str(error)[:80]}). {_ASK_AGAIN}", symbol
        ) from None


def sheet(body: bytes, name: str, symbol: str) -> Columns:
    """Read the CSV straight into typed columns, with or without a line of names.

    Raises
    ------
    SourceFormatError
        With the line (from 1) and the column that cannot be read.
    """
    is_named = not body[:1].isdigit()
    end_of_first = body.find(b"\n") if b"\n" in body else len(body)
    names = _names(body[:end_of_first], name, symbol) if is_named and body else list(COLUMNS)
    # Of a whole month no copy is made to see whether anything comes after its names.
    if is_named and not body[end_of_first : end_of_first + 1000].strip():
        return _no_columns()
    convert = csv.ConvertOptions(
        column_types={each: pa.float64() for each in READ} | {"open_time": pa.int64()},
        include_columns=[each for each in READ if each in names],
        null_values=[""],
    )

    def read(*, use_threads: bool) -> pa.Table:
        return csv.read_csv(
            pa.BufferReader(body),
            csv.ReadOptions(column_names=names, skip_rows=int(is_named), use_threads=use_threads),
            csv.ParseOptions(quote_char=False),
            convert,
        )

    try:
        table = read(use_threads=True)
    except pa.ArrowInvalid:
        # One thread tells the row, several do not.
        try:
            table = read(use_threads=False)
        except pa.ArrowInvalid as error:
            raise SourceFormatError(
                f"{name}: {_place(str(error), body, names)}. {_ASK_AGAIN}", symbol
            ) from None
    absent = np.full(len(table), np.nan)
    columns = {each: table[each].to_numpy() if each in names else absent for each in READ[1:]}
    return columns | {"open_time": _times_of(table["open_time"])}


def _names(head: bytes, name: str, symbol: str) -> list[str]:
    names = [each.strip() for each in head.decode("utf-8", "replace").split(",")]
    lacking = [each for each in NEEDED if each not in names]
    if lacking or len(set(names)) < len(names):
        fault = f"no column for {', '.join(lacking)}" if lacking else "two columns of one name"
        raise SourceFormatError(f"{name}: line 1: {fault}. {_ASK_AGAIN}", symbol)
    return names


def _place(said: str, body: bytes, names: list[str]) -> str:
    """Say in our words where pyarrow stopped: it counts rows, and no empty lines."""
    row = re.search(r"Row #(\d+)", said)
    filled = [i for i, line in enumerate(body.splitlines(), start=1) if line.strip(b"\r")]
    place = f"line {filled[min(int(row[1]), len(filled)) - 1]}" if row else "a line"
    if column := re.search(r"In CSV column #(\d+)", said):
        value = re.search(r"invalid value '(.*)'", said, re.DOTALL)
        wrong = repr(value[1][:40]) if value else "a value"
        return f"{place}, column {names[int(column[1])]!r}: {wrong} is no number"
    if counts := re.search(r"Expected (\d+) columns, got (\d+)", said):
        return f"{place}: {counts[2]} columns where {counts[1]} are expected"
    return f"{place} cannot be read"


def _times_of(column: pa.ChunkedArray) -> np.ndarray:
    times = _times(column.fill_null(0).to_numpy())
    times[column.is_null().to_numpy()] = np.datetime64("NaT")
    return times


def _times(values: np.ndarray) -> np.ndarray:
    """Read each number as what it must be, whatever its neighbours are."""
    is_milli = (values > -FIRST_MICROSECONDS) & (values < FIRST_MICROSECONDS)
    scale = np.where(is_milli, 1000, 1)
    return np.asarray((values * scale).astype("datetime64[us]"))


def _vwap(whole: Columns) -> np.ndarray:
    """Quote volume over volume, the bar's mean price; NaN without trade, or beyond the bar."""
    volume = whole["volume"]
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = whole["quote_volume"] / volume
        is_inside = (vwap >= whole["low"] * (1 - VWAP_NOISE)) & (
            vwap <= whole["high"] * (1 + VWAP_NOISE)
        )
    return np.where((volume > 0) & is_inside, vwap, np.nan)
