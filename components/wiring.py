"""Settings to open parts: the only place that opens anything."""

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import stamina

from components import logs
from components.brokered import Brokered
from components.channels import Channel, open_channel
from components.embedded import open_embedded
from components.ensemble import Ensemble
from components.errors import ModelError, SettingsError
from components.lake import Lake
from components.promotion import CHAMPION
from components.records import RunSummary, run_id
from components.refitted import refit_every
from components.registry import Registry
from components.scratch import scratch_lake, scratch_warehouse
from components.sessions import Calendars
from components.settings import WATCH_LISTS, Settings
from components.sources import open_source
from components.sources.base import Source, check_symbol
from components.steps.parameters import Watched, none_of, read_file
from components.steps.parts import Parts, Progress, Watch, unseen
from components.trained import unfit
from components.warehouse import Warehouse

log = logging.getLogger("tremor")


@contextmanager
def open_parts(
    settings: Settings,
    as_of: pd.Timestamp,
    *,
    command: str = "run",
    is_dry: bool = False,
    reads_only: bool = False,
    progress: Progress = unseen,
) -> Iterator[Parts]:
    """Open what a run works with, under the lock that lets one run work at a time.

    What ``reads_only`` takes no lock and has no channels. What ``is_dry`` stores in the
    warehouse is taken back at the end, and no carried state is written: it changes nothing of
    what a later run judges or tells.

    Raises
    ------
    SettingsError, UnknownName, InvalidSymbol
        Before anything is opened or written.
    AnotherRunAtWork
        When another process holds the lock.
    """
    stamina.instrumentation.set_on_retry_hooks([_log_retry])
    source, second = source_of(settings), second_of(settings)
    symbols = symbols_of(settings, source)
    if not (symbols or reads_only):
        raise SettingsError("nothing to watch. Set TREMOR_SYMBOLS.")
    calendars, ensemble = judge_of(settings, source, symbols)
    run = RunSummary(
        run_id(command, settings.interval, as_of), command, as_of.floor("s"), started_at=_clock()
    )
    logs.name_run(run.id)
    lacking, is_judged = "", source.traits.kind == "candles" and command not in WITHOUT_JUDGE
    if is_judged:
        ensemble = with_parameters(settings, ensemble, calendars, symbols)
        ensemble, lacking = with_champion(settings, ensemble)
    lake = Lake(settings.lake_root, settings.timeout_s)
    report = f"{settings.lake_root}/runs/{run.id}/report.html"
    channels = () if reads_only else channels_of(settings, report)

    with ExitStack() as stack:
        warehouse = stack.enter_context(open_warehouse(settings))
        if command == "stream":
            # It works for weeks, and takes turns with runs: see ``turn``.
            stack.enter_context(warehouse.run_lock(stream_of(settings.interval)))
        elif not reads_only:
            stack.enter_context(warehouse.run_lock())
            if command in BESIDE_NO_STREAM:
                stack.enter_context(warehouse.run_lock(stream_of(settings.interval)))
        if is_dry:
            stack.enter_context(warehouse.undone())
        if is_judged and not lacking:
            lacking = champion_lost(settings, ensemble, warehouse)
        if lacking:
            run.degraded.append(lacking)
            log.warning("%s", lacking)
        yield Parts(
            watch=Watch(
                symbols=symbols,
                interval=settings.interval,
                history=pd.Timedelta(days=round(365.25 * settings.history_years)),
                grace=pd.Timedelta(hours=settings.grace_hours),
                zone=settings.time_zone,
                tolerance=settings.tolerance,
                second_names=settings.second_names,
                forecaster=settings.forecaster,
                coverage=settings.coverage,
                holidays=settings.holidays,
                unit=settings.payment_unit,
                keep_minutes_days=settings.keep_minutes_days,
                keep_scores_days=settings.keep_scores_days,
                keep_quarantine_days=settings.keep_quarantine_days,
                empty_is_zero=settings.measures_empty == "zero",
                attempts=settings.attempts,
                all_clear=settings.all_clear,
                heartbeat_url=settings.heartbeat_url.get_secret_value(),
            ),
            source=source,
            second=second,
            lake=lake,
            warehouse=warehouse,
            calendars=calendars,
            ensemble=ensemble,
            channels=channels,
            run=run,
            settings=settings.shown(),
            clock=_clock,
            code_version=code_version(),
            progress=progress,
            is_dry=is_dry,
        )


