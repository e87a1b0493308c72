"""The bands of a data set: recall what is carried, judge the new bins, record, look ahead."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components import bins
from components.bands import Band, Banded
from components.bin_panels import TOTAL, clock, holidays, panel_of
from components.carried import Snapshot, State
from components.forecasters.base import BinPanel
from components.opening import ENDED, HOLIDAY, LIVE, STATES, WARM_UP
from components.panels import Array, Ints
from components.rarity import log_silence
from components.steps import band_state
from components.steps.champions import band_of
from components.steps.measuring import HOP, last_bins
from components.steps.parts import Parts
from components.tables import BANDS, FORECASTS, MEASURES, SILENT

# A day of bins is looked ahead, and no fewer than these.
LEAST_AHEAD = 3

# Of a data set that is seen for the first time so much is recorded.
RECORDED = pd.Timedelta(days=35)

# Series that are gone through together: some hundreds of megabytes with years of bins.
GROUP = 500

# A bin within so many times the stated rate is LOW, one that much rarer than it HIGH.
LOW, HIGH = 5.0, 0.1

# A series is likely to have a payment in a bin from this chance on; so many of them are many.
LIKELY, MANY = 0.8, 3
LEAST_LOG_P = -700.0

# Sums of all series, of the bins that each of them has; exact, so that no order shows.
TOTALS = (
    HOP  # noqa: S608 - texts of the program alone
    + """, latest as (
    select distinct on (series, ts) series, ts, value from measures
    where source = %(source)s and data_set = %(data_set)s and "interval" = %(interval)s
      and ts >= %(since)s and known_at <= %(as_of)s
    order by series, ts, known_at desc
), begun as materialized (
    select first, count(*) as n from firsts group by first
)
select l.ts, sum(l.value::numeric)::float8 as value, count(*) as n,
    (select sum(n) from begun where first <= l.ts)::bigint as n_begun
from latest l group by l.ts order by l.ts
"""
)

# Until when all that was known of a data set is judged: not behind the last finished run, nor
# behind the one that judged its newest bin, which may have been another.
FINISHED = """
select least(
    (select max(as_of) from runs
     where command = 'forecast' and status = 'finished' and as_of <= %(as_of)s),
    (select known_at from bands
     where data_set = %(data_set)s and "interval" = %(interval)s and known_at <= %(as_of)s
     order by ts desc, known_at limit 1)
) as as_of,
exists (
    select from bands where data_set = %(data_set)s and "interval" = %(interval)s
) as is_judged,
exists (
    select from runs where command = 'forecast' and status = 'finished' and as_of <= %(as_of)s
) as is_finished
"""

NO_ROWS = pd.DataFrame({"series": [], "ts": pd.DatetimeIndex([], tz="UTC"), "value": []})

EARLY = pd.Timestamp("1970-01-01", tz="UTC")


@dataclass(frozen=True)
class Recalled:
    """Where a data set stands: who makes its bands, its bins, its series, what is carried.

    ``ts`` are all bins up to the last held one, ``coming_ts`` those of a day behind it, the first
    of which may be under way; ``clock`` and ``coming`` are what the operator calls them;
    ``changed`` is the oldest bin of each series that is news since the last finished run;
    ``has_sum``, whether one of the series is the sum of the others.
    """

    data_set: str
    forecaster: str
    band: Band
    ts: pd.DatetimeIndex
    clock: BinPanel
    coming_ts: pd.DatetimeIndex
    coming: BinPanel
    series: tuple[str, ...]
    changed: "pd.Series[pd.Timestamp]"
    has_sum: bool
    name: str
    kept: band_state.Kept | None
    is_valid: frozenset[str]


@dataclass(frozen=True)
class Piece:
    """Some series' judged bins, and the bands of the bins that come."""

    series: tuple[str, ...]
    ts: pd.DatetimeIndex
    value: Array
    banded: Banded
    coming: Banded


