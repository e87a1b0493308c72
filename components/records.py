"""The records that travel between the rooms."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class CandleRequest:
    """Which bars of one instrument are wanted: opens in [since, until).

    ``as_of`` is the instant of the run: nothing that happened later is asked for, and it
    becomes the ``known_at`` of what comes back.
    """

    symbol: str
    interval: str
    since: pd.Timestamp
    until: pd.Timestamp
    as_of: pd.Timestamp


@dataclass(frozen=True)
class RawReply:
    """What a provider said, byte for byte, to one request.

    ``observed_at`` is the instant at which the provider stated it (the time of the HTTP
    reply, the modification time of a file), never later than the request's ``as_of``:
    a bar that closed after it is unfinished in this reply.
    """

    source: str
    request: CandleRequest
    url: str
    status: int
    observed_at: pd.Timestamp
    body: bytes
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A request that brought nothing: for which symbol, of what kind, and in which words."""

    symbol: str
    kind: str
    message: str


@dataclass(frozen=True)
class RawBatch:
    """The replies to some requests, and the requests that failed."""

    source: str
    replies: tuple[RawReply, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """A reply as rows, nothing dropped or repaired yet.

    ``candles`` has the columns ts, open, high, low, close, volume, vwap, trades and ``line``
    (the row's place in the reply, from 0); prices as traded (splits undone), absent values
    NaN, ``ts`` NaT where the provider's text is no time. ``actions`` has ts, kind, value.
    """

    candles: pd.DataFrame
    actions: pd.DataFrame


@dataclass(frozen=True)
class Chart:
    """What the picture of one incident is drawn from."""

    ts: tuple[str, ...]
    close: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    judged: str
    score: float
    past_scores: tuple[float, ...]
    score_unit: str


@dataclass(frozen=True)
class Finding:
    """One instrument in an alert: the bar's numbers and the reasons in words.

    ``move`` is the close-to-close return and ``body`` close / open - 1 (fractions);
    ``sigmas`` is the score in units of the instrument's own volatility; ``rank`` of
    ``n_reference`` past scores at least as odd, plus one; ``market`` the median return of
    the other instruments, NaN when there are none.
    """

    symbol: str
    ts: str
    verdict: str
    move: float
    body: float
    sigmas: float
    p: float
    rank: int
    n_reference: int
    market: float
    reasons: tuple[str, ...]
    chart: Chart | None = None


@dataclass(frozen=True)
class Alert:
    """One incident as it is told: a day's anomalies, a correction, or trouble with data."""

    id: str
    kind: str
    interval: str
    ts: str
    symbols: tuple[str, ...]
    headline: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """What one run tells over a channel: its alerts, worst first.

    ``id`` is a function of the alerts, so that a repeated delivery can be recognised.
    ``budget`` says in words which alarm rate was stated and which was realised so far.
    """

    id: str
    as_of: str
    alerts: tuple[Alert, ...]
    budget: str
    all_clear: str = ""


@dataclass
class RunSummary:
    """What a run did, in numbers; ``exit_code`` as the command line returns it."""

    id: str
    command: str
    as_of: pd.Timestamp
    status: str = "running"
    exit_code: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)
    unreachable_in_a_row: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    report: str = ""


def alert_to_json(alert: Alert) -> str:
    """An alert as JSON text; a number that is not known becomes null."""
    return json.dumps(_finite(asdict(alert)), allow_nan=False, sort_keys=True)


def alert_from_json(text: str) -> Alert:
    """Read ``alert_to_json`` back."""
    raw = json.loads(text)
    findings = tuple(_finding(each) for each in raw.pop("findings"))
    symbols, notes = tuple(raw.pop("symbols")), tuple(raw.pop("notes"))
    return Alert(**raw, symbols=symbols, findings=findings, notes=notes)


def _finding(raw: dict[str, Any]) -> Finding:
    chart, reasons = raw.pop("chart"), tuple(raw.pop("reasons"))
    numbers: dict[str, Any] = {k: math.nan if v is None else v for k, v in raw.items()}
    return Finding(**numbers, reasons=reasons, chart=None if chart is None else _chart(chart))


def _chart(raw: dict[str, Any]) -> Chart:
    series = {
        k: tuple(math.nan if x is None else x for x in v)
        for k, v in raw.items()
        if isinstance(v, list)
    }
    score = math.nan if raw["score"] is None else raw["score"]
    return Chart(**{**raw, **series, "score": score})


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
