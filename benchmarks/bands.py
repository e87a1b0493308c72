"""Bands of thousands of payment series: the fit, a run over a new bin, and an LSTM's training.

    python -m benchmarks.bands [--series 5000] [--bins 4380] [--only fit,run,lstm] [--profile]

The series are made by a seeded generator: hours of the day, days of the week, shops closed at
night, noise. The fit goes through all bins from the first one on, beside the seasonal naive. The
run is ``forecast`` over an embedded server that holds all bins: first whole, then with one new bin
of every series. The LSTM learns from the largest of them, beside the gradient-boosted trees.
"""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from components.bands import Band
from components.bin_panels import clock
from components.embedded import close_embedded, open_embedded
from components.errors import SourceFormatError
from components.forecast_trials import learned_from, walked
from components.forecasters.base import BinPanel, Forecaster
from components.forecasters.boosted import Boosted
from components.forecasters.lstm import Lstm
from components.forecasters.seasonal_naive import SeasonalNaive
from components.forecasters.slot_ewma import SlotEwma
from components.records import CandleRequest, Parsed, RawReply
from components.settings import Settings
from components.sources.base import Traits
from components.steps.bands import GROUP
from components.steps.forecast import forecast
from components.steps.runner import Runner
from components.tables import MEASURES
from components.wiring import open_parts

DATA_SET, INTERVAL, ZONE = "shops", "2h", "UTC"
FIRST, BIN = pd.Timestamp("2023-03-01", tz="UTC"), pd.Timedelta(hours=2)

# Seconds that each part may take at its full size.
MOST_FIT_S, MOST_BIN_S, MOST_LSTM_S = 600, 10, 600

# Steps that predict and judge a new bin; the others fetch, tell and draw.
JUDGING = ("recall_bands", "judge", "nowcast")

# Series that an LSTM learns from.
LEARNED = 200


def names_of(n_series: int) -> list[str]:
    """What the series are called."""
    return [f"shop {i:05d}" for i in range(n_series)]


def starts_of(n_bins: int) -> pd.DatetimeIndex:
    """When the bins start."""
    return pd.date_range(FIRST, periods=n_bins, freq=BIN, unit="us")


def values_of(first: int, n_series: int, n_bins: int) -> np.ndarray:
    """Sums of the series from number ``first`` on, (n_series, n_bins), in cents."""
    slot = np.arange(n_bins) % 12
    day = np.arange(n_bins) // 12 % 7
    found = np.empty((n_series, n_bins))
    for i in range(n_series):
        random = np.random.default_rng([3, first + i])
        opens, closes = random.integers(3, 5), random.integers(9, 12)
        of_hour = 1 + 0.6 * np.sin(np.pi * (slot - opens) / (closes - opens))
        of_day = random.uniform(0.6, 1.4, 7)[day]
        size = np.exp(random.normal(5, 1.5)) * of_hour * of_day
        paid = size * random.gamma(8, 1 / 8, n_bins)
        found[i] = np.where((slot >= opens) & (slot < closes), np.round(paid, 2), 0.0)
    return found


def panel_of(first: int, n_series: int, n_bins: int) -> BinPanel:
    """The same as a panel."""
    return replace(
        clock(starts_of(n_bins), INTERVAL, ZONE), value=values_of(first, n_series, n_bins)
    )


def rows_of(first: int, n_series: int, at: slice, n_bins: int) -> pd.DataFrame:
    """The same as rows: series, ts, value."""
    ts = starts_of(n_bins)[at]
    return pd.DataFrame(
        {
            "series": np.repeat(names_of(first + n_series)[first:], len(ts)),
            "ts": pd.DatetimeIndex(np.tile(ts.to_numpy(), n_series), tz="UTC"),
            "value": values_of(first, n_series, n_bins)[:, at].ravel(),
        }
    )


@dataclass(frozen=True)
class Binning:
    """What an empty bin means to the source."""

    empty: str = "zero"


@dataclass(frozen=True)
class Generated:
    """A source that has the last of ``n_bins`` bins of every series, once it is asked for."""

    n_series: int
    n_bins: int
    is_asked: bool
    binning: Binning = field(default_factory=Binning)
    name: ClassVar[str] = "generated"
    traits: ClassVar[Traits] = Traits(kind="measures")

    def pieces(self, request: CandleRequest) -> list[CandleRequest]:
        """The last bin, or nothing."""
        last = starts_of(self.n_bins)[-1]
        return [replace(request, since=last, until=last + BIN)] if self.is_asked else []

    def fetch(self, request: CandleRequest) -> RawReply:
        """The bin, as a text."""
        rows = rows_of(0, self.n_series, slice(-1, None), self.n_bins)
        body = rows.to_csv(index=False).encode()
        return RawReply(self.name, request, "made:last", 200, request.as_of, body)

    def parse(self, reply: RawReply) -> Parsed:
        """The text as rows; of shorter bins it has none."""
        if reply.request.interval != INTERVAL:
            raise SourceFormatError("made bins hold no payments, but their sums")
        lines = reply.body.decode().splitlines()[1:]
        series, ts, value = zip(*(line.split(",") for line in lines), strict=True)
        measures = pd.DataFrame(
            {
                "series": series,
                "ts": pd.to_datetime(pd.Series(ts), utc=True).dt.as_unit("us"),
                "value": np.asarray(value, dtype=float),
                "line": np.arange(len(lines)),
            }
        )
        return Parsed(pd.DataFrame(), pd.DataFrame(), measures)

    def symbols(self) -> tuple[str, ...]:
        """One data set."""
        return (DATA_SET,)


