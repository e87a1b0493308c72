"""What is unusual now, why, what people said of it; all instruments at a glance; data health."""

import streamlit as st

from components.entrypoints.dashboard.alert_list import choose
from components.entrypoints.dashboard.alert_view import show_alert
from components.entrypoints.dashboard.glance_view import show_glance
from components.entrypoints.dashboard.health_view import show_health
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.words import clock_time, counted

NO_RUN = (
    "No run has finished yet, so nothing is known. Run `python main.py run`, or on data that ships "
    "with it `python main.py run --source sample --as-of 2010-05-07T12:00`."
)


def show(held: Held) -> None:
    """Show the page."""
    if held.last_run.empty:
        st.info(NO_RUN, icon=":material/info:")
        return
    st.caption(_when(held))
    chosen = choose(held)
    if chosen:
        show_alert(held, chosen)
    st.header("All instruments at a glance")
    show_glance(held)
    st.header("Data health")
    show_health(held)


def _when(held: Held) -> str:
    """As of when the page speaks, and how old that is."""
    last = held.last_run.iloc[0]
    hours = (held.now - last["finished_at"]).total_seconds() / 3600
    age = counted(int(hours), "hour") if hours < 48 else counted(int(hours // 24), "day")
    said = (
        f"As of {clock_time(held.as_of)}: the last run ({last['status']}, exit code "
        f"{last['exit_code']}) finished {clock_time(last['finished_at'])}, {age} ago."
    )
    return escaped(said)
