"""Candles that come after their bar was judged: repeats are passed over, the rest rebuilds.

As for the batch, a bar that comes late or is corrected changes what later bars are compared with:
its instrument is judged again from its first bar, and a verdict that turns is told as a correction.
The market's move at the bar stays what it was, for the others were judged with it.
"""

import numpy as np
import pandas as pd

from components.carried import Snapshot
from components.feeds.base import NUMBERS
from components.steps.carrying import blank_ledger
from components.steps.judging import counted, judge_piece, rebuilds, record_rows, rows_of
from components.steps.parts import Parts
from components.steps.stream import Stream
from components.steps.stream_start import last_bars
from components.tables import CANDLES

BAR = ["symbol", "ts"]


def take_late(stream: Stream, late: pd.DataFrame) -> tuple[str, ...]:
    """Store candles of bars that were judged before, and judge their instruments again.

    Gives the instruments judged again; a candle that says again what is stored changes nothing.
    """
    news = not_stored(stream.parts, late)
    if not len(news):
        return ()
    stream.is_torn = True
    stream.store_late(news)
    done = rebuild(stream, tuple(sorted(news["symbol"].unique())))
    stream.is_torn = False
    return done


def not_stored(parts: Parts, late: pd.DataFrame) -> pd.DataFrame:
    """Of candles those that the warehouse does not hold as they are; of a bar the last."""
    if not len(late):
        return late
    late = late.drop_duplicates(BAR, keep="last")
    stored = parts.warehouse.read(
        CANDLES,
        symbols=sorted(late["symbol"].unique()),
        interval=parts.watch.interval,
        since=late["ts"].min(),
        until=late["ts"].max() + pd.Timedelta(microseconds=1),
        columns=[*BAR, *NUMBERS],
    )
    both = late.merge(stored, how="left", on=BAR, suffixes=("", "_stored"))
    is_same = np.ones(len(both), dtype=bool)
    for name in NUMBERS:
        new, old = (both[column].to_numpy(dtype=float) for column in (name, f"{name}_stored"))
        is_same &= (new == old) | (np.isnan(new) & np.isnan(old))
    return late[~is_same]


def rebuild(stream: Stream, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Judge instruments again from their first bar, by what is known now."""
    parts, as_of = stream.parts, stream.known
    done: list[str] = []
    for piece in rebuilds(parts, stream.ledger, symbols, as_of):
        before = Snapshot(piece.symbols, parts.ensemble.start(len(piece.symbols)))
        state, judged = judge_piece(parts, before, piece)
        record_rows(parts, rows_of(parts, judged, as_of, judged.is_anomaly))
        counts = counted(blank_ledger(piece.symbols), judged)
        stream.put_back(Snapshot(piece.symbols, state), counts)
        done += piece.symbols
    for name, members in stream.judge.members.items():
        if set(members) & set(done):
            stream.put_tails(name, *last_bars(parts, members, as_of))
    return tuple(done)
