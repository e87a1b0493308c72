"""What is shown, as files to take along: CSV for spreadsheets, Parquet for programs."""

import io
import re
from collections.abc import Callable
from functools import partial
from threading import Thread

import pandas as pd
import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import (
    ScriptRunContext,
    add_script_run_ctx,
    get_script_run_ctx,
)

from components.band_export import FORMULA

# A file of more rows is one for another tool.
MOST_ROWS = 200_000


def csv_bytes(rows: pd.DataFrame) -> bytes:
    """Every row as a line of UTF-8; a text that a spreadsheet would run is led by an apostrophe."""
    safe = rows.rename(columns=_defused)
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]) and not isinstance(
            safe[name].dtype, pd.DatetimeTZDtype
        ):
            safe[name] = safe[name].map(_defused, na_action="ignore")
    return bytes(safe.to_csv(index=False).encode("utf-8", "replace"))


def parquet_bytes(rows: pd.DataFrame) -> bytes:
    """Every row as Parquet; columns of mixed kinds become text."""
    plain = rows.copy()
    for name in plain.columns[plain.dtypes.map(pd.api.types.is_object_dtype)]:
        plain[name] = plain[name].map(str, na_action="ignore").astype("str")
    body = io.BytesIO()
    plain.to_parquet(body, index=False)
    return body.getvalue()


# What each button is called, makes, and calls its file.
FILES: tuple[tuple[str, Callable[[pd.DataFrame], bytes], str, str], ...] = (
    ("CSV", csv_bytes, "csv", "text/csv"),
    ("Parquet", parquet_bytes, "parquet", "application/vnd.apache.parquet"),
)


def show_exports(rows: pd.DataFrame, name: str) -> None:
    """Two buttons that make their file only when they are clicked."""
    if rows.empty:
        return
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:80] or "rows"
    with st.container(horizontal=True):
        for label, made, ending, kind in FILES:
            offer(label, partial(made, rows), f"{stem}.{ending}", kind, key=f"{ending}_{name}")


def offer(label: str, make: Callable[[], bytes], name: str, kind: str, *, key: str) -> None:
    """A button that makes a file, of a MIME type, only when it is clicked."""
    st.download_button(
        label,
        partial(_kept, make, name, kind, key, get_script_run_ctx()),
        name,
        kind,
        icon=":material/download:",
        on_click="ignore",
        key=key,
    )


def _kept(
    make: Callable[[], bytes], name: str, kind: str, key: str, visitor: ScriptRunContext | None
) -> bytes:
    """The file, held for as long as its visitor stays where it was offered.

    Streamlit lets go of a file that it made on a click as soon as two pages were drawn, of whatever
    visitors: on a slow line, or beside a page that draws itself anew, it was gone before it was
    fetched. Whose file it is, a file says by the thread that adds it.
    """
    body = make()
    held = Thread(
        target=get_instance().media_file_mgr.add,
        args=(body, kind, f"offered {key}", name),
        kwargs={"is_for_static_download": True},
    )
    add_script_run_ctx(held, visitor)
    held.start()
    held.join()
    return body


def _defused(value: object) -> object:
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else value
