"""Which bars should be there and are not, and the rows that were kept aside."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.choosing import choose_span, choose_symbols
from components.entrypoints.dashboard.exporting import show_exports
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.quality_page import Quality
from components.reading import health
from components.steps.quality import quality
from components.wiring import open_parts
from components.words import clock_time, counted

MOST = 20

# What the columns of the table of gaps are called, in the words of a person.
COLUMNS = {
    "symbol": "instrument",
    "first": "first bar",
    "last": "last bar",
    "n_expected": "should be",
    "n_held": "held",
    "n_missing": "missing",
    "n_refused": "kept aside",
    "n_no_trade": "no trade",
    "n_venue_down": "venue down",
    "n_late": "late",
}


@careful
def show_gaps(held: Held) -> None:
    """Show the bars held against those due, the gaps, and what the checks kept aside."""
    symbols = choose_symbols(held, "gaps", MOST)
    since, _ = choose_span(held, "gaps", 365)
    if not symbols:
        st.info("Choose instruments to see their gaps.")
        return
    if since >= held.as_of:
        st.warning(f"Choose a first day before the last run, {clock_time(held.as_of)}.")
        return
    found = _quality(held, held.version, tuple(symbols), since)
    n_missing = int(found.symbols["n_missing"].sum())
    n_held = int(found.symbols["n_held"].sum())
    st.write(
        f"As of {escaped(clock_time(held.as_of))}: {counted(n_held, 'bar')} held, "
        f"{counted(n_missing, 'bar')} missing."
    )
    st.dataframe(
        _days(found.symbols[list(COLUMNS)]).rename(columns=COLUMNS),
        hide_index=True,
        alt="Bars held and missing",
    )
    if found.gaps.empty:
        st.success("No gap: every bar that should be there is.", icon=":material/check:")
    else:
        st.write("Gaps, the longest first:")
        st.dataframe(_days(found.gaps.head(200)), hide_index=True, height=220, alt="Gaps")
    _show_aside(held, symbols)


def _show_aside(held: Held, symbols: list[str]) -> None:
    rows = held.ask(health.aside_rows, symbols)
    if rows.empty:
        st.success("No row of these was kept aside.", icon=":material/check:")
        return
    st.write(f"Rows kept aside, under the check that each failed, the newest first ({len(rows)}):")
    st.dataframe(rows, hide_index=True, height=260, alt="Rows kept aside")
    show_exports(rows, "kept_aside")


@st.cache_data(max_entries=20, ttl=120, show_spinner="Counting the bars that are due")
def _quality(_held: Held, _version: str, symbols: tuple[str, ...], since: pd.Timestamp) -> Quality:
    # Nobody judges here, so no trained model is looked for.
    settings = _held.settings.model_copy(update={"model": "none", "symbols": symbols})
    with open_parts(settings, _held.as_of, command="status", reads_only=True) as parts:
        return quality(parts, _held.as_of, since, symbols)


def _days(rows: pd.DataFrame) -> pd.DataFrame:
    """Instants as days, where they are columns of bars."""
    times = [name for name in ("first", "last") if name in rows]
    return rows.assign(**{name: rows[name].dt.strftime("%Y-%m-%d %H:%M") for name in times})
