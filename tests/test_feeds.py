"""Live feeds: whatever a venue's socket does, its closed candles come, each once at least."""

import json
import logging
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import FeedRefused, SettingsError, UnknownName
from components.feeds import FEEDS, open_feed
from components.feeds.gaps import us_of
from components.feeds.patience import Patience
from components.logs import log
from components.sessions import Calendars
from tests.socket_stand_in import Close, Cut, Deafen, Hear, Say, SocketStandIn, Stall, Wait
from tests.venue_made import MINUTE, START, Collected, Venue, kline, minute_bar, unclosed

KEY = "sEcReT_kEy_0123456789abcdef"
DEPTH = '{"stream":"aaausdt@depth","data":{"e":"depthUpdate","b":[]}}'
GARBAGE = ["", "{", "[]", "null", '{"data": 7}', "\x00", '{"data":{"e":"kline"}}', "[" * 5000]


@pytest.fixture(autouse=True)
def _log_is_heard():
    log.setLevel(logging.INFO)
    yield
    log.setLevel(logging.NOTSET)


def binance(venue, server, **others):
    terms = others.pop("terms", None) or venue.terms()
    return open_feed(
        "binance",
        symbols=venue.symbols,
        interval="1m",
        refill=venue.refill,
        binance_stream_url=server.url,
        since=venue.start,
        terms=terms,
        **others,
    )


def polygon(venue, server, **others):
    from pydantic import SecretStr

    terms = others.pop("terms", None) or venue.terms()
    calendars = others.pop("calendars", Calendars(of_venue="24/7"))
    return open_feed(
        "polygon",
        symbols=venue.symbols,
        interval="1m",
        refill=venue.refill,
        polygon_api_key=SecretStr(KEY),
        polygon_stream_url=server.url,
        since=venue.start,
        terms=terms,
        calendars=calendars,
        **others,
    )


def minute(venue, chance, n_copies=1, *, told=True):
    """A minute passes: its candles are told unclosed and then closed, in any order."""

    def steps():
        made = venue.pass_minute() if told else venue.pass_minute() and []
        texts = [kline(unclosed(each), is_closed=False) for each in made]
        texts += [kline(each) for each in made for _ in range(n_copies)]
        chance.shuffle(texts)
        yield from map(Say, texts)

    return steps


def script_of(venue, events, chance):
    """Steps, made while they are taken, so that the clock goes on as they are said."""
    steps = {
        "minute": minute(venue, chance),
        "repeats": minute(venue, chance, 3),
        "unheard": minute(venue, chance, told=False),
        "garbage": lambda: [Say(chance.choice(GARBAGE))],
        "bytes": lambda: [Say(b"\xff\x00")],
        "huge": lambda: [Say("x" * (2**20 + 1))],
        "depth": lambda: [Say(DEPTH)],
        "close": lambda: [Close(chance.choice([1000, 1001, 1008, 1011, 4000]), "bye")],
        "shutdown": lambda: [Say('{"stream":"x","data":{"e":"serverShutdown","E":1}}')],
        "stall": lambda: [Stall()],
        "cut": lambda: [Cut()],
    }
    for event in events:
        yield from steps[event]()


def assert_law(venue, candles):
    """All closed candles, in order by symbol once repeats are dropped, and nothing else."""
    assert set(candles) == set(venue.closed.values())
    for symbol in venue.symbols:
        first_seen = dict.fromkeys(candle.ts for candle in candles if candle.symbol == symbol)
        assert list(first_seen) == sorted(first_seen)


EVENTS = [
    *["minute"] * 6, "repeats", "unheard", "garbage", "bytes", "huge", "depth", "close", "shutdown",
    "stall", "cut",
]  # fmt: skip


