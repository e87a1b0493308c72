"""The carried states of instruments, held in memory between requests."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components.carried import Snapshot
from components.steps.carrying import read_group
from components.steps.judging import judge_piece, recall
from components.steps.parts import Parts
from components.tables import ACTIONS

# Instruments whose state is held, of 150 kB each; and groups of them just read.
MOST_HELD, MOST_GROUPS = 2_000, 4

NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Held:
    """The state of one instrument, and the newest stored bar behind which it is.

    ``has_actions``: a split or a dividend is stored behind its last bar.
    """

    state: Snapshot
    newest: pd.Timestamp | None
    has_actions: bool


class HeldStates:
    """The states asked for last, each brought behind all that is stored of its instrument."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._groups: OrderedDict[tuple[int, str], Snapshot] = OrderedDict()

    def forget(self) -> None:
        """Let go of all: something of their past has changed, or the lake's states have."""
        self._held.clear()

    def of(self, symbols: tuple[str, ...], now: pd.Timestamp) -> Snapshot:
        """The state of each instrument; the blank one where nothing is stored."""
        held = self.each(symbols, now)
        states = [held[symbol].state.state for symbol in symbols]
        if len(states) == 1:
            return Snapshot(symbols, states[0])
        return Snapshot(symbols, {k: np.concatenate([s[k] for s in states]) for k in states[0]})

    def each(self, symbols: tuple[str, ...], now: pd.Timestamp) -> dict[str, Held]:
        """What is held of each instrument, made first where something new is stored."""
        newest = self._parts.warehouse.last_ts(symbols, self._parts.watch.interval, now)
        lacking = [s for s in symbols if s not in self._held or self._is_behind(s, newest)]
        if lacking:
            self._recall(tuple(sorted(lacking)), newest, now)
        found = {}
        for symbol in symbols:
            self._held.move_to_end(symbol)
            found[symbol] = self._held[symbol]
        while len(self._held) > MOST_HELD:
            self._held.popitem(last=False)
        return found

    def _is_behind(self, symbol: str, newest: dict[str, pd.Timestamp]) -> bool:
        return self._held[symbol].newest != newest.get(symbol)

    def _recall(
        self, symbols: tuple[str, ...], newest: dict[str, pd.Timestamp], now: pd.Timestamp
    ) -> None:
        """Bring states behind all that is stored, as the daily run does, and hold them."""
        parts = replace(self._parts, watch=replace(self._parts.watch, symbols=symbols))
        ledger, pieces = recall(parts, now)
        found: dict[str, Snapshot] = {}
        for piece in pieces:
            before = blank(parts, piece.symbols)
            if not piece.from_start:
                kept = self._group(ledger, piece.group)
                before = before if kept is None else kept.take(piece.symbols)
            state, _ = judge_piece(parts, before, piece)
            after = Snapshot(piece.symbols, state)
            found |= {symbol: after.take((symbol,)) for symbol in piece.symbols}
        states = {symbol: found.get(symbol) or self._as_kept(ledger, symbol) for symbol in symbols}
        acted = self._with_actions(states, now)
        for symbol, own in states.items():
            self._held[symbol] = Held(own, newest.get(symbol), symbol in acted)

    def _with_actions(self, states: dict[str, Snapshot], now: pd.Timestamp) -> set[str]:
        """The instruments with an action behind the last bar that was judged."""
        last = pd.concat([last_bars(state) for state in states.values()])
        since = last.min() if last.notna().all() else None
        rows = self._parts.warehouse.read(ACTIONS, symbols=list(states), since=since, as_of=now)
        return set(rows.loc[~(rows["ts"] <= rows["symbol"].map(last)), "symbol"])

    def _as_kept(self, ledger: Snapshot, symbol: str) -> Snapshot:
        """The state of an instrument of which nothing is new."""
        at = ledger.symbols.index(symbol)
        kept = self._group(ledger, int(ledger.state["group"][at]))
        is_there = kept is not None and symbol in kept.symbols
        return kept.take((symbol,)) if kept and is_there else blank(self._parts, (symbol,))

    def _group(self, ledger: Snapshot, group: int) -> Snapshot | None:
        written = ledger.state["written"][ledger.state["group"] == group]
        key = (group, str(written[~np.isnat(written)].max(initial=np.datetime64(0, "us"))))
        if key not in self._groups:
            kept = read_group(self._parts, ledger, group)
            if kept is None:
                return None
            self._groups[key] = kept
            while len(self._groups) > MOST_GROUPS:
                self._groups.popitem(last=False)
        return self._groups[key]


def blank(parts: Parts, symbols: tuple[str, ...]) -> Snapshot:
    """The state before the first bar."""
    return Snapshot(symbols, parts.ensemble.start(len(symbols)))


def last_bars(before: Snapshot) -> "pd.Series[pd.Timestamp]":
    """Each instrument's last judged bar; NaT before the first."""
    last = pd.DatetimeIndex(before.state["last_ts"], tz="UTC").as_unit("us")
    return pd.Series(last, index=before.symbols)
