"""Explore: what the instruments of the warehouse are like; nothing is judged, nobody is told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.bar_fates import microseconds
from components.errors import SettingsError
from components.explored import Profile, described
from components.panels import CandlePanel, pack
from components.profile.figures import figures
from components.profile.history import History, histories
from components.profile.pairs import Matrix, Returns, matrix, no_returns, strongest
from components.profile.unusual import Axis, compared, large_moves, volume_spikes
from components.sessions import ALWAYS_OPEN, length
from components.steps.evaluate import COLUMNS, Chosen
from components.steps.gaps import regular, with_steps
from components.steps.holdings import holdings, named
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.tables import CANDLES

# Instruments and bars read together: memory is bounded by them.
AT_ONCE, BARS_AT_ONCE = 250, 1_000_000
YEAR = pd.Timedelta(days=365.25)

# Unusual bars listed of one instrument, and of all; pairs listed; instruments in the matrix,
# and with a picture of their own.
LISTED, LISTED_OF_ALL = 20, 500
PAIRS, IN_MATRIX, DRAWN = 200, 40, 12


@dataclass
class Seen:
    """What the histories read so far came to; ``returns`` is filled as they are read."""

    returns: Returns
    rows: list[pd.DataFrame] = field(default_factory=list)
    moves: list[pd.DataFrame] = field(default_factory=list)
    spikes: list[pd.DataFrame] = field(default_factory=list)


def profile(parts: Parts, chosen: Chosen) -> Profile:
    """Describe instruments: coverage, volatility, unusual bars, correlation, consistency.

    Of an instrument with more than a million bars the newest million is described: so memory is
    bounded. Its coverage is that of all.

    Raises
    ------
    SettingsError
        When nothing is held, or the source gives no candles.
    """
    since = chosen.since
    held = holdings(parts, named(parts, chosen), since)
    is_cut = held.symbols["n_stored"] > BARS_AT_ONCE
    firsts = {**dict.fromkeys(held.symbols["symbol"], since), **_cuts(parts, held.symbols[is_cut])}
    seen = _histories(parts, held.symbols, firsts)
    table = described(held.symbols.assign(is_cut=is_cut), pd.concat(seen.rows, ignore_index=True))
    return Profile(
        as_of=parts.run.as_of,
        since=since,
        interval=parts.watch.interval,
        source=parts.source.name,
        symbols=table,
        moves=seen.moves[0],
        spikes=seen.spikes[0],
        pairs=strongest(seen.returns, PAIRS, parts.progress),
        matrix=_matrix(seen.returns, table),
        checks=held.checks,
        quality=held.quality,
        drawn=_drawn(parts, table, firsts),
    )


def _histories(parts: Parts, held: pd.DataFrame, firsts: Mapping[str, pd.Timestamp | None]) -> Seen:
    """Read the instruments' histories, some at a time."""
    groups = list(_groups(held.loc[held["n_stored"] > 0, ["symbol", "n_stored"]]))
    if not groups:
        raise SettingsError(
            f"evaluate --profile: no {parts.watch.interval} bar is held since then. Name an "
            "earlier day with --since."
        )
    seen = Seen(_room(parts, held, [symbol for group in groups for symbol in group]))
    for group in parts.progress(groups, len(groups), "reading histories"):
        panel, axis = read_panel(parts, group, firsts[group[0]])
        found = compared(panel, axis)
        moves, spikes = large_moves(panel, found, LISTED), volume_spikes(panel, found, LISTED)
        seen.rows.append(figures(panel, axis, found))
        seen.moves = [_largest([*seen.moves, moves], "times_usual")]
        seen.spikes = [_largest([*seen.spikes, spikes], "z")]
        seen.returns.put(seen.returns.symbols.index(group[0]), panel, found.move)
    return seen


def _cuts(parts: Parts, long: pd.DataFrame) -> dict[str, pd.Timestamp]:
    """From when on an instrument with too many bars is read."""
    years = [
        BARS_AT_ONCE / parts.calendars.bars_per_year(symbol, parts.watch.interval)
        for symbol in long["symbol"]
    ]
    cuts = [(last - n * YEAR).floor("D") for last, n in zip(long["last"], years, strict=True)]
    return dict(zip(long["symbol"], cuts, strict=True))


def read_panel(
    parts: Parts, symbols: Sequence[str], since: pd.Timestamp | None
) -> tuple[CandlePanel, Axis]:
    """The bars known by now, regular hours alone, splits and gaps beside; and their time axis."""
    interval, calendars, as_of = parts.watch.interval, parts.calendars, parts.run.as_of
    candles = parts.warehouse.read(
        CANDLES, symbols=symbols, interval=interval, since=since, as_of=as_of, columns=COLUMNS
    )
    candles = regular(candles).drop(columns="hours")
    if len(candles):
        candles = with_steps(parts, with_splits(parts, candles, as_of))
    always = [symbol for symbol in symbols if calendars.of(symbol) == ALWAYS_OPEN]
    per_year, sessions = (
        np.array([calendars.bars_per_year(symbol, each) for symbol in symbols])
        for each in (interval, "1d")
    )
    step_us = length(interval) // pd.Timedelta(microseconds=1)
    return pack(candles, tuple(symbols), always), Axis(step_us, per_year, per_year / sessions)


def _groups(n_bars: pd.DataFrame) -> Iterator[list[str]]:
    """Instruments of about as many bars, whose panel fits into memory."""
    group: list[str] = []
    ordered = n_bars.sort_values(["n_stored", "symbol"])
    for symbol, n in ordered.itertuples(index=False):
        if group and (len(group) >= AT_ONCE or (len(group) + 1) * n > BARS_AT_ONCE):
            yield group
            group = []
        group.append(symbol)
    if group:
        yield group


def _room(parts: Parts, held: pd.DataFrame, symbols: list[str]) -> Returns:
    """Room for the returns of the instruments, over the bars that their calendars expect."""
    interval = parts.watch.interval
    rows = held[held["symbol"].isin(symbols)]
    grids = []
    for _, own in rows.groupby(rows["symbol"].map(parts.calendars.of), sort=True):
        since, until = own["first"].min(), own["last"].max() + length(interval)
        due = parts.calendars.expected(str(own["symbol"].iloc[0]), interval, since, until)
        grids.append(microseconds(due))
    return no_returns(symbols, grids)


def _largest(frames: list[pd.DataFrame], column: str) -> pd.DataFrame:
    """The rows that stand out most, of all instruments so far."""
    every = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    order = every[column].abs().sort_values(ascending=False, kind="stable").index
    return every.loc[order[:LISTED_OF_ALL]].reset_index(drop=True)


def _matrix(returns: Returns, table: pd.DataFrame) -> Matrix:
    """The correlations of the instruments with the most bars."""
    longest = table[table["n_bars"] > 0].sort_values(
        ["n_bars", "symbol"], ascending=[False, True], kind="stable"
    )
    return matrix(returns, list(longest["symbol"].head(IN_MATRIX)))


def _drawn(
    parts: Parts, table: pd.DataFrame, firsts: Mapping[str, pd.Timestamp | None]
) -> tuple[History, ...]:
    """The histories of the first instruments of the table, read again one by one."""
    drawn: list[History] = []
    for symbol in table.loc[table["n_bars"] > 0, "symbol"].head(DRAWN):
        panel, axis = read_panel(parts, [symbol], firsts[symbol])
        drawn += histories(panel, compared(panel, axis))
    return tuple(drawn)
