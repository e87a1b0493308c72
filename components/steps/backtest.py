"""Backtest: whole days replayed through the daily run's own steps, and nobody told."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from components.backtest import NOTED, TOLD, Outcome, schedule
from components.errors import NotEnoughBars, SettingsError
from components.records import Message, RunSummary, run_id
from components.steps.gather import fetch, load, plan, refine
from components.steps.judging import judge_all
from components.steps.labels_then import Ledgers, read_ledgers
from components.steps.parts import Parts, unseen
from components.steps.past import Past, Recorded, read_past
from components.steps.tell import tell
from components.tables import RUNS

# Days run before the first that counts: what they told is not told again.
WARM_UP = pd.Timedelta(days=7)

# Opens the scratch stores of one replay beside the parts that are read.
Scratch = Callable[[Parts], AbstractContextManager[Parts]]

# The first verdict of each bar that was first judged in the span. What an instrument's first
# run judged before its newest bar is history.
FIRST_VERDICTS = """
select v.symbol, v.ts, v.verdict, v.p, v.level, v."return"
from verdicts v join (
    select symbol, begun, (
        select max(ts) from verdicts n
        where n.symbol = b.symbol and n."interval" = %(interval)s and n.judge = %(judge)s
          and n.known_at = b.begun
    ) as newest
    from (
        select symbol, min(known_at) as begun from verdicts
        where "interval" = %(interval)s and judge = %(judge)s group by symbol
    ) b
) f on f.symbol = v.symbol
where v."interval" = %(interval)s and v.judge = %(judge)s
  and v.known_at >= %(since)s and v.known_at < %(until)s
  and (v.known_at > f.begun or v.ts >= f.newest)
  and not exists (
    select from verdicts o
    where (o.symbol, o."interval", o.ts, o.judge) = (v.symbol, v."interval", v.ts, v.judge)
      and o.known_at < v.known_at
  )
