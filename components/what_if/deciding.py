"""Votes cast once, and decided anew by the code that decides in the daily run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.calibration import KeptRate
from components.ensemble import Cast, Decided, Ensemble
from components.features import price
from components.incidents import gap_of
from components.panels import Array, CandlePanel, Flags


@dataclass(frozen=True)
class Votes:
    """The cast votes of instruments from their first bars; arrays (n_series, n_bars).

    ``move`` is the return and ``scale`` the volatility known before the bar, both fractions;
    ``per_year`` (n_series,) the bars of a year.
    """

    symbols: tuple[str, ...]
    interval: str
    ts: npt.NDArray[np.datetime64]
    cast: Cast
    move: Array
    scale: Array
    per_year: Array

    @property
    def n_bars(self) -> int:
        """Bars of all instruments."""
        return int((~np.isnat(self.ts)).sum())


def weighed(ensemble: Ensemble, panel: CandlePanel, per_year: Array, interval: str) -> Votes:
    """The votes of an ensemble's detectors on a panel that begins with the first bars."""
    state = ensemble.start(len(panel.symbols))
    _, found = ensemble.weigh(state, panel)
    return Votes(
        symbols=panel.symbols,
        interval=interval,
        ts=panel.ts,
        cast=found.cast,
        move=price.close_return(panel, state["channels.close"].astype(float)),
        scale=found.channelled.scale,
        per_year=per_year,
    )


@dataclass(frozen=True)
class Outcome:
    """What an ensemble decides of votes: of each part of the instruments, in their order."""

    ensemble: Ensemble
    votes: tuple[Votes, ...]
    decided: tuple[Decided, ...]


def decide(ensemble: Ensemble, votes: Sequence[Votes]) -> Outcome:
    """Decide at the ensemble's rate and quorum what its detectors voted.

    Raises
    ------
    SettingsError
        The rate is one that no history resolves.
    """
    for per_year in sorted({float(n) for each in votes for n in each.per_year}):
        ensemble.require_resolvable(per_year)
    found = [
        ensemble.decide(
            KeptRate().start(len(each.symbols)),
            each.cast,
            ensemble.alerts_per_year / each.per_year,
        )[1]
        for each in votes
    ]
    return Outcome(ensemble, tuple(votes), tuple(found))


def told_bars(outcome: Outcome, since: pd.Timestamp) -> pd.DataFrame:
    """The bars from ``since`` on that would have been told, by ts and symbol.

    Columns symbol, ts, kind, level, p, return, scale, and ``follows``: whether the bar before
    was told as well (of bars shorter than a day: one within the hour), so that both are one
    incident.
    """
    tables = [
        _told_bars(votes, decided)
        for votes, decided in zip(outcome.votes, outcome.decided, strict=True)
    ]
    rows = pd.concat(tables, ignore_index=True)
    return rows[rows["ts"] >= since].sort_values(["ts", "symbol"], ignore_index=True)


def _told_bars(votes: Votes, decided: Decided) -> pd.DataFrame:
    series, bars = np.nonzero(decided.is_anomaly)
    return pd.DataFrame(
        {
            "symbol": np.array(votes.symbols, dtype=object)[series],
            "ts": pd.DatetimeIndex(votes.ts[series, bars], tz="UTC"),
            "kind": "anomaly",
            "level": decided.level[series, bars],
            "p": decided.agreed_p[series, bars],
            "return": votes.move[series, bars],
            "scale": votes.scale[series, bars],
            "follows": _follows(votes, decided.is_anomaly)[series, bars],
        }
    )


def _follows(votes: Votes, is_anomaly: Flags) -> Flags:
    """Which bars continue an incident: behind an anomaly, or within the gap that one lasts."""
    follows = np.zeros_like(is_anomaly)
    follows[:, 1:] = is_anomaly[:, :-1]
    series, bars = np.nonzero(is_anomaly)
    is_near = np.diff(votes.ts[series, bars]) <= gap_of(votes.interval).to_timedelta64()
    is_near &= series[1:] == series[:-1]
    follows[series[1:], bars[1:]] |= is_near
    return follows


def lived(outcome: Outcome, since: pd.Timestamp) -> pd.DataFrame:
    """Instrument-years with a verdict from ``since`` on: symbol, year, ``years``."""
    tables = [
        _lived(votes, decided, since)
        for votes, decided in zip(outcome.votes, outcome.decided, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def _lived(votes: Votes, decided: Decided, since: pd.Timestamp) -> pd.DataFrame:
    series, bars = np.nonzero(within(votes, decided, since))
    years = votes.ts[series, bars].astype("datetime64[Y]").astype(int) + 1970
    first = int(years.min(initial=9999))
    width = int(years.max(initial=first)) - first + 1
    counts = np.zeros((len(votes.symbols), width), dtype=np.int64)
    np.add.at(counts, (series, years - first), 1)
    at, year = np.nonzero(counts)
    return pd.DataFrame(
        {
            "symbol": np.array(votes.symbols, dtype=object)[at],
            "year": year + first,
            "years": counts[at, year] / votes.per_year[at],
        }
    )


def within(votes: Votes, decided: Decided, since: pd.Timestamp) -> Flags:
    """Bars from ``since`` on with a verdict."""
    from_ = np.datetime64(since.tz_convert(None).to_datetime64())
    within: Flags = ~np.isnan(decided.agreed_p) & (votes.ts >= from_)
    return within
