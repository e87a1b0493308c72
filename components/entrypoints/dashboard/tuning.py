"""The controls of "Would have fired": another rate, quorum, detectors, and the years looked at."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from components.detectors import DETECTORS
from components.ensemble import needs_training
from components.entrypoints.dashboard.held import Held
from components.rows import is_intraday
from components.settings import Settings

# Alerts an instrument that may be accepted: a year, and a week for bars shorter than a day.
A_YEAR = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 26.0, 52.0)
A_WEEK = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0, 21.0, 49.0)

QUORUMS = {1: "1 (LOW)", 2: "2 (MEDIUM)", 3: "3 (HIGH)"}

SPANS = {"Last year": 1, "3 years": 3, "10 years": 10, "All": 0}


@dataclass(frozen=True)
class Asked:
    """What is tried: ``settings`` with the other numbers, over the bars from ``since`` on."""

    settings: Settings
    since: pd.Timestamp


def unit_of(settings: Settings) -> str:
    """The span that a rate is stated over, "year" or "week"."""
    return "week" if is_intraday(settings.interval) else "year"


def rate_of(settings: Settings) -> float:
    """The rate as it is stated: alerts an instrument a year, or a week."""
    return settings.alerts_per_week if unit_of(settings) == "week" else settings.alerts_per_year


def ask(held: Held) -> Asked:
    """Show the controls, as the settings in force have them at first."""
    now = held.settings
    unit = unit_of(now)
    usual = A_WEEK if unit == "week" else A_YEAR
    left, middle = st.columns([3, 2])
    with left:
        rate = st.select_slider(
            f"Alerts accepted per instrument and {unit}",
            sorted({*usual, rate_of(now)}),
            value=rate_of(now),
            format_func=lambda value: f"{value:g}",
            help="True or false ones: bars at which enough votes agree. Fewer are quieter.",
            key="what_if_rate",
        )
        span = st.radio("Bars shown", list(SPANS), index=2, horizontal=True, key="what_if_span")
    with middle:
        quorum = st.radio(
            "Votes that make an alert",
            list(QUORUMS),
            index=list(QUORUMS).index(now.quorum),
            format_func=QUORUMS.__getitem__,
            horizontal=True,
            key="what_if_quorum",
        )
    detectors = _detectors(now)
    stated = {f"alerts_per_{unit}": rate, "quorum": quorum, "detectors": detectors}
    years = SPANS[span]
    since = held.as_of - pd.DateOffset(years=years) if years else pd.Timestamp(0, tz="UTC")
    return Asked(now.model_copy(update=stated), since)


def _detectors(now: Settings) -> tuple[str, ...]:
    """Others are asked for as a whole: each change of them is weighed anew, from the first bar."""
    usable = [name for name in DETECTORS if not needs_training(name)]
    voting = st.session_state.get("what_if_detectors", now.detectors)
    with (
        st.expander(f"Detectors that vote: {', '.join(voting) or 'none'}"),
        st.form("what_if_detectors_form", border=False),
    ):
        chosen = st.pills(
            "Chosen detectors",
            sorted({*usable, *now.detectors}),
            selection_mode="multi",
            default=list(now.detectors),
            key="what_if_detectors",
        )
        st.form_submit_button("Weigh by these detectors")
    # Those in force keep their order: the same set has one name.
    kept = [name for name in now.detectors if name in chosen]
    return (*kept, *sorted(set(chosen) - set(kept)))
