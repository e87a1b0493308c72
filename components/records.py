"""The records that travel between the rooms."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from components.documents import plain


@dataclass(frozen=True)
class CandleRequest:
    """Which bars of one instrument are wanted: opens in [since, until).

    For measures ``symbol`` is the data set's name, and one reply holds all of its series.
    ``name``, where it is set, names the reply's raw object for ever: what was kept under it is
    never asked for again.
    ``as_of`` is the instant of the run: nothing that happened later is asked for, and it
    becomes the ``known_at`` of what comes back.
    """

    symbol: str
    interval: str
    since: pd.Timestamp
    until: pd.Timestamp
    as_of: pd.Timestamp
    name: str = ""


@dataclass(frozen=True)
class RawReply:
    """What a provider said, byte for byte, to one request.

    ``observed_at`` is the instant at which the provider stated it (the time of the HTTP
    reply, the modification time of a file), never later than the request's ``as_of``:
    a bar that closed after it is unfinished in this reply.

    ``status`` is 200 when the reply is all that the provider will ever have of the request,
    206 when it lacks a part that may come later (``details["absent"]`` says which).
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
    A source of measures gives ``measures`` instead: series, ts (start of the bin, UTC), value
    and ``line``.
    """

    candles: pd.DataFrame
    actions: pd.DataFrame
    measures: pd.DataFrame | None = None


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
    market_part: float = math.nan
    own_part: float = math.nan


@dataclass(frozen=True)
class BandChart:
    """What the picture of a bin outside of its band is drawn from.

    ``ts`` are the bins' starts and ``judged`` one of them; ``unit`` may be empty; ``zone`` is the
    operator's.
    """

    ts: tuple[str, ...]
    actual: tuple[float, ...]
    expected: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    judged: str
    unit: str
    zone: str
    title: str


@dataclass(frozen=True)
class View:
    """How one view (a detector) stood to a bar.

    ``stance`` is "voted", "against" or "abstained"; ``why`` says in words why it abstained,
    when that is known.
    """

    name: str
    stance: str
    p: float = math.nan
    why: str = ""


@dataclass(frozen=True)
class Part:
    """What one feature added to a trained model's score of a bar: ``part`` of ``total``.

    ``value`` is the feature's own, in ``unit``; the feature "" is what belongs to none of them.
    ``what`` says what the total is.
    """

    view: str
    feature: str
    value: float
    unit: str
    part: float
    total: float
    what: str


@dataclass(frozen=True)
class SimilarBar:
    """An earlier bar that looked alike; ``move`` is its return."""

    ts: str
    distance: float
    move: float


@dataclass(frozen=True)
class Followed:
    """What came in the ``n_bars`` after bars that looked alike, with 95 % intervals.

    ``volatility`` is the root mean square return over the volatility known before, a ratio;
    ``move`` the return over those bars, a fraction; both are means over the alike bars.
    """

    n_bars: int
    volatility: float
    volatility_low: float
    volatility_high: float
    move: float
    move_low: float
    move_high: float


@dataclass(frozen=True)
class Finding:
    """One instrument in an alert: the bar's numbers and the reasons in words.

    ``move`` is the close-to-close return and ``body`` close / open - 1 (fractions);
    ``sigmas`` is the move in units of the instrument's own volatility; ``rank`` is its place
    among the ``n_reference`` bars before it, 1 for the largest; ``market`` the median return
    of the other instruments, NaN when there are none. ``market_part`` and ``own_part`` sum
    to ``move``; ``residual_p`` is the p-value of the own part alone. ``followed`` is measured
    over the ``n_alike`` most similar bars, of which ``similar`` names the first. ``parts`` say
    what made a trained model's score, the largest first.
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
    chart: Chart | BandChart | None = None
    level: int = 0
    surprise: float = math.nan
    market_part: float = math.nan
    own_part: float = math.nan
    residual_p: float = math.nan
    views: tuple[View, ...] = ()
    similar: tuple[SimilarBar, ...] = ()
    followed: tuple[Followed, ...] = ()
    n_alike: int = 0
    parts: tuple[Part, ...] = ()


# Of instruments that only moved with the market so many are explained.
N_EXAMPLES = 2


@dataclass(frozen=True)
class Alert:
    """What is told together: a day's anomalies, a market-wide day, a correction, data trouble.

    Of a market-wide day ``calendar`` names the market, and the last ``n_folded`` findings are
    of instruments that moved with it and no further.
    """

    id: str
    kind: str
    interval: str
    ts: str
    symbols: tuple[str, ...]
    headline: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    calendar: str = ""
    n_folded: int = 0

    @property
    def told_apart(self) -> tuple[Finding, ...]:
        """The findings that stand for themselves: all but those folded under the market."""
        return self.findings[: len(self.findings) - self.n_folded]

    @property
    def in_full(self) -> tuple[Finding, ...]:
        """The findings to show in full; where all moved with the market, the first as examples."""
        return self.told_apart or self.folded[:N_EXAMPLES]

    @property
    def folded(self) -> tuple[Finding, ...]:
        """The instruments that moved with the market and no further."""
        return self.findings[len(self.findings) - self.n_folded :]


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
    """What a run did, in numbers; ``exit_code`` as the command line returns it.

    ``degraded`` says, a sentence each, what the run had to do without; ``model_bins``
    (n_columns, n_bins) are the recent bars of all judged instruments as a trained model saw them.
    """

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
    degraded: list[str] = field(default_factory=list)
    model_bins: Any = None
    seconds: dict[str, float] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    report: str = ""
    pages: list[str] = field(default_factory=list)


def run_id(command: str, interval: str, as_of: pd.Timestamp) -> str:
    """Name a run: "run-20240313T120000Z", or "run-1m-20240313T120000Z" when no days are judged."""
    of_bars = "" if interval == "1d" else f"{interval}-"
    return f"{command}-{of_bars}{as_of:%Y%m%dT%H%M%SZ}"


def alert_to_json(alert: Alert) -> str:
    """An alert as JSON text; a number that is not known becomes null."""
    return json.dumps(plain(asdict(alert)), allow_nan=False, sort_keys=True)


def alert_from_json(text: str) -> Alert:
    """Read ``alert_to_json`` back."""
    raw = json.loads(text)
    findings = tuple(_finding(each) for each in raw.pop("findings"))
    symbols, notes = tuple(raw.pop("symbols")), tuple(raw.pop("notes"))
    return Alert(**raw, symbols=symbols, findings=findings, notes=notes)


def _finding(raw: dict[str, Any]) -> Finding:
    chart, reasons = raw.pop("chart"), tuple(raw.pop("reasons"))
    views = tuple(View(**_numbers(each)) for each in raw.pop("views", ()))
    similar = tuple(SimilarBar(**_numbers(each)) for each in raw.pop("similar", ()))
    followed = tuple(Followed(**_numbers(each)) for each in raw.pop("followed", ()))
    made_of = tuple(Part(**_numbers(each)) for each in raw.pop("parts", ()))
    return Finding(
        **_numbers(raw),
        reasons=reasons,
        chart=None if chart is None else _chart(chart),
        views=views,
        similar=similar,
        followed=followed,
        parts=made_of,
    )


def _numbers(raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record; null is a number that is not known."""
    return {k: math.nan if v is None else v for k, v in raw.items()}


def _chart(raw: dict[str, Any]) -> Chart | BandChart:
    series = {
        k: tuple(math.nan if x is None else x for x in v) for k, v in raw.items() if _is_row(v)
    }
    kind = BandChart if "expected" in raw else Chart
    return kind(**{**_numbers(raw), **series})


def _is_row(value: Any) -> bool:
    return isinstance(value, list)
