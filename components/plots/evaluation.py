"""Pictures of an evaluation: found by kind, rate by year, precision, versions, the bars' map."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from components.plots import inks
from components.plots.inks import DEEP_BLUE, RED

# Okabe and Ito's colours keep apart for every kind of colour vision; each has a shape as well.
MARKS: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "symbol": symbol, "size": 9, "line": {"width": 1, "color": "#6B7683"}}
    for color, symbol in (
        (DEEP_BLUE, "circle"),
        (RED, "diamond"),
        ("#009E73", "square"),
        ("#CC79A7", "triangle-up"),
        ("#E69F00", "x"),
        ("#56B4E9", "star"),
        ("#8A6FBF", "triangle-down"),
        ("#9AA5B1", "cross"),
    )
)
DASHES = ("solid", "dash", "dot", "dashdot")


def framed(figure: go.Figure, height: int) -> go.Figure:
    """The same picture without waste of room, its legend above, readable on a phone."""
    return inks.framed(figure, height).update_layout(
        margin={"t": 8}, legend={"y": 1.02, "itemsizing": "constant"}
    )


def rate_by_year(by_year: Mapping[str, Mapping[str, Any]], stated: float) -> go.Figure:
    """Alerts per instrument and year: realised as bars, stated as a line."""
    years = [year for year, each in by_year.items() if each["rate"] is not None]
    figure = go.Figure()
    figure.add_bar(
        x=years,
        y=[by_year[year]["rate"] for year in years],
        name="realised",
        marker={"color": DEEP_BLUE},
        customdata=[by_year[year]["n_instruments"] for year in years],
        hovertemplate="%{x}: %{y:.2f} a year, %{customdata} instruments<extra></extra>",
    )
    figure.add_scatter(
        x=years,
        y=[stated] * len(years),
        name=f"stated, {stated:g}",
        mode="lines",
        line={"color": RED, "dash": "dash", "width": 2},
    )
    figure.update_xaxes(title="calendar year (UTC)", type="category")
    figure.update_yaxes(title="alerts per instrument and year", rangemode="tozero")
    return framed(figure, 300)


def found_by_kind(methods: Mapping[str, Mapping[str, float | None]], axis: str) -> go.Figure:
    """A row a kind of anomaly, a mark a method; a method's missing kind has no mark."""
    figure = go.Figure()
    kinds = list(dict.fromkeys(kind for found in methods.values() for kind in found))
    for place, (name, found) in enumerate(methods.items()):
        own = [kind for kind in kinds if found.get(kind) is not None]
        figure.add_scatter(
            x=[found[kind] for kind in own],
            y=[kind.replace("_", " ") for kind in own],
            name=name,
            mode="markers",
            # Equal shares stand below each other, not over each other.
            orientation="h",
            offsetgroup=str(place),
            marker=MARKS[place % len(MARKS)],
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra>" + name + "</extra>",
        )
    figure.update_layout(scattermode="group", scattergap=0.4)
    least = min(
        (share for found in methods.values() for share in found.values() if share), default=0
    )
    figure.update_xaxes(title=axis, tickformat=".0%", range=[min(least, 0) - 0.02, 1.03])
    figure.update_yaxes(
        categoryorder="array", categoryarray=[k.replace("_", " ") for k in kinds[::-1]]
    )
    return framed(figure, 150 + 12 * len(kinds) * (2 + len(methods)) // 2)


def precision_recall(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> go.Figure:
    """Precision against recall, a line a method."""
    figure = go.Figure()
    for place, (name, curve) in enumerate(curves.items()):
        mark = MARKS[place % len(MARKS)]
        figure.add_scatter(
            x=list(curve["recall"]),
            y=list(curve["precision"]),
            name=name,
            mode="lines",
            line={"color": mark["color"], "dash": DASHES[place % len(DASHES)], "width": 2},
            hovertemplate="found %{x:.1%}, of what is told %{y:.1%} is planted"
            "<extra>" + name + "</extra>",
        )
    figure.update_xaxes(
        title="recall: share of planted anomalies found", tickformat=".0%", range=[0, 1.02]
    )
    figure.update_yaxes(
        title="precision: share of told that is planted", tickformat=".0%", range=[0, 1.02]
    )
    return framed(figure, 360)


def rates_of_versions(
    versions: Sequence[str], stated: float, realised: Sequence[float]
) -> go.Figure:
    """The rate at which each version alone alerted on held-out time, and the stated one."""
    figure = go.Figure()
    figure.add_bar(
        x=list(realised),
        y=list(versions),
        orientation="h",
        name="realised, judging alone",
        marker={"color": DEEP_BLUE},
        hovertemplate="%{y}: %{x:.2f} a year<extra></extra>",
    )
    figure.add_vline(x=stated, line={"color": RED, "dash": "dash", "width": 2})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", name=f"stated, {stated:g}",
        line={"color": RED, "dash": "dash", "width": 2},
    )  # fmt: skip
    figure.update_xaxes(title="alerts per instrument and year", rangemode="tozero")
    figure.update_yaxes(categoryorder="array", categoryarray=list(versions)[::-1])
    return framed(figure, 120 + 34 * len(versions))


def bars_map(points: pd.DataFrame, explained: tuple[float, float]) -> go.Figure:
    """Bars on their two main axes by cluster, with those that were told marked.

    Parameters
    ----------
    points : DataFrame
        x, y, cluster (from 1), level (votes), told (words of a bar: its time and level).
    explained : tuple of float
        The share of the variance along each axis.
    """
    figure = go.Figure()
    for place, (cluster, own) in enumerate(points.groupby("cluster")):
        mark = {**MARKS[place % len(MARKS)], "size": 6, "opacity": 0.75, "line": {"width": 0}}
        figure.add_scatter(
            x=own["x"],
            y=own["y"],
            mode="markers",
            marker=mark,
            name=f"cluster {cluster}: {len(own):,}",
            text=own["told"],
            hovertemplate="%{text}<extra></extra>",
        )
    odd = points[points["level"] > 1]
    if len(odd):
        figure.add_scatter(
            x=odd["x"],
            y=odd["y"],
            mode="markers",
            name=f"anomaly: {len(odd):,}",
            marker={
                "symbol": "circle-open", "size": 13, "color": RED, "line": {"width": 2}
            },
            text=odd["told"],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=f"first axis, {explained[0]:.0%} of the variance", zeroline=False)
    figure.update_yaxes(title=f"second axis, {explained[1]:.0%} of the variance", zeroline=False)
    return framed(figure, 460)
