"""Real pumps found by the minute judge, by rush orders and by others' rules, in one table.

python -m benchmarks.pumps FOLDER [--large FOLDER] [--picture FILE]

The rate is fixed beforehand: 0.03 false alarms a day, stated to the judge as 0.21 alerts a week.
What it comes to is measured on the minutes of large coins. ``docs/PUMPS.md`` says how is counted.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pump_events import Event, Tally, read_trades
from benchmarks.pump_judge import (
    Pumps,
    alarms,
    judged,
    lone,
    read_minutes,
    read_pumps,
    shipped,
)
from benchmarks.pump_large import of_large, of_planted
from benchmarks.pump_picture import draw
from benchmarks.pump_rivals import (
    CHUNK,
    HOUR,
    KAMPS,
    LA_MORGIA,
    chunk_scores,
    hours,
    kamps,
    leave_one_coin_out,
)
from benchmarks.pump_variants import BASE, of_variants, varied
from components.calibration import Reference
from components.ensemble import VIEW, Ensemble
from components.sessions import Calendars
from components.settings import ENSEMBLE

# What is to be kept, and the same as it is stated to the product.
PER_DAY = 0.03
PER_WEEK = 7 * PER_DAY

# Of two rates at which nothing else differs.
USUAL = 2.0

# Two days before a pump hold no reference of 250 hours.
DAY_OF_HOURS = 24

CAUGHT = "EVXBTC_2021-01-09T2100Z"


def judges(per_week: float) -> dict[str, Ensemble]:
    """Who is asked: the shipped ones for minutes, the view of pumps, and the five of days."""
    chosen = shipped(per_week)
    return {
        f"shipped for minutes, {per_week:.3g} a week": chosen,
        f"surge alone, {per_week:.3g} a week": lone("surge", per_week),
        f"the five alone, {per_week:.3g} a week": replace(chosen, detectors=ENSEMBLE),
    }


def of_minutes(pumps: Pumps) -> Iterator[tuple[str, Tally]]:
    """What each judge told of the minutes, at the rate of the claim and at the default."""
    for name, ensemble in {**judges(PER_WEEK), **judges(USUAL)}.items():
        yield f"1 min: {name}", pumps.told_by(ensemble)


def of_hours(pumps: Pumps) -> Iterator[tuple[str, Tally]]:
    """Candles of an hour: the judge as it is shipped, and Kamps and Kleinberg's rule."""
    rows = {name: hours(candles) for name, candles in pumps.candles.items()}
    found = pumps.judged_by(shipped(USUAL, "1h"), rows, "1h")
    n_decided = sum(int(np.isfinite(each.agreed_p).sum()) for each in found.values())
    yield (
        f"1 h: shipped for hours, {USUAL:g} a week ({n_decided} hours decided)",
        pumps.tally(lambda event: alarms(found[event.name], interval="1h"), HOUR),
    )
    with varied(replace(BASE, min_reference=DAY_OF_HOURS)):
        early = pumps.judged_by(lone("surge", PER_WEEK), rows, "1h")
    yield (
        f"1 h: surge, first p after 24 h, {PER_WEEK:.3g} a week (not shipped)",
        pumps.tally(lambda event: alarms(early[event.name], interval="1h"), HOUR),
    )
    for name, rule in KAMPS.items():
        yield f"1 h: {name}", pumps.tally(lambda e, rule=rule: kamps(rows[e.name], rule), HOUR)


def of_chunks(folder: Path, events: Sequence[Event]) -> Iterator[tuple[str, Tally]]:
    """Chunks of 25 s by rush orders, each coin at the threshold of all other coins."""
    tables = {event.name: chunk_scores(read_trades(folder, event)) for event in events}
    names = {
        "orders": "number of rush orders",
        "large": "number of those of two trades or more",
        "force": "money of these x reach of the price",
        "spread": "La Morgia's StdRushOrders alone",
    }
    for column, told in names.items():
        scores = {name: table[column] for name, table in tables.items()}
        yield f"25 s: {told}", Tally(leave_one_coin_out(events, scores, PER_DAY, CHUNK))


