"""Live: what a stream knows just now, or a replay of a stored day."""

import streamlit as st

from components.entrypoints.dashboard import replaying, streamed
from components.entrypoints.dashboard.held import Held

LOOKS = ("The stream now", "Replay a stored day")


def show(held: Held) -> None:
    """Show the page: the stream where there is one, else a replay."""
    streams = streamed.streams(held)
    look = st.radio(
        "What to look at",
        LOOKS,
        index=int(streams.empty),
        horizontal=True,
        label_visibility="collapsed",
    )
    if look == LOOKS[0]:
        streamed.show(held, streams)
    else:
        replaying.show(held)
