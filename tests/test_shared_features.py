"""Features of real candles as they are stored: stocks, coins of which one died, an outage.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest

from components import steps
from components.features import FEATURES
from components.tables import CANDLES, FEATURE_VALUES
from components.wiring import open_parts
from tests.terminal import hurry, tremor

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

STOCKS = ("AA", "BAC", "GM", "KOSS", "MSTR", "PFE")
COINS = ("BTC_USDT", "ETH_USDT", "FTT_USDT", "LTC_USDT", "XRP_USDT")
MINUTES = DATA / "binance_klines" / "spot_1m_arrays_2021-04-20_2021-05-20"
BEGIN, NOON = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2021-04-25 12:00", tz="UTC")
KNOWN_AT = pd.Timestamp("2021-06-01", tz="UTC")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def filled(world, folder, symbols):
    """The features of some files of the shared data, stored by the commands."""
    world.settings = {"files_root": DATA / folder, "symbols": ",".join(symbols)}
    assert tremor(world, "backfill", "--since", "2000-01-01").code == 0
    seen = tremor(world, "features", "--since", "2000-01-01", "--json")
    assert seen.code == 0, seen
    counts = json.loads(seen.out)["counts"]
    again = json.loads(tremor(world, "features", "--since", "2000-01-01", "--json").out)["counts"]
    assert (again["features_new"], again["files_changed"]) == (0, 0)
    rows = world.query("select * from features order by symbol, ts, known_at")
    assert len(rows) == counts["features_new"] == counts["bars_read"]
    lake = pyarrow.dataset.dataset(world.folder / "var/lake/features", partitioning="hive")
    table = lake.to_table().to_pandas().sort_values(["symbol", "ts"], ignore_index=True)
    names = ["symbol", "ts", "closes_at", *FEATURES, "known_at"]
    pd.testing.assert_frame_equal(table[names], rows[names], check_exact=True)
    return rows


def test_twenty_years_of_stocks(world):
    """A row a bar that was let in; nearly all of every feature is known, and none is infinite."""
    rows = filled(world, "yahoo_daily/stock_panel", STOCKS)
    counted = rows["symbol"].value_counts().to_dict()
    assert (counted["AA"], counted["PFE"], len(rows)) == (5080, 5080, 28_741)
    known = rows[list(FEATURES)].notna().mean()
    assert known.drop(["gap_z", "gap_vector"]).min() > 0.9
    assert not np.isinf(rows[list(FEATURES)]).any(axis=None)
    # The close of 2020-03-16 was 12 % below that of the Friday before, in New York's summer time.
    day = rows[(rows["symbol"] == "BAC") & (rows["ts"] == "2020-03-16")].iloc[0]
    assert day["log_return"] == pytest.approx(np.log(1 - 0.154), abs=0.01)
    assert day["closes_at"] == pd.Timestamp("2020-03-16 20:00", tz="UTC")


def test_coins_of_which_one_died(world):
    """Where nothing moves what is carried is unknown; the bars that are refused have no row."""
    rows = filled(world, "binance_klines/daily_perpetuals", COINS)
    dead = rows[(rows["symbol"] == "FTT_USDT") & (rows["ts"] >= "2022-11-24")]
    assert (len(dead), dead["ts"].max()) == (21, pd.Timestamp("2022-12-14", tz="UTC"))
    carried = [name for name, feature in FEATURES.items() if feature.kind == "carried"]
    assert dead[carried].isna().all(axis=None)
    assert (dead["volatility"] == 0).all()
    alive = rows[(rows["symbol"] == "BTC_USDT") & rows["ts"].isin(dead["ts"])]
    assert alive[["return_z", "residual_z", "range_z", "volume_z"]].notna().all(axis=None)
    assert rows["gap"].isna().all()


def test_the_first_minute_after_an_outage(world):
    """284 or 285 minutes in one: the return is in the size of one, and there is no gap."""
    tables = []
    for path in sorted(MINUTES.glob("*.json.gz")):
        names = ["ts", "open", "high", "low", "close", "volume"]
        bars = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())), columns=names)
        bars["ts"] = pd.to_datetime(bars["ts"], unit="ms", utc=True)
        tables.append(bars[bars["ts"] < NOON].assign(symbol=path.name.split(".")[0]))
    candles = pd.concat(tables).assign(interval="1m", source="x", known_at=KNOWN_AT)
    world.files.mkdir()
    world.settings = {"interval": "1m", "symbols": ",".join(sorted(set(candles["symbol"])))}
    with open_parts(world.read_settings(), KNOWN_AT, command="features") as parts:
        parts.warehouse.upsert(CANDLES, candles)
        counts = steps.features(parts, NOON - pd.Timedelta(hours=4), NOON).counts
        rows = parts.warehouse.read(FEATURE_VALUES)
    assert counts["bars_read"] == len(candles)
    assert counts["files_changed"] == 6
    first = rows.drop_duplicates("symbol")
    assert first["ts"].eq("2021-04-25 08:45+00:00").all()
    # BTC, DOGE, ETH, LINK, LTC, XRP, as the judge has them.
    expected = [0.2, -0.2, 0.4, 0.4, 0.0, 0.0]
    assert first["return_z"].to_numpy() == pytest.approx(expected, abs=0.06)
    assert first["residual_z"].to_numpy() == pytest.approx(
        [0.3, -0.4, 0.8, 0.8, -0.2, -0.2], abs=0.06
    )
    assert first["gap"].isna().all()
    assert rows["adjusted_volume"].notna().mean() > 0.9
