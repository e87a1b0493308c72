"""The commands over bars of a minute: the same promises as over days, through the command line."""

import gzip
import json
import threading
import time
from dataclasses import replace

import boto3
import numpy as np
import pandas as pd
import pytest

from components.records import run_id
from components.steps import retention
from components.tables import CANDLES
from components.wiring import open_parts
from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance, processed, stored
from tests.polygon_stand_in import KEY, PolygonStandIn
from tests.terminal import hurry, run_sql, tremor

NAMES = ("AAAUSDT", "BBBUSDT")
MINUTE, DAY = pd.Timedelta(minutes=1), pd.Timedelta(days=1)

# A run looks back for four days, and the archive has another before them.
NOON = pd.Timestamp("2024-03-13 12:00", tz="UTC")
FIRST = NOON - 4 * DAY
FOUR_DAYS = 4 / 365.25
RUN = ("run", "--as-of", f"{NOON:%Y-%m-%dT%H:%M}")
N_BARS = int((NOON - FIRST) / MINUTE)


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def market():
    """Five days of two coins, one of which falls by a tenth in the last minute."""
    frames = {
        name: minutes(f"{FIRST - DAY:%Y-%m-%d %H:%M}", N_BARS + 1440, seed=k, price=50)
        for k, name in enumerate(NAMES)
    }
    last = frames[NAMES[0]].index[-1]
    fallen = 0.9 * frames[NAMES[0]].loc[last, ["low", "close"]].astype(float)
    frames[NAMES[0]].loc[last, ["low", "close"]] = fallen.round(2)
    return frames


@pytest.fixture(scope="module")
def archive():
    """The archive has the days before NOON's, REST has the rest."""
    with BinanceStandIn(market(), published_until=NOON.floor("D")) as server:
        yield server


@pytest.fixture
def coins(make_world, archive):
    """A world of two coins by the minute."""
    archive.asked = []
    return of_binance(make_world(), archive, NAMES, history_years=FOUR_DAYS)


def told(world):
    return json.loads(tremor(world, "alerts", "list", "--json").out)["alerts"]


def test_a_repeated_run_of_minutes_writes_and_tells_nothing(coins, archive):
    """The crash of the last minute is told once; no row, object or question is added."""
    first = tremor(coins, *RUN)
    assert first.code == 0, first
    assert [alert["kind"] for alert in told(coins)] == ["anomaly"]
    assert len(stored(coins)) == 2 * N_BARS
    before, n_asked = coins.everything(), len(archive.asked)
    again = tremor(coins, *RUN)
    assert again.code == 0, again
    assert coins.everything() == before
    assert len(archive.asked) == n_asked
    assert len(coins.messages()) == 1


def test_status_says_what_is_held_and_what_keeps_it(coins):
    """The minute of the last bar, the run by its name with the interval, and the engine."""
    assert tremor(coins, *RUN).code == 0
    tables = json.loads(tremor(coins, "status", "--json").out)
    (run,) = tables["runs"]
    assert run["id"] == "run-1m-20240313T120000Z"
    row = tables["freshness"][0]
    assert (row["symbol"], row["n_bars"]) == (NAMES[0], N_BARS)
    assert (row["first"], row["last"]) == ("2024-03-09 12:00", "2024-03-13 11:59")
    (kept,) = tables["warehouse"]
    assert "partitions by month" in kept["engine"] or "TimescaleDB" in kept["engine"]
    assert "minutes_since" not in kept
    text = tremor(coins, "status").out
    assert kept["engine"] in text
    assert "run-1m-20240313T120000Z" in text


def test_the_quality_of_minutes_is_shown(coins, archive):
    """All bars that should exist are held."""
    assert tremor(coins, *RUN).code == 0
    at = ("--as-of", f"{NOON:%Y-%m-%dT%H:%M}", "--since", f"{FIRST:%Y-%m-%dT%H:%M}")
    seen = tremor(coins, "status", "--quality", "--json", *at)
    assert seen.code == 0, seen
    found = json.loads(seen.out)
    assert [row["n_held"] for row in found["symbols"]] == [N_BARS, N_BARS]
    assert [row["n_missing"] for row in found["symbols"]] == [0, 0]


