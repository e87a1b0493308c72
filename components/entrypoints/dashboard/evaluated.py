"""The stored evaluations: found in the lake, and shown in pictures and tables."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.working import note
from components.errors import LakeError
from components.lake import Lake
from components.words import clean, counted, number, percent, times

FIGURES, PAGE = "evaluation.json", "evaluation.html"
MOST_OFFERED = 20

# Methods as a person reads them, as the report of the command line names them.
NAMES = {
    "": "this judge",
    "amplitude_zscore": "base rule",
    "volatility_zscore": "|z| at the budget",
    "dual_stream": "peer's rule",
    "random": "random alerts",
}
WAITED = {"displayModeBar": False}


@st.cache_data(ttl=30, max_entries=8, show_spinner="Looking into the lake")
def stored(_held: Held, last_job: str) -> list[str]:  # noqa: ARG001 - the cache's key
    """The keys of the newest evaluations, newest first."""
    objects = _lake(_held).objects
    keys = [key for key in objects.list("runs/evaluate-") if key.endswith(f"/{FIGURES}")]
    return sorted(keys, key=lambda key: key.split("/")[1].rpartition("-")[2])[::-1][:MOST_OFFERED]


@st.cache_data(ttl=3600, max_entries=8, show_spinner=False)
def read(_held: Held, key: str) -> dict[str, Any]:
    """The figures of one evaluation.

    Raises
    ------
    LakeError
        It is gone, or no evaluation.
    """
    try:
        found: dict[str, Any] = json.loads(_lake(_held).objects.get(key))
        found["realised"]["by_year"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LakeError(f"lake: {key} is no evaluation. Evaluate again.") from None
    return found


def report(held: Held, key: str) -> bytes:
    """The page of an evaluation, whole, as one HTML file."""
    return _lake(held).objects.get(key.replace(FIGURES, PAGE))


def _lake(held: Held) -> Lake:
    return Lake(held.settings.lake_root, held.settings.timeout_s)


def show(found: Mapping[str, Any]) -> None:
    """One evaluation: what it was made on, rate, what was found, events."""
    panel, stated = found["panel"], float(found["alerts_per_year"])
    st.markdown(
        f"**{escaped(', '.join(found['judge']))}** on "
        f"{counted(panel['n_instruments'], 'instrument')}, {panel['n_bars']:,} bars, seed "
        f"{panel['seed']}."
    )
    _figures(found, stated)
    _rates(found, stated)
    if "planted" in found:
        methods = _methods(found)
        _by_kind(methods)
        _curves(methods)
        _events(found["events"])
    else:
        note("A simulated market without anomalies: it tells the rate alone.")


def _methods(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {"": found, **found.get("baselines", {})}


def _figures(found: Mapping[str, Any], stated: float) -> None:
    columns = st.columns(3)
    columns[0].metric(
        "Alerts per instrument and year",
        times(number(found["realised"]["pooled"])),
        f"{stated:g} stated",
        delta_color="off",
        delta_arrow="off",
    )
    if "planted" in found:
        planted, events = found["planted"], found["events"]
        columns[1].metric(
            "Planted anomalies found, above chance", percent(number(planted["recall"]))
        )
        columns[2].metric(
            f"Dated events found, of {events['n']:,}", percent(number(events["recall"]))
        )


def _rates(found: Mapping[str, Any], stated: float) -> None:
    from components.plots.evaluation import rate_by_year

    st.markdown("**Stated and realised rate, by year**")
    figure = rate_by_year(found["realised"]["by_year"], stated)
    st.plotly_chart(figure, config=WAITED, key="rate_by_year")


def _by_kind(methods: Mapping[str, Mapping[str, Any]]) -> None:
    from components.plots.evaluation import found_by_kind

    st.markdown("**Planted anomalies found, by kind** (middle size, less what chance would find)")
    shares = {
        NAMES.get(name, clean(name)): {
            kind: each["recall"]["middle"] for kind, each in block["planted"]["by_kind"].items()
        }
        for name, block in methods.items()
    }
    figure = found_by_kind(shares, "recall minus chance: share of plants")
    st.plotly_chart(figure, config=WAITED, key="planted_by_kind")


def _curves(methods: Mapping[str, Mapping[str, Any]]) -> None:
    from components.plots.evaluation import precision_recall

    st.markdown("**Precision and recall**, when fewer or more bars are told")
    curves = {
        NAMES.get(name, clean(name)): block["planted"]["curve"]
        for name, block in methods.items()
        if block["planted"].get("curve", {}).get("recall")
    }
    if curves:
        st.plotly_chart(precision_recall(curves), config=WAITED, key="precision_recall")
    else:
        st.info(
            "This evaluation keeps no curve, only the average precision below. One that is made "
            "here keeps its curves."
        )
    table = pd.DataFrame(
        [
            {
                "Method": NAMES.get(name, clean(name)),
                "Alerts a year": number(block["realised"]["pooled"]),
                "Average precision": number(block["planted"]["average_precision"]),
                "VUS-PR": number(block["planted"]["vus_pr"]),
            }
            for name, block in methods.items()
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            name: st.column_config.NumberColumn(format="%.2f") for name in table.columns[1:]
        },
    )


def _events(events: Mapping[str, Any]) -> None:
    st.markdown("**Known events**")
    if not events["n"] and not events["n_undecided"]:
        st.info("No known event falls on the instruments and days of this evaluation.")
        return
    low, high = (percent(number(bound)) for bound in events["interval"])
    st.markdown(
        f"{percent(number(events['recall']))} of {counted(events['n'], 'event')} were told on the "
        f"day or the next bar (95 % interval {low} to {high}); "
        f"{events['n_undecided']:,} more were undecided."
    )
    rows = events.get("each")
    if rows is None:
        rows = [dict(zip(("symbol", "date"), _parted(name), strict=True)) | {"outcome": "lost"}
                for name in events["missed"]]  # fmt: skip
        note("This evaluation names the lost ones alone.")
    marks = {"found": "✓ found", "lost": "✗ lost", "undecided": "? undecided"}
    table = pd.DataFrame(
        [
            {
                "Outcome": marks.get(row["outcome"], clean(row["outcome"])),
                "Date (UTC)": clean(row["date"]),
                "Instrument": clean(row["symbol"]),
                "What happened": clean(row.get("what", "")),
            }
            for row in rows
        ]
    )
    if len(table):
        table = table.sort_values(["Outcome", "Date (UTC)"], ascending=[False, True])
        st.dataframe(table, hide_index=True, width="stretch")


def _parted(name: str) -> tuple[str, str]:
    symbol, _, date = name.rpartition(" ")
    return symbol, date
