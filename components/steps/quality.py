"""Data quality: which bars should exist, which are held, and why the others are not."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from components import bins, checks
from components.bar_fates import (
    HELD,
    IN_GRACE,
    MISSING,
    NO_TRADE,
    REFUSED,
    VENUE_DOWN,
    Array,
    Bars,
    Due,
    instant,
    microsecond,
    microseconds,
    tables,
)
from components.quality_page import Quality
from components.sessions import ALWAYS_OPEN, length
from components.steps.coverage import known_absent
from components.steps.parts import Parts
from components.tables import MEASURES

DAY = pd.Timedelta(days=1)

# Absent bars looked into together, and instruments whose bars are counted by one statement.
ABSENT_AT_ONCE, COUNTED_AT_ONCE = 2_000_000, 500

# What the report of a run shows: weeks of the worst instruments.
REPORTED = 40
WEEKS = {"daily": pd.Timedelta(weeks=8), "shorter": pd.Timedelta(weeks=2)}

# Bars without a hole between them, as runs: in the order of the key's index, nothing is sorted.
RUNS = """
select symbol, (extract(epoch from ts) * 1000000)::bigint as ts,
       (extract(epoch from before) * 1000000)::bigint as before, extended, begins, ends
from (
    select symbol, ts, before, extended, ends, before is null or ts - before > %(step)s
           or extended <> extended_before as begins
    from (
        select symbol, ts, {extended} as extended,
               lag(ts) over bars as before, lead(ts) over bars is null as ends,
               lag({extended}) over bars as extended_before
        from {table}
        where symbol = any(%(symbols)s) and "interval" = %(interval)s
          and ts >= %(since)s and ts <= %(as_of)s and known_at <= %(as_of)s
        window bars as (partition by symbol order by ts)
    ) as stepped
) as run where begins or ends order by symbol, ts
"""

FIRST = """
select wanted.symbol, oldest.ts from unnest(%(symbols)s::text[]) as wanted (symbol),
lateral (
    select ts from {table}
    where symbol = wanted.symbol and "interval" = %(interval)s and known_at <= %(as_of)s
    order by symbol, "interval", ts, known_at limit 1
) as oldest
"""

# A row that comes again with every reply is the same bar, or the same row without a time.
ASIDE = """
select check_name, symbol, min(ts) as first, count(distinct ts)
       + count(distinct (line, row_text::text)) filter (where ts is null) as n_bars
from quarantine
where symbol = any(%(symbols)s) and "interval" = %(interval)s and known_at <= %(as_of)s
  and (ts is null or ts >= %(since)s) and check_name = any(%(checks)s)
group by check_name, symbol order by check_name, symbol
"""

REFUSED_BARS = """
select distinct symbol, ts from quarantine
where symbol = any(%(symbols)s) and "interval" = %(interval)s and known_at <= %(as_of)s
  and ts >= %(since)s
"""


def quality(
    parts: Parts,
    as_of: pd.Timestamp,
    since: pd.Timestamp | None = None,
    symbols: Sequence[str] | None = None,
) -> Quality:
    """Compare what is held with what should exist.

    Parameters
    ----------
    as_of : Timestamp
        What was known then; bars that closed by then are due.
    since : Timestamp, optional
        Bars before it are left out. By default each instrument is looked at from its first bar
        on, and one without any over the watched history.
    symbols : sequence of str, optional
        By default what is watched.
    """
    wanted = sorted(parts.watch.symbols if symbols is None else symbols)
    found = (
        _measured(parts, as_of, since)
        if parts.is_measured
        else _traded(parts, as_of, since, wanted)
    )
    aside = _aside(parts, as_of, since, wanted)
    table, days, gaps = tables(list(found), aside)
    return Quality(
        as_of=as_of,
        since=since,
        interval=parts.watch.interval,
        source=parts.source.name,
        kind=parts.source.traits.kind,
        absent=parts.source.traits.absent,
        symbols=table,
        days=days,
        gaps=gaps,
        aside=aside,
        zone=parts.watch.zone if parts.is_measured else "UTC",
    )


def lately(parts: Parts, health: pd.DataFrame) -> Quality:
    """The last weeks of the instruments with the most trouble, for the report of a run.

    Parameters
    ----------
    health : DataFrame
        symbol, status ("fresh" when all is well), n_missing.
    """
    as_of = parts.run.as_of
    is_daily = length(parts.watch.interval) >= DAY
    since = (as_of - WEEKS["daily" if is_daily else "shorter"]).floor("D")
    aside = _aside(parts, as_of, since, list(parts.watch.symbols))
    n_aside = aside.groupby("symbol")["n_bars"].sum()
    ranked = health.assign(
        is_fresh=health["status"] == "fresh", n_aside=health["symbol"].map(n_aside).fillna(0)
    ).sort_values(
        ["is_fresh", "n_missing", "n_aside", "symbol"],
        ascending=[True, False, False, True],
        kind="stable",
    )
    return quality(parts, as_of, since, list(ranked["symbol"].head(REPORTED)))


def _traded(
    parts: Parts, as_of: pd.Timestamp, since: pd.Timestamp | None, symbols: list[str]
) -> Iterator[Bars]:
    """Each instrument's bars, calendar by calendar."""
    is_daily = length(parts.watch.interval) >= DAY
    at_once = COUNTED_AT_ONCE if is_daily else 1
    by_calendar: dict[str, list[str]] = {}
    for symbol in symbols:
        by_calendar.setdefault(parts.calendars.of(symbol), []).append(symbol)
    for group in by_calendar.values():
        first = _firsts(parts, as_of, group)
        history = since or as_of - parts.watch.history
        start = since or min(first.values(), default=history)
        due = _due(parts, group[0], min(start, history), as_of)
        for some in (group[n : n + at_once] for n in range(0, len(group), at_once)):
            yield from _held(parts, as_of, history, some, due, first)


