"""The data held: looked at, taken along, downloaded, checked for gaps, asked by SQL."""

from collections.abc import Callable, Mapping

import streamlit as st

from components.entrypoints.dashboard.candles_view import show_candles
from components.entrypoints.dashboard.download_view import show_download
from components.entrypoints.dashboard.gaps_view import show_gaps
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.sql_view import show_sql

PARTS: Mapping[str, Callable[[Held], None]] = {
    "Candles": show_candles,
    "Download history": show_download,
    "Gaps and rows kept aside": show_gaps,
    "SQL": show_sql,
}


def show(held: Held) -> None:
    """Show the page: one of its parts."""
    chosen = st.radio("What to do", list(PARTS), horizontal=True, key="data_part")
    PARTS[chosen](held)
