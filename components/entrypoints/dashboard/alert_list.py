"""The alerts of the page Today: open ones first, the newest first; one of them is chosen."""

from typing import Any

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.saying import escaped
from components.reading import alerts, health
from components.words import level_word, moment, percent, probability

# What can be chosen to be seen, by the level that it stands for.
OTHER = "data and others"
LEVELS = {"HIGH": 3, "MEDIUM": 2, "LOW": 1, OTHER: 0}

# So many alerts are listed at first, so many more for each click, and so many at most.
FIRST, MORE, MOST = 12, 24, 300

# Bars of a single vote are listed of so many days before the last run.
RECENT = pd.Timedelta(days=7)

NOTHING = (
    "Nothing is told that fits. Choose more levels, or another instrument; a quiet time is no "
    "fault: an alarm rate is a rate and no quota."
)


def choose(held: Held) -> str:
    """Show what can be chosen; give the id of the alert that is, "" for none."""
    row = st.container(horizontal=True)
    wanted = [
        name
        for name in LEVELS
        if row.checkbox(name, value=name != "LOW", key=f"level_{name}", width="content")
    ]
    symbol = st.text_input(
        "Instrument", placeholder="all; or a name, AAPL", key="today_symbol", max_chars=40
    ).strip()
    n_shown = st.session_state.setdefault("n_alerts", FIRST)
    listed = listing(held, wanted, symbol, n_shown)
    if "LOW" in wanted:
        _show_low(held, symbol)
    if listed.empty:
        st.info(NOTHING, icon=":material/check_circle:")
        return ""
    st.write(_counts(listed))
    ids = list(listed["id"])
    titles = {str(row["id"]): title(row) for _, row in listed.iterrows()}
    # An address may name the alert, so that it can be sent to somebody.
    asked = st.query_params.get("alert", "")
    chosen = st.radio(
        "Alerts, open ones first",
        ids,
        index=ids.index(asked) if asked in ids else 0,
        format_func=titles.__getitem__,
        captions=[escaped(text, 160) for text in listed["headline"]],
        key="alert_chosen",
    )
    if len(listed) >= n_shown and n_shown < MOST and st.button("Older alerts"):
        st.session_state["n_alerts"] = min(n_shown + MORE, MOST)
        st.rerun()
    return str(chosen)


def listing(held: Held, levels: list[str], symbol: str, limit: int) -> pd.DataFrame:
    """The newest alerts of the levels, open ones first; ``is_open`` says which these are."""
    kept = {LEVELS[name] for name in levels}
    least = min(kept, default=9)
    pages = []
    for is_open in (True, False):
        wanted = alerts.Wanted(symbol=symbol, level=least, is_open=is_open)
        page = held.ask(alerts.page, wanted, limit=limit, now=held.as_of)
        pages.append(page[page["level"].clip(upper=3).isin(kept)].assign(is_open=is_open))
    both = pd.concat([page for page in pages if len(page)] or pages[:1])
    return both.drop_duplicates("id").head(limit).reset_index(drop=True)


def title(row: "pd.Series[Any]") -> str:
    """An alert in a few words: its level or kind, its day, whether it is open."""
    word = level_word(int(row["level"])) or {"data": "DATA"}.get(row["kind"], row["kind"].upper())
    state = "open" if row["is_open"] else last_said(row["said"])
    kind = {"market": "market-wide", "anomaly": ""}.get(row["kind"], row["kind"])
    parts = [word, moment(row["ts"], row["interval"]), kind, state]
    return escaped(" · ".join(part for part in parts if part))


def last_said(said: list[dict[str, Any]]) -> str:
    """The newest thing that people said of an alert, in a word."""
    if not said:
        return "closed"
    last = said[-1]
    if last["action"] == "label":
        return f"labelled {last['label']}"
    if last["action"] == "snooze":
        return f"snoozed until {str(last['until'])[:10]}"
    return "acknowledged"


def _counts(listed: pd.DataFrame) -> str:
    is_open = listed["is_open"]
    level = listed["level"].clip(upper=3)
    said = [f"{int((is_open & (level == n)).sum())} {word}" for word, n in LEVELS.items() if n > 1]
    return f"Open of those listed: {', '.join(said)}, {int((is_open & (level < 2)).sum())} other."


def _show_low(held: Held, symbol: str) -> None:
    since = held.as_of - RECENT
    rows = held.ask(health.low, held.settings.interval, held.as_of, since)
    if symbol:
        rows = rows[rows["symbol"] == symbol]
    st.write(f"LOW, one vote, recorded and not told, of bars since {moment(since)}.")
    if rows.empty:
        st.info("No bar of one vote in this time.", icon=":material/check_circle:")
        return
    interval = held.settings.interval
    shown = pd.DataFrame(
        {
            "instrument": rows["symbol"],
            "bar": [moment(ts, interval) for ts in rows["ts"]],
            "return": [percent(each, sign=True) for each in rows["return"]],
            "how rare": [probability(p) for p in rows["p"]],
        }
    )
    st.dataframe(shown, hide_index=True, height=220, alt="Bars with one vote")
