"""To choose instruments by search, and a span of days."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.reading import instruments
from components.words import is_daily

FOUND = 200


def choose_symbols(held: Held, key: str, most: int) -> list[str]:
    """Ask for instruments among those that are held; the first found is chosen to begin with."""
    text = st.text_input(
        "Search instruments",
        placeholder="part of a name; empty: all, by their names",
        key=f"{key}_text",
        max_chars=40,
    ).strip()
    interval = held.settings.interval
    found = _found(held, held.version, interval, text, is_judged=not is_daily(interval))
    return st.multiselect(
        f"Instruments, {most} at most (the first {FOUND} that fit are offered)"
        if len(found) >= FOUND
        else f"Instruments, {most} at most",
        found,
        default=found[:1],
        max_selections=most,
        key=f"{key}_symbols_{text}",
        placeholder="none has this in its name" if not found else "choose",
    )


def choose_span(held: Held, key: str, days: int) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Ask for the first day and the last; give [first, the day after the last)."""
    left, right = st.columns(2)
    last = held.as_of.date()
    first = (held.as_of - pd.Timedelta(days=days)).date()
    least, greatest = pd.Timestamp("1970-01-01").date(), (held.now + pd.Timedelta(days=1)).date()
    form = "YYYY-MM-DD"
    since = left.date_input(
        "From (UTC day)", first, least, greatest, key=f"{key}_since", format=form
    )
    until = right.date_input(
        "To, this day too", last, least, greatest, key=f"{key}_until", format=form
    )
    return (
        pd.Timestamp(since, tz="UTC"),
        pd.Timestamp(until, tz="UTC") + pd.Timedelta(days=1),
    )


@st.cache_data(max_entries=100, ttl=120, show_spinner=False)
def _found(_held: Held, _version: str, interval: str, text: str, *, is_judged: bool) -> list[str]:
    return _held.ask(instruments.names, interval, text, FOUND, judged=is_judged)
