"""Payments: what came, what was expected of it, and what comes next, a series at a time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard import band_parts, band_tables
from components.entrypoints.dashboard.exporting import offer
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.reading import payments

# Seconds until what is shown is read anew.
EVERY_S = 120

SPANS = {
    "Day": pd.Timedelta(days=1),
    "Week": pd.Timedelta(weeks=1),
    "Month": pd.Timedelta(days=31),
}

# So many names are offered at once; a search finds the others.
OFFERED = 200

# By their names, for what is kept in memory is kept by these and the arguments.
QUESTIONS: dict[str, Callable[..., pd.DataFrame]] = {
    "data_sets": payments.data_sets,
    "series": payments.series,
    "bins": payments.bins,
    "kept": payments.kept,
    "outside": payments.outside,
    "silence": payments.silence,
    "trials": payments.trials,
}

SET_UP = (
    "No payments are held yet. Name a query in TREMOR_MEASURES_QUERY and its database in "
    "TREMOR_SQL_URL, or the settings of Athena, then run `python main.py forecast`: "
    "docs/PAYMENTS.md and .env.example say how."
)
UNJUDGED = (
    "Payments are held, and no band has been made of them yet. Run `python main.py forecast`; "
    "let it run some minutes behind each bin (docs/PAYMENTS.md)."
)


@dataclass(frozen=True)
class Chosen:
    """Which series of which data set, and how much of its past."""

    data_set: str
    interval: str
    series: str
    span: pd.Timedelta


def show(held: Held) -> None:
    """Show the page."""
    found = _read(held, held.version, "data_sets")
    if found.empty:
        st.info(UNJUDGED if held.ask(payments.is_measured) else SET_UP, icon=":material/info:")
        return
    chosen = _chosen(held, found)
    if chosen is not None:
        st.fragment(careful(_body), run_every=EVERY_S)(held, chosen)


def _chosen(held: Held, found: pd.DataFrame) -> Chosen | None:
    """What the visitor picks; None when no series has the name that he looks for."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    pairs = list(zip(found["data_set"].map(str), found["interval"].map(str), strict=True))
    at = row.selectbox(
        "Data set", range(len(pairs)), format_func=lambda n: f"{pairs[n][0]}, bins of {pairs[n][1]}"
    )
    data_set, interval = pairs[at]
    text = row.text_input("Find a series", placeholder="part of its name", max_chars=200)
    asked = (data_set, interval, text.strip(), OFFERED)
    names = _read(held, held.version, "series", *asked)
    if names.empty:
        st.info(
            f"No series of this data set has “{escaped(text)}” in its name. Look for less of it.",
            icon=":material/search_off:",
        )
        return None
    n, offered = int(names["n"].iloc[0]), names["series"].map(str).tolist()
    label = "Series" if n == len(offered) else f"Series (the first {len(offered)} of {n:,})"
    series = row.selectbox(label, offered)
    span = row.radio("Span", list(SPANS), index=1, horizontal=True)
    return Chosen(data_set, interval, series, SPANS[span])


def _body(held: Held, chosen: Chosen) -> None:
    # A part that renews itself is given again what the page was made with: the clock goes on.
    held = replace(held, now=pd.Timestamp.now("UTC"))
    version, of_set = held.version, (chosen.data_set, chosen.interval)
    asked = (chosen.data_set, chosen.series, chosen.interval)
    rows = _read(held, version, "bins", *asked, chosen.span)
    st.subheader(escaped(chosen.series), anchor=False)
    if rows.empty:
        st.info("No bin of this series was judged at this length.", icon=":material/info:")
        return
    band_parts.state(held, rows)
    kept = _read(held, version, "kept", *asked)
    band_parts.figures(held, rows, kept, chosen.interval)
    _chart(held, chosen, rows)
    _export(held, chosen, rows)
    band_tables.outside(held, _read(held, version, "outside", *of_set))
    band_tables.silence(held, _read(held, version, "silence", *of_set))
    trials = _read(held, version, "trials", *of_set)
    band_tables.forecasters(trials, str(rows["forecaster"].iloc[-1]), held.settings.time_zone)


def _chart(held: Held, chosen: Chosen, rows: pd.DataFrame) -> None:
    # Plotly takes a third of a second to import, and a page without series needs none.
    from components.plots.bands import figure

    settings = held.settings
    drawn = figure(
        rows, unit=settings.payment_unit, zone=settings.time_zone, interval=chosen.interval
    )
    st.plotly_chart(
        drawn,
        key="band",
        config={"displaylogo": False, "scrollZoom": False},
        alt=band_parts.described(rows, settings.payment_unit, settings.time_zone),
    )


def _export(held: Held, chosen: Chosen, rows: pd.DataFrame) -> None:
    from components.band_export import csv_bytes
    from components.steps.band_pages import file_name

    named = rows.assign(series=chosen.series)
    made = partial(csv_bytes, named, zone=held.settings.time_zone)
    name = f"band-{file_name(chosen.series)}-{chosen.interval}.csv"
    offer("Export these bins as CSV", made, name, "text/csv", key="bins")


@st.cache_data(ttl=EVERY_S, max_entries=128, show_spinner=False)
def _read(
    _held: Held,
    version: str,  # noqa: ARG001 - when a run has finished, what was read is read anew
    question: str,
    *args: Any,
) -> pd.DataFrame:
    return _held.ask(QUESTIONS[question], *args)
