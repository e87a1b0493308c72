"""The reply of Yahoo's chart API, version 8: JSON into rows."""

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from components.errors import SourceFormatError
from components.records import Parsed
from components.sessions import length
from components.sources.bars import PRICES, actions_frame, candles_frame, undo_splits

NO_DATA = "data doesn't exist"


def chart_result(body: bytes, symbol: str) -> Mapping[str, Any] | None:
    """Take the one result out of a reply; None when it says that the range holds no bar.

    Raises
    ------
    SourceFormatError
        When the reply is no chart, or says that something is wrong.
    """
    if body.strip()[:200].lower().startswith(b"400 bad request: data doesn't exist"):
        return None
    try:
        chart = json.loads(body)["chart"]
        error, results = chart.get("error"), chart.get("result")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceFormatError(
            f"{symbol}: the reply is no chart of Yahoo's: it begins {body[:60]!r}", symbol
        ) from None
    if error:
        text = str(error.get("description") if isinstance(error, dict) else error)
        if NO_DATA in text.lower():
            return None
        raise SourceFormatError(f"{symbol}: Yahoo says {text[:200]!r}", symbol)
    if not isinstance(results, list) or not results or not isinstance(results[0], dict):
        raise SourceFormatError(f"{symbol}: the chart has no result", symbol)
    result: Mapping[str, Any] = results[0]
    return result


def parse_chart(body: bytes, symbol: str, interval: str) -> Parsed:
    """Turn a chart into rows, prices as traded; a daily bar gets its local session's date."""
    result = chart_result(body, symbol)
    if result is None:
        return _rows({}, {}, [], ZoneInfo("UTC"), symbol, daily=True)
    quote = _quote(result, symbol)
    daily = length(interval) >= pd.Timedelta(days=1)
    stamps = result.get("timestamp") or []
    events = result.get("events") or {}
    return _rows(quote, events, stamps, _time_zone(result, symbol), symbol, daily=daily)


def _rows(
    quote: Mapping[str, Any],
    events: Mapping[str, Any],
    stamps: list[Any],
    zone: ZoneInfo,
    symbol: str,
    *,
    daily: bool,
) -> Parsed:
    ts = _times(stamps, zone, symbol, daily=daily)
    numbers = {}
    for name in [*PRICES, "volume"]:
        column = quote.get(name) or []
        # Funds and indices may come without any volume.
        if len(column) != len(stamps) and (column or name != "volume"):
            raise SourceFormatError(
                f"{symbol}: the chart has {len(stamps)} times, but {len(column)} values of {name}",
                symbol,
            )
        if column:
            numbers[name] = _floats(column, name, symbol)
    dividends = _events(events, "dividends", zone, symbol)
    splits = _events(events, "splits", zone, symbol)
    return undo_splits(candles_frame(ts, numbers), actions_frame(dividends, splits))


def _quote(result: Mapping[str, Any], symbol: str) -> Mapping[str, Any]:
    try:
        quote: Mapping[str, Any] = result["indicators"]["quote"][0]
    except (KeyError, IndexError, TypeError):
        raise SourceFormatError(f"{symbol}: the chart has no quotes", symbol) from None
    return quote


def _time_zone(result: Mapping[str, Any], symbol: str) -> ZoneInfo:
    name = (result.get("meta") or {}).get("exchangeTimezoneName")
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SourceFormatError(
            f"{symbol}: the chart names no known time zone, but {name!r}", symbol
        ) from None


def _floats(column: list[Any], name: str, symbol: str) -> np.ndarray:
    try:
        return np.array([np.nan if value is None else float(value) for value in column])
    except (TypeError, ValueError) as error:
        raise SourceFormatError(
            f"{symbol}: {name} is no list of numbers: {error}", symbol
        ) from None


def _times(stamps: list[Any], zone: ZoneInfo, symbol: str, *, daily: bool) -> pd.DatetimeIndex:
    seconds = _floats(stamps, "timestamp", symbol)
    # Times that no calendar can hold become NaT; the checks tell them.
    seconds = np.where(np.abs(seconds) < 1e11, seconds, np.nan)
    ts = pd.to_datetime(seconds, unit="s", utc=True)
    if daily:
        ts = ts.tz_convert(zone).tz_localize(None).normalize().tz_localize("UTC")
    return pd.DatetimeIndex(ts)


def _events(events: Mapping[str, Any], kind: str, zone: ZoneInfo, symbol: str) -> pd.Series:
    entries = list((events.get(kind) or {}).values())
    try:
        stamps = [entry["date"] for entry in entries]
        if kind == "dividends":
            values = [float(entry["amount"]) for entry in entries]
        else:
            values = [float(entry["numerator"]) / float(entry["denominator"]) for entry in entries]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise SourceFormatError(f"{symbol}: {kind} cannot be read: {error!r}", symbol) from None
    if kind == "splits" and not all(0 < value < np.inf for value in values):
        raise SourceFormatError(f"{symbol}: a split's ratio is no positive number", symbol)
    ts = _times(stamps, zone, symbol, daily=True)
    return pd.Series(values, index=ts, dtype=float).sort_index()
