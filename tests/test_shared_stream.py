"""A real month of minutes, with an outage and two crashes, bar by bar as a stream has it.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from components.feeds.base import COLUMNS, Arrived
from components.incidents import GAP
from components.steps.telling import tell_at
from components.tables import CHANNELS, MARKET, VERDICTS
from tests.streams_made import MINUTE, at_work, batch, coins, known, latest, same
from tests.terminal import hurry, run_sql
from tests.worlds import World

DATA = Path(__file__).parents[2] / "shared" / "data"
MONTH = DATA / "binance_klines" / "spot_1m_arrays_2021-04-20_2021-05-20"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

# Binance stood still that day for hours, and on the other its clients sold in panic.
OUTAGE = pd.Timestamp("2021-04-25", tz="UTC")
CRASH = pd.Timestamp("2021-05-19 12:00", tz="UTC")
TOLD_BY = pd.Timestamp("2021-05-19 13:01", tz="UTC")
A_WEEK = 2

# Rows of one arrival, a length that divides no day.
PIECE = 17_777


def candles_of(path):
    """The array's six columns as a table; of a repeated minute the last counts."""
    rows = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())))
    rows = rows.iloc[:, :6].set_axis(["ts", "open", "high", "low", "close", "volume"], axis=1)
    ts = pd.to_datetime(rows.pop("ts").astype("int64"), unit="ms", utc=True).dt.as_unit("us")
    rows = rows.astype(float).assign(ts=ts, symbol=path.name.partition(".")[0])
    return rows.drop_duplicates("ts", keep="last").assign(vwap=np.nan, trades=np.nan)[COLUMNS]


@pytest.fixture(scope="module")
def month():
    """The candles of six coins, minute by minute."""
    return known(pd.concat([candles_of(path) for path in sorted(MONTH.glob("*.json.gz"))]))


@pytest.fixture(scope="module")
def worlds(month, postgres_server, tmp_path_factory):
    """The month as a batch judged it, and as it came to a stream that tells of the crash."""
    hurry(postgres_server)
    made = []
    for name in ("month_batch", "month_stream"):
        run_sql(postgres_server, f"create database {name}")
        url = postgres_server.replace("/postgres?", f"/{name}?")
        world = World(tmp_path_factory.mktemp(name), url)
        world.files.mkdir()
        watched = ",".join(sorted(month["symbol"].unique()))
        made.append(coins(world, symbols=watched, alerts_per_week=A_WEEK, history_years=0.1))
    batch(made[0], month)
    with at_work(made[1], month["ts"].min()) as stream:
        for number, first in enumerate(range(0, len(month), PIECE)):
            rows = month.iloc[first : first + PIECE]
            arrived = Arrived(rows, rows["known_at"].max(), number)
            said = stream.take(arrived, is_over=first + PIECE >= len(month))
            assert not len(said.late)
            for instant in said.news:
                if instant >= CRASH:
                    tell_at(stream.parts, instant, is_whole=False)
    return made


@pytest.mark.parametrize("table", [VERDICTS, MARKET, CHANNELS], ids=lambda table: table.name)
def test_a_real_month_bar_by_bar_is_the_month_at_once(table, worlds, month):
    """Every column but known_at, to the last bit, over the outage and both crashes."""
    rows = same(*worlds, table)
    assert len(rows) > 40_000
    if table is VERDICTS:
        assert len(rows) == len(month)
        own = rows.loc[rows["ts"].dt.floor("D") == OUTAGE, "ts"]
        assert own.sort_values().diff().max() > 3 * GAP


def test_the_crash_of_may_is_told_while_it_happens(worlds):
    """Bitcoin's, or the whole market's, within minutes; each thing once."""
    told = worlds[1].query(
        "select kind, symbols, ts, known_at from alerts where ts >= %(since)s order by known_at",
        since=CRASH,
    )
    names = told["symbols"].map(lambda symbols: "BTCUSDT" in symbols)
    of_crash = told[names | (told["kind"] == "market")]
    assert of_crash["known_at"].iloc[0] <= TOLD_BY
    assert (told["known_at"] - told["ts"] <= 3 * MINUTE).all()
    assert not told.duplicated(["kind", "ts"]).any()


def test_on_quiet_days_no_more_is_told_than_was_stated(worlds, month):
    """Of the calmer half of the days: two alerts an instrument and week, by Poisson's 99 %."""
    day = month["ts"].dt.floor("D")
    of_day = month.groupby(["symbol", day])
    spread = np.log(of_day["high"].max() / of_day["low"].min()).groupby("ts").mean()
    whole = spread[month.groupby(day).size() > 0.9 * 6 * 1440]
    # On the first day everybody warms up.
    quiet = whole.iloc[1:][lambda days: days <= whole.median()].index
    rows = latest(worlds[1], VERDICTS)
    odd = rows[rows["verdict"] == "anomaly"].sort_values(["symbol", "ts"])
    first = odd[~(odd.groupby("symbol")["ts"].diff() <= GAP)]
    n_told = int(first["ts"].dt.floor("D").isin(quiet).sum())
    stated = A_WEEK / 7 * 6 * len(quiet)
    assert len(quiet) >= 10
    assert n_told <= poisson.ppf(0.99, stated), (n_told, stated)
