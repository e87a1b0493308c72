"""What the sources share that ask a database: one query, month by month, into bins.

The query is the text of a file with ``:since`` and ``:until``. It gives the columns ``ts`` (or
``time``), ``value`` and, where there are several series, ``series``, in any granularity not
coarser than a bin. The file's name without its extension is the data set's name. A month that
ended more than ``settle_days`` ago is asked for once: its request has a name made of all that
its result depends on.
"""

import csv
import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd

from components import bins
from components.errors import (
    InvalidSymbol,
    LakeError,
    SettingsError,
    SourceFormatError,
    SymbolNotFound,
)
from components.objects import open_objects
from components.records import CandleRequest, Parsed, RawReply
from components.sources.bars import actions_frame, candles_frame
from components.sources.base import Traits, check_symbol
from components.sources.placeholders import prepared
from components.words import clean, moment

# Rows taken from the database at a time.
CHUNK = 10_000

# A month of one query, as text. What is larger was meant to be summed by the database.
MAX_BYTES = 256 * 2**20

# Names of series become labels of messages; so many of them are still one picture.
MAX_NAME, MAX_SERIES = 200, 5_000

# A time with an offset ends in Z, UTC or +hh:mm after its time of day.
OFFSET: Final = r".*\d:\d{2}.*?(?:Z|UTC|[+-]\d{2}(?::?\d{2})?(?::\d{2})?)"

Rows = Generator[tuple[Sequence[str], Iterable[Sequence[Any]]]]


@dataclass(frozen=True)
class Binning:
    """How instants become bins, and what an empty one is.

    Parameters
    ----------
    zone : str
        The operator's time zone: bins and months begin by its clock.
    times : str
        The zone of times without an offset.
    empty : str
        "zero": a bin without a row of its series is 0.0; "missing": it is absent.
    """

    zone: str = "UTC"
    times: str = "UTC"
    empty: str = "zero"

    def measures(
        self,
        series: pd.Series,
        ts: pd.DatetimeIndex,
        value: np.ndarray,
        request: CandleRequest,
        known: tuple[str, ...] = (),
    ) -> pd.DataFrame:
        """Sum values into bins: those wholly inside the request and closed at its ``as_of``.

        Where an empty bin is zero, each series of the reply has a row in every bin; series that
        only other replies have are not known here, unless ``known`` names them. Value NaN: no
        payment.

        Raises
        ------
        RowTrouble
            When a sum is too large for a number.
        """
        interval, as_of = request.interval, request.as_of
        closed = bins.last_closed_end(as_of, interval, self.zone)
        until = min(request.until, closed)
        expected = bins.expected_bins(request.since, until, interval, self.zone)
        inside = np.asarray((ts >= request.since) & (ts < until)) & ~np.isnan(value)
        rows = pd.DataFrame({"series": series[inside], "value": value[inside]})
        rows["ts"] = bins.bin_start(ts[inside], interval, self.zone)
        sums = _sums(rows)
        if not np.isfinite(sums["value"]).all():
            raise RowTrouble("a bin's sum is too large for a number. Check the amounts.")
        names = (*known, *(str(name) for name in series.unique()))
        found = bins.complete(sums, expected, names, 0.0 if self.empty == "zero" else None)
        return found.assign(line=np.arange(len(found)))


