"""To download missing history, and to see how far that is."""

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.choosing import choose_span
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.errors import TremorError
from components.sources import SOURCES
from components.sources.base import check_symbol
from components.wiring import source_of, symbols_of
from components.words import counted

# Sources of payments are fetched by their own command.
MEASURED = ("athena", "sql")


@careful
def show_download(held: Held) -> None:
    """Show what can be asked for, and the last download."""
    st.write(
        "Fetch old candles that are not held yet, without alerts. It goes on when this page is "
        "left; interrupted, it is taken up where it stopped."
    )
    if held.why_not:
        st.info(held.why_not, icon=":material/lock:")
    names = sorted(set(SOURCES) - set(MEASURED))
    own = held.settings.source
    source = st.selectbox(
        "Source",
        names,
        index=names.index(own) if own in names else 0,
        key="fill_source",
    )
    watched = _watched(held)
    said = st.text_input(
        "Symbols, comma-separated; empty: those watched",
        placeholder=f"{', '.join(watched[:5])}{' and others' if len(watched) > 5 else ''}",
        max_chars=4000,
        key="fill_symbols",
    )
    since, until = choose_span(held, "fill", 3650)
    if st.button(
        "Download",
        type="primary",
        icon=":material/cloud_download:",
        disabled=not held.may_write,
        help=held.why_not or None,
    ):
        _begin(held, source, said, since, until)
    _show_last(held)


def _begin(held: Held, source: str, said: str, since: pd.Timestamp, until: pd.Timestamp) -> None:
    symbols = [part.strip() for part in said.split(",") if part.strip()]
    if since >= until:
        st.warning("The first day lies after the last: turn them round.")
        return
    try:
        for symbol in symbols:
            check_symbol(symbol)
        jobs.start(
            held,
            jobs.DOWNLOAD,
            {
                "source": source,
                "symbols": symbols,
                "since": since.isoformat(),
                "until": min(until, held.now.ceil("s")).isoformat(),
            },
        )
    except TremorError as error:
        st.error(escaped(str(error)), icon=":material/error:")


@st.fragment(run_every=1.0)
@careful
def _show_last(held: Held) -> None:
    last = jobs.last(held.settings, jobs.DOWNLOAD)
    if last.state == jobs.NONE:
        return
    names = ", ".join(last.asked["symbols"]) or "those watched"
    st.subheader("The last download")
    st.text(
        f"{names} from {last.asked['source']}, {last.asked['since'][:10]} to "
        f"{last.asked['until'][:10]}, asked for by {last.who}"
    )
    if last.state == jobs.WORKING:
        done, total = last.progress.get("done", 0), last.progress.get("total", 0)
        share = min(done / total, 1.0) if total else 0.0
        st.progress(share, escaped(f"At work: {last.progress.get('what', 'beginning')}"))
        return
    _show_outcome(last)


def _show_outcome(last: jobs.Job) -> None:
    words = last.outcome.get("words", f"It ended before its time. See {last.log}.")
    if last.state != jobs.DONE:
        st.error(escaped(str(words)), icon=":material/error:")
        return
    st.success(escaped(str(words)), icon=":material/check:")
    if n_failed := int(last.outcome.get("n_failed", 0)):
        st.warning(f"{counted(n_failed, 'request')} failed; the first ones:")
        st.markdown("\n".join(f"- {escaped(line)}" for line in last.outcome["lines"]))


def _watched(held: Held) -> list[str]:
    return list(symbols_of(held.settings, source_of(held.settings)))
