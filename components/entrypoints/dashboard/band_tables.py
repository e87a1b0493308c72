"""Tables of the page of payments: who lies outside, who is silent, who judges."""

import numpy as np
import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.steps.band_alerts import RARE, STOPPED
from components.words import moment, share

# An alarm is a level of at least MEDIUM.
ALARM = 2

# From this size on two decimals are enough.
LARGE = 10

NUMBER = st.column_config.NumberColumn(format="localized")


def small(text: str) -> None:
    """A sentence in small letters, as dark as any: a caption's grey is hard to read."""
    st.markdown(f":small[{text}]")


def outside(held: Held, rows: pd.DataFrame) -> None:
    """The series that lie outside of their band in the last closed bin."""
    st.subheader("Outside of their band just now", anchor=False)
    if rows.empty:
        st.write("No series is outside of its band in the last closed bin.")
        return
    n, zone, unit = int(rows["n"].iloc[0]), held.settings.time_zone, held.settings.payment_unit
    began = moment(rows["ts"].iloc[0], "1m", zone)
    more = f" The {len(rows)} largest are shown." if n > len(rows) else ""
    small(f"{n:,} of the bin that began at {escaped(began)}, the largest first.{more}")
    table = pd.DataFrame(
        {
            "series": rows["series"].map(str),
            "level": _levels(rows),
            f"actual{', ' + unit if unit else ''}": rows["actual"],
            "difference": rows["actual"] - rows["expected"].astype(float).fillna(0.0),
            "expected": rows["expected"],
            "from": rows["lower"],
            "to": rows["upper"],
            "standing": rows["standing"],
        }
    )
    numbers = [str(name) for name in table.select_dtypes("float64")]
    # Of large numbers cents are enough; a small measure keeps its digits.
    largest = float(np.nanmax(np.abs(table[numbers].to_numpy(dtype=float))))
    table[numbers] = table[numbers].round(2 if largest >= LARGE else 6)
    st.dataframe(
        table,
        hide_index=True,
        column_config=dict.fromkeys(numbers, NUMBER),
        alt="Series outside of their band in the last closed bin, the largest difference first",
    )


def _levels(rows: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    is_high = (rows["level"] > ALARM).to_numpy()
    expected = rows["expected"].astype(float).fillna(0.0)
    is_above = (rows["actual"] > expected).to_numpy()
    return np.select(
        [is_high & is_above, is_high, is_above],
        ["▲ HIGH, above", "▼ HIGH, below", "△ MEDIUM, above"],
        "▽ MEDIUM, below",
    )


def silence(held: Held, rows: pd.DataFrame) -> None:
    """How many series that nearly always have payments had none, bin by bin."""
    st.subheader("Silence", anchor=False)
    if rows.empty:
        st.write("No bin yet in which three or more series were likely to have payments.")
        return
    last, zone = rows.iloc[0], held.settings.time_zone
    most = (1 - held.settings.coverage) * RARE
    n_silent, n_likely = int(last["n_silent"]), int(last["n_likely"])
    until = escaped(moment(last["until"], "1m", zone))
    said = f"{n_silent:,} of {n_likely:,} busy series had no payment in the bin up to {until}."
    if n_silent >= STOPPED * n_likely and last["p"] <= most:
        st.error(f"Payments stopped. {said}", icon=":material/notifications_off:")
        return
    st.write(said)
    if n_silent:
        small(f"By chance alone as many or more with probability {share(float(last['p']))}.")


def forecasters(trials: pd.DataFrame, judging: str, zone: str) -> None:
    """Who judges, and how the others did on the last trial."""
    st.subheader("Forecasters", anchor=False)
    crowned = [str(name) for name in trials.loc[trials["is_champion"] == 1, "forecaster"]]
    is_next = bool(crowned) and crowned[0] != judging
    then = f" From the next run on {escaped(crowned[0])} does." if is_next else ""
    st.write(f"{escaped(judging)} makes the bands.{then}")
    if trials.empty:
        small("None was tried on this data set yet: `python main.py train forecasters` does so.")
        return
    at = escaped(moment(trials["known_at"].iloc[0], "1m", zone))
    small(
        f"Trial of {at} on {int(trials['n_bins'].max()):,} bins of "
        f"{int(trials['n_series'].max()):,} series. The score is the interval score over that of "
        "the seasonal naive: smaller is better."
    )
    is_champion = trials["is_champion"].to_numpy() == 1
    table = pd.DataFrame(
        {
            "forecaster": trials["forecaster"],
            "": np.where(is_champion, "★ champion", ""),
            "score": trials["winkler"],
            "inside, %": 100 * trials["covered"],
            "stated, %": 100 * trials["coverage"],
            "alarms a series and week": trials["alarms_a_week"],
            "seconds": trials["seconds"],
        }
    )
    places = {"score": "%.3f", "inside, %": "%.2f", "stated, %": "%.2f", "seconds": "%.1f"}
    shown = {name: st.column_config.NumberColumn(format=form) for name, form in places.items()}
    shown["alarms a series and week"] = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        table,
        hide_index=True,
        column_config=shown,
        alt="How each forecaster did on the last trial, the best first; the champion is marked",
    )