def _sums(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum the values of each series and bin; the same values give the same bits in any order."""
    rows = rows.sort_values(["series", "ts", "value"], kind="stable", ignore_index=True)
    begins = np.flatnonzero(~rows.duplicated(["series", "ts"]).to_numpy())
    with np.errstate(over="ignore"):
        value = np.add.reduceat(rows["value"].to_numpy(dtype=float), begins)
    return rows.loc[begins, ["series", "ts"]].assign(value=value)


def binning(
    *, time_zone: str = "UTC", measures_times: str = "", measures_empty: str = "zero", **_: object
) -> Binning:
    """Take what the settings say of bins."""
    for name in (time_zone, measures_times or time_zone):
        bins.zone_named(name)
    return Binning(time_zone, measures_times or time_zone, measures_empty)


@dataclass(frozen=True)
class Query:
    """An operator's query: the data set's name, the text, and the text as a driver takes it."""

    name: str
    text: str
    prepared: str


def read_query(place: str | Path, dialect: str) -> Query:
    """Read the query of the settings, from a file or from ``s3://bucket/key.sql``.

    Raises
    ------
    SettingsError
        When there is none, or it cannot be run month by month; with the remedy.
    """
    if not place:
        raise SettingsError(
            "no query is set. Set TREMOR_MEASURES_QUERY to a file with a SELECT that gives "
            "series, ts and value of the payments between :since and :until."
        )
    root, _, name = str(place).rpartition("/")
    try:
        body = open_objects(root).get(name) if "://" in root else Path(place).read_bytes()
        text = body.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, LakeError) as error:
        is_text = not isinstance(error, UnicodeDecodeError)
        reason = (getattr(error, "strerror", None) or error) if is_text else "no UTF-8 text"
        raise SettingsError(
            f"{place}: the query cannot be read ({reason}). Correct TREMOR_MEASURES_QUERY."
        ) from None
    try:
        name = check_symbol(Path(name).stem)
    except InvalidSymbol:
        raise SettingsError(
            f"{place}: the file's name is the data set's: rename it to 1 to 32 of A-Z a-z 0-9 . - "
            "= ^ _ & and .sql."
        ) from None
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return Query(name, lines, prepared(text, dialect, str(place)))


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


@dataclass(frozen=True)
class QuerySource(ABC):
    """A database that is asked an operator's query.

    Parameters
    ----------
    query : Query
        What is asked.
    place : str
        Whom: an address without user or password, shown to people.
    binning : Binning
        How the rows become bins.
    settle_days : float
        A month is asked for again until so many days after its end.
    timeout_s : float
        Patience with one month, s.
    clock : Callable
        The instant of now, UTC.
    """

    query: Query
    place: str
    binning: Binning = Binning()
    settle_days: float = 3.0
    timeout_s: float = 30.0
    clock: Callable[[], pd.Timestamp] = _now

    name: ClassVar[str]

    @property
    def traits(self) -> Traits:
        """A bin that a reply lacks had no payment, unless the operator says otherwise."""
        absent = "no payment" if self.binning.empty == "zero" else "missing"
        return Traits(kind="measures", absent=absent)

    @abstractmethod
    def rows(self, since: pd.Timestamp, until: pd.Timestamp) -> Rows:
        """Run the query over [since, until): column names and rows, in parts.

        Raises
        ------
        SourceError
            With the remedy; ``SourceUnavailable`` when another try may help.
        """

    def symbols(self) -> tuple[str, ...]:
        """The query is the only data set."""
        return (self.query.name,)

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """Cut a request into the operator's months; the open one ends at ``as_of``.

        What it holds of a bin under way is for a nowcast; bins are made of closed ones alone. A
        settled month has a name: what was kept under it is never asked for again.
        """
        zone = self.binning.zone
        closed = bins.last_closed_end(request.as_of, request.interval, zone)
        since, until = request.since, min(request.until, request.as_of)
        if min(until, closed) <= since:
            return ()
        edges = bins.month_edges(since, until, zone)
        months = pairwise(edges)
        cut = [
            replace(request, since=max(since, first), until=min(until, last), name="")
            for first, last in months
        ]
        return tuple(replace(piece, name=self.kept_name(piece) or "") for piece in cut)

    def kept_name(self, piece: CandleRequest) -> str | None:
        """The name under which a settled month's reply is kept; None while it may change."""
        if not self._is_settled(piece):
            return None
        of_what = [
            "measures 1", self.name, self.place, self.query.name, self.query.text,
            piece.since.isoformat(), piece.until.isoformat(), self.binning.times,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(of_what).encode()).hexdigest()

    def _is_settled(self, piece: CandleRequest) -> bool:
        ended = bins.month_edges(piece.since, piece.until, self.binning.zone)[-1]
        settled = piece.until + pd.Timedelta(days=self.settle_days)
        return bool(ended <= piece.as_of and settled <= piece.as_of)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Run the query over one month; its rows are kept as CSV, in an order of their own.

        The same rows give the same bytes, in whatever order the database gave them.
        """
        symbol = check_symbol(request.symbol)
        if symbol != self.query.name:
            raise SymbolNotFound(
                f"{symbol}: the query of TREMOR_MEASURES_QUERY is called {self.query.name}. Leave "
                "TREMOR_SYMBOLS unset.",
                symbol,
            )
        # Closed here: a connection left to an error's traceback would hold its locks.
        with closing(self.rows(request.since, request.until)) as parts:
            body = _as_csv(parts, symbol)
        if body.count(b"\n") == 1:
            # Without a row, the reply of one month would be that of any other.
            body = f"# no row from {request.since} to {request.until}\n".encode() + body
        observed_at = min(self.clock(), request.as_of)
        if self._is_settled(request):
            return RawReply(
                self.name, request, self.place, 200, observed_at, body, {"kind": "query"}
            )
        absent = f"what is booked after {moment(observed_at, '1m')}: the month is not settled"
        details = {"kind": "query", "absent": absent}
        return RawReply(self.name, request, self.place, 206, observed_at, body, details)

    def parse(self, reply: RawReply) -> Parsed:
        """Sum a month's rows into bins."""
        request = reply.request
        table = _table(reply)
        named = table.get("series")
        said = table["ts"] + " " + (named if named is not None else "")
        # Of an only series the name is known even when nothing was paid.
        known = (request.symbol,) if named is None else ()
        try:
            ts = instants(table["ts"], self.binning.times, said)
            _check_bounds(ts, request, self.binning.zone, said)
            value = numbers(table["value"], said)
            series = names(named, request.symbol, said)
            measures = self.binning.measures(series, ts, value, request, known)
        except RowTrouble as trouble:
            raise SourceFormatError(f"{request.symbol}: {trouble}", request.symbol) from None
        return Parsed(no_candles(), actions_frame(), measures)


class RowTrouble(Exception):
    """What is wrong with a row; the caller knows of which data set."""


def _table(reply: RawReply) -> pd.DataFrame:
    symbol = reply.request.symbol
    try:
        body = reply.body.partition(b"\n")[2] if reply.body[:2] == b"# " else reply.body
        table = pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)
        return table.astype({"ts": "str", "value": "str"})
    except (ValueError, KeyError) as error:
        raise SourceFormatError(
            f"{symbol}: the kept reply is damaged ({first_line(error)[:80]}). Remove it from the "
            "lake, and the month is asked for again.",
            symbol,
        ) from None