def test_the_interval_is_an_option_of_every_command(coins):
    """``--interval 1m`` is TREMOR_INTERVAL=1m."""
    span = ("--since", "2024-03-12", "--until", "2024-03-13", "--symbols", NAMES[1])
    seen = tremor(coins, "backfill", *span, "--interval", "1m", interval=None)
    assert seen.code == 0, seen
    assert len(stored(coins)) == 1440
    assert tremor(coins, *RUN, "--interval", "1m", interval=None).code == 0
    quality = ("--quality", "--interval", "1m", "--as-of", f"{NOON:%Y-%m-%dT%H:%M}")
    assert tremor(coins, "status", *quality, interval=None).code == 0
    replayed = tremor(coins, "replay", "--interval", "1m", interval=None)
    assert (replayed.code, "runs 1" in replayed.out) == (0, True)


def test_replay_restores_lost_minutes(coins):
    """Warehouse and Parquet come back from the raw layer, and nothing is told again."""
    assert tremor(coins, *RUN).code == 0
    assert tremor(coins, "backfill", "--since", "2024-03-08", "--until", "2024-03-11").code == 0
    rows, files = stored(coins), processed(coins)
    verdicts = coins.query("select * from verdicts order by symbol, ts, judge")
    alerts = told(coins)
    run_sql(coins.postgres_url, "drop schema tremor cascade")
    for path in (coins.folder / "var/lake/processed").rglob("*.parquet"):
        path.unlink()
    seen = tremor(coins, "replay")
    assert seen.code == 0, seen
    pd.testing.assert_frame_equal(stored(coins), rows)
    pd.testing.assert_frame_equal(processed(coins), files)
    again = coins.query("select * from verdicts order by symbol, ts, judge")
    pd.testing.assert_frame_equal(again, verdicts)
    assert told(coins) == alerts
    assert tremor(coins, *RUN).code == 0
    assert len(coins.messages()) == 1


# Days and minutes in one lake


def days(frame):
    """The days of a frame of minutes."""
    by = frame.set_index("ts").resample("D")
    table = by.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    return table.reset_index()


def test_days_and_minutes_at_one_instant_do_not_meet(make_world, archive):
    """Two runs have two names, two manifests and two records; each is replayed by itself."""
    world = of_binance(make_world(), archive, NAMES, history_years=FOUR_DAYS)
    with BinanceStandIn({n: days(f) for n, f in market().items()}, interval="1d") as daily:
        by_day = {"binance_archive_url": daily.url, "binance_api_url": daily.url}
        assert tremor(world, *RUN).code == 0
        assert tremor(world, *RUN, "--interval", "1d", **by_day).code == 0
    names = ["run-1m-20240313T120000Z", "run-20240313T120000Z"]
    assert sorted(world.query("select id from runs")["id"]) == names
    pages = sorted(path.parent.name for path in world.folder.rglob("manifest.json"))
    assert pages == names
    of_minutes, of_days = stored(world), world.query("select * from candles order by symbol, ts")
    n_alerts = len(told(world))
    run_sql(world.postgres_url, "drop schema tremor cascade")
    assert "runs 1" in tremor(world, "replay").out
    assert world.query("select id from runs")["id"].tolist() == names[:1]
    pd.testing.assert_frame_equal(stored(world), of_minutes)
    assert world.query("select * from candles").empty
    assert "runs 1" in tremor(world, "replay", "--interval", "1d").out
    assert sorted(world.query("select id from runs")["id"]) == names
    pd.testing.assert_frame_equal(world.query("select * from candles order by symbol, ts"), of_days)
    assert len(told(world)) == n_alerts


