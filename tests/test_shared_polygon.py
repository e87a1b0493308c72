"""Recorded replies and real minutes of Massive (Polygon): read back value by value.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from components.errors import SourceFormatError
from components.records import CandleRequest, RawReply
from components.sources import open_source
from components.sources.polygon_pages import actions_of, packed
from components.sources.polygon_spans import NEW_YORK
from tests.polygon_stand_in import KEY, PolygonStandIn

DATA = Path(__file__).parents[2] / "shared" / "data" / "polygon"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw"}

# What data/README.md says of each file: rows, and how many have an average outside of the bar.
MINUTES = [
    ("AAPL", "AAPL.csv.gz", 18400, 4889),
    ("MSFT", "MSFT.csv.gz", 18818, 4689),
    ("TSLA", "TSLA.csv.gz", 19397, 5793),
    ("GOOGL", "GOOGL.csv.gz", 18755, 4876),
    ("PLTR", "PLTR__earnings_gap.csv.gz", 7867, 1464),
    ("SPY", "SPY__2024-02-20_2024-05-17__with_vwap_transactions.csv.gz", 49720, 8645),
]


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def minutes_of(name):
    """A file's rows under our names; ``ts`` in UTC."""
    table = pd.read_csv(DATA / "minute_bars" / name)
    table.columns = table.columns.str.lower()
    table = table.rename(columns={"vw": "vwap", "n": "trades", "transactions": "trades"})
    text = table["timestamp"] if "timestamp" in table else table["datetime"]
    table["ts"] = pd.to_datetime(text, utc=True).dt.as_unit("us")
    return table


def as_rows(table):
    """The rows in the API's keys."""
    renamed = table.rename(columns=FIELDS | {"trades": "n"})
    renamed["t"] = table["ts"].dt.as_unit("ms").astype("int64")
    return renamed[[*FIELDS.values(), "n", "t"]].to_dict("records")


@pytest.mark.parametrize(("symbol", "name", "n_rows", "n_outside"), MINUTES)
def test_real_minutes_come_back_value_by_value(symbol, name, n_rows, n_outside):
    """Fractional volumes, averages outside of the bar, both ends of summer time, late hours."""
    table = minutes_of(name)
    until = table["ts"].max() + pd.Timedelta(days=2)
    with PolygonStandIn({symbol: as_rows(table)}, page_size=15_000) as server:
        source = open_source(
            "polygon",
            polygon_api_key=SecretStr(KEY),
            polygon_url=server.url,
            polygon_requests_per_minute=60_000,
        )
        since = table["ts"].min().floor("D")
        pieces = source.pieces(CandleRequest(symbol, "1m", since, until, until))
        found = [source.parse(source.fetch(piece)).candles for piece in pieces]
    candles = pd.concat(found, ignore_index=True)
    assert len(candles) == len(table) == n_rows
    assert candles["ts"].tolist() == table["ts"].tolist()
    for field in [*FIELDS, "trades"]:
        np.testing.assert_array_equal(candles[field], table[field])
    is_outside = ~candles["vwap"].between(candles["low"], candles["high"])
    assert is_outside.sum() == n_outside
    hours = candles["ts"].dt.tz_convert(NEW_YORK).dt.hour
    assert hours.min() == 4
    assert hours.max() in (19, 20)


@pytest.fixture(scope="module")
def flat_files(s3_server):
    """The address of a real S3 server that holds the five days."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="flatfiles")
    keys = []
    for path in sorted((DATA / "flatfile_shape_derived").glob("*.csv.gz")):
        year, month, _ = path.name.split("-")
        keys.append(f"us_stocks_sip/minute_aggs_v1/{year}/{month}/{path.name}")
        client.put_object(Bucket="flatfiles", Key=keys[-1], Body=path.read_bytes())
    yield s3_server
    for key in keys:
        client.delete_object(Bucket="flatfiles", Key=key)
    client.delete_bucket(Bucket="flatfiles")


def test_flat_files_hold_the_same_minutes(flat_files):
    """Every line of the five days is some ticker's, and equals the minute of the REST shape."""
    symbols = ("AAPL", "GOOGL", "MSFT", "TSLA")
    source = open_source(
        "polygon",
        polygon_flat_key=SecretStr("key"),
        polygon_flat_secret=SecretStr("secret"),
        polygon_flat_url=flat_files,
        symbols=symbols,
    )
    n_rows = 0
    for symbol in symbols:
        request = CandleRequest(
            symbol, "1m", utc("2026-07-13"), utc("2026-07-18"), utc("2026-08-01")
        )
        replies = [source.fetch(piece) for piece in source.pieces(request)]
        assert [reply.status for reply in replies] == [200] * 5
        found = [source.parse(reply).candles for reply in replies]
        candles = pd.concat(found, ignore_index=True)
        table = minutes_of(f"{symbol}.csv.gz")
        table = table[table["ts"] < utc("2026-07-18 01:00")]
        assert candles["ts"].tolist() == table["ts"].tolist()
        for field in ["open", "high", "low", "close", "volume", "trades"]:
            np.testing.assert_array_equal(candles[field], table[field])
        n_rows += len(candles)
    paths = (DATA / "flatfile_shape_derived").glob("*.csv.gz")
    n_lines = [gzip.decompress(path.read_bytes()).count(b"\n") - 1 for path in paths]
    assert n_rows == sum(n_lines) == 17406


