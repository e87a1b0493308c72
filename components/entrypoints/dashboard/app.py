"""What is shown to each visitor: who he is, and which page."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

import pandas as pd
import streamlit as st

from components import logs
from components.embedded import open_embedded
from components.entrypoints.dashboard import entering
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful
from components.settings import Settings, read_settings
from components.warehouse.pool import Pool
from components.wiring import open_warehouse

# Of ours: an icon of Streamlit's own would be fetched from its maker.
MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">'
    '<rect width="32" height="32" rx="6" fill="#0072B2"/><path fill="none" stroke="#fff" '
    'stroke-width="2.4" d="M3 18h6l3-5 3 8 4-16 3 21 3-8h4"/></svg>'
)

# A table's own button writes texts into a CSV as they are, and a spreadsheet would run a formula of
# somebody else's; the pages' own buttons lead such a text by an apostrophe.
NO_RAW_CSV = '<style>button[aria-label^="Download as CSV"] { display: none }</style>'

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


@careful
def main() -> None:
    """Show the page that is asked for, or the way in."""
    st.set_page_config(page_title="Tremor", page_icon=MARK, layout="wide")
    st.html(NO_RAW_CSV)
    settings = _settings()
    visitor = entering.visitor(settings)
    is_in = visitor is not None and bool(visitor.role)
    pages = [
        st.Page(
            partial(_show, name, settings, visitor),
            title=title,
            icon=icon,
            url_path=name,
            default=name == "today",
        )
        for name, (title, icon) in PAGES.items()
    ]
    # The pages are named to Streamlit before a login too, so that an address leads there after it.
    chosen = st.navigation(pages, position="sidebar" if is_in else "hidden")
    if visitor is not None:
        entering.show_who(visitor)
    chosen.run()


@careful
def _show(name: str, settings: Settings, visitor: entering.Visitor | None) -> None:
    if visitor is None:
        st.title("Tremor")
        entering.ask_to_enter(settings)
        return
    if not visitor.role:
        st.title("Tremor")
        entering.refuse(visitor)
        return
    st.title(PAGES[name][0])
    show: Callable[[Held], None] = import_module(
        f"components.entrypoints.dashboard.pages.{name}"
    ).show
    now = pd.Timestamp.now("UTC")
    show(Held(settings, _pool(settings), visitor.who, visitor.role, now))


@st.cache_resource(show_spinner=False)
def _settings() -> Settings:
    logs.start(sys.stderr)
    return read_settings()


@st.cache_resource(show_spinner="Opening the warehouse")
def _pool(_settings: Settings) -> Pool:
    with open_warehouse(_settings):
        return Pool(_settings.warehouse or open_embedded(_settings.state_dir))
