"""The checks on real files: each takes what it is there for, and no real move.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import io
import itertools
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.sources.bars import actions_frame, candles_frame
from components.sources.sheets import parse_sheet

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

CALENDARS = Calendars()
LATE = "2027-01-01"
KLINE = ["ts", "open", "high", "low", "close", "volume"]
PUMPS = DATA / "labelled/pump_and_dump/klines_1m_from_trades"
ERRORS = DATA / "labelled/yahoo_data_errors"

# What a bar of a file's mended twin must differ by to count as wrong.
WRONG = 0.02


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def frame_of(path):
    """A file's rows as ts, open, high, low, close, volume, whatever its shape."""
    if path.suffix == ".zip":
        packed = zipfile.ZipFile(path)
        body = packed.read(packed.namelist()[0])
        rows = pd.read_csv(io.BytesIO(body), header=None, skiprows=0 if body[:1].isdigit() else 1)
        rows = rows.iloc[:, :6].set_axis(KLINE, axis=1)
    elif ".json" in path.suffixes:
        rows = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())))
        rows = rows.iloc[:, :6].set_axis(KLINE, axis=1)
    else:
        rows = pd.read_csv(path).rename(columns=str.lower)
        times = ("open_time", "timestamp", "datetime", "date")
        (name,) = [name for name in times if name in rows][:1]
        rows = rows.rename(columns={name: "ts"})[KLINE]
    if rows["ts"].dtype.kind in "if":
        unit = "us" if rows["ts"].iloc[0] > 1e14 else "ms"
        return rows.assign(ts=pd.to_datetime(rows["ts"], unit=unit, utc=True))
    return rows.assign(ts=pd.to_datetime(rows["ts"], utc=True))


def judged(path, symbol, interval, *, observed_at=LATE, stored=None, **part):
    """One file, or some of its rows, through the checks."""
    rows = frame_of(path)
    if part:
        rows = rows[(rows["ts"] >= utc(part["since"])) & (rows["ts"] < utc(part["until"]))]
    numbers = {name: rows[name].to_numpy(dtype=float) for name in KLINE[1:]}
    table = candles_frame(pd.DatetimeIndex(rows["ts"]), numbers)
    request = CandleRequest(symbol, interval, utc("1900-01-01"), utc(LATE), utc(LATE))
    reply = RawReply("files", request, "", 200, utc(observed_at), path.name.encode())
    stored = pd.DataFrame() if stored is None else stored
    candles, _, aside = checks.apply([(reply, Parsed(table, actions_frame()))], stored, CALENDARS)
    return rows, candles, aside


@pytest.mark.parametrize(
    ("path", "interval", "last_good", "n_aside"),
    [
        ("daily_perpetuals/FTT_USDT_1d.csv.gz", "1d", "2022-12-14 00:00", 1_271),
        ("long_1h/FTT_USDT_1h.csv.gz", "1h", "2022-11-15 10:00", 31_200),
    ],
)
def test_ftt_is_dead_after_its_exchange_closed(path, interval, last_good, n_aside):
    """Thirty bars after the last trade of 2022-11-14 it is kept aside, to the file's end."""
    _, candles, aside = judged(DATA / "binance_klines" / path, "FTT_USDT", interval)
    assert Counter(aside["check_name"]) == {"dead_market": n_aside}
    assert candles["ts"].max() == utc(last_good)


def test_the_halt_of_2023_03_24_is_dead_after_an_hour():
    """72 flat minutes from 11:28: the last twelve are kept aside."""
    path = DATA / "binance_klines/spot_1m_arrays_2023-03-16_2023-05-01/BTCUSDT.json.gz"
    _, _, aside = judged(path, "BTCUSDT", "1m")
    assert Counter(aside["check_name"]) == {"dead_market": 12}
    assert aside["ts"].min() == utc("2023-03-24 12:28")
    assert aside["ts"].max() == utc("2023-03-24 12:39")


def test_a_dead_market_stays_dead_from_month_to_month():
    """What is stored says how long the run is: the next request brings nothing in."""
    path = DATA / "binance_klines/long_1h/FTT_USDT_1h.csv.gz"
    months = [f"2022-{month:02}-01" for month in (10, 11, 12)] + ["2023-01-01", "2023-02-01"]
    stored = pd.DataFrame()
    for since, until in itertools.pairwise(months):
        new = judged(path, "FTT_USDT", "1h", stored=stored, since=since, until=until)[1]
        stored = pd.concat([stored, new], ignore_index=True)
    assert stored["ts"].max() == utc("2022-11-15 10:00")