def recorded(name):
    return (DATA / "rest_recorded" / name).read_bytes()


def parsed(body, interval="1d"):
    request = CandleRequest(
        "AAPL", interval, utc("2000-01-01"), utc("2027-01-01"), utc("2027-01-01")
    )
    reply = RawReply("polygon", request, "", 200, request.as_of, packed({"aggs-0001.json": body}))
    return open_source("polygon", polygon_api_key=SecretStr(KEY)).parse(reply).candles


@pytest.mark.parametrize(
    ("name", "dates", "closes", "volumes"),
    [
        (
            "v2__aggs__ticker__AAPL__range__1__day__2023-01-01__2023-01-10.json",
            ["2023-01-03", "2023-01-04", "2023-01-05", "2023-01-06", "2023-01-09", "2023-01-10"],
            [125.07, 126.36, 125.02, 129.62, 130.15, 130.73],
            [112117471, 89100633, 80716808, 87754715, 70790813, 63896155],
        ),
        (
            "v2__aggs__ticker__AAPL__range__1__day__2005-04-01__2005-04-04.json",
            ["2005-04-01", "2005-04-04"],
            [1.4604, 1.4675],
            [642646396, 578172308],
        ),
        ("v2__aggs__ticker__AAPL__prev.json", ["2022-04-26"], [156.8], [95595226]),
    ],
)
def test_recorded_aggregates_are_read(name, dates, closes, volumes):
    """Days of winter and summer time have their session's date; 1.12117471e+08 is a number."""
    candles = parsed(recorded(name))
    assert candles["ts"].tolist() == [utc(date) for date in dates]
    assert candles["close"].tolist() == closes
    assert candles["volume"].tolist() == volumes


@pytest.mark.parametrize(
    "name",
    [
        "v1__marketstatus__now.json",
        "v1__marketstatus__upcoming.json",
        "v1__open-close__AAPL__2005-04-01__adjusted=true.json",
        "v2__aggs__grouped__locale__us__market__stocks__2005-04-04__adjusted=true.json",
        "v2__snapshot__locale__us__markets__stocks__tickers__AAPL.json",
        "v3__reference__dividends.json",
        "v3__reference__splits.json",
    ],
)
def test_other_recorded_replies_are_no_bars(name):
    """A reply to another question is an error, never a range without bars."""
    with pytest.raises(SourceFormatError, match="AAPL"):
        parsed(recorded(name))


def test_recorded_splits_and_dividends_are_read():
    """New shares per old on the day of the split; each ticker has its own."""
    splits, dividends = (
        recorded(f"v3__reference__{kind}.json") for kind in ("splits", "dividends")
    )
    listed = json.loads(splits)["results"]
    for row in listed:
        actions = actions_of([splits], [dividends], row["ticker"])
        ratio = row["split_to"] / row["split_from"]
        ts = utc(row["execution_date"])
        assert ((actions["ts"] == ts) & (actions["value"] == ratio)).sum() >= 1
    google = actions_of([splits], [dividends], "GOOGL")
    assert google.to_dict("records") == [{"ts": utc("2022-07-18"), "kind": "split", "value": 20.0}]
    paid = json.loads(dividends)["results"]
    first = paid[0]["ticker"]
    amounts = actions_of([splits], [dividends], first)
    of_first = [row for row in paid if row["ticker"] == first]
    assert amounts["value"].sum() == pytest.approx(sum(row["cash_amount"] for row in of_first))
    assert set(amounts["ts"]) == {utc(row["ex_dividend_date"]) for row in of_first}
