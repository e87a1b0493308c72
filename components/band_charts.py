"""Pictures of a band: what was expected of each bin, within which bounds, and what came."""

import math
from typing import Any

import numpy as np
import pandas as pd

from components.bins import instants
from components.charts import (
    BEHIND_LABEL,
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    TITLE,
    blank,
    plain,
    png,
)
from components.panels import Array, Flags
from components.records import BandChart
from components.words import clean, level_word, price

# How much of the past is shown: two weeks, so that each bin of the week is there twice; of short
# bins as many as have a pixel of their own.
SHOWN = pd.Timedelta(days=14)
MOST_BINS = 1_400

# Of bins to come the band is paler than ``PALE``.
PALER = "#EAF3F9"

# From here on a bin is marked: MEDIUM by an empty triangle, HIGH by a full one.
MEDIUM, HIGH = 2, 3

# A longer title leaves the picture at its right edge.
LONGEST_TITLE, LONGEST_UNIT = 80, 40

# Values beyond are drawn at the edge: floats that large have no room for a margin.
LARGEST = 1e30

# A band so many times as far from zero as all that came and is expected would hide both.
MOST_AIR = 3.0

LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": 8,
    "labelcolor": INK,
    "loc": "outside upper left",
    "handlelength": 1.6,
    "columnspacing": 1.4,
    "borderaxespad": 0.2,
}


def band_png(rows: pd.DataFrame, *, title: str, unit: str, zone: str) -> bytes:
    """The last two weeks of one series, and the bins to come behind a line that says "now".

    Parameters
    ----------
    rows : DataFrame
        Bins of one series, oldest first: ts, ends_at, actual, expected, lower, upper, level,
        so_far, nowcast.
    title, unit : str
        Any text; of an empty unit the axis says "value".
    zone : str
        On whose clock the time axis runs.
    """
    shown = _shown(rows)
    columns = ["actual", "lower", "expected", "so_far", "nowcast"]
    has_numbers = len(shown) > 0 and bool(shown[columns].notna().any(axis=None))
    figure = blank(3.0)
    axes = figure.subplots()
    axes.set_title(clean(title, LONGEST_TITLE), **TITLE)
    axes.set_ylabel(_per_bin(unit), fontsize=8, color=INK, parse_math=False)
    plain(axes)
    if not has_numbers:
        said = "no value and no band yet" if len(shown) else "no bins to show"
        axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", fontsize=9, color=GREY)
        axes.set_yticks([])
    if shown.empty:
        axes.set_xticks([])
        return png(figure)
    _draw(axes, shown)
    if has_numbers:
        _scale(axes, shown)
    _clock(axes, shown, zone)
    handles, names = axes.get_legend_handles_labels()
    if names:
        figure.legend(handles, names, ncols=len(names), **LEGEND)
    if "judged" in shown:
        _tell(axes, shown, zone)
    return png(figure)


def chart_png(chart: BandChart) -> bytes:
    """The same picture of an alert, with the judged bin marked."""
    ts = pd.DatetimeIndex(pd.to_datetime(list(chart.ts), utc=True, format="ISO8601"))
    length = min(np.diff(ts), default=np.timedelta64(2, "h"))
    rows = pd.DataFrame(
        {
            "ts": ts,
            "ends_at": [*ts[1:], *(ts[-1:] + length)],
            "actual": chart.actual,
            "expected": chart.expected,
            "lower": chart.lower,
            "upper": chart.upper,
            "level": 0,
            "so_far": math.nan,
            "nowcast": math.nan,
            "judged": [each == chart.judged for each in chart.ts],
        }
    )
    return band_png(rows, title=chart.title, unit=chart.unit, zone=chart.zone)


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows to draw, with ``since`` and ``until`` in hours from the first; numbers as floats."""
    if rows.empty:
        return rows
    recent = rows[rows["ts"] >= rows["ends_at"].max() - SHOWN].tail(MOST_BINS)
    first = recent["ts"].iloc[0]
    hours = {
        name: (recent[column] - first) / pd.Timedelta(hours=1)
        for name, column in (("since", "ts"), ("until", "ends_at"))
    }
    columns = ("actual", "expected", "lower", "upper", "so_far", "nowcast")
    drawable = {name: _drawable(recent[name]) for name in columns}
    found: pd.DataFrame = recent.assign(**hours, **drawable)
    return found


def _drawable(column: pd.Series) -> Array:
    values = column.to_numpy(dtype=float, na_value=np.nan)
    found: Array = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan)
    return found


def _per_bin(unit: str) -> str:
    return f"{clean(unit, LONGEST_UNIT) or 'value'} a bin"


def _draw(axes: Any, shown: pd.DataFrame) -> None:
    now = _now(shown)
    is_coming = (shown["since"] >= now).to_numpy()
    past, coming = shown[~is_coming], shown[is_coming]
    for part, colour, name in ((past, PALE, "band"), (coming, PALER, "band to come")):
        if part[["lower", "upper"]].notna().all(axis=1).any():
            at, lower, upper = _steps(part, "lower", "upper")
            # The edge keeps a band of no height in sight: nothing is expected at night.
            axes.fill_between(
                at, lower, upper, facecolor=colour, edgecolor=PALE, linewidth=0.8, label=name
            )
    for part, line, name in ((past, "-", "expected"), (coming, (0, (3, 2)), "")):
        if part["expected"].notna().any():
            at, expected = _steps(part, "expected")
            axes.plot(
                at, expected, color=INK, linewidth=0.8, alpha=0.75, linestyle=line, label=name
            )
    if shown["actual"].notna().any():
        at, actual = _steps(shown, "actual")
        axes.plot(at, actual, color=BLUE, linewidth=1.3, label="actual")
    _mark_alarms(axes, shown)
    _mark_under_way(axes, shown)
    if past["actual"].notna().any() and len(coming):
        axes.axvline(now, color=INK, linewidth=0.9)
        axes.annotate(
            "now",
            (now, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            color=INK,
            bbox=BEHIND_LABEL,
        )


def _now(shown: pd.DataFrame) -> float:
    """Where what is known ends: the start of the bin that is under way, or of the first to come."""
    closed = shown.loc[shown["actual"].notna(), "until"]
    under_way = shown.loc[shown[["so_far", "nowcast"]].notna().any(axis=1), "since"]
    return float(under_way.iloc[0] if len(under_way) else closed.max() if len(closed) else -1)


def _steps(part: pd.DataFrame, *columns: str) -> tuple[Array, ...]:
    """Each value from its bin's start to its end; nothing where a bin is missing between two."""
    since, until = part["since"].to_numpy(), part["until"].to_numpy()
    follows = np.append(np.abs(since[1:] - until[:-1]) < 1e-6, True)
    at = np.column_stack([since, until, until]).ravel()
    keep = np.column_stack([np.ones((len(part), 2), dtype=bool), ~follows]).ravel()
    values = [part[name].to_numpy() for name in columns]
    gap = np.full(len(part), np.nan)
    return at[keep], *(np.column_stack([v, v, gap]).ravel()[keep] for v in values)