@pytest.mark.parametrize("path", sorted(DATA.glob("binance_klines/um_futures_1m_vision/*.zip")))
def test_a_thin_market_that_lives_loses_nothing(path):
    """144 scattered minutes without trade are a living market."""
    rows, candles, aside = judged(path, path.name.split("-")[0], "1m")
    assert aside.empty
    assert len(candles) == len(rows)


@pytest.mark.parametrize("path", sorted(PUMPS.glob("*.csv.gz")), ids=lambda path: path.name[:20])
def test_pumps_and_their_dumps_are_let_in(path):
    """The rise and the fall within minutes are what the product tells."""
    rows, candles, aside = judged(path, path.name.split("_")[0], "1m")
    assert aside.empty
    assert len(candles) == len(rows)


def test_the_revised_copy_of_a_minute_is_believed():
    """32 minutes appear twice: the first copy is unfinished; of the last minute none is in."""
    path = DATA / "binance_klines/spot_1m_api_csv_2021-10/BTCUSDT.csv.gz"
    rows, candles, aside = judged(path, "BTCUSDT", "1m", observed_at="2021-10-21 21:32:30")
    assert Counter(aside["check_name"]) == {"duplicate_bar": 32, "unfinished_bar": 1}
    revised = rows.drop_duplicates("ts", keep="last").iloc[:-1]
    np.testing.assert_array_equal(candles["volume"], revised["volume"])


@pytest.mark.parametrize("path", sorted((DATA / "polygon/minute_bars").glob("*.gz")))
def test_minutes_of_extended_hours_are_let_in_and_marked(path):
    """04:00 to 20:00 New York; regular is 09:30 to 16:00."""
    rows, candles, aside = judged(path, path.name.split(".")[0].split("__")[0], "1m")
    assert aside.empty
    assert len(candles) == len(rows)
    local = candles["ts"].dt.tz_convert("America/New_York")
    minute = local.dt.hour * 60 + local.dt.minute
    is_regular = (minute >= 570) & (minute < 960)
    assert (candles["hours"] == np.where(is_regular, "regular", "extended")).all()
    assert 0.4 < is_regular.mean() < 1


def test_minutes_of_the_future_are_refused():
    """What opens after the run, to the minute."""
    path = DATA / "binance_klines/spot_1m_csv_2024-07-26_2024-08-25/BTCUSDT.csv.gz"
    rows = frame_of(path)
    as_of = rows["ts"].iloc[-11] + pd.Timedelta(seconds=30)
    table = candles_frame(
        pd.DatetimeIndex(rows["ts"]), {name: rows[name].to_numpy(float) for name in KLINE[1:]}
    )
    request = CandleRequest("BTCUSDT", "1m", rows["ts"].iloc[0], utc(LATE), as_of)
    pair = (RawReply("x", request, "", 200, as_of, b""), Parsed(table, actions_frame()))
    aside = checks.apply([pair], pd.DataFrame(), CALENDARS)[2]
    assert Counter(aside["check_name"]) == {"future": 10, "unfinished_bar": 1}


@pytest.mark.parametrize(
    ("path", "symbol", "found"),
    [
        ("crypto_wide_nan_padded/SHIB-USD.csv.gz", "SHIB-USD", {"rounded_price": 155}),
        ("stocks_download_format/IPL.TO.csv.gz", "IPL.TO", {}),
        ("stocks_download_format/GME.csv.gz", "GME", {}),
        ("crypto_history_format/DOGE-USD.csv.gz", "DOGE-USD", {}),
        ("crypto_history_format/TRX-USD.csv.gz", "TRX-USD", {}),
        ("crypto_crash_windows/LUNA1-USD__2019-07-26_2022-05-21.csv.gz", "LUNA1-USD", {}),
        ("stock_panel/MARA.csv.gz", "MARA", {"bad_tick": 1, "dead_market": 9}),
        ("stock_panel/MULN.csv.gz", "MULN", {"bad_tick": 2, "volume_absent": 27}),
    ],
)
def test_what_the_new_checks_take_of_yahoos_days(path, symbol, found):
    """MARA 2012-09-10 and MULN 2011-12-28 are a third and a quarter of the days round them."""
    taken = Counter(sheet("yahoo_daily/" + path, symbol)[3]["check_name"])
    new = {"rounded_price", "bad_tick", "dead_market", "volume_absent"}
    assert {name: n for name, n in taken.items() if name in new} == found


