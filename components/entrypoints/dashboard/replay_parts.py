"""Parts of a replay: the shown candle in a line, its picture, and what was unusual so far."""

import math
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.saying import escaped
from components.entrypoints.dashboard.tapes import UNSTORED, Reel, Tape
from components.sessions import length
from components.words import counted, is_daily, level_word, moment, percent, price, probability

# The newest unusual bars that are listed.
LISTED = 200

SHAPES = {1: "○", 2: "▽", 3: "▼"}


def show(tape: Tape, n_bars: int, n_wide: int) -> None:
    """The last shown candle in words, and the picture up to it."""
    # Plotly takes a third of a second to import, and a page without a replay needs none.
    from components.plots.live import figure

    if not n_bars:
        st.markdown(f"**{escaped(tape.symbol)}** has no candle yet.")
        return
    last = tape.bars.iloc[n_bars - 1]
    when = escaped(moment(last["ts"], tape.interval))
    st.markdown(
        f"**{escaped(tape.symbol)}**, {when}: close {price(float(last['close']))}"
        f"{_moved(float(last['return']))}. **{_said(last)}**"
    )
    shown = slice(max(n_bars - n_wide, 0), n_bars)
    drawn = figure(
        tape.bars.iloc[shown],
        tape.views,
        tape.lamps[shown],
        step=length(tape.interval),
        n_wide=n_wide,
        price="price, quote currency",
    )
    st.plotly_chart(
        drawn,
        key=f"replay {tape.symbol}",
        config={"displayModeBar": False, "scrollZoom": False},
        alt=f"Candles of {tape.symbol} up to {moment(last['ts'], tape.interval)}, and the lamps "
        "of the views below",
    )
    if np.all(tape.lamps[n_bars - 1] == UNSTORED):
        st.markdown(
            ":small[Single scores of this bar were not stored (a stream stores those of unusual "
            "bars alone): its lamps stay dark, and its verdict stands.]"
        )


def _moved(value: float) -> str:
    return "" if math.isnan(value) else f" ({percent(value, sign=True)})"


def _said(last: "pd.Series[Any]") -> str:
    """The verdict and level in words, with the shape that the picture has."""
    level, verdict = int(last["level"]), str(last["verdict"])
    if verdict == "undecided":
        lacking = last["bars_lacking"]
        more = "" if pd.isna(lacking) else f": {counted(int(lacking), 'bar')} lacking"
        return f"· undecided, {escaped(str(last['state']))}{more}"
    if not verdict:
        return "not judged"
    votes = f"{float(str(last['votes'])):.0f} of {float(str(last['voters'])):.0f} views vote"
    p = probability(float(last["p"]))
    shape = f"{SHAPES[level]} {level_word(level)}, {verdict}" if level else f"· {verdict}"
    return f"{shape}; {votes}; {p}"


def unusual(reel: Reel, n_shown: int) -> None:
    """What was unusual among the candles so far."""
    tables = [
        tape.bars.iloc[:n_bars].assign(symbol=tape.symbol)
        for tape, n_bars in zip(reel.tapes, reel.shown(n_shown).tolist(), strict=True)
    ]
    rows = pd.concat(tables, ignore_index=True)
    n_undecided = int((rows["verdict"] == "undecided").sum())
    rows = rows[rows["verdict"] == "anomaly"].sort_values("ts", ascending=False, kind="stable")
    st.subheader("Unusual so far", anchor=False)
    undecided = f" {counted(n_undecided, 'bar')} could not be decided." if n_undecided else ""
    if rows.empty:
        st.write(f"Nothing among these candles was.{undecided}")
        return
    more = f" The newest {LISTED} are listed." if len(rows) > LISTED else ""
    st.markdown(
        f":small[{len(rows):,} of the candles so far, each as it was first stored and first "
        f"judged.{more}{undecided}]"
    )
    rows = rows.head(LISTED)
    table = pd.DataFrame(
        {
            "instrument": rows["symbol"],
            "bar, UTC": rows["ts"],
            "level": np.where(rows["level"] > 2, "▼ HIGH", "▽ MEDIUM"),
            "return, %": 100 * rows["return"],
            "votes": rows["votes"],
            "p": rows["p"],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "bar, UTC": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD" if is_daily(reel.tapes[0].interval) else "YYYY-MM-DD HH:mm",
                timezone="UTC",
            ),
            "return, %": st.column_config.NumberColumn(format="%.2f"),
            "p": st.column_config.NumberColumn(format="%.4f"),
        },
        alt="The unusual bars among the candles so far, the newest first",
    )
