"""What the command ``stream`` puts together: from the settings to a session at work."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from components.entrypoints.streaming import Outlets, Session, stopped_by_signals, until_stopped
from components.errors import SettingsError
from components.feeds import FEEDS, Feed, open_feed
from components.feeds.refill import refill_of
from components.metrics import Metrics
from components.sessions import length
from components.settings import Settings
from components.steps.catching_up import catch_up
from components.steps.history import candles_between
from components.steps.parts import Parts, Progress
from components.steps.stream_start import newest_known
from components.wiring import channels_of, open_parts, open_scratch

# Candles of the span that were known when it was really lived through.
FOREIGN = """
select symbol, ts from all_candles
where "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
  and known_at > ts + %(step)s + interval '1 hour' limit 1
"""


@dataclass(frozen=True)
class Wanted:
    """What the command line asked for; ``since`` and ``until`` are those of a replay."""

    feed: str
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None
    speed: str = "max"
    is_kept: bool = False
    csv: Path | None = None


def wanted_of(settings: Settings, feed: str | None, **others: Any) -> Wanted:
    """The feed that was named, or that of the source.

    Raises
    ------
    SettingsError
        A replay without its span, or a span without a replay.
    """
    own = settings.source if settings.source in FEEDS else "replay"
    wanted = Wanted(feed or ("replay" if others.get("since") is not None else own), **others)
    if wanted.feed not in FEEDS:
        raise SettingsError(
            f"--feed {wanted.feed[:20]!r} is none. Known: {', '.join(sorted(FEEDS))}."
        )
    is_replay = wanted.feed == "replay"
    if is_replay and (wanted.since is None or wanted.until is None):
        raise SettingsError("a replay needs --since and --until: the bars to play again.")
    if not is_replay and wanted.since is not None:
        raise SettingsError(f"--since belongs to a replay, and {wanted.feed} is live.")
    if not is_replay and wanted.feed != settings.source:
        raise SettingsError(
            f"--feed {wanted.feed} goes with --source {wanted.feed}, which refills its gaps; the "
            f"source is {settings.source!r}."
        )
    return wanted


def streamed(settings: Settings, wanted: Wanted, progress: Progress) -> int:
    """Stream until the feed ends or a signal comes; give the exit code."""
    metrics = Metrics()
    if settings.metrics_port:
        metrics.serve(settings.metrics_address, settings.metrics_port)
    with stopped_by_signals() as stop:
        until_stopped(lambda: _worked(settings, wanted, metrics, stop, progress), stop)
    return 0


def _worked(
    settings: Settings,
    wanted: Wanted,
    metrics: Metrics,
    stop: threading.Event,
    progress: Progress,
) -> None:
    now = pd.Timestamp.now("UTC").floor("s")
    with ExitStack() as stack:
        parts = stack.enter_context(open_parts(settings, now, command="stream", progress=progress))
        outlets = Outlets(metrics, csv=wanted.csv)
        if wanted.feed == "replay":
            _replayed(settings, wanted, parts, outlets, stop)
            return
        catch_up(parts, now)
        feed = _live(settings, wanted, parts)
        stack.callback(feed.close)
        _session(settings, parts, feed, outlets).work(pd.Timestamp.now("UTC"), stop)


def _session(settings: Settings, parts: Parts, feed: Feed, outlets: Outlets) -> Session:
    return Session(parts, feed, outlets, pd.Timedelta(seconds=settings.stream_lateness_s))


def _live(settings: Settings, wanted: Wanted, parts: Parts) -> Feed:
    """The feed of the source's own sockets, from behind what is stored."""
    symbols, interval = parts.watch.symbols, parts.watch.interval
    last = parts.warehouse.last_ts(symbols, interval, pd.Timestamp.now("UTC"))
    since = {symbol: ts + length(interval) for symbol, ts in last.items()}
    given = {**settings.fields(), "symbols": symbols, "interval": interval, "since": since}
    return open_feed(
        wanted.feed,
        **given,
        calendars=parts.calendars,
        refill=refill_of(parts.source, interval, parts.calendars),
    )


def _replayed(
    settings: Settings, wanted: Wanted, parts: Parts, outlets: Outlets, stop: threading.Event
) -> None:
    """Play stored candles again, as if each had just closed, and say what was told."""
    since, until = wanted.since, wanted.until
    if since is None or until is None:
        raise SettingsError("a replay needs --since and --until.")
    with _stores(settings, wanted, parts) as into:
        known = newest_known(into)
        after = since if known is None else max(since, known.floor("min") - length("1d"))
        feed = open_feed(
            "replay",
            read=_reader(parts),
            since=after,
            until=until,
            interval=parts.watch.interval,
            speed=wanted.speed,
            calendars=parts.calendars,
        )
        session = _session(settings, into, feed, outlets)
        session.is_kept = wanted.is_kept
        session.work(since if known is None else known, stop)
        counts = into.run.counts
        print(  # noqa: T201 - the command's answer
            f"replayed {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC: "
            f"{session.n_judged:,} bars judged, {counts.get('alerts', 0)} alerts"
        )


def _reader(parts: Parts) -> Any:
    """Where a replay's candles come from: a source of files, or what is stored."""
    symbols = parts.watch.symbols
    if parts.source.name in ("files", "sample"):
        refill = refill_of(parts.source, parts.watch.interval, parts.calendars)
        return lambda since, until: refill(symbols, since, until)
    as_of = parts.run.as_of
    return lambda since, until: candles_between(parts, symbols, since, until, as_of)


@contextmanager
def _stores(settings: Settings, wanted: Wanted, parts: Parts) -> Iterator[Parts]:
    """Where a replay's verdicts go: stores that vanish with it, or the warehouse itself."""
    if not wanted.is_kept:
        with open_scratch(settings, parts) as scratch:
            yield replace(scratch, channels=channels_of(settings)[-1:])
        return
    found = parts.warehouse.query(
        FOREIGN,
        {
            "interval": parts.watch.interval,
            "since": wanted.since.to_pydatetime() if wanted.since else None,
            "until": wanted.until.to_pydatetime() if wanted.until else None,
            "step": length(parts.watch.interval).to_pytimedelta(),
        },
    )
    if len(found):
        raise SettingsError(
            f"--keep: the warehouse holds bars of that span from other runs "
            f"({found['symbol'].iloc[0]} {found['ts'].iloc[0]:%Y-%m-%d %H:%M}). "
            "Replay without --keep, or into another TREMOR_STATE_DIR."
        )
    yield parts
