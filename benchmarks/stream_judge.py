"""The judgement of a stream: minutes of many coins in bulk and one by one, against other ways.

python -m benchmarks.stream_judge [--series 500] [--ticks 200]

Prints bars a second where a call has many bars (a stream that catches up), and how long a call
with one bar of each takes (a stream that is up to date), fits included. Beside them, in the same
run: the same judgement asked one instrument at a time, and a plain rolling z-score of pandas.
Every side runs once unmeasured first.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.judgement import made
from components.carried import State
from components.ensemble import Ensemble
from components.panels import CandlePanel
from components.refitted import refit_every
from components.settings import ENSEMBLE_OF_SHORT

A_YEAR = 365 * 1440
BUDGET = 104.0

# From two days on a model lasts its full day, and all buffers of the vote are in use.
BEHIND = 2 * 1440 + 120
# Bars of a call in bulk; and bars that pandas looks back on.
BULK = (40, 100)
WINDOW = 60


def minutes(n_series: int, n_bars: int) -> CandlePanel:
    """Seeded candles a minute apart, of markets that never close."""
    panel = made(n_series, n_bars)
    ts = np.datetime64("2024-01-01", "us") + np.arange(n_bars) * np.timedelta64(60_000_000, "us")
    return replace(panel, ts=np.tile(ts, (n_series, 1)), round_the_clock=frozenset(panel.symbols))


def cut(panel: CandlePanel, bars: slice, series: slice = slice(None)) -> CandlePanel:
    """Some bars of some series."""
    ts = np.ascontiguousarray(panel.ts[series, bars])
    fields = np.ascontiguousarray(panel.fields[series, bars])
    return replace(panel, symbols=panel.symbols[series], ts=ts, fields=fields)


class Stream:
    """The judgement that goes on from call to call."""

    def __init__(self, panel: CandlePanel) -> None:
        self.panel, self.at = panel, 0
        self.n = len(panel.symbols)
        self.ensemble = Ensemble(ENSEMBLE_OF_SHORT, BUDGET, refit_every=refit_every("1m"))
        self.rates = np.full(self.n, BUDGET / A_YEAR)
        self.state: State = self.ensemble.start(self.n)

    def judge(self, n_bars: int) -> None:
        """The next bars of all instruments in one call."""
        bars = cut(self.panel, slice(self.at, self.at + n_bars))
        self.state, _ = self.ensemble.run(self.state, bars, self.rates)
        self.at += n_bars

    def judge_each(self, n_bars: int) -> None:
        """The next bars of all instruments, a call for each; they are judged again later."""
        bars = slice(self.at, self.at + n_bars)
        for i in range(self.n):
            own = slice(i, i + 1)
            state = {name: a[own] for name, a in self.state.items()}
            self.ensemble.run(state, cut(self.panel, bars, own), self.rates[own])


def by_pandas(panel: CandlePanel, at: int, n_bars: int) -> None:
    """Only a z-score of the last hour's returns and volumes, for the same bars."""
    known = cut(panel, slice(at - WINDOW - 1, at + n_bars))
    for name in ("close", "volume"):
        moves = pd.DataFrame(np.log(known.field(name).T)).diff()
        past = moves.rolling(WINDOW).agg(["mean", "std"]).shift()
        z = (moves - past.xs("mean", axis=1, level=1)) / past.xs("std", axis=1, level=1)
        z.iloc[-n_bars:].to_numpy()


def seconds(work: Callable[..., None], *given: object) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def in_bulk(stream: Stream) -> None:
    """Many bars a call, beside the two other ways."""
    for n_bars in BULK:
        stream.judge(n_bars)
        took = min(seconds(stream.judge, n_bars) for _ in range(3))
        total = stream.n * n_bars
        by_pandas(stream.panel, stream.at, n_bars)
        plain = seconds(by_pandas, stream.panel, stream.at, n_bars)
        print(f"{n_bars} bars a call: {total / took:,.0f} bars a second")
        print(
            f"  a z-score by pandas alone: {total / plain:,.0f}, {plain / took:.2g} times our time"
        )
    stream.judge_each(BULK[0])
    each = seconds(stream.judge_each, BULK[0])
    print(f"{BULK[0]} bars, a call an instrument: {stream.n * BULK[0] / each:,.0f} bars a second")


def bar_by_bar(stream: Stream, n_ticks: int) -> None:
    """One bar of each instrument a call, beside the two other ways."""
    stream.judge(1)
    took = 1e3 * np.array([seconds(stream.judge, 1) for _ in range(n_ticks)])
    stream.judge_each(1)
    each = 1e3 * seconds(stream.judge_each, 1)
    by_pandas(stream.panel, stream.at, 1)
    plain = 1e3 * seconds(by_pandas, stream.panel, stream.at, 1)
    middle = float(np.median(took))
    print(
        f"one bar of each: {middle:.0f} ms, 99 in 100 within {np.quantile(took, 0.99):.0f} ms, "
        f"{stream.n / middle * 1e3:,.0f} bars a second"
    )
    print(f"  a call an instrument: {each:.0f} ms, {each / middle:.1f} times longer")
    print(f"  a z-score by pandas alone: {plain:.0f} ms, {plain / middle:.2g} times our time")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=200)
    given = parser.parse_args()
    stream = Stream(minutes(given.series, BEHIND + 4 * sum(BULK) + given.ticks + 2))
    held = sum(a.nbytes for a in stream.state.values()) / stream.n
    print(f"{given.series} instruments of minutes by the default views; {held:,.0f} bytes each")
    while stream.at < BEHIND:
        stream.judge(min(250, BEHIND - stream.at))
    in_bulk(stream)
    bar_by_bar(stream, given.ticks)


if __name__ == "__main__":
    main()
