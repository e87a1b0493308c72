"""What a replay plays: an interval, some instruments, a day or a span of days."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.reading import instruments, live
from components.rows import is_intraday

# Of each instrument so many bars are played at most: two days of minutes, ten years of days.
MOST_BARS = 3000

# Pictures of more instruments are drawn no more smoothly.
MOST_INSTRUMENTS = 4

OFFERED = 200

# Without a choice so many of the newest days are played of daily bars.
DAYS = 365

DAY = pd.Timedelta(days=1)

NOTHING = (
    "Nothing is judged yet, so nothing can be played again. Run `python main.py run`, or "
    "`python main.py backfill --since ...` and then `run`."
)


@dataclass(frozen=True)
class Choice:
    """Bars of some instruments that open in [since, until)."""

    interval: str
    symbols: tuple[str, ...]
    since: pd.Timestamp
    until: pd.Timestamp

    @property
    def when(self) -> str:
        """The days in words."""
        last = self.until - DAY
        if last <= self.since:
            return f"on {self.since:%Y-%m-%d} (UTC)"
        return f"from {self.since:%Y-%m-%d} to {last:%Y-%m-%d}"


def chosen(held: Held) -> Choice | None:
    """What the visitor picks; None until that is something."""
    found = _intervals(held, held.version)
    if not found:
        st.info(NOTHING, icon=":material/info:")
        return None
    row = st.container(horizontal=True, vertical_alignment="bottom")
    interval = row.selectbox("Bars of", found, width=110)
    text = row.text_input(
        "Find an instrument", placeholder="part of its name", max_chars=100, width=200
    )
    names = _names(held, held.version, interval, text.strip())
    symbols = _picked(row, f"replay_{interval}", names)
    if not symbols:
        said = f"No instrument has “{escaped(text)}” in its name." if not names else "Choose one."
        st.info(said, icon=":material/search_off:")
        return None
    first, last = _span(held, held.version, interval, symbols[0])
    days = _days(row, interval, first, last)
    if days is None:
        return None
    return Choice(interval, symbols, days[0], days[1] + DAY)


def _picked(row: Any, key: str, names: list[str]) -> tuple[str, ...]:
    """Those picked before stay on offer, whatever is searched for next."""
    before = [str(each) for each in st.session_state.get(key, [])]
    offered = [*before, *(name for name in names if name not in before)]
    if not before and names and key not in st.session_state:
        st.session_state[key] = names[:1]
    picked = row.multiselect(
        f"Instruments (up to {MOST_INSTRUMENTS})",
        offered,
        key=key,
        max_selections=MOST_INSTRUMENTS,
    )
    return tuple(map(str, picked))


def _days(
    row: Any, interval: str, first: pd.Timestamp, last: pd.Timestamp
) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """The first and the last day; None while only one end of a span is picked."""
    bounds = {"min_value": first.date(), "max_value": last.date(), "format": "YYYY-MM-DD"}
    if is_intraday(interval):
        day = row.date_input("Day, UTC", last.date(), **bounds, width=150)
        return (_midnight(day), _midnight(day)) if isinstance(day, date) else None
    start = max(first, last - DAYS * DAY).date()
    span = row.date_input("Days, first to last", (start, last.date()), **bounds, width=240)
    if not (isinstance(span, tuple) and len(span) == 2):
        st.info("Choose the last day, too.", icon=":material/date_range:")
        return None
    return _midnight(span[0]), _midnight(span[1])


def _midnight(day: date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC")


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def _intervals(_held: Held, version: str) -> list[str]:  # noqa: ARG001 - the key
    return _held.ask(live.judged_intervals)


@st.cache_data(ttl=600, max_entries=64, show_spinner=False)
def _names(_held: Held, version: str, interval: str, text: str) -> list[str]:  # noqa: ARG001
    return _held.ask(instruments.names, interval, text, OFFERED)


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _span(
    _held: Held,
    version: str,  # noqa: ARG001 - the key
    interval: str,
    symbol: str,
) -> tuple[pd.Timestamp, pd.Timestamp]:
    found = _held.ask(live.span, symbol, interval)
    if found.empty:
        return _held.now, _held.now
    return pd.Timestamp(found["first"].iloc[0]), pd.Timestamp(found["last"].iloc[0])
