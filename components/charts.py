"""Pictures as PNG bytes, drawn without global state: the same numbers give the same bytes."""

import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.reasons import parts
from components.records import BandChart, Chart
from components.words import percent, price, share, times

# Okabe and Ito's colours keep apart for every kind of colour vision.
BLUE, ORANGE, GREY, PALE, INK = "#0072B2", "#D55E00", "#9AA5B1", "#CFE3F1", "#24303C"

# What stands beside the blue of the matter itself.
BESIDE = ("#E69F00", "#56B4E9", "#CC79A7", "#C4CBD2")

DPI = 160

TITLE: dict[str, Any] = {"fontsize": 9, "color": INK, "loc": "left", "parse_math": False}
BEHIND_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}

# A picture's software and date would make equal pictures differ.
NO_METADATA = {"Software": None, "Creation Time": None}


@lru_cache(maxsize=32)
def finding_png(chart: Chart | BandChart) -> bytes:
    """The last bars with the judged one marked, its size among the past ones, and its two parts.

    Of a bin of measures: its band, with the bins before it.
    """
    if isinstance(chart, BandChart):
        # It draws with this module's parts.
        from components.band_charts import chart_png

        return chart_png(chart)
    has_parts = math.isfinite(chart.market_part) and math.isfinite(chart.own_part)
    height = 3.35 if has_parts else 2.75
    figure = Figure(figsize=(7.6, height), dpi=DPI, facecolor="white", layout="constrained")
    grid = figure.add_gridspec(1 + has_parts, 2, width_ratios=(1.75, 1))
    if has_parts:
        grid.set_height_ratios((1, 0.13))
        _draw_parts(figure.add_subplot(grid[1, :]), chart)
    _draw_price(figure.add_subplot(grid[0, 0]), chart)
    _draw_scores(figure.add_subplot(grid[0, 1]), chart)
    return png(figure)


