"""Bins with their bands as CSV, for a spreadsheet or another program; pure."""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import Any

import pandas as pd

HEADER = (
    *("series", "bin_start", "bin_end", "actual", "expected", "lower", "upper", "in_band"),
    *("alarm_level", "standing", "so_far", "nowcast"),
)

# A cell that begins so is run by a spreadsheet as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(rows: pd.DataFrame, *, zone: str = "UTC") -> bytes:
    """Every row as a line of UTF-8, with instants on the clock of ``zone`` and their offset.

    Parameters
    ----------
    rows : DataFrame
        series, ts, ends_at, actual, expected, lower, upper, level, standing, so_far, nowcast.

    Notes
    -----
    What is not known is empty. ``in_band`` is empty without a band or a value; the band's bounds
    belong to it. A text that a spreadsheet would run as a formula is led by an apostrophe.
    """
    bounds = zip(rows["actual"], rows["lower"], rows["upper"], strict=True)
    columns: list[Iterable[str]] = [
        map(_text, rows["series"]),
        _instants(rows["ts"], zone),
        _instants(rows["ends_at"], zone),
        *(map(_number, rows[name]) for name in ("actual", "expected", "lower", "upper")),
        starmap(_in_band, bounds),
        map(_whole, rows["level"]),
        map(_text, rows["standing"]),
        *(map(_number, rows[name]) for name in ("so_far", "nowcast")),
    ]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(HEADER)
    writer.writerows(zip(*columns, strict=True))
    # Half a character, which no encoding has, becomes a question mark.
    return stream.getvalue().encode("utf-8", "replace")


def _text(value: Any) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _instants(column: pd.Series, zone: str) -> Iterator[str]:
    return ("" if pd.isna(ts) else ts.isoformat() for ts in column.dt.tz_convert(zone))


def _number(value: Any) -> str:
    """All digits that tell a float from its neighbours."""
    return repr(float(value)) if _is_known(value) else ""


def _whole(value: Any) -> str:
    return str(int(value)) if _is_known(value) else ""


def _in_band(actual: Any, lower: Any, upper: Any) -> str:
    if not (_is_known(actual) and _is_known(lower) and _is_known(upper)):
        return ""
    return "true" if lower <= actual <= upper else "false"


def _is_known(value: Any) -> bool:
    return not pd.isna(value) and math.isfinite(value)
