"""The page ``data``."""

import streamlit as st

from components.entrypoints.dashboard.held import Held


def show(held: Held) -> None:
    """Show the page."""
    st.write(held.version)
