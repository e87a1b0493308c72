"""The settings in force beside the chosen ones: counts, pictures, events, the largest moves."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import streamlit as st

from components import what_if
from components.plots import what_if as plots
from components.sessions import Calendars
from components.what_if import Counts, Outcome
from components.words import times

# Drawn at most: more marks hide each other, and slow the browser down.
MOST_DRAWN = 3000
MOST_UNTOLD = 15


@dataclass(frozen=True)
class Side:
    """What one of the two settings tells in the span looked at."""

    outcome: Outcome
    since: pd.Timestamp

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The bars told."""
        return what_if.told_bars(self.outcome, self.since)

    @cached_property
    def time(self) -> pd.DataFrame:
        """Instrument-years with a verdict."""
        return what_if.lived(self.outcome, self.since)

    @cached_property
    def counts(self) -> Counts:
        """How much that is."""
        return what_if.counts(self.rows, self.time)

    def rates(self, by: str) -> pd.DataFrame:
        """Bars told per instrument and year, by "symbol" or "year"."""
        return what_if.rates(self.rows, self.time, by)


def show_counts(now: Side, then: Side, unit: str, per_year: float) -> None:
    """Stated and realised rate, incidents and days, now and then.

    ``per_year`` is how many of the unit make a year.
    """
    names = {
        f"Alerts stated per instrument and {unit}": [
            side.outcome.ensemble.alerts_per_year / per_year for side in (now, then)
        ],
        f"Bars told per instrument and {unit}": [
            side.counts.rate / per_year for side in (now, then)
        ],
        f"Incidents per instrument and {unit}": [
            side.counts.incident_rate / per_year for side in (now, then)
        ],
    }
    rows = {name: [f"{value:.2f}" for value in values] for name, values in names.items()}
    rows["Bars told, all instruments"] = [f"{s.counts.bars:,}" for s in (now, then)]
    rows["Incidents, all instruments"] = [f"{s.counts.incidents:,}" for s in (now, then)]
    rows["Days with anything told"] = [f"{s.counts.days:,}" for s in (now, then)]
    st.table(pd.DataFrame(rows, index=["In force", "Chosen"]).T)
    st.caption(
        "A bar told is one whose votes reach the quorum, counted per instrument and before "
        "anything is put together: it is what the accepted rate promises. Bars of an instrument "
        "that follow each other are one incident. On a day on which a whole market moves, its "
        "incidents come in one message; they are counted singly here."
    )


def show_timeline(changes: pd.DataFrame, interval: str) -> None:
    """Each bar told now or then."""
    n = changes["change"].value_counts()
    kept, new, lost = (int(n.get(change, 0)) for change in ("kept", "new", "lost"))
    st.subheader("What would have been told")
    st.markdown(f"**{kept:,} kept, {new:,} new, {lost:,} lost** by the chosen settings.")
    if not len(changes):
        st.info("Nothing would have been told in this span, now or then: accept more alerts.")
        return
    if len(changes) > MOST_DRAWN:
        st.caption(f"Drawn are the newest {MOST_DRAWN:,} of {len(changes):,} bars.")
    when = "%Y-%m-%d" if interval.endswith("d") else "%Y-%m-%d %H:%M"
    st.plotly_chart(plots.timeline(changes.tail(MOST_DRAWN), when), key="what_if_timeline")


