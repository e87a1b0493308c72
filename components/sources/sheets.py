"""A table that someone saved, CSV or Parquet: its bytes into rows.

Understood are the shapes in which Yahoo's prices are handed round (one header line or three,
dates with or without an offset, newest first or last, padded with empty cells), Binance's with
milliseconds, and their like. Columns are found by name; others are left alone.
"""

import io
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from components.errors import SourceFormatError
from components.records import Parsed
from components.sessions import length
from components.sources.bars import PRICES, actions_frame, candles_frame, undo_splits

NAMES: Final = {
    "timestamp": "time", "date": "time", "datetime": "time", "time": "time", "open time": "time",
    "ts": "time", "": "time", "unnamed: 0": "time", "index": "time",
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "vwap": "vwap", "vw": "vwap", "trades": "trades", "count": "trades",
    "transactions": "trades", "n": "trades", "number of trades": "trades",
    "dividends": "dividends", "stock splits": "splits",
    "adj close": "adj_close",
}  # fmt: skip

# Columns that only Yahoo's downloads have: their prices are 32-bit floats printed long.
OF_YAHOO = {"adj close", "dividends", "stock splits", "ticker"}

EMPTY = {"", "nan", "null", "none", "n/a", "na", "nat", "-", "<na>"}
EPOCH = re.compile(r"-?\d{9,20}(?:\.\d+)?")
SLASHED = r"^(\d{1,2})/(\d{1,2})/(\d{4})(?: 00:00(?::00)?)?$"


def parse_sheet(body: bytes, where: str, symbol: str, interval: str) -> Parsed:
    """Turn a table into rows.

    Parameters
    ----------
    body : bytes
        The file's content, unpacked.
    where : str
        Its name, for messages.
    symbol, interval : str
        Whose bars they are; of a file with several tickers the symbol's columns are taken.

    Raises
    ------
    SourceFormatError
        Naming the file, and the line and the column if there are any, and the remedy.
    """
    try:
        if body[:4] == b"PAR1":
            table, first_line = _parquet(body, symbol), 1
        else:
            table, first_line = _delimited(_decoded(body), symbol)
        return _rows(table, first_line, interval)
    except SheetTrouble as trouble:
        raise SourceFormatError(f"{where}: {trouble}", symbol) from None


# A table of instruments side by side is wide; a list of numbers on one line is no table.
MOST_COLUMNS = 5000


class SheetTrouble(Exception):
    """What is wrong with a table; the caller knows the file's name."""


