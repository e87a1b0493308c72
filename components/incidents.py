"""What deserves telling: verdicts and troubles in, incidents and alerts out. Pure.

An incident is what is told once: adjacent anomalies of one instrument or market, a bar whose
verdict turned, or one trouble with an instrument's data. It is noted bar by bar. An alert is
what is told together: all anomalies of one bar, all corrections, all data trouble of a run.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from components.rows import is_intraday

# A bar older than this is recorded, and told no more.
TOLD_WITHIN = pd.Timedelta(days=31)
SHORT_TOLD_WITHIN = pd.Timedelta(days=7)

# An incident is told again when p falls to a tenth of the smallest told: one unit of surprise.
# From one bar to the next of a turbulent week p halves and doubles by chance; ten times rarer
# is another event.
CLEARLY_WORSE = 0.1

# A window of an hour that moves by a minute holds one event for an hour, and votes flicker: bars
# shorter than a day continue an incident for so long after its last unusual bar.
GAP = pd.Timedelta(hours=1)

TOLD, CONTINUED, SILENCED = "told", "continued", "silenced"


def told_within(interval: str) -> pd.Timedelta:
    """How old a bar may be to be told: a month, and a week where bars are shorter than a day."""
    return SHORT_TOLD_WITHIN if is_intraday(interval) else TOLD_WITHIN


def gap_of(interval: str) -> pd.Timedelta:
    """How long after an unusual bar another continues its incident; 0: the next bar alone."""
    return GAP if is_intraday(interval) else pd.Timedelta(0)


@dataclass(frozen=True)
class Incident:
    """One thing to note of one instrument; ``version`` tells a second correction apart.

    ``continues`` is the id of the first bar of the incident that it belongs to.
    """

    kind: str
    symbol: str
    interval: str
    ts: pd.Timestamp
    what: str = ""
    version: str = ""
    continues: str = ""

    @property
    def id(self) -> str:
        """A function of what happened, so that it is told once however often it is found."""
        parts = (self.kind, self.symbol, self.interval, self.ts.isoformat(), self.what)
        return digest(*parts, self.version)


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits of a hash over texts."""
    joined = "\x1f".join(parts)
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def alert_id(incidents: Collection[Incident]) -> str:
    """The id of the alert that tells these incidents: a function of them alone."""
    return digest(*sorted(incident.id for incident in incidents))


def is_fresh(rows: pd.DataFrame, first: Mapping[str, pd.Timestamp]) -> "pd.Series[bool]":
    """Which anomalies are, or were, news.

    Parameters
    ----------
    rows : DataFrame
        Anomalies: symbol, ts, and ``before``, the first verdict of the bar. A bar that became
        an anomaly later is a correction, or the work of changed settings.
    first : Mapping
        The last bar of each instrument that had closed when it was first judged. What lies
        before it is history, and is not told.
    """
    return (rows["before"] == "anomaly") & (rows["ts"] >= rows["symbol"].map(first))


def followed(rows: pd.DataFrame, noted: pd.DataFrame) -> pd.DataFrame:
    """What becomes of the anomalies that are not noted yet, incident by incident, in time order.

    An anomaly whose bar before was one too continues its incident. Of an incident the first
    bar is told, and a later one only when it is clearly worse than all bars told of it: of a
    higher level, or with a p of at most ``CLEARLY_WORSE`` times the smallest. Whatever the
    order in which bars and runs come, a bar is compared with what was told by then.

    Parameters
    ----------
    rows : DataFrame
        Anomalies, told ones included: id, symbol, ts, p, level, ``follows`` (whether the bar
        before was an anomaly), ``is_fresh``, ``is_quiet``.
    noted : DataFrame
        What is noted of these instruments: id, symbol, ts, kind, alert_id, incident.

    Returns
    -------
    DataFrame
        The fresh rows that are not noted, with ``incident`` (the id of its first bar), ``fate``
        and, of a continued one, ``teller``: the id of the bar that was told.
    """
    rows = rows.sort_values(["symbol", "ts"], kind="stable").reset_index(drop=True)
    rows["run"] = (~rows["follows"].astype(bool)).groupby(rows["symbol"]).cumsum()
    rows["is_noted"] = rows["id"].isin(noted["id"])
    is_open = (rows["is_fresh"] & ~rows["is_noted"]).groupby([rows["symbol"], rows["run"]])
    held = dict(zip(noted["id"], noted["incident"].fillna(""), strict=True))
    loud = noted[(noted["alert_id"] != "") & (noted["kind"] != CONTINUED)]
    told = dict(zip(zip(loud["symbol"], loud["ts"], strict=True), loud["id"], strict=True))
    found: list[dict[str, Any]] = []
    waiting = rows[is_open.transform("any")].to_dict("records")
    for _, run in groupby(waiting, key=lambda row: (row["symbol"], row["run"])):
        found += _followed(list(run), told, held)
    columns = [*rows.columns, "incident", "fate", "teller"]
    return pd.DataFrame(found, columns=columns).drop(columns=["run", "is_noted"])