def _mark_alarms(axes: Any, shown: pd.DataFrame) -> None:
    """Triangles point away from the band; those of HIGH are full and larger."""
    level = shown["level"].fillna(0).to_numpy(dtype=float)
    # A bin without a value is no bin that was judged.
    is_known = shown["actual"].notna().to_numpy()
    # Where no value is expected, an alarm of nothing is one of too little.
    is_silent = shown["expected"].isna() & (shown["actual"] <= 0)
    is_below = ((shown["actual"] < shown["expected"]) | is_silent).to_numpy()
    for size, least, face, own in (
        (5.5, MEDIUM, "white", (level >= MEDIUM) & (level < HIGH)),
        (7.0, HIGH, ORANGE, level >= HIGH),
    ):
        for mark, is_side in (("^", ~is_below), ("v", is_below)):
            found = shown[own & is_side & is_known]
            axes.plot(
                _middle(found),
                found["actual"],
                mark,
                markersize=size,
                color=ORANGE,
                markerfacecolor=face,
                markeredgewidth=1.3,
                zorder=4,
                label=level_word(least) if _is_first(own & is_known, is_side) else "",
                clip_on=False,
            )


def _is_first(own: Flags, is_side: Flags) -> bool:
    """Whether this side names the level in the legend: the one that has a mark, once."""
    return bool((own & is_side).any()) and not (bool((own & ~is_side).any()) and is_side[own][-1])


def _middle(part: pd.DataFrame) -> pd.Series:
    return (part["since"] + part["until"]) / 2


def _mark_under_way(axes: Any, shown: pd.DataFrame) -> None:
    """A thick stroke for the sum so far, and a diamond where it points to."""
    for row in shown[shown[["so_far", "nowcast"]].notna().any(axis=1)].to_dict("records"):
        middle = (row["since"] + row["until"]) / 2
        axes.plot([middle] * 2, [row["so_far"], row["nowcast"]], ":", color=BLUE, linewidth=1.2)
        if not math.isnan(row["so_far"]):
            axes.plot([middle], [row["so_far"]], "_", color=BLUE, markersize=8, label="so far")
        if not math.isnan(row["nowcast"]):
            axes.plot(
                *([middle], [row["nowcast"]], "D"),
                color=BLUE,
                markersize=5,
                markerfacecolor="white",
                zorder=4,
                label="nowcast",
            )


def _scale(axes: Any, shown: pd.DataFrame) -> None:
    """The value axis: from zero where that wastes little, with numbers as short as they can be."""
    line = shown[["actual", "expected", "so_far", "nowcast"]].to_numpy()
    band = shown[["lower", "upper"]].to_numpy()
    found = line[~np.isnan(line)]
    edges = band[~np.isnan(band)]
    if len(found):
        reach = MOST_AIR * float(np.abs(found).max())
        edges = np.clip(edges, -reach, reach) if reach else edges
    every = np.concatenate([found, edges])
    low, high = (float(every.min()), float(every.max())) if every.any() else (0.0, 1.0)
    if 0 <= low < high / 2:
        low = 0.0
    room = high - low
    if room <= 1e-9 * max(abs(low), abs(high)):
        room = abs(high) or 1.0
    below = 0.03 if low == 0 else 0.06
    axes.set_ylim(low - below * room, high + 0.14 * room)
    bottom, top = axes.get_ylim()
    ticks = [float(tick) for tick in axes.get_yticks() if bottom <= tick <= top]
    axes.set_yticks(ticks, _short(ticks))


