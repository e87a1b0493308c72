"""The script that Streamlit runs for each visitor: who looks, and which page."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import pandas as pd
import streamlit as st

from components.embedded import open_embedded
from components.entrypoints.dashboard.held import Held
from components.errors import TremorError
from components.settings import Settings, read_settings
from components.warehouse.pool import Pool
from components.wiring import open_warehouse

# By the page's name in the address: its title, and the icon beside it.
PAGES = {
    "today": ("Today", ":material/today:"),
    "data": ("Data", ":material/table_chart:"),
    "training": ("Training", ":material/model_training:"),
    "evaluation": ("Evaluation", ":material/verified:"),
    "live": ("Live", ":material/play_circle:"),
    "payments": ("Payments", ":material/payments:"),
    "would_have_fired": ("Would have fired", ":material/tune:"),
}


def main() -> None:
    """Show the page that is asked for."""
    st.set_page_config(page_title="Tremor", layout="wide")
    pages = [
        st.Page(
            partial(_show, name), title=title, icon=icon, url_path=name, default=name == "today"
        )
        for name, (title, icon) in PAGES.items()
    ]
    st.navigation(pages).run()


def _show(name: str) -> None:
    show: Callable[[Held], None] = import_module(
        f"components.entrypoints.dashboard.pages.{name}"
    ).show
    st.title(PAGES[name][0])
    try:
        show(_held())
    except TremorError as error:
        st.error(str(error))


def _held() -> Held:
    settings = _settings()
    return Held(settings, _pool(settings), "", settings.dashboard_role, pd.Timestamp.now("UTC"))


@st.cache_resource
def _settings() -> Settings:
    return read_settings()


@st.cache_resource
def _pool(_settings: Settings) -> Pool:
    with open_warehouse(_settings):
        return Pool(_settings.warehouse or open_embedded(_settings.state_dir))


main()
