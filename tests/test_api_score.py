"""``POST /v1/score``: what it says is what the daily run says, whatever is sent."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.entrypoints.api.bodies import ARROW, PARQUET
from components.tables import ACTIONS, CANDLES
from components.wiring import open_warehouse
from tests.api_server import candles, full_histories, made_world, put, serving
from tests.worlds import DAY, LAST, MORNING, SYMBOLS

# Six instruments of one exchange make a market; the coin has none.
NAMES = ("AAA", "BBB", "CCC", "EEE", "FFF", "GGG", "DDD-USD")

NUMBERS = (
    *("p", "rate", "votes", "voters", "vote_p", "level", "bars_lacking", "body", "return"),
    *("scale", "market_part", "residual_p"),
)
CHANNELS = ("return_z", "gap_z", "body_z", "residual_z", "range_z", "volume_z")


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgres_server):
    """Four instruments, too few for a market, on the morning before the last bar."""
    world = made_world(tmp_path_factory.mktemp("town"), postgres_server)
    world.full = full_histories()
    put(world, world.full, LAST - DAY)
    world.run(MORNING - DAY)
    return world


@pytest.fixture(scope="module")
def api(town):
    """The API over it."""
    with serving(town, "--open") as opened:
        yield opened


@pytest.fixture(scope="module")
def city(tmp_path_factory, postgres_server):
    """Seven instruments, six of them a market, all of their bars judged."""
    world = made_world(tmp_path_factory.mktemp("city"), postgres_server)
    world.full = full_histories(symbols=NAMES)
    put(world, world.full, LAST)
    world.run(MORNING)
    return world


@pytest.fixture(scope="module")
def city_api(city):
    """The API over it."""
    with serving(city, "--open") as opened:
        yield opened


def last_bars(files, n=1):
    """The newest bars of all instruments as JSON."""
    return [bar for symbol, frame in files.items() for bar in candles(symbol, frame.tail(n))]


def stored(world, table="verdicts"):
    """The newest version of what the runs found, by instrument and bar."""
    rows = world.query(f"select * from {table} order by known_at")
    return rows.drop_duplicates(["symbol", "ts"], keep="last").set_index(["symbol", "ts"])


def differing(said, rows, channels):
    """Where verdicts of the API are not the stored ones, number for number."""
    found = []
    for one in said:
        bar = (one["symbol"], pd.Timestamp(one["ts"]))
        row, own = rows.loc[bar], channels.reindex([bar]).iloc[0]
        pairs = [(n, one[n], row[n]) for n in (*NUMBERS, "verdict", "state", "judge")]
        pairs += (
            [(n, one["channels"][n.removesuffix("_z")], own[n]) for n in CHANNELS]
            if any(n.removesuffix("_z") in one["channels"] for n in CHANNELS)
            else [(n, one["channels"][n], own[n]) for n in CHANNELS]
        )
        found += [
            (bar, *pair)
            for pair in pairs
            if not (pair[1] == pair[2] or (pair[1] is None and pd.isna(pair[2])))
        ]
    return found


def table_of(bars):
    """JSON rows as an Arrow table."""
    frame = pd.DataFrame(bars)
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True)
    return pa.Table.from_pandas(frame, preserve_index=False)


def as_arrow(table):
    """A table as a stream of record batches."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def as_parquet(table):
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_one_candle_alone_is_judged_as_among_others(api, town):
    """The quick way of a next bar and the long way of many end at the same numbers."""
    bars = last_bars(town.full)
    together = api.post("/v1/score", json={"candles": bars}).json()["verdicts"]
    alone = [
        verdict
        for bar in bars
        for verdict in api.post("/v1/score", json={"candles": [bar]}).json()["verdicts"]
    ]
    assert [v["symbol"] for v in together] == sorted(SYMBOLS)
    strip = [{**v, "finding": None} for v in together]
    assert sorted(({**v, "finding": None} for v in alone), key=lambda v: v["symbol"]) == strip


def test_anomalies_have_reasons_and_others_only_when_asked(api, town):
    """Reasons cost time; of what is usual nobody asks for them."""
    body = {"candles": last_bars(town.full)}
    usual = {v["symbol"]: v for v in api.post("/v1/score", json=body).json()["verdicts"]}
    assert usual["AAA"]["verdict"] == "anomaly"
    assert usual["AAA"]["finding"]["reasons"][0].startswith("closed 30.0 % below the day before")
    assert usual["BBB"]["finding"] is None
    every = api.post("/v1/score?reasons=all", json=body).json()["verdicts"]
    assert all(v["finding"]["reasons"] for v in every)
    none = api.post("/v1/score?reasons=none", json=body).json()["verdicts"]
    assert all(v["finding"] is None for v in none)
    many = {"candles": last_bars(town.full, 26)}
    refused = api.post("/v1/score?reasons=all", json=many)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "reasons"