def of_costs() -> Iterator[Mapping[str, str]]:
    """Bytes of state an instrument, and microseconds a bar of one view's calibration."""
    scores = np.cumsum(np.random.default_rng(0).standard_normal((1, 100_000)), axis=1) % 20
    regime = np.ones(scores.shape, dtype=np.int64)
    for name, scan in {"surge": BASE, "each of the five": VIEW, "a channel": Reference()}.items():
        state, _, _ = scan.run(scan.start(1), scores, regime)
        many = _seconds(lambda scan=scan, state=state: scan.run(state, scores, regime))
        one = _seconds(lambda scan=scan, state=state: scan.run(state, scores[:, :1], regime[:, :1]))
        yield {
            "calibration of": name,
            "bytes": f"{sum(array.nbytes for array in state.values()):,}",
            "us a bar of many": f"{1e6 * many / scores.size:.2f}",
            "us a bar alone": f"{1e6 * one:.0f}",
        }
    for name, ensemble in judges(USUAL).items():
        size = sum(array.nbytes for array in ensemble.start(1).values())
        yield {"calibration of": f"all of: {name}", "bytes": f"{size:,}"}


def _seconds(work: Callable[[], object]) -> float:
    work()
    spans = []
    for _ in range(5):
        start = time.process_time()
        work()
        spans.append(time.process_time() - start)
    return min(spans)


def shown(rows: list[Mapping[str, str]], title: str) -> None:
    """Print a table."""
    print(f"\n{title}\n{pd.DataFrame(rows).fillna('').to_string(index=False)}", flush=True)


def told_apart(name: str, tally: Tally) -> None:
    """Print what was missed, what was false, and the events without a price effect."""
    print(f"\n{name}\nmissed: {', '.join(tally.missed) or 'none'}")
    for each in tally.counts:
        for alarm in each.false:
            print(f"false: {each.event.name} at {alarm:%m-%d %H:%M}")
        if not each.event.has_effect:
            hit = "an alarm" if np.isfinite(each.delay_s) else "no alarm"
            print(f"without a price effect: {each.event.name}: {hit} at the listed time")
    late = sorted(tally.delays_s)[::-1]
    print(f"delays, s: {', '.join(f'{delay:.0f}' for delay in late)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the pumps: events, trades, candles")
    parser.add_argument("--large", type=Path, help="folder of folders of large coins' minutes")
    parser.add_argument("--picture", type=Path, help="where to draw one caught pump")
    given = parser.parse_args()
    pumps = read_pumps(given.folder)
    minutes = dict(of_minutes(pumps))
    rest = {**dict(of_hours(pumps)), **dict(of_chunks(given.folder, pumps.events))}
    rows = [{"detector": name, **tally.row()} for name, tally in {**minutes, **rest}.items()]
    shown(rows, "Pumps by event")
    published = [
        {"detector": name, "precision": f"{p} %", "recall": f"{r} %", "F1": f"{f} %"}
        for name, (p, r, f) in LA_MORGIA.items()
    ]
    shown(published, "As published by La Morgia et al. (2020), Table III, by chunk of 104 pumps")
    told_apart(*next(iter(minutes.items())))
    if given.picture:
        rate = PER_WEEK / 7 / (Calendars().bars_per_year("BTCUSDT", "1m") / 365)
        draw(
            next(event for event in pumps.events if event.name == CAUGHT),
            judged(shipped(PER_WEEK), pumps.candles[CAUGHT]),
            rate,
            given.picture,
        )
    if given.large:
        large = [rows for _, rows in read_minutes(given.large)]
        every = {**judges(PER_WEEK), **judges(USUAL)}
        shown(list(of_large(every, large)), "Large coins, which nobody pumps")
        most = max(large, key=lambda rows: rows["symbol"].nunique())
        coins = ", ".join(most["symbol"].unique())
        shown(list(of_planted(judges(USUAL), most)), f"Planted anomalies in {coins}")
        shown(list(of_variants(pumps, large, PER_WEEK)), "surge alone, its numbers varied")
    shown(list(of_costs()), "Costs")


if __name__ == "__main__":
    main()
