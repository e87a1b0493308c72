"""All instruments at a glance: levels by day; of one instrument a year."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.plots import heat_map
from components.reading import health, instruments
from components.reading.instruments import Span
from components.words import is_daily

# So many instruments are drawn at once, and so many of their last bars.
DRAWN, BARS = 50, 30

# Instruments that something was told of in so long come first.
RECENT = pd.Timedelta(days=45)

PLAIN = {"displayModeBar": False}


@careful
def show_glance(held: Held) -> None:
    """Show the heat map, and one instrument's year beneath it."""
    interval = held.settings.interval
    text = st.text_input(
        "Search instruments",
        placeholder=f"part of a name; empty: {DRAWN}, those told of lately first",
        key="glance_text",
        max_chars=40,
    ).strip()
    symbols = _symbols(held, held.version, interval, text)
    if not symbols:
        said = f"No judged instrument's name has {text!r} in it. Try less of it." if text else ""
        st.info(escaped(said) or "No instrument was judged yet: run `python main.py run`.")
        return
    rows = _glance(held, held.version, tuple(symbols), interval, held.as_of)
    if rows.empty:
        st.info("These instruments have no bar that was judged by then.")
        return
    st.plotly_chart(
        heat_map.glance(rows, interval),
        config=PLAIN,
        key="glance",
        alt=heat_map.glance_words(rows),
    )
    st.caption(escaped(heat_map.legend_words()))
    if is_daily(interval):
        _show_year(held, symbols, interval)


def _show_year(held: Held, symbols: list[str], interval: str) -> None:
    left, right = st.columns(2)
    symbol = left.selectbox("A year of", symbols, key="year_of")
    last = held.as_of.year
    year = int(right.number_input("Year", 1970, last, last, step=1, key="year"))
    rows = _year(held, held.version, symbol, interval, year)
    if rows.empty:
        st.info(f"No bar of {escaped(symbol)} was judged in {year}: choose another year.")
        return
    st.plotly_chart(
        heat_map.year(rows, year),
        config=PLAIN,
        key="year_calendar",
        alt=f"{symbol} in {year}. {heat_map.glance_words(rows)}",
    )


@st.cache_data(max_entries=100, ttl=3600, show_spinner=False)
def _symbols(_held: Held, _version: str, interval: str, text: str) -> list[str]:
    if text:
        return _held.ask(instruments.names, interval, text, DRAWN)
    since = _held.as_of - RECENT
    told = _held.ask(health.told, interval, _held.as_of, since, DRAWN)
    # A market is told of under its calendar's name, which no instrument has.
    known = _held.ask(instruments.newest, told, interval, _held.as_of)["symbol"]
    others = _held.ask(instruments.names, interval, "", DRAWN) if len(known) < DRAWN else []
    return sorted(list(dict.fromkeys([*known, *others]))[:DRAWN])


@st.cache_data(max_entries=50, ttl=3600, show_spinner=False)
def _glance(
    _held: Held, _version: str, symbols: tuple[str, ...], interval: str, as_of: pd.Timestamp
) -> pd.DataFrame:
    return _held.ask(instruments.glance, list(symbols), interval, BARS, as_of)


@st.cache_data(max_entries=200, ttl=3600, show_spinner=False)
def _year(_held: Held, _version: str, symbol: str, interval: str, year: int) -> pd.DataFrame:
    since = pd.Timestamp(year=year, month=1, day=1, tz="UTC")
    until = pd.Timestamp(year=year + 1, month=1, day=1, tz="UTC")
    return _held.ask(instruments.verdicts, Span(symbol, interval, 400, since, until))