def test_a_split_behind_the_last_bar_is_no_fall(api, town):
    """What a provider said of a split counts for the candle that is sent, as in the run."""
    bar = candles("CCC", town.full["CCC"].tail(1))[0]
    for name in ("open", "high", "low", "close"):
        bar[name] /= 2
    before = api.post("/v1/score", json={"candles": [bar]}).json()["verdicts"][0]
    assert before["return"] < -0.4
    row = {"symbol": "CCC", "kind": "split", "ts": LAST, "value": 2.0, "source": "files"}
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.upsert(ACTIONS, pd.DataFrame([{**row, "known_at": MORNING}]))
        with serving(town, "--open") as anew:
            after = anew.post("/v1/score", json={"candles": [bar]}).json()["verdicts"][0]
        warehouse.execute("delete from actions where symbol = 'CCC'")
    assert abs(after["return"]) < 0.1


def test_a_past_that_is_corrected_counts_at_once(tmp_path, postgres_server):
    """A later version of a stored bar changes what follows it, while the server runs."""
    world = made_world(tmp_path, postgres_server)
    files = full_histories()
    put(world, files, LAST - DAY)
    world.run(MORNING - DAY)
    bar = candles("BBB", files["BBB"].tail(1))[0]
    with serving(world, "--open") as api, open_warehouse(world.read_settings()) as warehouse:

        def judged():
            return api.post("/v1/score", json={"candles": [bar]}).json()["verdicts"][0]["return"]

        judged()
        rows = warehouse.read(CANDLES, symbols=["BBB"], interval="1d", since=LAST - 9 * DAY)
        close = rows["close"].iloc[-1] * 0.98
        known_at = pd.Timestamp.now("UTC").floor("us").as_unit("us")
        warehouse.upsert(CANDLES, rows.tail(1).assign(close=close, known_at=known_at))
        _until(judged, lambda found: abs(found - (bar["close"] / close - 1)) < 1e-12)


def test_before_its_market_is_stored_a_bar_has_no_market_part(tmp_path, postgres_server):
    """What the run adds is the market's part; what a bar is by itself is the same."""
    world = made_world(tmp_path, postgres_server)
    files = full_histories(symbols=NAMES)
    put(world, files, LAST - DAY)
    world.run(MORNING - DAY)
    with serving(world, "--open") as api:
        said = api.post("/v1/score", json={"candles": last_bars(files)}).json()["verdicts"]
    put(world, files, LAST)
    world.run(MORNING)
    rows, channels = stored(world), stored(world, "channels")
    for one in said:
        bar = (one["symbol"], pd.Timestamp(one["ts"]))
        assert one["market_part"] is None
        assert rows.loc[bar, "market_part"] is not None
        alone = [n for n in CHANNELS if n != "residual_z"]
        said_alone = np.array([one["channels"][n] for n in alone], dtype=float)
        assert np.array_equal(said_alone, channels.loc[bar, alone].to_numpy(float), equal_nan=True)
        assert one["return"] == rows.loc[bar, "return"]


def test_what_is_judged_before_the_run_is_what_the_run_judges(api, town):
    """The same bars give the same verdict, to the last bit; behind the run they are judged."""
    body = {"candles": last_bars(town.full)}
    first = api.post("/v1/score", json=body)
    put(town, town.full, LAST)
    town.run(MORNING)
    rows, channels = stored(town), stored(town, "channels")
    assert differing(first.json()["verdicts"], rows, channels) == []

    def asked_again():
        return api.post("/v1/score", json=body)

    again = _until(asked_again, lambda reply: reply.json()["verdicts"] == [])
    assert {each["check"] for each in again.json()["aside"]} == {"judged_before"}
    assert again.json()["version"] != first.json()["version"]


def _until(ask, is_so):
    """Ask until the server has noticed; it looks twice a second."""
    import time

    for _ in range(100):
        reply = ask()
        if is_so(reply):
            return reply
        time.sleep(0.1)
    raise AssertionError(reply)


