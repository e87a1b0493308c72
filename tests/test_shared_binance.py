"""Real files of Binance's archive: rows, spans, and what the checks keep aside.

The files are not part of this repository; without them the suite is skipped.
"""

import re
from pathlib import Path

import pandas as pd
import pytest

from components import checks
from components.records import CandleRequest, RawReply
from components.sessions import Calendars, length
from components.sources import open_source, vision

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

ARCHIVES = sorted((DATA / "binance_klines").glob("*vision/*.zip"))
LATE = pd.Timestamp("2027-01-01", tz="UTC")
NAME = re.compile(r"^(?P<symbol>[A-Z0-9]+)-(?P<interval>\d+[mhd])-(?P<month>\d{4}-\d\d)\.zip$")

# A line of the table of files in ../shared/data/README.md: path, rows, first and last open.
LINE = re.compile(
    r"^\| `binance_klines/(\w+_vision/\S+\.zip)` \| (\d+) \| (\S+ \S+?)\.\.(\S+ \S+) \|"
)


def listed():
    text = (DATA / "README.md").read_text() if DATA.is_dir() else ""
    found = [match.groups() for line in text.splitlines() if (match := LINE.match(line))]
    return {path: (int(n_rows), first, last) for path, n_rows, first, last in found}


def reply_of(path):
    """The reply that a fetch of the file's month would bring."""
    match = NAME.match(path.name)
    since = pd.Timestamp(match["month"], tz="UTC")
    until = since + pd.offsets.MonthBegin()
    request = CandleRequest(match["symbol"], match["interval"], since, until, LATE)
    details = {"kind": "zip", "files": path.name}
    return RawReply("binance", request, "", 200, LATE, path.read_bytes(), details)


def candles_of(path):
    return open_source("binance").parse(reply_of(path)).candles


def test_every_file_is_in_the_table():
    """A file outside the table would silently go untested."""
    found = {str(path.relative_to(DATA / "binance_klines")) for path in ARCHIVES}
    assert found == set(listed())
    assert len(found) > 30


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_a_real_file_has_the_rows_and_the_span_that_are_listed(path):
    """Spot without names, futures with; milliseconds and, in spot since 2025, microseconds."""
    candles = candles_of(path)
    n_rows, first, last = listed()[str(path.relative_to(DATA / "binance_klines"))]
    assert len(candles) == n_rows
    assert candles["ts"].min() == pd.Timestamp(first, tz="UTC")
    assert candles["ts"].max() == pd.Timestamp(last, tz="UTC")
    step = length(NAME.match(path.name)["interval"])
    assert (candles["ts"].diff().dropna() == step).all()
    assert not candles[["open", "high", "low", "close", "volume", "trades"]].isna().any(axis=None)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_a_real_mean_price_lies_in_its_bar(path):
    """Quote volume over volume: there wherever there was trade, for all but rounding's victims."""
    candles = candles_of(path)
    traded = candles[candles["volume"] > 0]
    assert candles.loc[~(candles["volume"] > 0), "vwap"].isna().all()
    assert traded["vwap"].notna().mean() > 0.999


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_real_files_pass_the_checks(path):
    """All rows of the archive are let in, but a bar that only repeats the one before."""
    reply = reply_of(path)
    parsed = open_source("binance").parse(reply)
    candles, _, quarantine = checks.apply([(reply, parsed)], pd.DataFrame(), Calendars())
    assert set(quarantine["check_name"]) <= {"copied_bar"}
    assert len(candles) + len(quarantine) == len(parsed.candles)
    assert len(quarantine) <= 10


def test_the_hours_go_on_over_new_year_2025():
    """Milliseconds up to 2024-12-31 23:00, microseconds from 2025-01-01 00:00: no hour between."""
    paths = [path for path in ARCHIVES if path.parent.name == "spot_1h_vision"]
    ts = pd.concat([candles_of(path)["ts"] for path in paths])
    assert ts.tolist() == list(pd.date_range("2024-11-01", "2025-05-31 23:00", freq="h", tz="UTC"))


def test_real_files_in_one_tar_are_one_series():
    """A piece of several months: the parts follow each other, lines counted on."""
    paths = [path for path in ARCHIVES if path.parent.name == "um_futures_5m_vision"]
    body = vision.packed([(path.name, path.read_bytes()) for path in paths])
    reply = reply_of(paths[0])
    details = {"kind": "tar", "files": ", ".join(path.name for path in paths)}
    whole = open_source("binance").parse(
        RawReply("binance", reply.request, "", 200, LATE, body, details)
    )
    candles = whole.candles
    assert candles["line"].tolist() == list(range(365 * 288))
    assert (candles["ts"].diff().dropna() == pd.Timedelta(minutes=5)).all()
    expected = pd.concat([candles_of(path) for path in paths], ignore_index=True)
    pd.testing.assert_frame_equal(candles.drop(columns="line"), expected.drop(columns="line"))
