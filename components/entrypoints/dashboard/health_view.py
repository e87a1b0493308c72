"""Data health: how fresh each instrument is, what was kept aside, what waits, who is not judged."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful
from components.reading import health
from components.sessions import Calendars
from components.wiring import source_of
from components.words import clock_time, counted, moment


@careful
def show_health(held: Held) -> None:
    """Show a line of figures, and a table behind each."""
    fresh = freshness(held, held.version)
    unjudged, aside = _unjudged(held, held.version), _aside(held, held.version)
    pending = held.ask(health.pending)
    n_late = int(fresh["is_late"].sum())
    row = st.container(horizontal=True)
    row.metric("late instruments", f"{n_late} of {len(fresh)}")
    row.metric("undecided or stale", len(unjudged))
    row.metric("rows kept aside", f"{int(aside['n_rows'].sum()):,}")
    row.metric("deliveries that wait", len(pending))
    _show_fresh(held, fresh)
    _show_unjudged(held, unjudged)
    _show_aside(aside)
    _show_pending(pending)


@st.cache_data(max_entries=4, ttl=600, show_spinner=False)
def freshness(_held: Held, _version: str) -> pd.DataFrame:
    """The newest bar of each instrument held, the oldest first."""
    settings = _held.settings
    calendars = Calendars(settings.calendars, source_of(settings).traits.calendar)
    grace = pd.Timedelta(hours=settings.grace_hours)
    return _held.ask(health.freshness, settings.interval, _held.as_of, calendars, grace)


@st.cache_data(max_entries=4, ttl=600, show_spinner=False)
def _unjudged(_held: Held, _version: str) -> pd.DataFrame:
    return _held.ask(health.unjudged, _held.settings.interval, _held.as_of)


@st.cache_data(max_entries=4, ttl=600, show_spinner=False)
def _aside(_held: Held, _version: str) -> pd.DataFrame:
    return _held.ask(health.aside)


def _show_fresh(held: Held, fresh: pd.DataFrame) -> None:
    interval = held.settings.interval
    shown = fresh.head(200)
    with st.expander("Freshness, the latest to come first", icon=":material/schedule:"):
        missing = sorted(set(held.settings.symbols) - set(fresh["symbol"]))
        if missing:
            st.text(
                f"Watched, and nothing held: {', '.join(missing[:20])}"
                f"{' and others' if len(missing) > 20 else ''}. Fetch them: page Data, Download."
            )
        rows = pd.DataFrame(
            {
                "instrument": shown["symbol"],
                "state": ["late" if late else "fresh" for late in shown["is_late"]],
                "newest bar": [moment(ts, interval) for ts in shown["last_ts"]],
                "should be": [moment(ts, interval) for ts in shown["expected_ts"]],
                "known since": [clock_time(at) for at in shown["known_at"]],
            }
        )
        st.dataframe(rows, hide_index=True, alt="Freshness of instruments")
        if len(fresh) > len(shown):
            st.caption(f"The first {len(shown)} of {counted(len(fresh), 'instrument')}.")


def _show_unjudged(held: Held, unjudged: pd.DataFrame) -> None:
    with st.expander("Undecided and stale instruments", icon=":material/help:"):
        if unjudged.empty:
            st.write("None: every instrument held has enough history, and its price moves.")
            return
        st.write("Too young to be judged, or the price stands still: neither is normal.")
        interval = held.settings.interval
        is_stale = unjudged["state"] == "stale"
        rows = pd.DataFrame(
            {
                "instrument": unjudged["symbol"],
                "state": ["stale" if each else "undecided" for each in is_stale],
                "newest bar": [moment(ts, interval) for ts in unjudged["ts"]],
                "bars lacking": unjudged["bars_lacking"],
            }
        )
        st.dataframe(rows.head(500), hide_index=True, alt="Undecided and stale instruments")


def _show_aside(aside: pd.DataFrame) -> None:
    with st.expander("Rows kept aside, by check", icon=":material/inventory_2:"):
        if aside.empty:
            st.write("None: every row passed all checks.")
            return
        rows = aside.assign(newest=[clock_time(at) for at in aside["newest"]]).rename(
            columns={
                "check_name": "check",
                "n_rows": "rows",
                "n_instruments": "instruments",
                "first_symbol": "first",
            }
        )
        st.dataframe(rows, hide_index=True, alt="Rows kept aside by check")
        if int(aside["n_rows"].sum()) >= health.LOOKED_AT:
            st.caption(f"Counted among {health.LOOKED_AT:,} rows; there are more.")


def _show_pending(pending: pd.DataFrame) -> None:
    with st.expander("Deliveries that wait", icon=":material/outgoing_mail:"):
        if pending.empty:
            st.write("None: everything was told.")
            return
        st.write("They are tried again by the next run; `python main.py doctor` tries the ways.")
        rows = pending.assign(known_at=[clock_time(at) for at in pending["known_at"]])
        st.dataframe(rows, hide_index=True, alt="Deliveries that wait")
