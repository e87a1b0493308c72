"""Calendars as pictures: years of squares, the darker the more was told; strips of days; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from html import escape

import numpy as np
import pandas as pd

from components.words import clean

# One square and the space to the next, in pixels of the picture.
SIDE, STEP = 13, 16
LEFT, TOP = 46, 22

# Class names of the colours, from nothing told to a crowded day; the page gives the colours.
LEVELS = ((0, "d0"), (1, "d1"), (2, "d2"), (5, "d3"), (10, "d4"))

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def calendar_svg(told: "pd.Series[int]", since: pd.Timestamp, until: pd.Timestamp) -> list[str]:
    """Draw one picture a year, newest last.

    Parameters
    ----------
    told : Series of int
        Number of instruments told, by day (UTC midnight); days without are absent.
    since, until : Timestamp
        Days of [since, until) have a square; those outside are left blank.
    """
    counts = {pd.Timestamp(str(day)).date(): int(n) for day, n in told.items()}
    last = (until - pd.Timedelta(days=1)).date()
    first = since.date()
    return [
        _year(year, counts, max(first, date(year, 1, 1)), min(last, date(year, 12, 31)))
        for year in range(first.year, last.year + 1)
    ]


def _year(year: int, counts: dict[date, int], first: date, last: date) -> str:
    start = date(year, 1, 1)
    n_weeks = _week(date(year, 12, 31), start) + 1
    width, height = LEFT + n_weeks * STEP, TOP + 7 * STEP
    total = sum(n for day, n in counts.items() if first <= day <= last)
    squares = [
        _square(first + timedelta(days=n), start, counts) for n in range((last - first).days + 1)
    ]
    months = [
        f'<text x="{LEFT + _week(date(year, m, 1), start) * STEP}" y="14">{MONTHS[m - 1]}</text>'
        for m in range(1, 13)
    ]
    days = [
        f'<text x="{LEFT - 8}" y="{TOP + n * STEP + 11}" text-anchor="end">{name}</text>'
        for n, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"))
    ]
    return (
        f'<svg class="calendar" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{year}: {total} instrument days told">'
        f'<text class="year" x="0" y="14">{year}</text>{"".join(months + days + squares)}</svg>'
    )


def _week(day: date, start: date) -> int:
    return (day.toordinal() - start.toordinal() + start.weekday()) // 7


def _square(day: date, start: date, counts: dict[date, int]) -> str:
    n = counts.get(day, 0)
    colour = [name for least, name in LEVELS if n >= least][-1]
    x, y = LEFT + _week(day, start) * STEP, TOP + day.weekday() * STEP
    told = "nothing told" if not n else f"{n} instrument{'' if n == 1 else 's'} told"
    return (
        f'<rect class="{colour}" x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="2">'
        f"<title>{day:%Y-%m-%d}: {told}</title></rect>"
    )


# A strip's name, its days and the step to the next strip, in pixels of the picture.
NAMES, PLOT, ROW, HEAD = 150, 1000, 17, 22

# Days of a state are a bar: how far below the strip's top its middle is, and how thick. What is
# not whole lies upon what is, so that a state shows by its shape as well as by its colour.
SHAPES: Mapping[str, tuple[float, float]] = {
    "whole": (8, 9),
    "no trade": (8, 5),
    "part missing": (10.5, 4),
    "all missing": (8, 14),
    "venue down": (5.5, 4),
    "kept aside": (8, 9),
}
LIES_UPON = {"part missing": "whole", "venue down": "whole"}

# Up to so many days each has a square of its own, and weeks have dates.
SQUARES = 92


@dataclass(frozen=True)
class Strip:
    """One instrument's days: of each state the runs (day since 1970, number of days)."""

    name: str
    runs: Mapping[str, list[tuple[int, int]]] = field(default_factory=dict)


def strip_of(name: str, days: pd.Series, states: pd.Series) -> Strip:
    """Join neighbouring days of one state; days (UTC midnights) ascend."""
    at = days.to_numpy(dtype="datetime64[D]").astype(np.int64)
    words = states.to_numpy(dtype=object)
    begins = np.flatnonzero(np.r_[True, (np.diff(at) != 1) | (words[1:] != words[:-1])])
    sizes = at[np.r_[begins[1:], len(at)] - 1] - at[begins] + 1
    runs: dict[str, list[tuple[int, int]]] = {}
    for word, first, size in zip(words[begins], at[begins], sizes, strict=True):
        runs.setdefault(str(word), []).append((int(first), int(size)))
    return Strip(name, runs)