def _short(ticks: list[float]) -> list[str]:
    """Numbers of an axis in few letters, all in one unit and told apart: 0, 500k; 1.25M, 1.5M."""
    largest = max(map(abs, ticks), default=0.0)
    step = min(np.diff(ticks), default=largest)
    if largest >= 1e15 or 0 < largest < 1e-4:
        return [f"{tick:.3g}" for tick in ticks]
    named = (("tn", 1e12), ("bn", 1e9), ("M", 1e6), ("k", 1e3))
    name, size = next((each for each in named if largest >= 10 * each[1]), ("", 1.0))
    decimals = max(0, -math.floor(math.log10(step / size) + 1e-9)) if step > 0 else 0
    # A step of 0.25 needs one digit more than one of 0.2.
    is_finer = abs(step / size * 10**decimals - round(step / size * 10**decimals)) > 1e-6
    decimals += is_finer
    if decimals > 4 and name:
        name, size, decimals = "", 1.0, max(0, -math.floor(math.log10(step)))
    texts = [f"{tick / size:,.{decimals}f}" for tick in ticks]
    return [f"{text}{name}" if tick else "0" for text, tick in zip(texts, ticks, strict=True)]


def _clock(axes: Any, shown: pd.DataFrame, zone: str) -> None:
    """The time axis: days where they fit, times of day where they are few, on ``zone``'s clock."""
    first, last = shown["ts"].iloc[0], shown["ends_at"].iloc[-1]
    width = float(shown["until"].iloc[-1]) or 1.0
    axes.set_xlim(-0.01 * width, 1.01 * width)
    local = pd.DatetimeIndex([first, last]).tz_convert(zone)
    n_days = (last - first) / pd.Timedelta(days=1)
    if n_days > 3:
        every = math.ceil(n_days / 8)
        at = _on_the_clock(local, pd.Timedelta(days=1), zone)
        # Faint lines at every midnight, words at some.
        axes.set_xticks(_hours(at, first), minor=True)
        axes.grid(axis="x", which="minor", color="#E8ECF0", linewidth=0.7)
        axes.tick_params(which="minor", length=0)
        at = at[::every]
        words = [f"{day.day_name()[:3]} {day.day} {day.month_name()[:3]}" for day in at]
    else:
        step = next((h for h in (1, 2, 3, 4, 6) if n_days * 24 / h <= 9), 12)
        at = _on_the_clock(local, pd.Timedelta(hours=step), zone)
        if not len(at):
            at = local[:1]
        words = [f"{ts:%H:%M}" for ts in at]
        named = {at[0]} | {ts for ts in at if ts.hour == ts.minute == 0}
        words = [
            f"{word}\n{ts.day} {ts.month_name()[:3]}" if ts in named else word
            for word, ts in zip(words, at, strict=True)
        ]
    axes.set_xticks(_hours(at, first), words)
    years = sorted({local[0].year, local[1].year})
    said = " to ".join(map(str, years))
    axes.set_xlabel(f"{said}, clock of {zone}", fontsize=8, color=INK, parse_math=False)


def _on_the_clock(local: pd.DatetimeIndex, step: pd.Timedelta, zone: str) -> pd.DatetimeIndex:
    """Round times of a zone between two of its instants; one that the clock skips is the jump."""
    first, last = (each.tz_localize(None) for each in local)
    round_times = pd.date_range(first.normalize(), last, freq=step)
    found = instants(round_times, zone).tz_convert(zone)
    return found[(found >= local[0]) & (found <= local[1])]


def _hours(at: pd.DatetimeIndex, first: pd.Timestamp) -> list[float]:
    return [float(each) for each in (at - first) / pd.Timedelta(hours=1)]


def _tell(axes: Any, shown: pd.DataFrame, zone: str) -> None:
    """Mark the judged bin of an alert, and say when it began and what came."""
    for row in shown[shown["judged"]].to_dict("records"):
        if math.isnan(row["actual"]):
            continue
        middle = (row["since"] + row["until"]) / 2
        axes.plot([middle], [row["actual"]], "o", color=ORANGE, markersize=6, mec="white", zorder=4)
        began = row["ts"].tz_convert(zone)
        is_late = middle > shown["until"].iloc[-1] / 2
        axes.annotate(
            f"{began:%m-%d %H:%M}: {price(row['actual'])}",
            (middle, row["actual"]),
            xytext=(0.02 if is_late else 0.98, 0.98),
            textcoords="axes fraction",
            ha="left" if is_late else "right",
            va="top",
            fontsize=8.5,
            color=ORANGE,
            weight="bold",
            bbox=BEHIND_LABEL,
            zorder=5,
        )