def _held(
    parts: Parts,
    as_of: pd.Timestamp,
    history: pd.Timestamp,
    symbols: list[str],
    due: Due,
    first: dict[str, pd.Timestamp],
) -> Iterator[Bars]:
    step = length(parts.watch.interval)
    runs = _query(parts, RUNS, symbols, as_of, instant(due.ts[0]) if len(due.ts) else as_of, step)
    place = runs.groupby("symbol").indices
    last = parts.warehouse.last_ts(symbols, parts.watch.interval, as_of)
    found = []
    for symbol in symbols:
        own = due.since(microsecond(first.get(symbol, history)))
        rows = runs.iloc[place[symbol]] if symbol in place else runs[:0]
        begins, ends, is_extended = _runs(rows)
        fate = np.where(_within(own.ts, begins[~is_extended], ends[~is_extended]), HELD, MISSING)
        fate[(fate == MISSING) & own.in_grace] = IN_GRACE
        lengths = (ends - begins)[is_extended] // (step // pd.Timedelta(microseconds=1)) + 1
        found.append(
            Bars(
                symbol,
                own,
                fate,
                microsecond(first[symbol]) if symbol in first else None,
                microsecond(last[symbol]) if symbol in last else None,
                int(lengths.sum()),
            )
        )
    yield from _explained(parts, as_of, found)


def _runs(rows: pd.DataFrame) -> tuple[Array, Array, Array]:
    """First and last bar of each run, in microseconds, and whether it is of extended hours."""
    begin = rows[rows["begins"].astype(bool)]
    ends = np.r_[begin["before"].to_numpy()[1:], rows["ts"].to_numpy()[-1:]]
    return (
        begin["ts"].to_numpy(dtype=np.int64),
        ends.astype(np.int64),
        begin["extended"].to_numpy(dtype=bool),
    )


def _within(ts: Array, begins: Array, ends: Array) -> Array:
    """Tell which instants lie in one of the runs."""
    if not len(begins):
        return np.zeros(len(ts), dtype=bool)
    run = np.searchsorted(begins, ts, side="right") - 1
    return np.asarray((run >= 0) & (ends[run.clip(0)] >= ts), dtype=bool)


def _explained(parts: Parts, as_of: pd.Timestamp, found: list[Bars]) -> Iterator[Bars]:
    """Say of the absent bars which were refused, and which the provider does not have."""
    refused = _query(
        parts,
        REFUSED_BARS,
        [each.symbol for each in found],
        as_of,
        min((instant(each.due.ts[0]) for each in found if len(each.due.ts)), default=as_of),
    )
    refused_at = {str(s): microseconds(ts) for s, ts in refused.groupby("symbol")["ts"]}
    waiting: list[Bars] = []
    n_waiting = 0
    for each in found:
        absent = each.fate == MISSING
        if each.symbol in refused_at:
            each.fate[absent & np.isin(each.due.ts, refused_at[each.symbol])] = REFUSED
        waiting.append(each)
        n_waiting += int(absent.sum())
        if n_waiting >= ABSENT_AT_ONCE:
            yield from _asked(parts, as_of, waiting)
            waiting, n_waiting = [], 0
    yield from _asked(parts, as_of, waiting)


