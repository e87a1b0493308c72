"""A live session, in a process of its own: history, refill, sockets, a cut, and an end."""

import signal
import time

import pandas as pd

from components.feeds import Candle
from components.tables import MARKET, VERDICTS
from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance
from tests.socket_stand_in import Cut, Say, SocketStandIn
from tests.streams_made import MINUTE, NAMES, batch, coins, same
from tests.terminal import begin, discreet, end, environment
from tests.venue_made import kline, unclosed

N_BARS = 900


def market(last):
    """Bars of six coins up to ``last``, by their names."""
    first = last - (N_BARS - 1) * MINUTE
    return {
        name: minutes(f"{first:%Y-%m-%d %H:%M}", N_BARS, seed=at, price=50)
        for at, name in enumerate(NAMES)
    }


def until(frames, last):
    return {name: rows[rows["ts"] <= last] for name, rows in frames.items()}


def told(frames, ts):
    """The bar of each coin as the sockets tell it: first while it is open, then closed."""
    for name, rows in frames.items():
        row = rows[rows["ts"] == ts].iloc[0]
        numbers = row[["open", "high", "low", "close", "volume", "vwap", "trades"]].astype(float)
        candle = Candle(name, int(ts.timestamp()) * 1_000_000, *numbers)
        yield Say(kline(unclosed(candle), is_closed=False))
        yield Say(kline(candle))


def wait_for(process, is_so):
    for _ in range(1200):
        if is_so() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert is_so(), process.poll()


def test_a_live_session_begins_behind_history_judges_survives_a_cut_and_ends_when_told(make_world):
    """All bars are there, from both sides of the cut, and judged as a batch judges them."""
    last = pd.Timestamp.now("UTC").floor("min") - 2 * MINUTE
    frames, world, other = market(last), make_world(), make_world()
    shown = last - 5 * MINUTE
    with BinanceStandIn(until(frames, shown)) as venue:
        script = [
            *told(frames, shown + MINUTE),
            *told(frames, shown + 2 * MINUTE),
            Say("{ not json"),
            Cut(),
            *told(frames, shown + 3 * MINUTE),
            Say(b"\xff\xfe"),
            *told(frames, shown + 4 * MINUTE),
            *told(frames, last),
        ]
        with SocketStandIn(script) as sockets:
            settings = {**coins(world).settings, "binance_stream_url": sockets.url}
            del settings["symbols"], settings["interval"]
            of_binance(world, venue, NAMES, **{**settings, "history_years": 0.0016})
            count = "select count(*) as n from verdicts where ts = %(last)s"
            process = begin(world, "stream")
            try:
                # The tables are there once it has begun.
                wait_for(process, lambda: len(sockets.paths) >= 2)
                wait_for(process, lambda: world.query(count, last=last)["n"].iloc[0] == 6)
                process.send_signal(signal.SIGTERM)
                seen = discreet(end(process), environment(world))
            finally:
                process.kill()
    assert seen.code == 0, seen
    assert "Traceback" not in seen.err
    assert "refused" in seen.err
    rows = world.query("select * from candles_intraday order by symbol, ts")
    held = rows.groupby("symbol")["ts"].agg(["min", "max", "count"])
    assert held.index.tolist() == list(NAMES)
    assert (held["max"] == last).all()
    assert (held["count"] == (held["max"] - held["min"]) / MINUTE + 1).all()
    own = rows[rows["ts"] > shown].set_index(["symbol", "ts"])
    for name, frame in frames.items():
        true = frame[frame["ts"] > shown].set_index("ts")["close"]
        assert own.loc[name, "close"].tolist() == true.tolist()
    verdicts = world.query("select * from verdicts")
    assert (verdicts["known_at"] >= verdicts["ts"] + MINUTE).all()
    batch(coins(other, alerts_per_week=60), rows, pd.Timestamp.now("UTC").ceil("s"))
    for table in (VERDICTS, MARKET):
        assert len(same(world, other, table)) >= N_BARS - 100
    live = world.query("select * from live order by symbol")
    assert live["symbol"].tolist() == list(NAMES)
    assert (live["ts"] == last).all()


def test_a_venue_whose_sockets_nobody_answers_is_waited_for(make_world):
    """Where nobody answers it judges what its REST API has, waits, and ends when told."""
    world = make_world()
    with BinanceStandIn(market(pd.Timestamp.now("UTC").floor("min"))) as venue:
        of_binance(world, venue, NAMES, binance_stream_url="ws://127.0.0.1:9", history_years=0.0016)
        process = begin(world, "stream")
        try:
            wait_for(process, lambda: _has_verdicts(world))
            process.send_signal(signal.SIGTERM)
            seen = end(process)
        finally:
            process.kill()
    assert seen.code == 0, seen
    assert "Traceback" not in seen.err


def _has_verdicts(world):
    has = world.query("select to_regclass('tremor.verdicts') is not null as has")["has"].iloc[0]
    return has and len(world.query("select 1 from verdicts limit 1")) > 0
