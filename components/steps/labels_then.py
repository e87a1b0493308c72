"""What people had been told and had said of it, as it was known on an earlier day."""

from dataclasses import dataclass

import pandas as pd

from components.steps.parts import Parts
from components.tables import ALERTS, INCIDENTS, LABELS


@dataclass(frozen=True)
class Ledgers:
    """The real alerts, incidents and labels; all that follows is read from these copies."""

    alerts: pd.DataFrame
    incidents: pd.DataFrame
    labels: pd.DataFrame

    def restore(self, parts: Parts, begin: pd.Timestamp) -> None:
        """Put what had been told and said before ``begin`` into a replay's warehouse."""
        known = self.alerts[self.alerts["known_at"] < begin]
        for table, rows in (
            (ALERTS, known),
            (INCIDENTS, self.incidents[self.incidents["known_at"] < begin]),
            (LABELS, self.labels[self.labels["made_at"] <= begin]),
        ):
            if len(rows):
                parts.warehouse.upsert(table, rows)

    def said(self, parts: Parts, since: pd.Timestamp, until: pd.Timestamp) -> None:
        """Repeat what people said in (since, until], of the alerts that the replay told.

        An alert of the replay may hold other instruments than the real one; then a label goes
        to the alert that told the same instrument's bar. Where none did, nobody could have
        said anything.
        """
        made = self.labels["made_at"]
        rows = self.labels[(made > since) & (made <= until)]
        if not len(rows):
            return
        told = parts.warehouse.query(
            "select alert_id as here, kind, symbol, ts from incidents where alert_id <> ''"
        )
        here = rows["alert_id"].isin(told["here"])
        placed = rows[~here].merge(_bars(self.incidents), on=["alert_id", "symbol"])
        placed = placed.merge(told, on=["kind", "symbol", "ts"])
        placed = placed.assign(alert_id=placed["here"])
        attached = pd.concat([rows[here], placed])[list(LABELS.columns)]
        if len(attached):
            parts.warehouse.upsert(LABELS, attached)

    def found(self) -> pd.DataFrame:
        """The latest finding about each thing told: kind, symbol, ts, label."""
        said = self.labels[self.labels["action"] == "label"].sort_values("made_at", kind="stable")
        placed = said.merge(_bars(self.incidents), on=["alert_id", "symbol"])
        latest = placed.drop_duplicates(["kind", "symbol", "ts"], keep="last")
        return latest[["kind", "symbol", "ts", "label"]]


def _bars(incidents: pd.DataFrame) -> pd.DataFrame:
    return incidents[["alert_id", "kind", "symbol", "ts"]].drop_duplicates()


def read_ledgers(parts: Parts) -> Ledgers:
    """Read the real ledgers while a daily run may be writing them."""
    # Labels first: whatever they speak of is then in the tables that are read after them.
    labels = parts.warehouse.read(LABELS)
    incidents = parts.warehouse.read(INCIDENTS)
    return Ledgers(parts.warehouse.read(ALERTS), incidents, labels)
