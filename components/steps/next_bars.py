"""The next bar of an instrument whose state is held: what an API is asked most, without a detour.

Of such a bar nothing is to be read but whether its market has one too. Whatever is not plain (a
doubtful candle, a split behind the last bar, a stored market, an unusual bar that wants reasons)
is left to the long way, which gives the same verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.checks.plain import is_plain
from components.checks.series_checks import dead_after
from components.ensemble import Judged
from components.gaps import steps_behind
from components.panels import FIELDS, Array, CandlePanel, Flags, Ints
from components.sessions import ALWAYS_OPEN, length
from components.steps.held_states import Held, HeldStates
from components.steps.parts import Parts

HAS_MARKET = """
select watch_list, ts from market
where watch_list = any(%(calendars)s) and "interval" = %(interval)s and ts = any(%(ts)s)
"""

NUMBERS = ("open", "high", "low", "close", "volume", "vwap")


@dataclass(frozen=True)
class NextBars:
    """Judges next bars together; the same instrument may be asked of more than once."""

    parts: Parts
    held: HeldStates

    def judge(self, bars: Sequence[pd.DataFrame], now: pd.Timestamp) -> list[Judged | None]:
        """What is found of each bar, each a frame of one row; None where the long way must go."""
        if not bars:
            return []
        rows = pd.concat(bars, ignore_index=True) if len(bars) > 1 else bars[0]
        symbols = tuple(rows["symbol"])
        held = self.held.each(tuple(dict.fromkeys(symbols)), now)
        own = [held[symbol] for symbol in symbols]
        plain = np.flatnonzero(self._is_plain(rows, own, now))
        found: list[Judged | None] = [None] * len(bars)
        if len(plain):
            judged = self._judged(rows.iloc[plain], [own[i] for i in plain])
            for place, at in enumerate(plain):
                if not judged.is_anomaly[place].any():
                    found[at] = _one(judged, place)
        return found

    def _is_plain(self, rows: pd.DataFrame, own: list[Held], now: pd.Timestamp) -> Flags:
        close = np.array([each.state.state["channels.close"].ravel()[-1] for each in own], float)
        last = np.array([each.state.state["last_ts"][0] for each in own], "M8[us]")
        ts = rows["ts"].dt.tz_convert(None).to_numpy().astype("M8[us]")
        most_idle = dead_after(self.parts.watch.interval)
        plain = is_plain(rows, close, np.full(len(rows), most_idle), most_idle)
        # Nothing compares with NaT: an instrument that is not known goes the long way.
        plain &= ts > last
        plain &= ~np.array([each.has_actions for each in own])
        return plain & self._is_on_time(rows, now) & ~self._has_market(rows)

    def _is_on_time(self, rows: pd.DataFrame, now: pd.Timestamp) -> Flags:
        calendars, interval = self.parts.calendars, self.parts.watch.interval
        ts = pd.DatetimeIndex(rows["ts"])
        found = np.asarray(ts + length(interval) <= now, dtype=np.bool_)
        for symbol, at in self._by_calendar(rows):
            found[at] &= calendars.on_grid(symbol, interval, ts[at])
            if calendars.of(symbol) != ALWAYS_OPEN:
                found[at] &= calendars.is_regular(symbol, interval, ts[at])
        return found

    def _by_calendar(self, rows: pd.DataFrame) -> list[tuple[str, Ints]]:
        """An instrument of each calendar, and where the bars of that calendar are."""
        symbols = rows["symbol"].tolist()
        of = np.array([self.parts.calendars.of(symbol) for symbol in symbols])
        places = [np.flatnonzero(of == name) for name in sorted(set(of))]
        return [(symbols[at[0]], at) for at in places]

    def _has_market(self, rows: pd.DataFrame) -> Flags:
        of = [self.parts.calendars.of(symbol) for symbol in rows["symbol"]]
        asked = {
            "calendars": sorted(set(of)),
            "interval": self.parts.watch.interval,
            "ts": [ts.to_pydatetime() for ts in rows["ts"].unique()],
        }
        with self.parts.warehouse.transaction() as cursor:
            cursor.execute(HAS_MARKET, asked)
            stored = set(cursor.fetchall())
        bars = zip(of, rows["ts"].dt.to_pydatetime(), strict=True)
        return np.array([bar in stored for bar in bars])

    def _judged(self, rows: pd.DataFrame, own: list[Held]) -> Judged:
        symbols = tuple(rows["symbol"])
        states = [each.state.state for each in own]
        before = {name: np.concatenate([s[name] for s in states]) for name in states[0]}
        fields = np.full((len(symbols), 1, len(FIELDS)), np.nan)
        for name in NUMBERS:
            fields[:, 0, FIELDS.index(name)] = rows[name].to_numpy(dtype=float)
        fields[:, 0, FIELDS.index("split")] = 1.0
        fields[:, 0, FIELDS.index("steps")] = self._steps(rows, before["last_ts"])
        calendars = self.parts.calendars
        open_ones = frozenset(s for s in symbols if calendars.of(s) == ALWAYS_OPEN)
        ts = rows["ts"].dt.tz_convert(None).to_numpy().astype("M8[us]")[:, None]
        per_year = [calendars.bars_per_year(s, self.parts.watch.interval) for s in symbols]
        rates = self.parts.ensemble.alerts_per_year / np.array(per_year, dtype=float)
        panel = CandlePanel(symbols, ts, fields, open_ones)
        return self.parts.ensemble.run(before, panel, rates)[1]

    def _steps(self, rows: pd.DataFrame, last: npt.NDArray[np.datetime64]) -> Array:
        """How many bars each is behind the last; each row stands for itself."""
        interval, calendars = self.parts.watch.interval, self.parts.calendars
        steps = np.ones(len(rows))
        ts = pd.DatetimeIndex(rows["ts"])
        after = pd.DatetimeIndex(last, tz="UTC").as_unit("us")
        for symbol, at in self._by_calendar(rows):
            steps[at] = steps_behind(calendars, interval, symbol, after[at], ts[at])
        return steps


# Arrays of ``Judged``: (n_series, n_bars), and those with an axis before it.
BY_BAR = (
    *("agreed_p", "votes", "voters", "vote_p", "level", "rate", "is_anomaly", "is_stale"),
    *("bars_lacking", "body", "move", "scale", "market_part", "residual_p"),
)
BY_VIEW = ("score", "p", "n_reference", "channels")


def _one(judged: Judged, place: int) -> Judged:
    """What was found of one series of a panel."""
    at = slice(place, place + 1)
    panel = judged.panel
    own = CandlePanel(panel.symbols[at], panel.ts[at], panel.fields[at], panel.round_the_clock)
    bars = {name: getattr(judged, name)[at] for name in BY_BAR}
    views = {name: getattr(judged, name)[:, at] for name in BY_VIEW}
    parameters = judged.parameters[at]
    return replace(judged, panel=own, parameters=parameters, seen=None, **bars, **views)
