"""Recorded sessions of Binance's streams, played through a socket that cuts and stalls.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from components.feeds import open_feed
from components.feeds.gaps import us_of
from components.feeds.live import Terms
from components.feeds.patience import Backoff, Patience
from tests.socket_stand_in import Close, Cut, Do, Say, SocketStandIn, Stall
from tests.venue_made import Collected, Venue

DATA = Path(__file__).parents[2] / "shared" / "data" / "binance_ws"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

# What is done between recorded messages; each at another place of the session.
DISTURBANCES = [
    Say("{"), Cut(), Say("x" * (2**20 + 1)), Stall(), Say(b"\x00"), Close(1001, "away"),
    Say('{"data":{"e":"kline","k":{"x":true}}}'),
]  # fmt: skip
RECORDED = ["binance", "binance_futures"]


def messages_of(path):
    """Pairs of the time of arrival and the text."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [(line["received"], json.dumps(line["message"])) for line in lines]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    pairs = [line.partition(": ") for line in lines if line[:1].isdigit()]
    return [(float(at), text) for at, _, text in pairs]


def paths():
    return [DATA / f"{name}{end}" for name in RECORDED for end in (
        "_kline_1m_messages.jsonl", "_whole_recorded_session.txt.gz",
    )]  # fmt: skip


def closed_in(messages):
    """Symbol, open and close of the closed candles, by another reading than the feed's."""
    events = [json.loads(text).get("data", {}) for _, text in messages]
    klines = [event["k"] for event in events if event.get("e") == "kline"]
    return {(k["s"], k["t"] * 1000, float(k["c"])) for k in klines if k["x"]}


def symbols_in(messages):
    streams = [json.loads(text).get("stream", "") for _, text in messages]
    return tuple(sorted({stream.partition("@")[0].upper() for stream in streams if stream}))


def played(messages, disturbed_every):
    """The session as steps: the clock goes on with each message, trouble in between."""
    first = pd.Timestamp(messages[0][0], unit="s", tz="UTC").floor("min")
    venue = Venue(symbols_in(messages), start=first)

    def script():
        for n, (at, text) in enumerate(messages):
            venue.now = max(venue.now, pd.Timestamp(at, unit="s", tz="UTC").floor("us"))
            yield Say(text)
            if disturbed_every and n % disturbed_every == disturbed_every - 1:
                yield DISTURBANCES[n // disturbed_every % len(DISTURBANCES)]
        yield Do(lambda: None)
        venue.is_over = True

    venue.is_over = False
    return venue, script


@pytest.mark.parametrize("disturbed_every", [0, 7, 60], ids=["calm", "wild", "troubled"])
@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name.partition(".")[0])
def test_a_recorded_session_gives_its_closed_candles(path, disturbed_every):
    """Four of the futures, none of the spot session; the rest is passed over."""
    messages = messages_of(path)
    expected = closed_in(messages)
    assert len(expected) == (4 if "futures" in path.name else 0)
    venue, script = played(messages, disturbed_every)
    # What the socket lost is in the venue's REST API.
    for symbol, ts, close in expected:
        candle = next(c for c in candles_of(messages, venue) if (c.symbol, c.ts) == (symbol, ts))
        assert candle.close == close
        venue.closed[symbol, ts] = candle
    terms = Terms(
        clock=lambda: venue.now,
        patience=Patience(open_s=2.0, silence_s=0.2, late_s=60),
        backoff=Backoff(0.01, 0.02),
        settle_s=0.0,
        final_s=0.0,
        hold_s=5.0,
    )
    with SocketStandIn(script()) as server:
        feed = open_feed(
            "binance", symbols=venue.symbols, interval="1m", refill=venue.refill,
            binance_stream_url=server.url, since=venue.start, terms=terms,
        )  # fmt: skip
        with Collected(feed) as got:
            got.wait_for(lambda: venue.is_over and len(set(got.candles)) >= len(expected))
            n_arrived = len(got.arrived)
            got.wait_for(lambda: len(got.arrived) >= n_arrived + 2)
    assert {(c.symbol, c.ts, c.close) for c in got.candles} == expected
    for symbol in venue.symbols:
        ts = [c.ts for c in dict.fromkeys(got.candles) if c.symbol == symbol]
        assert ts == sorted(ts)
    if not disturbed_every:
        assert got.reasons == []
    elif len(messages) > disturbed_every:
        assert got.reasons


def candles_of(messages, venue):
    """The closed candles as the feed reads them."""
    from components.feeds.binance import Binance

    binance = Binance(venue.symbols, "1m")
    (line,) = binance.lines()
    late = pd.Timestamp("2022-01-01", tz="UTC")
    said = [binance.read(text, line, late) for _, text in messages]
    return [candle for each in said for candle, _ in each.candles]


def test_the_recorded_candles_are_of_one_minute():
    """2021-07-22 22:25 UTC, all four; their mean prices lie inside."""
    messages = messages_of(DATA / "binance_futures_kline_1m_messages.jsonl")
    candles = candles_of(messages, Venue(symbols_in(messages)))
    assert {c.symbol for c in candles} == {"AKROUSDT", "CTKUSDT", "KEEPUSDT", "SUSHIUSDT"}
    assert {c.ts for c in candles} == {us_of(pd.Timestamp("2021-07-22 22:25", tz="UTC"))}
    assert all(c.low <= c.vwap <= c.high and c.trades > 0 for c in candles)
