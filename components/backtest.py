"""Counting what a replay of whole days told: how often, how late, how rightly; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

WEEK = pd.Timedelta(days=7)
DAY = pd.Timedelta(days=1)

# When a day's run takes place if nobody ever ran one: New York and the coins have closed.
USUAL_TIME = pd.Timedelta(hours=6)

# A person's finding that the alert was right, and that it was not.
RIGHT = frozenset({"confirmed", "expected", "new-regime"})
WRONG = frozenset({"false"})

# What is told of the market; the rest is trouble with data.
OF_THE_MARKET = ("anomaly", "correction", "market")

# The columns of what was told.
NOTED = ["kind", "symbol", "ts", "incident", "alert_id", "told_as", "told_at", "bars_late"]
TOLD = [*NOTED, "return", "p", "level", "label"]


@dataclass(frozen=True)
class Outcome:
    """What a replay under one judge and budget told.

    Parameters
    ----------
    judge : Mapping
        detectors, alerts_per_year, and the quorum where it is known.
    told : DataFrame
        A row an instrument's bar and alert, columns ``TOLD``: ``incident`` what adjacent bars
        have in common, ``bars_late`` how many further bars had closed when it was told,
        ``label`` what a person found ("" unsaid).
    verdicts : DataFrame
        symbol, ts, verdict, bars_per_year: the first verdict of each bar judged in the span.
    n_messages, n_silenced : int
        Messages sent; incidents about which a person had asked for silence.
    n_bars, n_assumed : int
        Bars that became known in the span; those whose instant had to be assumed.
    """

    judge: Mapping[str, Any]
    told: pd.DataFrame
    verdicts: pd.DataFrame
    n_messages: int
    n_silenced: int
    n_bars: int
    n_assumed: int


def schedule(
    since: pd.Timestamp,
    until: pd.Timestamp,
    ran: Collection[pd.Timestamp],
    at: pd.Timedelta | None = None,
) -> list[pd.Timestamp]:
    """The instants of the daily runs of [since, until).

    Days on which runs really took place keep their instants, unless a time is asked for; the
    other days run at the time of the latest run, or at ``USUAL_TIME``.
    """
    ran = sorted(ran)
    usual = at if at is not None else (ran[-1] - ran[-1].floor("D") if ran else USUAL_TIME)
    by_day: dict[pd.Timestamp, list[pd.Timestamp]] = {}
    for instant in ran if at is None else []:
        by_day.setdefault(instant.floor("D"), []).append(instant)
    days = pd.date_range(since.floor("D"), until - pd.Timedelta(microseconds=1), freq="D")
    instants = [t for day in days for t in by_day.get(day, [day + usual])]
    return [t for t in instants if since <= t < until]


def n_repeats(told: pd.DataFrame) -> int:
    """How often something was told that had been told before."""
    # A bar, and a market's, is told once. It may turn more than once, and each turn is told; so
    # is each trouble.
    is_bar = told["kind"].isin(["anomaly", "market"])
    bars = told[is_bar].duplicated(["symbol", "ts"]).sum()
    return int(bars + told[~is_bar].duplicated(["kind", "symbol", "ts", "alert_id"]).sum())


def tally(outcome: Outcome, since: pd.Timestamp, until: pd.Timestamp) -> dict[str, Any]:
    """The numbers of a replay of [since, until)."""
    told = outcome.told
    market = told[told["kind"].isin(OF_THE_MARKET)]
    # What moved with its market is one incident with it.
    by_itself = market["incident"].where(market["told_as"] != "market", market["alert_id"])
    weeks, n_incidents = (until - since) / WEEK, int(by_itself.nunique())
    return {
        "judge": dict(outcome.judge),
        "incidents": n_incidents,
        "incidents_a_week": n_incidents / weeks,
        "told_again_as_clearly_worse": _n_again(market[market["kind"] != "correction"]),
        "alerts": int(told["alert_id"].nunique()),
        "alerts_by_kind": _counted(told.drop_duplicates("alert_id")["kind"]),
        "messages": outcome.n_messages,
        "messages_a_week": outcome.n_messages / weeks,
        "repeats": n_repeats(told),
        "silenced": outcome.n_silenced,
        "delay_bars": _delay(told.loc[told["kind"] == "anomaly", "bars_late"]),
        "rate": rate(outcome.verdicts, float(outcome.judge["alerts_per_year"])),
        "precision": precision(market["label"]),
        "bars": {"known": outcome.n_bars, "assumed": outcome.n_assumed},
        "by_week": _by_week(market, since, until),
        "by_instrument": _counted(market.loc[market["kind"] != "market", "symbol"]),
    }


def _n_again(alarms: pd.DataFrame) -> int:
    bars = alarms.drop_duplicates(["kind", "symbol", "ts"])
    return len(bars) - int(bars["incident"].nunique())


def _counted(values: "pd.Series[str]") -> dict[str, int]:
    counts = values.value_counts()
    order = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return {str(name): int(n) for name, n in order}


def _delay(bars: "pd.Series[float]") -> dict[str, float | None]:
    if not len(bars):
        return {"median": None, "largest": None, "share_at_once": None}
    return {
        "median": float(bars.median()),
        "largest": float(bars.max()),
        "share_at_once": float((bars == 0).mean()),
    }


def rate(verdicts: pd.DataFrame, stated: float) -> dict[str, Any]:
    """The stated alarm rate beside the realised one, per instrument and year of decided bars."""
    decided = verdicts[verdicts["verdict"] != "undecided"]
    years = float((1 / decided["bars_per_year"]).sum())
    n_anomalies = int((decided["verdict"] == "anomaly").sum())
    return {
        "stated": stated,
        "realised": n_anomalies / years if years else None,
        "anomalies": n_anomalies,
        "decided": len(decided),
        "undecided": len(verdicts) - len(decided),
        "instrument_years": years,
    }


def precision(labels: "pd.Series[str]") -> dict[str, Any]:
    """Of what people labelled, the share that was right; an error of the data is neither."""
    n_right, n_wrong = int(labels.isin(RIGHT).sum()), int(labels.isin(WRONG).sum())
    n = n_right + n_wrong
    return {
        "precision": n_right / n if n else None,
        "right": n_right,
        "wrong": n_wrong,
        "data_error": int((labels == "data-error").sum()),
        "unlabelled": int((labels == "").sum()),
    }


def _by_week(told: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> dict[str, int]:
    starts = pd.date_range(since, until - pd.Timedelta(microseconds=1), freq=WEEK)
    place = np.searchsorted(starts, pd.DatetimeIndex(told["told_at"]), side="right") - 1
    counts = np.bincount(place[place >= 0], minlength=len(starts))
    return {f"{start:%Y-%m-%d}": int(n) for start, n in zip(starts, counts, strict=True)}


def told_by_day(told: pd.DataFrame) -> "pd.Series[int]":
    """How many instruments were told of each day, by the day of their bar."""
    unusual = told[told["kind"] == "anomaly"]
    n: pd.Series[int] = unusual.groupby(unusual["ts"].dt.floor("D"))["symbol"].nunique()
    return n


def would_have_fired(now: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What both settings told, and what only one of them did.

    Parameters
    ----------
    now, other : DataFrame
        What was told under the settings in force and under the others, columns ``TOLD``.

    Returns
    -------
    DataFrame
        symbol, ts, fired ("both", "only now", "only then"), return, p, level, p_then,
        level_then; by ts and symbol. "Now" are the settings in force, "then" the others.
    """
    columns = ["symbol", "ts", "return", "p", "level"]
    ours, theirs = (_unusual(told)[columns] for told in (now, other))
    both = ours.merge(
        theirs, how="outer", on=["symbol", "ts"], suffixes=("", "_then"), indicator="fired"
    )
    names = {"both": "both", "left_only": "only now", "right_only": "only then"}
    both["fired"] = both["fired"].astype(str).map(names)
    both["return"] = both["return"].fillna(both.pop("return_then"))
    order = ["symbol", "ts", "fired", "return", "p", "level", "p_then", "level_then"]
    return both.sort_values(["ts", "symbol"], ignore_index=True)[order]


def _unusual(told: pd.DataFrame) -> pd.DataFrame:
    return told[told["kind"] == "anomaly"].drop_duplicates(["symbol", "ts"])
