"""Real histories explored: days that everybody remembers, and counts that pandas makes as well.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.profile_page import page
from components.profile_tables import text_table
from components.steps.evaluate import Chosen
from tests.terminal import hurry, tremor
from tests.test_profile_command import explored, row

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

DAILY = DATA / "yahoo_daily"
LATER = pd.Timestamp.now("UTC").floor("s") + pd.Timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def loaded(world, *paths, **settings):
    """A world whose warehouse holds these files, through the checks."""
    world.settings = settings
    world.files.mkdir(exist_ok=True)
    for path in paths:
        shutil.copy(path, world.files)
    seen = tremor(world, "backfill", "--since", "1970-01-01")
    assert seen.code == 0, seen.err
    return world


def known(world, since=None, symbols=()):
    """The exploration of what was loaded just now."""
    start = None if since is None else pd.Timestamp(since, tz="UTC")
    return explored(world, LATER, Chosen(tuple(symbols), start))


def days_of(rows, symbol):
    """On which days an instrument stands out."""
    return set(rows.loc[rows["symbol"] == symbol, "ts"].dt.strftime("%Y-%m-%d"))


def test_the_short_squeeze_of_gme_stands_out_by_its_own_measure(world):
    """January 2021, day by day; and the crash that was the larger one for what GME did then."""
    loaded(world, DAILY / "stocks_download_format/GME.csv.gz")
    moves = known(world, "2020-06-01").moves
    assert days_of(moves, "GME") >= {"2020-10-08", "2021-01-13", "2021-01-26", "2021-01-27"}
    found = known(world)
    largest = found.moves.iloc[0]
    assert (largest["ts"].strftime("%Y-%m-%d"), round(largest["return"], 3)) == (
        "2019-06-05",
        -0.355,
    )
    assert row(found, "GME")["coverage"] == 1
    assert row(found, "GME")["n_bars"] == 5541


def test_what_is_wrong_with_real_files_is_counted(world):
    """Opens of zero, a thin share, a dead contract, a unit that is off, a single day."""
    loaded(
        world,
        *(DAILY / f"stocks_download_format/{name}.csv.gz" for name in ("T", "IPL.TO")),
        *(DAILY / "crypto_crash_windows").glob("FTT-USD__*"),
        DAILY / "odd_cases/AACIW__one_row_only.csv",
        DATA / "binance_klines/daily_perpetuals/FTT_USDT_1d.csv.gz",
        DATA / "labelled/yahoo_data_errors/AET-L-1d-100x-error.csv.gz",
        calendars="AET-L-1d-100x-error=XLON",
    )
    (world.files / "FTT_USDT_1d.csv.gz").rename(world.files / "FTT_USDT__1d.csv.gz")
    loaded(world, calendars="AET-L-1d-100x-error=XLON")
    found = known(world)
    t = row(found, "T")
    assert (t["n_aside"], t["n_bars"], f"{t['first']:%Y-%m-%d}") == (166, 9976, "1984-07-19")
    thin = row(found, "IPL.TO")
    assert (thin["n_bars"], thin["n_unchanged"], thin["longest_unchanged"]) == (1225, 182, 21)
    assert (thin["n_flat"], thin["n_zero_volume"], thin["n_gaps"]) == (189, 108, 28)
    assert (thin["n_held"], thin["n_not_due"], thin["n_refused"]) == (1200, 25, 8)
    assert thin["largest_move_ts"] == pd.Timestamp("2020-03-16", tz="UTC")
    coin = row(found, "FTT-USD")
    assert (coin["n_copies"], coin["n_bars"]) == (139, 593)
    assert coin["largest_move_ts"] == pd.Timestamp("2022-11-08", tz="UTC")
    dead = row(found, "FTT_USDT")
    assert (dead["n_bars"], dead["n_refused"], dead["longest_unchanged"]) == (244, 1271, 30)
    assert dead["coverage"] == pytest.approx(244 / (244 + 1271))
    one = row(found, "AACIW")
    assert one[["n_bars", "coverage", "n_judged_moves"]].tolist() == [1, 1, 0]
    off = row(found, "AET-L-1d-100x-error")
    assert (off["n_bars"], off["n_aside"]) == (0, 23)
    said = text_table(found)
    assert "hundredfold: 23 bars kept aside" in said
    assert "price_not_positive: 166 bars kept aside" in said
    pair = found.pairs.iloc[0]
    assert (pair["first"], pair["second"]) == ("FTT-USD", "FTT_USDT")
    assert pair["correlation"] == pytest.approx(0.97, abs=0.01)
    assert page(found)


def test_sixty_stocks_over_twenty_years_are_counted_as_pandas_counts_them(world):
    """Volatility, correlation and the plain rule, each computed again from the files."""
    paths = sorted((DAILY / "stock_panel").glob("*.csv.gz"))
    loaded(world, *paths)
    found = known(world)
    assert len(found.symbols) == 60
    total = found.symbols[["n_bars", "n_large_moves", "n_judged_moves", "n_aside"]].sum()
    assert total.tolist() == [295_186, 4_048, 291_865, 46]
    plain = found.symbols[["n_plain_spikes", "n_plain_judged"]].sum()
    assert plain.tolist() == [3_484, 294_886]
    tables = {path.name.split(".")[0]: pd.read_csv(path, index_col="Date") for path in paths}
    logs = pd.DataFrame({name: np.log(table["Close"]).diff() for name, table in tables.items()})
    for symbol in ("AMD", "IBM", "JPM"):
        own, volume = row(found, symbol), tables[symbol]["Volume"]
        assert own["volatility"] == pytest.approx(logs[symbol].std() * np.sqrt(252), rel=1e-6)
        mean = volume.shift().rolling(19, min_periods=5).mean()
        assert own["n_plain_spikes"] == (volume > 3 * mean).sum()
    pair = found.pairs.iloc[0]
    assert (pair["first"], pair["second"], pair["n_common"]) == ("BAC", "JPM", 5079)
    assert pair["correlation"] == pytest.approx(logs["BAC"].corr(logs["JPM"]), rel=1e-5)
    # The oil price war, the pandemic, the downgrade of the USA, an election.
    usual = found.moves["ts"].dt.strftime("%Y-%m-%d").value_counts()
    assert set(usual.index[:4]) == {"2020-03-09", "2020-03-12", "2011-08-08", "2016-11-09"}
    assert row(found, "KOSS")["n_zero_volume"] == 557
    assert days_of(found.moves, "KOSS") >= {"2021-01-27"}


def test_coins_of_eleven_names_fell_together(world):
    """2020-03-12 is a large move of each that was listed; a stablecoin's tenth of a cent is."""
    loaded(world, *(DAILY / "crypto_history_format").glob("*.csv.gz"))
    found = known(world)
    fallen = found.moves[found.moves["ts"] == pd.Timestamp("2020-03-12", tz="UTC")]
    assert len(fallen) >= 8
    assert (fallen["return"] < 0).mean() > 0.8
    stable = row(found, "USDT-USD")
    assert stable["volatility"] < 0.1 < row(found, "BTC-USD")["volatility"]
    assert found.symbols["symbol"][0] == "USDT-USD"
    assert f"{stable['largest_move_ts']:%Y-%m-%d}" == "2023-03-11"
    assert (found.symbols["coverage"] == 1).all()
    assert (found.symbols["bars_per_year"] == 365).all()
    many = loaded(world, *(DAILY / "multiheader_format").glob("SOL-USD.csv.gz"))
    assert row(known(many), "SOL-USD")["last"] == pd.Timestamp("2025-12-13", tz="UTC")