def _followed(
    run: list[dict[Any, Any]],
    told: Mapping[tuple[str, pd.Timestamp], str],
    held: Mapping[str, str],
) -> list[dict[str, Any]]:
    first = run[0]["id"]
    incident = held.get(first) or first
    loud = [(row, told[row["symbol"], row["ts"]]) for row in run if _is_told(row, told)]
    found = []
    for row in run:
        if row["is_noted"] or not row["is_fresh"]:
            continue
        fate, teller = TOLD, ""
        if row["is_quiet"]:
            fate = SILENCED
        elif loud and not _is_worse(row, [each for each, _ in loud]):
            fate, teller = CONTINUED, loud[-1][1]
        if fate == TOLD:
            loud.append((row, row["id"]))
        found.append({**row, "incident": incident, "fate": fate, "teller": teller})
    return found


def _is_told(row: Mapping[Any, Any], told: Mapping[tuple[str, pd.Timestamp], str]) -> bool:
    return (row["symbol"], row["ts"]) in told


def _is_worse(row: Mapping[Any, Any], told: list[dict[Any, Any]]) -> bool:
    """Whether a bar is clearly worse than those told; an unknown level is no reason."""
    is_higher = all(row["level"] > each["level"] for each in told)
    return is_higher or bool(row["p"] <= CLEARLY_WORSE * min(each["p"] for each in told))


def turned(rows: pd.DataFrame, told: Collection[tuple[str, pd.Timestamp]]) -> pd.DataFrame:
    """The corrected bars whose verdict turned.

    A bar that became an anomaly is news. One that ceased to be an anomaly is told only if it
    had been told: ``told`` holds the (symbol, ts) of the bars told so far.
    """
    became = (rows["verdict"] == "anomaly") & (rows["before"] == "normal")
    ceased = (rows["verdict"] == "normal") & (rows["before"] == "anomaly")
    bars = pd.MultiIndex.from_frame(rows[["symbol", "ts"]])
    was_told = bars.isin(list(told)) if len(told) else False
    return rows[became | (ceased & was_told)]


def is_quiet(rows: pd.DataFrame, labels: pd.DataFrame, as_of: pd.Timestamp) -> "pd.Series[bool]":
    """Which bars a person asked to hear nothing of.

    Parameters
    ----------
    rows : DataFrame
        symbol, ts.
    labels : DataFrame
        symbol, action, until, ts (of the alert that was acted on) and ``calm``, the instrument's
        first normal bar after it, where an acknowledgement ends (NaT: not yet).
    """
    snoozed = labels[(labels["action"] == "snooze") & (labels["until"] > as_of)]
    acknowledged = labels[labels["action"] == "acknowledge"][["symbol", "ts", "calm"]]
    bars = rows[["symbol", "ts"]].assign(place=range(len(rows)))
    met = bars.merge(acknowledged, on="symbol", suffixes=("", "_acted"))
    is_held = met["calm"].isna() | ((met["ts"] >= met["ts_acted"]) & (met["ts"] < met["calm"]))
    held = bars["place"].isin(met.loc[is_held, "place"])
    return rows["symbol"].isin(snoozed["symbol"]) | held
