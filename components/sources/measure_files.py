"""A folder of tables of payments, and a TOML file that says what they mean.

One table of the TOML file is one data set::

    [retail]
    files = "retail_*.csv.gz"       # in TREMOR_FILES_ROOT
    time = "InvoiceDate"            # or ["day", "hour"], read together
    value = "Quantity * UnitPrice"  # columns and numbers; "1" counts rows
    series = "Country"              # absent: one series
    day_first = true                # dates like 31 01 2024 or 31/01/2024
    date = 2024-01-31               # the day, for times that are only 15h 00 or 15:00
    prefix = "R"                    # amounts like R38.70
    decimal = ","                   # amounts like 38,70
    encoding = "latin-1"
    keep = { status = ["approved"] }
"""

import csv
import datetime
import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from components import bins
from components.errors import InvalidSymbol, SettingsError, SourceFormatError, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sources.bars import actions_frame
from components.sources.base import Traits, check_symbol
from components.sources.files import TAR, Files, members, packed, unpacked, written_at
from components.sources.queries import Binning, RowTrouble, names, no_candles, read_times
from components.words import clean

# 31 01 2024 10:15:51, 31/01/2024, 31.1.2024
DAY_FIRST = r"^(\d{1,2})[ ./-](\d{1,2})[ ./-](\d{4})(?:$|[ T])(.*)$"

# 15h 00, 15h, 15:00, 15:00:30
CLOCK = r"^(\d{1,2})\s*[h:]\s*(\d{2})?(?:\s*[m:]\s*(\d{2}))?\s*$"

KINDS: dict[str, tuple[type, ...]] = {
    "files": (str,), "time": (str, list), "value": (str,), "series": (str,), "day_first": (bool,),
    "date": (str, datetime.date), "prefix": (str,), "decimal": (str,), "encoding": (str,),
    "keep": (dict,),
}  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What the tables of one data set mean; the fields are those of the TOML file."""

    files: str
    time: tuple[str, ...]
    value: tuple[str, ...]
    series: str = ""
    day_first: bool | None = None
    date: str = ""
    prefix: str = ""
    decimal: str = "."
    encoding: str = "utf-8-sig"
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_meanings(path: Path) -> dict[str, Meaning]:
    """Read what the tables mean, by data set.

    Raises
    ------
    SettingsError
        Naming the file, the table and the key, with the remedy.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or clean(str(error), 120)
        raise SettingsError(
            f"{path}: cannot be read ({reason}). Correct TREMOR_MEASURES_FILE, or the file."
        ) from None
    if not tables:
        raise SettingsError(f"{path}: no table in it. Write [name], files, time and value.")
    return {name: _meaning(path, name, table) for name, table in tables.items()}


def _meaning(path: Path, name: str, table: Any) -> Meaning:
    where = f"{path} [{clean(name, 40)}]"
    try:
        check_symbol(name)
    except InvalidSymbol:
        raise SettingsError(
            f"{where}: no name of a data set. Take 1 to 32 of A-Z a-z 0-9 . - = ^ _ &."
        ) from None
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: stands outside a table. Write [name] before it.")
    for key, value in table.items():
        if key not in KINDS or not isinstance(value, KINDS[key]):
            raise SettingsError(
                f"{where}: {clean(key, 40)!r} is unknown or of the wrong kind. Known: "
                f"{', '.join(KINDS)}."
            )
    missing = [key for key in ("files", "time", "value") if not table.get(key)]
    if missing:
        raise SettingsError(f"{where}: lacks {', '.join(missing)}. Name the files and columns.")
    if Path(table["files"]).is_absolute() or ".." in Path(table["files"]).parts:
        raise SettingsError(f"{where}: files leads out of TREMOR_FILES_ROOT. Give names in it.")
    time = table["time"] if isinstance(table["time"], list) else [table["time"]]
    keep = {
        str(column): tuple(map(str, wanted if isinstance(wanted, list) else [wanted]))
        for column, wanted in table.get("keep", {}).items()
    }
    factors = tuple(part.strip() for part in table["value"].split("*"))
    if not all(factors):
        raise SettingsError(f"{where}: value is no product of columns. Write it as a * b.")
    date = str(table.get("date", ""))
    if date and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise SettingsError(f"{where}: date is {clean(date, 20)!r}. Write it as 2024-01-31.")
    rest = {
        key: table[key]
        for key in ("series", "day_first", "prefix", "decimal", "encoding")
        if key in table
    }
    return Meaning(table["files"], tuple(map(str, time)), factors, date=date, keep=keep, **rest)


