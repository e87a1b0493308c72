"""What the command ``stream`` puts together: from the settings to a session at work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from components.brokered import Brokered
from components.entrypoints.sending import Sender, send_on
from components.entrypoints.streaming import Outlets, Session, stopped_by_signals, until_stopped
from components.errors import SettingsError
from components.feeds import FEEDS, Feed, open_feed
from components.feeds.live import Terms
from components.feeds.refill import refill_of
from components.live_cache import LiveCache
from components.metrics import Metrics
from components.sessions import length
from components.settings import Settings, read_settings
from components.steps.catching_up import catch_up
from components.steps.history import candles_between
from components.steps.live import Shown
from components.steps.parts import Parts, Progress
from components.steps.stream_start import EPOCH, newest_known
from components.wiring import channels_of, open_parts, open_scratch, watched_parameters

# Feeds that candles come from first; the broker hands them on.
PLAYED = tuple(name for name in FEEDS if name != "kafka")

PARTS = ("feed", "judge", "both")

# Candles of the span that were known when it was really lived through.
FOREIGN = """
select symbol, ts from all_candles
where "interval" = %(interval)s and ts >= %(since)s and ts < %(until)s
  and known_at > ts + %(step)s + interval '1 hour' limit 1
"""


@dataclass(frozen=True)
class Wanted:
    """What the command line asked for; ``since`` and ``until`` are those of a replay.

    ``part`` is what this process does where there is a broker: "feed", "judge" or "both".
    """

    feed: str
    part: str = "both"
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None
    speed: str = "max"
    is_kept: bool = False
    csv: Path | None = None

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The bars of a replay."""
        if self.since is None or self.until is None:
            raise SettingsError("a replay needs --since and --until: the bars to play again.")
        if self.since >= self.until:
            raise SettingsError("--until is not behind --since: no bar lies between them.")
        return self.since, self.until


def wanted_of(settings: Settings, feed: str | None, **others: Any) -> Wanted:
    """The feed that was named, or that of the source.

    Raises
    ------
    SettingsError
        A replay without its span, or a span without a replay.
    """
    own = settings.source if settings.source in PLAYED else "replay"
    wanted = Wanted(feed or ("replay" if others.get("since") is not None else own), **others)
    if wanted.part not in PARTS:
        raise SettingsError(f"--part {wanted.part[:20]!r} is none. Known: {', '.join(PARTS)}.")
    if wanted.part != "both" and not settings.kafka_servers:
        raise SettingsError(
            f"--part {wanted.part} divides the work over a broker. Set TREMOR_KAFKA_SERVERS."
        )
    if wanted.part == "judge":
        return replace(wanted, feed="kafka")
    if wanted.feed not in PLAYED:
        raise SettingsError(
            f"--feed {wanted.feed[:20]!r} is none. Known: {', '.join(sorted(PLAYED))}."
        )
    is_replay = wanted.feed == "replay"
    if is_replay:
        _ = wanted.span
    if is_replay and settings.kafka_servers and not wanted.is_kept:
        raise SettingsError(
            "a replay over a broker stays and is told: say so with --keep, or unset "
            "TREMOR_KAFKA_SERVERS."
        )
    if not is_replay and wanted.since is not None:
        raise SettingsError(f"--since belongs to a replay, and {wanted.feed} is live.")
    if not is_replay and wanted.feed != settings.source:
        raise SettingsError(
            f"--feed {wanted.feed} goes with --source {wanted.feed}, which refills its gaps; the "
            f"source is {settings.source!r}."
        )
    return wanted


def stream_settings(**overrides: Any) -> Settings:
    """The settings of a stream: its bars are minutes where nothing else is said."""
    settings = read_settings(**overrides)
    if "interval" in settings.model_fields_set:
        return settings
    return read_settings(**{**overrides, "interval": "1m"})


def served_metrics(settings: Settings) -> Metrics:
    """Metrics that answer Prometheus where the settings have a port."""
    metrics = Metrics()
    if settings.metrics_port:
        metrics.serve(settings.metrics_address, settings.metrics_port)
    return metrics


def streamed(settings: Settings, wanted: Wanted, progress: Progress) -> int:
    """Stream until the feed ends or a signal comes; give the exit code."""
    metrics = served_metrics(settings)
    with stopped_by_signals() as stop:
        until_stopped(
            lambda is_open: _worked(settings, wanted, metrics, (stop, is_open), progress), stop
        )
    return 0


def _worked(
    settings: Settings,
    wanted: Wanted,
    metrics: Metrics,
    events: tuple[threading.Event, threading.Event],
    progress: Progress,
) -> None:
    now, (stop, is_open) = pd.Timestamp.now("UTC").floor("s"), events

    @contextmanager
    def opened(**given: Any) -> Iterator[Parts]:
        with open_parts(settings, now, progress=progress, **given) as parts:
            is_open.set()
            yield parts

    if settings.kafka_servers:
        over_a_broker(settings, wanted, metrics, stop, opened)
        return
    with opened(command="stream") as parts:
        outlets = outlets_of(settings, wanted, metrics, parts)
        if wanted.feed == "replay":
            _replayed(settings, wanted, parts, outlets, stop)
            return
        catch_up(parts, now)
        with closing(live_feed(settings, wanted, parts)) as feed:
            session_of(settings, parts, feed, outlets).work(pd.Timestamp.now("UTC"), stop)