def test_only_days_have_the_short_name():
    """What was written before minutes came keeps its name."""
    assert run_id("run", "1d", NOON) == "run-20240313T120000Z"
    assert run_id("backfill", "5m", NOON) == "backfill-5m-20240313T120000Z"


# What the provider has not


def test_minutes_of_an_outage_are_not_asked_for_again(make_world):
    """A complete file without them says that the venue was down; a day without a file does not."""
    frame = minutes("2024-03-01", 10 * 1440)
    down = frame["ts"].between("2024-03-03 05:00", "2024-03-03 06:59")
    frame = frame[~down]
    until = pd.Timestamp("2024-03-11", tz="UTC")
    march = ("backfill", "--since", "2024-03-01", "--until", "2024-03-11")
    with BinanceStandIn({NAMES[0]: frame}, published_until=until) as server:
        server.remove("daily/klines/AAAUSDT/1m/AAAUSDT-1m-2024-03-05")
        world = of_binance(make_world(), server, NAMES[:1])
        assert tremor(world, *march).code == 0
        assert len(stored(world)) == len(frame) - 1440
        server.asked = []
        assert tremor(world, *march).code == 0
        assert any("AAAUSDT-1m-2024-03-05" in path for path in server.asked)
        server.gone.clear()
        assert tremor(world, *march).code == 0
        assert len(stored(world)) == len(frame)
        server.asked = []
        assert tremor(world, *march).code == 0
        assert server.asked == []


def test_what_a_file_lacks_stays_known_when_more_of_it_is_wanted(make_world):
    """The same file answers two spans: that it lacks bars of the first is not forgotten."""
    frame = minutes("2024-03-01", 31 * 1440)
    frame = frame.drop(index=range(3000, 3100))
    with BinanceStandIn({NAMES[0]: frame}) as server:
        world = of_binance(make_world(), server, NAMES[:1])
        for until in ("2024-03-10", "2024-04-01"):
            assert tremor(world, "backfill", "--since", "2024-03-01", "--until", until).code == 0
        assert len(stored(world)) == len(frame)
        server.asked = []
        span = ("--since", "2024-03-01", "--until", "2024-04-01")
        assert tremor(world, "backfill", *span).code == 0
        assert server.asked == []


def test_a_coin_that_died_a_month_ago_stays_dead(make_world):
    """Of the still minutes an hour is let in, in however many backfills they come."""
    frame = minutes("2024-02-20", 30 * 1440)
    died = 5 * 1440
    frame.loc[died:, ["open", "high", "low", "close"]] = frame.loc[died - 1, "close"]
    frame.loc[died:, "volume"] = 0.0
    with BinanceStandIn({NAMES[0]: frame}) as server:
        world = of_binance(make_world(), server, NAMES[:1])
        for span in (("2024-02-20", "2024-03-01"), ("2024-03-01", "2024-03-18")):
            assert tremor(world, "backfill", "--since", span[0], "--until", span[1]).code == 0
        assert len(stored(world)) == died + 60


# Old minutes leave