@dataclass(frozen=True)
class MeasureFiles:
    """The tables of ``root``; a data set's files are one reply.

    Parameters
    ----------
    root : Path
        The folder. Links that lead out of it are not followed.
    meanings : Mapping of str to Meaning
        The data sets by name.
    binning : Binning
        How rows become bins.
    """

    root: Path
    meanings: Mapping[str, Meaning]
    binning: Binning
    name: str = "files"
    traits: ClassVar[Traits] = Traits(kind="measures")

    def symbols(self) -> tuple[str, ...]:
        """List the data sets."""
        return tuple(sorted(self.meanings))

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """A data set's files are one reply."""
        return (request,)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Read the data set's files."""
        symbol = check_symbol(request.symbol)
        if symbol not in self.meanings:
            raise SymbolNotFound(
                f"{symbol}: TREMOR_MEASURES_FILE has no [{symbol}], only "
                f"{', '.join(self.symbols())}. Leave TREMOR_SYMBOLS unset.",
                symbol,
            )
        folder = Files(self.root)
        pattern = self.meanings[symbol].files
        if not self.root.is_dir():
            raise SettingsError(
                f"the folder {self.root} does not exist or is no folder. Set TREMOR_FILES_ROOT."
            )
        paths = sorted(path for path in self.root.glob(pattern) if folder.is_inside(path))
        if not paths:
            raise SymbolNotFound(
                f"{symbol}: no file {clean(pattern, 80)} in {self.root}. Add it, or correct files.",
                symbol,
            )
        contents = [folder.read(path, symbol) for path in paths]
        body, kind = (contents[0], "file") if len(paths) == 1 else (packed(paths, contents), TAR)
        observed_at = min(max(map(written_at, paths)), request.as_of)
        details = {"kind": kind, "files": ", ".join(path.name for path in paths)}
        url = self.root.resolve().as_uri()
        return RawReply(self.name, request, url, 200, observed_at, body, details)

    def parse(self, reply: RawReply) -> Parsed:
        """Sum the rows into bins, from the first row's bin to the last one's.

        What lies before and after the rows is not known to be empty, and is absent.
        """
        request, meaning = reply.request, self.meanings[reply.request.symbol]
        files = [(reply.details.get("files", "the file"), reply.body)]
        if reply.details.get("kind") == TAR:
            files = [(name, body) for name, _, body in members(reply)]
        try:
            parts = [self._rows(name, body, request.symbol, meaning) for name, body in files]
            rows = pd.concat(parts, ignore_index=True)
            if rows.empty:
                empty = rows[["series", "ts", "value"]].assign(line=np.arange(0))
                return Parsed(no_candles(), actions_frame(), empty)
            ts = pd.DatetimeIndex(rows["ts"])
            interval, zone = request.interval, self.binning.zone
            ends = pd.DatetimeIndex([ts.min(), ts.max()])
            starts = bins.bin_start(ends, interval, zone)
            until = bins.bin_end(starts[1:], interval, zone)[0]
            known = replace(
                request,
                since=max(request.since, starts[0]),
                until=min(request.until, until),
                as_of=min(request.as_of, reply.observed_at),
            )
            value = rows["value"].to_numpy(dtype=float)
            measures = self.binning.measures(rows["series"], ts, value, known)
        except RowTrouble as trouble:
            raise SourceFormatError(f"{request.symbol}: {trouble}", request.symbol) from None
        return Parsed(no_candles(), actions_frame(), measures)

    def _rows(self, where: str, body: bytes, symbol: str, meaning: Meaning) -> pd.DataFrame:
        table = _table(unpacked(body, where, symbol), where, meaning)
        for column, wanted in meaning.keep.items():
            table = table[_column(table, column, where).isin(wanted)]
        time = _column(table, meaning.time[0], where)
        for column in meaning.time[1:]:
            time = time + " " + _column(table, column, where)
        ts = read_times(_dated(time, meaning, where), self.binning.times)
        _refuse(ts.isna(), time, " ".join(meaning.time), where, "is no time", "Mend that line")
        value = np.ones(len(table))
        for factor in meaning.value:
            value = value * _factor(table, factor, meaning, where)
        if not meaning.series:
            series = pd.Series([symbol] * len(table), dtype="str")
        else:
            text = _column(table, meaning.series, where)
            _refuse(
                text == "", text, meaning.series, where, "is no name", "Fill it in, or use keep"
            )
            series = names(text, symbol, text)
        rows = {"series": series.to_numpy(), "ts": ts, "value": value}
        return pd.DataFrame(rows).astype({"series": "str"})


