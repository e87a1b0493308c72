"""Levels at a glance: instruments by days, and one instrument's year as a calendar; pure."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from components.panels import Array
from components.plots.inks import framed, plain
from components.words import is_daily

# What a bar can be: its letter, its word, its colour. The black letters are read on each that
# has one; what is usual is pale on white and on black.
STATES = (
    ("", "nothing unusual", "rgba(122, 135, 148, 0.28)"),
    ("L", "LOW", "#F4DE9B"),
    ("M", "MEDIUM", "#F0A33F"),
    ("H", "HIGH", "#E8623A"),
    ("?", "undecided or stale", "#B9C2CC"),
)
LETTERS = np.array([letter for letter, _, _ in STATES])
WORDS = np.array([word for _, word, _ in STATES])
UNDECIDED = 4

# One row of a picture and what surrounds them, in pixels.
ROW, AROUND = 19, 90


def codes(verdicts: pd.DataFrame) -> Array:
    """What each bar is, as a place in ``STATES``; verdicts has verdict, level and state."""
    level = verdicts["level"].fillna(0).to_numpy(dtype=float).clip(0, 3)
    is_judged = (verdicts["verdict"] != "undecided") & (verdicts["state"] != "stale")
    return np.where(is_judged, level, UNDECIDED).astype(np.int64)


def glance(verdicts: pd.DataFrame, interval: str) -> go.Figure:
    """A row an instrument, a column a bar, its level as a colour and a letter.

    Parameters
    ----------
    verdicts : DataFrame
        symbol, ts (UTC), verdict, level, state, p, return.
    """
    shown = verdicts.assign(code=codes(verdicts))
    form = "%Y-%m-%d" if is_daily(interval) else "%m-%d %H:%M"
    wide = shown.pivot_table(index="symbol", columns="ts", values="code", aggfunc="last")
    told = [
        shown.pivot_table(
            index="symbol", columns="ts", values=name, aggfunc="last", dropna=False
        ).reindex(index=wide.index, columns=wide.columns)
        for name in ("return", "p")
    ]
    drawn = _drawn(wide, [plain(str(symbol)) for symbol in wide.index], told)
    drawn.update_traces(x=pd.DatetimeIndex(wide.columns).strftime(form))
    drawn.update_xaxes(
        title="trading day" if is_daily(interval) else "bar, UTC", type="category", nticks=8
    )
    drawn.update_yaxes(autorange="reversed", type="category", dtick=1)
    return framed(drawn, AROUND + ROW * max(len(wide), 3))


def year(verdicts: pd.DataFrame, year_shown: int) -> go.Figure:
    """One instrument's year: a column a week, a row a weekday; daily verdicts as for ``glance``."""
    shown = verdicts.assign(code=codes(verdicts)).sort_values("ts")
    first = pd.Timestamp(year=year_shown, month=1, day=1, tz="UTC")
    week = ((shown["ts"] - first).dt.days + first.day_of_week) // 7
    shown = shown.assign(week=week, weekday=shown["ts"].dt.day_of_week)
    n_days = 7 if (shown["weekday"] >= 5).any() else 5
    days = pd.Index(range(n_days), name="weekday")
    weeks = pd.Index(range(54), name="week")

    def spread(name: str) -> pd.DataFrame:
        wide = shown.pivot_table(
            index="weekday", columns="week", values=name, aggfunc="last", dropna=False
        )
        return wide.reindex(index=days, columns=weeks)

    names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][:n_days]
    drawn = _drawn(spread("code"), names, [spread("return"), spread("p")], spread("ts"))
    starts = pd.date_range(first, periods=12, freq="MS")
    at = ((starts - first).days + first.day_of_week) // 7
    drawn.update_xaxes(
        tickvals=list(at), ticktext=list(starts.strftime("%b")), title=f"week of {year_shown}"
    )
    drawn.update_yaxes(autorange="reversed")
    return framed(drawn, AROUND + 24 * n_days)


def _drawn(
    wide: pd.DataFrame, names: list[str], told: list[pd.DataFrame], days: pd.DataFrame | None = None
) -> go.Figure:
    code = wide.to_numpy(dtype=float)
    place = np.where(np.isfinite(code), code, 0).astype(np.int64)
    is_there = np.isfinite(code)
    moves, p = (100 * told[0].to_numpy(dtype=float), told[1].to_numpy(dtype=float))
    said: Any = np.empty((*code.shape, 4), dtype=object)
    said[..., 0] = np.where(is_there, WORDS[place], "")
    said[..., 1], said[..., 2] = moves, p
    said[..., 3] = "" if days is None else _dates(days)
    when = "%{x}" if days is None else "%{customdata[3]}"
    drawn = go.Figure()
    drawn.add_heatmap(
        z=code, y=names, text=np.where(is_there, LETTERS[place], ""), texttemplate="%{text}",
        textfont={"color": "#111111", "size": 11}, customdata=said, colorscale=_scale(),
        zmin=-0.5, zmax=len(STATES) - 0.5, showscale=False, xgap=1, ygap=1, hoverongaps=False,
        hovertemplate="%{y} " + when + "<br>%{customdata[0]}<br>return %{customdata[1]:+.2f} %"
        "<br>p = %{customdata[2]:.3g}<extra></extra>",
    )  # fmt: skip
    return drawn


def legend_words() -> str:
    """What the letters of the pictures mean."""
    said = [f"{letter or 'no letter'}: {word}" for letter, word, _ in STATES]
    return f"{'; '.join(said)}; no cell: no bar."


def _dates(days: pd.DataFrame) -> Array:
    flat = pd.Series(pd.to_datetime(days.to_numpy().ravel(), utc=True))
    return flat.dt.strftime("%Y-%m-%d").fillna("").to_numpy(dtype=object).reshape(days.shape)


def _scale() -> list[tuple[float, str]]:
    """A colour a state, without any between them."""
    n = len(STATES)
    return [
        (edge / n, colour)
        for place, (_, _, colour) in enumerate(STATES)
        for edge in (place, place + 1)
    ]


def glance_words(verdicts: pd.DataFrame) -> str:
    """The picture in a sentence, for who cannot see it."""
    n = verdicts["symbol"].nunique()
    counts = pd.Series(WORDS[codes(verdicts)]).value_counts()
    said = [f"{counts.get(word, 0)} {word}" for word in WORDS[::-1]]
    return f"Levels of the last bars of {n} instruments: {', '.join(said)}."
