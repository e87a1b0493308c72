"""Alerts as messages of a broker: one each, keyed by its first instrument."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from components.errors import BrokerError, ChannelError
from components.records import Alert, Message, alert_to_json

# Hands rows of the ``alerts`` table to the broker, and waits until it has them.
Publish = Callable[[pd.DataFrame], object]


@dataclass(frozen=True)
class Kafka:
    """Each alert of a message as one message of the topic.

    Parameters
    ----------
    publish : callable
        Sends rows of the ``alerts`` table; ``BrokerError`` when the broker does not take them.
    reach : callable
        Asks whether the broker answers; gives what was seen, in words.
    """

    publish: Publish = field(repr=False)
    reach: Callable[[], str] = field(repr=False)
    report: str = ""
    name: str = "kafka"

    def send(self, message: Message) -> None:
        """Send the alerts; see ``Channel``. Of an all-clear nothing is sent."""
        if not message.alerts:
            return
        try:
            self.publish(pd.DataFrame([_row(alert) for alert in message.alerts]))
        except BrokerError as error:
            raise ChannelError(str(error), retryable=error.is_transient) from None

    def probe(self) -> str:
        """Whether the broker answers; see ``Channel``."""
        try:
            return self.reach()
        except BrokerError as error:
            raise ChannelError(str(error), retryable=error.is_transient) from None


def _row(alert: Alert) -> dict[str, object]:
    return {
        "id": alert.id,
        "kind": alert.kind,
        "interval": alert.interval,
        "ts": pd.Timestamp(alert.ts),
        "symbols": json.dumps(alert.symbols),
        "headline": alert.headline,
        "payload": alert_to_json(alert),
    }