def _table(body: bytes, where: str, meaning: Meaning) -> pd.DataFrame:
    """Read a table as text cells; the index is the line (of Parquet the row) of each."""
    try:
        if body[:4] == b"PAR1":
            table = pd.read_parquet(io.BytesIO(body))
            first, table = 1, table.astype("string").fillna("").astype("str")
        else:
            text = body.decode(meaning.encoding)
            head = text[:10_000].splitlines() or [""]
            delimiter = max(",;\t|", key=head[0].count)
            table = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skip_blank_lines=False,
            )
            # pandas gives a second column of a name another one.
            written = next(csv.reader(head[:1], delimiter=delimiter), [])
            if len(written) == table.shape[1]:
                table.columns = pd.Index(written)
            first, table = 2, table.fillna("")
    except (ValueError, LookupError, OSError, csv.Error) as error:
        raise RowTrouble(
            f"{where}: no table ({clean(str(error), 120)}). Save it as CSV with one header line, "
            "or name its encoding."
        ) from None
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    table.index = pd.RangeIndex(first, first + len(table))
    is_blank = (table == "").all(axis=1)
    return table[~is_blank]


def _column(table: pd.DataFrame, name: str, where: str) -> pd.Series:
    if list(table.columns).count(name) != 1:
        has = clean(", ".join(table.columns[:20]), 150)
        raise RowTrouble(f"{where}: not one column {name!r}. It has {has}. Correct the TOML file.")
    return table[name].astype("str").str.strip()


def _dated(time: pd.Series, meaning: Meaning, where: str) -> pd.Series:
    """Write times as ISO does."""
    if meaning.date:
        clock = time.str.extract(CLOCK)
        iso = [clock[n].fillna("00").str.zfill(2) for n in range(3)]
        return (meaning.date + "T" + iso[0] + ":" + iso[1] + ":" + iso[2]).where(
            clock[0].notna(), ""
        )
    parts = time.str.extract(DAY_FIRST)
    found = parts[0].notna()
    if not found.any():
        return time
    if meaning.day_first is None:
        _refuse(
            found, time, " ".join(meaning.time), where, "may be day or month first",
            "Set day_first to true or false in the TOML file",
        )  # fmt: skip
    day, month = (parts[0], parts[1]) if meaning.day_first else (parts[1], parts[0])
    date = parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    rest = parts[3].fillna("").str.strip()
    rest = rest.where(~rest.str.fullmatch(r"\d{1,2}"), rest.str.zfill(2) + ":00")
    return (date + ("T" + rest).where(rest != "", "")).where(found, time)


def _factor(table: pd.DataFrame, factor: str, meaning: Meaning, where: str) -> np.ndarray:
    """A column's numbers, or a number itself; an empty cell is no payment."""
    if factor not in table.columns and re.fullmatch(r"-?\d+(?:\.\d+)?", factor):
        return np.full(len(table), float(factor))
    text = _column(table, factor, where)
    bare = text.str.removeprefix(meaning.prefix).str.strip()
    if meaning.decimal == ",":
        bare = bare.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    values = pd.to_numeric(bare.where(bare != ""), errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(values) & (text != "").to_numpy(dtype=bool)
    _refuse(bad, text, factor, where, "is no number", "Mend that line, or set prefix or decimal")
    return values


def _refuse(bad: Any, text: pd.Series, column: str, where: str, what: str, remedy: str) -> None:
    places = np.flatnonzero(np.asarray(bad))
    if len(places):
        cell = clean(str(text.iloc[places[0]]), 40)
        raise RowTrouble(
            f"{where}: line {text.index[places[0]]}, column {column!r}: {cell!r} {what}. {remedy}."
        )
