"""A month of Binance's minutes: zip to typed, checked columns, against unpacking and reading alone.

    python -m benchmarks.parse_archive --repeats 15

The month is made here, 44 640 rows in the archive's shape. The two ways alternate, so that a
machine that is busy for a while is slow for both; each figure is a median.
"""

import argparse
import io
import statistics
import time
import zipfile
from collections.abc import Callable

import pandas as pd
from pyarrow import csv

from components import checks
from components.records import CandleRequest, RawReply
from components.sessions import Calendars
from components.sources import open_source
from tests.binance_stand_in import minutes, sheet, zipped

N_ROWS = 31 * 1440
MONTH = pd.Timestamp("2024-12-01", tz="UTC")
WANTED = 2.0


def month_reply(market: str) -> RawReply:
    """Make the reply that a fetch of the month would bring."""
    frame = minutes(f"{MONTH:%Y-%m-%d}", N_ROWS, price=60_000.0)
    name = f"BTCUSDT-1m-{MONTH:%Y-%m}"
    body = zipped(f"{name}.csv", sheet(frame, "1m", is_micro=False, header=market == "um"))
    until = MONTH + pd.offsets.MonthBegin()
    request = CandleRequest("BTCUSDT", "1m", MONTH, until, until + pd.Timedelta(days=9))
    details = {"kind": "zip", "files": f"{name}.zip"}
    return RawReply("binance", request, "", 200, request.as_of, body, details)


def plain(body: bytes) -> object:
    """Unpack and read, as anybody would at first."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return csv.read_csv(io.BytesIO(archive.read(archive.namelist()[0])))


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(reply: RawReply, repeats: int) -> None:
    """Print the medians of each way and their ratios."""
    source, calendars, stored = open_source("binance"), Calendars(), pd.DataFrame()

    def checked() -> None:
        candles, _, quarantine = checks.apply([(reply, source.parse(reply))], stored, calendars)
        assert (len(candles), len(quarantine)) == (N_ROWS, 0)

    ways: dict[str, Callable[[], object]] = {
        "unzip and read_csv": lambda: plain(reply.body),
        "parse": lambda: source.parse(reply),
        "parse and check": checked,
    }
    for work in ways.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            times[name].append(seconds(work))
    base, *_ = middles = [statistics.median(each) for each in times.values()]
    for name, middle in zip(ways, middles, strict=True):
        print(f"{name:20s} {middle * 1e3:8.1f} ms   {middle / base:5.2f}", flush=True)
    verdict = "kept" if middles[-1] <= WANTED * base else "NOT kept"
    print(f"wanted: parse and check at most {WANTED:.0f} times the first: {verdict}")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--market", choices=("spot", "um"), default="spot")
    chosen = parser.parse_args()
    compare(month_reply(chosen.market), chosen.repeats)


if __name__ == "__main__":
    main()
