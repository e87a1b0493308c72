"""A calendar of years as a picture: one square a day, the darker the more was told; pure."""

from datetime import date, timedelta

import pandas as pd

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
