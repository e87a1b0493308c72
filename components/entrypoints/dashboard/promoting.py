"""Who judges: a version is promoted when it has earned it, and the one before comes back."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.entrypoints.dashboard.working import show_end, why_not_now
from components.wiring import registry_of
from components.words import clock_time


def show_controls(held: Held, rows: pd.DataFrame) -> None:
    """Choose a version to promote, or go back; both are asked for twice."""
    reason = why_not_now(held)
    st.subheader("Who judges")
    if reason:
        st.info(reason, icon=":material/lock:")
    is_champion = rows["aliases"].str.split(", ").map(lambda each: "champion" in each)
    others = rows.loc[~is_champion].set_index("version")
    columns = st.columns([2, 1, 1], vertical_alignment="bottom")
    with columns[0]:
        chosen = st.selectbox(
            "Version to promote",
            list(others.index),
            format_func=lambda one: f"{one}: {others.loc[one, 'detector']}",
        )
    with columns[1]:
        if st.button(
            "Promote",
            icon=":material/military_tech:",
            disabled=bool(reason) or others.empty,
            help=reason or None,
            width="stretch",
        ):
            _confirm_promotion(held, str(chosen), str(others.loc[chosen, "detector"]))
    with columns[2]:
        if st.button(
            "Roll back",
            icon=":material/undo:",
            disabled=bool(reason) or not is_champion.any(),
            help=reason or "The champion before this one judges again.",
            width="stretch",
        ):
            _confirm_roll_back(held)
    if said := st.session_state.pop("rolled_back", ""):
        st.success(said, icon=":material/undo:")
    else:
        _show_last(jobs.last(held.settings, "promote"))


@st.dialog("Promote this version?")
@careful
def _confirm_promotion(held: Held, version: str, detector: str) -> None:
    st.markdown(
        f"Version {escaped(version)}, {escaped(detector)}, is tried once more on the bars that are "
        "held now. When it meets all that promotion asks, it votes from the next run on, and the "
        "champion of now can come back by Roll back. Otherwise nothing changes."
    )
    columns = st.columns(2)
    if columns[0].button("Try and promote", type="primary", width="stretch"):
        jobs.start(held, "promote", {"version": version})
        st.rerun()
    if columns[1].button("Cancel", width="stretch"):
        st.rerun()


@st.dialog("Go back to the champion before?")
@careful
def _confirm_roll_back(held: Held) -> None:
    st.markdown("The version that was champion before this one votes again from the next run on.")
    columns = st.columns(2)
    if columns[0].button("Go back", type="primary", width="stretch"):
        held.require_write()
        models = registry_of(held.settings)
        number = models.roll_back()
        st.session_state["rolled_back"] = (
            f"Version {escaped(number)} is the champion of {escaped(models.name)} again."
        )
        st.rerun()
    if columns[1].button("Cancel", width="stretch"):
        st.rerun()


def _show_last(job: jobs.Job) -> None:
    """What the last promotion came to, and when: another may be champion since."""
    if job.state in (jobs.NONE, jobs.WORKING):
        return
    st.markdown(
        f"The last promotion, of version {escaped(str(job.asked.get('version', '')))}, "
        f"{clock_time(job.started_at)}:"
    )
    show_end(job, _promoted)
    _show_lines(job)


def _promoted(job: jobs.Job) -> None:
    st.success(escaped(str(job.outcome.get("words", ""))), icon=":material/military_tech:")


def _show_lines(job: jobs.Job) -> None:
    """The checklist of the last promotion, as the command line writes it."""
    lines = [str(line) for line in job.outcome.get("lines", [])]
    if lines and job.state in (jobs.DONE, jobs.REFUSED):
        st.markdown("\n".join(f"- {escaped(line.strip())}" for line in lines))
