"""Prefix replay: a judge sees no future, no unit of money and no split; pure.

Of random (symbol, bar) pairs the data up to the bar alone are judged, and must give, bit for
bit, the verdicts and scores that the whole history gave those bars. With all prices a thousand
times as high, or restated for a split, every verdict must stay.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.ensemble import Ensemble, Judged
from components.panels import Array, pack
from components.verdicts import score_rows, verdict_rows

PRICES = ["open", "high", "low", "close"]

# What a verdict is, its numbers apart: a thousandfold price moves their last bits.
VERDICT = ["verdict", "level", "state", "votes", "voters"]

# The restated split: new shares per old share.
RATIO = 4.0

EPOCH = pd.Timestamp(0, tz="UTC")


@dataclass(frozen=True)
class Disagreement:
    """One pair for which a law does not hold, and what differs first."""

    law: str
    symbol: str
    until: pd.Timestamp
    what: str

    def __str__(self) -> str:
        return f"{self.law}: {self.symbol} up to {self.until:%Y-%m-%d %H:%M}: {self.what}"


@dataclass(frozen=True)
class Agreement:
    """How many pairs were tried, and where a law did not hold."""

    n_pairs: int
    n_bars: int
    disagreements: tuple[Disagreement, ...]

    @property
    def n_agreed(self) -> int:
        """Pairs for which every law holds."""
        return self.n_pairs - len({(d.symbol, d.until) for d in self.disagreements})


def draw(candles: pd.DataFrame, n_pairs: int, seed: int) -> list[tuple[str, pd.Timestamp]]:
    """Draw ``n_pairs`` bars, all bars alike: (symbol, ts), sorted."""
    rows = candles[["symbol", "ts"]].sort_values(["symbol", "ts"], kind="stable")
    chosen = np.random.default_rng(seed).choice(
        len(rows), size=min(n_pairs, len(rows)), replace=False
    )
    picked = rows.iloc[np.sort(chosen)]
    return list(zip(picked["symbol"], picked["ts"], strict=True))


def agreement(
    ensemble: Ensemble,
    candles: pd.DataFrame,
    rates: dict[str, float],
    pairs: Iterable[tuple[str, pd.Timestamp]],
    *,
    round_the_clock: Collection[str] = (),
) -> Agreement:
    """Try the laws on pairs.

    Parameters
    ----------
    ensemble : Ensemble
        The judge.
    candles : DataFrame
        One row a (symbol, ts): open, high, low, close, volume, split, and ``market`` where it
        is known. An instrument is judged alone: series do not see each other, and the market's
        return is an input.
    rates : dict
        Stated share of bars that may alert, by symbol.
    pairs : iterable of (symbol, ts)
        Up to and including which bar; an instrument's pairs together. Its history is split at
        the first of them.
    round_the_clock : collection of str
        Instruments whose market never closes.
    """
    by_symbol = dict(iter(candles.groupby("symbol", sort=False)))
    last, n_pairs, n_bars = "", 0, 0
    whole, scaled, restated = pd.DataFrame(), pd.DataFrame(), pd.DataFrame()
    found: list[Disagreement] = []
    for symbol, until in pairs:

        def judged(rows: pd.DataFrame, of: str = symbol) -> pd.DataFrame:
            return _judged(ensemble, rows, of, rates[of], round_the_clock)

        rows = by_symbol[symbol].sort_values("ts", kind="stable")
        if symbol != last:
            last, whole, scaled = symbol, judged(rows), judged(_scaled(rows, 1000.0))
            restated = judged(_split_at(rows, until))
        prefix = rows[rows["ts"] <= until]
        n_pairs, n_bars = n_pairs + 1, n_bars + len(prefix)
        laws = {
            "data up to the day": (judged(prefix), whole, list(whole.columns)),
            "prices times 1000": (scaled, whole, VERDICT),
            "a restated 4-for-1 split": (restated, whole, VERDICT),
        }
        for law, (ours, theirs, columns) in laws.items():
            what = _first_difference(ours, theirs.iloc[: len(ours)], columns)
            if what:
                found.append(Disagreement(law, symbol, until, what))
    return Agreement(n_pairs, n_bars, tuple(found))


def _judged(
    ensemble: Ensemble, rows: pd.DataFrame, symbol: str, rate: float, always: Collection[str]
) -> pd.DataFrame:
    """Judge one instrument from its first bar: a row a bar, every verdict and score column."""
    panel = pack(rows, (symbol,), frozenset(always) & {symbol})
    _, judged = ensemble.run(ensemble.start(1), panel, np.full(1, rate))
    return _wide(judged, ensemble)


def _wide(judged: Judged, ensemble: Ensemble) -> pd.DataFrame:
    verdicts = verdict_rows(judged, ensemble.name, "1d", EPOCH).drop(columns="known_at")
    scores = score_rows(judged, ensemble.detectors, "1d", EPOCH)
    wide = scores.pivot_table(
        index="ts", columns="detector", values=["score", "p", "n_reference"], sort=True
    )
    wide.columns = pd.Index([" of ".join(names) for names in wide.columns])
    every = [f"{v} of {d}" for v in ("score", "p", "n_reference") for d in ensemble.detectors]
    return verdicts.join(wide.reindex(columns=every), on="ts")


def _scaled(rows: pd.DataFrame, factor: float) -> pd.DataFrame:
    return rows.assign(**{name: rows[name] * factor for name in PRICES})


def _split_at(rows: pd.DataFrame, ts: pd.Timestamp) -> pd.DataFrame:
    """The same history if the shares had been split at ``ts``: as traded before it, and told."""
    before, at = (rows["ts"] < ts).to_numpy(), (rows["ts"] == ts).to_numpy()
    traded: dict[str, Array] = {
        name: np.where(before, rows[name] * RATIO, rows[name]) for name in PRICES
    }
    volume = np.where(before, rows["volume"] / RATIO, rows["volume"])
    # A split before the first bar is none: nothing was traded at the old price.
    split = np.where(at & before.any(), rows["split"] * RATIO, rows["split"])
    return rows.assign(**traded, volume=volume, split=split)


def _first_difference(ours: pd.DataFrame, theirs: pd.DataFrame, columns: list[str]) -> str:
    if len(ours) != len(theirs):
        return f"{len(ours)} bars judged, {len(theirs)} in the full run"
    for name in columns:
        if name not in theirs:
            continue
        a, b = ours[name].to_numpy(), theirs[name].to_numpy()
        differs = (a != b) & ~(pd.isna(a) & pd.isna(b))
        if differs.any():
            at = int(np.argmax(differs))
            bar = pd.Timestamp(theirs["ts"].iloc[at])
            return f"{name} of {bar:%Y-%m-%d} is {a[at]!r}, {b[at]!r} in the full run"
    return ""