@settings(max_examples=25)
@given(
    events=st.lists(st.sampled_from(EVENTS), min_size=1, max_size=14),
    failures=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_whatever_the_socket_does_all_closed_candles_come_in_order(events, failures, seed):
    """Cuts, stalls, garbage, repeats, minutes unheard, a REST API that fails some times."""
    venue, chance = Venue(), random.Random(seed)
    venue.failures = failures
    with (
        SocketStandIn(script_of(venue, ["minute", *events, "minute"], chance)) as server,
        Collected(binance(venue, server)) as got,
    ):
        n_bars = 2 * (2 + sum(each in ("minute", "repeats", "unheard") for each in events))
        got.wait_for(lambda: len(set(got.candles)) >= n_bars)
    assert_law(venue, got.candles)
    assert [each.number for each in got.arrived] == list(range(len(got.arrived)))


def test_every_feed_is_tried_and_an_unknown_one_named():
    """A feed that no test opens would skip every promise; Kafka's are those of test_broker."""
    assert set(FEEDS) == {"binance", "kafka", "polygon", "replay"}
    with pytest.raises(UnknownName, match="feed"):
        open_feed("bitmex")


def test_what_closed_before_the_start_comes_first(caplog):
    """From ``since`` on, before anything from the socket; days one after the other."""
    venue = Venue(start=START - pd.Timedelta(days=2))
    for _ in range(2 * 1440):
        venue.pass_minute()
    with (
        SocketStandIn(script_of(venue, ["minute"] * 3, random.Random(1))) as server,
        Collected(binance(venue, server)) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == len(venue.closed) == 2 * (2 * 1440 + 3))
    assert_law(venue, got.candles)
    ts = [candle.ts for candle in got.candles]
    assert ts[: 2 * 2880] == sorted(ts[: 2 * 2880])
    spans = [until - since for _, since, until in venue.asked]
    assert max(spans) <= pd.Timedelta(days=1)
    assert "refilled" in caplog.text


def test_the_log_says_what_a_person_would_see(caplog):
    """Connected, closed with the reason, refilled, silent: each is a line."""
    venue = Venue()
    events = ["minute", "close", "unheard", "minute", "stall"]
    with (
        SocketStandIn(script_of(venue, events, random.Random(1))) as server,
        Collected(binance(venue, server)) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) >= 6 and "silence" in caplog.text)
    for words in ("connected to 127.0.0.1", "bye", "refilled", "silence: no message"):
        assert words in caplog.text
    assert "@kline" not in caplog.text


def test_a_connection_without_pongs_is_left():
    """A peer that is gone answers no ping, even where nothing else tells."""
    venue = Venue()
    patience = Patience(ping_s=0.1, pong_s=0.2, silence_s=60, late_s=60)

    def script():
        yield from minute(venue, random.Random(1))()
        yield Deafen(1.0)
        yield from minute(venue, random.Random(1))()

    with (
        SocketStandIn(script()) as server,
        Collected(binance(venue, server, terms=venue.terms(patience=patience))) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == 4)
        assert len(server.paths) >= 2


def test_chatter_without_a_closed_candle_is_silence(caplog):
    """Unfinished candles go on, but none closes: the connection is made anew and asked past."""
    venue = Venue()

    def script():
        yield from minute(venue, random.Random(1))()
        venue.pass_minute()
        while len(server.paths) < 2:
            yield Say(DEPTH)
            yield Wait(0.05)

    terms = venue.terms(patience=Patience(silence_s=60, late_s=-59.5))
    with (
        SocketStandIn(script()) as server,
        Collected(binance(venue, server, terms=terms)) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == 4 and "no closed candle" in caplog.text)


def test_a_dead_rest_api_does_not_stop_the_stream():
    """New candles wait ``hold_s`` and go on; what was missed is told, and comes when it can."""
    venue = Venue()
    venue.failures = 10**9
    for _ in range(3):
        venue.pass_minute()
    with (
        SocketStandIn(script_of(venue, ["minute"], random.Random(1))) as server,
        Collected(binance(venue, server, terms=venue.terms(hold_s=0.5))) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == 2)
        assert {c.ts for c in got.candles} == {us_of(START + 3 * MINUTE)}
        got.wait_for(lambda: any("could not be refilled" in each for each in got.reasons))
        venue.failures = 0
        got.wait_for(lambda: len(set(got.candles)) == 8)
    assert set(got.candles) == set(venue.closed.values())


def test_one_symbol_that_cannot_be_had_keeps_no_other_waiting():
    """Each symbol is asked for by itself."""
    venue = Venue()
    for _ in range(3):
        venue.pass_minute()

    def refill(symbols, since, until):
        if symbols == ["AAAUSDT"]:
            raise ValueError("not the shape that is known")
        return venue.refill(symbols, since, until)

    with SocketStandIn() as server:
        feed = open_feed(
            "binance", symbols=venue.symbols, interval="1m", refill=refill,
            binance_stream_url=server.url, since=START, terms=venue.terms(),
        )  # fmt: skip
        with Collected(feed) as got:
            got.wait_for(lambda: len(set(got.candles)) == 3)
    assert {candle.symbol for candle in got.candles} == {"BBBUSDT"}


