"""One alert: its headline, the pictures an analyst would draw, the reasons, what is said of it."""

import math

import pandas as pd
import streamlit as st

from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.said_view import show_said
from components.entrypoints.dashboard.saying import careful, escaped
from components.plots import candles, shares
from components.reading import alerts, instruments
from components.reading.instruments import Span
from components.records import Alert, Finding
from components.words import level_word, moment, percent, probability, times

# Bars drawn before the judged one, and after it.
BEFORE, AFTER = 90, 20

PLAIN = {"displayModeBar": False}


@careful
def show_alert(held: Held, alert_id: str) -> None:
    """Show the alert whole."""
    alert, row = held.ask(alerts.one, alert_id)
    level = level_word(int(row["level"]))
    st.header(escaped(alert.headline), anchor=False)
    told = f"{level} · " if level else ""
    st.caption(escaped(f"{told}{moment(alert.ts, alert.interval)} · alert {alert.id}"))
    _list(alert.notes)
    show_said(held, alert)
    if alert.findings:
        finding = _choose(alert)
        _show_finding(held, alert, finding)
        if len(alert.findings) > 1:
            _show_all(alert)


def _list(lines: tuple[str, ...]) -> None:
    if lines:
        st.markdown("\n".join(f"- {escaped(line)}" for line in lines))


def _choose(alert: Alert) -> Finding:
    """The finding to show: of those that stand for themselves the first."""
    found = [*alert.in_full, *(each for each in alert.findings if each not in alert.in_full)]
    if len(found) == 1:
        return found[0]
    place = st.selectbox(
        "Instrument shown",
        range(len(found)),
        format_func=lambda n: f"{found[n].symbol} {level_word(found[n].level)}",
        key=f"finding_{alert.id}",
    )
    return found[place]


def _show_finding(held: Held, alert: Alert, finding: Finding) -> None:
    st.subheader(escaped(f"{finding.symbol} {level_word(finding.level)}"), anchor=False)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _show_candles(held, alert.interval, finding)
        if math.isfinite(finding.market_part) and math.isfinite(finding.own_part):
            st.write("How much of it was the whole market:")
            st.plotly_chart(
                shares.parts(finding.market_part, finding.own_part),
                config=PLAIN,
                key=f"parts_{alert.id}_{finding.symbol}",
                alt=f"Market's part {percent(finding.market_part, sign=True)}, "
                f"its own {percent(finding.own_part, sign=True)}",
            )
    with right:
        st.write("Why:")
        _list(finding.reasons)
        _show_views(finding)
    _show_followed(alert, finding)


def _show_candles(held: Held, interval: str, finding: Finding) -> None:
    bars = drawn_bars(held, finding.symbol, interval, pd.Timestamp(finding.ts))
    if bars.empty:
        st.info("No candles of these bars are held: see the report of the run.")
        return
    judged = candles.Judged(
        pd.Timestamp(finding.ts), finding.level, level_word(finding.level) or finding.verdict
    )
    st.plotly_chart(
        candles.figure(bars, interval, judged),
        config=PLAIN,
        key=f"candles_{finding.symbol}_{finding.ts}",
        alt=candles.words(bars, finding.symbol, interval),
    )
    st.caption(candles.band_words(bars))


def drawn_bars(held: Held, symbol: str, interval: str, ts: pd.Timestamp) -> pd.DataFrame:
    """Candles round a bar, oldest first, with the volatility known before each."""
    return _bars(held, held.version, symbol, interval, ts)


@st.cache_data(max_entries=200, ttl=3600, show_spinner=False)
def _bars(_held: Held, _version: str, symbol: str, interval: str, ts: pd.Timestamp) -> pd.DataFrame:
    upto = ts + pd.Timedelta(microseconds=1)
    before = _held.ask(instruments.candles, Span(symbol, interval, BEFORE, until=upto))
    if before.empty:
        return before
    after = ts + (ts - before["ts"].iloc[-1]) * AFTER / max(len(before) - 1, 1)
    later = _held.ask(instruments.candles, Span(symbol, interval, AFTER, upto, after))
    found = pd.concat([each for each in (later, before) if len(each)])
    span = Span(symbol, interval, BEFORE + AFTER, found["ts"].min(), after)
    known = _held.ask(instruments.verdicts, span)
    bars = found.merge(known[["ts", "scale"]], on="ts", how="left")
    return bars.sort_values("ts", ignore_index=True)


def _show_views(finding: Finding) -> None:
    if not finding.views:
        return
    rows = pd.DataFrame(
        {
            "view": [each.name for each in finding.views],
            "said": [each.stance for each in finding.views],
            "how rare": [probability(each.p) for each in finding.views],
            "why not": [each.why for each in finding.views],
        }
    )
    shown = rows if any(rows["why not"]) else rows.drop(columns="why not")
    st.write("What each view said:")
    st.table(shown.set_index("view").map(escaped).rename(index=escaped))


def _show_followed(alert: Alert, finding: Finding) -> None:
    if not finding.followed:
        return
    st.write(
        f"What followed the {finding.n_alike} most similar earlier bars (means with 95 % "
        "intervals; the past, and no forecast):"
    )
    alt = shares.followed_words(finding.followed)
    for column, draw in zip(st.columns(2), (shares.volatility, shares.moves), strict=True):
        column.plotly_chart(
            draw(finding.followed, alert.interval),
            config=PLAIN,
            key=f"{draw.__name__}_{alert.id}_{finding.symbol}",
            alt=alt,
        )


def _show_all(alert: Alert) -> None:
    rows = pd.DataFrame(
        {
            "instrument": [each.symbol for each in alert.findings],
            "level": [level_word(each.level) for each in alert.findings],
            "move": [percent(each.move, sign=True) for each in alert.findings],
            "times its usual": [times(each.sigmas) for each in alert.findings],
            "how rare": [probability(each.p) for each in alert.findings],
        }
    )
    with st.expander(f"All {len(rows)} instruments of this alert"):
        st.dataframe(rows, hide_index=True, alt="The instruments of this alert")
