"""Pictures of an exploration: prices with volumes, volatilities, correlations."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.charts import BLUE, GREY, INK, ORANGE, PALE, TITLE, blank, plain, png
from components.panels import Array, Ints
from components.profile.history import History
from components.words import clean, counted, moment, percent, price

# A price that grew so many times over is drawn in steps of equal ratios.
GREW = 5.0

# More marks than these hide the price.
MOST_MARKS = 60

# Spans of time in a strip of coverage.
MOST_SPANS = 300

# Numbers stand in the squares of a matrix as long as they can be read.
NUMBERED = 12


def history_png(history: History, interval: str) -> bytes:
    """Close with the range from low to high, volume below it; what was unusual is marked."""
    columns = history.columns
    figure = blank(3.1, 4.9)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.6, 1))
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    places = np.arange(len(columns))
    _draw_price(upper, history, places)
    is_spike = np.isin(places, history.spikes["column"])
    wide = min(4.0 * 72 / max(len(columns), 1), 12.0)
    volume = columns["volume"].fillna(0.0).to_numpy()
    for own, colour in ((~is_spike, GREY), (is_spike, ORANGE)):
        lower.vlines(places[own], 0, volume[own], color=colour, linewidth=wide)
    lower.set_ylim(bottom=0)
    lower.yaxis.set_major_formatter(lambda value, _: _short(value))
    lower.set_title(f"Volume, {counted(len(history.spikes), 'spike')} in orange", **TITLE)
    for axes in (upper, lower):
        plain(axes)
    upper.tick_params(labelbottom=False)
    shown = sorted({round(share * (len(columns) - 1)) for share in (0.03, 1 / 3, 2 / 3, 0.97)})
    lower.set_xticks(
        shown, [moment(columns["ts"].iloc[n], interval).removesuffix(" UTC") for n in shown]
    )
    lower.set_xlim(-1, len(columns))
    return png(figure)


def _draw_price(axes: Any, history: History, places: Ints) -> None:
    columns, marked = history.columns, history.moves.head(MOST_MARKS)
    axes.fill_between(places, columns["low"], columns["high"], color=PALE, linewidth=0)
    axes.plot(places, columns["close"], color=BLUE, linewidth=1.1)
    for is_up, mark in ((True, "^"), (False, "v")):
        own = marked[marked["is_up"] == is_up]
        axes.plot(own["column"], own["close"], mark, color=ORANGE, markersize=4, alpha=0.85)
    low, high = float(columns["low"].min()), float(columns["high"].max())
    if low * GREW < high:
        axes.set_yscale("log")
        axes.set_yticks(_round_prices(low, high))
        axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: price(value) if value > 0 else "0")
    a_column = "" if history.bars_a_column == 1 else f", {history.bars_a_column} bars a step"
    n_moves = len(history.moves)
    most = f", the largest {MOST_MARKS} marked" if n_moves > MOST_MARKS else ""
    said = f"{clean(history.symbol, 20)}: {counted(n_moves, 'large move')}{most}{a_column}"
    axes.set_title(said, **TITLE)


def _round_prices(low: float, high: float) -> list[float]:
    """A few round prices between two, in steps of about equal ratio."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high < low * 100 else (1,)
    every = [digit * 10.0**power for power in powers for digit in digits]
    within = [value for value in every if low <= value <= high]
    return within[:: -(-len(within) // 6)] if within else [low, high]


def _short(value: float) -> str:
    """A volume in few letters: 12k, 3.4M, 5bn."""
    for unit, size in (("bn", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def volatility_png(names: Sequence[str], whole: Array, recent: Array) -> bytes:
    """Annualised volatilities: over all bars as a bar, of late as a mark; the largest on top."""
    order = np.argsort(whole, kind="stable")
    whole, recent = whole[order], recent[order]
    figure = blank(0.9 + 0.2 * len(order))
    axes = figure.subplots()
    places = np.arange(len(order))
    edge = 1.12 * float(whole.max(initial=0.01))
    axes.barh(places, whole, color=BLUE, height=0.62, label="all bars")
    axes.plot(
        np.minimum(recent, edge), places, "D", color=ORANGE, markersize=4.5, label="last 60 returns"
    )
    # A mark that is far beyond the bars stands at the edge with its number.
    for place in np.flatnonzero(recent > edge):
        axes.annotate(percent(recent[place]), (edge, place), (-8, 0), **BESIDE_MARK)
    axes.set_xlim(0, 1.02 * edge)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_yticks(places, [clean(names[n], 20) for n in order], parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("volatility of a year", fontsize=8, color=INK)
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper left", labelcolor=INK)
    plain(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#E8ECF0", linewidth=0.7)
    return png(figure)


BESIDE_MARK: dict[str, Any] = {
    "textcoords": "offset points",
    "ha": "right",
    "va": "center",
    "fontsize": 8,
    "color": ORANGE,
}


def coverage_png(names: Sequence[str], days: pd.DataFrame) -> bytes:
    """A strip an instrument: blue where every bar due is held, the darker the more is missing.

    Parameters
    ----------
    days : DataFrame
        symbol, day, n_expected, n_held; a day on which nothing is due has no row.
    """
    first, last = days["day"].min(), days["day"].max()
    n_days = (last - first).days + 1
    wide = -(-n_days // MOST_SPANS)
    shape = len(names), -(-n_days // wide)
    row = pd.Index(names).get_indexer(pd.Index(days["symbol"]))
    at = (row, ((days["day"] - first).dt.days // wide).to_numpy())
    due, held = np.zeros(shape), np.zeros(shape)
    np.add.at(due, at, days["n_expected"].to_numpy())
    np.add.at(held, at, days["n_held"].to_numpy())
    figure = blank(0.8 + 0.2 * len(names))
    axes = figure.subplots()
    lacking = np.ma.masked_equal(due - held, 0) / np.maximum(due, 1)
    whole = np.ma.masked_where((due == 0) | (held < due), np.ones(shape))
    for layer, colours, (least, most) in (
        (whole, "Blues", (0.0, 3.0)),
        (lacking, "Oranges", (-0.6, 1.0)),
    ):
        axes.imshow(layer, aspect="auto", cmap=colours, vmin=least, vmax=most, interpolation="none")
    shown = sorted({round(share * (shape[1] - 1)) for share in (0.03, 1 / 3, 2 / 3, 0.97)})
    stamps = [first + pd.Timedelta(days=n * wide) for n in shown]
    axes.set_xticks(shown, [f"{stamp:%Y-%m-%d}" for stamp in stamps])
    axes.set_yticks(range(len(names)), [clean(name, 20) for name in names], parse_math=False)
    plain(axes)
    axes.grid(visible=False)
    return png(figure)


def correlation_png(names: Sequence[str], found: Array) -> bytes:
    """A square a pair, red where both move together, blue where against each other."""
    n = len(names)
    figure = blank(min(1.5 + 0.45 * n, 7.2))
    axes = figure.subplots()
    axes.set_facecolor("#B9C2CA")
    picture = axes.imshow(np.ma.masked_invalid(found), cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [clean(name, 14) for name in names]
    size = 8 if n <= 24 else 6
    axes.set_xticks(range(n), labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(n), labels, fontsize=size, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)
    for row, column in np.argwhere(np.isfinite(found)) if n <= NUMBERED else ():
        value = found[row, column]
        colour = "white" if abs(value) > 0.6 else INK
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
    bar = figure.colorbar(picture, ax=axes, shrink=0.7, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=INK, length=2.5)
    return png(figure)
