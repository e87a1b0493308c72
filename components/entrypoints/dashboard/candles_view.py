"""Candles that are held: as a picture, as a table, as files."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.choosing import choose_span, choose_symbols
from components.entrypoints.dashboard.exporting import MOST_ROWS, show_exports
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.plots import candles
from components.reading import instruments
from components.reading.instruments import Span
from components.words import counted, moment

# So many instruments at once, and so many candles in a picture: more are no longer told apart.
MOST, DRAWN = 8, 1000

PLAIN = {"displayModeBar": False}

NOTHING = (
    "No candle of these is held in this span. Choose another span or instrument, or fetch them: "
    "Download history."
)


@careful
def show_candles(held: Held) -> None:
    """Show what is chosen."""
    symbols = choose_symbols(held, "candles", MOST)
    since, until = choose_span(held, "candles", 365)
    if since >= until:
        st.warning("The first day lies after the last: turn them round.")
        return
    if not symbols:
        st.info("Choose an instrument to see its candles.")
        return
    limit = MOST_ROWS // len(symbols)
    frames = [chosen(held, symbol, since, until, limit) for symbol in symbols]
    rows = pd.concat([each for each in frames if len(each)] or frames[:1], ignore_index=True)
    if rows.empty:
        st.info(NOTHING)
        return
    _show_picture(held, symbols, rows)
    st.write(f"{counted(len(rows), 'candle')}, the newest first; prices in the quote currency.")
    if any(len(each) >= limit for each in frames):
        st.caption(f"Cut at {limit:,} an instrument: choose a shorter span for the rest.")
    st.dataframe(_shown(rows), hide_index=True, height=320, alt="Candles")
    show_exports(rows, f"candles_{'_'.join(symbols)}_{since:%Y%m%d}_{until:%Y%m%d}")


def chosen(
    held: Held, symbol: str, since: pd.Timestamp, until: pd.Timestamp, limit: int
) -> pd.DataFrame:
    """The candles of one instrument, the newest first."""
    return _candles(held, held.version, symbol, held.settings.interval, since, until, limit)


@st.cache_data(max_entries=64, ttl=60, show_spinner=False)
def _candles(
    _held: Held,
    _version: str,
    symbol: str,
    interval: str,
    since: pd.Timestamp,
    until: pd.Timestamp,
    limit: int,
) -> pd.DataFrame:
    rows = _held.ask(instruments.candles, Span(symbol, interval, limit, since, until))
    rows.insert(0, "symbol", symbol)
    return rows


def _show_picture(held: Held, symbols: list[str], rows: pd.DataFrame) -> None:
    held_ones = [symbol for symbol in symbols if (rows["symbol"] == symbol).any()]
    symbol = (
        st.selectbox("Drawn", held_ones, key="candles_drawn") if held_ones[1:] else held_ones[0]
    )
    own = rows[rows["symbol"] == symbol]
    bars = own.head(DRAWN).sort_values("ts", ignore_index=True)
    interval = held.settings.interval
    st.plotly_chart(
        candles.figure(bars, interval),
        config=PLAIN,
        key="candles_picture",
        alt=candles.words(bars, symbol, interval),
    )
    if len(own) > len(bars):
        st.caption(
            escaped(f"Drawn from {moment(bars['ts'].iloc[0], interval)} on: the last {DRAWN:,}.")
        )


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    is_there = rows.notna().any()
    return rows.loc[:, is_there].head(5000)
