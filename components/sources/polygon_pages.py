"""What Massive (Polygon) sends, kept in one archive a reply: JSON and CSV into rows."""

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from components.errors import SourceFormatError
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import length
from components.sources.bars import PRICES, actions_frame, candles_frame, undo_splits
from components.sources.polygon_spans import DAY, NEW_YORK, session_date

TAR: Final = "application/x-tar"

JSON_FIELDS: Final = {
    "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw", "trades": "n",
}  # fmt: skip
CSV_FIELDS: Final = {
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "trades": "transactions",
}  # fmt: skip

# Milliseconds of the year 5138: what is larger was no time.
LARGEST_MS: Final = 1e14


def packed(members: Mapping[str, bytes]) -> bytes:
    """Make a tar archive: the same members give the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def numbered(kind: str, pages: list[bytes]) -> dict[str, bytes]:
    """Name the pages of one kind in their order."""
    return {f"{kind}-{number:04}.json": page for number, page in enumerate(pages, 1)}


def parse_archive(reply: RawReply) -> Parsed:
    """Turn the archive of a reply into rows, prices as traded.

    Raises
    ------
    SourceFormatError
        Naming the instrument, and what about the reply is not known.
    """
    request, members = reply.request, _members(reply)
    actions = actions_of(
        [members[name] for name in members if name.startswith("splits-")],
        [members[name] for name in members if name.startswith("dividends-")],
        request.symbol,
    )
    parts = [
        _bars_of_csv(body, request)
        if name.endswith(".csv")
        else _bars_of_json(body, request, actions)
        for name, body in members.items()
        if name.endswith(".csv") or name.startswith("aggs-")
    ]
    candles = pd.concat([_no_bars(), *parts], ignore_index=True) if parts else _no_bars()
    return Parsed(candles.assign(line=np.arange(len(candles))), within(actions, request))


def within(actions: pd.DataFrame, request: CandleRequest) -> pd.DataFrame:
    """Choose the actions whose date is in the request; a minute's date is New York's."""
    since, last = request.since, request.until - pd.Timedelta(microseconds=1)
    if length(request.interval) < DAY:
        since, last = session_date(since), session_date(last)
    chosen = actions[(actions["ts"] >= since) & (actions["ts"] <= last)]
    return chosen.reset_index(drop=True)


def content_of(body: bytes, symbol: str) -> Mapping[str, Any]:
    """Read a page; it must be one JSON object that does not speak of an error.

    Raises
    ------
    SourceFormatError
        When it is anything else.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise SourceFormatError(
            f"{symbol}: the reply is no page of Massive's: it begins {body[:60]!r}", symbol
        )
    if content.get("status") in ("ERROR", "NOT_FOUND", "NOT_AUTHORIZED"):
        said = content.get("error") or content.get("message") or content["status"]
        raise SourceFormatError(f"{symbol}: Massive says {str(said)[:200]!r}", symbol)
    return content


def results_of(content: Mapping[str, Any], symbol: str) -> list[Any]:
    """Give the rows of a page; none at all is an answer."""
    results = content.get("results")
    if results is None:
        return []
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        raise SourceFormatError(f"{symbol}: the results are no list of rows", symbol)
    return results


