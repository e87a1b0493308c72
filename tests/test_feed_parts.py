"""The parts of feeds: what messages say, which bars are missing, the bounded way, replays."""

import asyncio
import itertools
import json
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from components.errors import SourceUnavailable, SymbolNotFound
from components.feeds import COLUMNS, Candle, frame_of, open_feed
from components.feeds.binance import Binance
from components.feeds.gaps import DAY_US, Frontier, Span, Wanted, us_of
from components.feeds.outbox import Outbox, Told
from components.feeds.patience import Backoff
from components.feeds.polygon import Polygon
from components.feeds.refill import refill_of
from components.sessions import Calendars
from components.sources import open_source
from tests.binance_stand_in import BinanceStandIn, Status, minutes
from tests.venue_made import MINUTE, START, kline, minute_bar

NOW = START + 2 * MINUTE
BAR = Candle("AAAUSDT", us_of(START), 100.0, 102.0, 98.0, 101.0, 10.0, 100.5, 7.0)
SPOT = Binance(("AAAUSDT", "BBBUSDT"), "1m")
STOCKS = Polygon(("AAA",), SecretStr("sEcReT_kEy_0123456789abcdef"))


def heard(text, venue=SPOT):
    return venue.read(text, venue.lines()[0], NOW)


def changed(path, value):
    """A closed kline with one value changed."""
    content = json.loads(kline(BAR))
    part = content
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return json.dumps(content)


def test_a_closed_candle_is_read_to_the_last_digit():
    """Prices and volume as text, the mean price from the quote volume, the number of trades."""
    ((candle, text),) = heard(kline(BAR)).candles
    assert candle == BAR
    assert text == kline(BAR)


@pytest.mark.parametrize(
    "text",
    [
        kline(BAR, is_closed=False),
        kline(BAR, interval="5m"),
        kline(BAR._replace(symbol="CCCUSDT")),
        '{"result":null,"id":1}',
        '{"stream":"a@bookTicker","data":{"u":1,"s":"AAAUSDT","b":"1","B":"2","a":"3","A":"4"}}',
        '{"stream":"a@aggTrade","data":{"e":"aggTrade","s":"AAAUSDT","p":"1"}}',
    ],
)
def test_what_is_no_closed_candle_of_ours_is_passed_over(text):
    """Unfinished ones, other lengths, other instruments, other kinds: silently."""
    assert heard(text) == heard("{}")
    assert heard(text).candles == heard(text).refused == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", "[]", "7", '{"data":[]}', '{"error":{"code":2,"msg":"Invalid"}}',
        "[" * 100_000, '{"data":' + "1" * 5000 + "}",
        *[changed(("data", "k", name), bad) for name in "ohlcvq" for bad in (
            "nan", "inf", "-1", "1_0", "", " 1", "1e999", "0x1", None, [], True, {}, "1" * 400,
        )],
        *[changed(("data", "k", "t"), bad) for bad in (
            "1709294400000", 0, -1, 1.5, None, True, 1709294400001, 10**30,
            us_of(START + 10 * MINUTE) // 1000,
        )],
        changed(("data", "k", "T"), 1),
        changed(("data", "k", "x"), "true"),
        changed(("data", "k", "s"), None),
        changed(("data", "k", "n"), -1),
        changed(("data", "k"), None),
        changed(("data", "k", "z"), "x" * 5000),
        kline(BAR).replace('"10.00000000"', "NaN"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_refused_with_its_reason(text):
    """Nothing is guessed or repaired, and nothing raises; its first characters are kept."""
    (refused,) = heard(text).refused
    assert heard(text).candles == ()
    assert refused.reason.startswith("Binance: ")
    assert refused.text == text[:300]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*"eksixtTohlcvqn", "data", "ev", "sym", "status"]), inner
        )
    ),
    max_leaves=12,
)


@given(content=JSON)
def test_no_message_whatever_it_holds_raises(content):
    """One message does not crash a stream."""
    text = json.dumps(content)
    for venue in (SPOT, STOCKS):
        assert heard(text, venue).candles == ()


@given(name=st.sampled_from(["o", "h", "l", "c", "v", "vw", "s", "e", "sym"]), value=JSON)
def test_no_minute_of_massive_s_with_another_value_raises(name, value):
    """It is a candle with finite numbers, refused or passed over."""
    text = json.dumps([minute_bar(BAR._replace(symbol="AAA"), **{name: value})])
    said = heard(text, STOCKS)
    assert len(said.candles) + len(said.refused) <= 1
    for candle, _ in said.candles:
        assert np.isfinite(candle[2:8]).all()


