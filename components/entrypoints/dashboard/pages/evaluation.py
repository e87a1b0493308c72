"""The page ``evaluation``: versions side by side, what an evaluation proved, the bars' map."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.exporting import offer
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful
from components.entrypoints.dashboard.working import lacking, show_end, show_work, why_not_now
from components.words import clock_time

VERSIONS, PROOF, MAP = "Versions", "Rate and recall", "Map of bars"


def show(held: Held) -> None:
    """Show the page."""
    show_work(held, ("promote", "evaluate"))
    part = st.radio("Show", [VERSIONS, PROOF, MAP], horizontal=True, key="part")
    {VERSIONS: _versions, PROOF: _proof, MAP: _map}[str(part)](held)


@careful
def _versions(held: Held) -> None:
    from components.entrypoints.dashboard import promoting, versions

    if missing := lacking(held.settings):
        st.warning(missing, icon=":material/extension_off:")
        return
    rows = versions.listed(held, versions.stamp(held), held.settings.interval)
    if rows.empty:
        st.info(
            f"No model of {held.settings.interval} bars is registered. Train one on the page "
            "Training, or by `python main.py train`."
        )
        return
    st.markdown(versions.champion_of(rows))
    versions.show_table(rows)
    promoting.show_controls(held, rows)
    st.subheader("Side by side")
    versions.show_compared(held, rows)


@careful
def _proof(held: Held) -> None:
    from components.entrypoints.dashboard import evaluated

    job = jobs.last(held.settings, "evaluate")
    show_end(job, _evaluated)
    with st.expander("Evaluate anew", expanded=False):
        _ask(held)
    keys = evaluated.stored(held, f"{job.started_at} {job.state}")
    if not keys:
        st.info(
            "No evaluation is stored in the lake. Start one above, or run "
            "`python main.py evaluate`."
        )
        return
    key = st.selectbox("Stored evaluation", keys, format_func=_when)
    evaluated.show(evaluated.read(held, key))
    name = f"{key.split('/')[1]}.html"
    report = partial(evaluated.report, held, key)
    offer("The whole report (HTML)", report, name, "text/html", key="report")


def _evaluated(job: jobs.Job) -> None:
    st.success(f"Evaluated {clock_time(job.started_at)}: the newest below.")


def _when(key: str) -> str:
    """An evaluation's run as a person reads it: its interval where it says one, and its time."""
    run = key.split("/")[1]
    named, _, time = run.rpartition("-")
    instant = pd.to_datetime(time, format="%Y%m%dT%H%M%SZ", utc=True, errors="coerce")
    interval = named.removeprefix("evaluate").strip("-") or "1d"
    return run if pd.isna(instant) else f"{clock_time(instant)}, {interval} bars"


def _ask(held: Held) -> None:
    reason = why_not_now(held)
    if reason:
        st.info(reason, icon=":material/lock:")
    columns = st.columns(3)
    asked: dict[str, Any] = {}
    with columns[0]:
        asked["subset"] = st.number_input("Instruments, drawn by the seed (0: all)", 0, 100_000, 10)
    with columns[1]:
        asked["seed"] = st.number_input("Seed of plants and draws", 0, 2**31, 0, key="seed_proof")
    with columns[2]:
        since = st.date_input(
            "Bars since (UTC)",
            value=None,
            min_value=pd.Timestamp("1970-01-01").date(),
            max_value=held.now.date(),
            format="YYYY-MM-DD",
            key="since_proof",
        )
    asked["since"] = str(since) if since else ""
    if st.button(
        "Evaluate",
        type="primary",
        icon=":material/verified:",
        disabled=bool(reason),
        help=reason
        or "Plants anomalies into candles that are held, and judges them; tells nobody.",
    ):
        jobs.start(held, "evaluate", asked)
        st.rerun()


@careful
def _map(held: Held) -> None:
    from components.entrypoints.dashboard import bars_map

    bars_map.show(held)
