"""What a stream missed, from the source of the same provider: its REST API or its archive."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from components.feeds.base import COLUMNS, NUMBERS, Refill, frame_of
from components.records import CandleRequest
from components.sessions import Calendars
from components.sources.base import Source


def refill_of(source: Source, interval: str, calendars: Calendars | None = None) -> Refill:
    """Make the question for missed bars out of a source of candles.

    Several threads may ask at once, as many as ``source.traits.at_once``.
    """
    return _Refill(source, interval, calendars or Calendars(of_venue=source.traits.calendar))


@dataclass(frozen=True)
class _Refill:
    source: Source
    interval: str
    calendars: Calendars

    def __call__(
        self, symbols: Sequence[str], since: pd.Timestamp, until: pd.Timestamp
    ) -> pd.DataFrame:
        """Give the bars that open in [since, until) and had closed by ``until``.

        Raises
        ------
        SourceError
            As the source says it, for the first symbol that it does not answer.
        """
        tables = [self._bars(symbol, since, until) for symbol in symbols]
        filled = [table for table in tables if len(table)]
        return pd.concat(filled, ignore_index=True) if filled else frame_of(())

    def _bars(self, symbol: str, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        request = CandleRequest(symbol, self.interval, since, until, as_of=until)
        pieces = self.source.pieces(request)
        parsed = [self.source.parse(self.source.fetch(piece)).candles for piece in pieces]
        parsed = [rows for rows in parsed if len(rows)]
        if not parsed:
            return frame_of(())
        rows = pd.concat(parsed, ignore_index=True)
        rows = rows[(rows["ts"] >= since) & (rows["ts"] < until)]
        closes = self.calendars.closes(symbol, self.interval, pd.DatetimeIndex(rows["ts"]))
        rows = rows[closes <= until].assign(symbol=symbol)
        return rows.astype(dict.fromkeys(NUMBERS, "float64"))[COLUMNS]
