"""Doctor: whether a run would work here, part by part, and what to do where it would not."""

import importlib.metadata
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.bins import zone_named
from components.channels.webhook import reach
from components.embedded import open_embedded
from components.ensemble import Ensemble
from components.errors import SettingsError, TremorError
from components.lake import Lake
from components.promotion import CHAMPION
from components.records import CandleRequest
from components.sessions import length
from components.settings import Settings
from components.sources.base import Source
from components.warehouse import Warehouse
from components.wiring import (
    champion_lost,
    channels_of,
    code_version,
    judge_of,
    second_of,
    source_of,
    symbols_of,
    with_champion,
    with_parameters,
)

LOCK = Path(__file__).parents[2] / "requirements.txt"

# A daily run of some hundred instruments writes less than the first; below the second a run
# stops halfway, which loses nothing and tells nothing.
LITTLE_SPACE = 2 * 2**30
NO_SPACE = 200 * 2**20

# A clock that is wrong by more judges bars that have not closed, or misses some that have.
SKEW = pd.Timedelta(seconds=5)

# Runs come once a day, and one may be late.
LONG_SILENCE = pd.Timedelta(hours=26)

RIGHTS = "create table doctor_probe (one int); insert into doctor_probe values (1)"

SERVER = """
select current_setting('server_version') as version, clock_timestamp() as now,
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_encrypted,
       inet_server_addr() is null or host(inet_server_addr()) in ('127.0.0.1', '::1') as is_here
"""

UPGRADE = "Upgrade this one."

REMEDIES = {"email": "Check TREMOR_SMTP_URL.", "webhook": "Check TREMOR_WEBHOOK_URL."}

LAST_RUN = """
select id, finished_at, as_of, exit_code from runs
where command = 'run' and status = 'finished' order by as_of desc limit 1
"""


@dataclass(frozen=True)
class Finding:
    """What was seen of one part; ``state`` is "ok", "warn" or "fail"."""

    part: str
    state: str
    said: str


def examine(settings: Settings, now: pd.Timestamp) -> Iterator[Finding]:
    """Look at each part by itself; nothing is told, judged or fetched for keeps."""
    for part, look in CHECKS.items():
        try:
            yield from (Finding(part, *seen) for seen in look(settings, now))
        except TremorError as error:
            yield Finding(part, "fail", " ".join(str(error).split()))
        except OSError as error:
            yield Finding(part, "fail", f"{error.strerror or type(error).__name__}.")


