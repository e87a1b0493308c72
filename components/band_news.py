"""What is said of payments outside of their band, and of payments that stopped. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.words import clean, number, percent, price, probability

# A part of the difference below this is not worth a name; so many are named.
LEAST_PART, N_NAMED = 0.05, 3


@dataclass(frozen=True)
class Where:
    """In which words bins and amounts are told: the operator's zone and his unit."""

    zone: str
    unit: str = ""

    def span(self, ts: pd.Timestamp, ends_at: pd.Timestamp) -> str:
        """``12 March 14:00-16:00 (Europe/London)`` as ``2024-03-12 14:00-16:00 Europe/London``."""
        first, last = ts.tz_convert(self.zone), ends_at.tz_convert(self.zone)
        day = "" if last.date() == first.date() or _is_midnight(last) else f"{last:%Y-%m-%d} "
        return f"{first:%Y-%m-%d %H:%M}-{day}{last:%H:%M} {self.zone}"

    def amount(self, value: float) -> str:
        """``4,210 GBP``."""
        said = f"{value:,.0f}" if 1000 <= abs(value) < 10_000 else price(value)
        return f"{said} {clean(self.unit, 12)}".strip()


def counted_series(n: int, kind: str = "") -> str:
    """``1 more series``, ``12 more series``: the word does not change."""
    return f"{n:,} {kind}series"


def _is_midnight(local: pd.Timestamp) -> bool:
    return bool(local == local.normalize())


def name_of(data_set: str, series: str) -> str:
    """What a series is called in alerts, silences and labels."""
    return f"{data_set}:{series}"


def every_of(data_set: str) -> str:
    """What all series of a data set together are called there: no series has a name like it."""
    return data_set


def reasons(
    row: Mapping[str, Any],
    *,
    since: pd.Timestamp,
    before: Mapping[str, Any] | None,
    parts: pd.DataFrame,
    where: Where,
) -> tuple[str, ...]:
    """Why a bin was told: amounts, who made the difference, since when, a week ago, how rare.

    Parameters
    ----------
    row : Mapping
        Of ``bands``.
    since : Timestamp
        The first bin of the same incident.
    before : Mapping, optional
        The same bin a week ago.
    parts : DataFrame
        series and difference (actual - expected) of the series in the same bin; empty where one
        series stands for itself.
    """
    said = [_amounts(row, where)]
    if made := made_by(parts, where):
        said.append(made)
    if since < row["ts"]:
        first = since.tz_convert(where.zone)
        said.append(f"outside since {first:%Y-%m-%d %H:%M} {where.zone}")
    if before is not None:
        said.append(_week_ago(before, where))
    p = number(row["p"])
    if not math.isnan(p):
        said.append(_rarity(row, p))
    return tuple(said)


def _amounts(row: Mapping[str, Any], where: Where) -> str:
    actual, expected = number(row["actual"]), number(row["expected"])
    span = where.span(row["ts"], row["ends_at"])
    if row["standing"] == "closed":
        return f"{where.amount(actual)} in {span}, when there is usually nothing"
    if math.isnan(expected):
        return f"{where.amount(actual)} in {span}; too few payments for a band"
    band = f"band {where.amount(number(row['lower']))} to {where.amount(number(row['upper']))}"
    return f"{where.amount(actual)} in {span}, {off(row, where)}; {band}"


def off(row: Mapping[str, Any], where: Where) -> str:
    """``6,590 GBP or 61 % below the 10,800 GBP expected``."""
    actual, expected = number(row["actual"]), number(row["expected"])
    difference = actual - expected
    side = "below" if difference < 0 else "above"
    of = f" or {percent(abs(difference / expected))}" if expected > 0 else ""
    return f"{where.amount(abs(difference))}{of} {side} the {where.amount(expected)} expected"


def made_by(parts: pd.DataFrame, where: Where) -> str:
    """Which series made the difference of their sum, largest first; "" when none stands out."""
    known = parts.dropna(subset=["difference"])
    total = float(known["difference"].sum()) if len(known) else 0.0
    if total == 0:
        return ""
    own = known.assign(part=known["difference"] / total)
    own = own[own["part"] >= LEAST_PART].sort_values(["part", "series"], ascending=[False, True])
    first = own.head(N_NAMED)
    named = [
        f"{clean(str(name), 60)} {percent(part)} ({where.amount(difference)})"
        for name, part, difference in zip(
            first["series"], first["part"], first["difference"], strict=True
        )
    ]
    return f"made by {', '.join(named)}" if named else ""


def _week_ago(before: Mapping[str, Any], where: Where) -> str:
    actual, lower, upper = (number(before[name]) for name in ("actual", "lower", "upper"))
    if math.isnan(actual):
        return "of the same bin a week before nothing is known"
    place = "" if math.isnan(lower) else ", outside of its band"
    if lower <= actual <= upper:
        place = ", inside its band"
    return f"the same bin a week before had {where.amount(actual)}{place}"


def _rarity(row: Mapping[str, Any], p: float) -> str:
    once = f"1 in {1 / p:,.0f}" if p > 1e-6 else "fewer than 1 in 1,000,000"
    if row["standing"] == "closed":
        return f"{once} of the bins in which it is closed had a payment so far ({probability(p)})"
    if row["standing"] == "live" and number(row["actual"]) == 0:
        return f"so long without a payment has a chance of {once} ({probability(p)})"
    if row["standing"] == "sparse":
        quiet = number(row["actual"]) == 0
        what = "so long a silence has" if quiet else "so many payments within a day have"
        return f"{what} a chance of {once} (rate test, {probability(p)})"
    return f"so far off is {once} of its open bins, by its errors so far ({probability(p)})"


def headline(
    data_set: str, rows: Sequence[Mapping[str, Any]], silent: Mapping[str, Any] | None, where: Where
) -> str:
    """One line: payments that stopped, or the first series and how far it is off."""
    name = clean(data_set, 40)
    if silent is not None:
        likely, none = int(silent["n_likely"]), int(silent["n_silent"])
        return f"{name}: payments stopped, none in {none:,} of {counted_series(likely, 'busy ')}"
    first, others = rows[0], len(rows) - 1
    called = clean(str(first["series"]), 60)
    also = f" (and {counted_series(others, 'more ')})" if others else ""
    actual, expected = number(first["actual"]), number(first["expected"])
    said = f"{name}: {called} "
    if first["standing"] == "live" and actual == 0 and expected > 0:
        said += f"stopped, {where.amount(expected)} expected"
    elif first["standing"] == "closed":
        said += f"had {where.amount(actual)} while closed"
    elif math.isnan(expected):
        said += "is silent for too long" if actual == 0 else "has more payments than it ever had"
    else:
        side = "below" if actual < expected else "above"
        by = abs(actual - expected)
        of = percent(by / expected) if expected > 0 else where.amount(by)
        said += f"{of} {side} what was expected"
    return said + also


def silence_notes(silent: Mapping[str, Any], where: Where) -> tuple[str, ...]:
    """What is said of payments that stopped in many series at once."""
    p = number(silent["p"])
    rare = "less than 1 in 1,000,000" if p < 1e-6 else f"1 in {1 / p:,.0f}"
    return (
        f"{int(silent['n_silent']):,} of the {int(silent['n_likely']):,} series that nearly always "
        f"have payments at this time had none in {where.span(silent['ts'], silent['until'])}",
        f"if they were independent, that would have a chance of {rare}",
    )
