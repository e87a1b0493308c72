"""Measures: replies into rows, and which bins of a data set are held, or were asked for.

Where an empty bin is a payment of zero, each series has a row in every bin from its first
payment on that a reply of its data set speaks about, in whatever order the months came.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from components import bins
from components.records import CandleRequest, Parsed, RawReply
from components.steps.parts import Parts
from components.tables import MEASURES

# The first bin of each series from ``begin`` on, hopping along the key from one to the next:
# what lies between, which grows by the day, is not read.
HOP = """
with recursive firsts (series, first) as (
    (select series, ts from measures
     where data_set = %(data_set)s and "interval" = %(interval)s and source = %(source)s
       and known_at <= %(as_of)s and ts >= %(begin)s
     order by series, ts limit 1)
    union all
    select n.series, n.ts from firsts f, lateral (
        select m.series, m.ts from measures m
        where m.data_set = %(data_set)s and m.series > f.series and m."interval" = %(interval)s
          and m.source = %(source)s and m.known_at <= %(as_of)s and m.ts >= %(begin)s
        order by m.series, m.ts limit 1
    ) n
)
"""

# The first bin of each series that is known.
FIRSTS = HOP + "select series, first as ts from firsts"  # noqa: S608 - texts of this file

# How far each data set reaches, and how many bins of it are held.
HELD = """
with recursive held (data_set, ts) as (
    select w, (
        select m.ts from measures m
        where m.data_set = w and m."interval" = %(interval)s and m.source = %(source)s
          and m.known_at <= %(as_of)s
        order by m.ts limit 1
    ) from unnest(%(symbols)s::text[]) w
    union all
    select h.data_set, (
        select m.ts from measures m
        where m.data_set = h.data_set and m."interval" = %(interval)s
          and m.source = %(source)s and m.known_at <= %(as_of)s and m.ts > h.ts
        order by m.ts limit 1
    ) from held h where h.ts is not null
)
select data_set, count(ts) as n_bins, max(ts) as last from held
group by data_set having count(ts) > 0
"""

HELD_SINCE = """
select distinct data_set as symbol, ts from measures
where source = %(source)s and "interval" = %(interval)s and data_set = any(%(symbols)s)
  and ts >= %(since)s and known_at <= %(as_of)s order by symbol, ts
"""

# Up to where each data set was reported on by the replies that began by a bin.
REPORTED = """
select symbol, since, least(until, known_at) as until from raw_objects
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
  and known_at <= %(as_of)s and until > %(since)s order by symbol, since
