"""How much is told, by what, and what changes between two settings."""

from dataclasses import dataclass

import pandas as pd

from components.backtest import would_have_fired

# What becomes of a bar under the chosen settings, by what ``would_have_fired`` calls it.
CHANGES = {"both": "kept", "only then": "new", "only now": "lost"}


def rates(rows: pd.DataFrame, time: pd.DataFrame, by: str) -> pd.DataFrame:
    """Bars told per instrument and year, by "symbol" or "year": that column, n, years, rate."""
    keys = rows["ts"].dt.year if by == "year" else rows["symbol"]
    years = time.groupby(by)["years"].sum()
    n = rows.groupby(keys.rename(by)).size().reindex(years.index, fill_value=0)
    return pd.DataFrame({"n": n, "years": years, "rate": n / years}).reset_index()


@dataclass(frozen=True)
class Counts:
    """How much is told, in the span looked at.

    ``bars`` told of all instruments, the ``incidents`` that they make (adjacent ones of an
    instrument are one), the ``days`` on which anything is told; ``years`` instrument-years.
    """

    bars: int
    incidents: int
    days: int
    years: float

    @property
    def rate(self) -> float:
        """Bars told per instrument and year, which is what is stated; NaN without any year."""
        return self.bars / self.years if self.years else float("nan")

    @property
    def incident_rate(self) -> float:
        """Incidents per instrument and year; NaN without any year."""
        return self.incidents / self.years if self.years else float("nan")


def counts(rows: pd.DataFrame, time: pd.DataFrame) -> Counts:
    """Count ``told_bars`` over the time of ``lived``."""
    days = int(rows["ts"].dt.floor("D").nunique())
    n_incidents = int((~rows["follows"].astype(bool)).sum())
    return Counts(len(rows), n_incidents, days, float(time["years"].sum()))


def changes(now: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """What becomes of each bar told now or then: "kept", "new" or "lost".

    Columns symbol, ts, change, return, p, level (now), p_then, level_then; by ts and symbol.
    """
    both = would_have_fired(now, then)
    both.insert(2, "change", both.pop("fired").map(CHANGES))
    return both
