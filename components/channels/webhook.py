"""JSON by HTTP POST: a text that Slack understands, and the alerts as data."""

import errno
import json
import math
import socket
import ssl
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from components.channels import render
from components.channels.email import is_loopback
from components.errors import ChannelError, SettingsError
from components.records import Alert, Finding, Followed, Message, Part, SimilarBar, View
from components.words import clean, level_word

# Slack cuts a text at 40 000 characters and advises 4 000.
LONGEST_TEXT = 4000

# Findings of one alert that are sent as data; ``n_findings`` tells how many there are.
MAX_FINDINGS = 200

NUMBERS = ("move", "body", "sigmas", "p", "market", "surprise", "market_part", "own_part")


@dataclass(frozen=True)
class Webhook:
    """Each message as one POST.

    Parameters
    ----------
    url : str
        https, or http on this very machine. Its path and query are a secret, so errors
        name its scheme and host only.
    """

    url: str = field(repr=False)
    timeout_s: float = 30.0
    report: str = ""
    name: str = "webhook"

    def __post_init__(self) -> None:
        """Refuse an address that would carry the secret in clear."""
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            parts, host = urlsplit(""), ""
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
        if not (is_safe and host):
            raise SettingsError("TREMOR_WEBHOOK_URL is not of the form https://host/path.")

    def send(self, message: Message) -> None:
        """Post the message; see ``Channel``. Redirects are not followed."""
        body = json.dumps(payload(message, self.report), allow_nan=False).encode()
        try:
            reply = requests.post(
                self.url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self.timeout_s,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # The error's own text holds the whole URL.
            is_trusted = not isinstance(error, requests.exceptions.SSLError)
            raise self._error(_words_of(error), is_trusted) from None
        if not 200 <= reply.status_code < 300:
            is_passing = reply.status_code == 429 or reply.status_code >= 500
            raise self._error(f"answered {reply.status_code}: {self._said(reply)}", is_passing)

    def probe(self) -> str:
        """Connect, and say nothing; see ``Channel``."""
        try:
            return reach(self.url, self.timeout_s)
        except OSError as error:
            raise self._error(f"is not reached: {error.strerror or error}", True) from None

    def _error(self, what: str, retryable: bool) -> ChannelError:
        parts = urlsplit(self.url)
        return ChannelError(f"{parts.scheme}://{parts.hostname} {what}", retryable=retryable)

    def _said(self, reply: requests.Response) -> str:
        if reply.is_redirect:
            return "a redirect, which is not followed"
        parts = urlsplit(self.url)
        said = clean(reply.content[:2000].decode("utf-8", "replace"), 200)
        for secret in (parts.path.strip("/"), parts.query, *parts.path.split("/")):
            said = said.replace(secret, "***") if len(secret) > 3 else said
        return said or "no words"


def reach(url: str, timeout_s: float) -> str:
    """Connect to the server of a URL, with TLS where it says so, and send nothing.

    Raises
    ------
    OSError
        It is not reached, or shows a certificate that is not trusted.
    """
    # What these raise holds a part of the address, which may be its secret.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((host, port), timeout=timeout_s) as plain:
            if parts.scheme == "https":
                ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
    except ValueError:
        raise OSError(errno.EINVAL, "its address cannot be read") from None
    return f"{parts.scheme}://{host} is reached; nothing was sent"


def _words_of(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "shows a certificate that is not trusted, or speaks no TLS"
    return "is not reached"


def payload(message: Message, report: str = "") -> dict[str, Any]:
    """What is posted; numbers that are unknown are null."""
    return {
        "text": _slack_text(message, report),
        "id": clean(message.id),
        "as_of": clean(message.as_of),
        "budget": clean(message.budget),
        "all_clear": clean(message.all_clear),
        "alerts": [_alert(alert) for alert in render.ordered(message)],
    }


def _slack_text(message: Message, report: str) -> str:
    """Slack reads <...> as a command and wants these three characters escaped."""
    text = render.text(message, report)
    text = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 4] + "\n..."
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": clean(alert.id),
        "kind": clean(alert.kind),
        "interval": clean(alert.interval),
        "ts": clean(alert.ts),
        "headline": clean(alert.headline),
        "calendar": clean(alert.calendar),
        "n_folded": alert.n_folded,
        "n_findings": len(alert.findings),
        "findings": [_finding(finding) for finding in alert.findings[:MAX_FINDINGS]],
        "notes": [clean(note) for note in alert.notes[: render.MAX_NOTES]],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "symbol": clean(finding.symbol),
        "ts": clean(finding.ts),
        "verdict": clean(finding.verdict),
        "level": level_word(finding.level),
        **{name: _number(getattr(finding, name)) for name in NUMBERS},
        "rank": finding.rank,
        "n_reference": finding.n_reference,
        "reasons": [clean(reason) for reason in finding.reasons],
        "views": [_record(view) for view in finding.views],
        "similar": [_record(bar) for bar in finding.similar],
        "followed": [_record(span) for span in finding.followed],
        "parts": [_record(part) for part in finding.parts],
    }


def _record(record: View | SimilarBar | Followed | Part) -> dict[str, Any]:
    return {k: _number(v) if isinstance(v, float) else v for k, v in asdict(record).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