def rate_png(years: Sequence[int], realised: Sequence[float], stated: Sequence[float]) -> bytes:
    """Alerts per instrument and year: realised as bars, stated as a line."""
    figure = Figure(figsize=(7.6, 2.4), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(years))
    axes.bar(places, realised, color=BLUE, width=0.62, label="realised")
    axes.step(
        np.append(places - 0.5, len(years) - 0.5),
        np.append(stated, stated[-1:]),
        where="post",
        color=ORANGE,
        linewidth=1.8,
        label="stated",
    )
    every = max(1, math.ceil(len(years) / 16))
    axes.set_xticks(places[::every], [str(year) for year in years][::every])
    axes.set_ylabel("alerts per instrument\nand year", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper right", labelcolor=INK)
    axes.margins(y=0.25)
    plain(axes)
    return png(figure)


def compared_png(
    groups: Sequence[str], measured: Mapping[str, Sequence[float]], unit: str
) -> bytes:
    """Bars side by side, one group a name: the first of ``measured`` stands out."""
    figure = Figure(figsize=(7.6, 2.9), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(groups))
    width = 0.84 / max(len(measured), 1)
    for n, (name, values) in enumerate(measured.items()):
        at = places - 0.42 + width * (n + 0.5)
        colour = (BLUE, *BESIDE)[n % (len(BESIDE) + 1)]
        axes.bar(at, values, width * 0.92, color=colour, label=name)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(places, [name.replace(" ", "\n") for name in groups])
    axes.set_ylabel(unit, fontsize=8, color=INK, parse_math=False)
    figure.legend(
        frameon=False, fontsize=8, ncols=len(measured), loc="outside upper left", labelcolor=INK
    )
    plain(axes)
    return png(figure)


def intervals_png(
    names: Sequence[str], middles: Sequence[float], bounds: Sequence[Sequence[float]], unit: str
) -> bytes:
    """One line a name: its value and its interval, beside the line of no effect at 1."""
    height = 0.75 + 0.28 * len(names)
    figure = Figure(figsize=(7.6, height), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    for place, middle, (low, high) in zip(places, middles, bounds, strict=True):
        colour = BLUE if place == len(names) - 1 else GREY
        axes.hlines(place, low, high, color=colour, linewidth=2.2)
        axes.plot([middle], [place], "o", color=colour, markersize=5.5)
    axes.axvline(1, color=ORANGE, linewidth=1.2)
    axes.set_yticks(places, list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(unit, fontsize=8, color=INK, parse_math=False)
    plain(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#E8ECF0", linewidth=0.7)
    return png(figure)


def _draw_price(axes: Axes, chart: Chart) -> None:
    n = len(chart.ts)
    axes.set_title("Close, with the range from low to high", **TITLE)
    plain(axes)
    if not n:
        _say(axes, "no bars to show")
        return
    places = np.arange(n)
    axes.fill_between(places, chart.low, chart.high, color=PALE, linewidth=0)
    axes.plot(places, chart.close, color=BLUE, linewidth=1.3)
    if chart.judged in chart.ts:
        _mark(axes, chart, chart.ts.index(chart.judged))
    axes.set_xlim(-1, n + 2)
    _ticks(axes, chart.ts)
    axes.yaxis.set_major_formatter(lambda value, _: price(value) if value > 0 else "0")


def _draw_parts(axes: Axes, chart: Chart) -> None:
    """The market's part from zero, the own part from its end: where that ends is the return."""
    whole = chart.market_part + chart.own_part
    # Drawn from left to right, whichever way the price went.
    way = math.copysign(1, whole)
    market_end, end = way * chart.market_part, way * whole
    axes.barh([0], [market_end], color=GREY, height=0.8)
    axes.barh([0], [end - market_end], left=[market_end], color=ORANGE, height=0.45)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axvline(end, color=INK, linewidth=0.8, linestyle=":")
    _, market, own = parts(whole, chart.market_part)
    told = (
        f"{percent(whole, sign=True)} = {market} the market's (grey) {_plus(own)} its own (orange)"
    )
    axes.set_title(told, **TITLE)
    low, high = min(0, market_end, end), max(0, market_end, end)
    axes.set_xlim(low - 0.02 * (high - low or 1), high + 0.02 * (high - low or 1))
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _plus(own: str) -> str:
    return f"- {own[1:]}" if own.startswith("-") else f"+ {own.removeprefix('+')}"


def _mark(axes: Axes, chart: Chart, at: int) -> None:
    close = chart.close[at]
    axes.vlines(at, chart.low[at], chart.high[at], color=ORANGE, linewidth=2.2)
    axes.plot([at], [close], "o", color=ORANGE, markersize=6, markeredgecolor="white")
    is_late = at > len(chart.ts) * 0.4
    # The label goes to the side that is not judged, above or below what is drawn there.
    side = slice(0, len(chart.ts) * 2 // 5) if is_late else slice(len(chart.ts) * 3 // 5, None)
    middle = (max(chart.high) + min(chart.low)) / 2
    is_low = float(np.mean(chart.close[side] or chart.close)) > middle
    axes.annotate(
        f"{_at(chart.judged, chart.ts)}: {price(close)}",
        (at, close),
        xytext=(0.03 if is_late else 0.97, 0.05 if is_low else 0.9),
        textcoords="axes fraction",
        ha="left" if is_late else "right",
        fontsize=8.5,
        color=ORANGE,
        weight="bold",
        bbox=BEHIND_LABEL,
    )


def _ticks(axes: Axes, ts: Sequence[str]) -> None:
    """A few dates; the hour as well when the bars are shorter than a day."""
    n = len(ts)
    places = sorted({round(share_ * (n - 1)) for share_ in (0, 1 / 3, 2 / 3, 1)})
    axes.set_xticks(places, [_at(ts[i], ts) for i in places])


def _at(bar: str, ts: Sequence[str]) -> str:
    """A bar's date; its month, day and time when the bars are shorter than a day."""
    is_intraday = len({each[11:16] for each in ts}) > 1
    return bar[5:16].replace("T", " ") if is_intraday else bar[:10]


def _draw_scores(axes: Axes, chart: Chart) -> None:
    past = np.asarray(chart.past_scores, dtype=float)
    past = past[np.isfinite(past)]
    axes.set_title(
        f"Size of its last {len(past):,} moves" if len(past) else "Its past moves", **TITLE
    )
    plain(axes)
    if not len(past):
        _say(axes, "no past moves yet")
        return
    score = chart.score
    ends = [past.min(), past.max(), *([score] if math.isfinite(score) else [])]
    edges = np.linspace(min(ends), max(ends) + 1e-9 + 0.02 * (max(ends) - min(ends)), 31)
    axes.hist(past, bins=edges.tolist(), color=GREY, log=True)
    axes.set_ylim(bottom=0.7)
    middle = (edges[0] + edges[-1]) / 2
    if math.isfinite(score):
        axes.hist(past[past >= score], bins=edges.tolist(), color=ORANGE, log=True)
        _mark_score(axes, score, float(np.mean(past >= score)), len(past), middle)
    axes.set_xlabel(chart.score_unit, fontsize=8, color=INK, parse_math=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")


def _mark_score(axes: Axes, score: float, beyond: float, n_past: int, middle: float) -> None:
    axes.axvline(score, color=ORANGE, linewidth=1.8)
    is_right = score > middle
    told = f"{percent(beyond)} beyond" if beyond else f"none of {n_past:,}\nbeyond"
    axes.annotate(
        f"this bar: {times(score) if abs(score) >= 0.01 else share(abs(score))}\n{told}",
        (score, 0.95),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if is_right else 5, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="top",
        fontsize=8.5,
        color=ORANGE,
        weight="bold",
        bbox=BEHIND_LABEL,
    )


def plain(axes: Axes) -> None:
    """Leave out the frame; faint lines behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=8, colors=INK, length=2.5)
    axes.grid(axis="y", color="#E8ECF0", linewidth=0.7)
    axes.set_axisbelow(True)


def _say(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", fontsize=9, color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def blank(height: float, width: float = 7.6) -> Figure:
    """An empty picture, in inches; of the pages' width where none is given."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def png(figure: Figure) -> bytes:
    """The picture's bytes, without dates and names of software."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata=NO_METADATA)
    return stream.getvalue()
