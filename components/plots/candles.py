"""Candles with their volume, what was usual before each, and the judged one marked; pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.panels import Array, Flags
from components.plots.inks import BAND, BLUE, GREY, RED, framed, plain
from components.words import is_daily, moment, percent

# The band's half width in units of the volatility known before the bar.
USUAL = 2.0

# By level, the marker of a judged bar: its shape alone tells them apart.
MARKERS = {1: "circle-open", 2: "diamond", 3: "star"}


@dataclass(frozen=True)
class Judged:
    """The bar to mark: where it is, its level and what is written beside it."""

    ts: pd.Timestamp
    level: int
    word: str


def figure(bars: pd.DataFrame, interval: str, judged: Judged | None = None) -> go.Figure:
    """Candles above, volume below, with the band of what was usual before each bar.

    Parameters
    ----------
    bars : DataFrame
        Oldest first: ts (UTC), open, high, low, close, volume; with ``scale``, the volatility
        known before the bar, a band is drawn.
    """
    drawn = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.04
    )
    at = bars["ts"].dt.tz_localize(None)
    if "scale" in bars:
        _add_band(drawn, bars, at)
    drawn.add_candlestick(
        x=at, open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"],
        increasing={"line": {"color": BLUE, "width": 1.4}, "fillcolor": "rgba(0,0,0,0)"},
        decreasing={"line": {"color": RED, "width": 1.4}, "fillcolor": RED},
        name="hollow: closed up, full: down", row=1, col=1,
    )  # fmt: skip
    drawn.add_bar(
        x=at, y=bars["volume"], marker={"color": GREY, "line": {"width": 0}}, name="volume",
        showlegend=False, hovertemplate="%{x}<br>volume %{y:,.0f}<extra></extra>", row=2, col=1,
    )  # fmt: skip
    if judged is not None:
        _mark(drawn, bars, judged)
    drawn.update_xaxes(rangeslider_visible=False, rangebreaks=_rests(at, interval))
    drawn.update_xaxes(title="trading day" if is_daily(interval) else "time, UTC", row=2, col=1)
    drawn.update_yaxes(title="price, quote currency", row=1, col=1)
    drawn.update_yaxes(title="volume", rangemode="tozero", row=2, col=1)
    return framed(drawn, 460)


def band(bars: pd.DataFrame) -> tuple[Array, Array]:
    """Lower and upper bound of a usual close: the close before, times exp(-+ USUAL scale)."""
    before = bars["close"].shift().to_numpy(dtype=float)
    width = USUAL * bars["scale"].to_numpy(dtype=float)
    return before * np.exp(-width), before * np.exp(width)


def outside(bars: pd.DataFrame) -> tuple[int, int]:
    """How many closes lie outside of the band, and of how many bars that have one."""
    lower, upper = band(bars)
    close = bars["close"].to_numpy(dtype=float)
    is_known = np.isfinite(lower) & np.isfinite(close)
    is_outside = is_known & ((close < lower) | (close > upper))
    return int(is_outside.sum()), int(is_known.sum())


def band_words(bars: pd.DataFrame) -> str:
    """What the band is, and how many of the bars shown left it."""
    n_outside, n_known = outside(bars)
    if not n_known:
        return "No band: too little was known before these bars."
    return (
        f"Shaded: the close before, give or take {USUAL:.0f} times the usual move known before the "
        f"bar. {n_outside} of {n_known} bars shown closed outside ({percent(n_outside / n_known)})."
    )


def _add_band(drawn: go.Figure, bars: pd.DataFrame, at: "pd.Series[pd.Timestamp]") -> None:
    lower, upper = band(bars)
    edge = {"color": BAND, "width": 1}
    drawn.add_scatter(
        x=at, y=lower, mode="lines", line=edge, showlegend=False, hoverinfo="skip", row=1, col=1
    )
    drawn.add_scatter(
        x=at, y=upper, mode="lines", line=edge, fill="tonexty", fillcolor=BAND,
        name="usual range of the close", hoverinfo="skip", row=1, col=1,
    )  # fmt: skip


def _mark(drawn: go.Figure, bars: pd.DataFrame, judged: Judged) -> None:
    own = bars[bars["ts"] == judged.ts]
    if own.empty:
        return
    bar = own.iloc[-1]
    at = pd.Timestamp(bar["ts"]).tz_localize(None)
    drawn.add_scatter(
        x=[at], y=[bar["close"]], mode="markers", name=plain(f"judged {judged.word}".strip()),
        marker={"symbol": MARKERS.get(min(judged.level, 3), "circle-open"), "size": 14,
                "color": RED, "line": {"color": "white", "width": 1.5}},
        hovertemplate="%{x}<br>closed at %{y}<extra>judged</extra>", row=1, col=1,
    )  # fmt: skip
    fell = bar["close"] < bar["open"]
    drawn.add_annotation(
        x=at, y=bar["close"], text=plain(judged.word) or "judged", showarrow=True,
        arrowcolor=RED, ax=-40, ay=34 if fell else -34, row=1, col=1,
    )  # fmt: skip


def _rests(at: "pd.Series[pd.Timestamp]", interval: str) -> list[dict[str, object]]:
    """Weekends take no room where nobody trades on them."""
    is_weekend: Flags = (at.dt.day_of_week >= 5).to_numpy()
    if not is_daily(interval) or not len(at) or is_weekend.any():
        return []
    return [{"bounds": ["sat", "mon"]}]


def words(bars: pd.DataFrame, symbol: str, interval: str) -> str:
    """The picture in a sentence, for who cannot see it."""
    if bars.empty:
        return f"{symbol}: no candles."
    first, last = bars.iloc[0], bars.iloc[-1]
    return (
        f"{symbol}, {len(bars)} candles from {moment(first['ts'], interval)} to "
        f"{moment(last['ts'], interval)}; the last closed at {last['close']:g}."
    )
