"""The state of a stream, renewed each second or two; one that is dead is shown as dead."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import careful, escaped
from components.live_cache import read_live
from components.reading import live
from components.sessions import Calendars, length
from components.words import counted, moment, seconds

EVERY_S = 2

# So many instruments are listed; a search finds the others.
LISTED = 200

# A stream says something so long, s, after a bar that it waits for no more.
PATIENCE_S = 60

NO_STREAM = (
    "No stream has judged anything here. Start one: `python main.py stream --feed binance` (or "
    "polygon), or play stored candles through it: `python main.py stream --feed replay --since "
    "... --until ... --keep` (docs/STREAM.md)."
)

# An instrument is behind when others have so many bars more.
N_BEHIND = 10

VERDICTS = ["▼ HIGH", "▽ MEDIUM", "○ LOW", "· undecided"]


@dataclass(frozen=True)
class State:
    """A stream's state in all (see ``reading.live.summary``), and some of its instruments."""

    summary: "pd.Series[Any]"
    rows: pd.DataFrame


def streams(held: Held) -> pd.DataFrame:
    """The streams that judged anything, by the length of their bars, the newest first."""
    return held.ask(live.intervals)


def show(held: Held, found: pd.DataFrame) -> None:
    """Choose a stream and instruments of it, and show how they stand."""
    if found.empty:
        st.info(NO_STREAM, icon=":material/info:")
        return
    row = st.container(horizontal=True, vertical_alignment="bottom")
    interval = row.selectbox("Bars of", found["interval"].map(str).tolist())
    text = row.text_input("Find an instrument", placeholder="part of its name", max_chars=100)
    st.fragment(careful(_standing), run_every=EVERY_S)(held, interval, text.strip())


def _standing(held: Held, interval: str, text: str) -> None:
    state, now = _read(held, interval, text), pd.Timestamp.now("UTC")
    summary = state.summary
    age = now - pd.Timestamp(summary["updated_at"])
    is_dead = _is_dead(held, interval, summary, now)
    row = st.container(horizontal=True)
    row.metric("Stream", "✕ silent" if is_dead else "● alive")
    row.metric("Last said something", f"{seconds(max(age.total_seconds(), 0))} ago")
    row.metric("Instruments", f"{int(summary['n']):,}")
    row.metric("Candles judged", f"{int(summary['n_judged']):,}")
    row.metric("Open incidents", f"{int(summary['n_open']):,}")
    row.metric("Longest lag", seconds(float(summary["lag_s"])))
    last = escaped(moment(summary["ts"], "1m"))
    if is_dead:
        st.error(
            f"This stream is dead or cut off: since {escaped(moment(summary['updated_at'], '1m'))} "
            f"bars have closed, and it judged none of them (its last one is of {last}). Look at "
            "its log, and start `python main.py stream` again: it goes on where it stopped.",
            icon=":material/heart_broken:",
        )
    if state.rows.empty:
        st.info(
            f"No instrument of this stream has “{escaped(text)}” in its name. Look for less of it.",
            icon=":material/search_off:",
        )
        return
    _table(state.rows, summary, is_searched=bool(text))


def _is_dead(held: Held, interval: str, summary: "pd.Series[Any]", now: pd.Timestamp) -> bool:
    """Whether a bar closed since the stream's last word, and long enough ago to be judged."""
    patience = pd.Timedelta(seconds=held.settings.stream_lateness_s + PATIENCE_S)
    symbol, calendars = str(summary["symbol"]), _calendars(held)
    due = calendars.last_closed(symbol, interval, now - patience)
    closed = calendars.closes(symbol, interval, pd.DatetimeIndex([due]))[0]
    return bool(closed > pd.Timestamp(summary["updated_at"]))


def _calendars(held: Held) -> Calendars:
    # The source names the calendar of its instruments; it costs some tenths of a second once.
    from components.wiring import source_of

    return Calendars(held.settings.calendars, source_of(held.settings).traits.calendar)


def _table(rows: pd.DataFrame, summary: "pd.Series[Any]", *, is_searched: bool) -> None:
    level, unusual, interval = rows["level"], rows["unusual_level"], str(summary["interval"])
    is_behind = rows["ts"] < pd.Timestamp(summary["ts"]) - N_BEHIND * length(interval)
    is_undecided = rows["verdict"].eq("undecided")
    table = pd.DataFrame(
        {
            "instrument": rows["symbol"],
            "state": np.select([rows["is_open"] == 1, is_behind], ["● open", "◌ behind"], ""),
            "verdict": np.select(
                [level > 2, level == 2, level == 1, is_undecided], VERDICTS, "· normal"
            ),
            "votes": rows["votes"],
            "p": rows["p"],
            "last bar, UTC": rows["ts"],
            "last unusual, UTC": rows["unusual_ts"],
            "of level": np.select([unusual > 2, unusual > 1], VERDICTS[:2], ""),
            "lag, s": rows["lag_s"],
            "judged": rows["n_judged"],
        }
    )
    instants = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC")
    st.dataframe(
        table,
        hide_index=True,
        height=min(35 * (len(table) + 1) + 3, 620),
        column_config={
            "last bar, UTC": instants,
            "last unusual, UTC": instants,
            "p": st.column_config.NumberColumn(format="%.4f"),
            "lag, s": st.column_config.NumberColumn(format="%.1f"),
        },
        alt="How each instrument stands: open incidents first, then the newest unusual ones",
    )
    n = int(summary["n"])
    which = counted(len(table), "instrument")
    which = which if is_searched or len(table) == n else f"{len(table):,} of {n:,} instruments"
    st.markdown(
        f":small[{which}: open incidents first, then the newest unusual ones. “Behind” is who "
        f"lacks more than {N_BEHIND} bars that others have. Renewed every {EVERY_S} seconds.]"
    )


@st.cache_data(ttl=1, max_entries=32, show_spinner=False)
def _read(_held: Held, interval: str, text: str) -> State:
    settings = _held.settings
    url = settings.redis_url.get_secret_value()
    held = read_live(url, settings.kafka_prefix, interval) if url else None
    if held is not None:
        return State(_named(live.summary_of(held), interval), live.rows_of(held, text, LISTED))
    summary = _held.ask(live.summary, interval)
    return State(_named(summary, interval), _held.ask(live.rows, interval, text, LISTED))


def _named(summary: pd.DataFrame, interval: str) -> "pd.Series[Any]":
    return summary.assign(interval=interval).iloc[0]
