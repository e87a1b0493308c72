"""An exploration of instruments as tables of text; pure."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from components.explored import Profile
from components.profile.unusual import N_VOLUMES
from components.words import UNTIMED, clean, counted, moment, number, percent, price, times

# So many instruments are printed, and unusual bars and pairs of each kind; the JSON has more.
MAX_PRINTED, MAX_LINES = 40, 10

Row = Mapping[Any, Any]
Columns = Mapping[str, Callable[[Row], str]]


def table(profile: Profile) -> Columns:
    """The columns of the instruments' table, each with what makes its cell of a row."""
    return {
        "symbol": lambda row: clean(row["symbol"], 32),
        "first": lambda row: when(row["first"]),
        "last": lambda row: when(row["last"]),
        "bars": lambda row: f"{row['n_bars']:,}",
        "held": lambda row: covered(row["coverage"]),
        "volatility": lambda row: percent(number(row["volatility"])),
        "recent": lambda row: percent(number(row["volatility_recent"])),
        "moves": lambda row: among(row["n_large_moves"], row["n_judged_moves"]),
        "spikes": lambda row: among(row["n_volume_spikes"], row["n_judged_volumes"]),
        "largest move": lambda row: _largest(row, profile.interval),
    }


def coverage(profile: Profile) -> Columns:
    """The columns of the table of coverage, up to the last bar held; as ``consistency``."""
    columns: dict[str, Callable[[Row], str]] = {
        "symbol": lambda row: clean(row["symbol"], 32),
        "due": lambda row: f"{row['n_due'] - row['n_late']:,}",
        "held": lambda row: f"{row['n_held']:,}",
        "share": lambda row: covered(row["coverage"]),
        "missing": lambda row: f"{row['n_missing'] - row['n_late']:,}",
    }
    rare = {
        "refused": "n_refused",
        "venue down": "n_venue_down",
        "no trade": "n_no_trade",
        "not due": "n_not_due",
        "extended": "n_extended",
    }
    return columns | _filled(profile, rare) | {"late since": partial(_count, "n_late")}


def consistency(profile: Profile) -> Columns:
    """The columns of the table of consistency; some are left out where they hold nothing."""
    columns: dict[str, Callable[[Row], str]] = {
        "symbol": lambda row: clean(row["symbol"], 32),
        "aside": lambda row: f"{row['n_aside']:,}",
        "gaps": lambda row: _with(row["n_gaps"], "longest", row["longest_gap_bars"]),
        "unchanged": lambda row: _with(row["n_unchanged"], "in a row", row["longest_unchanged"]),
    }
    if profile.symbols["n_corrected"].any():
        columns["corrected"] = _corrected
    rare = {
        "out of order": "n_out_of_order",
        "copies": "n_copies",
        "disagree": "n_disagreeing",
        "one price": "n_flat",
        "no trade": "n_zero_volume",
        "no volume": "n_no_volume",
    }
    return columns | _filled(profile, rare)


def _filled(profile: Profile, rare: Mapping[str, str]) -> dict[str, Callable[[Row], str]]:
    """Columns of counts, by header, of those that count anything."""
    return {
        name: partial(_count, column)
        for name, column in rare.items()
        if profile.symbols[column].any()
    }


def _count(column: str, row: Row) -> str:
    return f"{row[column]:,}"


def text_table(profile: Profile) -> str:
    """The tables as plain text, of about 120 columns."""
    shown = profile.symbols.head(MAX_PRINTED)
    more = len(profile.symbols) - len(shown)
    lines = [profile.title, *_aligned(table(profile), shown)]
    lines += [f"and {more:,} more with smaller moves; the page and the JSON have them"] * (more > 0)
    lines += list(filter(None, [profile.left_out]))
    lines += ["", "coverage, in bars:", *_aligned(coverage(profile), shown)]
    lines += ["", "consistency, in bars:", *_aligned(consistency(profile), shown)]
    interval = profile.interval
    for name, said in (
        ("what the checks said", checks_in_words(profile)),
        ("largest moves", [move_in_words(row, interval) for row in _first(profile.moves)]),
        ("volume spikes", [spike_in_words(row, interval) for row in _first(profile.spikes)]),
        ("strongest pairs", [pair_in_words(row) for row in _first(profile.pairs)]),
    ):
        lines += ["", f"{name}:" if said else f"{name}: none", *(f"  {each}" for each in said)]
    return "\n".join(lines)