def sheet(path, symbol, interval="1d"):
    """A download of Yahoo's: its parsed rows, candles, actions, quarantine."""
    body = gzip.decompress((DATA / path).read_bytes())
    parsed = parse_sheet(body, path, symbol, interval)
    request = CandleRequest(symbol, interval, utc("1900-01-01"), utc(LATE), utc(LATE))
    reply = RawReply("files", request, "", 200, utc(LATE), path.encode())
    return parsed, *checks.apply([(reply, parsed)], pd.DataFrame(), CALENDARS)


def error_files(*kinds):
    """The files of some kinds, each with its mended twin."""
    pairs = []
    for kind in kinds:
        for path in sorted(ERRORS.glob(f"*-{kind}.csv.gz")):
            stem, interval = path.name.split(f"-{kind}")[0].rsplit("-", 1)
            symbol = ".".join(stem.rsplit("-", 1))
            pairs.append(
                (path, path.with_name(path.name.replace(".csv", "-fixed.csv")), symbol, interval)
            )
    return pairs


KINDS = {
    "100x-error": {"hundredfold"},
    "bad-unit": {"hundredfold"},
    "bad-stock-split": {"split_not_applied"},
}


def wrong_and_right(path, twin, symbol, interval):
    """The bars that differ from the mended file, and the others."""
    rows, mended = (
        sheet(str(each.relative_to(DATA)), symbol, interval)[0].candles.set_index("ts")["close"]
        for each in (path, twin)
    )
    is_wrong = np.abs(np.log(rows / mended)) > WRONG
    return set(rows.index[is_wrong]), set(rows.index[~is_wrong])


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_prices_are_kept_aside_for_the_right_reason(kind):
    """All wrong bars of splits and units, by the file alone, and no right one.

    But for the file that begins in the wrong unit: nobody knows which of its two units is
    right, and its nine right bars are kept aside with the fourteen wrong ones.
    """
    for path, twin, symbol, interval in error_files(kind):
        wrong, right = wrong_and_right(path, twin, symbol, interval)
        aside = sheet(str(path.relative_to(DATA)), symbol, interval)[3]
        taken = set(aside.loc[aside["check_name"].isin(KINDS[kind]), "ts"])
        assert wrong
        assert wrong <= taken
        assert len(taken & right) == (9 if symbol == "AET.L" else 0)


def test_with_one_stored_bar_the_right_unit_is_known():
    """The first bar of the mended file is stored: exactly the wrong bars are kept aside."""
    for path, twin, symbol, interval in error_files("100x-error"):
        stored = sheet(str(twin.relative_to(DATA)), symbol, interval)[1].iloc[:1]
        aside = with_stored(path, symbol, interval, stored)
        taken = set(aside.loc[aside["check_name"] == "hundredfold", "ts"])
        assert taken == wrong_and_right(path, twin, symbol, interval)[0]


@pytest.mark.parametrize("n_bars", [1, 4, 10])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 5.0, 100.0])
@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        ("stocks_download_format/AAPL.csv.gz", "AAPL"),
        ("crypto_history_format/BTC-USD.csv.gz", "BTC-USD"),
    ],
)
def test_real_days_off_by_a_split_are_kept_aside(path, symbol, factor, n_bars):
    """Every sixtieth day a run is off, up or down: nine of ten such bars are kept aside."""
    parsed = sheet("yahoo_daily/" + path, symbol)[0]
    for way in (factor, 1 / factor):
        table = parsed.candles.copy()
        starts = np.arange(100, len(table) - 60, 60)
        places = (starts[:, None] + np.arange(n_bars)).ravel()
        table.loc[table.index[places], ["open", "high", "low", "close"]] *= way
        request = CandleRequest(symbol, "1d", utc("1900-01-01"), utc(LATE), utc(LATE))
        pair = (RawReply("x", request, "", 200, utc(LATE), b""), replace(parsed, candles=table))
        aside = checks.apply([pair], pd.DataFrame(), CALENDARS)[2]
        is_run = aside["check_name"].isin({"bad_tick", "hundredfold"})
        taken = set(aside.loc[is_run, "ts"])
        wrong = set(table["ts"].iloc[places])
        assert not taken - wrong
        assert len(taken & wrong) >= 0.9 * len(wrong)


