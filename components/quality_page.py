"""Data quality as a page, as a part of the report, as JSON and as text; pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from components.calendar_chart import Strip, strip_of, strips_svg, swatch_svg
from components.templates import fill
from components.words import UNTIMED, bar_word, clean, counted, moment, times

# A page opens in a blink: so many rows of a table, gaps, and years of instruments drawn.
MAX_ROWS = 500
MAX_GAPS = 20
MAX_YEARS_DRAWN = 1_000

# So many instruments are printed; the page and the JSON have the others.
MAX_PRINTED = 40

# What the states of a day are called, in the order of the legend, and what each means.
STATES: Mapping[str, str] = {
    "whole": "every bar is there",
    "part missing": "some bars are missing",
    "all missing": "every bar is missing",
    "kept aside": "a bar failed a check and is kept aside",
    "venue down": "the venue gave no bar",
    "no trade": "in some bars nobody traded",
    "closed": "no bar is due",
}


@dataclass(frozen=True)
class Quality:
    """Which bars should exist and which are held, of each instrument.

    ``n_expected`` bars = held + missing + refused + no_trade + venue_down, counted in [since,
    as_of] from the instrument's first bar on; bars within their grace that are not there yet
    are not expected. Extended hours are never expected, and counted apart.

    Parameters
    ----------
    kind : str
        "candles" or "measures"; of the latter a symbol is a series, a bar a bin.
    absent : str
        What the source's absent bars mean, see ``Traits``.
    symbols : DataFrame
        symbol, first, last (NaT when none is held), n_expected, n_held, n_missing, n_refused,
        n_no_trade, n_venue_down, n_extended, n_aside (bars in the quarantine), gap_bars,
        gap_first, gap_last, n_late (missing since the last one held), is_late (any is); the
        worst first. Of measures also total and n_zero.
    days : DataFrame
        symbol, day (a date of the exchange, at 00:00 UTC), state, and the same counts; a
        day on which nothing is due has no row.
    gaps : DataFrame
        symbol, what ("missing", "kept aside", "venue down"), n_bars, first, last; the longest
        first.
    aside : DataFrame
        check_name, symbol, n_bars, first: bars that failed a check; one that comes again counts
        once. ``first`` is NaT where they are rows without a time.
    zone : str
        On whose clock bars are named: of measures the operator's.
    """

    as_of: pd.Timestamp
    since: pd.Timestamp | None
    interval: str
    source: str
    kind: str
    absent: str
    symbols: pd.DataFrame
    days: pd.DataFrame
    gaps: pd.DataFrame
    aside: pd.DataFrame
    zone: str = "UTC"

    @property
    def bar(self) -> str:
        """What one step of the time axis is called."""
        return "bin" if self.kind == "measures" else "bar"

    @property
    def clock(self) -> str:
        """On whose clock the bins begin, in a sentence; of candles it goes without saying."""
        return f"Bins begin by the clock of {self.zone}." if self.kind == "measures" else ""


def as_json(quality: Quality) -> dict[str, Any]:
    """Every figure; of the days those that are not whole. Keys are kept stable."""
    odd = quality.days[~quality.days["state"].isin(["whole", "no trade"])]
    tables = {
        "symbols": quality.symbols,
        "gaps": quality.gaps,
        "kept_aside": quality.aside,
        "days": odd,
    }
    return {
        "as_of": quality.as_of.isoformat(),
        "since": None if quality.since is None else quality.since.isoformat(),
        "interval": quality.interval,
        "source": quality.source,
        "kind": quality.kind,
        "absent_means": quality.absent,
        "time_zone": quality.zone,
        **{
            name: json.loads(table.to_json(orient="records", date_format="iso"))
            for name, table in tables.items()
        },
    }


def text_table(quality: Quality) -> str:
    """The table, the longest gaps and the rows kept aside, as plain text of under 100 columns."""
    shown = quality.symbols.head(MAX_PRINTED)
    columns = _columns(quality)
    rows = [tuple(columns), *_cells(shown, columns)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(columns))]
    lines = [_title(quality), *filter(None, [quality.clock])]
    lines += ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    more = len(quality.symbols) - len(shown)
    lines += [f"and {more:,} more, none worse than these; the page has them"] if more else []
    lines += ["", "longest gaps:" if len(quality.gaps) else "longest gaps: none"]
    lines += [
        f"  {each['when']}  {each['size']} {each['what']}: {each['who']}" for each in _gaps(quality)
    ]
    lines += ["", "kept aside:" if len(quality.aside) else "kept aside: none"]
    lines += [
        f"  {each['check_name']}  {each['size']}, first {each['first']}; {each['who']}"
        for each in _aside(quality)
    ]
    return "\n".join(lines)


def page(quality: Quality) -> str:
    """The page: the table, the calendar picture, the longest gaps, the rows kept aside."""
    return fill("quality.html.j2", title=_title(quality), quality=section(quality), bar=quality.bar)


def section(quality: Quality) -> dict[str, Any]:
    """What the template of the table and the picture is filled with."""
    columns = _columns(quality)
    shown = quality.symbols.head(MAX_ROWS)
    return {
        "headers": list(columns),
        "rows": [
            {"cells": cells, "is_bad": is_bad}
            for cells, is_bad in zip(_cells(shown, columns), _is_bad(shown), strict=True)
        ],
        "more": len(quality.symbols) - len(shown),
        "explained": _explained(quality),
        "clock": quality.clock,
        "gaps": _gaps(quality),
        "aside": _aside(quality),
        **_pictures(quality),
    }


def _title(quality: Quality) -> str:
    n = len(quality.symbols)
    what = f"{n:,} series" if quality.kind == "measures" else counted(n, "instrument")
    since = "" if quality.since is None else f", since {moment(quality.since)}"
    until = moment(quality.as_of, "1m")
    return f"Data quality: {quality.interval}, {what}, {quality.source}{since}, as of {until}"


def _explained(quality: Quality) -> str:
    """What the columns mean, of those that are shown."""
    bar = quality.bar
    said = f"Due are the {bar}s that should exist by the calendar, from the first one held on; "
    said += f"a {bar} is missing when it is due and neither held nor known to be absent"
    means = {
        "no trade": "nobody traded in it, as the provider gives no bar without a trade",
        "venue down": "the venue was down, as it writes a bar even when nobody trades",
    }
    if quality.absent in means:
        said += f"; one that the provider's complete reply lacks means that {means[quality.absent]}"
    if quality.symbols["n_refused"].any():
        said += f". Refused are missing {bar}s that came and failed a check"
    if quality.symbols["n_extended"].any():
        said += ". Bars of extended hours are never due, and counted apart"
    return f"{said}. The gap is the longest one, in {bar}s."


def _columns(quality: Quality) -> dict[str, Callable[[Any], str]]:
    """Headers, each with what makes its cell of a row; columns of nothing are left out."""
    symbols = quality.symbols
    columns: dict[str, Callable[[Any], str]] = {
        "series" if quality.kind == "measures" else "symbol": lambda row: clean(row["symbol"], 32),
        "first": lambda row: _when(row["first"], quality),
        "last": lambda row: _when(row["last"], quality),
        "due": lambda row: f"{row['n_expected']:,}",
        "held": lambda row: _share(row["n_held"], row["n_expected"]),
        "missing": lambda row: f"{row['n_missing']:,}",
    }
    if quality.kind == "measures":
        columns["sum"] = lambda row: times(row["total"])
        columns["zero"] = lambda row: f"{row['n_zero']:,}"
    named = {
        "refused": "n_refused",
        "venue down": "n_venue_down",
        "no trade": "n_no_trade",
        "extended": "n_extended",
        "aside": "n_aside",
    }
    for name, column in named.items():
        if len(symbols) and symbols[column].any():
            columns[name] = partial(_count, column)
    columns["gap"] = lambda row: f"{row['gap_bars']:,}" if row["gap_bars"] else ""
    columns["state"] = lambda row: "late" if row["is_late"] else ""
    return columns


def _count(column: str, row: Mapping[Any, Any]) -> str:
    return f"{row[column]:,}"


def _cells(
    symbols: pd.DataFrame, columns: Mapping[str, Callable[[Any], str]]
) -> list[tuple[str, ...]]:
    return [tuple(cell(row) for cell in columns.values()) for row in symbols.to_dict("records")]


def _is_bad(symbols: pd.DataFrame) -> list[bool]:
    return [bool(bad) for bad in symbols["is_late"] | (symbols["n_missing"] > 0)]


def _share(n: int, total: int) -> str:
    """In percent, and never 100 % of what is not whole."""
    if not total or n == total:
        return "100 %" if total else ""
    return f"{min(100 * n / total, 99.99):.2f} %"


def _when(ts: Any, quality: Quality) -> str:
    """A bar's open without its zone, which is named once, or is UTC."""
    if pd.isna(ts):
        return "none"
    return moment(ts, quality.interval, quality.zone).removesuffix(f" {quality.zone}")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names and instants to the left, numbers to the right."""
    return [
        text.ljust(width) if n < 3 else text.rjust(width)
        for n, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _gaps(quality: Quality) -> list[dict[str, str]]:
    """The longest gaps in words; one that several instruments share is told once."""
    key = ["n_bars", "first", "last", "what"]
    shared = quality.gaps.groupby(key, sort=False)["symbol"].agg(symbol="first", n="size")
    unit = quality.bar if quality.kind == "measures" else bar_word(quality.interval)
    unit = "session" if unit == "day" else unit
    return [
        {
            "when": _span(row["first"], row["last"], quality),
            "size": counted(row["n_bars"], unit),
            "what": row["what"],
            "who": _and_others(row["symbol"], row["n"]),
        }
        for row in shared.reset_index().head(MAX_GAPS).to_dict("records")
    ]


def _span(first: Any, last: Any, quality: Quality) -> str:
    since, until = (_when(each, quality) for each in (first, last))
    return since if since == until else f"{since} to {until}"


def _and_others(symbol: str, n: int) -> str:
    return clean(symbol, 32) + (f" and {counted(n - 1, 'other')}" if n > 1 else "")


def _aside(quality: Quality) -> list[dict[str, str]]:
    """Bars kept aside by check in words: how many, the first case, which instruments most."""
    found = []
    for name, rows in quality.aside.groupby("check_name", sort=False):
        most = rows.sort_values(["n_bars", "symbol"], ascending=[False, True], kind="stable")
        first = rows.sort_values("first", kind="stable").iloc[0]
        is_timed = not pd.isna(first["first"])
        when = _when(first["first"], quality) if is_timed else UNTIMED
        told = ", ".join(f"{clean(s, 32)} {n:,}" for s, n in _first(most))
        rest = len(most) - 5
        found.append(
            {
                "check_name": clean(str(name), 40),
                "size": counted(int(rows["n_bars"].sum()), quality.bar if is_timed else "row"),
                "first": f"{clean(first['symbol'], 32)} {when}",
                "who": told + (f" and {counted(rest, 'other')}" if rest > 0 else ""),
            }
        )
    return found


def _first(most: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(most["symbol"][:5], most["n_bars"][:5], strict=True))


def _pictures(quality: Quality) -> dict[str, Any]:
    """A strip of days an instrument, a picture a year; the worst instruments are drawn."""
    if quality.days.empty:
        return {"pictures": [], "drawn": 0, "not_drawn": len(quality.symbols), "legend": []}
    days = quality.days
    first, last = days["day"].min(), days["day"].max()
    n_years = last.year - first.year + 1
    names = list(quality.symbols["symbol"].head(max(MAX_YEARS_DRAWN // n_years, 1)))
    place = days.groupby("symbol", sort=False).indices
    strips = [
        strip_of(name, days["day"].iloc[place[name]], days["state"].iloc[place[name]])
        if name in place
        else Strip(name)
        for name in names
    ]
    seen = {*days["state"].unique(), "whole", "closed"}
    return {
        # Names are escaped where they are drawn.
        "pictures": [Markup(picture) for picture in strips_svg(strips, first, last)],  # noqa: S704
        "drawn": len(names),
        "not_drawn": len(quality.symbols) - len(names),
        "legend": [
            (Markup(swatch_svg(state)), state, words.replace("bar", quality.bar))  # noqa: S704
            for state, words in STATES.items()
            if state in seen
        ],
    }
