"""A tape: an instrument's stored bars in order, with what each view said of each of them. Pure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from components.panels import Array, Ints
from components.reading.live import Stored

# What a view said of a bar.
VOTES, QUIET, ABSTAINS, UNSTORED = 1, 0, -1, -2


@dataclass(frozen=True)
class Tape:
    """Bars of one instrument, oldest first.

    Parameters
    ----------
    bars : DataFrame
        ts, open, high, low, close, volume, verdict, level, state, votes, voters, vote_p, p,
        return, bars_lacking; verdict is "" of a bar that was not judged.
    views : tuple of str
    lamps : (n_bars, n_views) ints
        ``VOTES``, ``QUIET``, ``ABSTAINS`` or ``UNSTORED``.
    view_p : (n_bars, n_views) floats
        The view's p; NaN where none is stored.
    """

    symbol: str
    interval: str
    bars: pd.DataFrame
    views: tuple[str, ...]
    lamps: Ints
    view_p: Array

    def __len__(self) -> int:
        """How many bars there are."""
        return len(self.bars)


def tape_of(symbol: str, interval: str, stored: Stored) -> Tape:
    """Put what is stored of an instrument's bars side by side."""
    bars = stored.candles.merge(stored.verdicts, on="ts", how="left")
    bars = bars.assign(
        verdict=bars["verdict"].fillna(""),
        level=bars["level"].fillna(0).astype("int64"),
        **{name: bars[name].astype("float64") for name in ("votes", "voters", "vote_p", "p")},
    )
    scores, views = stored.scores, _views(stored)
    view_p = np.full((len(bars), len(views)), np.nan)
    bar = pd.Index(bars["ts"]).get_indexer(pd.Index(scores["ts"]))
    is_here = bar >= 0
    view = views.get_indexer(pd.Index(scores["detector"]))
    view_p[bar[is_here], view[is_here]] = scores["p"].to_numpy(dtype=float)[is_here]
    with np.errstate(invalid="ignore"):
        is_vote = view_p <= bars["vote_p"].to_numpy()[:, None]
    # A bar of which any score is stored has all that there were; of an undecided one none was.
    is_stored = (bars["ts"].isin(scores["ts"]) | (bars["verdict"] == "undecided")).to_numpy()
    lamps = np.select(
        [is_vote, ~np.isnan(view_p), np.broadcast_to(is_stored[:, None], view_p.shape)],
        [VOTES, QUIET, ABSTAINS],
        UNSTORED,
    )
    return Tape(symbol, interval, bars, tuple(map(str, views)), lamps.astype(np.int64), view_p)


def _views(stored: Stored) -> "pd.Index[str]":
    """Who judged: those of the judges' names, a trained one too of which scores are stored."""
    named = stored.verdicts["judge"].drop_duplicates().str.split("+").explode()
    every = [*named, *stored.scores["detector"].unique()]
    return pd.Index(list(dict.fromkeys(map(str, every))), dtype=object)


@dataclass(frozen=True)
class Reel:
    """Tapes that are played together: their candles one by one, in the order of their bars."""

    tapes: tuple[Tape, ...]

    @cached_property
    def order(self) -> Ints:
        """Of which tape each next candle is, (n_candles,)."""
        ts = np.concatenate([tape.bars["ts"].to_numpy() for tape in self.tapes])
        of = np.repeat(np.arange(len(self.tapes)), [len(tape) for tape in self.tapes])
        found: Ints = of[np.argsort(ts, kind="stable")]
        return found

    def shown(self, n_candles: int) -> Ints:
        """How many bars of each tape are shown once so many candles were, (n_tapes,)."""
        found: Ints = np.bincount(self.order[:n_candles], minlength=len(self.tapes))
        return found

    def __len__(self) -> int:
        """How many candles there are."""
        return sum(map(len, self.tapes))
