"""How far a piece of work is, for who asked for it and for who comes by; and what came of it."""

import importlib.util
from collections.abc import Callable

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.settings import Settings
from components.words import clock_time, seconds

# What a kind of work is called while it goes on.
NAMES = {"train": "A training", "promote": "A promotion", "evaluate": "An evaluation"}

EVERY_S = 1.0


def show_work(held: Held, kinds: tuple[str, ...]) -> None:
    """The work of these kinds that is going on, with a way to stop it; nothing otherwise."""
    if jobs.at_work(held.settings) in kinds:
        _under_way(held, kinds)


@st.fragment(run_every=EVERY_S)
@careful
def _under_way(held: Held, kinds: tuple[str, ...]) -> None:
    kind = jobs.at_work(held.settings)
    if kind not in kinds:
        # What it came to stands elsewhere on the page.
        st.rerun()
    job = jobs.last(held.settings, kind)
    began = job.started_at if job.started_at is not None else held.now
    gone = max((pd.Timestamp.now("UTC") - began).total_seconds(), 0.0)
    with st.container(border=True):
        st.markdown(
            f"**{NAMES[kind]} is going on**, begun {clock_time(began)}, for {seconds(round(gone))}."
            " It goes on when you leave this page."
        )
        done, total = int(job.progress.get("done", 0)), int(job.progress.get("total", 0))
        what = escaped(str(job.progress.get("what", "starting")), 80)
        of = f", {done} of {total}" if total > 1 else ""
        st.progress(done / total if total else 0.0, text=f"{what}{of}")
        if st.button(
            "Stop it",
            icon=":material/stop_circle:",
            disabled=not held.may_write,
            help=held.why_not or "Nothing of it is kept.",
            key=f"stop_{kind}",
        ):
            jobs.stop(held, kind)


def show_end(job: jobs.Job, show: Callable[[jobs.Job], None]) -> None:
    """What the last piece of work came to: ``show`` it when it was done, else say why not."""
    if job.state in (jobs.NONE, jobs.WORKING):
        return
    when = clock_time(job.started_at) if job.started_at is not None else ""
    name = NAMES[job.kind].split(" ")[1]
    if job.state == jobs.DONE:
        show(job)
    elif job.state == jobs.REFUSED:
        st.warning(escaped(str(job.outcome.get("words", ""))), icon=":material/block:")
    elif job.state == jobs.STOPPED_BY:
        st.info(f"The {name} of {when} was stopped. Nothing of it was kept.")
    else:
        st.error(
            f"The {name} of {when} ended by a fault of the program. What it wrote is in "
            f"{escaped(str(job.log))}."
        )


def note(text: str) -> None:
    """What is said beside the matter, small, and dark enough to be read."""
    st.markdown(f":small[{text}]")


def why_not_now(held: Held) -> str:
    """Why no piece of work can be started; "" when one can."""
    if held.why_not:
        return held.why_not
    kind = jobs.at_work(held.settings)
    return f"{NAMES.get(kind, 'Other work')} is going on: one at a time." if kind else ""


def lacking(settings: Settings, detector: str = "") -> str:
    """What is not installed that models need, and what brings it; "" when nothing lacks."""

    def is_absent(module: str) -> bool:
        return importlib.util.find_spec(module) is None

    # Without a server the registry keeps its own database, which the small MLflow cannot.
    if is_absent("mlflow") or (not settings.mlflow_url and is_absent("alembic")):
        return "The model registry needs MLflow, which is not installed here. Run `make models`."
    if detector == "lstm_autoencoder" and is_absent("keras"):
        return "The LSTM autoencoder needs Keras, which is not installed here. Run `make models`."
    return ""
