"""Candles through the judgement's own door, as a run judges them: pumped coins and large ones."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from benchmarks.pump_events import (
    Event,
    Tally,
    count,
    read_candles,
    read_events,
)
from components.ensemble import Ensemble, Judged
from components.evaluation.intake import admit
from components.evaluation.told import with_market
from components.panels import pack
from components.records import CandleRequest, RawReply
from components.refitted import refit_every
from components.sessions import Calendars, length
from components.settings import Settings
from components.sources import vision
from components.sources.bars import candles_frame
from components.sources.sheets import parse_sheet
from components.steps.gaps import with_steps

CALENDARS = Calendars()
LATE = pd.Timestamp("2100-01-01", tz="UTC")
DAY, MINUTE = pd.Timedelta(days=1), pd.Timedelta(minutes=1)

# A kline as freqtrade keeps it: a list of six numbers.
NAMES = ("ts", "open", "high", "low", "close", "volume")


def shipped(alerts_per_week: float, interval: str = "1m") -> Ensemble:
    """The ensemble that a run has when only its interval and its budget are set."""
    chosen = Settings(_env_file=None, interval=interval, alerts_per_week=alerts_per_week)
    every = refit_every(interval)
    ensemble = Ensemble(chosen.detectors, chosen.budget, chosen.quorum, refit_every=every)
    ensemble.require_resolvable(CALENDARS.bars_per_year("BTCUSDT", interval))
    return ensemble


def lone(detector: str, alerts_per_week: float) -> Ensemble:
    """One detector alone."""
    return Ensemble((detector,), alerts_per_week * 365.25 / 7)


def judged(ensemble: Ensemble, candles: pd.DataFrame, interval: str = "1m") -> Judged:
    """Checks, gaps as steps, the market, and the one door, from the first bar."""
    parts = SimpleNamespace(calendars=CALENDARS, watch=SimpleNamespace(interval=interval))
    clean = admit(candles, CALENDARS, interval).candles
    rows = with_market(with_steps(parts, clean), CALENDARS)
    symbols = tuple(sorted(rows["symbol"].unique()))
    per_year = np.array([CALENDARS.bars_per_year(symbol, interval) for symbol in symbols])
    panel = pack(rows, symbols, symbols)
    _, found = ensemble.run(
        ensemble.start(len(symbols)), panel, ensemble.alerts_per_year / per_year
    )
    return found


def alarms(found: Judged, series: int = 0, interval: str = "1m") -> pd.DatetimeIndex:
    """The instants at which a series' alerts are known: their bars have closed."""
    return closes(found.panel.ts[series][found.is_anomaly[series]], interval)


def closes(ts: np.ndarray, interval: str) -> pd.DatetimeIndex:
    """When bars close."""
    return pd.DatetimeIndex(ts, tz="UTC") + length(interval)


@dataclass(frozen=True)
class Pumps:
    """Listed pumps, and their minutes by the event's name."""

    events: Sequence[Event]
    candles: Mapping[str, pd.DataFrame]

    def judged_by(
        self, ensemble: Ensemble, candles: Mapping[str, pd.DataFrame], interval: str = "1m"
    ) -> dict[str, Judged]:
        """Each event's candles through the door, by name."""
        return {name: judged(ensemble, rows, interval) for name, rows in candles.items()}

    def tally(
        self, alarms_of: Callable[[Event], pd.DatetimeIndex], chunk: pd.Timedelta = MINUTE
    ) -> Tally:
        """Count what a detector told."""
        return Tally([count(event, alarms_of(event), chunk) for event in self.events])

    def told_by(self, ensemble: Ensemble) -> Tally:
        """Count what an ensemble told of the minutes."""
        found = self.judged_by(ensemble, self.candles)
        return self.tally(lambda event: alarms(found[event.name]))


def read_pumps(folder: Path) -> Pumps:
    """The events of a folder, and their minutes."""
    events = read_events(folder)
    return Pumps(events, {event.name: read_candles(folder, event) for event in events})


def read_minutes(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The minutes below a folder: of each of its folders the coins of one time, with its name."""
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        tables = [
            _read(path) for path in sorted(part.iterdir()) if "1m" in f"{part.name} {path.name}"
        ]
        if not tables:
            continue
        rows = pd.concat(tables).sort_values(["symbol", "ts"], kind="stable")
        rows = rows.drop_duplicates(["symbol", "ts"], keep="last").assign(split=1.0)
        # Months that do not follow each other are series of their own.
        begins = rows.groupby("symbol")["ts"].diff() > DAY
        for n, own in rows.groupby(begins.groupby(rows["symbol"]).cumsum()):
            yield f"{part.name} {n + 1}", own.reset_index(drop=True)


def _read(path: Path) -> pd.DataFrame:
    symbol = path.name.split(".")[0].split("-")[0]
    if path.suffix == ".zip":
        request = CandleRequest(symbol, "1m", LATE - DAY, LATE, LATE)
        reply = RawReply("binance", request, "", 200, LATE, path.read_bytes(), {"files": path.name})
        rows = vision.parse_reply(reply).candles
    elif ".json" in path.suffixes:
        table = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())), columns=list(NAMES))
        ts = pd.DatetimeIndex(pd.to_datetime(table.pop("ts"), unit="ms", utc=True))
        rows = candles_frame(ts, {name: table[name].to_numpy() for name in NAMES[1:]})
    else:
        rows = parse_sheet(gzip.decompress(path.read_bytes()), path.name, symbol, "1m").candles
    return rows.assign(symbol=symbol)
