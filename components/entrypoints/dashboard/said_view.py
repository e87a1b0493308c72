"""To say what one makes of an alert: acknowledge, snooze, label; and what was said."""

import logging
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints import views
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.errors import TremorError
from components.reading.said import said
from components.records import Alert
from components.words import clock_time, counted

log = logging.getLogger("tremor")

WHOLE = "all of it"

# What each finding of a person means, beside its button.
MEANS = {
    "confirmed": "Right: this deserved to be told",
    "expected": "Known beforehand: earnings, a split, a holiday",
    "data-error": "The data were wrong: judged as if the bar were absent",
    "new-regime": "The instrument has changed, and stays so",
    "false": "Nothing unusual: it should not have been told",
}


def show_said(held: Held, alert: Alert) -> None:
    """Show the buttons, and all that was said so far."""
    with st.container(border=True):
        about, note = "", ""
        if held.may_write:
            about, note = _ask_what(alert)
        else:
            st.write(f":material/lock: {held.why_not}")
        _show_quiet(held, alert, about, note)
        _show_labels(held, alert, about, note)
        _show_so_far(held, alert)


def _ask_what(alert: Alert) -> tuple[str, str]:
    left, right = st.columns([1, 2])
    about = left.selectbox("About", [WHOLE, *alert.symbols], key=f"about_{alert.id}")
    note = right.text_input("Note, optional", max_chars=500, key=f"note_{alert.id}")
    return ("" if about == WHOLE else str(about)), note


def _show_quiet(held: Held, alert: Alert, about: str, note: str) -> None:
    row = st.container(horizontal=True, vertical_alignment="bottom")
    is_off = not held.may_write
    if row.button(
        "Acknowledge",
        icon=":material/check:",
        disabled=is_off,
        help=held.why_not or "Quiet until it is normal again",
        key=f"acknowledge_{alert.id}",
    ):
        _say(held, alert, "acknowledge", symbol=about, note=note)
    until = (held.as_of + pd.Timedelta(days=7)).date()
    # The name of a control that is off is too pale to read: such a one is not shown.
    if held.may_write:
        first = (held.as_of + pd.Timedelta(days=1)).date()
        until = row.date_input(
            "Snooze until",
            value=until,
            min_value=first,
            format="YYYY-MM-DD",
            width=160,
            key=f"until_{alert.id}",
        )
    if row.button(
        "Snooze",
        icon=":material/snooze:",
        disabled=is_off,
        help=held.why_not or "Quiet until that day, UTC",
        key=f"snooze_{alert.id}",
    ):
        _say(held, alert, "snooze", symbol=about, note=note, until=pd.Timestamp(until, tz="UTC"))


def _show_labels(held: Held, alert: Alert, about: str, note: str) -> None:
    row = st.container(horizontal=True)
    for label in views.FINDINGS:
        if row.button(
            label,
            icon=":material/label:",
            disabled=not held.may_write,
            help=held.why_not or MEANS[label],
            key=f"label_{label}_{alert.id}",
        ):
            _say(held, alert, "label", symbol=about, note=note, label=label)


def _say(held: Held, alert: Alert, action: str, **what: Any) -> None:
    """Keep it, as the command line does, and show everything anew."""
    try:
        held.require_write()
        with held.pool.lent() as warehouse:
            made_at = views.said_at(warehouse, held.now.floor("s"))
            symbols = views.act(warehouse, alert.id, action, made_at, made_by=held.who, **what)
    except TremorError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    log.info("dashboard: %s: %s %s", held.who, action, alert.id)
    st.toast(escaped(f"{action}: kept for {counted(len(symbols), 'name')}."))
    # What was said changes the alert's place and title in the list: it stays the chosen one.
    st.query_params["alert"] = alert.id
    st.rerun()


def _show_so_far(held: Held, alert: Alert) -> None:
    rows = held.ask(said, alert.id)
    if rows.empty:
        st.caption("Nobody said anything of it yet.")
        return
    what = rows["label"].where(rows["action"] == "label", rows["action"])
    until = rows["until"].dt.strftime(" until %Y-%m-%d").fillna("")
    shown = pd.DataFrame(
        {
            "said": what + until,
            "about": rows["symbol"],
            "note": rows["note"],
            "when": [clock_time(each) for each in rows["made_at"]],
        }
    )
    st.write("Said so far:")
    st.dataframe(shown, hide_index=True, height="content" if len(shown) < 6 else 210, alt="Said")
