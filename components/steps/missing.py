"""Which bars should be there and are not."""

import pandas as pd

from components.steps.coverage import known_absent
from components.steps.measuring import last_bins, missing_bins
from components.steps.parts import Parts
from components.tables import CANDLES

# The daily run looks for holes this far back; older ones are for ``backfill``.
RECENT = pd.Timedelta(days=14)

# A bar from so long before shows that the instrument was there when those weeks began.
BEFORE = pd.Timedelta(days=10)

# Bars that were refused: a market that died years ago is not asked for all of them every day.
REFUSED = """
select distinct symbol, ts from quarantine
where symbol = any(%(symbols)s) and interval = %(interval)s and known_at <= %(as_of)s
  and ts <= %(recent)s
"""


def missing_bars(parts: Parts, as_of: pd.Timestamp, closed_by: pd.Timestamp) -> pd.DataFrame:
    """Bars that closed by ``closed_by`` and are not known by ``as_of``, as (symbol, ts).

    An instrument without any bar misses its whole history; one that has some misses what is
    absent since its last bar, and the holes of the last two weeks. What the provider is known
    not to have is not missing, nor is what was refused before these weeks.
    """
    watch = parts.watch
    if parts.is_measured:
        return missing_bins(parts, as_of - RECENT, as_of, closed_by)
    last = parts.warehouse.last_ts(watch.symbols, watch.interval, as_of)
    recent = parts.warehouse.read(
        CANDLES,
        symbols=watch.symbols,
        interval=watch.interval,
        since=as_of - RECENT - BEFORE,
        as_of=as_of,
        columns=["symbol", "ts"],
    )
    have = {symbol: pd.DatetimeIndex(ts) for symbol, ts in recent.groupby("symbol")["ts"]}
    groups: dict[tuple[str, pd.Timestamp | None], list[str]] = {}
    for symbol in watch.symbols:
        key = (parts.calendars.of(symbol), last.get(symbol))
        groups.setdefault(key, []).append(symbol)

    tables = []
    for (_, last_ts), symbols in groups.items():
        since = as_of - watch.history if last_ts is None else min(last_ts, as_of - RECENT)
        due = closed_bars(parts, symbols[0], since, closed_by)
        for symbol in symbols:
            absent = due
            if last_ts is not None:
                held = have.get(symbol, due[:0])
                first = held.min() if len(held) else last_ts
                absent = due[(due > min(first, last_ts)) & ~due.isin(held) & (due != last_ts)]
            if len(absent):
                tables.append(pd.DataFrame({"symbol": symbol, "ts": absent}))
    if not tables:
        return pd.DataFrame({"symbol": pd.Series(dtype=str), "ts": pd.DatetimeIndex([], tz="UTC")})
    bars = pd.concat(tables, ignore_index=True)
    bars = bars[~_refused(parts, bars, last, as_of)]
    return bars[~known_absent(parts, bars, as_of)].reset_index(drop=True)


def _refused(
    parts: Parts, bars: pd.DataFrame, last: dict[str, pd.Timestamp], as_of: pd.Timestamp
) -> pd.Series:
    """Tell which bars from before the last weeks were refused, of instruments that have any."""
    recent = as_of - RECENT
    old = sorted({s for s, ts in last.items() if ts < recent} & set(bars["symbol"]))
    if not old:
        return pd.Series(False, index=bars.index)
    span = {"as_of": as_of.to_pydatetime(), "recent": recent.to_pydatetime()}
    rows = parts.warehouse.query(
        REFUSED, {"symbols": old, "interval": parts.watch.interval, **span}
    )
    is_refused = pd.MultiIndex.from_frame(bars).isin(pd.MultiIndex.from_frame(rows))
    return pd.Series(is_refused, index=bars.index)


def last_bars(parts: Parts, as_of: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """The newest bar of each instrument, or of each data set; one without any is absent."""
    if parts.is_measured:
        return last_bins(parts, as_of)
    return parts.warehouse.last_ts(parts.watch.symbols, parts.watch.interval, as_of)


def closed_bars(
    parts: Parts,
    symbol: str,
    since: pd.Timestamp,
    as_of: pd.Timestamp,
    until: pd.Timestamp | None = None,
) -> pd.DatetimeIndex:
    """The bars of an instrument in [since, until) that should have closed by ``as_of``."""
    interval = parts.watch.interval
    until = as_of if until is None else min(until, as_of)
    due = parts.calendars.expected(symbol, interval, since, until)
    return due[parts.calendars.closes(symbol, interval, due) <= as_of]
