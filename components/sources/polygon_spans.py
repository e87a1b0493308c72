"""How requests are cut at New York's days and months, and asked of Massive (Polygon)."""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import pandas as pd

from components.records import CandleRequest
from components.sessions import Calendars, length

NEW_YORK: Final = "America/New_York"
DAY: Final = pd.Timedelta(days=1)

# Any instrument of New York stands for its calendar, whose days the flat files have.
OF_NEW_YORK: Final = "SPY"

# Extended hours, counted from midnight in New York.
FIRST_TRADE: Final = pd.Timedelta(hours=4)
LAST_TRADE: Final = pd.Timedelta(hours=20)


def session_date(ts: pd.Timestamp) -> pd.Timestamp:
    """Give the date in New York at an instant, as that date at 00:00 UTC."""
    return ts.tz_convert(NEW_YORK).tz_localize(None).normalize().tz_localize("UTC")


def midnight(date: pd.Timestamp) -> pd.Timestamp:
    """Give the instant at which a date begins in New York."""
    local = date.tz_localize(None).normalize().tz_localize(NEW_YORK)
    return local.tz_convert("UTC").as_unit("us")


def sessions_of(request: CandleRequest) -> pd.DatetimeIndex:
    """List the dates of New York's sessions in the request."""
    since, until = request.since, request.until
    if length(request.interval) < DAY:
        last = until - pd.Timedelta(microseconds=1)
        since, until = session_date(since), session_date(last) + DAY
    return Calendars().expected(OF_NEW_YORK, "1d", since, until)


def by_sessions(request: CandleRequest) -> tuple[CandleRequest, ...]:
    """Cut a request into the days of New York's sessions."""
    begins = [midnight(date) for date in sessions_of(request)]
    ends = [midnight(date + DAY) for date in sessions_of(request)]
    # A few hours of a night, in which nothing trades, are not worth a file.
    return tuple(
        replace(request, since=max(begin, request.since), until=min(end, request.until))
        for begin, end in zip(begins, ends, strict=True)
        if request.since < begin + LAST_TRADE and request.until > begin + FIRST_TRADE
    )


def by_months(request: CandleRequest, time_zone: str) -> tuple[CandleRequest, ...]:
    """Cut a request into calendar months, and the day that is not over from those before it.

    Of that day alone a plan may give some bars later.
    """
    since, until = (ts.tz_convert(time_zone) for ts in (request.since, request.until))
    months = pd.date_range(since, until, freq="MS", normalize=True).tz_convert("UTC").as_unit("us")
    today = midnight(session_date(request.as_of))
    # Less than a day, as between midnight in London and in New York, is no piece of its own.
    edges = {edge for edge in months if edge <= min(request.until, today) - DAY} | {today}
    edges = {edge for edge in edges if request.since + DAY <= edge < request.until}
    return tuple(
        replace(request, since=begin, until=end)
        for begin, end in pairwise([request.since, *sorted(edges), request.until])
    )


def before_today(request: CandleRequest) -> CandleRequest | None:
    """Cut a request at the beginning of New York's day; None when it ends before it."""
    today = session_date(request.as_of)
    edge = today if length(request.interval) >= DAY else midnight(today)
    return None if request.until <= edge else replace(request, until=edge)


def span_of(request: CandleRequest) -> tuple[int, str, str | int, str | int]:
    """Give multiplier, time span, first and last moment of a request, as the API takes them."""
    last = request.until - pd.Timedelta(microseconds=1)
    step = length(request.interval)
    if step >= DAY:
        return 1, "day", f"{request.since:%Y-%m-%d}", f"{last:%Y-%m-%d}"
    hour = pd.Timedelta(hours=1)
    unit, name = (hour, "hour") if step % hour == pd.Timedelta(0) else (hour / 60, "minute")
    return step // unit, name, _milliseconds(request.since), _milliseconds(last)


def _milliseconds(ts: pd.Timestamp) -> int:
    return int(ts.timestamp() * 1000)
