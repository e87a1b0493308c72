"""What the stack costs a month, from measured seconds and bytes times list prices.

``python -m benchmarks.cost`` prints the table of docs/DEPLOY.md. ``--measure 50 250 1000`` runs
the pipeline over so many made instruments with ten years of daily bars: a first run, a run of the
next day, and a second run of that day which finds nothing new. The instruments come from files, so
that no provider is measured; its polite rate is reckoned in.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
LAST = pd.Timestamp("2024-03-12", tz="UTC")
DAY = pd.Timedelta(days=1)

# List prices of us-east-1 in USD, without tax, as known in 2025.
PRICES = {
    "vCPU-hour of Fargate": 0.04048,
    "GB-hour of Fargate": 0.004445,
    "GB-month of S3": 0.023,
    "1000 puts to S3": 0.005,
    "GB-month of a database's disk": 0.115,
    "secret": 0.40,
    "key": 1.00,
    "alarm": 0.10,
    "metric": 0.30,
    "GB of logs": 0.50,
    "GB-month of images": 0.10,
    "hour of a public address": 0.005,
    "hour of a NAT": 0.045,
    "hour of an endpoint": 0.01,
}
DATABASES = {"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065}
HOURS, DAYS = 730, 30.4

# Requests a second to Yahoo, one an instrument: TREMOR_YAHOO_REQUESTS_PER_SECOND.
POLITE = 2.0
# What Fargate takes to fetch the image and start it, which it charges.
START_S = 60


@dataclass(frozen=True)
class Seen:
    """One measurement: seconds of runs, peak memory, bytes kept."""

    n: int
    first_s: float
    daily_s: float
    idle_s: float
    peak_gib: float
    raw_gb: float
    processed_gb: float
    state_gb: float
    warehouse_gb: float
    log_kb: float


# Kept by each run, of an instrument: its share of manifest and report, measured with 1 000. And by
# each day: a reply of some days, as Yahoo sends it, reckoned. Files are kept whole at each change,
# so the lake of a measurement tells nothing of this.
REPORT_KB, REPLY_KB = 2.5, 4.0
YEAR_RUNS, YEAR_DAYS = 730, 365

# What ``--measure 50 250 1000`` printed on two cores that others used as well, at about half speed.
MEASURED = (
    Seen(50, 60.5, 25.9, 17.7, 0.76, 0.0063, 0.0035, 0.0075, 0.193, 3.0),
    Seen(250, 269.3, 67.1, 40.4, 1.98, 0.0313, 0.0161, 0.0376, 0.866, 7.0),
    Seen(1_000, 815.0, 147.5, 86.8, 2.07, 0.1255, 0.0635, 0.1505, 3.387, 11.3),
)


def make_files(folder: Path, n: int, last: pd.Timestamp) -> None:
    """Write ``n`` instruments of ten years up to ``last``."""
    days = pd.bdate_range(end=LAST.tz_localize(None) + DAY, periods=2521)
    folder.mkdir(exist_ok=True)
    for i in range(n):
        random = np.random.default_rng(i)
        close = 100 * np.exp(np.cumsum(0.01 * random.standard_t(5, len(days))))
        opened = np.r_[100.0, close[:-1]]
        frame = pd.DataFrame(
            {
                "Date": days.strftime("%Y-%m-%d"),
                "Open": opened.round(4),
                "High": (np.maximum(opened, close) * 1.002).round(4),
                "Low": (np.minimum(opened, close) * 0.998).round(4),
                "Close": close.round(4),
                "Volume": random.integers(1_000, 9_000, len(days)),
            }
        )
        path = folder / f"S{i:05d}-USD.csv"
        frame[days <= last.tz_localize(None)].to_csv(path, index=False)
        saved = (last + 1.2 * DAY).timestamp()
        os.utime(path, (saved, saved))


def run(folder: Path, as_of: pd.Timestamp) -> tuple[float, float, int]:
    """Do the daily run in a process of its own; give seconds, peak GiB, bytes of log."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")}
    given = {
        "TREMOR_SOURCE": "files",
        "TREMOR_FILES_ROOT": str(folder / "files"),
        "TREMOR_STATE_DIR": str(folder / "var"),
    }
    code = (
        "import resource, runpy, sys\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--as-of", f"{as_of:%Y-%m-%dT%H:%M}"],
        cwd=folder,
        env={**kept, **given, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    peak = int(done.stdout.rpartition("PEAK ")[2]) / 2**20
    return seconds, peak, len(done.stdout) + len(done.stderr)


def size_of(folder: Path) -> float:
    """Gigabytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def measured(n: int) -> Seen:
    """Measure ``n`` instruments."""
    with tempfile.TemporaryDirectory(prefix="tremor-cost-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        make_files(folder / "files", n, LAST)
        first_s, first_peak, _ = run(folder, LAST + 1.5 * DAY)
        lake = folder / "var" / "lake"
        raw, processed, state = (size_of(lake / part) for part in ("raw", "processed", "state"))
        make_files(folder / "files", n, LAST + DAY)
        daily_s, daily_peak, log = run(folder, LAST + 2.5 * DAY)
        idle_s, _, _ = run(folder, LAST + 2.6 * DAY)
        return Seen(
            n=n,
            first_s=round(first_s, 1),
            daily_s=round(daily_s, 1),
            idle_s=round(idle_s, 1),
            peak_gib=round(max(first_peak, daily_peak), 2),
            raw_gb=round(raw, 4),
            processed_gb=round(processed, 4),
            state_gb=round(state, 4),
            warehouse_gb=round(size_of(folder / "var" / "postgres" / "base"), 3),
            log_kb=round(log / 1e3, 1),
        )


def fitted(name: str, n: int) -> float:
    """What ``n`` instruments would show: a straight line through what was measured."""
    at = [float(seen.n) for seen in MEASURED]
    slope, base = np.polyfit(at, [getattr(seen, name) for seen in MEASURED], 1)
    return float(max(slope * n + base, 0.0))


def peak_gib(n: int) -> float:
    """The memory that ``n`` instruments take: they are judged by 250, so it bends there.

    Between what was measured it is read off; beyond, it goes on as between the last two.
    """
    at, seen = [s.n for s in MEASURED], [s.peak_gib for s in MEASURED]
    slope = (seen[-1] - seen[-2]) / (at[-1] - at[-2])
    return float(np.interp(n, at, seen) + slope * max(n - at[-1], 0))


@dataclass(frozen=True)
class Size:
    """What an operator would choose for so many instruments."""

    n: int
    vcpu: float
    memory_gib: int
    database: str


SIZES = (
    Size(50, 1, 2, "db.t4g.micro"),
    Size(1_000, 1, 4, "db.t4g.micro"),
    Size(10_000, 2, 8, "db.t4g.medium"),
)


def monthly(size: Size) -> dict[str, float]:
    """USD a month by item, for the default network, a year after the first run."""
    fetch_s = size.n / POLITE
    main_s = START_S + fetch_s + fitted("daily_s", size.n)
    second_s = START_S + fitted("idle_s", size.n)
    hours = DAYS * (main_s + second_s) / 3600
    hourly = size.vcpu * PRICES["vCPU-hour of Fargate"]
    hourly += size.memory_gib * PRICES["GB-hour of Fargate"] + PRICES["hour of a public address"]
    # Ten years' bars and one more; a year's replies, manifests and reports. Of states there are
    # today's, yesterday's and the replaced ones of a day.
    stored = fitted("raw_gb", size.n) + 1.1 * fitted("processed_gb", size.n)
    stored += size.n * (YEAR_RUNS * REPORT_KB + YEAR_DAYS * REPLY_KB) / 1e6
    stored += 4 * fitted("state_gb", size.n)
    # A reply an instrument and day, a tenth of that for the rest, a hundred for reports and such.
    puts = DAYS * (1.1 * size.n + 100) / 1000
    disk = max(20.0, 1.3 * 1.1 * fitted("warehouse_gb", size.n))
    logs = DAYS * 2 * fitted("log_kb", size.n) / 1e6
    return {
        "task": hours * hourly,
        "database": HOURS * DATABASES[size.database]
        + disk * PRICES["GB-month of a database's disk"],
        "lake": stored * PRICES["GB-month of S3"] + puts * PRICES["1000 puts to S3"],
        "key, 2 secrets": PRICES["key"] + 2 * PRICES["secret"],
        "alarms, metric, logs": 4 * PRICES["alarm"]
        + PRICES["metric"]
        + logs * PRICES["GB of logs"],
        "images": 3 * 0.4 * PRICES["GB-month of images"],
    }


def table() -> str:
    """The table of docs/DEPLOY.md."""
    items = [monthly(size) for size in SIZES]
    heads = [f"{size.n:,}".replace(",", " ") + " instruments" for size in SIZES]
    lines = [f"| USD a month | {' | '.join(heads)} |", "|---" * (1 + len(SIZES)) + "|"]
    chosen = [f"{s.vcpu:g} vCPU, {s.memory_gib} GB; {s.database}" for s in SIZES]
    lines.append(f"| chosen | {' | '.join(chosen)} |")
    minutes = [(START_S + s.n / POLITE + fitted("daily_s", s.n)) / 60 for s in SIZES]
    lines.append(f"| minutes of a daily run | {' | '.join(f'{m:.0f}' for m in minutes)} |")
    memory = [f"{peak_gib(size.n):.1f}" for size in SIZES]
    lines.append(f"| GiB of memory that it takes | {' | '.join(memory)} |")
    lines += [f"| {k} | {' | '.join(f'{each[k]:.2f}' for each in items)} |" for k in items[0]]
    totals = [sum(each.values()) for each in items]
    lines.append(f"| **together** | {' | '.join(f'**{total:.0f}**' for total in totals)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure if asked, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=int, nargs="*", default=[], metavar="N")
    wanted = parser.parse_args().measure
    for n in wanted:
        print(json.dumps(measured(n).__dict__), flush=True)
    if not wanted:
        print(table())


if __name__ == "__main__":
    main()