"""

FIRST_OF_ALL = datetime(1900, 1, 1, tzinfo=UTC)

# A bin from so long before shows that the data set was there when a span began.
BEFORE = pd.Timedelta(days=10)

NO_BINS = pd.DatetimeIndex([], tz="UTC").as_unit("us")


def measure_rows(parts: Parts, parsed: list[tuple[RawReply, Parsed]]) -> pd.DataFrame:
    """Rows of ``measures``: what the replies say, and zeros where that is what silence means."""
    by_data_set: dict[str, list[tuple[RawReply, pd.DataFrame]]] = {}
    for reply, one in parsed:
        if one.measures is not None:
            found = by_data_set.setdefault(reply.request.symbol, [])
            found.append((reply, one.measures[bins.COLUMNS]))
    tables = [_rows(parts, replies) for replies in by_data_set.values()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _rows(parts: Parts, replies: Sequence[tuple[RawReply, pd.DataFrame]]) -> pd.DataFrame:
    """The rows of one data set."""
    request = replies[-1][0].request
    found = pd.concat([measures for _, measures in replies], ignore_index=True)
    # Replies that overlap say the same of a bin, or the later one knows more.
    found = found.drop_duplicates(["series", "ts"], keep="last")
    if parts.watch.empty_is_zero:
        found = _filled(parts, replies, found)
    return found.reset_index(drop=True).assign(
        data_set=request.symbol,
        interval=request.interval,
        source=replies[-1][0].source,
        known_at=request.as_of,
    )[list(MEASURES.columns)]


def _filled(
    parts: Parts, replies: Sequence[tuple[RawReply, pd.DataFrame]], found: pd.DataFrame
) -> pd.DataFrame:
    """Give each series a row in every bin that the replies speak about.

    A series of which an earlier payment shows than was known has them in the bins of other
    replies as well: those had no row of it.
    """
    request = replies[-1][0].request
    spoken = NO_BINS
    for reply, measures in replies:
        spoken = spoken.union(_spoken(parts, reply.request, measures))
    rows = parts.warehouse.query(
        FIRSTS,
        {
            "source": replies[-1][0].source,
            "data_set": request.symbol,
            "interval": request.interval,
            "as_of": request.as_of.to_pydatetime(),
            "begin": FIRST_OF_ALL,
        },
    )
    known = pd.DatetimeIndex(pd.to_datetime(rows["ts"], utc=True)).as_unit("us")
    stored = pd.Series(known, index=rows["series"])
    paid = found[found["value"] != 0].groupby("series")["ts"].min()
    first = pd.concat([stored, paid]).groupby(level=0).min()
    tables = [bins.complete(found, spoken, tuple(map(str, first.index)), 0.0)]

    earlier = paid[~(paid >= stored.reindex(paid.index))]
    if len(earlier):
        others = _others(parts, request, earlier.min()).difference(spoken)
        tables.append(bins.complete(found[:0], others, tuple(map(str, earlier.index)), 0.0))
        # From its first known bin on, a series has a row in each of them already.
        tables[-1] = tables[-1][~_has_begun(tables[-1], stored)]
    rows = pd.concat([table for table in tables if len(table)] or tables[:1])
    return rows[_has_begun(rows, first)]


def _has_begun(rows: pd.DataFrame, first: "pd.Series[pd.Timestamp]") -> np.ndarray:
    """Tell which rows are not older than the first bin of their series."""
    begun = pd.DatetimeIndex(first.reindex(rows["series"]))
    return np.asarray(pd.DatetimeIndex(rows["ts"]) >= begun, dtype=np.bool_)


def _spoken(parts: Parts, request: CandleRequest, measures: pd.DataFrame) -> pd.DatetimeIndex:
    """The bins of which a reply says what was paid."""
    interval, zone = request.interval, parts.watch.zone
    if parts.source.traits.absent == "no payment":
        until = min(request.until, bins.last_closed_end(request.as_of, interval, zone))
        return bins.expected_bins(request.since, until, interval, zone)
    if measures.empty:
        return NO_BINS
    # Tables of the user's own end somewhere: what comes behind is not known.
    ts = pd.DatetimeIndex([measures["ts"].min(), measures["ts"].max()]).as_unit("us")
    return bins.expected_bins(ts[0], bins.bin_end(ts, interval, zone)[1], interval, zone)


def _others(parts: Parts, request: CandleRequest, since: pd.Timestamp) -> pd.DatetimeIndex:
    """The bins from ``since`` on that are held of a data set, or were reported on."""
    interval, zone, as_of = request.interval, parts.watch.zone, request.as_of
    held = _held(parts, since, as_of)[request.symbol]
    if parts.source.traits.absent != "no payment":
        return held
    due = bins.expected_bins(since, as_of, interval, zone)
    return held.union(due[_is_reported(parts, _reported(parts, since, as_of), request.symbol, due)])


def missing_bins(
    parts: Parts, since: pd.Timestamp, as_of: pd.Timestamp, closed_by: pd.Timestamp
) -> pd.DataFrame:
    """Bins that closed by ``closed_by`` and of which nothing is known, as (symbol, ts).

    Of a data set's series one is enough: a series that stopped is no trouble with data. Where
    no payment is a payment of zero, a bin that the source was asked for is known. They are
    looked for from ``since`` on, and not before the history that is watched.
    """
    watch = parts.watch
    since = max(since, bins.month_edges(as_of - watch.history, as_of, watch.zone)[0])
    due = bins.expected_bins(since, closed_by, watch.interval, watch.zone)
    is_asked = parts.source.traits.absent == "no payment"
    held = _held(parts, since - BEFORE, as_of)
    replies = _reported(parts, since, as_of) if is_asked else {}
    tables = []
    for symbol in watch.symbols:
        missing = due[~due.isin(held[symbol])]
        if is_asked:
            missing = missing[~_is_reported(parts, replies, symbol, missing)]
        elif len(held[symbol]):
            missing = missing[missing > held[symbol][0]]
        tables.append(pd.DataFrame({"symbol": symbol, "ts": missing}))
    return pd.concat(tables, ignore_index=True)


def expected_bin(parts: Parts, as_of: pd.Timestamp) -> pd.Timestamp:
    """The last bin that closed at or before ``as_of``."""
    interval, zone = parts.watch.interval, parts.watch.zone
    return _bin_before(bins.last_closed_end(as_of, interval, zone), interval, zone)


def bins_held(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    """How far each data set reaches and how many bins are held of it: n_bins, last by data_set."""
    rows = parts.warehouse.query(HELD, _watched(parts, as_of))
    return rows.set_index("data_set")


def last_bins(parts: Parts, as_of: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """The last bin of each data set that is held, or that was reported on."""
    interval, zone = parts.watch.interval, parts.watch.zone
    held = bins_held(parts, as_of)["last"]
    found = {str(name): pd.Timestamp(ts).as_unit("us") for name, ts in held.items()}
    if parts.source.traits.absent != "no payment":
        return found
    for symbol, replies in _reported(parts, as_of - parts.watch.history, as_of).items():
        end = bins.last_closed_end(replies["until"].max(), interval, zone)
        last = _bin_before(end, interval, zone)
        found[symbol] = max(last, found.get(symbol, last))
    return found


def _bin_before(end: pd.Timestamp, interval: str, zone: str) -> pd.Timestamp:
    instant = pd.DatetimeIndex([end - pd.Timedelta(microseconds=1)])
    return bins.bin_start(instant, interval, zone)[0]


def _watched(parts: Parts, as_of: pd.Timestamp) -> dict[str, object]:
    return {
        "source": parts.source.name,
        "interval": parts.watch.interval,
        "symbols": list(parts.watch.symbols),
        "as_of": as_of.to_pydatetime(),
    }


def _held(parts: Parts, since: pd.Timestamp, as_of: pd.Timestamp) -> dict[str, pd.DatetimeIndex]:
    """The bins of each data set in which any of its series has a row."""
    span = {**_watched(parts, as_of), "since": since.to_pydatetime()}
    rows = parts.warehouse.query(HELD_SINCE, span)
    found = {str(symbol): pd.DatetimeIndex(ts) for symbol, ts in rows.groupby("symbol")["ts"]}
    return {name: found.get(name, NO_BINS) for name in parts.watch.symbols}


def _is_reported(
    parts: Parts, reported: dict[str, pd.DataFrame], symbol: str, due: pd.DatetimeIndex
) -> np.ndarray:
    """Tell which bins lie in one of the spans that were reported on."""
    replies = reported.get(symbol)
    if replies is None or not len(due):
        return np.zeros(len(due), dtype=np.bool_)
    # The spans lie apart: a bin can be in the last that begins by it, and in no other.
    place = pd.DatetimeIndex(replies["since"]).searchsorted(due, side="right") - 1
    until = pd.DatetimeIndex(replies["until"]).take(place.clip(0))
    ends = bins.bin_end(due, parts.watch.interval, parts.watch.zone)
    return np.asarray((place >= 0) & np.asarray(ends <= until), dtype=np.bool_)


def _reported(parts: Parts, since: pd.Timestamp, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Spans that were reported on, by data set; neighbours joined."""
    span = {**_watched(parts, as_of), "since": since.to_pydatetime()}
    rows = parts.warehouse.query(REPORTED, span)
    reach = rows.groupby("symbol")["until"].cummax()
    begins = rows["since"] > reach.groupby(rows["symbol"]).shift()
    rows = rows.assign(span=begins.cumsum(), until=reach)
    spans = rows.groupby(["symbol", "span"], as_index=False).agg({"since": "min", "until": "max"})
    return {str(name): replies for name, replies in spans.groupby("symbol")}