def registry_of(settings: Settings) -> Registry:
    """The registry of trained models for the interval; nothing is opened yet."""
    return Registry(settings.mlflow_url, settings.state_dir / "mlflow", settings.interval)


# What judges the same bars as a stream would.
BESIDE_NO_STREAM = ("run", "replay")


def stream_of(interval: str) -> str:
    """The work that one stream at a time does."""
    return f"stream of {interval} bars"


# Nobody judges meanwhile: the first two make and choose models, the third makes what they read.
WITHOUT_JUDGE = ("train", "models", "features")

NO_MODEL = (
    "no trained model judges: {}. The untrained default judges; see `python main.py models list`, "
    "or set TREMOR_MODEL=none"
)

# Who judged beside the views when last anything was judged.
LAST_MODEL = """
select detector, max(known_at) as until from drift where interval = %(interval)s
group by detector order by until desc limit 1
"""


def with_parameters(
    settings: Settings, ensemble: Ensemble, calendars: Calendars, symbols: tuple[str, ...]
) -> Ensemble:
    """The ensemble with the parameters of its interval, where a view asks for any.

    Instruments whose class has none are judged with neutral ones, and the log says so.

    Raises
    ------
    ParametersError
        The file is not as it should be.
    """
    path = settings.params_path
    file = read_file(path) if ensemble.is_placed else None
    if file is None:
        return ensemble
    found = file.of(settings.interval, calendars)
    lacking = found.lacking(symbols) if found else str(none_of(path, file, settings.interval))
    if lacking:
        log.warning("%s", lacking)
    return replace(ensemble, parameters=found)


def watched_parameters(
    settings: Settings, calendars: Calendars, symbols: tuple[str, ...]
) -> Watched:
    """The same file for who goes on for long: looked at each second, refused without an end."""
    return Watched(settings.params_path, settings.interval, calendars, symbols=symbols)


def with_champion(settings: Settings, ensemble: Ensemble) -> tuple[Ensemble, str]:
    """The ensemble with the trained model that the settings name beside its detectors.

    A model that cannot be had, or does not fit, is refused: the run goes on without it, and the
    sentence says why ("" where nothing lacks). A detector that was named to judge alone goes on
    judging alone.
    """
    models = registry_of(settings)
    if settings.model == "none" or len(ensemble.detectors) < 2:
        return ensemble, ""
    which = f"the {settings.model} of {models.name}"
    try:
        trained = models.load(settings.model)
        if trained is None and settings.model == CHAMPION:
            return ensemble, ""
        reason = unfit(trained, settings.interval) if trained else "is not there"
        if trained and not reason:
            return replace(ensemble, trained=trained), ""
        lacking = f"{which} {reason}"
    except ModelError as error:
        lacking = str(error)
    return ensemble, NO_MODEL.format(lacking)


def champion_lost(settings: Settings, ensemble: Ensemble, warehouse: Warehouse) -> str:
    """The sentence for a champion that judged before, where now there is none; "" where not."""
    if settings.model != CHAMPION or ensemble.trained or len(ensemble.detectors) < 2:
        return ""
    last = warehouse.query(LAST_MODEL, {"interval": settings.interval})
    if last.empty:
        return ""
    name, until = last.iloc[0]
    place = "TREMOR_MLFLOW_URL" if settings.mlflow_url else str(registry_of(settings).folder)
    return NO_MODEL.format(
        f"{name}, which judged until {until:%Y-%m-%d}, is not in {place}, nor another champion"
    )


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[Warehouse]:
    """The warehouse by its address, or the embedded one; its schema is brought up to date."""
    url = settings.warehouse or open_embedded(settings.state_dir)
    with Warehouse(url) as warehouse:
        warehouse.migrate()
        yield warehouse


