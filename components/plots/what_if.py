"""Pictures of what other settings would have told."""

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

# Told apart by shape and word; the colours are seen by the colour-blind, on light and on dark.
MARKS = {
    "kept": ("circle", "#5f8fc0", 6),
    "new": ("triangle-up", "#1f9e77", 8),
    "lost": ("x", "#d9662b", 8),
}
WORDS = {
    "kept": "kept: told by both",
    "new": "new: by the chosen alone",
    "lost": "lost: by those in force alone",
}
# Moves are drawn on a scale that is straight up to about so many per cent, and logarithmic
# beyond: one of +500 % would else press all others flat.
BEND = 2.0
TICKS = (-90, -30, -10, -3, 0, 3, 10, 30, 100, 300)

LEVELS = {0: "alone", 1: "LOW", 2: "MEDIUM", 3: "HIGH"}


def timeline(changes: pd.DataFrame, when: str) -> go.Figure:
    """Each bar told now or then at its time and move.

    Parameters
    ----------
    changes : DataFrame
        symbol, ts, change, return (a fraction), level, level_then.
    when : str
        How a bar's time is written, as ``strftime`` takes it.
    """
    figure = go.Figure()
    for change, (shape, colour, size) in MARKS.items():
        rows = changes[changes["change"] == change]
        figure.add_scatter(
            x=rows["ts"].dt.tz_convert(None),
            y=np.arcsinh(100 * rows["return"] / BEND),
            mode="markers",
            name=f"{WORDS[change]} ({len(rows):,})",
            marker={"symbol": shape, "color": colour, "size": size, "opacity": 0.8},
            text=_said(rows, when),
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_yaxes(
        title="Move of the bar, %",
        tickvals=[np.arcsinh(tick / BEND) for tick in TICKS],
        ticktext=[f"{tick:+d}" if tick else "0" for tick in TICKS],
    )
    figure.update_xaxes(title="Bar, UTC")
    return _placed(figure, 380)


def _said(rows: pd.DataFrame, when: str) -> list[str]:
    """What is read of each bar; names come from outside."""
    days = rows["ts"].dt.strftime(when)
    levels = [rows[name].map(LEVELS).fillna("not told") for name in ("level", "level_then")]
    return [
        f"{escape(str(symbol))}, {day}<br>{100 * move:+.1f} %<br>in force: {now}<br>chosen: {then}"
        for symbol, day, move, now, then in zip(
            rows["symbol"], days, rows["return"], *levels, strict=True
        )
    ]


def by_year(now: pd.DataFrame, then: pd.DataFrame, stated: tuple[float, float]) -> go.Figure:
    """Bars told per instrument and calendar year: in force and chosen, stated and realised.

    Parameters
    ----------
    now, then : DataFrame
        year, rate, years.
    stated : tuple of float
        The rates accepted, in force and chosen.
    """
    figure = go.Figure()
    sides = (("in force", now, "#5f8fc0", ""), ("chosen", then, "#1f9e77", "/"))
    for (name, rows, colour, pattern), rate in zip(sides, stated, strict=True):
        figure.add_bar(
            x=rows["year"],
            y=rows["rate"],
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern}},
            customdata=rows[["years"]],
            hovertemplate=(
                f"%{{x}}, {name}: %{{y:.2f}} a year<br>"
                "over %{customdata[0]:.1f} instrument-years<extra></extra>"
            ),
        )
        figure.add_scatter(
            x=rows["year"],
            y=[rate] * len(rows),
            name=f"stated, {name}: {rate:g}",
            mode="lines",
            line={"color": colour, "dash": "dash" if name == "chosen" else "solid", "width": 2},
            hoverinfo="skip",
        )
    figure.update_yaxes(title="Bars told per instrument and year", rangemode="tozero")
    figure.update_xaxes(title="Calendar year, UTC", dtick=1, tickformat="d")
    return _placed(figure, 320)


def _placed(figure: go.Figure, height: int) -> go.Figure:
    """Legend above, so that a phone's width is the picture's."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        barmode="group",
    )
    return figure