def recall_bands(parts: Parts, data_set: str) -> Recalled | None:
    """What is known of a data set at the run's instant; None when it has no bin yet."""
    as_of, watch = parts.run.as_of, parts.watch
    last = last_bins(parts, as_of).get(data_set)
    begin = bins.month_edges(as_of - watch.history, as_of, watch.zone)[0]
    done = parts.warehouse.query(
        FINISHED,
        {"as_of": as_of.to_pydatetime(), "data_set": data_set, "interval": watch.interval},
    ).iloc[0]
    # LEAST passes over what is NULL: without one of the two nothing is known to be judged.
    is_begun = bool(done["is_judged"]) and bool(done["is_finished"])
    since = pd.Timestamp(done["as_of"]) if is_begun else EARLY
    forecaster, band, model = band_of(parts, data_set)
    n_day = int(bins.DAY // bins.bin_length(watch.interval))
    name = band_state.fingerprint(parts, data_set, f"{forecaster} {model}", _described(band))
    kept = band_state.kept(parts, name, as_of, band.start(0, n_day))
    taken_at = as_of if kept is None else kept.taken_at
    found = band_state.series_of(parts, data_set, since, taken_at, begin)
    if last is None or found.empty:
        return None
    end = bins.bin_end(pd.DatetimeIndex([last]), watch.interval, watch.zone)[0]
    ts = bins.expected_bins(found["first"].min(), end, watch.interval, watch.zone)
    coming_ts = _coming(end, watch.interval, watch.zone)
    resting = holidays(watch.holidays, ts[0], coming_ts[-1], watch.zone)
    names = tuple(map(str, found["series"]))
    changed = pd.Series(pd.DatetimeIndex(found["changed"]), index=list(names))
    has_sum = len(names) > 1 and TOTAL not in names
    if has_sum:
        names, changed = (*names, TOTAL), pd.concat([changed, pd.Series({TOTAL: changed.min()})])
    if kept is not None and kept.last not in ts:
        kept = None
    valid: frozenset[str] = frozenset()
    if kept is not None:
        behind = set(found.loc[found["corrected"] <= kept.last, "series"])
        valid = frozenset(kept.snapshot.symbols) - behind - ({TOTAL} if behind else set())
    return Recalled(
        data_set,
        forecaster,
        band,
        ts,
        clock(ts, watch.interval, watch.zone, resting),
        coming_ts,
        clock(coming_ts, watch.interval, watch.zone, resting),
        names,
        changed,
        has_sum,
        name,
        kept,
        valid,
    )


def _described(band: Band) -> str:
    """What tells two bands apart beside the forecaster's own name and numbers."""
    return f"{band.miss!r} {band.opening!r} {band.conformal!r}"


def judge_bands(parts: Parts, at: Recalled) -> Iterator[Piece]:
    """Judge the bins behind what is carried, some series at a time, and carry on from there."""
    cut = _cut(at)
    states: list[Snapshot] = []
    groups = list(_groups(at))
    for names in parts.progress(groups, len(groups), "series"):
        kept = at.kept if at.kept is not None and set(names) <= at.is_valid else None
        first = 0 if kept is None else int(at.ts.get_indexer(pd.DatetimeIndex([kept.last]))[0]) + 1
        state: State = (
            at.band.start(len(names), at.clock.n_day)
            if kept is None
            else kept.snapshot.take(names).state
        )
        panel = _panel(parts, at, names, first)
        early, banded = at.band.run(state, panel.bins(slice(0, max(cut - first, 0))))
        if cut > 0:
            states.append(Snapshot(names, early))
        late, rest = at.band.run(early, panel.bins(slice(max(cut - first, 0), None)))
        coming = at.band.ahead(late, at.coming)
        yield Piece(names, at.ts[first:], panel.value, _joined(banded, rest), coming)
    if cut > 0 and not _is_as_kept(at, cut) and not parts.is_dry:
        symbols = tuple(name for each in states for name in each.symbols)
        whole = {
            key: np.concatenate([each.state[key] for each in states]) for key in states[0].state
        }
        band_state.keep(parts, at.name, Snapshot(symbols, whole), at.ts[cut - 1])


@dataclass
class Crowd:
    """How many of the series that are likely to have payments have none, bin by bin.

    ``until`` are the bins' ends, or how far they had come.
    """

    ts: pd.DatetimeIndex
    until: pd.DatetimeIndex
    n_likely: Ints
    n_silent: Ints
    log_p: Array

    @classmethod
    def of(cls, parts: Parts, at: Recalled) -> "Crowd":
        """No series yet, of the bins that each run goes through again."""
        ts = at.ts[at.ts > at.ts[-1] - band_state.BEHIND]
        none = np.zeros(len(ts), dtype=np.int64)
        until = bins.bin_end(ts, parts.watch.interval, parts.watch.zone)
        return cls(ts, until, none, none.copy(), np.zeros(len(ts)))

    def add(self, at: Recalled, piece: Piece) -> None:
        """Count some series in; a sum of others is none of them."""
        own = np.array([not _is_sum(at, name) for name in piece.series])
        here = piece.ts.get_indexer(self.ts)
        is_there = here >= 0
        at_bins = np.ix_(own, here[is_there])
        share, value = piece.banded.share[at_bins], piece.value[at_bins]
        standing = piece.banded.standing[at_bins]
        is_likely = (standing == LIVE) & (share >= LIKELY) & ~np.isnan(value)
        is_silent = is_likely & (value == 0)
        self.n_likely[is_there] += is_likely.sum(axis=0)
        self.n_silent[is_there] += is_silent.sum(axis=0)
        self.log_p[is_there] += log_silence(share, is_silent)


def record_crowd(parts: Parts, at: Recalled, crowd: Crowd) -> None:
    """Store how many series were silent in each bin, where there are enough to speak of many."""
    is_many = crowd.n_likely >= MANY
    if not is_many.any():
        return
    rows = pd.DataFrame(
        {
            "data_set": at.data_set,
            "interval": parts.watch.interval,
            "ts": crowd.ts,
            "until": crowd.until,
            "n_likely": crowd.n_likely,
            "n_silent": crowd.n_silent,
            "p": np.exp(np.maximum(crowd.log_p, LEAST_LOG_P)),
            "known_at": parts.run.as_of,
        }
    )
    parts.warehouse.upsert(SILENT, rows[is_many])


def _cut(at: Recalled) -> int:
    """How many bins the next snapshot has seen: those up to a week ago, or the last one's."""
    n_behind = int(at.ts.searchsorted(at.ts[-1] - band_state.BEHIND))
    if at.kept is None or at.ts[max(n_behind - 1, 0)] - at.kept.last >= band_state.EVERY:
        return n_behind
    return int(at.ts.searchsorted(at.kept.last)) + 1


def _is_as_kept(at: Recalled, cut: int) -> bool:
    is_whole = set(at.series) == set(at.is_valid)
    return at.kept is not None and is_whole and at.ts[cut - 1] == at.kept.last


def _groups(at: Recalled) -> Iterator[tuple[str, ...]]:
    """Series to be gone through together: those that go on, then those that begin anew."""
    for is_valid in (True, False):
        names = [name for name in at.series if (name in at.is_valid) == is_valid]
        for start in range(0, len(names), GROUP):
            yield tuple(names[start : start + GROUP])


def _panel(parts: Parts, at: Recalled, names: tuple[str, ...], first: int) -> BinPanel:
    ts, clocked = at.ts[first:], at.clock.bins(slice(first, None))
    rows = measures_of(parts, at, names, ts[0]) if len(ts) else NO_ROWS
    return panel_of(rows, names, clocked, ts)


def measures_of(
    parts: Parts,
    at: Recalled,
    names: tuple[str, ...] | None = None,
    since: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """The values of some series (all) from a bin on (the first): series, ts, value."""
    names, since = names or at.series, at.ts[0] if since is None else since
    own = [name for name in names if not _is_sum(at, name)]
    tables = []
    if own:
        rows = parts.warehouse.read(
            MEASURES,
            symbols=[at.data_set],
            interval=parts.watch.interval,
            since=since,
            as_of=parts.run.as_of,
            columns=["series", "ts", "value"],
            series=None if len(own) >= len(at.series) - 1 else own,
        )
        tables.append(rows)
    if len(own) < len(names):
        sums = parts.warehouse.query(TOTALS, _asked(parts, at, since))
        whole = sums[sums["n"] == sums["n_begun"]]
        tables.append(whole.assign(series=TOTAL)[["series", "ts", "value"]])
    found = [table for table in tables if len(table)]
    return pd.concat(found) if found else NO_ROWS


def _asked(parts: Parts, at: Recalled, since: pd.Timestamp) -> dict[str, object]:
    return {
        "source": parts.source.name,
        "data_set": at.data_set,
        "interval": parts.watch.interval,
        "since": since.to_pydatetime(),
        "begin": at.ts[0].to_pydatetime(),
        "as_of": parts.run.as_of.to_pydatetime(),
    }


def _is_sum(at: Recalled, name: str) -> bool:
    """Whether a series is the sum of the others, and no one of the data set's own."""
    return at.has_sum and name == TOTAL


def _coming(end: pd.Timestamp, interval: str, zone: str) -> pd.DatetimeIndex:
    """The bins of a day from ``end`` on."""
    length = bins.bin_length(interval)
    n_ahead = max(int(bins.DAY // length), LEAST_AHEAD)
    # When the clocks change a day has some bins more or fewer.
    return bins.expected_bins(end, end + 2 * n_ahead * length, interval, zone)[:n_ahead]


def _joined(early: Banded, late: Banded) -> Banded:
    both = {
        name: np.concatenate([getattr(early, name), getattr(late, name)], axis=1)
        for name in early.__dataclass_fields__
    }
    return Banded(**both)


def record_bands(parts: Parts, at: Recalled, piece: Piece) -> int:
    """Store what is new of a piece: of each series from its oldest news on. Give how many rows."""
    interval, zone = parts.watch.interval, parts.watch.zone
    ends = bins.bin_end(piece.ts, interval, zone)
    of_series = at.changed.reindex(list(piece.series))
    # A series without news has none of any bin.
    since = pd.DatetimeIndex(of_series.fillna(at.ts[-1] + RECORDED))
    oldest = since.where(since >= at.ts[-1] - RECORDED, at.ts[-1] - RECORDED)
    is_news = (piece.ts.to_numpy()[None, :] >= oldest.to_numpy()[:, None]) & ~np.isnan(piece.value)
    who, when = np.nonzero(is_news)
    banded = piece.banded
    rows = pd.DataFrame(
        {
            "data_set": at.data_set,
            "series": np.array(piece.series, dtype=object)[who],
            "interval": interval,
            "ts": piece.ts[when],
            "ends_at": ends[when],
            "forecaster": at.forecaster,
            "actual": piece.value[who, when],
            "expected": banded.expected[who, when],
            "lower": banded.lower[who, when],
            "upper": banded.upper[who, when],
            "p": banded.p[who, when],
            "level": levels(banded, at.band.miss)[who, when],
            "standing": np.array(STATES, dtype=object)[banded.standing[who, when]],
            "known_at": parts.run.as_of,
        }
    )
    n_new = parts.warehouse.upsert(BANDS, rows) if len(rows) else 0
    parts.warehouse.upsert(FORECASTS, _forecasts(parts, at, piece))
    return n_new


def levels(banded: Banded, miss: float) -> Ints:
    """0 inside, 1 LOW, 2 MEDIUM (outside of the band), 3 HIGH.

    Nothing is told of a weekday that a series has not lived through, nor while it warms up.
    """
    with np.errstate(invalid="ignore"):
        near = (banded.p <= LOW * miss).astype(np.int64)
        is_odd = banded.is_outside | banded.is_silent
        found = np.where(is_odd, np.where(banded.p <= HIGH * miss, 3, 2), near)
    is_told = ~np.isin(banded.standing, (WARM_UP, HOLIDAY, ENDED))
    level: Ints = np.where(is_told, found, 0).astype(np.int64)
    return level


def _forecasts(parts: Parts, at: Recalled, piece: Piece) -> pd.DataFrame:
    ts, coming, n = at.coming_ts, piece.coming, len(piece.series)
    ends = bins.bin_end(ts, parts.watch.interval, parts.watch.zone)
    return pd.DataFrame(
        {
            "data_set": at.data_set,
            "series": np.repeat(np.array(piece.series, dtype=object), len(ts)),
            "interval": parts.watch.interval,
            "ts": ts.take(np.tile(np.arange(len(ts)), n)),
            "ends_at": ends.take(np.tile(np.arange(len(ts)), n)),
            "forecaster": at.forecaster,
            "expected": coming.expected.ravel(),
            "lower": coming.lower.ravel(),
            "upper": coming.upper.ravel(),
            "standing": np.array(STATES, dtype=object)[coming.standing.ravel()],
            "so_far": np.nan,
            "nowcast": np.nan,
            "known_at": parts.run.as_of,
        }
    )
