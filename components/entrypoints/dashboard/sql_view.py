"""Questions in SQL, by a role that may only read; bounded in rows, time and size."""

import streamlit as st

from components.embedded import open_embedded
from components.entrypoints.dashboard.exporting import show_exports
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful
from components.settings import Settings
from components.warehouse import reader_role
from components.warehouse.reader import MAX_ROWS, MAX_SECONDS, Answer, ask
from components.words import counted, seconds

EXAMPLE = """select symbol, count(*) as n_unusual, min(p) as rarest
from verdicts
where verdict = 'anomaly' and interval = '1d'
group by symbol order by n_unusual desc limit 20"""

NO_READER = (
    "There is no SQL here: this warehouse is not the embedded one. Set TREMOR\\_READER\\_URL to a "
    "role that may only read, and start the dashboard anew."
)


@careful
def show_sql(held: Held) -> None:
    """Show where a question is written, and its answer."""
    if held.settings.warehouse and not _reader_url(held.settings):
        st.info(NO_READER, icon=":material/info:")
        return
    st.write(
        f"One query that reads. At most {MAX_ROWS:,} rows and {MAX_SECONDS:.0f} s; times are UTC. "
        "Nothing can be changed, and API keys cannot be read."
    )
    with st.form("sql", border=False):
        question = st.text_area("Query", EXAMPLE, height=150, max_chars=20_000, key="sql_text")
        is_asked = st.form_submit_button("Ask", icon=":material/play_arrow:", type="primary")
    if is_asked:
        st.session_state.pop("sql_answer", None)
        with st.spinner("Asking"):
            st.session_state["sql_answer"] = _asked(held, question)
    if (answer := st.session_state.get("sql_answer")) is not None:
        _show_answer(answer)


def _asked(held: Held, question: str) -> Answer:
    if url := _reader_url(held.settings):
        return ask(url, question)
    url, role = _embedded(held)
    return ask(url, question, user=role)


@st.cache_resource(show_spinner=False)
def _embedded(_held: Held) -> tuple[str, str]:
    """The embedded server, and a role made there that may only read; once a dashboard."""
    with _held.pool.lent() as warehouse:
        role = reader_role.make(warehouse)
    return open_embedded(_held.settings.state_dir), role


def _show_answer(answer: Answer) -> None:
    rows = answer.rows
    more = ": the first ones; there are more" if answer.is_cut else ""
    st.write(f"{counted(len(rows), 'row')} in {seconds(answer.seconds)}{more}.")
    if rows.empty:
        st.info("Nothing fits.")
        return
    st.dataframe(
        rows, hide_index=True, height=360 if len(rows) > 8 else "content", alt="The answer"
    )
    show_exports(rows, "answer")


def _reader_url(settings: Settings) -> str:
    return settings.reader_url.get_secret_value()