def test_a_whole_history_is_judged_as_the_run_judged_it(city, city_api):
    """Every bar of every instrument, its market's part too, to the last bit."""
    bars = last_bars(city.full, 400)
    reply = city_api.post("/v1/score?history=none&reasons=none", json={"candles": bars})
    said = reply.json()
    rows, channels = stored(city), stored(city, "channels")
    assert said["aside"] == []
    assert len(said["verdicts"]) == len(bars) == len(rows)
    assert rows["market_part"].notna().sum() > 1000
    assert differing(said["verdicts"], rows, channels) == []


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_bulk_bodies_say_the_same_as_json(city, city_api, kind):
    """Arrow and Parquet are other words for the same candles."""
    bars = last_bars(city.full, 300)
    table = table_of(bars)
    body = as_arrow(table) if kind == ARROW else as_parquet(table)
    path = "/v1/score?history=none&reasons=none"
    bulk = city_api.post(path, data=body, headers={"Content-Type": kind}).json()
    assert bulk == city_api.post(path, json={"candles": bars}).json()


def test_an_arrow_answer_holds_the_verdicts_and_what_was_put_aside(city, city_api):
    """Whoever sends thousands reads thousands."""
    bars = last_bars({"AAA": city.full["AAA"]}, 300)
    bars[7]["high"] = bars[7]["low"] / 2
    path = "/v1/score?history=none&reasons=none"
    plain = city_api.post(path, json={"candles": bars}).json()
    reply = city_api.post(path, json={"candles": bars}, headers={"Accept": ARROW})
    table = pa.ipc.open_stream(reply.content).read_pandas().set_index("ts")
    assert (table["verdict"] == "aside").sum() == len(plain["aside"]) == 1
    assert table.loc[pd.Timestamp(bars[7]["ts"], tz="UTC"), "check_name"] == "ohlc_order"
    judged = table[table["verdict"] != "aside"]
    assert np.array_equal(
        judged["p"].to_numpy(dtype=float),
        np.array([v["p"] for v in plain["verdicts"]], dtype=float),
        equal_nan=True,
    )


def test_doubtful_candles_are_put_aside_by_name(city, city_api):
    """No check is skipped because a candle came over HTTP; the others are judged."""
    bars = last_bars({"AAA": city.full["AAA"]}, 60)
    bars[10]["close"] = 0.0
    bars[11]["volume"] = -1.0
    bars[12] |= {"high": bars[12]["high"] * 100, "open": bars[12]["open"] * 100}
    future = {**bars[0], "ts": "2199-01-04"}
    odd_hour = {**bars[0], "ts": "2024-01-04T13:30:00Z"}
    path = "/v1/score?history=none"
    said = city_api.post(path, json={"candles": [*bars, future, odd_hour]}).json()
    aside = {(each["ts"][:10], each["check"]) for each in said["aside"]}
    assert {(bars[10]["ts"], "price_not_positive"), (bars[11]["ts"], "negative_volume")} <= aside
    assert {check for day, check in aside if day == "2199-01-04"} <= {"future", "unfinished_bar"}
    assert ("2024-01-04", "off_grid") in aside
    assert len(said["verdicts"]) + len(said["aside"]) == 62


def test_an_unknown_instrument_is_undecided_and_says_how_many_bars_it_lacks(city_api):
    """Too young is not normal."""
    bar = {"symbol": "NEW", "ts": "2024-03-12", "open": 10, "high": 11, "low": 9, "close": 10}
    (verdict,) = city_api.post("/v1/score", json={"candles": [{**bar, "volume": 5}]}).json()[
        "verdicts"
    ]
    assert (verdict["verdict"], verdict["state"]) == ("undecided", "warm-up")
    assert verdict["bars_lacking"] > 300


def test_the_same_question_is_answered_from_the_cache_with_the_same_tag(city_api, city):
    """The same bytes, found again; another question is another entry."""
    bar = {**last_bars(city.full)[0], "ts": "2024-03-13"}
    body = json.dumps({"candles": [bar]})
    headers = {"Content-Type": "application/json"}
    found = [city_api.post("/v1/score", data=body, headers=headers) for _ in range(2)]
    assert found[0].content == found[1].content
    assert found[0].headers["etag"] == found[1].headers["etag"]
    assert found[0].headers["cache-control"] == "private, no-cache"
    figures = city_api.get("/metrics").text
    assert 'tremor_api_cached_total{found="yes"}' in figures
    other = city_api.post(
        "/v1/score", data=body.replace("2024-03-13", "2024-03-14"), headers=headers
    )
    assert other.headers["etag"] != found[0].headers["etag"]
