"""What is shown, as files to take along: CSV for spreadsheets, Parquet for programs."""

import io
import re
from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

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
    for name in plain.select_dtypes("object").columns:
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
    row = st.container(horizontal=True)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:80] or "rows"
    for label, made, ending, kind in FILES:
        row.download_button(
            label,
            partial(made, rows),
            f"{stem}.{ending}",
            kind,
            icon=":material/download:",
            on_click="ignore",
            key=f"{ending}_{name}",
        )


def _defused(value: object) -> object:
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else value