def test_futures_are_asked_where_their_klines_are():
    """The plain address takes the subscription and sends none."""
    line = Binance(("AAAUSDT",), "5m", "um").lines()[0]
    assert line.url == "wss://fstream.binance.com/market/stream?streams=aaausdt@kline_5m"
    assert SPOT.lines()[0].url.startswith("wss://stream.binance.com:9443/stream?streams=aaausdt@")
    assert line.host == "fstream.binance.com"


STEP = 60_000_000


@given(
    events=st.lists(st.tuples(st.sampled_from(["bar", "cut"]), st.integers(0, 4)), max_size=40),
    is_gapless=st.booleans(),
)
def test_each_bar_is_heard_or_wanted(events, is_gapless):
    """Where every step has a bar, none is lost between them; cuts lose none anywhere."""
    frontier, now, got = Frontier({"A": 0}, STEP, is_gapless=is_gapless), 0, set()
    for kind, skipped in events:
        wanted = []
        if kind == "cut":
            now += skipped * STEP
            wanted = frontier.cut(["A"], now + STEP // 2)
        else:
            ts, now = now + skipped * STEP, now + (skipped + 1) * STEP
            wanted = [span for span in [frontier.heard("A", ts)] if span]
            got.add(ts)
        got |= {ts for span in wanted for ts in range(span.since, span.until, STEP)}
        if is_gapless:
            assert got == set(range(0, now, STEP))


@given(
    spans=st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(0, 4000), st.integers(1, 4000)), max_size=8
    )
)
def test_what_is_wanted_is_taken_in_days_and_never_lost(spans):
    """One span a symbol, whatever came; cut at days, oldest first."""
    wanted, asked = Wanted(STEP), {}
    for symbol, since, n_bars in spans:
        wanted.add(Span(symbol, since * STEP, (since + n_bars) * STEP))
    assert len(wanted) == len({symbol for symbol, *_ in spans})
    days = []
    while taken := wanted.take(0.0):
        for span, later in taken:
            assert span.since // DAY_US == (span.until - 1) // DAY_US
            days.append(span.since // DAY_US)
            asked.setdefault(span.symbol, set()).update(range(span.since, span.until, STEP))
            if later is not None:
                wanted.add(later)
    assert days == sorted(days)
    for symbol, since, n_bars in spans:
        assert asked[symbol] >= {ts * STEP for ts in range(since, since + n_bars)}


def test_the_way_between_the_threads_is_bounded_and_in_order():
    """Whoever does not take holds up the sockets; what is refilled goes ahead of what is held."""
    outbox, taken = Outbox(room=5), []

    async def fill():
        outbox.hold()
        for n in range(3):
            await outbox.put(Told(BAR._replace(ts=10 + n), ""))
        await outbox.put_first(frame_of([BAR._replace(ts=n) for n in range(4)]))
        outbox.release()
        for n in range(30):
            assert outbox._n_rows <= 7
            await outbox.put(Told(BAR._replace(ts=20 + n), ""))

    thread = threading.Thread(target=lambda: asyncio.run(fill()))
    thread.start()
    while thread.is_alive() or outbox._ready:
        items = outbox.take(0.05, 2)
        assert len(items) <= 2
        taken += items
    thread.join()
    assert isinstance(taken[0], pd.DataFrame)
    assert [each.candle.ts for each in taken[1:]] == [10, 11, 12, *range(20, 50)]


def test_what_was_heard_between_two_cuts_goes_between_their_refills():
    """A candle that is held goes before the bars that were missed after it, not before earlier."""
    outbox = Outbox()

    async def fill():
        outbox.hold()
        await outbox.put(Told(BAR._replace(ts=3), ""))
        await outbox.put(Told(BAR._replace(symbol="BBBUSDT", ts=1), ""))
        await outbox.put_first(frame_of([BAR._replace(ts=n) for n in (1, 2)]))
        await outbox.put_first(frame_of([BAR._replace(ts=n) for n in (4, 5)]))
        await outbox.put(Told(BAR._replace(ts=6), ""))
        assert outbox.release() == 2

    asyncio.run(fill())
    came = outbox.take(0.0, 100)
    shown = [
        len(i) if isinstance(i, pd.DataFrame) else (i.candle.symbol[0], i.candle.ts) for i in came
    ]
    assert shown == [2, ("A", 3), 2, ("B", 1), ("A", 6)]


def test_waits_double_up_to_the_longest():
    """A venue that is down is not hammered."""
    backoff = Backoff(1.0, 60.0)
    for tries in range(40):
        assert 0.5 * min(60, 2**tries) <= backoff.wait_s(tries) <= min(60, 2**tries)


def test_a_refill_gives_closed_bars_of_the_span_alone():
    """From the real source over HTTP; nothing that closed after ``until``."""
    frame = minutes("2024-03-01", 3000)
    since, until = frame["ts"][1200], frame["ts"][2900]
    with BinanceStandIn({"AAAUSDT": frame}) as server:
        source = open_source(
            "binance", binance_archive_url=server.url, binance_api_url=server.url, timeout_s=5.0
        )
        refill = refill_of(source, "1m")
        rows = refill(["AAAUSDT"], since, until)
        assert rows["ts"].tolist() == frame["ts"][1200:2900].tolist()
        assert rows["close"].tolist() == frame["close"][1200:2900].tolist()
        assert rows.dtypes.to_dict() == frame_of([BAR]).dtypes.to_dict()
        part = refill(["AAAUSDT"], since, since + 1.5 * MINUTE)
        assert part["ts"].tolist() == [since]
        assert refill(["AAAUSDT"], since, since).empty
        with pytest.raises(SymbolNotFound):
            refill(["NONEUSDT"], since, until)
        server.answer("klines", Status(503))
        with pytest.raises(SourceUnavailable):
            refill(["AAAUSDT"], until, until + MINUTE)


def stored(n_bars, symbols=("BBB", "AAA")):
    """Minutes of some instruments, the last symbol with holes, and a way to read them."""
    parts = [minutes("2024-03-01", n_bars).assign(symbol=s) for s in symbols]
    parts[-1] = parts[-1].drop(index=parts[-1].index[3::7])
    rows, asked = pd.concat(parts, ignore_index=True), []

    def read(since, until):
        asked.append((since, until))
        return rows[(rows["ts"] >= since) & (rows["ts"] < until)].sample(frac=1, random_state=0)

    return rows, read, asked


def replay(read, until, **others):
    return open_feed(
        "replay", read=read, since=pd.Timestamp("2024-03-01", tz="UTC"), until=until,
        interval="1m", calendars=Calendars(of_venue="24/7"), **others,
    )  # fmt: skip


@given(n_bars=st.integers(1, 4000))
def test_a_replay_gives_each_stored_bar_once_in_order_of_its_close(n_bars):
    """As fast as it goes: in chunks of whole minutes, read a day at a time."""
    rows, read, asked = stored(n_bars)
    feed = replay(read, rows["ts"].max() + MINUTE)
    arrived = list(feed.arrivals(threading.Event()))
    came = pd.concat([each.candles for each in arrived], ignore_index=True)
    expected = rows.sort_values(["ts", "symbol"], ignore_index=True)[COLUMNS]
    assert (came.pop("known_at") == came["ts"] + MINUTE).all()
    pd.testing.assert_frame_equal(came, expected, check_dtype=False)
    assert [each.number for each in arrived] == list(range(len(arrived)))
    edges = [(a.candles["ts"].max(), b.candles["ts"].min()) for a, b in itertools.pairwise(arrived)]
    assert all(before < after for before, after in edges)
    assert all(until - since <= pd.Timedelta(days=1) for since, until in asked)
    assert all(each.at == each.candles["ts"].max() + MINUTE for each in arrived)
    assert not feed.is_live


def test_a_replay_at_a_speed_gives_no_bar_before_its_close():
    """Six thousand times real time: minutes come one after the other as time passes."""
    rows, read, _ = stored(60)
    feed = replay(read, rows["ts"].max() + MINUTE, speed="6000")
    arrived = list(feed.arrivals(threading.Event()))
    assert sum(len(each.candles) for each in arrived) == len(rows)
    assert len(arrived) > 10
    for each in arrived:
        assert (each.candles["ts"] + MINUTE <= each.at).all()


def test_a_replay_in_real_time_stops_when_told():
    """The first bar at once, then empty arrivals while the next is waited for."""
    rows, read, _ = stored(60)
    stop, sizes = threading.Event(), []
    for each in replay(read, rows["ts"].max() + MINUTE, speed=1).arrivals(stop):
        sizes.append(len(each.candles))
        if len(sizes) == 3:
            stop.set()
    assert sizes == [2, 0, 0]


def test_a_replay_of_days_follows_the_exchange_s_closes():
    """A daily bar comes when its session closes: London's before New York's."""
    days = minutes("2024-03-04", 3, "1d")
    rows = pd.concat([days.assign(symbol="SPY"), days.assign(symbol="VOD.L")])
    feed = open_feed(
        "replay", read=lambda *_: rows, since=days["ts"][0], until=days["ts"][2] + 2 * MINUTE,
        interval="1d",
    )  # fmt: skip
    (arrived,) = feed.arrivals(threading.Event())
    assert arrived.candles["symbol"].tolist() == ["VOD.L", "SPY"] * 3
    assert arrived.at == pd.Timestamp("2024-03-06 21:00", tz="UTC")