def _decoded(body: bytes) -> str:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", errors="replace")
    if b"\x00" in body[:4096]:
        raise SheetTrouble("not a text file. Give CSV, Parquet or Yahoo's JSON.")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _parquet(body: bytes, symbol: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(io.BytesIO(body))
    except (OSError, ValueError) as error:
        raise SheetTrouble(
            f"Parquet that cannot be read ({_short(error)}). Save it again."
        ) from None
    if isinstance(table.columns, pd.MultiIndex):
        table = _of_symbol(
            table, [str(c[0]) for c in table.columns], [str(c[-1]) for c in table.columns], symbol
        )
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    return table.astype(str)


def _delimited(text: str, symbol: str) -> tuple[pd.DataFrame, int]:
    """Read CSV text as text cells; gives also the line number of the first row of data."""
    head = text.lstrip("\r\n")
    if not head.strip():
        raise SheetTrouble("empty. Expected a header line with a date and Open, High, Low, Close.")
    lines = head[:10_000].splitlines()
    delimiter = max(",;\t|", key=lines[0].count)
    if head.partition("\n")[0].count(delimiter) >= MOST_COLUMNS:
        raise SheetTrouble(
            f"its first line has {MOST_COLUMNS} cells or more, so it is no header. Expected a "
            "header line with a date and Open, High, Low, Close."
        )
    skipped = text[: len(text) - len(head)].count("\n")
    try:
        table = pd.read_csv(
            io.StringIO(head),
            sep=delimiter,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise SheetTrouble(
            f"no CSV ({_short(error)}). Mend that line or save the file again."
        ) from None
    table = table.fillna("")
    names = [str(name) for name in table.iloc[0]]
    n_heads = 1
    if len(table) > 1 and str(table.iloc[1, 0]).strip().casefold() == "ticker":
        tickers = [str(name) for name in table.iloc[1]]
        has_date_line = len(table) > 2 and str(table.iloc[2, 0]).strip().casefold() in NAMES
        n_heads = 3 if has_date_line else 2
        table = _of_symbol(table.iloc[n_heads:], ["date", *names[1:]], ["", *tickers[1:]], symbol)
    else:
        table = table.iloc[1:].set_axis(names, axis=1)
    if delimiter == ";":
        table = table.map(_with_point)
    return table.reset_index(drop=True), skipped + n_heads + 1


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell


def _of_symbol(
    table: pd.DataFrame, names: list[str], tickers: list[str], symbol: str
) -> pd.DataFrame:
    """Take one ticker's columns out of a table that may have several."""
    known = {ticker for ticker in tickers if ticker.strip()}
    if len(known) > 1 and symbol not in known:
        raise SheetTrouble(f"columns of {', '.join(sorted(known)[:5])}, none of {symbol}")
    keep = [len(known) <= 1 or ticker in (symbol, "") for ticker in tickers]
    table = table.loc[:, keep].set_axis(
        [name for name, kept in zip(names, keep, strict=True) if kept], axis=1
    )
    return table.assign(ticker="")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _rows(table: pd.DataFrame, first_line: int, interval: str) -> Parsed:
    columns = _columns(table)
    # Files glued together repeat their header; blank lines say nothing.
    is_header = columns["close"].str.strip().str.casefold() == "close"
    is_blank = np.logical_and.reduce([column.str.strip() == "" for column in columns.values()])
    kept = ~(is_header.to_numpy(dtype=bool) | is_blank)
    lines = np.flatnonzero(kept) + first_line
    columns = {name: column[kept] for name, column in columns.items()}
    ts = _times(columns["time"], interval)
    numbers = {
        name: _numbers(column, name, lines) for name, column in columns.items() if name != "time"
    }
    candles = candles_frame(ts, numbers)
    if not OF_YAHOO & {str(name).strip().casefold() for name in table.columns}:
        return Parsed(candles, actions_frame())
    dividends, splits = (_happened(ts, numbers.get(kind)) for kind in ("dividends", "splits"))
    if splits is not None and not ((splits > 0) & np.isfinite(splits)).all():
        raise SheetTrouble("column 'Stock Splits' has a ratio that is no positive number")
    return undo_splits(candles, actions_frame(dividends, splits))


def _columns(table: pd.DataFrame) -> Mapping[str, pd.Series]:
    found: dict[str, pd.Series] = {}
    order = {alias: place for place, alias in enumerate(NAMES)}
    aliases = [str(name).strip().casefold().replace("_", " ") for name in table.columns]
    for place, alias in sorted(enumerate(aliases), key=lambda item: order.get(item[1], 99)):
        name = NAMES.get(alias)
        if name is None or (name == "time" and "time" in found):
            continue
        if name in found:
            raise SheetTrouble(f"two columns for {name!r}. Remove or rename one of them.")
        found[name] = table.iloc[:, place].astype(str)
    missing = [name for name in ("time", *PRICES) if name not in found]
    if missing:
        names = ", ".join(str(name)[:20] for name in table.columns[:12])
        raise SheetTrouble(
            f"no column for {', '.join(missing)} in the header line ({names}). "
            "Expected a date and Open, High, Low, Close, separated by commas."
        )
    return found


def _numbers(column: pd.Series, name: str, lines: np.ndarray) -> np.ndarray:
    text = column.str.strip()
    empty = text.str.casefold().isin(EMPTY)
    values = pd.to_numeric(text.where(~empty), errors="coerce")
    bad = np.flatnonzero((values.isna() & ~empty).to_numpy())
    if len(bad):
        raise SheetTrouble(
            f"line {lines[bad[0]]}, column {name!r}: {text.iloc[bad[0]][:30]!r} is no number. "
            "Mend or remove that line."
        )
    return values.to_numpy(dtype=float)


def _happened(ts: pd.DatetimeIndex, values: np.ndarray | None) -> pd.Series | None:
    if values is None:
        return None
    happened = ~np.isnan(values) & (values != 0) & np.asarray(ts.notna())
    return pd.Series(values[happened], index=ts[happened].normalize()).sort_index(kind="stable")


def _times(column: pd.Series, interval: str) -> pd.DatetimeIndex:
    """Read bar opens; what is no time becomes NaT. Text without an offset is UTC.

    A daily bar whose text says midnight gets the date as it is written, whatever the offset:
    that is the session's date at the exchange.
    """
    text = column.str.strip().reset_index(drop=True)
    filled = text[text != ""]
    if filled.str.fullmatch(EPOCH).all() and len(filled):
        return _epochs(text)
    if filled.str.fullmatch(r"[12]\d{7}").all() and len(filled):
        return pd.DatetimeIndex(pd.to_datetime(text, format="%Y%m%d", utc=True, errors="coerce"))
    text = _dashed(text)
    if length(interval) >= pd.Timedelta(days=1):
        midnight = text.str.fullmatch(
            r"\d{4}-\d{2}-\d{2}(?:[ T]00:00(?::00(?:\.0+)?)?(?:[+-][\d:]+|Z)?)?"
        )
        text = text.where(~midnight, text.str[:10])
    return pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))


def _epochs(text: pd.Series) -> pd.DatetimeIndex:
    """Read seconds, milliseconds, microseconds or nanoseconds, by their size."""
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=float)
    size = np.abs(values)
    unit = np.select([size < 1e11, size < 1e14, size < 1e17], [1.0, 1e3, 1e6], 1e9)
    return pd.DatetimeIndex(pd.to_datetime(values / unit, unit="s", utc=True)).round("us")


def _dashed(text: pd.Series) -> pd.Series:
    """Write 1/31/1999, 31/1/1999 and 1999/1/31 as 1999-01-31."""
    text = text.str.replace(r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3", regex=True)
    parts = text.str.extract(SLASHED)
    if parts[2].isna().all():
        return text
    first, second = pd.to_numeric(parts[0]), pd.to_numeric(parts[1])
    if (first.max() > 12) == (second.max() > 12):
        raise SheetTrouble(
            "dates with slashes in which day and month cannot be told apart. "
            "Write them as YYYY-MM-DD."
        )
    day, month = (parts[0], parts[1]) if first.max() > 12 else (parts[1], parts[0])
    written = parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    return written.where(parts[2].notna(), text)