@contextmanager
def open_scratch(settings: Settings, parts: Parts) -> Iterator[Parts]:
    """The same parts over stores of their own, of which nothing is left behind."""
    url = settings.warehouse or open_embedded(settings.state_dir)
    with scratch_warehouse(url) as warehouse:
        watch = replace(parts.watch, attempts=1, heartbeat_url="")
        yield replace(parts, watch=watch, lake=scratch_lake(), warehouse=warehouse, channels=())


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    # Errors of sources and channels are one line each, and hold no secret.
    log.warning("%s Trying again in %.1f s.", details.caused_by, details.wait_for)


def _clock() -> datetime:
    return datetime.now(UTC)


def source_of(settings: Settings) -> Source:
    """The source that the settings name."""
    return open_source(settings.source, **settings.fields())


def second_of(settings: Settings) -> Source | None:
    """The source that the first is compared with, where there is one."""
    if not settings.second_source:
        return None
    second = open_source(settings.second_source, **settings.fields())
    if settings.second_source == settings.source or second.traits.kind != "candles":
        raise SettingsError(
            "TREMOR_SECOND_SOURCE is the first one, or has no candles. Name another source of "
            "candles, or leave it unset."
        )
    return second


def judge_of(
    settings: Settings, source: Source, symbols: tuple[str, ...]
) -> tuple[Calendars, Ensemble]:
    """When bars close, and who judges them at which rate.

    Raises
    ------
    SettingsError, UnknownName
        No such calendar or detector, or a rate that no history can resolve.
    """
    calendars = Calendars(settings.calendars, source.traits.calendar)
    every = refit_every(settings.interval)
    ensemble = Ensemble(settings.detectors, settings.budget, settings.quorum, refit_every=every)
    judged = symbols if source.traits.kind == "candles" else ()
    for per_year in {calendars.bars_per_year(symbol, settings.interval) for symbol in judged}:
        ensemble.require_resolvable(per_year)
    return calendars, ensemble


def channels_of(settings: Settings, report: str = "") -> tuple[Channel, ...]:
    """The ways to tell someone that the settings name, not connected yet."""
    letters = {
        "sender": settings.alert_from,
        "recipients": settings.alert_to,
        "clock": _clock,
        "report": report,
    }
    timeout_s = settings.timeout_s
    channels = []
    if smtp_url := settings.smtp_url.get_secret_value():
        channels.append(open_channel("email", url=smtp_url, timeout_s=timeout_s, **letters))
    else:
        folder = settings.state_dir / "outbox"
        channels.append(open_channel("outbox", folder=folder, **letters))
    if webhook_url := settings.webhook_url.get_secret_value():
        channels.append(open_channel("webhook", url=webhook_url, timeout_s=timeout_s))
    if settings.kafka_servers:
        broker = Brokered.of(settings)
        channels.append(open_channel("kafka", publish=broker.alerts, reach=broker.reach))
    channels.append(open_channel("console", stream=sys.stdout))
    return tuple(channels)


def symbols_of(settings: Settings, source: Source) -> tuple[str, ...]:
    """What is watched: instruments, or data sets of payments."""
    if source.traits.kind == "measures":
        # What is watched are the data sets that were described to the source, or some of them.
        known = set(source.symbols())
        if strange := sorted(set(settings.symbols) - known):
            raise SettingsError(
                f"TREMOR_SYMBOLS: no data set is called {strange[0]!r}. Known: "
                f"{', '.join(sorted(known))}. Name some of them, or leave it unset for all."
            )
        return tuple(sorted(settings.symbols or known))
    symbols = settings.symbols or source.symbols() or WATCH_LISTS.get(source.name, ())
    for symbol in symbols:
        check_symbol(symbol)
    return tuple(sorted(set(symbols)))


def code_version() -> str:
    """A hash over the program's own text: changes whenever the code does."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [root.parent / "main.py", *sorted(root.rglob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
