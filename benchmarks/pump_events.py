"""Listed pumps with their trades, and how alarms are counted against them."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from components.sources.sheets import parse_sheet

# A hit comes at the earliest so long before the pump, and at the latest one chunk after it
# begins, never less than a minute: listed times are whole minutes.
EARLY, LATE = pd.Timedelta(minutes=2), pd.Timedelta(minutes=1)

# An alarm within half an hour of the last one repeats it; an hour after a pump all is its fall.
COOLDOWN, AFTERMATH = pd.Timedelta(minutes=30), pd.Timedelta(minutes=60)


@dataclass(frozen=True)
class Event:
    """A listed pump; ``begins`` is the hand-checked chunk of 25 s, or the announced minute."""

    name: str
    symbol: str
    announced: pd.Timestamp
    begins: pd.Timestamp
    has_effect: bool
    others: tuple[pd.Timestamp, ...]
    first: pd.Timestamp
    last: pd.Timestamp

    @property
    def days(self) -> float:
        """Days between the first trade and the last."""
        return (self.last - self.first) / pd.Timedelta(days=1)

    def window(self, chunk: pd.Timedelta) -> tuple[pd.Timestamp, pd.Timestamp]:
        """From when to when an alarm is a hit."""
        first, last = sorted((self.announced, self.begins))
        return first - EARLY, last + max(chunk, LATE)


@dataclass(frozen=True)
class Count:
    """What alarms were to one event: seconds from its begin to the hit (NaN: none), false ones."""

    event: Event
    delay_s: float
    false: tuple[pd.Timestamp, ...]


def read_events(folder: Path) -> list[Event]:
    """The events of ``events_with_trades.csv``."""
    table = pd.read_csv(folder / "events_with_trades.csv", dtype=str, keep_default_na=False)
    return [_event(row) for row in table.to_dict("records")]


def _event(row: dict[str, str]) -> Event:
    announced = _utc(row["announced_utc"])
    listed = row["other_pump_of_same_coin_in_window"].split(";")
    return Event(
        name=row["file"],
        symbol=row["symbol"],
        announced=announced,
        begins=_utc(row["onset_25s_chunk_utc"]) if row["onset_25s_chunk_utc"] else announced,
        has_effect=row["price_effect"] == "yes",
        others=tuple(_utc(text.strip()) for text in listed if text.strip()),
        first=_utc(row["first_trade_utc"]),
        last=_utc(row["last_trade_utc"]),
    )


def _utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def read_candles(folder: Path, event: Event) -> pd.DataFrame:
    """The event's minutes: symbol, ts, open, high, low, close, volume, split."""
    path = folder / "klines_1m_from_trades" / f"{event.name}.csv.gz"
    body = gzip.decompress(path.read_bytes())
    rows = parse_sheet(body, str(path), event.symbol, "1m").candles
    return rows.assign(symbol=event.symbol, split=1.0)


def read_trades(folder: Path, event: Event) -> pd.DataFrame:
    """The event's trades, oldest first: ts, side (the taker's), price, amount."""
    path = folder / "trades" / f"{event.name}.csv.gz"
    rows = pd.read_csv(path, usecols=["timestamp", "side", "price", "amount"])
    return rows.assign(ts=pd.to_datetime(rows.pop("timestamp"), unit="ms", utc=True))


def without_repeats(alarms: pd.DatetimeIndex) -> list[pd.Timestamp]:
    """Alarms, oldest first, less those that come within half an hour of the last one kept."""
    kept: list[pd.Timestamp] = []
    for alarm in alarms:
        if not kept or alarm - kept[-1] >= COOLDOWN:
            kept.append(alarm)
    return kept


def count(event: Event, alarms: pd.DatetimeIndex, chunk: pd.Timedelta) -> Count:
    """Count alarms, each the instant at which its chunk closed, oldest first."""
    since, until = event.window(chunk)
    kept = without_repeats(alarms)
    hits = [alarm for alarm in kept if since <= alarm <= until]
    delay = (hits[0] - event.begins).total_seconds() if hits else np.nan
    false = [alarm for alarm in kept if alarm not in hits and not _is_explained(event, alarm)]
    return Count(event, delay, tuple(false))


def _is_explained(event: Event, alarm: pd.Timestamp) -> bool:
    pumps = (event.announced, event.begins, *event.others)
    return any(pump - EARLY <= alarm <= pump + AFTERMATH for pump in pumps)


def wilson(n_true: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not n:
        return 0.0, 1.0
    found = stats.binomtest(n_true, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Tally:
    """All events of one detector. Recall is over those with a price effect."""

    counts: Sequence[Count]

    @property
    def missed(self) -> list[str]:
        """Names of the events with a price effect that were not found."""
        return [c.event.name for c in self._listed if np.isnan(c.delay_s)]

    @property
    def delays_s(self) -> list[float]:
        """Seconds from the begin to the alarm, of the events found."""
        return [c.delay_s for c in self._listed if not np.isnan(c.delay_s)]

    @property
    def n_false(self) -> int:
        """False alarms in the windows of all events."""
        return sum(len(c.false) for c in self.counts)

    @property
    def days(self) -> float:
        """Days covered by the data."""
        return sum(c.event.days for c in self.counts)

    @property
    def f1(self) -> float:
        """2 found / (2 found + missed + false)."""
        found = len(self.delays_s)
        return 2 * found / max(2 * found + len(self.missed) + self.n_false, 1)

    @property
    def f1_interval(self) -> tuple[float, float]:
        """Wilson's of found / (found + missed + false) = J, through F1 = 2 J / (1 + J)."""
        found = len(self.delays_s)
        low, high = wilson(found, found + len(self.missed) + self.n_false)
        return 2 * low / (1 + low), 2 * high / (1 + high)

    def row(self) -> dict[str, str]:
        """The figures as the table shows them."""
        found, delays = len(self.delays_s), self.delays_s
        return {
            "found": f"{found} of {len(self._listed)}",
            "false": str(self.n_false),
            "precision": _share(found, found + self.n_false),
            "recall": _share(found, len(self._listed)),
            "F1": f"{self.f1:.2f} [{self.f1_interval[0]:.2f}, {self.f1_interval[1]:.2f}]",
            "false a day": f"{self.n_false / self.days:.3f}",
            "delay, s": f"{np.median(delays):.0f} (max {max(delays):.0f})" if delays else "-",
        }

    @property
    def _listed(self) -> list[Count]:
        return [c for c in self.counts if c.event.has_effect]


def _share(n_true: int, n: int) -> str:
    low, high = wilson(n_true, n)
    return f"{n_true / n:.2f} [{low:.2f}, {high:.2f}]" if n else "-"