def over_a_broker(
    settings: Settings,
    wanted: Wanted,
    metrics: Metrics,
    stop: threading.Event,
    opened: Callable[..., AbstractContextManager[Parts]],
) -> None:
    """Send what a feed gives to the broker, judge what the broker gives, or both."""
    broker = Brokered.of(settings)
    with ExitStack() as stack:
        if wanted.part == "judge":
            _judged(settings, wanted, stack.enter_context(opened(command="stream")), metrics, stop)
            return
        reading = stack.enter_context(opened(command="stream feed", reads_only=True))
        if wanted.feed == "replay":
            _refuse_foreign(wanted, reading)
        with closing(_first_feed(settings, wanted, reading)) as feed:
            if wanted.part == "feed":
                send_on(feed, broker, reading.watch.interval, metrics, stop)
                return
            # Candles are counted where they are judged.
            sender = Sender(feed, broker, reading.watch.interval, Metrics(), stop.set)
            stack.callback(sender.join)
            parts = stack.enter_context(opened(command="stream"))
            _judged(settings, wanted, parts, metrics, stop, sender)


def _judged(
    settings: Settings,
    wanted: Wanted,
    parts: Parts,
    metrics: Metrics,
    stop: threading.Event,
    sender: Sender | None = None,
) -> None:
    """Judge what the broker gives, from behind what is stored; to the end of what is sent."""
    outlets = outlets_of(settings, wanted, metrics, parts)
    known = newest_known(parts)
    with closing(open_feed("kafka", **_given(settings, parts))) as feed:
        session = session_of(settings, parts, feed, outlets)
        if sender is not None:
            session.is_over = sender.has_ended
        session.work(known or EPOCH, stop)


def _first_feed(settings: Settings, wanted: Wanted, parts: Parts) -> Feed:
    """The feed that goes to the broker."""
    if wanted.feed != "replay":
        return live_feed(settings, wanted, parts)
    last = parts.warehouse.last_ts(
        parts.watch.symbols, parts.watch.interval, pd.Timestamp.now("UTC")
    )
    is_whole = set(last) == set(parts.watch.symbols)
    return replay_feed(wanted, parts, min(last.values()) if is_whole else None)


def _given(settings: Settings, parts: Parts) -> dict[str, Any]:
    watch = parts.watch
    return {**settings.fields(), "symbols": watch.symbols, "interval": watch.interval}


def outlets_of(settings: Settings, wanted: Wanted, metrics: Metrics, parts: Parts) -> Outlets:
    """What hears of the stream beside its warehouse, as the settings have it."""
    watched = watched_parameters(settings, parts.calendars, parts.watch.symbols)
    outlets = Outlets(metrics, shown_of(settings), parameters=watched.newest, csv=wanted.csv)
    if settings.kafka_servers:
        broker = Brokered.of(settings)
        outlets.verdicts, outlets.flush = broker.verdicts, broker.flush
    return outlets


def shown_of(settings: Settings) -> Shown:
    """Who is shown the live state beside the warehouse: Redis, where there is one."""
    redis_url = settings.redis_url.get_secret_value()
    return LiveCache(redis_url, settings.kafka_prefix).put if redis_url else lambda _rows: None


def session_of(settings: Settings, parts: Parts, feed: Feed, outlets: Outlets) -> Session:
    """A session over open parts."""
    return Session(parts, feed, outlets, pd.Timedelta(seconds=settings.stream_lateness_s))


def live_feed(settings: Settings, wanted: Wanted, parts: Parts) -> Feed:
    """The feed of the source's own sockets, from behind what is stored."""
    symbols, interval = parts.watch.symbols, parts.watch.interval
    last = parts.warehouse.last_ts(symbols, interval, pd.Timestamp.now("UTC"))
    since = {symbol: ts + length(interval) for symbol, ts in last.items()}
    given = {
        **_given(settings, parts),
        "since": since,
        "calendars": parts.calendars,
        "refill": refill_of(parts.source, interval, parts.calendars),
        "terms": Terms(at_once=parts.source.traits.at_once),
    }
    return open_feed(wanted.feed, **given)


def _replayed(
    settings: Settings, wanted: Wanted, parts: Parts, outlets: Outlets, stop: threading.Event
) -> None:
    """Play stored candles again, as if each had just closed, and say what was told."""
    since, until = wanted.span
    with _stores(settings, wanted, parts) as into:
        known = newest_known(into)
        feed = replay_feed(wanted, parts, known)
        session = session_of(settings, into, feed, outlets)
        session.is_kept = wanted.is_kept
        session.work(since if known is None else known, stop)
        counts = into.run.counts
        print(  # noqa: T201 - the command's answer
            f"replayed {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC: "
            f"{session.n_judged:,} bars judged, {counts.get('alerts', 0)} alerts"
        )


def replay_feed(wanted: Wanted, parts: Parts, known: pd.Timestamp | None) -> Feed:
    """The replay that was asked for, from a little before what is known already."""
    since, until = wanted.span
    return open_feed(
        "replay",
        read=_reader(parts),
        since=since if known is None else max(since, known.floor("D") - length("1d")),
        until=until,
        interval=parts.watch.interval,
        speed=wanted.speed,
        calendars=parts.calendars,
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
    _refuse_foreign(wanted, parts)
    yield parts


def _refuse_foreign(wanted: Wanted, parts: Parts) -> None:
    """Refuse to keep a replay among bars that were really lived through."""
    found = parts.warehouse.query(
        FOREIGN,
        {
            "interval": parts.watch.interval,
            "since": wanted.span[0].to_pydatetime(),
            "until": wanted.span[1].to_pydatetime(),
            "step": length(parts.watch.interval).to_pytimedelta(),
        },
    )
    if len(found):
        raise SettingsError(
            f"--keep: the warehouse holds bars of that span from other runs "
            f"({found['symbol'].iloc[0]} {found['ts'].iloc[0]:%Y-%m-%d %H:%M}). "
            "Replay without --keep, or into another TREMOR_STATE_DIR."
        )