def seconds_of(forecaster: Forecaster, n_series: int, n_bins: int) -> float:
    """How long it takes to go through all bins of all series, some hundreds together."""
    total = 0.0
    walked(panel_of(0, 2, 200), Band(forecaster))  # compiled, or read from the cache
    for first in range(0, n_series, GROUP):
        panel = panel_of(first, min(GROUP, n_series - first), n_bins)
        started = time.perf_counter()
        walked(panel, Band(forecaster))
        total += time.perf_counter() - started
    return total


def fit(n_series: int, n_bins: int) -> None:
    """Print how long the bands of all bins take, beside the seasonal naive's."""
    ours, naive = (seconds_of(f, n_series, n_bins) for f in (SlotEwma(), SeasonalNaive()))
    print(
        f"fit of {n_series:,} series of {n_bins:,} bins: {ours:.1f} s (at most {MOST_FIT_S}), "
        f"{ours / naive:.2f} of the seasonal naive's {naive:.1f} s",
        flush=True,
    )


def settings_of(folder: Path, url: str) -> Settings:
    """The settings of a run in ``folder``; the source that they name is never asked."""
    meaning = f'[{DATA_SET}]\nfiles = "*.csv"\ntime = "ts"\nvalue = "value"\n'
    (folder / "measures.toml").write_text(meaning)
    return Settings(
        _env_file=None,
        source="files",
        files_root=folder,
        measures_file=folder / "measures.toml",
        interval=INTERVAL,
        time_zone=ZONE,
        history_years=5,  # without it a run looks back on a month
        state_dir=folder,
        warehouse_url=url,
    )


def fill(folder: Path, url: str, n_series: int, n_bins: int) -> None:
    """Put ``n_bins`` bins of every series into the warehouse."""
    as_of = starts_of(n_bins)[-1] + BIN
    with open_parts(settings_of(folder, url), as_of, command="forecast", reads_only=True) as parts:
        for first in range(0, n_series, GROUP):
            n = min(GROUP, n_series - first)
            rows = rows_of(first, n, slice(n_bins), n_bins + 1)
            rows = rows.assign(data_set=DATA_SET, interval=INTERVAL, source=Generated.name)
            parts.warehouse.upsert(MEASURES, rows.assign(known_at=as_of), is_fresh=True)
            print(f"\rfilling {first / n_series:.0%}", end="", file=sys.stderr)
        parts.warehouse.execute("analyze measures")
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)


def one_run(
    folder: Path, url: str, source: Generated, profiler: AbstractContextManager[object]
) -> dict[str, float]:
    """The steps' seconds of a run that begins when the source's last bin has closed."""
    as_of = starts_of(source.n_bins)[-1] + BIN + pd.Timedelta(minutes=1)
    with open_parts(settings_of(folder, url), as_of, command="forecast") as opened:
        parts = replace(opened, source=source, channels=())
        with profiler:
            summary = forecast(parts, Runner())
        lacking = [*summary.failures, *summary.degraded]
        if lacking or summary.counts["series"] != source.n_series + (source.n_series > 1):
            raise SystemExit(f"the run went wrong: {lacking} {summary.counts}")
        return dict(parts.run.seconds)


def run(n_series: int, n_bins: int, *, is_profiled: bool) -> None:
    """Print the seconds of a first run, and of one with a new bin of every series."""
    with tempfile.TemporaryDirectory(prefix="tremor-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        url = open_embedded(folder)
        try:
            fill(folder, url, n_series, n_bins)
            whole = one_run(folder, url, Generated(n_series, n_bins, is_asked=False), nullcontext())
            profiler = cProfile.Profile()
            watched = profiler if is_profiled else nullcontext()
            source = Generated(n_series, n_bins + 1, is_asked=True)
            again = one_run(folder, url, source, watched)
        finally:
            close_embedded(folder)
    for said, seconds in (("first run", whole), ("one new bin", again)):
        steps = ", ".join(f"{step} {s:.1f}" for step, s in seconds.items())
        drawn = seconds.get("show_bands", 0.0)
        print(
            f"{said}: {sum(seconds.values()) - drawn:.1f} s and {drawn:.1f} s for pages ({steps})"
        )
    first, judged = (sum(each.get(step, 0.0) for step in JUDGING) for each in (whole, again))
    print(
        f"to predict and judge a new bin of {n_series:,} series: {judged:.1f} s (at most "
        f"{MOST_BIN_S}), {judged / first:.2f} of judging all their bins",
        flush=True,
    )
    if is_profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def lstm(n_series: int, n_bins: int) -> None:
    """Print how long an LSTM learns, beside the gradient-boosted trees."""
    panel = panel_of(0, n_series, n_bins)
    seconds = []
    for recipe in (Lstm(), Boosted()):
        learned = learned_from(panel, n_bins, Band(SlotEwma()))
        started = time.perf_counter()
        recipe.fit(*learned)
        seconds.append(time.perf_counter() - started)
    print(
        f"training of the LSTM on {n_series:,} series: {seconds[0]:.1f} s (at most {MOST_LSTM_S}), "
        f"{seconds[0] / seconds[1]:.2f} of the boosted trees' {seconds[1]:.1f} s",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Do what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--bins", type=int, default=4380, help="a year of two hours each")
    parser.add_argument("--only", default="fit,run,lstm", help="some of fit, run, lstm")
    parser.add_argument("--profile", action="store_true", help="where a new bin's run spends time")
    asked = parser.parse_args(arguments)
    wanted = asked.only.split(",")
    if "fit" in wanted:
        fit(asked.series, asked.bins)
    if "run" in wanted:
        run(asked.series, asked.bins, is_profiled=asked.profile)
    if "lstm" in wanted:
        lstm(min(asked.series, LEARNED), asked.bins)


if __name__ == "__main__":
    main()
