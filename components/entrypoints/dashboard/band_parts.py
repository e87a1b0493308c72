"""Parts of the page of payments: where a series stands, and its figures."""

from typing import Any

import pandas as pd
import streamlit as st

from components.bins import bin_length
from components.entrypoints.dashboard.band_tables import ALARM, small
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.words import counted, level_word, moment, percent, price

WEEK = pd.Timedelta(weeks=1)

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
    if said := WITHOUT_BAND.get(_standing(closed)):
        st.info(said, icon=":material/info:")


def _standing(closed: pd.DataFrame) -> str:
    """Where a series stands: at night too what it is by day, where that is why it has no band."""
    standing = closed["standing"].astype(str)
    by_day = standing[~standing.isin(["closed", "holiday"])].tail(1)
    is_told = by_day.isin(["sparse", "warm-up", "ended"])
    last = by_day[is_told] if is_told.any() else standing.tail(1)
    return last.iloc[0] if len(last) else ""


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
