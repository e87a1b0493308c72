"""What to save so that the chosen settings judge: the lines of ``.env``, and writing them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from components.entrypoints.dashboard import env_file
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.tuning import unit_of
from components.entrypoints.dashboard.universe import Weighing
from components.errors import TremorError
from components.settings import Settings
from components.wiring import judge_of, source_of, symbols_of
from components.words import counted, seconds

log = logging.getLogger("tremor")

# Where the settings are read, of the folder in which the dashboard was started.
ENV_FILE = Path(".env")


def changed(now: Settings, then: Settings) -> dict[str, Any]:
    """The settings that differ, by name."""
    names = (f"alerts_per_{unit_of(now)}", "quorum", "detectors")
    return {
        name: getattr(then, name) for name in names if getattr(then, name) != getattr(now, name)
    }


def show(held: Held, then: Settings, weighings: Sequence[Weighing]) -> None:
    """The lines, what must be done for them to be in force, and the button that writes them."""
    st.subheader("To put the chosen settings in force")
    wanted = changed(held.settings, then)
    if not wanted:
        st.info("The chosen settings are those in force: move a control above to try others.")
        return
    st.markdown("These lines in `.env`:")
    st.code("\n".join(env_file.line_of(name, value) for name, value in wanted.items()), "ini")
    st.markdown(
        "They are in force from the next run on, which judges all history anew"
        f"{_duration(held, weighings)}. Bars of the past that become anomalies by them "
        "are not told as news. This page compares with them when the dashboard is started anew."
    )
    elsewhere = env_file.said_elsewhere(wanted)
    if elsewhere:
        names = " and ".join(f"`{env_file.PREFIX}{name.upper()}`" for name in elsewhere)
        st.warning(
            f"{names} is set in the environment of this dashboard, which wins over `.env`: "
            "change it where it is set."
        )
    if st.button(
        "Write these lines into .env",
        disabled=bool(elsewhere) or not held.may_write,
        help=held.why_not or None,
        key="what_if_write",
    ):
        _write(held, then, wanted)
    if not held.may_write:
        st.info(held.why_not, icon=":material/lock:")
    st.caption(
        f"The file is {escaped(str(ENV_FILE.resolve()), 300)}. A run that is started elsewhere, "
        "or in a container, reads its own."
    )


def _write(held: Held, then: Settings, wanted: Mapping[str, Any]) -> None:
    try:
        held.require_write()
        # What all watched instruments allow, not just those looked at.
        source = source_of(then)
        judge_of(then, source, symbols_of(then, source))
        env_file.put(ENV_FILE, wanted)
        log.info("%s wrote %s into %s", held.who or "a visitor", wanted, ENV_FILE.resolve())
    except TremorError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    st.success("Written. The next run judges by them.", icon=":material/check:")


def _duration(held: Held, weighings: Sequence[Weighing]) -> str:
    """How long that will take, by what was measured here."""
    n_bars = sum(each.n_bars for each in weighings)
    n_symbols = sum(len(votes.symbols) for each in weighings for votes in each.votes)
    took_s = sum(each.took_s for each in weighings)
    if not (n_bars and took_s):
        return ""
    watched = _n_watched(held.version, held.settings)
    whole_s = took_s / n_symbols * max(watched, n_symbols)
    return (
        f" (about {seconds(whole_s)} of judging for {counted(watched, 'instrument')}, at the "
        f"{n_bars / took_s:,.0f} bars a second measured here, and as long again to store it)"
    )


@st.cache_data(max_entries=4, ttl=3600, show_spinner=False)
def _n_watched(version: str, _settings: Settings) -> int:  # noqa: ARG001 - a key
    return len(symbols_of(_settings, source_of(_settings)))