order by v.symbol, v.ts
"""

# Of what is told; the bars that continued an incident untold have a kind of their own.
NOTED_BARS = """
select kind, symbol, ts, coalesce(incident, id) as incident, alert_id from incidents
where alert_id = any(%(alerts)s) and kind <> 'continued' order by ts, symbol, kind
"""

SILENCED = """
select count(*) as n from incidents
where alert_id = '' and known_at >= %(since)s and known_at < %(until)s
"""


@dataclass(frozen=True)
class Span:
    """The days to replay, [since, until), and at which time of day; None: as it was done."""

    since: pd.Timestamp
    until: pd.Timestamp
    at: pd.Timedelta | None = None


@dataclass(frozen=True)
class Collector:
    """A channel that tells nobody and keeps what it was given."""

    messages: list[Message] = field(default_factory=list)
    name: str = "collected"

    def send(self, message: Message) -> None:
        """Keep the message; see ``Channel``."""
        self.messages.append(message)

    def probe(self) -> str:
        """Nothing can be in the way; see ``Channel``."""
        return "kept"


def backtest(parts: Parts, scratch: Scratch, span: Span, *others: Parts) -> list[Outcome]:
    """Replay the days of ``span`` under the settings of ``parts``, and of each of ``others``.

    Parameters
    ----------
    parts : Parts
        The real stores, which are read and never written.
    scratch : callable
        Opens the stores that one replay writes to.
    others : Parts
        The same stores under other settings of the judge.

    Raises
    ------
    LakeError
        The raw lake holds nothing of what is watched.
    NotEnoughBars
        No instrument has the bars that a verdict needs.
    """
    past, ledgers = read_past(parts), read_ledgers(parts)
    for each in (parts, *others):
        _require_bars(each, past, span)
    ran = _real_runs(parts)
    return [_replayed(each, scratch, span, past, ledgers, ran) for each in (parts, *others)]


def _real_runs(parts: Parts) -> list[pd.Timestamp]:
    rows = parts.warehouse.read(RUNS, columns=["id", "as_of", "status"])
    interval = parts.watch.interval
    own = [run_id("run", interval, pd.Timestamp(as_of)) for as_of in rows["as_of"]]
    rows = rows[(rows["id"] == own) & (rows["status"] == "finished")]
    return sorted(pd.Timestamp(t) for t in rows["as_of"].unique())


def _require_bars(parts: Parts, past: Past, span: Span) -> None:
    if not past.closed(span.since, span.until):
        first, last = past.reach
        raise SettingsError(
            f"no bar closed from {span.since:%Y-%m-%d} to {span.until:%Y-%m-%d}: the raw layer "
            f"has bars from {first:%Y-%m-%d} to {last:%Y-%m-%d}. Take days between them, or "
            "fetch more with `python main.py backfill`."
        )
    most = past.longest(span.until)
    needed = parts.ensemble.bars_before_verdict + 1
    if most < needed:
        raise NotEnoughBars(f"a verdict before {span.until:%Y-%m-%d}", needed, most)


def _replayed(
    parts: Parts,
    scratch: Scratch,
    span: Span,
    past: Past,
    ledgers: Ledgers,
    ran: list[pd.Timestamp],
) -> Outcome:
    days = [t for t in schedule(span.since, span.until, ran, span.at) if t <= parts.run.as_of]
    if not days:
        raise SettingsError(
            f"no daily run falls between {span.since:%Y-%m-%d %H:%M} and "
            f"{span.until:%Y-%m-%d %H:%M} UTC. Take --until a day later."
        )
    before = _before(days[0], span, ran)
    source, collector = Recorded(parts, past), Collector()
    with scratch(parts) as opened:
        then = replace(opened, source=source, channels=(collector,), progress=unseen)
        previous = (before + days)[0]
        ledgers.restore(then, previous)
        for as_of in parts.progress([*before, *days], len(before + days), "replaying days"):
            if as_of == days[0]:
                collector.messages.clear()
                source.assumed.clear()
            _day(then, past, ledgers, previous, as_of)
            previous = as_of
        return _outcome(then, ledgers, span, collector, source)


def _before(first: pd.Timestamp, span: Span, ran: list[pd.Timestamp]) -> list[pd.Timestamp]:
    """The runs just before the first that counts; before the first of all runs there was none."""
    before = schedule(first - WARM_UP, first, ran, span.at)
    began = ran[0] if ran and span.at is None and ran[0] <= first else None
    return [t for t in before if began is None or t >= began]


def _day(
    parts: Parts, past: Past, ledgers: Ledgers, previous: pd.Timestamp, as_of: pd.Timestamp
) -> None:
    """One daily run as it would have been at ``as_of``."""
    watch = replace(parts.watch, symbols=past.watched(parts.watch.symbols, as_of))
    if not watch.symbols:
        return
    run = RunSummary(f"run-{as_of:%Y%m%dT%H%M%SZ}", "run", as_of)
    then = replace(parts, watch=watch, run=run, clock=as_of.to_pydatetime)
    ledgers.said(then, previous, as_of)
    for wanted in plan(then, as_of):
        load(then, refine(then, fetch(then, wanted)))
    judge_all(then, as_of)
    tell(then, as_of)


def _outcome(
    parts: Parts, ledgers: Ledgers, span: Span, collector: Collector, source: Recorded
) -> Outcome:
    verdicts = _verdicts(parts, span)
    told = _told(parts, collector.messages)
    told = told.merge(verdicts[["symbol", "ts", "return", "p", "level"]], how="left")
    told = told.merge(ledgers.found(), how="left", on=["kind", "symbol", "ts"]).fillna(
        {"label": ""}
    )
    at = {"since": span.since.to_pydatetime(), "until": span.until.to_pydatetime()}
    bars = set(zip(verdicts["symbol"], verdicts["ts"], strict=True))
    return Outcome(
        judge=_judge(parts),
        told=told[TOLD],
        verdicts=verdicts,
        n_messages=sum(bool(message.alerts) for message in collector.messages),
        n_silenced=int(parts.warehouse.query(SILENCED, at)["n"].iloc[0]),
        n_bars=len(bars),
        n_assumed=len(bars & source.assumed),
    )


def _judge(parts: Parts) -> dict[str, Any]:
    ensemble = parts.ensemble
    judge = {"detectors": list(ensemble.detectors), "alerts_per_year": ensemble.alerts_per_year}
    quorum = getattr(ensemble, "quorum", None)
    return judge if quorum is None else {**judge, "quorum": quorum}


def _verdicts(parts: Parts, span: Span) -> pd.DataFrame:
    interval = parts.watch.interval
    at = {
        "interval": interval,
        "judge": parts.ensemble.name,
        "since": span.since.to_pydatetime(),
        "until": span.until.to_pydatetime(),
    }
    rows = parts.warehouse.query(FIRST_VERDICTS, at)
    per_year = {s: parts.calendars.bars_per_year(s, interval) for s in set(rows["symbol"])}
    return rows.assign(bars_per_year=rows["symbol"].map(per_year).astype(float))


def _told(parts: Parts, messages: list[Message]) -> pd.DataFrame:
    """The incidents of the alerts that were sent, a row each time that they were sent."""
    sent = [
        (alert.id, alert.kind, message.as_of) for message in messages for alert in message.alerts
    ]
    alerts = pd.DataFrame(sent, columns=["alert_id", "told_as", "told_at"])
    alerts["told_at"] = pd.to_datetime(alerts["told_at"], utc=True).dt.as_unit("us")
    noted = parts.warehouse.query(NOTED_BARS, {"alerts": list(alerts["alert_id"])})
    rows = alerts.merge(noted, on="alert_id")
    late = [
        0 if kind == "data" else _bars_late(parts, symbol, ts, told_at)
        for kind, symbol, ts, told_at in rows[["kind", "symbol", "ts", "told_at"]].to_numpy()
    ]
    return rows.assign(bars_late=late)[NOTED]


def _bars_late(parts: Parts, symbol: str, ts: pd.Timestamp, told_at: pd.Timestamp) -> int:
    """How many further bars of the instrument had closed when its bar was told."""
    interval = parts.watch.interval
    later = parts.calendars.expected(symbol, interval, ts, told_at)
    later = later[later > ts]
    return int((parts.calendars.closes(symbol, interval, later) <= told_at).sum())
