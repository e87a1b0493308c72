"""Bars in order to verdicts: gaps, the market's move, the ensemble; all state carried."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from components.carried import State
from components.ensemble import Ensemble, Judged
from components.gaps import with_steps
from components.panels import Array, pack
from components.sessions import ALWAYS_OPEN, Calendars
from components.streaming.market_scan import MarketScan, MarketState, beside, start_scan


@dataclass(frozen=True)
class StreamState:
    """What the stream remembers: the ensemble's state, and that of each calendar's market."""

    judge: State
    markets: Mapping[str, MarketState]


@dataclass(frozen=True)
class Found:
    """What was found in some bars: ``judged``, and ``market``, rows of that table."""

    judged: Judged
    market: pd.DataFrame


@dataclass(frozen=True)
class StreamJudge:
    """Judges bars as they come, exactly as a batch over the same bars does.

    Parameters
    ----------
    symbols : tuple of str
        The watch list, sorted: the order of the state's arrays.
    """

    ensemble: Ensemble
    calendars: Calendars
    interval: str
    symbols: tuple[str, ...]

    def start(self) -> StreamState:
        """The state before the first bar."""
        markets = {name: start_scan(len(own)) for name, own in self.members.items()}
        return StreamState(self.ensemble.start(len(self.symbols)), markets)

    def run(self, state: StreamState, rows: pd.DataFrame) -> tuple[StreamState, Found]:
        """Judge bars that are all newer than the state.

        Parameters
        ----------
        rows : DataFrame
            symbol, ts, open, high, low, close, volume, vwap and ``split`` (new shares per old one
            since the bar before), bars of regular hours, in any order.
        """
        after = pd.Series(
            pd.DatetimeIndex(state.judge["last_ts"], tz="UTC").as_unit("us"), index=self.symbols
        )
        rows = with_steps(self.calendars, self.interval, rows, after)
        calendar = rows["symbol"].map(self._calendar_of)
        markets, tables, parts = dict(state.markets), [], []
        for name in sorted(calendar.unique()):
            own = rows[calendar == name]
            markets[name], market = self.market(name, state.markets[name], own)
            parts.append(beside(own, market))
            tables.append(market.drop(columns="steps").assign(watch_list=name))
        rows = pd.concat(parts) if len(parts) > 1 else parts[0]
        panel = pack(rows, self.symbols, self.round_the_clock)
        judge, judged = self.ensemble.run(state.judge, panel, self.rates)
        market = pd.concat(tables, ignore_index=True).assign(interval=self.interval)
        return StreamState(judge, markets), Found(judged, market)

    def market(
        self, name: str, state: MarketState, rows: pd.DataFrame
    ) -> tuple[MarketState, pd.DataFrame]:
        """The market's next bars, with ``steps`` since the one before."""
        scan, members = self._scans[name], self.members[name]
        state, found = scan.moves(state, pack(rows, members, self.round_the_clock))
        last = pd.Series(pd.DatetimeIndex([state.last], tz="UTC").as_unit("us"), index=members[:1])
        found = with_steps(self.calendars, self.interval, found.assign(symbol=members[0]), last)
        return scan.judged(state, found.drop(columns="symbol"))

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The instruments of each calendar, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for symbol in self.symbols:
            name = self.calendars.of(symbol)
            found[name] = (*found.get(name, ()), symbol)
        return found

    @cached_property
    def rates(self) -> Array:
        """The stated share of bars that may alert, (n_symbols,)."""
        return np.array([self._rate(symbol) for symbol in self.symbols])

    @cached_property
    def _calendar_of(self) -> dict[str, str]:
        return {symbol: self.calendars.of(symbol) for symbol in self.symbols}

    @cached_property
    def _scans(self) -> dict[str, MarketScan]:
        return {name: MarketScan(self._rate(own[0])) for name, own in self.members.items()}

    @cached_property
    def round_the_clock(self) -> frozenset[str]:
        """The instruments whose market never closes."""
        return frozenset(s for s, name in self._calendar_of.items() if name == ALWAYS_OPEN)

    def _rate(self, symbol: str) -> float:
        per_year = self.calendars.bars_per_year(symbol, self.interval)
        return self.ensemble.alerts_per_year / per_year
