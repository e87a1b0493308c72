"""Measures: replies into rows, and which bins of a data set nobody has reported on."""

import numpy as np
import pandas as pd

from components import bins
from components.records import Parsed, RawReply
from components.steps.parts import Parts
from components.tables import MEASURES

SERIES = """
select distinct series from measures
where source = %(source)s and data_set = %(data_set)s and "interval" = %(interval)s and ts < %(ts)s
"""

# Up to where each data set was reported on by the replies that began by a bin.
REPORTED = """
select symbol, since, least(until, known_at) as until from raw_objects
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
  and known_at <= %(as_of)s and until > %(since)s order by symbol, since
"""


def measure_rows(parts: Parts, parsed: list[tuple[RawReply, Parsed]]) -> pd.DataFrame:
    """Rows of ``measures``: what the replies say, oldest first.

    Where an empty bin is zero, a series that was known before has a row in every bin of a
    reply, and a new one from its first payment on.
    """
    tables = [
        _rows(parts, reply, one.measures) for reply, one in parsed if one.measures is not None
    ]
    if not tables:
        return pd.DataFrame()
    rows = pd.concat(tables, ignore_index=True)
    # Replies that overlap say the same of a bin, or the later one knows more.
    key = [name for name in MEASURES.bar_key if name in rows]
    return rows.drop_duplicates(key, keep="last").reset_index(drop=True)


def _rows(parts: Parts, reply: RawReply, measures: pd.DataFrame) -> pd.DataFrame:
    request, watch = reply.request, parts.watch
    known = parts.warehouse.query(
        SERIES,
        {
            "source": reply.source,
            "data_set": request.symbol,
            "interval": request.interval,
            "ts": request.since.to_pydatetime(),
        },
    )
    names = tuple(known["series"])
    found = measures[bins.COLUMNS]
    if watch.empty_is_zero:
        closed = bins.last_closed_end(request.as_of, request.interval, watch.zone)
        until = min(request.until, closed)
        due = bins.expected_bins(request.since, until, request.interval, watch.zone)
        found = bins.complete(measures, due, names, 0.0)
    is_new = ~found["series"].isin(names)
    has_begun = (found["value"] != 0).groupby(found["series"]).cummax()
    return found[~is_new | has_begun].assign(
        data_set=request.symbol,
        interval=request.interval,
        source=reply.source,
        known_at=request.as_of,
    )


def missing_bins(
    parts: Parts, since: pd.Timestamp, as_of: pd.Timestamp, closed_by: pd.Timestamp
) -> pd.DataFrame:
    """Bins from ``since`` that closed by ``closed_by`` and that no reply has reported on.

    An empty bin is no missing one: the source was asked, and there was no payment.
    """
    interval, zone = parts.watch.interval, parts.watch.zone
    due = bins.expected_bins(since, closed_by, interval, zone)
    ends = bins.bin_end(due, interval, zone)
    tables = []
    for symbol, replies in _reported(parts, since, as_of).items():
        # The spans lie apart: a bin can be in the last that begins by it, and in no other.
        place = pd.DatetimeIndex(replies["since"]).searchsorted(due, side="right") - 1
        is_reported = np.zeros(len(due), dtype=np.bool_)
        if len(replies):
            until = pd.DatetimeIndex(replies["until"]).take(place.clip(0))
            is_reported = (place >= 0) & np.asarray(ends <= until)
        tables.append(pd.DataFrame({"symbol": symbol, "ts": due[~is_reported]}))
    return pd.concat(tables, ignore_index=True)


def last_bins(parts: Parts, as_of: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """The last bin of each data set that a reply has reported on."""
    interval, zone = parts.watch.interval, parts.watch.zone
    found = {}
    for symbol, replies in _reported(parts, as_of - parts.watch.history, as_of).items():
        if len(replies):
            until = bins.last_closed_end(replies["until"].max(), interval, zone)
            before = pd.DatetimeIndex([until - pd.Timedelta(microseconds=1)])
            found[symbol] = bins.bin_start(before, interval, zone)[0]
    return found


def _reported(parts: Parts, since: pd.Timestamp, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Spans that were reported on, by data set; neighbours joined."""
    rows = parts.warehouse.query(
        REPORTED,
        {
            "source": parts.source.name,
            "interval": parts.watch.interval,
            "symbols": list(parts.watch.symbols),
            "as_of": as_of.to_pydatetime(),
            "since": since.to_pydatetime(),
        },
    )
    reach = rows.groupby("symbol")["until"].cummax()
    begins = rows["since"] > reach.groupby(rows["symbol"]).shift()
    rows = rows.assign(span=begins.cumsum(), until=reach)
    spans = rows.groupby(["symbol", "span"], as_index=False).agg({"since": "min", "until": "max"})
    return {name: spans[spans["symbol"] == name] for name in parts.watch.symbols}