def show_rates(now: Side, then: Side, changes: pd.DataFrame) -> None:
    """By calendar year as a picture, by instrument as a table."""
    st.subheader("By year and by instrument")
    stated = tuple(side.outcome.ensemble.alerts_per_year for side in (now, then))
    figure = plots.by_year(now.rates("year"), then.rates("year"), (stated[0], stated[1]))
    st.plotly_chart(figure, key="what_if_years")
    own = now.rates("symbol").merge(
        then.rates("symbol"), how="outer", on="symbol", suffixes=("", "_then")
    )
    n = changes.groupby(["symbol", "change"]).size().unstack(fill_value=0)  # noqa: PD010 - counts
    n = n.reindex(index=own["symbol"], columns=["kept", "new", "lost"], fill_value=0)
    table = pd.DataFrame(
        {
            "Instrument": own["symbol"].to_numpy(),
            "In force, a year": own["rate"].round(2).to_numpy(),
            "Chosen, a year": own["rate_then"].round(2).to_numpy(),
            "Kept": n["kept"].to_numpy(),
            "New": n["new"].to_numpy(),
            "Lost": n["lost"].to_numpy(),
            "Years judged": own["years"].round(1).to_numpy(),
        }
    ).sort_values("Chosen, a year", ascending=False)
    st.dataframe(table, hide_index=True, key="what_if_instruments_table")


def show_known(
    now: Side, then: Side, events: pd.DataFrame, labels: pd.DataFrame, calendars: Calendars
) -> None:
    """Known events and what people confirmed: found or lost, now and then."""
    st.subheader("Known events")
    table = pd.DataFrame(
        {
            "Day": [*events["date"].dt.strftime("%Y-%m-%d"), *labels["ts"].dt.strftime("%Y-%m-%d")],
            "Instrument": [*events["symbol"], *labels["symbol"]],
            "In force": [*what_if.fates(now.outcome, events, calendars), *_of(labels, now)],
            "Chosen": [*what_if.fates(then.outcome, events, calendars), *_of(labels, then)],
            "What happened": [*events["what"], *("confirmed by a person" for _ in labels["ts"])],
        }
    )
    table = table[pd.to_datetime(table["Day"], utc=True) >= now.since]
    judged = table[table["In force"] != what_if.NOT_JUDGED]
    if not len(judged):
        st.info("None of the known events is of these instruments and years.")
        return
    is_lost = (table["In force"] == what_if.TOLD) & (table["Chosen"] == what_if.MISSED)
    is_won = (table["In force"] == what_if.MISSED) & (table["Chosen"] == what_if.TOLD)
    n_now, n_then = ((judged[side] == what_if.TOLD).sum() for side in ("In force", "Chosen"))
    st.markdown(
        f"Of {len(judged)} judged, in force tells **{n_now}**, chosen **{n_then}**: "
        f"{int(is_lost.sum())} lost, {int(is_won.sum())} won."
    )
    change = is_lost.map({True: "lost", False: ""}) + is_won.map({True: "won", False: ""})
    table.insert(4, "Change", change)
    table = table.sort_values(["Change", "Day"], ascending=False)
    st.dataframe(table, hide_index=True, key="what_if_events")
    st.caption("An event counts as told when its bar or the next one is: news may come at night.")


def _of(labels: pd.DataFrame, side: Side) -> list[str]:
    told = pd.MultiIndex.from_frame(side.rows[["symbol", "ts"]])
    is_told = pd.MultiIndex.from_frame(labels[["symbol", "ts"]]).isin(told)
    return [what_if.TOLD if held else what_if.MISSED for held in is_told]


def show_untold(then: Side, now: Side) -> None:
    """The largest moves that the chosen settings do not tell."""
    st.subheader("Largest moves not told by the chosen settings")
    rows = what_if.untold(then.outcome, then.since, MOST_UNTOLD)
    told = pd.MultiIndex.from_frame(now.rows[["symbol", "ts"]])
    is_told = pd.MultiIndex.from_frame(rows[["symbol", "ts"]]).isin(told)
    ratio = (rows["return"] / rows["scale"]).abs()
    table = pd.DataFrame(
        {
            "Bar, UTC": rows["ts"].dt.strftime("%Y-%m-%d %H:%M").str.removesuffix(" 00:00"),
            "Instrument": rows["symbol"],
            "Move, %": (100 * rows["return"]).round(1),
            "Times its usual move then": [times(value) for value in ratio],
            "Told in force": ["yes" if held else "no" for held in is_told],
        }
    )
    st.dataframe(table, hide_index=True, key="what_if_untold")