def test_minutes_of_shares_show_earnings_and_the_central_bank(world):
    """A gap over night of a fifth; the minute of the decision, at two in New York."""
    loaded(world, *(DATA / "polygon/minute_bars").glob("*.csv.gz"), interval="1m")
    found = known(world)
    bars = found.symbols.set_index("symbol")["n_bars"]
    assert bars.to_dict() == {
        **dict.fromkeys(("AAPL", "GOOGL", "MSFT", "TSLA"), 8190),
        "PLTR": 3510,
        "SPY": 24570,
    }
    assert (found.symbols["coverage"] == 1).all()
    gap = row(found, "PLTR")
    assert gap["largest_move_ts"] == pd.Timestamp("2026-08-04 13:30", tz="UTC")
    assert gap["largest_move"] == pytest.approx(0.179, abs=0.001)
    spy = row(found, "SPY")
    assert spy["largest_move_ts"] == pd.Timestamp("2024-03-20 18:00", tz="UTC")
    decided = pd.Timestamp("2024-05-01 18:00", tz="UTC")
    own = known(world, symbols=["SPY"]).moves
    assert decided in set(own["ts"])
    # Of the minutes that stand out few are of the opening, where every minute is restless.
    local = own["ts"].dt.tz_convert("America/New_York")
    assert ((local.dt.hour == 9) & (local.dt.minute < 40)).mean() < 0.2
    # A year's volatility of the minutes is about that of the days.
    table = pd.read_csv(next((DATA / "polygon/minute_bars").glob("SPY__*")))
    at = pd.to_datetime(table["datetime"], utc=True).dt.tz_convert("America/New_York")
    closes = table["close"][at.dt.hour < 16].groupby(at.dt.date).last()
    of_days = np.log(closes).diff().std() * np.sqrt(252)
    assert spy["volatility"] == pytest.approx(of_days, rel=0.25)


def test_minutes_of_coins_show_the_outage_of_their_exchange(world):
    """2021-04-25: one gap of 284 minutes, or 283, and no large move made of it."""
    folder = DATA / "binance_klines/spot_1m_arrays_2021-04-20_2021-05-20"
    world.files.mkdir()
    for path in folder.glob("*.json.gz"):
        names = ["Date", "Open", "High", "Low", "Close", "Volume"]
        rows = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())), columns=names)
        rows["Date"] = pd.to_datetime(rows["Date"], unit="ms", utc=True)
        rows.to_csv(world.files / f"{path.name.split('.')[0]}.csv", index=False)
    loaded(world, interval="1m")
    found = known(world)
    gaps = found.symbols.set_index("symbol")["longest_gap_bars"].to_dict()
    assert gaps == {
        **dict.fromkeys(("BTCUSDT", "DOGEUSDT", "ETHUSDT", "LINKUSDT"), 284),
        **dict.fromkeys(("LTCUSDT", "XRPUSDT"), 283),
    }
    assert (found.symbols["n_gaps"] == 1).all()
    assert found.symbols["coverage"].round(4).tolist() == [0.9934] * 6
    assert pd.Timestamp("2021-04-25 08:45", tz="UTC") not in set(found.moves["ts"])
    assert found.moves["symbol"].iloc[0] == "DOGEUSDT"
    pair = found.pairs.iloc[0]
    assert (pair["first"], pair["second"]) == ("BTCUSDT", "ETHUSDT")
    assert pair["correlation"] == pytest.approx(0.84, abs=0.01)
