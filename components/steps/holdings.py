"""What the warehouse holds of instruments: coverage, versions of bars, rows kept aside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components import checks
from components.bar_fates import worst_first
from components.errors import SettingsError
from components.quality_page import Quality
from components.rows import is_intraday
from components.steps.evaluate import Chosen
from components.steps.parts import Parts
from components.steps.quality import quality

# Before any bar.
BEGINNING = pd.Timestamp("1800-01-01", tz="UTC")

# Instruments asked for together; of so many, the worst, the days are kept for the page.
AT_ONCE = 250

SEEN = """
select distinct symbol from quarantine where interval = %(interval)s and known_at <= %(as_of)s
"""

# A row that comes again with every reply is the same bar, or the same row without a time.
ASIDE = """
select symbol, check_name, min(ts) as first, count(distinct ts)
       + count(distinct (line, row_text::text)) filter (where ts is null) as n_bars
from quarantine
where symbol = any(%(symbols)s) and interval = %(interval)s and known_at <= %(as_of)s
  and (ts is null or ts >= %(since)s)
group by symbol, check_name order by symbol, check_name
"""

# Bars of which a later reply said something else, and how far their closes lie apart.
VERSIONS = """
select symbol, count(*) as n_stored, count(*) filter (where n > 1) as n_corrected,
       max(apart) filter (where n > 1) as largest_correction
from (
    select symbol, count(*) as n, max(close) / nullif(min(close), 0) - 1 as apart from {table}
    where symbol = any(%(symbols)s) and "interval" = %(interval)s and ts >= %(since)s
      and known_at <= %(as_of)s
    group by symbol, ts
) as bar group by symbol
"""

# What the quarantine notes of rows that are let in.
LET_IN = frozenset({*checks.NOTES, *checks.ACTION_NOTES, checks.SOURCES_DISAGREE})

# Columns that count the quarantine's rows: copies of a bar that were not believed, bars whose
# high or low is inside of open and close, closes of which a second source says something else.
COUNTED = {
    "n_copies": ("repeated_bar", "duplicate_bar", "conflicting_copy"),
    "n_out_of_order": ("ohlc_order",),
    "n_disagreeing": (checks.SOURCES_DISAGREE,),
}


@dataclass(frozen=True)
class Holdings:
    """What is held of some instruments.

    Parameters
    ----------
    symbols : DataFrame
        A row an instrument: the columns of ``Quality.symbols``; n_stored (bars, extended hours
        included), n_corrected (of which a later version is held), largest_correction (of a
        close, a fraction); n_copies, n_out_of_order, n_disagreeing (bars in the quarantine under
        these checks).
    checks : DataFrame
        symbol, check_name, n_bars, first, is_let_in: what the quarantine says, quiet checks too.
    quality : Quality
        Of the instruments with the most trouble, with their days.
    """

    symbols: pd.DataFrame
    checks: pd.DataFrame
    quality: Quality


def named(parts: Parts, chosen: Chosen) -> list[str]:
    """The instruments that are meant: the chosen ones, or all of which anything is known.

    Raises
    ------
    SettingsError
        When no bar is held of any of them, or the source gives no candles.
    """
    interval = parts.watch.interval
    if parts.is_measured:
        raise SettingsError(
            f"evaluate --profile: {parts.source.name!r} gives payment volumes, and candles alone "
            "are explored. Set TREMOR_SOURCE to a source of candles."
        )
    stored = set(parts.warehouse.symbols(interval))
    seen = parts.warehouse.query(SEEN, _span(parts, None))["symbol"]
    wanted = sorted(set(chosen.symbols) or stored | set(seen))
    if not stored & set(wanted):
        of = f" of {', '.join(chosen.symbols[:5])}" if chosen.symbols else ""
        raise SettingsError(
            f"evaluate --profile: the warehouse holds no {interval} candles{of}. "
            "Run `python main.py backfill --since 2015-01-01` first."
        )
    if 0 < chosen.subset < len(wanted):
        random = np.random.default_rng([chosen.seed, 0])
        wanted = sorted(str(s) for s in random.choice(wanted, chosen.subset, replace=False))
    return wanted


def holdings(parts: Parts, symbols: list[str], since: pd.Timestamp | None) -> Holdings:
    """Look at what is held of the instruments since an instant, some at a time."""
    groups = [symbols[n : n + AT_ONCE] for n in range(0, len(symbols), AT_ONCE)]
    tables, aside = [], []
    for group in parts.progress(groups, len(groups), "comparing with the calendar"):
        found = quality(parts, parts.run.as_of, since, group)
        span = {**_span(parts, since), "symbols": group}
        aside.append(parts.warehouse.query(ASIDE, span))
        tables.append(_with_versions(parts, found.symbols, aside[-1], span))
    table = worst_first(pd.concat(tables, ignore_index=True))
    if len(groups) > 1:
        # The days of all of them would not fit into memory.
        found = quality(parts, parts.run.as_of, since, list(table["symbol"].head(AT_ONCE)))
    checked = pd.concat(aside, ignore_index=True)
    checked["is_let_in"] = checked["check_name"].isin(LET_IN)
    return Holdings(table, checked, found)


def _with_versions(
    parts: Parts, symbols: pd.DataFrame, aside: pd.DataFrame, span: dict[str, Any]
) -> pd.DataFrame:
    """Add what was stored and corrected, and what the quarantine counts."""
    table = "candles_intraday" if is_intraday(parts.watch.interval) else "candles"
    versions = parts.warehouse.query(VERSIONS.format(table=table), span)
    of_check = aside.pivot_table(index="symbol", columns="check_name", values="n_bars")
    rows = symbols.merge(versions, how="left", on="symbol")
    for column, names in COUNTED.items():
        n = of_check.reindex(columns=list(names)).sum(axis=1)
        rows[column] = rows["symbol"].map(n).fillna(0).astype(int)
    for column in ("n_stored", "n_corrected"):
        rows[column] = rows[column].fillna(0).astype(int)
    return rows


def _span(parts: Parts, since: pd.Timestamp | None) -> dict[str, Any]:
    return {
        "interval": parts.watch.interval,
        "as_of": parts.run.as_of.to_pydatetime(),
        "since": (since or BEGINNING).to_pydatetime(),
    }