def no_candles() -> pd.DataFrame:
    """The candles of a reply that has none."""
    return candles_frame(pd.DatetimeIndex([], tz="UTC"), {})


def instants(text: pd.Series, zone: str, said: pd.Series) -> pd.DatetimeIndex:
    """Read ISO times, with an offset or without (then they are of ``zone``), as UTC.

    Raises
    ------
    RowTrouble
        With the row's number, from 1, and its words ``said``.
    """
    found = read_times(text, zone)
    bad = np.flatnonzero(np.asarray(found.isna()))
    if len(bad):
        raise RowTrouble(
            f"row {bad[0] + 1} ({_quoted(said, bad[0])}): {_quoted(text, bad[0])} is no time. "
            "Give the column ts as a timestamp, never NULL."
        )
    return found


def read_times(text: pd.Series, zone: str) -> pd.DatetimeIndex:
    """Read ISO times as UTC; NaT where there is none."""
    text = text.str.strip()
    has_offset = text.str.fullmatch(OFFSET).to_numpy(dtype=bool)
    # Digits alone could be a date or a count of seconds: neither is guessed.
    is_local = ~has_offset & ~text.str.fullmatch(r"[\d.]*").to_numpy(dtype=bool)
    with_z = text.str.replace(r"\s*UTC$", "Z", regex=True)
    aware = pd.to_datetime(with_z.where(has_offset), format="ISO8601", utc=True, errors="coerce")
    local = pd.to_datetime(text.where(is_local), format="ISO8601", errors="coerce")
    walls = bins.instants(pd.DatetimeIndex(local).as_unit("us"), zone)
    return pd.DatetimeIndex(aware).as_unit("us").where(has_offset, walls)


def numbers(text: pd.Series, said: pd.Series) -> np.ndarray:
    """Read amounts; NULL (an empty cell) becomes NaN and counts as no payment.

    Raises
    ------
    RowTrouble
        With the row's number, from 1, and its words ``said``.
    """
    text = text.str.strip()
    empty = (text == "").to_numpy(dtype=bool)
    found = pd.to_numeric(text.where(~empty), errors="coerce").to_numpy(dtype=float)
    bad = np.flatnonzero(~np.isfinite(found) & ~empty)
    if len(bad):
        raise RowTrouble(
            f"row {bad[0] + 1} ({_quoted(said, bad[0])}): {_quoted(text, bad[0])} is no number. "
            "Give the column value as one: cast(amount as decimal(18, 2))."
        )
    return found