def _settings(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    source = source_of(settings)
    symbols = symbols_of(settings, source)
    if not symbols:
        raise SettingsError("nothing to watch. Set TREMOR_SYMBOLS.")
    calendars, ensemble = judge_of(settings, source, symbols)
    with_parameters(settings, ensemble, calendars, symbols)
    zone_named(settings.time_zone)
    yield (
        "ok",
        f"{len(symbols)} watched in {settings.source} by {settings.interval}, "
        f"{settings.budget:.3g} alerts accepted per instrument and year",
    )


def _versions(_settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    yield "ok", f"program {code_version()}, Python {platform.python_version()} on {sys.platform}"
    if not LOCK.exists():
        return
    # A lock for all platforms may pin one package several times.
    pinned: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK.read_text(), re.MULTILINE):
        pinned.setdefault(name, set()).add(version)
    installed = {
        str(each.metadata["Name"]).lower(): each.version
        for each in importlib.metadata.distributions()
    }
    strange = [
        f"{name} {installed[name]} (pinned {' or '.join(sorted(versions))})"
        for name, versions in pinned.items()
        if name in installed and installed[name] not in versions
    ]
    if strange:
        yield (
            "warn",
            f"{len(strange)} packages are not the pinned ones: {', '.join(strange[:3])}. Install "
            "requirements.txt anew.",
        )


def _disk(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    places = {settings.state_dir}
    if "://" not in settings.lake_root:
        places.add(Path(settings.lake_root))
    for place in sorted(places):
        there = next(folder for folder in (place, *place.resolve().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        state = "fail" if free < NO_SPACE else "warn" if free < LITTLE_SPACE else "ok"
        remedy = "" if state == "ok" else " Free some space."
        yield state, f"{free / 2**30:.1f} GiB free in {place}.{remedy}"


def _lake(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    Lake(settings.lake_root, settings.timeout_s).probe()
    yield "ok", f"{settings.lake_root} is written, listed and read, and keeps what is written once"


def _warehouse(settings: Settings, now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    is_embedded = not settings.warehouse
    with Warehouse(settings.warehouse or open_embedded(settings.state_dir)) as warehouse:
        held, wanted = warehouse.versions()
        server = warehouse.query(SERVER).iloc[0]
        skew = pd.Timestamp.now("UTC") - pd.Timestamp(server["now"])
        runs = pd.DataFrame()
        # An upgrade of what is held may take long: the next run does it.
        if held in (0, wanted):
            with warehouse.undone():
                warehouse.migrate()
                warehouse.execute(RIGHTS)
                runs = warehouse.query(LAST_RUN)
        elif held > wanted:
            raise SettingsError(f"its schema is of a newer program. {UPGRADE}")
        place = "embedded" if is_embedded else warehouse.shown
        schema = "up to date" if held == wanted else f"{held} of {wanted}, made by the next run"
        yield "ok", f"PostgreSQL {server['version']}, {place}; schema {schema}"
        if not (is_embedded or server["is_encrypted"] or server["is_here"]):
            yield "warn", "what goes there is not encrypted. Add ?sslmode=require to its URL."
        if not is_embedded:
            yield _clock(skew)
        if held in (0, wanted):
            yield from _last(runs, now)


def _clock(skew: pd.Timedelta) -> tuple[str, str]:
    said = f"this clock and the warehouse's differ by {abs(skew.total_seconds()):.1f} s"
    if abs(skew) <= SKEW:
        return "ok", said
    return "fail", f"{said}. Let both follow a time server: closes are judged by this clock."


def _last(runs: pd.DataFrame, now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    if runs.empty:
        yield "warn", "no run has finished yet. Start one: python main.py run"
        return
    last = runs.iloc[0]
    ago = now - last["as_of"]
    said = f"the last run, {last['id']}, ended with exit code {last['exit_code']}"
    if ago > LONG_SILENCE:
        yield (
            "warn",
            f"{said}, {ago / pd.Timedelta(hours=1):.0f} h ago. Look at what should start it.",
        )
    elif ago < -SKEW:
        yield "fail", f"{said}, as of an instant that is still to come. Set this machine's clock."
    else:
        yield "ok", said


def _model(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    source = source_of(settings)
    if source.traits.kind != "candles":
        return
    ensemble, lacking = with_champion(
        settings, judge_of(settings, source, symbols_of(settings, source))[1]
    )
    if lacking := lacking or _lost(settings, ensemble):
        yield "warn", f"{lacking}."
    elif settings.model not in ("none", CHAMPION) and ensemble.trained is None:
        yield "warn", "TREMOR_MODEL is not used: what is named in TREMOR_DETECTORS judges alone."
    elif ensemble.trained is None:
        yield "ok", "no trained model: the views judge that need no training"
    else:
        trained = ensemble.trained
        yield "ok", f"{trained.name} judges too, trained to {trained.until:%Y-%m-%d %H:%M} UTC"


def _lost(settings: Settings, ensemble: Ensemble) -> str:
    # What ails a warehouse its own part says.
    with (
        suppress(TremorError),
        Warehouse(settings.warehouse or open_embedded(settings.state_dir)) as warehouse,
    ):
        held, wanted = warehouse.versions()
        if held == wanted:
            return champion_lost(settings, ensemble, warehouse)
    return ""


def _source(settings: Settings, now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    yield _asked(source_of(settings), settings, now)


def _second(settings: Settings, now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    second = second_of(settings)
    if second is not None:
        yield _asked(second, settings, now, settings.second_names)


def _asked(
    source: Source, settings: Settings, now: pd.Timestamp, names: dict[str, str] | None = None
) -> tuple[str, str]:
    """Ask for the last days of one instrument, and keep nothing."""
    watched = symbols_of(settings, source_of(settings))
    if not watched:
        return "warn", f"{source.name} is not asked, for nothing is watched"
    symbol = (names or {}).get(watched[0], watched[0])
    last = max(7 * pd.Timedelta(days=1), 2 * length(settings.interval))
    request = CandleRequest(symbol, settings.interval, now - last, now, now)
    pieces = source.pieces(request)
    if not pieces:
        return "ok", f"{source.name} has nothing to be asked for now"
    began = time.perf_counter()
    reply = source.fetch(pieces[-1])
    rows = source.parse(reply)
    n_rows = len(rows.candles) if rows.measures is None else len(rows.measures)
    took = time.perf_counter() - began
    said = f"{source.name} answered for {symbol} in {took:.1f} s: {n_rows} rows"
    return ("ok", said) if n_rows else ("warn", f"{said} of the last week. Is the name right?")


def _channels(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    for channel in channels_of(settings):
        try:
            yield "ok", f"{channel.name}: {channel.probe()}"
        except TremorError as error:
            said = str(error).removeprefix(f"{channel.name} ")
            yield (
                "fail",
                f"{channel.name}: {said.rstrip('.')}. {REMEDIES.get(channel.name, '')}".rstrip(),
            )


def _heartbeat(settings: Settings, _now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    url = settings.heartbeat_url.get_secret_value()
    if not url:
        yield "warn", "TREMOR_HEARTBEAT_URL is not set: nobody hears that a run did not happen"
        return
    try:
        yield "ok", reach(url, settings.timeout_s)
    except OSError as error:
        # The address may hold a token.
        why = error.strerror or type(error).__name__
        yield "fail", f"TREMOR_HEARTBEAT_URL is not reached: {why}. Check it."


CHECKS: dict[str, Callable[[Settings, pd.Timestamp], Iterator[tuple[str, str]]]] = {
    "settings": _settings,
    "versions": _versions,
    "disk": _disk,
    "lake": _lake,
    "warehouse": _warehouse,
    "model": _model,
    "source": _source,
    "second": _second,
    "channels": _channels,
    "heartbeat": _heartbeat,
}
