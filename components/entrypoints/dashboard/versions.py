"""Registered versions of the interval's model: side by side, and who of them judges."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.working import note
from components.evaluation.plants import KINDS
from components.registry import DATABASE, Version
from components.wiring import registry_of
from components.words import clean, number

# The newest are listed; of more than a few side by side nobody sees anything.
MOST_LISTED, MOST_COMPARED = 50, 4

FOUND = "share of planted anomalies found"


def stamp(held: Held) -> str:
    """Changes whenever the registry's own database does; a server is asked each half minute."""
    models = registry_of(held.settings)
    if models.url:
        return str(int(held.now.timestamp()) // 30)
    database = models.folder / DATABASE
    return str(database.stat().st_mtime_ns) if database.is_file() else ""


@st.cache_data(ttl=300, max_entries=8, show_spinner="Reading the registry")
def listed(_held: Held, kept: str, interval: str) -> pd.DataFrame:  # noqa: ARG001 - the key
    """The newest versions, newest first: number, aliases, detector, times, run, their figures."""
    models = registry_of(_held.settings)
    return pd.DataFrame([_row(each, models.figures(each)) for each in _newest(models.versions())])


def _newest(versions: list[Version]) -> list[Version]:
    """The newest ones, and whoever has an alias."""
    return [each for n, each in enumerate(versions) if n < MOST_LISTED or each.aliases]


def _row(version: Version, figures: dict[str, float]) -> dict[str, Any]:
    return {
        "version": version.number,
        "aliases": ", ".join(version.aliases),
        "detector": version.tags.get("detector", ""),
        "until": version.tags.get("until", "")[:10],
        "made_at": version.made_at,
        "run": version.run,
        **figures,
    }


def show_table(rows: pd.DataFrame) -> None:
    """All versions, a row each, the champion marked."""
    shown = pd.DataFrame(
        {
            "Version": rows["version"].astype(int),
            "Standing": rows["aliases"].map(_standing),
            "Detector": rows["detector"].map(clean),
            "Found": _column(rows, "recall_planted"),
            "Alerts a year": _column(rows, "alerts_per_year_realised"),
            "Trained until": rows["until"],
            "Made (UTC)": rows["made_at"],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        column_config={
            "Found": st.column_config.NumberColumn(
                format="percent", help="Planted anomalies found at an equal alarm rate."
            ),
            "Alerts a year": st.column_config.NumberColumn(
                format="%.2f", help="Alerts per instrument and year, judging alone."
            ),
            "Made (UTC)": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD HH:mm", timezone="UTC"
            ),
        },
    )


def _standing(aliases: str) -> str:
    marks = {"champion": "★ champion: judges", "challenger": "challenger"}
    return ", ".join(marks.get(one, clean(one)) for one in aliases.split(", ") if one)


def _column(rows: pd.DataFrame, name: str) -> "pd.Series[float]":
    values = rows[name] if name in rows else pd.Series(float("nan"), index=rows.index)
    return values.map(number)


def show_compared(held: Held, rows: pd.DataFrame) -> None:
    """Some versions side by side: found by kind, rate, and the figures of their contests."""
    numbers = list(rows["version"])
    aliased = list(rows.loc[rows["aliases"] != "", "version"])
    usual = list(dict.fromkeys([*aliased, *numbers]))[: min(3, len(numbers))]
    titles = {row["version"]: _title(row) for _, row in rows.iterrows()}
    chosen = st.multiselect(
        "Versions side by side",
        numbers,
        default=usual,
        max_selections=MOST_COMPARED,
        format_func=lambda one: titles[one],
    )
    if not chosen:
        st.info("Choose one or more versions to see their figures.")
        return
    own = rows.set_index("version").loc[chosen]
    _pictures(own, [titles[one] for one in chosen])
    if st.toggle("All figures of their contests"):
        table = _compared(held, stamp(held), tuple(chosen))
        st.dataframe(table, hide_index=True, width="stretch")
    note(
        "Each version was tried on the held-out time of its own training, with plants drawn by "
        "its own seed: of versions with other spans the last per cent says nothing. The registry "
        "keeps of a contest what is found at the stated rate, and no curve of precision; that of "
        "who judges now is under Rate and recall."
    )


def _pictures(own: pd.DataFrame, titles: Sequence[str]) -> None:
    from components.plots.evaluation import found_by_kind, rates_of_versions

    by_kind = {
        title: {kind: _known(row.get(f"recall_{kind}")) for kind in KINDS}
        for title, (_, row) in zip(titles, own.iterrows(), strict=True)
    }
    st.markdown("**Found by kind**, at an equal alarm rate")
    options = {"displayModeBar": False}
    st.plotly_chart(found_by_kind(by_kind, FOUND), config=options, key="versions_by_kind")
    st.markdown("**Rate**: what each alone alerted on held-out time")
    stated = number(own["alerts_per_year_stated"].iloc[0]) if "alerts_per_year_stated" in own else 0
    rates = list(_column(own, "alerts_per_year_realised"))
    st.plotly_chart(rates_of_versions(titles, stated, rates), config=options, key="versions_rate")


@st.cache_data(ttl=300, max_entries=32, show_spinner=False)
def _compared(_held: Held, kept: str, which: tuple[str, ...]) -> pd.DataFrame:  # noqa: ARG001
    from components.entrypoints import training

    return training.compared(_held.settings, list(which))


def _title(row: "pd.Series[Any]") -> str:
    aliases = f" ({row['aliases']})" if row["aliases"] else ""
    return clean(f"{row['version']}: {row['detector']}{aliases}", 60).replace("<", "(")


def _known(value: Any) -> float | None:
    found = number(value)
    return found if isfinite(found) else None


def champion_of(rows: pd.DataFrame) -> str:
    """Who judges now, in words."""
    if rows.empty:
        return ""
    is_champion = rows["aliases"].str.split(", ").map(lambda each: "champion" in each)
    if not is_champion.any():
        return "No version is champion: the views judge without a trained model."
    row = rows[is_champion].iloc[0]
    return f"Version {escaped(row['version'])}, {escaped(row['detector'])}, is the **champion**."