def names(text: pd.Series | None, one: str, said: pd.Series) -> pd.Series:
    """Clean the names of series, or name all rows ``one`` when there is no such column.

    Raises
    ------
    RowTrouble
        When a name is empty, too long, or there are too many of them.
    """
    if text is None:
        return pd.Series([one] * len(said), dtype="str")
    tidy = {name: clean(name, MAX_NAME + 4) for name in text.unique()}
    found = text.map(tidy).astype("str")
    bad = np.flatnonzero(((found == "") | (found.str.len() > MAX_NAME)).to_numpy(dtype=bool))
    if len(bad):
        raise RowTrouble(
            f"row {bad[0] + 1} ({_quoted(said, bad[0])}): its series has no name, or one longer "
            f"than {MAX_NAME} characters. Give another: coalesce(country, 'unknown')."
        )
    if len(set(tidy.values())) > MAX_SERIES:
        raise RowTrouble(
            f"{len(tidy):,} series, more than {MAX_SERIES:,}. Group by something coarser."
        )
    return found


def _quoted(text: pd.Series, place: int) -> str:
    return repr(clean(str(text.iloc[place]), 60))


def _check_bounds(ts: pd.DatetimeIndex, request: CandleRequest, zone: str, said: pd.Series) -> None:
    """Refuse rows that the bounds should have kept out: a slip of time zones loses money."""
    # Rows truncated to their hour or day may begin before a request that begins within it.
    first = bins.bin_start(pd.DatetimeIndex([request.since]), "1d", zone)[0]
    bad = np.flatnonzero(np.asarray((ts < first) | (ts > request.until)))
    if len(bad):
        raise RowTrouble(
            f"row {bad[0] + 1} ({_quoted(said, bad[0])}) lies outside the month asked for, "
            f"{moment(request.since, '1m')} to {moment(request.until, '1m')}. Filter with "
            "`>= :since and < :until` on the column given as ts; times without an offset are of "
            "TREMOR_MEASURES_TIMES."
        )


def _as_csv(parts: Rows, symbol: str) -> bytes:
    """Write rows as CSV lines, sorted: the same rows give the same bytes."""
    lines: list[str] = []
    # The writer hands over one finished line at a time.
    target = SimpleNamespace(write=lines.append)
    # Unquoted, a lone carriage return would be read as the end of a line.
    writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    header, n_bytes = "", 0
    for columns, rows in parts:
        places = _places(columns, symbol)
        header = ",".join(places) + "\n"
        before = len(lines)
        writer.writerows(map(itemgetter(*places.values()), rows))
        n_bytes += sum(map(len, lines[before:]))
        if n_bytes > MAX_BYTES:
            raise SourceFormatError(
                f"{symbol}: a month has more than {MAX_BYTES // 2**20} MB of rows. Sum them in the "
                "query: group by series and date_trunc('hour', paid_at).",
                symbol,
            )
    lines.sort()
    return (header + "".join(lines).replace("\x00", " ")).encode("utf-8", "replace")


def _places(columns: Sequence[str], symbol: str) -> dict[str, int]:
    """Where series (if there is one), ts and value are among the columns."""
    wanted = {"series": ("series",), "ts": ("ts", "time"), "value": ("value",)}
    tidy = [str(name).strip().casefold() for name in columns]
    places = {}
    for name, aliases in wanted.items():
        found = [place for place, column in enumerate(tidy) if column in aliases]
        if len(found) > 1 or (not found and name != "series"):
            given = clean(", ".join(map(str, columns)), 100)
            raise SourceFormatError(
                f"{symbol}: the query gives the columns {given}; expected one ts, one value, and "
                "series where there are several. Name them: select country as series, ...",
                symbol,
            )
        if found:
            places[name] = found[0]
    return places


def first_line(error: BaseException, *secrets: str) -> str:
    """What a driver said, in one harmless line without the secrets."""
    said = str(error).strip() or type(error).__name__
    for secret in secrets:
        said = said.replace(secret, "***") if secret else said
    return clean(said.splitlines()[0], 200)
