"""The page "Would have fired": which past bars other settings would have told, before saving."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from components import what_if
from components.ensemble import Ensemble
from components.entrypoints.dashboard import compared, putting_in_force, tuning, universe
from components.entrypoints.dashboard.compared import Side
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful
from components.entrypoints.dashboard.universe import Weighing
from components.reading import what_if as reading
from components.sessions import Calendars
from components.settings import Settings
from components.steps.evaluate import shipped_events
from components.steps.labels import labelled_bars
from components.wiring import source_of

# Stored anomalies that are compared with; more are of no use to an eye.
MOST_STORED = 20_000

CONFIRMED = "confirmed"


def show(held: Held) -> None:
    """Show the page."""
    st.markdown(
        "Move the rate, or choose other votes, and see which past bars would have been told. "
        "Nothing is stored or told by trying."
    )
    calendars = _calendars(held.settings)
    if calendars is None:
        st.info(
            "This page is about candles, and the source gives payment volumes: what a band of "
            "another coverage would hold, the page Payments shows."
        )
        return
    symbols = universe.choose(held)
    if not symbols:
        st.info(
            "No judged instrument is called so: write a part of another name, or, before the "
            "first run, run `python main.py run`."
        )
        return
    st.fragment(careful(_body))(held, symbols, calendars)


def _body(held: Held, symbols: tuple[str, ...], calendars: Calendars) -> None:
    """All that changes with a control: shown anew without the rest of the page."""
    asked = tuning.ask(held)
    in_force = universe.weigh(held, symbols, held.settings.detectors)
    if not any(each.votes for each in in_force):
        st.info("No candles of these instruments are held any more: backfill, or name others.")
        return
    now = _side(in_force, held.settings, asked.since)
    chosen = universe.weigh(held, symbols, asked.settings.detectors)
    then = _side(chosen, asked.settings, asked.since)
    if not len(now.time):
        st.info(
            f"None of these instruments has a verdict in this span: a first one needs "
            f"{now.outcome.ensemble.bars_before_verdict + 1} bars. Show more years, or backfill."
        )
        return
    changes = what_if.changes(now.rows, then.rows)
    unit = tuning.unit_of(held.settings)
    compared.show_counts(now, then, unit, 365.25 / 7 if unit == "week" else 1.0)
    _say_agreement(held, now, symbols)
    compared.show_timeline(changes, held.settings.interval)
    compared.show_rates(now, then, changes)
    events = _events(symbols, calendars)
    labels = _confirmed(held.version, symbols, held)
    compared.show_known(now, then, events, labels, calendars)
    compared.show_untold(then, now)
    putting_in_force.show(held, asked.settings, in_force)


def _side(weighings: list[Weighing], settings: Settings, since: pd.Timestamp) -> Side:
    judge: Ensemble = replace(
        weighings[0].ensemble, alerts_per_year=settings.budget, quorum=settings.quorum
    )
    votes = [votes for each in weighings for votes in each.votes]
    return Side(what_if.decide(judge, votes), since)


def _say_agreement(held: Held, now: Side, symbols: tuple[str, ...]) -> None:
    """Whether what is stored is what the settings in force give."""
    stored = _stored(held.version, symbols, now.outcome.ensemble.name, held)
    ours = what_if.told_bars(now.outcome, pd.Timestamp(0, tz="UTC"))
    if len(stored) >= MOST_STORED:
        return
    met = ours.merge(stored, how="outer", on=["symbol", "ts"], suffixes=("", "_stored"))
    n_other = int((met["level"] != met["level_stored"]).sum())
    if n_other:
        st.caption(
            f"The stored verdicts differ from the settings in force on {n_other:,} bars: the last "
            "run had other settings, or candles were given up since. The next run judges anew."
        )
    else:
        st.caption(
            f"Checked: the settings in force give just the {len(stored):,} anomalies that the runs "
            "stored for these instruments, with their levels."
        )


@st.cache_data(max_entries=16, ttl=3600, show_spinner=False)
def _stored(version: str, symbols: tuple[str, ...], judge: str, _held: Held) -> pd.DataFrame:  # noqa: ARG001 - a key
    interval = _held.settings.interval
    return _held.ask(reading.anomalies, symbols, interval, judge, _held.as_of, MOST_STORED)


@st.cache_data(max_entries=16, ttl=60, show_spinner=False)
def _confirmed(version: str, symbols: tuple[str, ...], _held: Held) -> pd.DataFrame:  # noqa: ARG001 - a key
    rows = _held.ask(labelled_bars, symbols, _held.settings.interval, _held.now)
    return rows.loc[rows["label"] == CONFIRMED, ["symbol", "ts"]].reset_index(drop=True)


@st.cache_data(max_entries=16, show_spinner=False)
def _events(symbols: tuple[str, ...], _calendars: Calendars) -> pd.DataFrame:
    return what_if.events_of(symbols, shipped_events(), _calendars)


@st.cache_resource(show_spinner=False)
def _calendars(_settings: Settings) -> Calendars | None:
    """When the source's bars close; None where it gives no bars."""
    traits = source_of(_settings).traits
    return Calendars(_settings.calendars, traits.calendar) if traits.kind == "candles" else None