def test_old_minutes_leave_and_are_not_asked_for_again(make_world):
    """Their hours and days stay; neither a backfill nor a replay brings them back."""
    now = pd.Timestamp.now("UTC").floor("D") + pd.Timedelta(hours=1)
    first = (now - pd.Timedelta(days=70)).floor("D")
    frame = minutes(f"{first:%Y-%m-%d}", int((now - first) / MINUTE))
    with BinanceStandIn({NAMES[0]: frame}, published_until=now.floor("D")) as server:
        world = of_binance(make_world(), server, NAMES[:1], keep_minutes_days=5)
        world.settings["history_years"] = 75 / 365.25
        until = ("--until", f"{now:%Y-%m-%dT%H:%M}")
        later = first + 20 * DAY
        assert tremor(world, "backfill", "--since", f"{later:%Y-%m-%d}", *until).code == 0
        n_hours = len(world.query("select 1 from candles_hourly"))
        settings = world.read_settings()
        with open_parts(settings, now) as parts:
            past, oldest = now - 2 * DAY, later + DAY
            old = parts.warehouse.read(CANDLES, interval="1m", until=oldest)
            assert retention.retire(replace(parts, is_dry=True), now) == 0
            assert retention.retire(parts, past) == 0
            # This run is one of today, whatever time it is here.
            assert retention.retire(parts, now) >= 1
            since = parts.warehouse.minutes_since
            # A load of nothing but old bars stores none, and is no error.
            assert parts.warehouse.upsert(CANDLES, old) == 0 < len(old)
        assert stored(world)["ts"].min() == since >= later
        assert since <= now - 5 * DAY
        assert len(world.query("select 1 from candles_hourly")) == n_hours
        (kept,) = json.loads(tremor(world, "status", "--json").out)["warehouse"]
        assert kept["minutes_since"] == f"{since:%Y-%m-%d %H:%M}"
        server.asked = []
        assert tremor(world, "backfill", "--since", f"{first:%Y-%m-%d}", *until).code == 0
        assert server.asked == []
        rows = stored(world)
        assert tremor(world, "replay").code == 0
        pd.testing.assert_frame_equal(stored(world), rows)


# Polygon


def traded(date, n_bars=60, seed=0, price=100.0):
    """Some minutes of a session, in the API's keys; a minute without a trade has no bar."""
    random = np.random.default_rng([seed, *date.encode()])
    first = pd.Timestamp(f"{date} 09:30", tz="America/New_York")
    session = pd.date_range(first, periods=390, freq=MINUTE)
    ts = session[np.sort(random.choice(390, n_bars, replace=False))]
    close = np.round(price * np.exp(np.cumsum(random.normal(0, 1e-3, n_bars))), 2)
    table = pd.DataFrame(
        {
            "v": random.integers(100, 900, n_bars).astype(float),
            "vw": close,
            "o": close,
            "c": close,
            "h": close + 0.01,
            "l": close - 0.01,
            "t": ts.tz_convert("UTC").as_unit("ms").astype("int64"),
            "n": 7,
        }
    )
    return table.to_dict("records")


SESSIONS = ("2026-07-13", "2026-07-14", "2026-07-15")
MORNING = pd.Timestamp("2026-07-16 12:00", tz="UTC")
STOCKS = ("ACME", "BETA")
TRADED = {s: [bar for d in SESSIONS for bar in traded(d, seed=k)] for k, s in enumerate(STOCKS)}
N_TRADED = sum(len(rows) for rows in TRADED.values())


def of_polygon(world, **settings):
    """Let a world watch two stocks by the minute."""
    world.settings = {
        "source": "polygon",
        "files_root": None,
        "interval": "1m",
        "symbols": ",".join(STOCKS),
        "polygon_requests_per_minute": 60_000,
        "attempts": 2,
        "history_years": FOUR_DAYS,
        **settings,
    }
    return world


def exercised(world, n_asked):
    """Run twice, backfill, replay and look; ``n_asked`` counts the questions so far."""
    run = ("run", "--as-of", f"{MORNING:%Y-%m-%dT%H:%M}")
    first = tremor(world, *run)
    assert first.code == 0, first
    assert len(stored(world)) == N_TRADED
    before, asked, mails = world.everything(), n_asked(), len(world.messages())
    assert tremor(world, *run).code == 0
    assert world.everything() == before
    assert n_asked() == asked
    assert len(world.messages()) == mails
    backfilled = tremor(world, "backfill", "--since", SESSIONS[0], "--until", "2026-07-16")
    assert backfilled.code == 0, backfilled
    assert len(stored(world)) == N_TRADED
    rows = stored(world)
    run_sql(world.postgres_url, "drop schema tremor cascade")
    assert tremor(world, "replay").code == 0
    pd.testing.assert_frame_equal(stored(world), rows)
    tables = json.loads(tremor(world, "status", "--json").out)
    assert [row["symbol"] for row in tables["freshness"]] == list(STOCKS)
    quality = tremor(world, "status", "--quality", "--as-of", f"{MORNING:%Y-%m-%dT%H:%M}")
    assert quality.code == 0, quality
    assert KEY not in json.dumps(before) + first.out + first.err + quality.out


