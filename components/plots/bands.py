"""A band to point at: what came, what was expected, within which bounds; pure."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from components.panels import Array, Flags
from components.plots.inks import DEEP_BLUE, GREY, RED, plain

BAND, COMING = "rgba(0, 114, 178, 0.34)", "rgba(122, 135, 148, 0.30)"

# By level: the word, the triangle above and below the band, its size in pixels.
MARKS = {
    1: ("LOW, not told", "circle-open", "circle-open", 8),
    2: ("MEDIUM", "triangle-up-open", "triangle-down-open", 12),
    3: ("HIGH", "triangle-up", "triangle-down", 15),
}

NUMBER = ":,.2f"


def figure(rows: pd.DataFrame, *, unit: str, zone: str, interval: str) -> go.Figure:
    """Bins of one series: actual, expected, band, alarms, the bins to come, the one under way.

    Parameters
    ----------
    rows : DataFrame
        Oldest first: ts, ends_at (UTC), actual, expected, lower, upper, level, so_far, nowcast.
    unit, zone, interval : str
        What is counted ("" for values), on whose clock time runs, and how long a bin is.
    """
    drawn = go.Figure()
    shown = rows.assign(since=_on_clock(rows["ts"], zone), until=_on_clock(rows["ends_at"], zone))
    is_coming = shown["actual"].isna() & (np.arange(len(shown)) > _last_known(shown))
    past, coming = shown[~is_coming], shown[is_coming]
    _add_band(drawn, past, "band", BAND)
    _add_band(drawn, coming, "band to come", COMING)
    _add_line(drawn, past, "expected", "expected", {"color": GREY, "width": 1.6, "dash": "dot"})
    _add_line(drawn, coming, "expected", "", {"color": GREY, "width": 1.6, "dash": "dash"})
    _add_line(drawn, past, "actual", "actual", {"color": DEEP_BLUE, "width": 2.2})
    _add_alarms(drawn, past)
    _add_under_way(drawn, coming)
    if len(past) and len(coming):
        drawn.add_vline(x=past["until"].iloc[-1], line={"color": GREY, "width": 1.2, "dash": "dot"})
        drawn.add_annotation(
            x=past["until"].iloc[-1], y=1, yref="paper", text="last closed bin",
            showarrow=False, xanchor="right", yanchor="bottom",
        )  # fmt: skip
    _lay_out(drawn, f"{plain(unit) or 'value'} a bin of {interval}", f"clock of {zone}")
    return drawn


def _on_clock(instants: "pd.Series[pd.Timestamp]", zone: str) -> "pd.Series[pd.Timestamp]":
    """Instants as the clock of a zone shows them: the picture itself knows no zones."""
    shown: pd.Series[pd.Timestamp] = instants.dt.tz_convert(zone).dt.tz_localize(None)
    return shown


def _last_known(shown: pd.DataFrame) -> int:
    known = np.flatnonzero(shown["actual"].notna().to_numpy())
    return int(known[-1]) if len(known) else -1


def _pieces(part: pd.DataFrame, is_drawn: Flags) -> list[pd.DataFrame]:
    """Runs of bins that follow each other: between them nothing is drawn."""
    own = part[is_drawn]
    if own.empty:
        return []
    breaks = np.flatnonzero(own["ts"].to_numpy()[1:] != own["ends_at"].to_numpy()[:-1]) + 1
    edges = [0, *breaks.tolist(), len(own)]
    return [own.iloc[a:b] for a, b in pairwise(edges)]


def _steps(run: pd.DataFrame, name: str) -> tuple[Array, Array]:
    """A value from its bin's start to its end, as corners of a staircase."""
    at = np.column_stack([run["since"].to_numpy(), run["until"].to_numpy()]).ravel()
    return at, run[name].to_numpy(dtype=float).repeat(2)