def _asked(parts: Parts, as_of: pd.Timestamp, some: list[Bars]) -> list[Bars]:
    """Mark the missing bars that a complete reply lacks."""
    places = [np.flatnonzero(each.fate == MISSING) for each in some]
    counts = [len(place) for place in places]
    if parts.source.traits.absent == "missing" or not sum(counts):
        return some
    ts = np.concatenate([each.due.ts[place] for each, place in zip(some, places, strict=True)])
    bars = pd.DataFrame(
        {
            "symbol": np.repeat(np.array([each.symbol for each in some], dtype=object), counts),
            "ts": pd.DatetimeIndex(ts.astype("datetime64[us]"), tz="UTC"),
        }
    )
    is_known = known_absent(parts, bars, as_of)
    fate = NO_TRADE if parts.source.traits.absent == "no trade" else VENUE_DOWN
    for each, place, known in zip(
        some, places, np.split(is_known, np.cumsum(counts)[:-1]), strict=True
    ):
        each.fate[place[known]] = fate
    return some


def _due(parts: Parts, symbol: str, since: pd.Timestamp, as_of: pd.Timestamp) -> Due:
    """The bars of an instrument's calendar that closed by ``as_of``, and their sessions' dates."""
    interval, calendars = parts.watch.interval, parts.calendars
    ts = calendars.expected(symbol, interval, since.floor("D"), as_of)
    closes = calendars.closes(symbol, interval, ts)
    ts, closes = ts[closes <= as_of], closes[closes <= as_of]
    zone = "UTC" if length(interval) >= DAY else calendars.time_zone(symbol)
    return Due(microseconds(ts), _dates(ts, zone), np.asarray(closes > as_of - parts.watch.grace))


def _measured(parts: Parts, as_of: pd.Timestamp, since: pd.Timestamp | None) -> Iterator[Bars]:
    """Each series' bins; an empty one is a bin without a row, or with zero in it."""
    interval, zone = parts.watch.interval, parts.watch.zone
    names = [name for name in MEASURES.bar_key if name not in ("interval", "ts")]
    rows = parts.warehouse.read(
        MEASURES, interval=interval, since=since, as_of=as_of, columns=[*names, "ts", "value"]
    )
    if rows.empty:
        return
    ts = bins.expected_bins(rows["ts"].min(), as_of, interval, zone)
    is_late = bins.bin_end(ts, interval, zone) > as_of - parts.watch.grace
    due = Due(microseconds(ts), _dates(ts, zone), np.asarray(is_late))
    for name, own in rows.groupby(names, sort=True):
        held, values = microseconds(own["ts"]), own["value"].to_numpy()
        bars = due.since(int(held.min()))
        fate = np.where(np.isin(bars.ts, held), HELD, MISSING)
        fate[(fate == MISSING) & bars.in_grace] = IN_GRACE
        yield Bars(
            # The only series of a data set has its name.
            " / ".join(dict.fromkeys(map(str, name))),
            bars,
            fate,
            int(held.min()),
            int(held.max()),
            total=float(np.nansum(values)),
            n_zero=int((values == 0).sum()),
        )


def _aside(
    parts: Parts, as_of: pd.Timestamp, since: pd.Timestamp | None, symbols: list[str]
) -> pd.DataFrame:
    return _query(parts, ASIDE, symbols, as_of, since or pd.Timestamp(0, tz="UTC"))


def _firsts(parts: Parts, as_of: pd.Timestamp, symbols: list[str]) -> dict[str, pd.Timestamp]:
    """Each instrument's oldest bar; one without bars is absent."""
    rows = _query(parts, FIRST, symbols, as_of, as_of)
    return dict(zip(rows["symbol"], rows["ts"], strict=True))


def _query(
    parts: Parts,
    statement: str,
    symbols: list[str],
    as_of: pd.Timestamp,
    since: pd.Timestamp,
    step: pd.Timedelta = DAY,
) -> pd.DataFrame:
    interval = parts.watch.interval
    is_daily = length(interval) >= DAY
    table = "candles" if is_daily else "candles_intraday"
    # Where there are no extended hours, the key's index alone is read.
    is_open = is_daily or {parts.calendars.of(symbol) for symbol in symbols} == {ALWAYS_OPEN}
    extended = "false" if is_open else "hours is not distinct from 'extended'"
    with parts.warehouse.transaction() as cursor:
        # The key's index has the order that is wanted.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        return parts.warehouse.query(
            statement.format(table=table, extended=extended),
            {
                "symbols": symbols,
                "interval": interval,
                "as_of": as_of.to_pydatetime(),
                "since": since.to_pydatetime(),
                "step": step.to_pytimedelta(),
                "checks": sorted(checks.TOLD),
            },
        )


def _dates(ts: pd.DatetimeIndex, zone: str) -> Array:
    """The local dates of instants, in days since 1970."""
    local = ts.tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("datetime64[D]").astype(np.int64)
