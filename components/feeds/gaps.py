"""Which bars of a stream did not come: pure bookkeeping in microseconds since 1970."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

EPOCH: Final = pd.Timestamp("1970-01-01", tz="UTC").as_unit("us")
MICROSECOND: Final = pd.Timedelta(microseconds=1)

DAY_US: Final = 86_400_000_000

# A day of minutes is asked for at once, of longer bars as many.
BARS_AT_ONCE = 1440


def us_of(instant: pd.Timestamp) -> int:
    """Microseconds since 1970 of an instant."""
    return int((instant - EPOCH) // MICROSECOND)


def instant_of(us: int) -> pd.Timestamp:
    """The instant of so many microseconds since 1970, UTC."""
    return EPOCH + us * MICROSECOND


@dataclass(frozen=True)
class Span:
    """Bars of one symbol that are wanted: opens in [since, until).

    ``tries`` counts how often they were asked for in vain; before ``due`` (s, of the loop's
    clock) they are not asked for again. While one ``holds``, what came later has to wait.
    """

    symbol: str
    since: int
    until: int
    tries: int = 0
    due: float = 0.0
    holds: bool = True


class Frontier:
    """Up to where each symbol is accounted for: its bars came, or are wanted.

    Parameters
    ----------
    since : mapping of str to int
        The open of the first bar that is wanted, by symbol.
    step : int
        The bars' length.
    is_gapless : bool
        Whether a bar that is skipped is missing.
    """

    def __init__(self, since: Mapping[str, int], step: int, *, is_gapless: bool) -> None:
        self._ahead = {symbol: -(-first // step) * step for symbol, first in since.items()}
        self._step, self._is_gapless = step, is_gapless

    def cut(self, symbols: Iterable[str], now: int) -> list[Span]:
        """Give what closed unheard by ``now``, when a connection begins anew."""
        closed = now // self._step * self._step
        spans = [Span(s, self._ahead[s], closed) for s in symbols if self._ahead[s] < closed]
        self._ahead.update({span.symbol: closed for span in spans})
        return spans

    def heard(self, symbol: str, ts: int) -> Span | None:
        """Take note of a candle; give what it shows to have been skipped."""
        ahead = self._ahead[symbol]
        self._ahead[symbol] = max(ahead, ts + self._step)
        return Span(symbol, ahead, ts) if self._is_gapless and ts > ahead else None


class Wanted:
    """The spans that are still to be asked for, one a symbol; so they never pile up.

    What lies between two gaps is asked for with them: a bar may come twice, but not never.
    """

    def __init__(self, step: int) -> None:
        self._spans: dict[str, Span] = {}
        self._window = max(DAY_US, BARS_AT_ONCE * step)

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, span: Span) -> None:
        """Want these bars, joined with what is wanted of the symbol already."""
        old = self._spans.get(span.symbol)
        self._spans[span.symbol] = span if old is None else _joined(old, span)

    def next_due(self) -> float:
        """When the next of them may be asked for, s; infinity when nothing is wanted."""
        return min((span.due for span in self._spans.values()), default=float("inf"))

    def holds(self) -> bool:
        """Whether any of them lets later candles wait."""
        return any(span.holds for span in self._spans.values())

    def let_go(self) -> None:
        """Let nothing wait for them any longer."""
        self._spans = {s: replace(span, holds=False) for s, span in self._spans.items()}

    def take(self, now: float) -> list[tuple[Span, Span | None]]:
        """Take what is asked for next, each with what is left of it for later.

        The least tried come first, of these the oldest day, so that a symbol that cannot be had
        keeps no other from going on, and days come in their order.
        """
        due = [span for span in self._spans.values() if span.due <= now]
        if not due:
            return []
        fewest = min(span.tries for span in due)
        first = min(span.since for span in due if span.tries == fewest)
        end = (first // self._window + 1) * self._window
        taken = [span for span in due if span.tries == fewest and span.since < end]
        for span in taken:
            del self._spans[span.symbol]
        return [_cut(span, end) for span in taken]


def _cut(span: Span, end: int) -> tuple[Span, Span | None]:
    if span.until <= end:
        return span, None
    return replace(span, until=end), replace(span, since=end)


def _joined(old: Span, new: Span) -> Span:
    return Span(
        new.symbol,
        min(old.since, new.since),
        max(old.until, new.until),
        min(old.tries, new.tries),
        min(old.due, new.due),
        old.holds or new.holds,
    )
