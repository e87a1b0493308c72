"""Instruments whose past changed, judged again by the driver from what is stored."""

from collections.abc import Iterator

import pandas as pd

from components.carried import Snapshot
from components.spark_job.sent_state import sent
from components.steps.judging import judge_piece, rebuilds, record_rows, rows_of
from components.steps.stream import Stream
from components.steps.stream_start import last_bars


def rebuilt(
    stream: Stream, symbols: tuple[str, ...], as_of: pd.Timestamp, newest: pd.Timestamp
) -> Iterator[tuple[bytes, bytes]]:
    """Judge instruments from their first bar, store what turned, and give their states to send.

    As for the batch, a bar that comes late or is corrected changes what later bars are compared
    with. Only bars that were judged, or came late, are stored; so the state is that behind them.
    """
    parts, at = stream.parts, newest.tz_convert(None).to_datetime64()
    for piece in rebuilds(parts, stream.ledger, symbols, as_of):
        before = Snapshot(piece.symbols, parts.ensemble.start(len(piece.symbols)))
        state, judged = judge_piece(parts, before, piece)
        record_rows(parts, rows_of(parts, judged, as_of, judged.is_anomaly))
        after = Snapshot(piece.symbols, state)
        ts, fields = last_bars(parts, piece.symbols, as_of)
        for i, symbol in enumerate(piece.symbols):
            own = after.take((symbol,)).state
            yield symbol.encode(), sent(symbol, own, ts[i], fields[i], at)