def by_check(profile: Profile) -> pd.DataFrame:
    """The quarantine by check, most bars first.

    Returns
    -------
    DataFrame
        check_name, n_bars, n_symbols, symbol and first (of the first case), became (in words).
    """
    rows = profile.checks.sort_values("first", kind="stable", na_position="last")
    found = rows.groupby("check_name", as_index=False, sort=True).agg(
        n_bars=("n_bars", "sum"),
        n_symbols=("symbol", "nunique"),
        symbol=("symbol", "first"),
        first=("first", "first"),
        is_let_in=("is_let_in", "first"),
    )
    found["became"] = np.where(found.pop("is_let_in"), "let in, and noted", "kept aside")
    return found.sort_values("n_bars", ascending=False, kind="stable", ignore_index=True)


def checks_in_words(profile: Profile) -> list[str]:
    """A line a check."""
    return [
        f"{clean(row['check_name'], 40)}: {counted(row['n_bars'], 'bar')} {row['became']}, of "
        f"{counted(row['n_symbols'], 'instrument')}; first {first_case(row, profile.interval)}"
        for row in by_check(profile).to_dict("records")
    ]


def first_case(row: Row, interval: str) -> str:
    """The instrument and the bar of a check's first case."""
    first = row["first"]
    at = UNTIMED if first is pd.NaT else when(first, interval)
    return f"{clean(row['symbol'], 32)} {at}"


def cells(columns: Columns, rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """The texts of a table, a tuple a row."""
    return [tuple(cell(row) for cell in columns.values()) for row in rows.to_dict("records")]


def frame(columns: Columns, rows: pd.DataFrame) -> pd.DataFrame:
    """The texts of a table with their headers."""
    return pd.DataFrame(cells(columns, rows), columns=list(columns))


def _aligned(columns: Columns, rows: pd.DataFrame) -> list[str]:
    texts = [tuple(columns), *cells(columns, rows)]
    widths = [max(len(row[n]) for row in texts) for n in range(len(columns))]
    return [_line(row, widths) for row in texts]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    padded = [
        text.rjust(width) if n else text.ljust(width)
        for n, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _first(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    return list(rows.head(MAX_LINES).to_dict("records"))


def when(ts: Any, interval: str = "1d") -> str:
    """A bar's open, UTC, or its date alone; "none" where there is no bar."""
    return "none" if pd.isna(ts) else moment(ts, interval).removesuffix(" UTC")


def covered(share: float) -> str:
    """A coverage in percent, never 100 % of what is not whole; blank where nothing was due."""
    if not np.isfinite(share):
        return ""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


def among(n: int, n_judged: int) -> str:
    """A count and its share of the bars that could be judged; blank where none could."""
    return f"{n:,} ({100 * n / n_judged:.2f} %)" if n_judged else ""


def _largest(row: Row, interval: str) -> str:
    size = number(row["largest_move_times"])
    if np.isnan(size):
        return ""
    said = f"{percent(row['largest_move'], sign=True)} {when(row['largest_move_ts'], interval)}"
    return f"{said}, {times(size)} x usual"


def _with(n: int, word: str, most: int) -> str:
    return f"{n:,} ({word} {most:,})" if most > 1 else f"{n:,}"


def _corrected(row: Row) -> str:
    if not row["n_corrected"]:
        return "0"
    return f"{row['n_corrected']:,} (close by {percent(number(row['largest_correction']))})"


def move_in_words(row: Row, interval: str) -> str:
    """A large move in a line."""
    said = (
        f"{clean(row['symbol'], 32)} {when(row['ts'], interval)}: "
        f"{percent(row['return'], sign=True)}, {times(abs(row['times_usual']))} times its usual "
        f"move, to {price(row['close'])}"
    )
    return said if row["bars_over"] == 1 else f"{said}, over {counted(row['bars_over'], 'bar')}"


def spike_in_words(row: Row, interval: str) -> str:
    """A volume spike in a line."""
    known = np.isfinite(row["times_median"])
    ratio = f", {times(row['times_median'])} times its median of {N_VOLUMES} bars" if known else ""
    return (
        f"{clean(row['symbol'], 32)} {when(row['ts'], interval)}: volume {row['volume']:,.0f}, "
        f"z {row['z']:+.1f}{ratio}; it moved {percent(number(row['return']), sign=True)}"
    )


def pair_in_words(row: Row) -> str:
    """A pair in a line."""
    return (
        f"{clean(row['first'], 32)} and {clean(row['second'], 32)}: {row['correlation']:+.2f} over "
        f"{counted(row['n_common'], 'common bar')}"
    )
