"""Candles as they come, and below them a strip of lamps, one a view; pure."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from components.panels import Array, Ints
from components.plots.inks import DEEP_BLUE, GREY, RED, plain

# By what a view said of a bar (1 votes, 0 quiet, -1 abstains, -2 not stored): shape, word, marker.
SAID: dict[int, tuple[str, str, dict[str, Any]]] = {
    1: ("◆", "votes", {"symbol": "diamond", "size": 11, "color": RED}),
    0: ("○", "quiet", {"symbol": "circle-open", "size": 4, "color": GREY}),
    -1: ("✕", "abstains", {"symbol": "x-thin-open", "size": 6, "color": GREY}),
    -2: ("▫", "not stored", {"symbol": "line-ew-open", "size": 4, "color": GREY}),
}

# By level: the word and the marker above the candle.
LEVELS = {
    1: ("LOW", {"symbol": "circle-open", "size": 8}),
    2: ("MEDIUM", {"symbol": "triangle-down-open", "size": 12}),
    3: ("HIGH", {"symbol": "triangle-down", "size": 14}),
}

DAY, SATURDAY = pd.Timedelta(days=1), 5

# Pixels of the price's part, and of a lamp's row.
PRICE_PX, LAMP_PX, AROUND_PX = 230, 20, 90


def figure(
    bars: pd.DataFrame,
    views: tuple[str, ...],
    lamps: Ints,
    *,
    step: pd.Timedelta,
    n_wide: int,
    price: str,
) -> go.Figure:
    """What is known of the bars so far: nothing in it comes from a later one.

    Parameters
    ----------
    bars : DataFrame
        The last shown ones, oldest first: ts, open, high, low, close, level.
    views : tuple of str
        Names of the strip's rows.
    lamps : (n_bars, n_views) ints
        What each view said, as in ``SAID``.
    step, n_wide
        A bar's length, and room for how many bars there is.
    price : str
        Title of the price axis.
    """
    ts = bars["ts"].dt.tz_localize(None).to_numpy()
    traces = [_candles(bars, ts), *_levels(bars, ts), *_lamps(ts, lamps)]
    strip = LAMP_PX * max(len(views), 1)
    height = PRICE_PX + strip + AROUND_PX
    share = strip / (PRICE_PX + strip)
    drawn = go.Figure(traces, _layout(height, share, price))
    start, room = pd.Timestamp(ts[0]), n_wide * step
    if step >= DAY and not (bars["ts"].dt.weekday >= SATURDAY).any():
        # Nothing is traded at weekends: the picture leaves them out.
        drawn.layout.xaxis.rangebreaks = [{"bounds": ["sat", "mon"]}]
        room = room * 7 / 5
    end = max(pd.Timestamp(ts[-1]) + 2 * step, start + room)
    drawn.layout.xaxis.range = [start - 2 * step, end]
    drawn.layout.yaxis2.update(
        range=[len(views) - 0.4, -0.6],
        tickvals=list(range(len(views))),
        ticktext=[_row(name, lamps[-1, at]) for at, name in enumerate(views)],
    )
    return drawn


def _row(view: str, code: int) -> str:
    shape, word, _ = SAID[int(code)]
    name = view if len(view) <= 16 else f"{view[:15]}…"
    text = f"{plain(name)} {shape} {word}"
    return f"<b>{text}</b>" if code == 1 else text


def _candles(bars: pd.DataFrame, ts: Array) -> go.Candlestick:
    # A rise is hollow and a fall is full: their colour is not the only sign.
    return go.Candlestick(
        x=ts, open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"],
        increasing={"line": {"color": DEEP_BLUE, "width": 1.2}, "fillcolor": "rgba(0,0,0,0)"},
        decreasing={"line": {"color": DEEP_BLUE, "width": 1.2}, "fillcolor": DEEP_BLUE},
        name="rise hollow, fall full", showlegend=True,
    )  # fmt: skip


def _levels(bars: pd.DataFrame, ts: Array) -> list[go.Scatter]:
    high, level = bars["high"].to_numpy(dtype=float), bars["level"].to_numpy()
    above = high + 0.04 * (np.nanmax(high) - np.nanmin(bars["low"]))
    return [
        go.Scatter(
            x=ts[level == least], y=above[level == least], mode="markers", name=word,
            marker={**marker, "color": RED, "line": {"width": 2}}, cliponaxis=False,
            hovertemplate=f"{word}<extra></extra>",
        )
        for least, (word, marker) in LEVELS.items()
    ]  # fmt: skip


def _lamps(ts: Array, lamps: Ints) -> list[go.Scatter]:
    found = []
    for code, (_, word, marker) in SAID.items():
        at, view = np.nonzero(lamps == code)
        found.append(
            go.Scatter(
                x=ts[at], y=view, yaxis="y2", mode="markers", marker=marker, showlegend=False,
                cliponaxis=False,
                hovertemplate=f"{word}<extra></extra>",
            )
        )  # fmt: skip
    return found


def _layout(height: int, share: float, price: str) -> dict[str, Any]:
    # Margins that stand still, whatever is written in them: the picture must not jump.
    return {
        "height": height,
        "margin": {"l": 138, "r": 8, "t": 8, "b": 8},
        "xaxis": {
            "rangeslider": {"visible": False},
            "title": "bar's open, UTC",
            "anchor": "y2",
            "type": "date",
        },
        "yaxis": {"domain": [share + 0.03, 1], "title": price, "tickformat": "~g"},
        "yaxis2": {"domain": [0, share], "showgrid": False, "zeroline": False},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "uirevision": "kept",
        "transition": {"duration": 0},
    }
