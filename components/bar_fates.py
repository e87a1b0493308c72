"""What became of the bars that should exist: day by day, as gaps, and in one row; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

# What became of a bar that is due; one within its grace that is not there is not expected yet.
HELD, MISSING, REFUSED, NO_TRADE, VENUE_DOWN, IN_GRACE = range(6)
COUNTS = ["n_held", "n_missing", "n_refused", "n_no_trade", "n_venue_down"]
GAPS = {MISSING: "missing", REFUSED: "kept aside", VENUE_DOWN: "venue down"}

# Of each instrument so many gaps are kept, the longest ones.
GAPS_KEPT = 20


@dataclass(frozen=True)
class Due:
    """The bars of one calendar that should exist: opens in microseconds, and their days."""

    ts: Array
    day: Array
    in_grace: Array

    def since(self, ts: int) -> "Due":
        """From the bar at ``ts`` on."""
        first = int(np.searchsorted(self.ts, ts))
        return Due(self.ts[first:], self.day[first:], self.in_grace[first:])


@dataclass
class Bars:
    """One instrument: its bars that are due, what became of each, and what else is held."""

    symbol: str
    due: Due
    fate: Array
    first: int | None = None
    last: int | None = None
    n_extended: int = 0
    total: float = 0.0
    n_zero: int = 0


def tables(
    found: Sequence[Bars], aside: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """All instruments, the worst first; their days; their gaps, the longest first.

    In the columns of ``Quality``; ``aside`` has symbol and n_bars, the bars in the quarantine.
    """
    days = [_days_of(each) for each in found]
    gaps = [_gaps_of(each) for each in found]
    rows = [_row_of(*each) for each in zip(found, days, gaps, strict=True)]
    nothing = _days_of(_NOTHING), _gaps_of(_NOTHING)
    columns = list(_row_of(_NOTHING, *nothing))
    table = pd.DataFrame(rows, columns=columns).assign(n_aside=0)
    if len(aside):
        n_aside = table["symbol"].map(aside.groupby("symbol")["n_bars"].sum())
        table["n_aside"] = n_aside.fillna(0).astype(int)
    for name in ("first", "last", "gap_first", "gap_last"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    longest = _stacked(gaps, nothing[1]).sort_values(
        ["n_bars", "first", "symbol"], ascending=[False, True, True], ignore_index=True
    )
    return worst_first(table), _stacked(days, nothing[0]), longest


def worst_first(symbols: pd.DataFrame) -> pd.DataFrame:
    """Put the rows of ``Quality.symbols`` in order: late ones, then those that miss most."""
    trouble = ["is_late", "n_missing", "n_refused", "n_venue_down", "n_aside"]
    ascending = [False] * len(trouble) + [True]
    return symbols.sort_values([*trouble, "symbol"], ascending=ascending, ignore_index=True)


def _days_of(bars: Bars) -> pd.DataFrame:
    """One row a day on which bars are due: how many became what, and the day's state."""
    day, place = np.unique(bars.due.day, return_inverse=True)
    n_fates = IN_GRACE + 1
    counts = np.bincount(place * n_fates + bars.fate, minlength=len(day) * n_fates)
    counts = counts.reshape(len(day), n_fates)[:, :IN_GRACE]
    total = counts.sum(axis=1)
    tests = [
        (total > 0) & (counts[:, MISSING] == total),
        counts[:, MISSING] > 0,
        counts[:, REFUSED] > 0,
        counts[:, VENUE_DOWN] > 0,
        counts[:, NO_TRADE] > 0,
    ]
    words = ["all missing", "part missing", "kept aside", "venue down", "no trade"]
    due = total > 0
    return pd.DataFrame(
        {
            "symbol": bars.symbol,
            "day": _dates(day[due]),
            "state": np.select(tests, words, "whole")[due],
            "n_expected": total[due],
            **{name: counts[due, n] for n, name in enumerate(COUNTS)},
        }
    )


def _dates(days: Array) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[us]"), tz="UTC")


def _gaps_of(bars: Bars) -> pd.DataFrame:
    """The longest runs of neighbouring bars that are absent for one reason."""
    fate = bars.fate
    begins = np.flatnonzero(np.r_[True, fate[1:] != fate[:-1]][: len(fate)])
    ends = np.r_[begins[1:], len(fate)][: len(begins)] - 1
    is_gap = np.isin(fate[begins], list(GAPS))
    begins, ends = begins[is_gap], ends[is_gap]
    longest = np.argsort(begins - ends, kind="stable")[:GAPS_KEPT]
    begins, ends = begins[longest], ends[longest]
    return pd.DataFrame(
        {
            "symbol": np.repeat(np.array([bars.symbol], dtype=object), len(begins)),
            "what": [GAPS[n] for n in fate[begins]],
            "n_bars": ends - begins + 1,
            "first": pd.DatetimeIndex(bars.due.ts[begins].astype("datetime64[us]"), tz="UTC"),
            "last": pd.DatetimeIndex(bars.due.ts[ends].astype("datetime64[us]"), tz="UTC"),
        }
    )


def _row_of(bars: Bars, days: pd.DataFrame, gaps: pd.DataFrame) -> dict[str, Any]:
    is_trailing = bars.due.ts > (-1 if bars.last is None else bars.last)
    n_late = int((is_trailing & (bars.fate == MISSING)).sum())
    gap = gaps.iloc[0] if len(gaps) else None
    return {
        "symbol": bars.symbol,
        "first": _moment(bars.first),
        "last": _moment(bars.last),
        "n_expected": int(days["n_expected"].sum()),
        **{name: int(days[name].sum()) for name in COUNTS},
        "n_extended": bars.n_extended,
        "gap_bars": 0 if gap is None else int(gap["n_bars"]),
        "gap_first": pd.NaT if gap is None else gap["first"],
        "gap_last": pd.NaT if gap is None else gap["last"],
        "is_late": n_late > 0,
        "n_late": n_late,
        "total": bars.total,
        "n_zero": bars.n_zero,
    }


def _stacked(frames: list[pd.DataFrame], nothing: pd.DataFrame) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else nothing


def microseconds(ts: "pd.Series[Any] | pd.DatetimeIndex") -> Array:
    """Instants as whole microseconds since 1970: int64 (n,)."""
    return ts.to_numpy(dtype="datetime64[us]").astype(np.int64)


def microsecond(ts: pd.Timestamp) -> int:
    """An instant as whole microseconds since 1970."""
    return int(ts.value) // 1000


def instant(us: Any) -> pd.Timestamp:
    """The instant so many microseconds after 1970 began, UTC."""
    return pd.Timestamp(int(us), unit="us", tz="UTC")


def _moment(us: int | None) -> Any:
    return pd.NaT if us is None else instant(us)


_NONE = np.zeros(0, dtype=np.int64)
_NOTHING = Bars("", Due(_NONE, _NONE, _NONE.astype(bool)), _NONE)
