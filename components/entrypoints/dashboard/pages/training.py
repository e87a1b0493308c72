"""The page ``training``: choose what to train, watch it, and see what it came to."""

import streamlit as st

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.training_end import show_outcome
from components.entrypoints.dashboard.working import lacking, show_end, show_work, why_not_now
from components.errors import TremorError


def show(held: Held) -> None:
    """Show the page."""
    st.markdown(
        f"A model learns from the {held.settings.interval} bars before a cut in time, and is held "
        "against others on the bars after it. It becomes the **challenger**; on the page "
        "Evaluation it is promoted, when it has earned it."
    )
    show_work(held, ("train",))
    job = jobs.last(held.settings, "train")
    if job.state not in (jobs.NONE, jobs.WORKING):
        with st.container(border=True):
            st.subheader("The last training")
            show_end(job, show_outcome)
    with st.container(border=True):
        st.subheader("Train")
        _ask(held)


def _ask(held: Held) -> None:
    from components.entrypoints.dashboard import training_form
    from components.entrypoints.dashboard.searching import PARAMETERS

    wrong, asked = "", {}
    try:
        asked = training_form.asked(held)
    except TremorError as error:
        wrong = str(error).removeprefix("--set: ")
        st.error(escaped(wrong), icon=":material/error:")
    missing = lacking(held.settings, str(asked.get("detector", "")))
    if missing and asked.get("detector") != PARAMETERS:
        st.warning(missing, icon=":material/extension_off:")
        wrong = wrong or missing
    reason = why_not_now(held)
    if reason:
        st.info(reason, icon=":material/lock:")
    if st.button(
        "Train",
        type="primary",
        icon=":material/model_training:",
        disabled=bool(reason or wrong),
        help=reason or wrong or None,
    ):
        jobs.start(held, "train", asked)
        st.rerun()