def _add_band(drawn: go.Figure, part: pd.DataFrame, name: str, colour: str) -> None:
    corners: list[Any] = []
    for run in _pieces(part, part[["lower", "upper"]].notna().all(axis=1).to_numpy()):
        at, lower = _steps(run, "lower")
        _, upper = _steps(run, "upper")
        gap = np.array(["NaT"], dtype=at.dtype)
        corners.append((np.r_[at, at[::-1], gap], np.r_[upper, lower[::-1], np.nan]))
    if corners:
        x, y = (np.concatenate(each) for each in zip(*corners, strict=True))
        drawn.add_scatter(
            x=x, y=y, mode="lines", fill="toself", fillcolor=colour, hoverinfo="skip", name=name,
            line={"color": colour, "width": 1},
        )  # fmt: skip


def _add_line(
    drawn: go.Figure, part: pd.DataFrame, column: str, name: str, line: dict[str, Any]
) -> None:
    runs = _pieces(part, part[column].notna().to_numpy())
    if not runs:
        return
    last = [run.iloc[-1:].assign(since=run["until"].iloc[-1:]) for run in runs]
    gap = [run.iloc[-1:].assign(**{column: np.nan}) for run in runs]
    own = pd.concat([piece for run in zip(runs, last, gap, strict=True) for piece in run])
    told = own[["until", "expected", "lower", "upper"]]
    drawn.add_scatter(
        x=own["since"], y=own[column], mode="lines", line={**line, "shape": "hv"},
        name=name or column, showlegend=bool(name), customdata=told.to_numpy(),
        hovertemplate=f"%{{x|%Y-%m-%d %H:%M}}<br>{column} %{{y{NUMBER}}}<br>"
        f"band %{{customdata[2]{NUMBER}}} to %{{customdata[3]{NUMBER}}}<extra></extra>",
    )  # fmt: skip


def _add_alarms(drawn: go.Figure, past: pd.DataFrame) -> None:
    """Triangles that point away from the band, at the middle of their bin."""
    level = past["level"].fillna(0).to_numpy(dtype=float)
    # Where no value is expected, an alarm of nothing is one of too little.
    is_silent = past["expected"].isna() & (past["actual"] <= 0)
    is_below = ((past["actual"] < past["expected"]) | is_silent).to_numpy()
    middle = past["since"] + (past["until"] - past["since"]) / 2
    for least, (word, above, below, size) in MARKS.items():
        is_own = level == least
        if is_own.any():
            symbols = np.where(is_below, below, above)[is_own]
            drawn.add_scatter(
                x=middle[is_own], y=past["actual"][is_own], mode="markers", name=word,
                marker={"symbol": symbols, "size": size, "color": RED, "line": {"width": 2}},
                hovertemplate=f"{word}<br>%{{x|%Y-%m-%d %H:%M}}<br>%{{y{NUMBER}}}<extra></extra>",
            )  # fmt: skip


def _add_under_way(drawn: go.Figure, coming: pd.DataFrame) -> None:
    """What the bin under way holds, and a diamond where that points to."""
    own = coming[coming[["so_far", "nowcast"]].notna().all(axis=1)].head(1)
    if own.empty:
        return
    middle = own["since"] + (own["until"] - own["since"]) / 2
    for column, name, symbol in (
        ("so_far", "so far", "line-ew-open"),
        ("nowcast", "nowcast", "diamond-open"),
    ):
        drawn.add_scatter(
            x=middle, y=own[column], mode="markers", name=name,
            marker={"symbol": symbol, "size": 12, "color": DEEP_BLUE, "line": {"width": 3}},
            hovertemplate=f"{name} %{{y{NUMBER}}}<extra></extra>",
        )  # fmt: skip


def _lay_out(drawn: go.Figure, value: str, clock: str) -> None:
    drawn.update_layout(
        height=460, margin={"l": 8, "r": 8, "t": 30, "b": 8}, hovermode="closest",
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0}, uirevision="kept",
    )  # fmt: skip
    drawn.update_yaxes(title=value, automargin=True, tickformat="~s", zeroline=False)
    drawn.update_xaxes(title=clock, automargin=True, showgrid=False)