def test_a_bar_that_rest_shows_late_is_asked_for_again():
    """The newest bar is often not there yet; until it is, what came later waits."""
    venue = Venue(("AAAUSDT",))
    for _ in range(3):
        venue.pass_minute()
    late = ("AAAUSDT", us_of(START + 2 * MINUTE))
    venue.unshown.add(late)

    def show():
        if len(venue.asked) >= 3:
            venue.unshown.clear()

    def refill(symbols, since, until):
        show()
        return venue.refill(symbols, since, until)

    with SocketStandIn(script_of(venue, ["minute"], random.Random(1))) as server:
        feed = open_feed(
            "binance", symbols=venue.symbols, interval="1m", refill=refill,
            binance_stream_url=server.url, since=START, terms=venue.terms(final_s=600.0),
        )  # fmt: skip
        with Collected(feed) as got:
            got.wait_for(lambda: len(set(got.candles)) == 4)
    assert_law(venue, got.candles)


def test_bars_that_the_venue_never_had_are_given_up():
    """An outage of the venue's: what its REST API has not after a minute does not exist."""
    venue = Venue(("AAAUSDT",))
    for _ in range(6):
        venue.pass_minute()
    for ts in [ts for _, ts in venue.closed if us_of(START) < ts < us_of(START + 4 * MINUTE)]:
        del venue.closed["AAAUSDT", ts]
    with (
        SocketStandIn(script_of(venue, ["minute"], random.Random(1))) as server,
        Collected(binance(venue, server)) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == 4)
        n_asked = len(venue.asked)
        got.wait_for(lambda: len(server.paths) >= 3)
    assert_law(venue, got.candles)
    assert all(since > START + 3 * MINUTE for _, since, _ in venue.asked[n_asked:])


def test_many_symbols_are_shared_among_connections():
    """Two hundred streams a connection; a message of another's line is passed over."""
    venue = Venue(tuple(f"C{n:03}USDT" for n in range(250)))
    with (
        SocketStandIn(script_of(venue, ["minute"] * 2, random.Random(1))) as server,
        Collected(binance(venue, server)) as got,
    ):
        got.wait_for(lambda: len(set(got.candles)) == len(venue.closed) == 500)
        assert sorted(path.count("@kline_1m") for path in server.paths[:2]) == [50, 200]
    assert_law(venue, got.candles)


def test_while_nothing_is_said_empty_arrivals_come_and_close_ends_them():
    """So that the loop can do its timed work, and leave when it is told to."""
    venue = Venue()
    with SocketStandIn() as server, Collected(binance(venue, server)) as got:
        got.wait_for(lambda: len(got.arrived) >= 3)
        got.feed.done(2)
        got.feed.close()
        got.wait_for(got.ended)
    assert got.candles == []
    assert got.failure is None


def test_nobody_at_home_is_no_end():
    """A venue that refuses connections is tried again; its REST API gives what it can."""
    venue = Venue()
    with SocketStandIn() as server:
        pass
    for _ in range(3):
        venue.pass_minute()
    with Collected(binance(venue, server)) as got:
        got.wait_for(lambda: len(set(got.candles)) == 6)


def login():
    return [
        Say('[{"ev":"status","status":"connected","message":"Connected Successfully"}]'),
        Hear(),
        Say('[{"ev":"status","status":"auth_success","message":"authenticated"}]'),
        Hear(),
        Say('[{"ev":"status","status":"success","message":"subscribed to: AM.AAA"}]'),
    ]


def told(candles, **others):
    return Say(json.dumps([minute_bar(each, **others) for each in candles]))