def test_minutes_by_massives_rest(make_world):
    """Twice run, backfilled, replayed: every bar once, minutes without a trade not missed."""
    with PolygonStandIn(TRADED) as server:
        world = of_polygon(make_world(), polygon_api_key=KEY, polygon_url=server.url)
        exercised(world, lambda: len(server.requests))


def day_file(date):
    """A session's file of all stocks, as Massive writes it."""
    lines = ["ticker,volume,open,close,high,low,window_start,transactions"]
    for symbol, rows in TRADED.items():
        for bar in rows:
            ts = pd.Timestamp(bar["t"], unit="ms", tz="UTC").tz_convert("America/New_York")
            if f"{ts:%Y-%m-%d}" == date:
                values = [bar[name] for name in ("v", "o", "c", "h", "l")]
                shown = [symbol, *map(str, values), str(bar["t"] * 1_000_000), "7"]
                lines.append(",".join(shown))
    return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)


@pytest.fixture
def flat_files(s3_server):
    """A bucket as Massive's is called, with three sessions, on a real S3 server."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="flatfiles")
    names = [f"us_stocks_sip/minute_aggs_v1/{d[:4]}/{d[5:7]}/{d}.csv.gz" for d in SESSIONS]
    for name, date in zip(names, SESSIONS, strict=True):
        client.put_object(Bucket="flatfiles", Key=name, Body=day_file(date))
    yield s3_server
    for name in names:
        client.delete_object(Bucket="flatfiles", Key=name)
    client.delete_bucket(Bucket="flatfiles")


def test_minutes_by_massives_flat_files(make_world, flat_files):
    """The same by files, without the API."""
    access = {"polygon_flat_key": "AKflat01", "polygon_flat_secret": "flat/secret+01"}
    exercised(of_polygon(make_world(), polygon_flat_url=flat_files, **access), lambda: 0)


@pytest.mark.parametrize("name", ["BTCEUR", "TUSDT"])
def test_whatever_a_coin_is_called_its_venue_never_closes(make_world, name):
    """Every minute over New Year is there, and regular: it is no stock of New York."""
    until = pd.Timestamp("2025-01-02 12:00", tz="UTC")
    frame = minutes("2024-12-30 12:00", 4320, price=50)
    with BinanceStandIn({name: frame}, published_until=until.floor("D")) as server:
        world = of_binance(make_world(), server, [name], history_years=3 / 365.25)
        assert tremor(world, "run", "--as-of", f"{until:%Y-%m-%dT%H:%M}").code == 0
        (row,) = world.query(
            "select count(*) as n, count(hours) as marked from candles_intraday"
        ).to_dict("records")
    assert row == {"n": 4320, "marked": 0}


def test_eight_files_are_under_way_at_once(make_world):
    """Of one coin too, and never more."""
    since, until = (pd.Timestamp(day, tz="UTC") for day in ("2023-01-01", "2024-01-01"))
    frame = minutes(f"{since:%Y-%m-%d}", 365 * 24, price=50)
    frame["ts"] = pd.date_range(since, until, freq="h", inclusive="left").as_unit("us")
    with BinanceStandIn({"AAAUSDT": frame}, interval="1h", published_until=until) as server:
        answer, lock, under_way, most = server.reply, threading.Lock(), [], [0]

        def reply(path):
            with lock:
                under_way.append(path)
                most[0] = max(most[0], len(under_way))
            time.sleep(0.2)
            with lock:
                under_way.remove(path)
            return answer(path)

        server.reply = reply
        world = of_binance(make_world(), server, ["AAAUSDT"], interval="1h")
        span = ("--since", f"{since:%Y-%m-%d}", "--until", f"{until:%Y-%m-%d}")
        assert tremor(world, "backfill", *span).code == 0
    assert most == [8]
    assert len(stored(world)) == len(frame)