def with_stored(path, symbol, interval, stored):
    """The quarantine of a file whose first bar is stored as it should be."""
    parsed = parse_sheet(gzip.decompress(path.read_bytes()), path.name, symbol, interval)
    request = CandleRequest(symbol, interval, utc("1900-01-01"), utc(LATE), utc(LATE))
    reply = RawReply("files", request, "", 200, utc(LATE), path.name.encode())
    return checks.apply([(reply, parsed)], stored, CALENDARS)[2]


def wrong_events(path, twin):
    """Dates of dividends that differ from the mended file, or whose adjustment does."""
    tables = []
    for each in (path, twin):
        rows = pd.read_csv(each)
        rows = rows.set_index(pd.DatetimeIndex(pd.to_datetime(rows.iloc[:, 0].str[:10], utc=True)))
        rows = rows.sort_index()
        factor = (rows["Adj Close"] / rows["Close"]).ffill()
        tables.append(rows.assign(step=1 - factor.shift() / factor))
    bad, good = tables
    is_event = (bad["Dividends"] != 0) | (good["Dividends"] != 0)
    differs = (bad["Dividends"] - good["Dividends"]).abs() > 1e-6
    differs |= (bad["step"] - good["step"]).abs() > 0.005
    return set(bad.index[is_event & differs])


@pytest.mark.parametrize(
    "case", error_files("bad-div", "cg-double-count"), ids=lambda case: case[0].name
)
def test_wrong_dividends_and_gains_are_told(case):
    """Every wrong event under one of the dividend checks, and no right one."""
    path, twin, symbol, interval = case
    _, _, _, aside = sheet(str(path.relative_to(DATA)), symbol, interval)
    told = set(aside.loc[aside["line"] < 0, "ts"])
    wrong = wrong_events(path, twin)
    assert wrong
    # Where no bar can be trusted beside it, an adjustment cannot be measured.
    least = 0.85 if symbol == "SSNLF" else 1.0
    assert len(told & wrong) >= least * len(wrong)
    assert told - wrong <= ({utc("2024-04-08")} if symbol == "KEN.TA" else set())
    if "cg-double-count" in path.name:
        events = aside[aside["line"] < 0]
        assert set(events["check_name"]) == {"dividend_adjusted_twice"}


# Rows of thin London shares whose high is below their close, and a price that went from pounds
# to pence for good; Samsung's receipt, which rests for years and has a split left out.
TRULY_ODD = {
    "ABDP.L": {"ohlc_order": 44}, "ELCO.L": {"ohlc_order": 309},
    "KEN.TA": {"null_price": 1, "ohlc_order": 4}, "KMR.L": {"ohlc_order": 2},
    "LSC.L": {"hundredfold": 82, "ohlc_order": 109},
    "NVT.L": {"hundredfold": 35, "ohlc_order": 248},
    "REL.L": {"null_price": 1, "ohlc_order": 1}, "SERE.L": {"ohlc_order": 19},
    "TEP.PA": {"ohlc_order": 1}, "1398.HK": {"null_price": 1}, "ASAI.L": {"volume_absent": 1},
    "SSNLF": {"copied_bar": 495, "dead_market": 3196, "null_price": 242, "split_not_applied": 16},
}  # fmt: skip


def right_files():
    """The mended files and the clean ones, with the instrument and the interval."""
    paths = [*sorted(ERRORS.glob("*-fixed.csv.gz")), *sorted(ERRORS.glob("*-no-bad-*.csv.gz"))]
    for path in paths:
        interval = "1h" if "-1h-" in path.name else "1d"
        stem = path.name.split(f"-{interval}-")[0]
        yield path, ".".join(stem.rsplit("-", 1)), interval


@pytest.mark.parametrize("case", [*right_files()], ids=lambda case: case[0].name)
def test_of_right_files_nothing_is_refused(case):
    """But for what is truly odd in them: no event, no bar."""
    path, symbol, interval = case
    aside = sheet(str(path.relative_to(DATA)), symbol, interval)[3]
    assert Counter(aside["check_name"]) == TRULY_ODD.get(symbol, {})
