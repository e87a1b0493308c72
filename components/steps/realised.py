"""The stated alarm rate beside the realised one, counted so far."""

import numpy as np
import pandas as pd

from components.bins import bin_length
from components.carried import Snapshot
from components.rows import is_intraday
from components.steps.carrying import latest_ledger
from components.steps.parts import Parts
from components.words import counted, percent

FIRST_YEAR = 1970


def realised(parts: Parts, carried: Snapshot | None) -> pd.DataFrame:
    """Decided bars and anomalies a calendar year of each instrument, from the carried state.

    Columns symbol, year, n_decided, n_anomalies, stated (alerts a year), bars_per_year.
    """
    columns = ["symbol", "year", "n_decided", "n_anomalies", "stated", "bars_per_year"]
    if carried is None:
        return pd.DataFrame(columns=columns)
    series, years = np.nonzero(carried.state["decided"])
    symbols = np.array(carried.symbols, dtype=object)[series]
    interval = parts.watch.interval
    per_year = {s: parts.calendars.bars_per_year(s, interval) for s in set(symbols)}
    return pd.DataFrame(
        {
            "symbol": symbols,
            "year": years + FIRST_YEAR,
            "n_decided": carried.state["decided"][series, years],
            "n_anomalies": carried.state["told"][series, years],
            "stated": parts.ensemble.alerts_per_year,
            "bars_per_year": [per_year[symbol] for symbol in symbols],
        },
        columns=columns,
    )


def carried_now(parts: Parts) -> Snapshot | None:
    """The newest carried state, or None before the first verdict."""
    symbols = tuple(sorted(parts.watch.symbols))
    if parts.ledger is not None:
        return parts.ledger().take(symbols)
    found = latest_ledger(parts, parts.run.as_of, symbols)
    return None if found is None else found[1].take(symbols)


# Bins of the last three months that were judged by a band, and those outside of it.
BANDED = """
select series, data_set, count(*) as n_open, count(*) filter (where level >= 2) as n_outside
from (
    select distinct on (data_set, series, ts) data_set, series, level, standing from bands
    where data_set = any(%(data_sets)s) and "interval" = %(interval)s
      and ts > %(since)s and known_at <= %(as_of)s
    order by data_set, series, ts, known_at desc
) judged where standing = 'live' group by data_set, series order by data_set, series
"""


def banded(parts: Parts) -> pd.DataFrame:
    """Open bins of each series, and those outside of their band: data_set, series, counts."""
    as_of = parts.run.as_of
    return parts.warehouse.query(
        BANDED,
        {
            "data_sets": list(parts.watch.symbols),
            "interval": parts.watch.interval,
            "since": (as_of - pd.Timedelta(days=90)).to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )


def _banded_in_words(parts: Parts) -> str:
    rows, coverage = banded(parts), parts.watch.coverage
    a_week = pd.Timedelta(days=7) / bin_length(parts.watch.interval)
    stated = f"Stated: bands that hold {percent(coverage)} of open bins"
    n, n_outside = int(rows["n_open"].sum()), int(rows["n_outside"].sum())
    if n == 0:
        return f"{stated}. Realised so far: nothing judged yet."
    return (
        f"{stated}, {(1 - coverage) * a_week:.2g} alarms a series and week outside. Realised in "
        f"the last 90 days: {percent(1 - n_outside / n)} of {n:,} open bins, "
        f"{len(rows):,} series."
    )


def budget_in_words(parts: Parts) -> str:
    """Which rate was stated, and which was realised so far over how many instrument years."""
    if parts.is_measured:
        return _banded_in_words(parts)
    rows = realised(parts, carried_now(parts))
    # As it was asked for: bars shorter than a day have a budget by the week.
    is_short = is_intraday(parts.watch.interval)
    span, in_year = ("week", 365.25 / 7) if is_short else ("year", 1.0)
    stated = f"{parts.ensemble.alerts_per_year / in_year:.4g} alerts per instrument and {span}"
    if not parts.ensemble.keeps_budget:
        stated = f"none: {parts.ensemble.name} alerts by a rule of its own"
    years = float((rows["n_decided"] / rows["bars_per_year"].astype(float)).sum())
    if years == 0:
        return f"Stated: {stated}. Realised so far: nothing decided yet."
    spans = years * in_year
    rate = rows["n_anomalies"].sum() / spans
    return (
        f"Stated: {stated}. Realised so far: {rate:.1f}, counted over {spans:,.1f} "
        f"instrument {span}s of {counted(rows['symbol'].nunique(), 'instrument')}."
    )