def actions_of(splits: list[bytes], dividends: list[bytes], symbol: str) -> pd.DataFrame:
    """Turn pages of splits and dividends into actions: new shares per old, money a share."""
    of_splits, of_dividends = _rows_of(splits, symbol), _rows_of(dividends, symbol)
    try:
        ratios = pd.Series(
            [float(row["split_to"]) / float(row["split_from"]) for row in of_splits],
            index=_dates([row["execution_date"] for row in of_splits]),
            dtype=float,
        )
        amounts = pd.Series(
            [float(row["cash_amount"]) for row in of_dividends],
            index=_dates([row["ex_dividend_date"] for row in of_dividends]),
            dtype=float,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise SourceFormatError(
            f"{symbol}: splits or dividends cannot be read: {error!r}", symbol
        ) from None
    if not (np.isfinite(ratios) & (ratios > 0)).all():
        raise SourceFormatError(f"{symbol}: a split's ratio is no positive number", symbol)
    # A split may be listed twice; a regular and a special dividend may share their date.
    ratios = ratios[~ratios.index.duplicated(keep="last")].sort_index()
    return actions_frame(amounts.groupby(level=0).sum(), ratios)


def _rows_of(pages: list[bytes], symbol: str) -> list[dict[str, Any]]:
    rows = [row for page in pages for row in results_of(content_of(page, symbol), symbol)]
    return [row for row in rows if str(row.get("ticker", symbol)) == symbol]


def _dates(texts: list[Any]) -> pd.DatetimeIndex:
    dates = pd.to_datetime(pd.Series(texts, dtype=object), format="%Y-%m-%d", utc=True)
    return pd.DatetimeIndex(dates).as_unit("us")


def _no_bars() -> pd.DataFrame:
    return candles_frame(pd.DatetimeIndex([], tz="UTC"), {})


def _bars_of_json(body: bytes, request: CandleRequest, actions: pd.DataFrame) -> pd.DataFrame:
    symbol, content = request.symbol, content_of(body, request.symbol)
    given = content.get("ticker")
    if not isinstance(given, str) or given.upper() != symbol.upper():
        raise SourceFormatError(
            f"{symbol}: asked for its bars, Massive answered with those of {str(given)[:40]!r}",
            symbol,
        )
    rows = results_of(content, symbol)
    if not rows:
        return _no_bars()
    table = pd.DataFrame.from_records(rows)
    candles = _candles(table, table.get("t"), 1, JSON_FIELDS, request)
    if content.get("adjusted") is not True:
        return candles
    # A gateway that overrides the request gives prices restated by every later split.
    splits = actions[actions["kind"] == "split"]
    ts = candles["ts"]
    dated = candles.assign(ts=_as_dates(ts) if length(request.interval) < DAY else ts)
    return undo_splits(dated, splits).candles.assign(ts=ts)


def _bars_of_csv(body: bytes, request: CandleRequest) -> pd.DataFrame:
    symbol = request.symbol
    try:
        table = pd.read_csv(io.BytesIO(body), dtype={"ticker": str}, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise SourceFormatError(
            f"{symbol}: the lines of the flat file cannot be read: {error}", symbol
        ) from None
    if table.empty:
        return _no_bars()
    if "ticker" not in table or not (table["ticker"] == symbol).all():
        raise SourceFormatError(f"{symbol}: a flat file's line is of another ticker", symbol)
    return _candles(table, table.get("window_start"), 1_000_000, CSV_FIELDS, request)


def _candles(
    table: pd.DataFrame,
    stamps: pd.Series | None,
    per_ms: int,
    fields: Mapping[str, str],
    request: CandleRequest,
) -> pd.DataFrame:
    absent = [fields[name] for name in PRICES if fields[name] not in table]
    if stamps is None or absent:
        raise SourceFormatError(
            f"{request.symbol}: the bars have no {', '.join(absent) or 'times'}, but "
            f"{', '.join(map(str, table.columns))[:200]}",
            request.symbol,
        )
    try:
        ts = _times(pd.to_numeric(stamps, errors="coerce"), per_ms)
        numbers = {
            name: pd.to_numeric(table[field], errors="coerce").to_numpy(dtype=float)
            for name, field in fields.items()
            if field in table
        }
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceFormatError(
            f"{request.symbol}: a bar's value is no number: {error}", request.symbol
        ) from None
    daily = length(request.interval) >= DAY
    return candles_frame(_as_dates(ts) if daily else ts, numbers)


def _times(stamps: pd.Series, per_ms: int) -> pd.DatetimeIndex:
    """Turn whole milliseconds, or nanoseconds, since 1970 into instants; NaT where none can be."""
    is_time = (stamps.abs() < LARGEST_MS * per_ms).to_numpy(dtype=bool)
    ms = stamps.where(is_time, 0).astype("int64").to_numpy() // per_ms
    ts = np.where(is_time, ms.astype("datetime64[ms]"), np.datetime64("NaT"))
    return pd.DatetimeIndex(ts.astype("datetime64[us]")).tz_localize("UTC")


def _as_dates(ts: pd.Series | pd.DatetimeIndex) -> pd.DatetimeIndex:
    local = pd.DatetimeIndex(ts).tz_convert(NEW_YORK).tz_localize(None)
    return local.normalize().tz_localize("UTC")


def _members(reply: RawReply) -> dict[str, bytes]:
    symbol, members = reply.request.symbol, {}
    try:
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                members[member.name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError) as error:
        raise SourceFormatError(f"{symbol}: the kept archive is damaged: {error}", symbol) from None
    return members
