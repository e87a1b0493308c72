"""The checks that look at the bars before: a feed that hangs, a market that is dead."""

import numpy as np
import pandas as pd

from components.checks.arrays import NO_TIME, Array, Rows
from components.checks.known import Known
from components.sessions import length

# Thin shares rest up to 26 sessions, and trade again; a halt of an hour is told.
DEAD_BARS, DEAD_TIME = 30, pd.Timedelta(hours=1)

# So many bars before, all with volume, make an instrument one that trades.
TRADING_BARS = 5

# Corrections of stored closes stay far below this; another instrument seldom does.
OTHER_INSTRUMENT = np.log(1.5)

# So many bars must two files have in common to be told apart.
COMMON_BARS = 3


def dead_after(interval: str) -> int:
    """How many idle bars of one price are let in before the market counts as dead."""
    return max(DEAD_BARS, int(DEAD_TIME / length(interval)))


def copied_bar(rows: Rows, known: Known) -> Array:  # noqa: ARG001 - as the other checks
    """The bar before, said again: all four prices at its close, and its very volume.

    A feed that hangs repeats itself; a day's trade does not come out at the same volume twice
    while no price moves. Shorter bars are let in: the same lot does trade minute by minute.
    """
    refused = rows.of(rows.replies.is_daily) & (rows.high == rows.low)
    refused &= (rows.open == rows.close) & (rows.volume > 0)
    if refused.any():
        refused &= rows.close == rows.before(rows.close)
        refused &= rows.volume == rows.before(rows.volume)
    return np.asarray(refused)


def dead_market(rows: Rows, known: Known) -> Array:
    """One more bar without trade and without a move, after a run of them.

    The first 30 of a run (at least an hour of minutes) are let in: no later bar is looked at.
    A bar counts when open, high, low and close are the close before and the volume is 0. A
    run goes on from one reply into the next and from what is stored. An instrument that was
    never seen to trade (a fund, a currency) has no volume to miss.
    """
    idle = (rows.volume == 0) & (rows.high == rows.low) & (rows.open == rows.close)
    refused = np.zeros(len(rows), dtype=bool)
    if not idle.any():
        return refused
    order = np.lexsort((rows.ts, rows.of(rows.replies.instrument)))
    instrument = rows.of(rows.replies.instrument)[order]
    names, firsts = np.unique(instrument, return_index=True)
    lasts = np.append(firsts[1:], len(rows))
    n_idle = np.add.reduceat(idle[order], firsts)
    is_in = n_idle > 0
    for name, first, last in zip(names[is_in], firsts[is_in], lasts[is_in], strict=True):
        places = order[first:last]
        reply = int(rows.reply[places[0]])
        refused[places] = _dead(rows, places, known, int(name), reply)
    return refused


def _dead(rows: Rows, places: Array, known: Known, instrument: int, reply: int) -> Array:
    """Tell which rows of one instrument belong to a dead market; its stored candles lead."""
    stored = known.stored
    limit = dead_after(str(rows.replies.interval.iloc[reply]))
    own = slice(*np.searchsorted(stored.instrument, [instrument, instrument + 1]))
    tail = slice(own.start, own.start + int(np.searchsorted(stored.ts[own], rows.ts[places[0]])))
    o, h, lo, c, v = (
        np.concatenate([getattr(stored, name)[tail], getattr(rows, name)[places]])
        for name in ("open", "high", "low", "close", "volume")
    )
    idle = (v == 0) & (h == lo) & (o == c)
    idle[1:] &= c[1:] == c[:-1]
    idle &= np.cumsum(v > 0) > 0
    # A row kept aside between two others says that something happened there.
    n_tail = len(idle) - len(places)
    is_next = (rows.place[places[1:]] - rows.place[places[:-1]] == 1) | rows.starts[places[1:]]
    idle[n_tail + 1 :] &= is_next
    at = np.arange(len(idle))
    run = at - np.maximum.accumulate(np.where(idle, -1, at))
    return np.asarray((run > limit)[n_tail:])


