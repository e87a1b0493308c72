"""The bin under way: what it holds so far, what that points to, and payments that just stopped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from components import bins
from components.bin_panels import TOTAL, clock
from components.errors import SourceError
from components.panels import Array, Flags
from components.rarity import log_silence
from components.records import RawReply
from components.steps.bands import LIKELY, Crowd, Recalled, record_crowd
from components.steps.parts import Parts
from components.tables import FORECASTS

# The bin is looked at in pieces of the longest of these lengths of which it has two dozen.
FINE = ("1m", "5m", "15m", "30m", "1h")
PIECES = 24

NOTHING = pd.DataFrame({"series": [], "ts": [], "value": []})

# The same bin of so many days before says how much of it has usually come by now.
DAYS, LEAST_DAYS = 28, 5


@dataclass(frozen=True)
class SoFar:
    """What of the bin under way is known, by series; the columns are days before it.

    ``now`` (n_series,) holds what came until ``until``; ``early`` and ``whole``
    (n_series, n_days) what had come by that time, and in all, of the same bin of earlier days.
    """

    series: tuple[str, ...]
    start: pd.Timestamp
    until: pd.Timestamp
    now: Array
    early: Array
    whole: Array

    @property
    def part(self) -> Array:
        """Which part of the bin has usually come by now; NaN where there are too few days."""
        early, whole = self.early.sum(axis=1), self.whole.sum(axis=1)
        enough = ((self.whole != 0).sum(axis=1) >= LEAST_DAYS) & (whole > 0)
        found: Array = np.divide(early, whole, out=np.full(len(whole), np.nan), where=enough)
        return np.clip(found, 0, 1)

    @property
    def share(self) -> Array:
        """On which share of the days something had come by now; NaN where there are too few."""
        n_days = self.early.shape[1]
        if n_days < LEAST_DAYS:
            return np.full(len(self.now), np.nan)
        found: Array = ((self.early != 0).sum(axis=1) / (n_days + 1)).astype(float)
        return found


def nowcast(parts: Parts, at: Recalled, replies: Sequence[RawReply]) -> None:
    """Store what the bin under way holds and points to; and whether payments have stopped.

    Asked of this run's own replies, so far back as they reach. Nothing is said of a data set
    that is behind its clock, nor without payments that have a time within the bin.
    """
    so_far = _so_far(parts, at, [r for r in replies if r.request.symbol == at.data_set])
    if so_far is None:
        return
    rows = parts.warehouse.query(
        "select * from forecasts where data_set = %(data_set)s and ts = %(ts)s "
        'and "interval" = %(interval)s',
        {
            "data_set": at.data_set,
            "interval": parts.watch.interval,
            "ts": so_far.start.to_pydatetime(),
        },
    )
    place = pd.Index(so_far.series).get_indexer(pd.Index(rows["series"]))
    is_known = place >= 0
    rows, place = rows[is_known], place[is_known]
    expected = rows["expected"].to_numpy(dtype=float)
    rows["so_far"] = so_far.now[place]
    rows["nowcast"] = so_far.now[place] + (1 - so_far.part[place]) * expected
    if len(rows):
        parts.warehouse.upsert(FORECASTS, rows)
        _note_silence(parts, at, so_far, rows, place)


def _so_far(parts: Parts, at: Recalled, replies: list[RawReply]) -> SoFar | None:
    watch, as_of = parts.watch, parts.run.as_of
    start = bins.last_closed_end(as_of, watch.interval, watch.zone)
    end_of_last = bins.bin_end(at.ts[-1:], watch.interval, watch.zone)[0]
    length = bins.bin_length(watch.interval)
    fine = [name for name in FINE if bins.bin_length(name) * PIECES <= length]
    if end_of_last != start or not fine:
        return None
    until = bins.last_closed_end(as_of, fine[-1], watch.zone)
    rows = _fine(parts, replies, fine[-1]) if until > start else NOTHING
    if rows.empty:
        return None
    rows["bin"] = bins.bin_start(pd.DatetimeIndex(rows["ts"]), watch.interval, watch.zone)
    slot = clock(pd.DatetimeIndex([start]), watch.interval, watch.zone).day_slot[0]
    since = max(rows["bin"].min(), start - pd.Timedelta(days=DAYS))
    is_alike = (at.clock.day_slot == slot) & (at.ts > since) & ~at.clock.is_holiday
    days = at.ts[is_alike]
    series = tuple(name for name in at.series if not (at.has_sum and name == TOTAL))
    is_early = (rows["ts"] - rows["bin"]) < (until - start)
    now = rows[rows["bin"] == start].groupby("series")["value"].sum().reindex(list(series))
    found = SoFar(
        series,
        start,
        until,
        now.fillna(0.0).to_numpy(dtype=float),
        _table(rows[is_early], series, days),
        _table(rows, series, days),
    )
    return _with_sum(found) if at.has_sum else found


def _with_sum(found: SoFar) -> SoFar:
    def summed(a: Array) -> Array:
        return np.concatenate([a, a.sum(axis=0, keepdims=True)])

    return replace(
        found,
        series=(*found.series, TOTAL),
        now=summed(found.now),
        early=summed(found.early),
        whole=summed(found.whole),
    )


def _table(rows: pd.DataFrame, series: tuple[str, ...], days: pd.DatetimeIndex) -> Array:
    sums = rows.groupby(["series", "bin"])["value"].sum()
    table = np.zeros((len(series), len(days)))
    who = pd.Index(series).get_indexer(sums.index.get_level_values("series"))
    when = days.get_indexer(pd.DatetimeIndex(sums.index.get_level_values("bin")))
    is_in = (who >= 0) & (when >= 0)
    table[who[is_in], when[is_in]] = sums.to_numpy(dtype=float)[is_in]
    return table


def _fine(parts: Parts, replies: list[RawReply], interval: str) -> pd.DataFrame:
    """The replies' payments in short bins, those without a payment left out."""
    source: Any = parts.source
    source = replace(source, binning=replace(source.binning, empty="missing"))
    tables = []
    for reply in replies:
        try:
            fine = source.parse(replace(reply, request=replace(reply.request, interval=interval)))
        except SourceError:
            # The bins themselves were read of the same reply: what failed there was told there.
            continue
        if fine.measures is not None:
            tables.append(fine.measures[["series", "ts", "value"]])
    if not tables:
        return NOTHING
    rows: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return rows.drop_duplicates(["series", "ts"], keep="last", ignore_index=True)


def _note_silence(
    parts: Parts, at: Recalled, so_far: SoFar, rows: pd.DataFrame, place: np.ndarray
) -> None:
    """Note how many series are silent that have nearly always had something by now."""
    share = so_far.share[place]
    is_own = ~((rows["series"] == TOTAL).to_numpy() & at.has_sum)
    is_live = (rows["standing"] == "live").to_numpy()
    with np.errstate(invalid="ignore"):
        is_likely: Flags = is_own & is_live & (share >= LIKELY)
    is_silent = is_likely & (so_far.now[place] == 0)
    crowd = Crowd(
        pd.DatetimeIndex([so_far.start]),
        pd.DatetimeIndex([so_far.until]),
        np.array([is_likely.sum()]),
        np.array([is_silent.sum()]),
        log_silence(share[:, None], is_silent[:, None]),
    )
    record_crowd(parts, at, crowd)
