"""Massive's (Polygon's) bars by REST and by flat files: what is asked, kept, and made of it."""

import gzip
import io
import itertools
import json
import logging
import pickle
import tarfile
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import boto3
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from components.errors import (
    InvalidSymbol,
    RateLimited,
    SettingsError,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.records import CandleRequest, RawReply
from components.sources import open_source
from components.sources.budget import Budget
from components.sources.once import Once
from components.sources.polygon import Polygon
from components.sources.polygon_flat import FlatFiles, _blocks, scan
from components.sources.polygon_pages import TAR, packed
from components.sources.polygon_rest import Rest
from tests.polygon_stand_in import (
    DROPPED,
    KEY,
    NOT_FOUND,
    NOT_IN_PLAN,
    SERVER_ERROR,
    TOO_MANY,
    UNKNOWN_KEY,
    PolygonStandIn,
    Status,
    bars,
)

FLAT_KEY, FLAT_SECRET = "AKflatflatflat0001", "flat/secret+0123456789"
MINUTES = bars("2026-07-13 04:00", [10, 11, 12])
DAYS = bars("2026-07-13 00:00", [10, 11, 12], freq="D")


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def asking(symbol="ACME", interval="1m", since="2026-07-13", until="2026-07-18", as_of=None):
    return CandleRequest(symbol, interval, utc(since), utc(until), utc(as_of or until))


def opened(server, **others):
    others = {"polygon_requests_per_minute": 60_000, "timeout_s": 2.0} | others
    return open_source("polygon", polygon_api_key=SecretStr(KEY), polygon_url=server.url, **others)


def rows_of(source, request):
    return source.parse(source.fetch(request))


def members_of(reply):
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


# REST


def test_the_request_asks_for_prices_as_traded_in_order():
    """Unadjusted, ascending, full pages; and the key travels in a header alone."""
    with PolygonStandIn({"ACME": MINUTES}) as server:
        reply = opened(server).fetch(asking())
    [asked] = server.asked("/v2/aggs/")
    assert asked == {"adjusted": "false", "sort": "asc", "limit": "50000"}
    path = server.requests[0][0]
    first, last = utc("2026-07-13").value // 10**6, utc("2026-07-18").value // 10**6 - 1
    assert path == f"/v2/aggs/ticker/ACME/range/1/minute/{first}/{last}"
    assert reply.url == f"{server.url}{path}?adjusted=false&sort=asc&limit=50000"
    assert reply.status == 200
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_minutes_open_in_utc_with_all_that_the_provider_says():
    """Fractional volumes, trades, and an average price outside of the bar's range stay."""
    with PolygonStandIn({"ACME": MINUTES}) as server:
        candles = rows_of(opened(server), asking()).candles
    assert candles["ts"].tolist() == list(
        pd.date_range("2026-07-13 08:00", periods=3, freq="min", tz="UTC")
    )
    assert candles["close"].tolist() == [10, 11, 12]
    assert candles["volume"].tolist() == [1000.5] * 3
    assert candles["vwap"].tolist() == [10.25, 11.25, 12.25]
    assert (candles["vwap"] > candles["high"]).all()
    assert candles["trades"].tolist() == [7] * 3
    assert candles["line"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("first", ["2026-01-12", "2026-07-13"])
def test_a_day_has_its_sessions_date(first):
    """Midnight in New York, winter and summer, is the date at 00:00 UTC."""
    with PolygonStandIn({"ACME": bars(first, [10, 11, 12], freq="D")}) as server:
        candles = rows_of(
            opened(server), asking(interval="1d", since=first, until="2026-07-20")
        ).candles
    assert candles["ts"].tolist() == list(pd.date_range(first, periods=3, tz="UTC"))


@settings(max_examples=20)
@given(size=st.integers(1, 9), n_bars=st.integers(0, 20))
def test_pages_of_any_size_give_the_same_rows(size, n_bars):
    """Every page's bytes are kept, in order, and together they are the whole."""
    with PolygonStandIn(
        {"ACME": bars("2026-07-13 04:00", range(100, 100 + n_bars))}, page_size=size
    ) as server:
        reply = opened(server).fetch(asking())
        parsed = opened(server).parse(reply)
    assert parsed.candles["close"].tolist() == list(range(100, 100 + n_bars))
    pages = [name for name in members_of(reply) if name.startswith("aggs-")]
    assert len(pages) == max(1, -(-n_bars // size)) == int(reply.details["pages"])


SPLITS = [
    {"ticker": "ACME", "execution_date": "2026-07-14", "split_from": 1, "split_to": 4},
    {"ticker": "ACME", "execution_date": "2020-01-02", "split_from": 8, "split_to": 1},
    {"ticker": "OTHER", "execution_date": "2026-07-14", "split_from": 1, "split_to": 2},
]
DIVIDENDS = [
    {"ticker": "ACME", "ex_dividend_date": "2026-07-15", "cash_amount": 0.25},
    {"ticker": "ACME", "ex_dividend_date": "2026-07-15", "cash_amount": 1.5},
    {"ticker": "ACME", "ex_dividend_date": "2026-09-15", "cash_amount": 0.25},
]


@pytest.mark.parametrize("interval", ["1m", "1d"])
def test_splits_and_dividends_of_the_range_come_along(interval):
    """New shares per old, money a share; two dividends of a date are one; nothing from later."""
    world = {"ACME": DAYS if interval == "1d" else MINUTES}
    with PolygonStandIn(world, splits=SPLITS, dividends=DIVIDENDS) as server:
        parsed = rows_of(opened(server), asking(interval=interval))
    actions = list(parsed.actions.itertuples(index=False, name=None))
    assert actions == [
        (utc("2026-07-14"), "split", 4.0),
        (utc("2026-07-15"), "dividend", 1.75),
    ]
    assert parsed.candles["close"].tolist() == [10, 11, 12]


def test_actions_are_asked_for_once_a_symbol_and_day():
    """A backfill of many months does not treble its requests."""
    source_rows = bars("2026-05-04 04:00", [10] * 3) + bars("2026-06-03 04:00", [11] * 3) + MINUTES
    with PolygonStandIn({"ACME": source_rows}, splits=SPLITS) as server:
        source = opened(server)
        pieces = source.pieces(asking(since="2026-05-01", as_of="2026-08-01"))
        with ThreadPoolExecutor(4) as threads:
            replies = list(threads.map(source.fetch, pieces))
        parsed = [source.parse(reply) for reply in replies]
    assert [len(part.candles) for part in parsed] == [3, 3, 3]
    assert [len(part.actions) for part in parsed] == [0, 0, 1]
    assert len(server.asked("/v2/aggs/")) == 3
    assert len(server.asked("/v3/reference/splits")) == 1
    assert len(server.asked("/v3/reference/dividends")) == 1


def test_restated_prices_are_restored():
    """A gateway that overrides `adjusted=false` says so in the reply, and is believed."""
    with PolygonStandIn({"ACME": DAYS}, splits=SPLITS, adjusted=True) as server:
        candles = rows_of(opened(server), asking(interval="1d")).candles
    assert candles["close"].tolist() == [40, 11, 12]


def test_no_bars_in_the_range_is_an_answer_but_an_unknown_name_is_not():
    """Both come as an empty page: the instrument's details tell which."""
    with PolygonStandIn({"ACME": MINUTES}) as server:
        source = opened(server)
        empty = asking(since="2026-07-17", until="2026-07-18")
        assert rows_of(source, empty).candles.empty
        assert rows_of(source, empty).candles.empty
        assert len(server.asked("/v3/reference/tickers/ACME")) == 1
        with pytest.raises(SymbolNotFound, match=r"NOSUCH: .*knows no such") as caught:
            source.fetch(asking("NOSUCH"))
    assert caught.value.symbol == "NOSUCH"


@pytest.mark.parametrize("symbol", ["X:BTCUSD", "BTC-USD", "EURUSD=X", "^GSPC"])
def test_names_that_are_no_stocks_are_answered_without_asking(symbol):
    """The error says what is allowed."""
    server = PolygonStandIn({})
    with server, pytest.raises((SymbolNotFound, InvalidSymbol), match="named like AAPL or BRK"):
        opened(server).fetch(asking(symbol))
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (TOO_MANY, RateLimited, "HTTP 429.*TREMOR_POLYGON_REQUESTS_PER_MINUTE"),
        (SERVER_ERROR, SourceUnavailable, "HTTP 502"),
        (Status(503), SourceUnavailable, "HTTP 503"),
        (Status(302, headers={"Location": "http://127.0.0.1:9/"}), SourceUnavailable, "HTTP 302"),
        (Status(404, b"no such page"), SourceUnavailable, "HTTP 404"),
        (DROPPED, SourceUnavailable, "did not answer"),
        (Status(200, b'{"ticker":"ACME"}', sent=4), SourceUnavailable, "did not answer"),
        (Status(200, delay_s=3.0), SourceUnavailable, "did not answer"),
        (UNKNOWN_KEY, SourceError, "Check TREMOR_POLYGON_API_KEY"),
        (NOT_IN_PLAN, SourceError, "Check the plan"),
        (NOT_FOUND, SymbolNotFound, "Ticker not found"),
        (Status(400, b'{"status":"ERROR","error":"bad range"}'), SourceFormatError, "bad range"),
        (Status(200, b"<html>sign in</html>"), SourceFormatError, "no page of Massive's"),
        (Status(200, b'{"status":"OK","results":['), SourceFormatError, "no page of Massive's"),
        (Status(200, b"[]"), SourceFormatError, "no page of Massive's"),
        (Status(200, b'{"status":"ERROR","error":"odd"}'), SourceFormatError, "odd"),
    ],
)
def test_each_failure_has_its_kind_and_the_next_try_starts_afresh(answer, error, said):
    """What may be answered later is told from what the user has to mend."""
    times = 2 if answer is NOT_IN_PLAN else 1
    with PolygonStandIn({"ACME": MINUTES}, script={"/v2/aggs/": [answer] * times}) as server:
        source = opened(server, timeout_s=1.0)
        with pytest.raises(error, match=said) as caught:
            source.fetch(asking())
        assert str(caught.value).startswith("ACME: ")
        assert "\n" not in str(caught.value)
        worth_it = issubclass(error, SourceUnavailable)
        assert isinstance(caught.value, SourceUnavailable) == worth_it
        if answer.status != 429:
            assert len(rows_of(source, asking()).candles) == 3


def test_nobody_listening_is_unavailable():
    """A refused connection is worth another try."""
    source = open_source(
        "polygon", polygon_api_key=SecretStr(KEY), polygon_url="http://127.0.0.1:9"
    )
    with pytest.raises(SourceUnavailable, match="ACME"):
        source.fetch(asking())


def test_the_free_plan_has_no_today():
    """Where the plan refuses a range that reaches into today, the days before are taken."""
    script = {"/v2/aggs/": [NOT_IN_PLAN]}
    with PolygonStandIn({"ACME": DAYS}, script=script) as server:
        reply = opened(server).fetch(asking(interval="1d", until="2026-07-15 22:00"))
    paths = [path for path, _ in server.requests if "/v2/" in path]
    assert [path.rpartition("/")[2] for path in paths] == ["2026-07-15", "2026-07-14"]
    assert reply.status == 206
    assert reply.details["absent"].startswith("today")


def test_a_delayed_plan_says_that_the_newest_bars_come_later():
    """And of older ranges that all is there."""
    with PolygonStandIn({"ACME": MINUTES}, status="DELAYED") as server:
        source = opened(server)
        assert source.fetch(asking()).status == 206
        assert source.fetch(asking(as_of="2026-08-01")).status == 200


# The key


def test_a_gateway_that_serves_bars_alone_is_fine():
    """Where no details can be asked for, a range without bars is an answer."""
    script = {"/v3/reference/tickers/": [Status(404, b"no such page")]}
    with PolygonStandIn({}, script=script) as server:
        assert rows_of(opened(server), asking("QUIET")).candles.empty


def everything_said(caplog, source, replies, errors):
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    shown = [repr(reply.details) + reply.url for reply in replies]
    told = [f"{error} {error!r} {error.__dict__} {error.__cause__!r}" for error in errors]
    return "\n".join([logged, repr(source), str(source), *shown, *told])


@pytest.mark.parametrize("path", ["/v2/aggs/", "/v3/reference/splits"])
def test_the_key_is_never_seen(caplog, path):
    """Logs at their finest, addresses, errors, details, and the kept bytes: it is in none."""
    script = {
        path: [
            Status(status, json.dumps({"status": "ERROR", "error": f"key {KEY} {KEY}"}).encode())
            for status in (401, 403, 400, 500, 200)
        ]
    }
    errors, replies = [], []
    caplog.set_level(logging.DEBUG)
    with PolygonStandIn(
        {"ACME": MINUTES},
        page_size=1,
        next_url=lambda url: f"{url}&apiKey={KEY}",
        echoes=True,
        script=script,
    ) as server:
        source = opened(server)
        for _ in range(5):
            with pytest.raises(SourceError) as caught:
                source.fetch(asking(as_of="2026-08-01"))
            errors.append(caught.value)
        replies.append(source.fetch(asking()))
        assert len(source.parse(replies[0]).candles) == 3
    assert "127.0.0.1" in caplog.text
    assert KEY not in everything_said(caplog, source, replies, errors)
    assert KEY.encode() not in replies[0].body
    assert not any(KEY in str(request) for request in server.requests)


def test_a_disguised_key_is_struck_out_too():
    """JSON may write any letter as a number."""
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    bodies = [
        f'{{"status":"ERROR","error":"{hidden}"}}',
        f'{{"ticker":"ACME","status":"OK","note":"{hidden}"}}',
    ]
    script = {"/v2/aggs/": [Status(200, body.encode()) for body in bodies]}
    with PolygonStandIn({"ACME": MINUTES}, script=script) as server:
        source = opened(server)
        with pytest.raises(SourceFormatError) as caught:
            source.fetch(asking())
        reply = source.fetch(asking())
    assert KEY not in str(caught.value)
    [page] = [body for name, body in members_of(reply).items() if name.startswith("aggs-")]
    assert json.loads(page)["note"] == "********"


def test_the_key_goes_to_no_other_host():
    """A next page on a foreign host is refused, and that host hears nothing."""
    with (
        PolygonStandIn({}) as stranger,
        PolygonStandIn(
            {"ACME": MINUTES}, page_size=1, next_url=lambda url: stranger.url + "/v2/aggs/x"
        ) as server,
        pytest.raises(SourceFormatError, match="the key goes nowhere else"),
    ):
        opened(server).fetch(asking())
    assert stranger.requests == []


@pytest.mark.parametrize(
    "next_url",
    [
        lambda url: f"{url}&cursor={KEY}",
        lambda url: url.split("?")[0].replace("/v2/aggs/", "/v1/other/"),
        lambda url: url.replace("/v2/aggs/", "/v2/aggs/../../"),
        lambda url: "http://[broken/v2/aggs/",
        lambda url: "//" + url.partition("//")[2].replace("127", "user:pw@127"),
    ],
)
def test_a_hostile_next_page_harms_nothing(next_url):
    """A page that never ends, another question, a broken address: refused or the same rows."""
    server = PolygonStandIn({"ACME": MINUTES}, page_size=2, next_url=next_url)
    with server, suppress(SourceFormatError):
        assert len(rows_of(opened(server), asking()).candles) == 3
    assert not any(KEY in str(request) for request in server.requests)


def test_pages_that_go_round_are_left():
    """The same next page twice is an error, not a loop."""
    server = PolygonStandIn(
        {"ACME": MINUTES}, page_size=1, next_url=lambda url: url.split("cursor=")[0] + "cursor=0"
    )
    with server, pytest.raises(SourceFormatError, match="never end"):
        opened(server).fetch(asking())
    assert len(server.requests) == 2


def test_a_gateways_pages_are_asked_of_the_gateway():
    """The provider's own host in `next_url` stands for the address of the settings."""

    def next_url(url):
        return "https://api.polygon.io" + url[url.index("/v2/") :]

    with PolygonStandIn({"ACME": MINUTES}, page_size=1, next_url=next_url) as server:
        assert len(rows_of(opened(server), asking()).candles) == 3


@pytest.mark.parametrize(
    ("given_keys", "name"),
    [
        ({}, "TREMOR_POLYGON_API_KEY"),
        ({"polygon_api_key": "two words"}, "TREMOR_POLYGON_API_KEY"),
        ({"polygon_api_key": "line\nbreak"}, "TREMOR_POLYGON_API_KEY"),
        ({"polygon_flat_key": "k"}, "TREMOR_POLYGON_FLAT_SECRET"),
        ({"polygon_flat_secret": "s"}, "TREMOR_POLYGON_FLAT_KEY"),
    ],
)
def test_keys_that_are_absent_or_broken_are_named(given_keys, name):
    """The name of the setting, never its value."""
    with pytest.raises(SettingsError, match=name) as caught:
        open_source("polygon", **{key: SecretStr(value) for key, value in given_keys.items()})
    assert not any(value in str(caught.value) for value in given_keys.values() if len(value) > 1)


@pytest.mark.parametrize("url", ["ftp://host", "host", "https://user:pw@host"])
@pytest.mark.parametrize("name", ["polygon_url", "polygon_flat_url"])
def test_an_address_that_is_none_is_named(name, url):
    """And one with a password in it is refused, for addresses are printed."""
    with pytest.raises(SettingsError, match=f"TREMOR_{name.upper()}") as caught:
        open_source("polygon", polygon_api_key=SecretStr(KEY), **{name: url})
    assert "pw" not in str(caught.value)


# The budget


class Clock:
    """A clock of the test's own, on which a sleep takes no time."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        """Tell the time."""
        return self.now

    def sleep(self, seconds):
        """Let it pass."""
        self.slept.append(seconds)
        self.now += seconds


@given(
    per_minute=st.floats(0.5, 50),
    waits=st.lists(st.tuples(st.floats(0, 40), st.floats(0, 9)), min_size=1, max_size=80),
)
def test_no_window_has_more_requests_than_the_plan(per_minute, waits):
    """Whatever the pauses between them, and wherever in its duration a request is counted."""
    clock = Clock()
    budget = Budget(per_minute, clock=clock, sleep=clock.sleep)
    begun, ended = [], []
    for pause, duration in waits:
        clock.now += pause
        with budget:
            begun.append(clock.now)
            clock.now += duration
        ended.append(clock.now)
    burst = max(1, int(per_minute))
    for first, last in zip(ended, begun[burst:], strict=False):
        assert last - first >= 60.0 * burst / per_minute - 1e-6


def test_a_burst_within_the_plan_waits_for_nothing():
    """Five requests at once, the sixth after a minute."""
    clock = Clock()
    budget = Budget(5, clock=clock, sleep=clock.sleep)
    for _ in range(6):
        with budget:
            pass
    assert clock.slept == [60.0]


def test_threads_share_the_budget():
    """A server that answers 429 to a sixth request in a window never has to."""
    window_s = 0.4
    with PolygonStandIn({"ACME": MINUTES}, per_window=5, window_s=window_s) as server:
        source = Polygon(Rest(SecretStr(KEY), server.url, budget=Budget(5, window_s)))
        pieces = source.pieces(asking(since="2025-06-01", until="2026-07-14", as_of="2026-08-01"))
        with ThreadPoolExecutor(4) as threads:
            replies = list(threads.map(source.fetch, pieces))
    assert len(replies) == 14
    assert set(server.statuses) == {200}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({}, 60.0),
        ({"Retry-After": "9999"}, 300.0),
        ({"Retry-After": "soon"}, 60.0),
    ],
)
def test_patience_is_kept_before_the_next_try(headers, seconds):
    """`Retry-After` is honoured up to five minutes; without it a whole window passes."""
    clock = Clock()
    answer = Status(429, TOO_MANY.body, headers)
    with PolygonStandIn({"ACME": MINUTES}, script={"/v2/aggs/": [answer]}) as server:
        budget = Budget(5, clock=clock, sleep=clock.sleep)
        source = Polygon(Rest(SecretStr(KEY), server.url, budget=budget))
        with pytest.raises(RateLimited):
            source.fetch(asking())
        source.fetch(asking())
    assert clock.slept[0] == pytest.approx(seconds)


# Pieces


@given(
    since=st.integers(0, 60 * 24 * 900).map(lambda n: utc("2024-01-01") + pd.Timedelta(minutes=n)),
    minutes=st.integers(1, 60 * 24 * 200),
    interval=st.sampled_from(["1m", "5m", "1h", "1d"]),
    flat=st.booleans(),
)
def test_pieces_cover_the_request_once_and_in_order(since, minutes, interval, flat):
    """No bar is in two pieces; of minutes no session of New York, late hours included, is cut."""
    until = since + pd.Timedelta(minutes=minutes)
    request = CandleRequest("ACME", interval, since, until, until)
    source = open_source("polygon", polygon_api_key=SecretStr(KEY), **(FLAT if flat else {}))
    pieces = source.pieces(request)
    assert pieces == source.pieces(request)
    assert all(piece.since < piece.until and piece.as_of == until for piece in pieces)
    assert all(one.until <= other.since for one, other in itertools.pairwise(pieces))
    if not (flat and interval == "1m"):
        assert (pieces[0].since, pieces[-1].until) == (since, until)
        assert all(one.until == other.since for one, other in itertools.pairwise(pieces))
    elif pieces:
        assert since <= pieces[0].since
        assert pieces[-1].until <= until
    for edge in [piece.since for piece in pieces[1:]]:
        assert edge.tz_convert("America/New_York").hour == 0


def test_a_month_of_minutes_is_a_piece_and_days_are_one():
    """So that one reply stays under the 50 000 bars of a page."""
    source = open_source("polygon", polygon_api_key=SecretStr(KEY))
    past = asking(since="2025-01-15", until="2026-01-15", as_of="2026-02-01")
    assert len(source.pieces(past)) == 13
    assert len(source.pieces(asking(interval="1d", since="2005-01-15"))) == 1


def test_today_is_a_piece_of_its_own():
    """What a plan gives later is of today alone: the days before are complete."""
    with PolygonStandIn({"ACME": MINUTES}, status="DELAYED") as server:
        source = opened(server)
        pieces = source.pieces(asking(since="2026-06-20", until="2026-07-15 22:00"))
        replies = [source.fetch(piece) for piece in pieces]
    assert [f"{piece.since:%m-%d %H:%M}" for piece in pieces] == [
        "06-20 00:00", "07-01 04:00", "07-15 04:00",
    ]  # fmt: skip
    assert [reply.status for reply in replies] == [200, 200, 206]


def test_files_are_asked_for_sessions_alone():
    """No weekend, no holiday: the week of Independence Day, observed on a Friday, has four."""
    source = open_source("polygon", polygon_api_key=SecretStr(KEY), **FLAT)
    pieces = source.pieces(asking(since="2026-06-27", until="2026-07-05"))
    assert [f"{piece.since:%m-%d %H:%M}" for piece in pieces] == [
        "06-29 04:00", "06-30 04:00", "07-01 04:00", "07-02 04:00",
    ]  # fmt: skip


def test_other_intervals_are_refused_in_words():
    """Weeks are nothing that the rest of the program knows."""
    source = open_source("polygon", polygon_api_key=SecretStr(KEY))
    with pytest.raises(SettingsError, match="5d"):
        source.pieces(asking(interval="5d"))


# Flat files

FLAT = {"polygon_flat_key": SecretStr(FLAT_KEY), "polygon_flat_secret": SecretStr(FLAT_SECRET)}
HEADER = b"ticker,volume,open,close,high,low,window_start,transactions"


def line(ticker, ts, close, volume="10.5"):
    stamp = pd.Timestamp(ts, tz="America/New_York").value
    return f"{ticker},{volume},{close},{close},{close + 1},{close - 1},{stamp},3".encode()


def day_file(date, tickers=("AAA", "ACME", "ACMEX", "OTHER"), n_bars=3):
    lines = [HEADER]
    for place, ticker in enumerate(tickers):
        lines += [
            line(ticker, f"{date} 04:{minute:02}", 100 * (place + 1) + minute)
            for minute in range(n_bars)
        ]
    return b"\n".join(lines) + b"\n"


@pytest.fixture
def bucket(s3_server):
    """An empty bucket as Massive's is called, on a real S3 server."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="flatfiles")
    client.address = s3_server
    yield client
    for entry in client.list_objects_v2(Bucket="flatfiles").get("Contents", []):
        client.delete_object(Bucket="flatfiles", Key=entry["Key"])
    client.delete_bucket(Bucket="flatfiles")


def put(bucket, date, content, kind="minute_aggs_v1"):
    key = f"us_stocks_sip/{kind}/{date[:4]}/{date[5:7]}/{date}.csv.gz"
    bucket.put_object(Bucket="flatfiles", Key=key, Body=gzip.compress(content, mtime=0))


def of_files(bucket, **others):
    return open_source("polygon", polygon_flat_url=bucket.address, **FLAT, **others)


def test_a_session_comes_from_its_file(bucket):
    """The header and the ticker's own lines as they came; no neighbour with a similar name."""
    content = day_file("2026-07-13")
    put(bucket, "2026-07-13", content)
    source = of_files(bucket, symbols=("ACME", "AAA"))
    [request] = source.pieces(asking(until="2026-07-14", as_of="2026-07-20"))
    reply = source.fetch(request)
    expected = [HEADER, *(each for each in content.split(b"\n") if each.startswith(b"ACME,"))]
    assert members_of(reply) == {"2026-07-13.csv": b"\n".join(expected) + b"\n"}
    key = "us_stocks_sip/minute_aggs_v1/2026/07/2026-07-13.csv.gz"
    assert reply.url == f"{bucket.address}/flatfiles/{key}"
    assert (reply.status, reply.details) == (200, {"kind": TAR, "from": "flat files"})
    candles = source.parse(pickle.loads(pickle.dumps(reply))).candles
    assert candles["ts"].tolist() == list(
        pd.date_range("2026-07-13 08:00", periods=3, freq="min", tz="UTC")
    )
    assert candles["close"].tolist() == [200, 201, 202]
    assert candles["volume"].tolist() == [10.5] * 3
    assert candles["trades"].tolist() == [3] * 3
    assert candles["vwap"].isna().all()


def test_a_day_passes_by_once_for_all_instruments(bucket, monkeypatch):
    """Threads that ask for the same day wait for the one that reads it."""
    put(bucket, "2026-07-13", day_file("2026-07-13"))
    source = of_files(bucket, symbols=("AAA", "ACME", "OTHER"))
    read = []
    real = FlatFiles._read
    monkeypatch.setattr(
        FlatFiles, "_read", lambda self, *given: (read.append(given), real(self, *given))[1]
    )
    requests = [
        asking(symbol, until="2026-07-14", as_of="2026-07-20")
        for symbol in ("AAA", "ACME", "OTHER") * 3
    ]
    pieces = [source.pieces(request)[0] for request in requests]
    with ThreadPoolExecutor(9) as threads:
        replies = list(threads.map(source.fetch, pieces))
    assert [source.parse(reply).candles["close"].iloc[0] for reply in replies] == [
        100,
        200,
        400,
    ] * 3
    assert len(read) == 1
    outside = source.pieces(asking("ACMEX", until="2026-07-14", as_of="2026-07-20"))[0]
    assert source.parse(source.fetch(outside)).candles["close"].iloc[0] == 300
    assert len(read) == 2


def test_what_is_kept_in_memory_is_bounded():
    """The oldest values leave; one that could not be made is made at the next asking."""
    made, store = [], Once(10, len)

    def make(name, n_bytes=4):
        def made_now():
            made.append(name)
            return bytes(n_bytes)

        return made_now

    for name in ("a", "b", "a", "c", "b", "a", "large", "large"):
        store.get(name, make(name, 99 if name == "large" else 4))
    assert made == ["a", "b", "c", "a", "large"]
    with pytest.raises(ZeroDivisionError):
        store.get("d", lambda: bytes(1 // 0))
    assert store.get("d", make("d")) == bytes(4)


def test_days_come_from_files_where_there_is_no_rest(bucket):
    """A month a piece, a file a session; the date is New York's."""
    for date, close in (("2026-07-13", 10), ("2026-07-14", 11)):
        put(bucket, date, HEADER + b"\n" + line("ACME", date, close) + b"\n", "day_aggs_v1")
    source = of_files(bucket)
    request = asking(interval="1d", until="2026-07-15", as_of="2026-07-20")
    candles = rows_of(source, request).candles
    assert candles["ts"].tolist() == [utc("2026-07-13"), utc("2026-07-14")]
    assert candles["close"].tolist() == [10, 11]


def test_a_file_that_is_not_there_is_told_or_filled_by_rest(bucket):
    """Status 206 names the session; with a key the REST API answers for it."""
    put(bucket, "2026-07-14", day_file("2026-07-14"))
    source = of_files(bucket)
    pieces = source.pieces(asking(until="2026-07-15", as_of="2026-07-20"))
    first, second = (source.fetch(piece) for piece in pieces)
    assert (first.status, first.details["absent"]) == (206, "2026-07-13")
    assert source.parse(first).candles.empty
    assert second.status == 200
    with PolygonStandIn({"ACME": MINUTES}, splits=SPLITS) as server:
        both = opened(server, polygon_flat_url=bucket.address, **FLAT)
        first, second = (both.fetch(piece) for piece in pieces)
    assert (first.status, first.details["from"]) == (200, "REST")
    assert both.parse(first).candles["close"].tolist() == [10, 11, 12]
    assert second.details["from"] == "flat files"
    assert both.parse(second).actions["value"].tolist() == [4.0]
    assert len(server.asked("/v2/aggs/")) == 1
    assert len(server.asked("/v3/reference/splits")) == 1


def test_a_session_that_is_not_over_is_not_looked_for(bucket):
    """Its file comes the day after; the REST API has it now."""
    put(bucket, "2026-07-13", day_file("2026-07-13"))
    with PolygonStandIn({"ACME": MINUTES}) as server:
        source = opened(server, polygon_flat_url=bucket.address, **FLAT)
        [piece] = source.pieces(asking(until="2026-07-13 20:30"))
        assert source.fetch(piece).details["from"] == "REST"
    [piece] = of_files(bucket).pieces(asking(until="2026-07-13 20:30"))
    assert of_files(bucket).fetch(piece).status == 206


def test_an_unknown_instrument_is_told_from_one_without_trades(bucket):
    """Where REST can be asked; a session without any trade is an empty reply."""
    put(bucket, "2026-07-13", day_file("2026-07-13"))
    with PolygonStandIn({"QUIET": []}) as server:
        source = opened(server, polygon_flat_url=bucket.address, **FLAT)
        [piece] = source.pieces(asking("QUIET", until="2026-07-14", as_of="2026-07-20"))
        assert rows_of(source, piece).candles.empty
        [piece] = source.pieces(asking("NOSUCH", until="2026-07-14", as_of="2026-07-20"))
        with pytest.raises(SymbolNotFound):
            source.fetch(piece)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(gzip.compress(day_file("2026-07-13"))[:-9], "damaged", id="cut short"),
        pytest.param(gzip.compress(day_file("2026-07-13"))[:-8] + b"\0" * 8, "damaged", id="sum"),
        pytest.param(b"no gzip at all", "damaged", id="no gzip"),
        pytest.param(gzip.compress(b"a,b\n1,2\n"), "no column ticker", id="other columns"),
        pytest.param(gzip.compress(b""), "no column ticker", id="empty"),
        pytest.param(gzip.compress(b"x" * 10_000_000), "longer than", id="a bomb"),
    ],
)
def test_a_damaged_file_is_said(bucket, content, said):
    """Never taken for a day without trades."""
    key = "us_stocks_sip/minute_aggs_v1/2026/07/2026-07-13.csv.gz"
    bucket.put_object(Bucket="flatfiles", Key=key, Body=content)
    with pytest.raises(SourceFormatError, match=f"ACME: .*{said}"):
        of_files(bucket).fetch(asking(until="2026-07-14", as_of="2026-07-20"))


def s3_error(status, code):
    return Status(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (s3_error(403, "AccessDenied"), SourceError, "your plan at Massive includes"),
        (s3_error(403, "InvalidAccessKeyId"), SourceError, "TREMOR_POLYGON_FLAT_KEY"),
        (s3_error(403, "SignatureDoesNotMatch"), SourceError, "TREMOR_POLYGON_FLAT_SECRET"),
        (s3_error(503, "SlowDown"), RateLimited, "patience"),
        (s3_error(500, "InternalError"), SourceUnavailable, "InternalError"),
        (DROPPED, SourceUnavailable, "did not answer"),
        (Status(200, delay_s=3), SourceUnavailable, "did not answer"),
    ],
)
def test_each_failure_of_the_files_has_its_kind(answer, error, said):
    """Keys and plan are the user's to mend; the rest is worth another try."""
    with PolygonStandIn({}, script={"/flatfiles/": [answer] * 3}) as server:
        source = open_source("polygon", polygon_flat_url=server.url, timeout_s=1.0, **FLAT)
        with pytest.raises(error, match=said) as caught:
            source.fetch(asking(until="2026-07-14", as_of="2026-07-20"))
    worth_it = issubclass(error, SourceUnavailable)
    assert isinstance(caught.value, SourceUnavailable) == worth_it


def test_the_keys_of_the_files_are_never_seen(bucket, caplog):
    """Logs at their finest, the source's own text, the reply."""
    caplog.set_level(logging.DEBUG)
    put(bucket, "2026-07-13", day_file("2026-07-13"))
    source = of_files(bucket)
    reply = source.fetch(asking(until="2026-07-14", as_of="2026-07-20"))
    said = everything_said(caplog, source, [reply], [])
    assert "127.0.0.1" in caplog.text
    assert FLAT_KEY not in said
    assert FLAT_SECRET not in said


def naive_lines(content, ticker):
    header, *rows = content.decode().splitlines()
    place = header.split(",").index("ticker")
    return [row for row in rows if row.split(",")[place] == ticker]


TICKERS = st.sampled_from(["A", "AA", "AAP", "A.B", "AXB", "B", "aA"])


@given(
    rows=st.lists(st.tuples(TICKERS, st.integers(0, 10**6)), max_size=60),
    wanted=st.sets(TICKERS, min_size=1, max_size=4),
    is_first=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
    ends=st.booleans(),
    size=st.integers(1, 40),
)
def test_the_stream_keeps_what_a_plain_reader_keeps(rows, wanted, is_first, ending, ends, size):
    """In any order of lines and columns, cut into blocks anywhere."""
    order = (lambda pair: pair) if is_first else (lambda pair: pair[::-1])
    text = ending.join(
        ",".join(order(pair)) for pair in [("ticker", "n"), *((t, str(n)) for t, n in rows)]
    )
    content = (text + (ending if ends else "")).encode()
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    day = scan(blocks, frozenset(wanted), "a file")
    for ticker in wanted:
        kept = zlib.decompress(day.lines[ticker]).decode().splitlines()
        assert kept == naive_lines(content, ticker)


def test_a_large_file_passes_by_in_little_memory():
    """Twenty megabytes, unpacked, in a few."""
    rng = np.random.default_rng(1)
    names = ["".join(rng.choice(list("BCDEFGHIJ"), 4)) for _ in range(500)]
    stamp = 1783929600000000000
    minutes = "\n".join(f"%,100.5,10,11,12,9,{stamp + 60 * 10**9 * i},3" for i in range(960))
    plain = [HEADER.decode(), *(minutes.replace("%", name) for name in sorted({*names, "ACME"}))]
    content = "\n".join(plain).encode()
    assert len(content) > 20_000_000
    packed_file = io.BytesIO(gzip.compress(content, 1))
    tracemalloc.start()
    day = scan(_blocks(packed_file), frozenset({"ACME"}), "a file")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20 + day.n_bytes
    assert day.lines.keys() == {"ACME"}


# Rows


def parsed(members, **request):
    reply = RawReply("polygon", asking(**request), "", 200, utc("2026-08-01"), packed(members))
    return open_source("polygon", polygon_api_key=SecretStr(KEY)).parse(reply)


def page(rows, **fields):
    return json.dumps({"ticker": "ACME", "status": "OK", "results": rows} | fields).encode()


@pytest.mark.parametrize(
    "members",
    [
        {"aggs-0001.json": b""},
        {"aggs-0001.json": b"null"},
        {"aggs-0001.json": page([1, 2])},
        {"aggs-0001.json": page({"a": 1})},
        {"aggs-0001.json": page([{"t": 1}])},
        {"aggs-0001.json": page([{"o": 1, "h": 1, "l": 1, "c": 1}])},
        {"aggs-0001.json": page(MINUTES, ticker="OTHER")},
        {"aggs-0001.json": page(MINUTES, ticker=None)},
        {"splits-0001.json": page([{"execution_date": "2026-07-14"}])},
        {"splits-0001.json": page([{"execution_date": "x", "split_to": 1, "split_from": 1}])},
        {
            "splits-0001.json": page(
                [{"execution_date": "2026-07-14", "split_to": 1, "split_from": 0}]
            )
        },
        {
            "splits-0001.json": page(
                [{"execution_date": "2026-07-14", "split_to": -1, "split_from": 1}]
            )
        },
        {"dividends-0001.json": page([{"ex_dividend_date": "2026-07-14", "cash_amount": None}])},
        {"2026-07-13.csv": b"ticker,open\nOTHER,1\n"},
        {"2026-07-13.csv": b"ticker,open\nACME,1\n"},
        {"2026-07-13.csv": b""},
        {"2026-07-13.csv": b'ticker\nACME,1,2,3\n"'},
    ],
)
def test_a_reply_that_is_none_raises_in_words(members):
    """Never a traceback of the parser, never silently no data."""
    with pytest.raises(SourceFormatError, match="ACME"):
        parsed(members)


def test_a_damaged_archive_raises_in_words():
    """What lay in the lake may be damaged as well."""
    reply = RawReply("polygon", asking(), "", 200, utc("2026-08-01"), b"not a tar" * 100)
    with pytest.raises(SourceFormatError, match="ACME: the kept archive is damaged"):
        open_source("polygon", polygon_api_key=SecretStr(KEY)).parse(reply)


def test_odd_numbers_are_left_to_the_checks():
    """A value that is absent is NaN, a time that is none NaT; the row stays."""
    good = dict(MINUTES[0])
    rows = [
        good,
        good | {"v": 6.42646396e08, "t": 1e300},
        good | {"v": None, "c": "text", "t": None},
        {name: value for name, value in good.items() if name not in ("n", "vw")},
    ]
    candles = parsed({"aggs-0001.json": page(rows)}).candles
    assert candles["ts"].isna().tolist() == [False, True, True, False]
    assert candles["volume"].isna().tolist() == [False, False, True, False]
    assert candles["volume"].iloc[1] == 642646396
    assert candles["close"].isna().tolist() == [False, False, True, False]
    assert candles["vwap"].isna().tolist() == [False, False, False, True]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["o", "h", "l", "c", "t", "v", "results", "ticker"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=25)
@given(rows=st.lists(st.dictionaries(st.sampled_from(list("ohlctvn")), ANY_JSON), max_size=4))
def test_any_json_gives_rows_or_a_format_error(rows):
    """No other error leaves the parser."""
    try:
        found = parsed({"aggs-0001.json": page(rows)})
    except SourceFormatError:
        return
    assert len(found.candles) == len(rows)


@given(st.binary(max_size=300))
def test_any_lines_give_rows_or_a_format_error(lines):
    """No other error leaves the parser."""
    try:
        found = parsed({"2026-07-13.csv": HEADER + b"\n" + lines})
    except SourceFormatError:
        return
    assert {"ts", "close", "line"} <= set(found.candles.columns)
