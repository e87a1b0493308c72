"""A backfill of minutes that is killed again and again, and the memory that a long one takes."""

import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance, processed, raw, stored
from tests.terminal import ROOT, begin, end, environment, hurry

FIRST = pd.Timestamp("2024-01-01", tz="UTC")
NAMES = ("AAAUSDT", "BBBUSDT", "CCCUSDT")

# Months of three instruments, in several batches.
UNTIL = pd.Timestamp("2024-05-01", tz="UTC")
SPAN = ("--since", f"{FIRST:%Y-%m-%d}", "--until", f"{UNTIL:%Y-%m-%d}")

N_KILLS = 9


def n_minutes(until):
    return int((until - FIRST) / pd.Timedelta(minutes=1))


@pytest.fixture(scope="module")
def archive():
    """Minutes of three coins, all of whose months are published."""
    frames = {n: minutes("2024-01-01", n_minutes(UNTIL), seed=k) for k, n in enumerate(NAMES)}
    # The venue was down for two hours, and the third coin was listed in March.
    for name in NAMES[:2]:
        frames[name] = frames[name].drop(index=range(5000, 5120))
    frames[NAMES[2]] = frames[NAMES[2]].iloc[90_000:]
    with BinanceStandIn(frames, published_until=UNTIL).prepare() as server:
        yield server


def killed_after(world, seconds):
    """Begin a backfill and kill it; False when it had come to its end by then."""
    process = begin(world, "backfill", *SPAN)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    seen = end(process)
    assert seen.code in (0, -signal.SIGKILL), seen
    return not seen.out.startswith("backfill as of")


def finished(world):
    """Backfill to the end; the server may hold a dead one's lock for a moment."""
    for _ in range(20):
        seen = end(begin(world, "backfill", *SPAN))
        assert seen.code == 0, seen
        if seen.out.startswith("backfill as of"):
            return seen.out
        time.sleep(0.5)
    raise AssertionError(seen)


def kept(world):
    """The addresses of all replies that a manifest names."""
    manifests = (world.folder / "var/lake/raw/binance/1m").rglob("*.json")
    return Counter(url for path in manifests for url in _urls(path))


def _urls(path):
    return [line.split('"')[3] for line in path.read_text().splitlines() if '"url"' in line]


def test_a_backfill_killed_again_and_again_is_as_if_nobody_had(
    make_world, archive, postgres_server
):
    """The same rows in the warehouse and in Parquet, none twice, the same raw objects.

    What a killed one kept with its manifest is not fetched again.
    """
    hurry(postgres_server)
    calm = of_binance(make_world(), archive, NAMES)
    started = time.monotonic()
    finished(calm)
    took = time.monotonic() - started

    town = of_binance(make_world(), archive, NAMES)
    random = np.random.default_rng(7)
    n_killed, asked_again, is_killed = 0, [], True
    while is_killed:
        before, archive.asked = kept(town), []
        is_killed = n_killed < N_KILLS and killed_after(town, random.uniform(0.15, 0.35) * took)
        n_killed += is_killed
        asked_again += [url for url in before if url.removeprefix(archive.url) in archive.asked]
    before, archive.asked = kept(town), []
    finished(town)
    asked_again += [url for url in before if url.removeprefix(archive.url) in archive.asked]
    assert n_killed >= 8
    assert asked_again == []
    assert max(kept(town).values()) == 1

    pd.testing.assert_frame_equal(stored(town), stored(calm))
    pd.testing.assert_frame_equal(processed(town), processed(calm))
    pd.testing.assert_frame_equal(stored(town), processed(town), check_dtype=False)
    assert raw(town) == raw(calm)
    for table in ("candles_hourly", "candles_daily"):
        sql = f"select * from {table} order by symbol, ts"
        pd.testing.assert_frame_equal(
            town.query(sql).drop(columns="known_at"), calm.query(sql).drop(columns="known_at")
        )

    archive.asked = []
    assert "candles new" not in finished(town)
    assert archive.asked == []


# A month is a batch, so that eight of them are eight. What the kernel says of a child counts
# its parent's memory before the program began; the process itself knows better.
IN_SMALL_BATCHES = f"""
import atexit, pathlib, runpy, sys
from components.steps import gather
gather.BATCH_BARS = {{n_bars}}
sys.argv[0] = "main.py"
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(status.read_text()))
runpy.run_path({str(ROOT / "main.py")!r}, run_name="__main__")
"""


SPARE = 64 * 2**20


def peak(world, until, n_bars=40_000):
    """The most memory that a backfill held, bytes."""
    span = ("--since", f"{FIRST:%Y-%m-%d}", "--until", f"{until:%Y-%m-%d}")
    code = IN_SMALL_BATCHES.format(n_bars=n_bars)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "backfill", *span],
        cwd=world.folder,
        env=environment(world) | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = end(process)
    assert seen.code == 0, seen
    (line,) = [line for line in seen.out.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def test_memory_does_not_grow_with_the_range(make_world, postgres_server):
    """Eight months take what two take: no more than a few batches are held at any time."""
    hurry(postgres_server)
    months = {n: FIRST + pd.DateOffset(months=n) for n in (2, 8)}
    frame = minutes("2024-01-01", n_minutes(months[8]))
    with BinanceStandIn({NAMES[0]: frame}).prepare() as server:
        worlds = [of_binance(make_world(), server, NAMES[:1]) for _ in range(3)]
        few, many = peak(worlds[0], months[2]), peak(worlds[1], months[8])
        in_one_batch = peak(worlds[2], months[8], n_bars=10**9)
    assert many - few < SPARE
    # The bound is one that a backfill which holds all of its rows breaks.
    assert in_one_batch - few > SPARE
