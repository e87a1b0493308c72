"""Channels: one file and one line here each, imported when it is opened."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from components.channels.base import Channel
from components.errors import UnknownName

CHANNELS: Mapping[str, str] = {
    "console": "components.channels.console:Console",
    "email": "components.channels.email:Email",
    "kafka": "components.channels.kafka:Kafka",
    "outbox": "components.channels.outbox:Outbox",
    "webhook": "components.channels.webhook:Webhook",
}

__all__ = ["CHANNELS", "Channel", "open_channel"]


def open_channel(name: str, **options: Any) -> Channel:
    """Make the channel of that name from its own settings."""
    if name not in CHANNELS:
        raise UnknownName("channel", name, list(CHANNELS))
    module, _, attribute = CHANNELS[name].partition(":")
    channel: Channel = getattr(import_module(module), attribute)(**options)
    return channel
