"""Which instruments are judged again from their first bar: those whose past has changed."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import pandas as pd

from components.steps.labels import data_errors
from components.steps.parts import Parts

SPLITS = """
select symbol, ts from actions where kind = 'split'
and known_at > %(after)s and known_at <= %(as_of)s and symbol = any(%(symbols)s)
"""

MARKETS = """
select watch_list, min(ts) as ts from market
where known_at > %(after)s and known_at <= %(as_of)s and "interval" = %(interval)s
group by watch_list
"""


def restarted(
    parts: Parts,
    last: "pd.Series[pd.Timestamp]",
    new: pd.DataFrame,
    after: pd.Timestamp,
    as_of: pd.Timestamp,
) -> set[str]:
    """Instruments of which something at or before the last judged bar became known since.

    Parameters
    ----------
    last : Series
        Each instrument's last judged bar; NaT before the first.
    new : DataFrame
        The bars (symbol, ts) that became known in (after, as_of].
    """
    # What does not lie behind the last judged bar; nothing lies behind a bar that is not there.
    is_late = ~(new["ts"] > new["symbol"].map(last))
    found = set(new.loc[is_late, "symbol"])
    found |= _with_new_splits(parts, last, after, as_of)
    found |= _with_new_market(parts, last, after, as_of)
    return found | _with_new_labels(parts, list(last.index), after, as_of)


def _with_new_splits(
    parts: Parts, last: "pd.Series[pd.Timestamp]", after: pd.Timestamp, as_of: pd.Timestamp
) -> set[str]:
    rows = parts.warehouse.query(SPLITS, {**_span(after, as_of), "symbols": list(last.index)})
    return set(rows.loc[rows["ts"] <= rows["symbol"].map(last), "symbol"])


def _with_new_market(
    parts: Parts, last: "pd.Series[pd.Timestamp]", after: pd.Timestamp, as_of: pd.Timestamp
) -> set[str]:
    """Instruments of which a bar was judged before enough others had one to make a market."""
    span: dict[str, Any] = {**_span(after, as_of), "interval": parts.watch.interval}
    rows = parts.warehouse.query(MARKETS, span)
    since = dict(zip(rows["watch_list"], rows["ts"], strict=True))
    first = {symbol: since.get(parts.calendars.of(symbol), pd.NaT) for symbol in last.index}
    return {str(symbol) for symbol, ts in last.items() if ts >= first[symbol]}


def _with_new_labels(
    parts: Parts, symbols: Collection[str], after: pd.Timestamp, as_of: pd.Timestamp
) -> set[str]:
    """Instruments of which a bar became, or ceased to be, a data error in a person's eyes."""
    now, then = (
        set(data_errors(parts.warehouse, symbols, parts.watch.interval, instant))
        for instant in (as_of, after)
    )
    return {symbol for symbol, _ in now ^ then}


def _span(after: pd.Timestamp, as_of: pd.Timestamp) -> dict[str, datetime]:
    return {"after": after.to_pydatetime(), "as_of": as_of.to_pydatetime()}
