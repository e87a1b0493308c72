"""What a method told of each bar of some instruments, and the methods themselves."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.ensemble import Ensemble, Judged
from components.market import market_returns
from components.panels import Array, Flags, Ints, pack
from components.sessions import ALWAYS_OPEN, Calendars

T = TypeVar("T")

# Instruments judged together: few, so that memory stays bounded and progress is seen.
TOGETHER = 10

# What is told by default: MEDIUM.
TOLD_LEVEL = 2


class Progress(Protocol):
    """Shows how far a long loop is."""

    def __call__(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Pass ``items`` on, one by one."""


def unseen(items: Iterable[T], total: int, what: str) -> Iterator[T]:  # noqa: ARG001 - as Progress
    """Progress that nobody watches."""
    yield from items


@dataclass(frozen=True)
class Told:
    """What was told; arrays (n_series, n_bars) unless said, padding in front.

    ``surprise`` ranks bars by oddness, NaN where undecided; ``level`` counts votes; ``move``
    is the return and ``scale`` the volatility known before the bar, both fractions;
    ``per_year`` (n_series,) the bars of a year; ``alerts_per_year`` what was stated.
    """

    symbols: tuple[str, ...]
    ts: npt.NDArray[np.datetime64]
    is_alert: Flags
    level: Ints
    surprise: Array
    move: Array
    scale: Array
    per_year: Array
    alerts_per_year: float = math.nan

    def alerts_per_bar(self) -> Array:
        """The stated share of bars that may alert, (n_series,)."""
        return self.alerts_per_year / self.per_year

    @property
    def is_decided(self) -> Flags:
        """Bars on which there is a verdict."""
        return ~np.isnan(self.surprise)

    def place(self, series: int, ts: npt.NDArray[np.datetime64]) -> npt.NDArray[np.intp]:
        """Columns of the first bars at or after ``ts`` of one series; n_bars when none is."""
        row = self.ts[series]
        first = int(np.isnat(row).sum())
        return first + np.searchsorted(row[first:], ts)


def tell(
    ensemble: Ensemble,
    candles: pd.DataFrame,
    calendars: Calendars,
    interval: str = "1d",
    progress: Progress = unseen,
    what: str = "judging",
) -> Told:
    """Judge all candles from the first bar, at the ensemble's own budget.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split. What the instruments of one
        calendar did together is reckoned from these rows.
    """
    candles = with_market(candles, calendars)
    symbols = sorted(candles["symbol"].unique())
    groups = [tuple(symbols[i : i + TOGETHER]) for i in range(0, len(symbols), TOGETHER)]
    rows = dict(tuple(candles.groupby("symbol", sort=False)))
    parts = []
    for group in progress(groups, len(groups), what):
        per_year = np.array([calendars.bars_per_year(symbol, interval) for symbol in group])
        always = [symbol for symbol in group if calendars.of(symbol) == ALWAYS_OPEN]
        panel = pack(pd.concat([rows[symbol] for symbol in group]), group, always)
        rates = ensemble.alerts_per_year / per_year
        _, judged = ensemble.run(ensemble.start(len(group)), panel, rates)
        parts.append(_told(ensemble, judged, per_year))
    return _stacked(parts)


def with_market(candles: pd.DataFrame, calendars: Calendars) -> pd.DataFrame:
    """Add ``market`` and ``market_volume``: what the instruments of the same calendar did."""
    calendar = candles["symbol"].map({s: calendars.of(s) for s in candles["symbol"].unique()})
    parts = []
    for _, rows in candles.groupby(calendar, sort=True):
        market = market_returns(rows).set_index("ts")
        did = {
            "market": rows["ts"].map(market["return"]).astype(float),
            "market_volume": rows["ts"].map(market["volume"]).astype(float),
        }
        parts.append(rows.assign(**did))
    return pd.concat(parts)


def _told(ensemble: Ensemble, judged: Judged, per_year: Array) -> Told:
    return Told(
        symbols=judged.panel.symbols,
        ts=judged.panel.ts,
        is_alert=judged.is_anomaly,
        level=judged.level,
        surprise=_surprise(ensemble, judged),
        move=judged.move,
        scale=judged.scale,
        per_year=per_year,
        alerts_per_year=ensemble.alerts_per_year,
    )


def _surprise(ensemble: Ensemble, judged: Judged) -> Array:
    """The order in which the method would tell bars, were it asked for more or fewer."""
    if not ensemble.keeps_budget:
        return np.where(np.isnan(judged.agreed_p), np.nan, judged.score[0])
    surprise = -np.log(judged.agreed_p)
    # Ranks tie at the extremes: there the score of a lone detector, or the mean surprise of
    # several, decides, by less than any step between two ranks.
    if len(judged.score) == 1:
        second = judged.score[0]
    else:
        each = np.where(np.isnan(judged.p), 1.0, judged.p)
        second = -np.log(each).mean(axis=0)
    second = np.where(np.isnan(surprise) | ~np.isfinite(second), 0.0, np.maximum(second, 0.0))
    ordered: Array = surprise + 1e-7 * second / (1 + second)
    return ordered


def _stacked(parts: list[Told]) -> Told:
    return Told(
        symbols=tuple(symbol for part in parts for symbol in part.symbols),
        ts=_joined([part.ts for part in parts], np.datetime64("NaT", "us")),
        is_alert=_joined([part.is_alert for part in parts], fill=False),
        level=_joined([part.level for part in parts], 0),
        surprise=_joined([part.surprise for part in parts], np.nan),
        move=_joined([part.move for part in parts], np.nan),
        scale=_joined([part.scale for part in parts], np.nan),
        per_year=np.concatenate([part.per_year for part in parts]),
        alerts_per_year=parts[0].alerts_per_year,
    )


def _joined(arrays: list[npt.NDArray[Any]], fill: Any) -> npt.NDArray[Any]:
    """One array of all series, the shorter ones padded in front."""
    n_bars = max(array.shape[1] for array in arrays)
    whole = np.full((sum(len(array) for array in arrays), n_bars), fill, dtype=arrays[0].dtype)
    row = 0
    for array in arrays:
        whole[row : row + len(array), n_bars - array.shape[1] :] = array
        row += len(array)
    return whole


def at_random(told: Told, alerts_per_year: float, seed: int) -> Told:
    """Alerts by the throw of a die on the bars that ``told`` decided, at the stated rate."""
    random = np.random.default_rng([seed, 1])
    score = np.where(told.is_decided, random.random(told.surprise.shape), np.nan)
    with np.errstate(invalid="ignore"):
        is_alert = score > 1 - alerts_per_year / told.per_year[:, None]
    level = np.where(is_alert, TOLD_LEVEL, 0)
    return replace(told, is_alert=is_alert, level=level, surprise=score)
