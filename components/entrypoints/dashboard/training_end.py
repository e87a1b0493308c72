"""What a training came to: in words, by its checklist, in pictures, and where its run lies."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from components.entrypoints.dashboard.jobs import Job
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.training_form import NAMES
from components.words import clock_time, counted, percent, seconds


def show_outcome(job: Job) -> None:
    """Show a training that was done."""
    said = job.outcome
    when = clock_time(job.started_at)
    if "version" not in said:
        st.success(f"Parameters were estimated and written, {when}.", icon=":material/task_alt:")
        _parameters(said["parameters"])
        return
    is_earned = all(each["is_met"] for each in said["conditions"])
    name = NAMES.get(said["detector"], escaped(said["detector"]))
    end = (
        "It **may judge**: promote it on the page Evaluation."
        if is_earned
        else "It has **not earned promotion**: the champion, or the untrained default, goes on."
    )
    show = st.success if is_earned else st.warning
    show(
        f"Version {escaped(said['version'])}, {name}, is the challenger ({when}). {end}",
        icon=":material/verified:" if is_earned else ":material/gpp_bad:",
    )
    _figures(said)
    show_checklist(said["conditions"])
    _pictures(said)
    _whereabouts(said)


def _parameters(said: Mapping[str, Any]) -> None:
    """Where the features of the views usually lie, by class of instruments."""
    st.markdown(f"Version {escaped(said['version'])}, in {escaped(said['path'])}.")
    rows = [
        {
            "Class": name,
            "Feature": feature,
            "Centre": place["center"],
            "Spread": place["spread"],
            "Unit": place["unit"],
        }
        for classes in (each for each in said.values() if isinstance(each, Mapping))
        for name, own in classes.items()
        for feature, place in own["features"].items()
    ]
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in ("Centre", "Spread")
        },
    )


def _figures(said: Mapping[str, Any]) -> None:
    figures, cut = said["figures"], said["split"]
    n_tried = int(said["n_tried"])
    columns = st.columns(4)
    columns[0].metric("Planted anomalies found", percent(figures["recall_planted"]))
    columns[1].metric(
        "Alerts a year, alone",
        f"{figures['alerts_per_year_realised']:.2f}",
        f"{figures['alerts_per_year_stated']:g} stated",
        delta_color="off",
        delta_arrow="off",
        help="Alerts per instrument and year on later time, judging alone.",
    )
    columns[2].metric("Settings tried", f"{n_tried:,}")
    columns[3].metric("Time to fit", seconds(said["fit_seconds"]))
    hyper = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in said["hyper"].items())
    tried = (
        f"Chosen of {n_tried} settings by its criterion on the training bars alone: "
        if n_tried > 1
        else "Trained with "
    )
    st.markdown(
        f"{tried}{escaped(hyper)}. Bars {escaped(cut['first'][:10])} to "
        f"{escaped(cut['until'][:10])}; held out since {escaped(cut['since'][:10])}, to "
        f"{escaped(cut['last'][:10])} (UTC)."
    )


def show_checklist(conditions: Sequence[Mapping[str, Any]]) -> None:
    """What promotion asks, a line each: met or not, in a word and a sign."""
    st.markdown("**What promotion asks**")
    lines = [
        f"- {':material/check_circle: yes' if each['is_met'] else ':material/cancel: **no**'}: "
        f"{escaped(each['name'])}; {escaped(each['words'])}"
        for each in conditions
    ]
    st.markdown("\n".join(lines))


def _pictures(said: Mapping[str, Any]) -> None:
    from components.plots.training import recall_of_methods

    contest = said["contest"]
    st.markdown(
        f"**Found on later time**, {contest['n_plants']:,} planted anomalies on "
        f"{contest['n_bars']:,} bars, each method at {contest['alerts_per_year']:g} alerts per "
        "instrument and year (bars: 95 % intervals)"
    )
    st.plotly_chart(
        recall_of_methods(contest["shares"]), config={"displayModeBar": False}, key="recalls"
    )


def _whereabouts(said: Mapping[str, Any]) -> None:
    run = said["run"]
    st.markdown(
        f"**In MLflow:** run {escaped(run['run'])} of the experiment "
        f"{escaped(run['experiment'])}, in {escaped(run['place'])}. It keeps "
        f"{counted(len(said['figures']), 'figure')}, parameters, the grid, pictures and the model."
    )
    if run["link"]:
        st.link_button("Open the run in MLflow", run["link"], icon=":material/open_in_new:")
