"""Parts of the page of payments: where a series stands, figures, tables."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from components.bins import bin_length
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.steps.band_alerts import RARE, STOPPED
from components.words import counted, level_word, moment, percent, price, share

WEEK = pd.Timedelta(weeks=1)

# An alarm is a level of at least MEDIUM.
ALARM = 2

# From this size on two decimals are enough.
LARGE = 10

# Why there is no band, by where a series stands.
WITHOUT_BAND = {
    "sparse": (
        "Too few payments for a band: fewer than 14 bins a week have any. A silence, or a crowd "
        "of payments within a day, is still told."
    ),
    "warm-up": "Not long enough known for a band: two days, and each weekday once, are needed.",
    "ended": "Silent for four weeks, so counted as ended. The next payment begins it again.",
    "closed": "Closed at the last bin, as usual at that time: nothing is expected.",
    "holiday": "The last bin lies in a day of rest of TREMOR_HOLIDAYS: nothing is told.",
}

NUMBER = st.column_config.NumberColumn(format="localized")


def state(held: Held, rows: pd.DataFrame) -> None:
    """Until when the series is judged, by whom, and why it has no band, where it has none."""
    closed, zone = rows[rows["actual"].notna()], held.settings.time_zone
    last = (closed if len(closed) else rows).iloc[-1]
    ended, known = pd.Timestamp(last["ends_at"]), pd.Timestamp(last["known_at"])
    small(
        f"Judged to {escaped(moment(ended, '1m', zone))} by {escaped(str(last['forecaster']))}, "
        f"last changed by a run at {escaped(moment(known, '1m', zone))}. "
        "Renewed by itself every two minutes."
    )
    behind = held.now - ended
    if behind > 2 * (ended - pd.Timestamp(last["ts"])) + pd.Timedelta(minutes=30):
        st.warning(
            f"The last judged bin ended {_ago(behind)} ago: `python main.py forecast` did not run "
            "since, or it found nothing new. See `python main.py status`.",
            icon=":material/schedule:",
        )
    if said := WITHOUT_BAND.get(str(last["standing"])):
        st.info(said, icon=":material/info:")


def small(text: str) -> None:
    """A sentence in small letters, as dark as any: a caption's grey is hard to read."""
    st.markdown(f":small[{text}]")


def _ago(span: pd.Timedelta) -> str:
    hours = span / pd.Timedelta(hours=1)
    return counted(round(hours / 24), "day") if hours >= 48 else counted(round(hours), "hour")


def figures(held: Held, rows: pd.DataFrame, kept: pd.DataFrame, interval: str) -> None:
    """The last closed bin, the bin under way, and what was stated against what was kept."""
    unit, coverage = held.settings.payment_unit, held.settings.coverage
    closed = rows[rows["actual"].notna()]
    row = st.container(horizontal=True)
    if len(closed):
        last = closed.iloc[-1]
        row.metric(
            f"Last closed bin{_in(unit)}",
            price(float(last["actual"])),
            help=f"Expected {price(float(last['expected']))}, band {_band(last)}",
        )
        row.metric("It lies", _said(last))
    under_way = rows[rows["nowcast"].notna()]
    if len(under_way):
        now = under_way.iloc[0]
        row.metric(
            f"Nowcast{_in(unit)}",
            price(float(now["nowcast"])),
            help=f"{price(float(now['so_far']))} came so far",
        )
    n_open, n_outside = int(kept["n_open"].iloc[0]), int(kept["n_outside"].iloc[0])
    if not n_open:
        row.metric("Inside of the band", "no open bin yet", help=f"stated {percent(coverage)}")
        return
    weeks = float((kept["until"].iloc[0] - kept["since"].iloc[0]) / WEEK)
    inside = f"{100 * (1 - n_outside / n_open):.2f} %"
    row.metric(f"Inside, stated {percent(coverage)}", inside, help=f"of {n_open:,} open bins")
    stated = (1 - coverage) * min(n_open / weeks, WEEK / bin_length(interval))
    row.metric(
        f"Alarms a week, stated {stated:.2f}",
        f"{int(kept['n_alarms'].iloc[0]) / weeks:.2f}",
        help=f"over the last {weeks:.1f} weeks",
    )


def _in(unit: str) -> str:
    return f", {escaped(unit, 40)}" if unit else ""


def _band(row: "pd.Series[Any]") -> str:
    if pd.isna(row["lower"]) or pd.isna(row["upper"]):
        return "none"
    return f"{price(float(row['lower']))} to {price(float(row['upper']))}"


def _said(row: "pd.Series[Any]") -> str:
    """Where the last value lies: the same shapes as in the picture, and a word."""
    level = 0 if pd.isna(row["level"]) else int(row["level"])
    if level < ALARM:
        return "inside" if _band(row) != "none" else "no band"
    is_above = row["actual"] > row["expected"]
    shapes = ("▼", "▲") if level > ALARM else ("▽", "△")
    return f"{shapes[int(is_above)]} {level_word(level)}, {'above' if is_above else 'below'}"


def described(rows: pd.DataFrame, unit: str, zone: str) -> str:
    """The picture in words, for who does not see it."""
    closed = rows[rows["actual"].notna()]
    n_alarms = int((closed["level"] >= ALARM).sum())
    if closed.empty:
        return "No bin of this series has closed yet."
    first, last = closed.iloc[0], closed.iloc[-1]
    return (
        f"{counted(len(closed), 'bin')} from {moment(first['ts'], '1m', zone)} to "
        f"{moment(last['ends_at'], '1m', zone)} with {counted(n_alarms, 'alarm')}; the last has "
        f"{price(float(last['actual']))} {unit}, expected {price(float(last['expected']))}, band "
        f"{_band(last)}. {counted(int(rows['actual'].isna().sum()), 'bin')} to come."
    )


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