def volume_absent(rows: Rows, known: Known) -> Array:  # noqa: ARG001 - as the other checks
    """No volume, though prices moved and each of the five bars before had some.

    The bar is let in all the same, as its prices may tell of a crash. Currencies, indices,
    funds and shares that seldom trade have no volume to miss.
    """
    absent: Array = np.isnan(rows.volume) | ((rows.volume == 0) & (rows.high > rows.low))
    if not absent.any():
        return absent
    traded: Array = np.cumsum(rows.volume > 0)
    places = np.flatnonzero(absent)
    firsts = np.maximum.accumulate(np.where(rows.starts, np.arange(len(rows)), 0))
    enough = places - firsts[places] >= TRADING_BARS
    places = places[enough]
    earlier = np.where(places > TRADING_BARS, traded[places - 1 - TRADING_BARS], 0)
    before: Array = traded[places - 1] - earlier
    told = np.zeros(len(rows), dtype=bool)
    told[places[before == TRADING_BARS]] = True
    return told


def other_instrument(rows: Rows, known: Known) -> Array:
    """The closes are not those stored for the same bars: the name was given to another.

    Then the whole reply is kept aside.
    """
    refused = np.zeros(len(rows), dtype=bool)
    stored = known.stored
    if not stored.n or not len(rows):
        return refused
    place = stored.at(rows.of(rows.replies.instrument), rows.ts)
    both = place >= 0
    apart = np.abs(np.log(rows.close[both] / stored.close[place[both]]))
    if not (apart > OTHER_INSTRUMENT).any():
        return refused
    middle = pd.Series(apart).groupby(rows.reply[both]).median()
    return np.asarray(np.isin(rows.reply, middle.index[middle > OTHER_INSTRUMENT]))


def other_copy(rows: Rows, known: Known) -> Array:
    """All rows of a file that is of another instrument than another file of the same name.

    Told by the closes of the bars that both have. The one that is not what is stored is
    refused, or the one with fewer closes; of as many, the one that does not reach as far.
    """
    refused = np.zeros(len(rows), dtype=bool)
    if not rows.copy.any():
        return refused
    places = np.flatnonzero((rows.close > 0) & np.isfinite(rows.close) & (rows.ts != NO_TIME))
    bars = pd.DataFrame({name: getattr(rows, name)[places] for name in ("reply", "ts", "copy")})
    bars["close"] = np.log(rows.close[places])
    bars = bars.drop_duplicates(["reply", "ts", "copy"], keep="last")
    by_bar = bars.groupby(["reply", "ts"])["close"]
    is_apart = by_bar.transform("max") - by_bar.transform("min") > OTHER_INSTRUMENT
    bars = bars[bars["reply"].isin(bars.loc[is_apart, "reply"].unique())]
    if bars.empty:
        return refused
    pairs = _disagreeing(bars)
    ranks = _ranked(bars, known)
    for reply, one, other in pairs.itertuples(index=False):
        worse = min((ranks[reply, one], one), (ranks[reply, other], other))[1]
        refused |= (rows.reply == reply) & (rows.copy == worse)
    return refused


def _disagreeing(bars: pd.DataFrame) -> pd.DataFrame:
    """The pairs of copies of a reply whose closes are not those of one instrument."""
    both = bars.merge(bars, on=["reply", "ts"], suffixes=("", "_other"))
    both = both[both["copy"] < both["copy_other"]]
    both["apart"] = (both["close"] - both["close_other"]).abs()
    pairs: pd.DataFrame = (
        both.groupby(["reply", "copy", "copy_other"])["apart"].agg(["median", "size"]).reset_index()
    )
    is_other = (pairs["median"] > OTHER_INSTRUMENT) & (pairs["size"] >= COMMON_BARS)
    return pd.DataFrame(pairs.loc[is_other, ["reply", "copy", "copy_other"]])


def _ranked(bars: pd.DataFrame, known: Known) -> dict[tuple[int, int], tuple[bool, int]]:
    """Of each copy, whether it is what is stored, and how many closes it has."""
    reply, stored = bars["reply"].to_numpy(), known.stored
    apart = np.full(len(bars), np.nan)
    if stored.n:
        place = stored.at(known.replies.instrument[reply], bars["ts"].to_numpy())
        apart = np.abs(bars["close"] - np.log(stored.close[place])).where(place >= 0).to_numpy()
    copies = bars.assign(apart=apart).groupby(["reply", "copy"])["apart"].agg(["median", "size"])
    as_stored = ~(copies["median"] > OTHER_INSTRUMENT)
    return dict(zip(copies.index, zip(as_stored, copies["size"], strict=True), strict=True))
