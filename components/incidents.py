"""What deserves telling: verdicts and troubles in, incidents and alerts out. Pure.

An incident is the smallest thing that is told once: one instrument's bar, a bar whose
verdict turned, or one trouble with an instrument's data. An alert is what is told of them
together: all anomalies of one bar, all corrections, all data trouble of a run.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

# A bar older than this is recorded, and told no more.
TOLD_WITHIN = pd.Timedelta(days=31)


@dataclass(frozen=True)
class Incident:
    """One thing to tell of one instrument; ``version`` tells a second correction apart."""

    kind: str
    symbol: str
    interval: str
    ts: pd.Timestamp
    what: str = ""
    version: str = ""

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


def fresh_anomalies(rows: pd.DataFrame, first: Mapping[str, pd.Timestamp]) -> pd.DataFrame:
    """The anomalies that are, or were, news.

    Parameters
    ----------
    rows : DataFrame
        Anomalies: symbol, ts, and ``before``, the first verdict of the bar. A bar that became
        an anomaly later is a correction, or the work of changed settings.
    first : Mapping
        The last bar of each instrument that had closed when it was first judged. What lies
        before it is history, and is not told.
    """
    return rows[(rows["before"] == "anomaly") & (rows["ts"] >= rows["symbol"].map(first))]


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


def quiet_symbols(labels: pd.DataFrame, calm_since: pd.DataFrame, as_of: pd.Timestamp) -> set[str]:
    """Instruments about which a person asked for silence that still holds.

    Parameters
    ----------
    labels : DataFrame
        symbol, action, until, ts (of the alert that was acted on).
    calm_since : DataFrame
        symbol, ts of each instrument's latest normal verdict: an acknowledgement ends there.
    """
    snoozed = labels[(labels["action"] == "snooze") & (labels["until"] > as_of)]
    acknowledged = labels[labels["action"] == "acknowledge"].merge(
        calm_since, how="left", on="symbol", suffixes=("", "_calm")
    )
    held = acknowledged[~(acknowledged["ts_calm"] > acknowledged["ts"])]
    return set(snoozed["symbol"]) | set(held["symbol"])