def strips_svg(strips: Sequence[Strip], first: pd.Timestamp, last: pd.Timestamp) -> list[str]:
    """Draw a strip of days below the other: one picture, or one a year, the newest first.

    Parameters
    ----------
    strips : sequence of Strip
        Their names are escaped here.
    first, last : Timestamp
        The days drawn, both included.
    """
    since, until = first.date(), last.date()
    if (until - since).days < 366:
        return [_strips(strips, since, until, f"{since} to {until}")]
    return [
        _strips(strips, date(year, 1, 1), date(year, 12, 31), str(year))
        for year in range(until.year, since.year - 1, -1)
    ]


def _strips(strips: Sequence[Strip], since: date, until: date, title: str) -> str:
    n_days = (until - since).days + 1
    wide = min(PLOT / n_days, 14.0)
    origin = (since - date(1970, 1, 1)).days
    drawn = [_strip(strip, place, origin, n_days) for place, strip in enumerate(strips)]
    names = [
        f'<text x="{NAMES - 8}" y="{HEAD + n * ROW + 12}" text-anchor="end">'
        f"{escape(clean(strip.name, 20))}</text>"
        for n, strip in enumerate(strips)
    ]
    height = HEAD + len(strips) * ROW + 4
    ticks = "".join(
        f'<text x="{NAMES + (day - since).days * wide:.1f}" y="14">{words}</text>'
        f'<path class="tick" d="M{NAMES + (day - since).days * wide:.1f} 17V{height}"/>'
        for day, words in _dates(since, until)
    )
    return (
        f'<svg class="strips" viewBox="0 0 {NAMES + PLOT} {height}" role="img" '
        f'aria-label="{title}: days of {len(strips)} instruments, in the words of the legend">'
        f'<text class="year" x="0" y="14">{title if n_days > 364 else ""}</text>{ticks}'
        f'{"".join(names)}<g transform="translate({NAMES} {HEAD}) scale({wide:.3f} 1)">'
        f"{''.join(drawn)}</g></svg>"
    )


def _dates(since: date, until: date) -> list[tuple[date, str]]:
    """The days that are written above: the months, of few days the weeks."""
    n_days = (until - since).days + 1
    every = [since + timedelta(days=n) for n in range(n_days)]
    if n_days <= SQUARES:
        return [(day, f"{MONTHS[day.month - 1]} {day.day}") for day in every if day.weekday() == 0]
    return [(day, MONTHS[day.month - 1]) for day in every if day.day == 1]


def _strip(strip: Strip, place: int, origin: int, n_days: int) -> str:
    """The paths of one strip, in days across and pixels down."""
    runs = {
        state: [(max(at - origin, 0), min(at - origin + n, n_days)) for at, n in spans]
        for state, spans in strip.runs.items()
    }
    runs = {state: [each for each in spans if each[0] < each[1]] for state, spans in runs.items()}
    runs = {state: spans for state, spans in runs.items() if spans}
    if not runs:
        return ""
    ends = [end for spans in runs.values() for each in spans for end in each]
    top = place * ROW
    # Where nothing is due the line between the bars shows.
    drawn = [_bar("closed", top + 8, 1.5, f"M{min(ends)} {{y}}H{max(ends)}", "")]
    for under, over in [(None, "whole"), *((LIES_UPON.get(s), s) for s in runs if s != "whole")]:
        days = runs.get(over, [])
        said = f"{clean(strip.name, 40)}: {over}, {sum(b - a for a, b in days)} days"
        if under and days:
            drawn.append(_state(under, days, top, n_days, ""))
        if days:
            drawn.append(_state(over, days, top, n_days, said))
    return "".join(drawn)


def _state(state: str, days: list[tuple[int, int]], top: int, n_days: int, said: str) -> str:
    middle, thick = SHAPES[state]
    if n_days <= SQUARES:
        squares = (day for first, end in days for day in range(first, end))
        path = "".join(f"M{day} {{y}}h.86" for day in squares)
    else:
        path = "".join(f"M{first} {{y}}H{end}" for first, end in days)
    return _bar(state, top + middle, thick, path, said)


def _bar(state: str, y: float, thick: float, path: str, said: str) -> str:
    title = f"<title>{escape(said)}</title>" if said else ""
    return (
        f'<path class="s-{state.replace(" ", "-")}" stroke-width="{thick:g}" '
        f'd="{path.format(y=f"{y:g}")}">{title}</path>'
    )


def swatch_svg(state: str) -> str:
    """The state's bar for a legend."""
    middle, thick = SHAPES.get(state, (8, 1.5))
    under = LIES_UPON.get(state)
    lower = _state(under, [(0, 14)], 0, SQUARES + 1, "") if under else ""
    upper = _bar(state, middle, thick, "M0 {y}H14", "")
    box = 'width="14" height="16" viewBox="0 0 14 16" aria-hidden="true"'
    return f"<svg {box}>{lower}{upper}</svg>"