def test_massive_is_asked_with_the_key_and_its_minutes_come(caplog):
    """The login, the subscription, gaps refilled; the key in no line of any log."""
    caplog.set_level(logging.DEBUG)
    venue = Venue(("AAA", "BRK.B"))
    venue.pass_minute()

    def script():
        yield from login()
        yield told(venue.pass_minute())
        yield Cut()
        venue.pass_minute()
        yield from login()
        made = venue.pass_minute()
        yield told(made)
        yield told(made[:1], c=made[0].open)

    with (
        SocketStandIn(script()) as server,
        Collected(polygon(venue, server)) as got,
    ):
        got.wait_for(lambda: len({c[:6] for c in got.candles}) == 9)
        assert json.loads(server.heard[0]) == {"action": "auth", "params": KEY}
        assert json.loads(server.heard[1])["params"] == "AM.AAA,AM.BRK.B"
    corrected = got.candles[-1]
    assert corrected.close == corrected.open
    came = [c._replace(trades=5.0) for c in got.candles if c[:6] != corrected[:6]]
    assert_law(venue, came)
    assert KEY not in caplog.text
    assert KEY not in repr(got.feed.__dict__)


@pytest.mark.parametrize("status", ["auth_failed", "error", "max_connections"])
def test_massive_turning_us_away_is_told_in_one_line(status):
    """A wrong key is not tried for ever; a place that is taken, some times."""
    said = json.dumps(
        [{"ev": "status", "status": status, "message": f"You are not authorized {KEY}"}]
    )
    venue = Venue(("AAA",))
    with (
        SocketStandIn([Hear(), Say(said), *[Stall(), Hear(), Say(said)] * 9]) as server,
        Collected(polygon(venue, server)) as got,
    ):
        got.wait_for(got.ended)
        assert len(server.paths) == (6 if status == "max_connections" else 1)
    assert isinstance(got.failure, FeedRefused)
    assert "\n" not in str(got.failure)
    assert KEY not in str(got.failure) + str(got.reasons)


def test_the_key_goes_nowhere_else():
    """A redirect is not followed."""
    venue = Venue(("AAA",))
    with (
        SocketStandIn([Hear()] * 5) as other,
        SocketStandIn(redirect=other.url) as server,
        Collected(polygon(venue, server)) as got,
    ):
        got.wait_for(lambda: len(got.arrived) >= 3)
        assert other.paths == []


def test_a_closed_exchange_is_not_silent(caplog):
    """Nothing is expected of a Sunday: the connection stays."""
    venue = Venue(("AAA",), start=pd.Timestamp("2024-03-03 12:00", tz="UTC"))
    terms = venue.terms(patience=Patience(late_s=-59.7))
    with (
        SocketStandIn(login()) as server,
        Collected(polygon(venue, server, terms=terms, calendars=Calendars())) as got,
    ):
        got.wait_for(lambda: len(got.arrived) >= 4)
        assert len(server.paths) == 1
    assert "silence" not in caplog.text


def test_an_open_exchange_that_says_nothing_is_silent(caplog):
    """Of a Monday afternoon's minutes some should have come."""
    venue = Venue(("AAA",), start=pd.Timestamp("2024-03-04 17:00", tz="UTC"))
    terms = venue.terms(patience=Patience(late_s=-59.7))
    with (
        SocketStandIn([*login(), Stall(), *login()]) as server,
        Collected(polygon(venue, server, terms=terms, calendars=Calendars())) as got,
    ):
        venue.now += 5 * MINUTE
        got.wait_for(lambda: len(server.paths) >= 2 and "no closed candle" in caplog.text)


@pytest.mark.parametrize(
    ("name", "others", "words"),
    [
        ("binance", {"binance_stream_url": "https://host"}, "TREMOR_BINANCE_STREAM_URL"),
        ("binance", {"binance_stream_url": "wss://me:you@host"}, "TREMOR_BINANCE_STREAM_URL"),
        ("binance", {"interval": "7m"}, "TREMOR_INTERVAL"),
        ("polygon", {"interval": "5m"}, "TREMOR_INTERVAL=1m"),
        ("polygon", {}, "TREMOR_POLYGON_API_KEY"),
        ("replay", {"speed": "fast"}, "speed"),
        ("replay", {"speed": -1}, "speed"),
    ],
)
def test_a_wrong_setting_is_named(name, others, words):
    """Before anything is connected to."""
    given_ = {
        "symbols": ("AAAUSDT",), "interval": "1m", "refill": None, "read": None, "since": START,
        "until": START, **others,
    }  # fmt: skip
    with pytest.raises(SettingsError, match=words):
        open_feed(name, **given_)
