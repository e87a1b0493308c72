"""Binance: which files and pages are asked for, what is kept of them, and what each row means."""

import io
import itertools
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import checks
from components.errors import (
    RateLimited,
    SettingsError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.records import CandleRequest, RawReply
from components.sessions import Calendars, length
from components.sources import binance_web, open_source, vision
from components.sources.binance import INTERVALS, Binance
from components.sources.binance_web import Places
from tests.binance_stand_in import HEADER, BinanceStandIn, Status, minutes, sheet, zipped

PRICES = ["open", "high", "low", "close"]
DAY = pd.Timedelta(days=1)


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def request_of(since, until, as_of=None, interval="1h", symbol="BTCUSDT"):
    return CandleRequest(symbol, interval, utc(since), utc(until), utc(as_of or until))


def source_of(server, market="spot", timeout_s=5.0):
    return open_source(
        "binance",
        binance_market=market,
        binance_archive_url=server.url,
        binance_api_url=server.url,
        timeout_s=timeout_s,
    )


def hours(first, last):
    n_bars = int((utc(last) - utc(first)) / pd.Timedelta(hours=1))
    return minutes(first, n_bars, "1h")


def between(frame, since, until):
    return frame[(frame["ts"] >= utc(since)) & (frame["ts"] < utc(until))]


def assert_same(candles, frame):
    """The same bars with the same numbers, to the last digit; the mean price to rounding."""
    assert candles["ts"].tolist() == frame["ts"].tolist()
    for name in [*PRICES, "volume", "trades"]:
        assert candles[name].tolist() == frame[name].tolist()
    np.testing.assert_allclose(candles["vwap"], frame["vwap"], rtol=1e-6)


def files_of(reply):
    return reply.details["files"].split(", ")


# Pieces


@given(
    interval=st.sampled_from(INTERVALS),
    since=st.datetimes(pd.Timestamp("2017-01-01"), pd.Timestamp("2026-01-01")),
    n_days=st.integers(1, 1500),
)
def test_pieces_cover_the_request_once_and_are_cut_by_the_calendar(interval, since, n_days):
    """Nothing lost, nothing twice, as_of kept, at most 45 000 bars; a later start cuts alike."""
    since = pd.Timestamp(since, tz="UTC")
    until = since + pd.Timedelta(days=n_days)
    request = CandleRequest("BTCUSDT", interval, since, until, until)
    source = open_source("binance")
    cut = source.pieces(request)
    assert cut[0].since == since
    assert cut[-1].until == until
    assert all(one.until == other.since for one, other in itertools.pairwise(cut))
    assert all(replace(each, since=since, until=until) == request for each in cut)
    bars = [(each.until - each.since) / length(interval) for each in cut]
    assert max(bars) <= 45_000
    assert all(each.until == each.until.floor("D").replace(day=1) for each in cut[:-1])
    assert source.pieces(replace(request, since=cut[-1].since)) == cut[-1:]


def test_a_piece_is_a_month_and_of_days_a_year():
    """One file of the archive each, so that many are under way at once."""
    source = open_source("binance")
    spans = {
        interval: len(source.pieces(request_of("2023-01-01", "2025-01-01", interval=interval)))
        for interval in ("1m", "5m", "15m", "1h", "1d")
    }
    assert spans == {"1m": 24, "5m": 24, "15m": 24, "1h": 24, "1d": 2}


def test_an_interval_that_binance_has_not_is_named():
    """The remedy lists what there is."""
    source = open_source("binance")
    request = request_of("2024-01-01", "2024-02-01", interval="7m")
    for ask in (source.pieces, source.fetch):
        with pytest.raises(SettingsError, match=r"no 7m bars.*1m, 3m, 5m"):
            ask(request)


def test_an_empty_request_has_no_pieces():
    """Nothing is asked for."""
    assert open_source("binance").pieces(request_of("2024-02-01", "2024-02-01")) == ()


# Fetching


@pytest.mark.parametrize(
    ("market", "folder", "api"),
    [("spot", "spot", "/api/v3/klines"), ("um", "futures/um", "/fapi/v1/klines")],
)
def test_addresses_are_binances_own(market, folder, api):
    """Monthly and daily files with their checksums, then REST: both markets' shapes."""
    frame = hours("2024-11-01", "2025-01-02")
    with BinanceStandIn({"BTCUSDT": frame}, "1h", market, utc("2025-01-01")) as server:
        server.remove("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12")
        request = request_of("2024-11-15", "2025-01-01 02:00")
        candles = source_of(server, market).parse(source_of(server, market).fetch(request)).candles
    base = f"/data/{folder}"
    assert server.asked[:3] == [
        f"{base}/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-11.zip",
        f"{base}/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-11.zip.CHECKSUM",
        f"{base}/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip",
    ]
    assert f"{base}/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-31.zip.CHECKSUM" in server.asked
    assert server.asked[-1] == (
        f"{api}?symbol=BTCUSDT&interval=1h&startTime=1735689600000&endTime=1735696799999"
        f"&limit={1000 if market == 'spot' else 1500}"
    )
    assert_same(candles, between(frame, "2024-11-01", "2025-01-01 02:00"))


def test_unset_addresses_are_the_public_ones():
    """No setting is needed to read Binance."""
    spot, request = Places(), request_of("2024-12-01", "2025-01-01")
    assert spot.folder(request, "monthly") == (
        "https://data.binance.vision/data/spot/monthly/klines/BTCUSDT/1h"
    )
    url = spot.page_url(request, request.since, request.until, 1000)
    assert url.startswith("https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&")
    url = Places("um").page_url(request, request.since, request.until, 1500)
    assert url.startswith("https://fapi.binance.com/fapi/v1/klines?symbol=BTCUSDT&")


def test_a_month_of_the_past_is_one_zip_kept_as_it_came():
    """Two questions, and the very bytes of the archive."""
    frame = hours("2024-02-01", "2024-04-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        reply = source.fetch(request_of("2024-03-05", "2024-03-06", "2024-06-01"))
    assert len(server.asked) == 2
    assert zipfile.ZipFile(io.BytesIO(reply.body)).namelist() == ["BTCUSDT-1h-2024-03.csv"]
    assert (reply.status, reply.url) == (200, server.url + server.asked[0])
    assert dict(reply.details) == {"kind": "zip", "files": "BTCUSDT-1h-2024-03.zip"}
    assert reply.observed_at == reply.request.as_of
    assert_same(source.parse(reply).candles, between(frame, "2024-03-01", "2024-04-01"))


def test_several_parts_are_one_tar_with_the_same_bytes_each_time():
    """The order of the calendar, nothing of the clock."""
    frame = hours("2024-02-01", "2024-04-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        one, other = (source.fetch(request_of("2024-02-01", "2024-04-01")) for _ in range(2))
    assert one.body == other.body
    assert one.details["kind"] == "tar"
    assert files_of(one) == ["BTCUSDT-1h-2024-02.zip", "BTCUSDT-1h-2024-03.zip"]
    assert_same(source.parse(one).candles, frame)


def test_the_running_month_comes_by_days_and_its_last_days_bar_by_bar():
    """What the archive has not yet is filled by REST, up to the last closed bar."""
    frame = hours("2024-02-01", "2024-04-01")
    until = utc("2024-03-19")
    with BinanceStandIn({"BTCUSDT": frame}, "1h", published_until=until) as server:
        source = source_of(server)
        reply = source.fetch(request_of("2024-03-15 05:00", "2024-03-20 10:30"))
    days = [f"BTCUSDT-1h-2024-03-{day}.zip" for day in (15, 16, 17, 18)]
    assert files_of(reply) == [*days, "BTCUSDT-1h-2024-03-19T0000.json"]
    # The bar of 10:00 has not closed at 10:30, so it is not asked for.
    assert reply.status == 200
    assert "endTime=1710928799999" in server.asked[-1]
    assert_same(source.parse(reply).candles, between(frame, "2024-03-15", "2024-03-20 10:00"))


def test_a_daily_run_costs_three_questions():
    """Yesterday's file, its checksum, and today's bars."""
    frame = hours("2024-03-01", "2024-04-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h", published_until=utc("2024-03-20")) as server:
        reply = source_of(server).fetch(request_of("2024-03-19 20:00", "2024-03-20 10:00"))
    assert reply.status == 200
    assert "absent" not in reply.details
    assert len(server.asked) == 3


def test_a_request_of_which_no_bar_has_closed_asks_nothing():
    """The first bar is still open."""
    with BinanceStandIn({}, "1h") as server:
        source = source_of(server)
        reply = source.fetch(request_of("2024-03-20 10:00", "2024-03-20 10:59"))
    assert server.asked == []
    assert source.parse(reply).candles.empty


@pytest.mark.parametrize(("market", "limit"), [("spot", 1000), ("um", 1500)])
def test_long_tails_are_read_page_by_page(market, limit):
    """Each page begins after the last bar of the page before; none is lost between."""
    frame = minutes("2024-03-18", 3 * 1440)
    with BinanceStandIn({"BTCUSDT": frame}, "1m", market, utc("2024-03-18")) as server:
        source = source_of(server, market)
        request = request_of("2024-03-18", "2024-03-21", "2024-03-21", "1m")
        reply = source.fetch(request)
    pages = [path for path in server.asked if f"limit={limit}" in path]
    assert len(pages) == 4320 // limit + 1
    assert_same(source.parse(reply).candles, frame)


def test_a_day_without_a_file_among_days_that_have_one_is_absent():
    """The archive may add it later, so the reply says which, and is no complete one."""
    frame = hours("2024-05-01", "2024-06-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h", monthly_until=utc("2024-05-01")) as server:
        server.remove("2024-05-03", "2024-05-04")
        source = source_of(server)
        reply = source.fetch(request_of("2024-05-01", "2024-05-10", "2024-05-20"))
    assert reply.status == 206
    assert reply.details["absent"] == "2024-05-03, 2024-05-04"
    expected = frame[~frame["ts"].dt.day.isin([3, 4])]
    assert_same(source.parse(reply).candles, between(expected, "2024-05-01", "2024-05-10"))


def test_months_before_the_listing_cost_two_questions_a_piece():
    """The first missing month asks REST where the bars begin; earlier files are not asked for."""
    frame = hours("2024-09-10 07:00", "2024-11-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        before = source.fetch(request_of("2023-01-01", "2024-01-01", "2024-11-01"))
        assert len(server.asked) == 2
        assert before.status == 200
        assert source.parse(before).candles.empty
        reply = source.fetch(request_of("2024-01-01", "2024-11-01"))
    assert len(server.asked) == 2 + 2 + 4
    assert reply.status == 200
    assert_same(source.parse(reply).candles, frame)


def test_a_name_listed_this_month_has_no_absent_days_before():
    """A day before the first bar is not missing."""
    frame = hours("2024-05-12 07:00", "2024-06-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        reply = source.fetch(request_of("2024-05-01", "2024-05-15"))
    assert reply.status == 200
    assert len(server.asked) == 2 + 3 * 2
    assert_same(source.parse(reply).candles, between(frame, "2024-05-12", "2024-05-15"))


def test_nothing_after_the_last_trade_is_an_answer():
    """A halted instrument: REST shows no bar after, so the months after are not asked for."""
    frame = hours("2023-01-01", "2023-03-20 07:00")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        reply = source.fetch(request_of("2023-01-01", "2024-01-01"))
    assert reply.status == 200
    assert len(server.asked) == 3 * 2 + 2
    assert_same(source.parse(reply).candles, frame)


def test_a_delisted_name_keeps_what_the_archive_has_of_it():
    """REST knows it no more: the files are there, and the days after them may come."""
    frame = hours("2024-04-20", "2024-05-03")
    with BinanceStandIn({"LUNAUSDT": frame}, "1h", monthly_until=utc("2024-05-01")) as server:
        unknown = Status(400, b'{"code":-1121,"msg":"Invalid symbol."}')
        server.answer("/api/v3/klines", *[unknown] * 9)
        source = source_of(server)
        request = request_of("2024-04-20", "2024-06-10", symbol="LUNAUSDT")
        reply = source.fetch(request)
        assert len(server.asked) < 15
        assert_same(source.parse(reply).candles, frame)
        assert reply.status == 206
        assert reply.details["absent"].startswith("2024-05-03")
        with pytest.raises(SymbolNotFound, match="LUNAUSDT"):
            source.fetch(replace(request, since=utc("2024-06-08")))


def test_a_name_that_is_nowhere_is_named():
    """No file and REST does not know it: not worth another try, and few questions."""
    with BinanceStandIn({}, "1h") as server:
        with pytest.raises(SymbolNotFound, match="NOSUCH") as caught:
            source_of(server).fetch(request_of("2024-03-01", "2024-03-20", symbol="NOSUCH"))
        assert caught.value.symbol == "NOSUCH"
        assert len(server.asked) <= 3


def test_a_bar_that_rest_does_not_show_yet_is_late_and_not_absent():
    """Asked within minutes of its close, the last bar may still come."""
    now = pd.Timestamp.now("UTC").floor("h")
    frame = minutes(f"{now - pd.Timedelta(days=2):%Y-%m-%d %H:%M}", 47, "1h")
    request = CandleRequest("BTCUSDT", "1h", frame["ts"].iloc[5], now, now)
    with BinanceStandIn({"BTCUSDT": frame}, "1h", published_until=utc("2020-01-01")) as server:
        source = replace(source_of(server), clock=lambda: now + pd.Timedelta(seconds=2))
        late = source.fetch(request)
        settled = replace(source, clock=lambda: now + pd.Timedelta(hours=1)).fetch(request)
    assert late.status == 206
    assert pd.Timestamp(late.details["absent"], tz="UTC") == now - pd.Timedelta(hours=1)
    assert settled.status == 200


@settings(max_examples=40)
@given(
    listed=st.integers(0, 80),
    since=st.integers(0, 2000),
    n_hours=st.integers(1, 1500),
    age=st.integers(0, 1500),
    lag_days=st.integers(0, 70),
    monthly_lag_days=st.integers(0, 40),
    market=st.sampled_from(["spot", "um"]),
)
def test_however_late_the_archive_is_each_closed_bar_comes_once(
    listed, since, n_hours, age, lag_days, monthly_lag_days, market
):
    """Months, days and pages join without a seam, over the change of units, before a listing."""
    start, step = utc("2024-11-20"), pd.Timedelta(hours=1)
    frame = hours(f"{start + listed * DAY}", "2025-06-01")
    since = start + since * step
    until = since + n_hours * step
    as_of = until + age * step + pd.Timedelta(minutes=20)
    published = (as_of - lag_days * DAY).floor("D")
    request = CandleRequest("BTCUSDT", "1h", since, until, as_of)
    months = published - monthly_lag_days * DAY
    with BinanceStandIn({"BTCUSDT": frame}, "1h", market, published, months) as server:
        source = source_of(server, market)
        replies = [source.fetch(piece) for piece in source.pieces(request)]
        candles = pd.concat([source.parse(reply).candles for reply in replies])
        assert len(server.asked) <= 4 + 3 * (as_of - since).days + 20
    is_wanted = (candles["ts"] >= since) & (candles["ts"] < until)
    due = frame[(frame["ts"] >= since) & (frame["ts"] < until)]
    assert_same(candles[is_wanted], due)
    assert {reply.status for reply in replies} == {200}


# Failures


MONTH = request_of("2024-03-01", "2024-04-01", "2024-06-01")
TAIL = request_of("2024-03-19", "2024-03-20 10:00")
DIED = Status(500, b"<html>oops</html>")


@pytest.fixture
def server():
    frame = hours("2024-02-01", "2024-05-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h", published_until=utc("2024-05-01")) as server:
        yield server


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Status(429, b"{}"), RateLimited),
        (Status(418, b"{}"), RateLimited),
        (DIED, SourceUnavailable),
        (Status(503), SourceUnavailable),
        (Status(403, b"<html>WAF</html>"), SourceUnavailable),
        (Status(451, b"{}"), SourceUnavailable),
        (Status(sent=30), SourceUnavailable),
        (Status(sent=-1), SourceUnavailable),
        (Status(delay_s=1.5), SourceUnavailable),
    ],
)
@pytest.mark.parametrize("part", ["2024-03.zip", "CHECKSUM", "/api/v3/klines"])
def test_each_failure_has_its_kind_and_the_next_try_starts_afresh(answer, error, part, server):
    """Whichever question fails, no part of a reply passes for the whole."""
    source = source_of(server, timeout_s=0.5)
    server.answer(part, answer)
    request = TAIL if "klines" in part else MONTH
    if request is TAIL:
        server.remove("2024-03-19.zip")
    with pytest.raises(error, match="BTCUSDT") as caught:
        source.fetch(request)
    assert type(caught.value) is error
    assert len(source.parse(source.fetch(request)).candles) == (34 if request is TAIL else 744)


def test_nobody_listening_is_unavailable():
    """A refused connection is worth another try."""
    with pytest.raises(SourceUnavailable, match=r"BTCUSDT.*not reached"):
        Binance(Places("spot", "http://127.0.0.1:9", "http://127.0.0.1:9")).fetch(MONTH)


def test_a_file_that_does_not_match_its_checksum_is_asked_for_once_more(server):
    """Replaced while it was read: the second answer is right."""
    server.answer("CHECKSUM", Status(200, b"0" * 64 + b"  BTCUSDT-1h-2024-03.zip"))
    reply = source_of(server).fetch(MONTH)
    assert len(server.asked) == 4
    assert len(source_of(server).parse(reply).candles) == 744


@pytest.mark.parametrize(
    "stated",
    [
        Status(200, b"0" * 64 + b"  BTCUSDT-1h-2024-03.zip"),
        Status(200, b"<html>sign in</html>"),
        Status(200, b""),
        Status(404, b"no checksum yet"),
    ],
)
def test_a_file_without_a_right_checksum_is_never_accepted(stated, server):
    """Twice wrong: said in one line, and worth another try."""
    server.answer("CHECKSUM", stated, stated)
    with pytest.raises(SourceUnavailable, match=r"BTCUSDT-1h-2024-03.zip.*CHECKSUM, twice"):
        source_of(server).fetch(MONTH)


def test_the_patience_that_a_server_asks_for_is_given_by_every_thread(server):
    """After Retry-After the next request is made, and not before."""
    source = source_of(server)
    server.answer("2024-03.zip", Status(429, b"", {"Retry-After": "1"}))
    started = time.monotonic()
    with pytest.raises(RateLimited, match="1 s"):
        source.fetch(MONTH)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(source.fetch, [MONTH] * 4))
    assert time.monotonic() - started >= 1.0
    assert {reply.status for reply in replies} == {200}


def test_a_ban_is_not_waited_for(server):
    """Days of patience are left to the next run, and nothing more is asked."""
    source = source_of(server)
    server.answer("2024-03.zip", Status(418, b"", {"Retry-After": "7200"}))
    for _ in range(2):
        with pytest.raises(RateLimited, match="7200 s"):
            source.fetch(MONTH)
    assert len(server.asked) == 1


def test_a_body_without_an_end_is_not_read_to_it(server, monkeypatch):
    """The bound stands before the memory is full."""
    monkeypatch.setattr(binance_web, "MAX_BODY", 1000)
    with pytest.raises(SourceFormatError, match=r"BTCUSDT.*larger"):
        source_of(server).fetch(MONTH)


def test_a_body_that_trickles_is_given_up(server, monkeypatch):
    """Each byte in time, and yet no end: the patience is for the whole."""
    monkeypatch.setattr(binance_web, "TIMEOUTS_A_BODY", 0)
    with pytest.raises(SourceUnavailable, match="in time"):
        source_of(server).fetch(MONTH)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Status(400, b'{"code":-1130,"msg":"no such interval"}'), SourceFormatError, "no such int"),
        (Status(200, b"<html>sign in</html>"), SourceUnavailable, "no candles"),
        (Status(200, b"[[1,2,3]]"), SourceFormatError, "12 values"),
        (Status(200, b'[[0,"1","1","1","1","1",9,"1",1,"1","1","0"]]'), SourceFormatError, "after"),
    ],
)
def test_a_page_that_is_no_page_is_named(answer, error, said, server):
    """No guess at what REST may have meant, and no page asked for for ever."""
    server.remove("2024-03-19.zip")
    server.answer("/api/v3/klines", answer)
    with pytest.raises(error, match=said):
        source_of(server).fetch(TAIL)


def test_threads_share_the_source_and_not_a_connection(server):
    """Eight at once give what one after the other gives."""
    source = source_of(server)
    requests = [request_of(f"2024-0{m}-01", f"2024-0{m + 1}-01", "2024-06-01") for m in (2, 3, 4)]
    alone = [source.fetch(each).body for each in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(source.fetch, requests * 8))
    assert [reply.body for reply in together] == alone * 8


# Parsing


def parsed(body, name="BTCUSDT-1h-2024-03.zip", kind="zip", interval="1h"):
    request = request_of("2017-01-01", "2030-01-01", interval=interval)
    details = {"kind": kind, "files": name}
    reply = RawReply("binance", request, "", 200, request.as_of, body, details)
    return open_source("binance").parse(reply).candles


def parsed_csv(text):
    return parsed(zipped("BTCUSDT-1h-2024-03.csv", text))


YEAR_END = minutes("2024-12-31 21:00", 300, "1m")


@given(data=st.data())
def test_a_range_over_new_year_2025_loses_and_shifts_nothing(data):
    """Milliseconds and microseconds in any mixture, with names or without, cut anywhere."""
    n_bars = data.draw(st.integers(1, len(YEAR_END)))
    frame = YEAR_END.head(n_bars)
    is_micro = np.array(data.draw(st.lists(st.booleans(), min_size=n_bars, max_size=n_bars)))
    cuts = sorted(data.draw(st.sets(st.integers(1, n_bars), max_size=4)) | {0, n_bars})
    parts = []
    for first, last in itertools.pairwise(cuts):
        header = data.draw(st.booleans())
        text = sheet(frame.iloc[first:last], "1m", is_micro=is_micro[first:last], header=header)
        name = f"BTCUSDT-1m-part{first}"
        parts.append((f"{name}.zip", zipped(f"{name}.csv", text)))
    assert_same(parsed(vision.packed(parts), "", "tar"), frame)


@given(day=st.dates(utc("2017-07-01").date(), utc("2199-12-31").date()))
def test_the_unit_of_every_time_of_binance_is_told_apart(day):
    """From the exchange's first day on neither unit comes near the bound of the other."""
    ts = pd.Timestamp(day, tz="UTC")
    for number in (int(ts.timestamp()) * 10**3, int(ts.timestamp()) * 10**6):
        line = LINE.replace(b"1709251200000", str(number).encode())
        assert parsed_csv(line)["ts"].tolist() == [ts]


LINE = b"1709251200000,10.0,12,9,11,4,1709254799999,42,7,2,21,0\n"


def test_a_line_gives_what_binance_says_of_a_bar():
    """Volume in coins, the mean price from the quote volume, the number of trades."""
    [row] = parsed_csv(LINE).to_dict("records")
    assert row["ts"] == utc("2024-03-01")
    assert [row[name] for name in PRICES] == [10, 12, 9, 11]
    assert (row["volume"], row["vwap"], row["trades"], row["line"]) == (4, 10.5, 7, 0)


def test_a_minute_without_trade_has_no_mean_price():
    """Nor has one whose quote volume is out of all proportion: the mean lies in the bar."""
    idle = LINE.replace(b",4,1709254799999,42,", b",0,1709254799999,0,")
    wrong = LINE.replace(b",42,7", b",4200,7")
    at_the_edge = LINE.replace(b",42,7", b",48.0000001,7")
    vwap = parsed_csv(idle + wrong + at_the_edge)["vwap"]
    assert vwap.isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        HEADER + LINE,
        HEADER.replace(b"\n", b"\r\n") + LINE.replace(b"\n", b"\r\n"),
        LINE.rstrip(b"\n"),
        LINE + b"\n\n",
        b"open_time,open,high,low,close,volume\n1709251200000,10.0,12,9,11,4",
        b"note,volume,close,low,high,open,open_time\nx,4,11,9,12,10,1709251200000\n",
    ],
)
def test_shapes_of_the_csv_that_are_clear_just_work(text):
    """With names or without, fewer columns or another order if they are named."""
    candles = parsed_csv(text)
    assert candles[["ts", *PRICES, "volume"]].to_numpy().tolist() == [
        [utc("2024-03-01"), 10, 12, 9, 11, 4]
    ]


@pytest.mark.parametrize("text", [b"", HEADER, HEADER.rstrip()])
def test_a_file_without_rows_is_an_empty_month(text):
    """No row, and the columns all the same."""
    candles = parsed_csv(text)
    assert candles.empty
    assert str(candles["ts"].dtype) == "datetime64[us, UTC]"


def test_an_empty_value_is_left_to_the_checks():
    """A hole is a doubtful row, not a doubtful file."""
    candles = parsed_csv(LINE.replace(b",12,", b",,") + b"," + LINE.partition(b",")[2])
    assert candles["high"].isna().tolist() == [True, False]
    assert candles["ts"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINE + LINE.replace(b"10.0", b"ten"), r"line 2, column 'open': 'ten' is no number"),
        (HEADER + LINE + b"\n" + LINE.replace(b",42,", b",4x2,"), r"line 4, column 'quote_volume'"),
        (LINE.replace(b"1709251200000", b"1709251200000.5"), r"line 1, column 'open_time'"),
        (
            LINE.replace(b"1709251200000", b"2024-03-01"),
            r"line 1, column 'open_time': '2024-03-01'",
        ),
        (HEADER + HEADER + LINE, r"line 2, column 'open_time'"),
        (LINE + b"1709254800000,10,12\n", r"line 2: 3 columns where 12"),
        (LINE + LINE.rstrip(b"\n") + b",1\n", r"line 2: 13 columns where 12"),
        (LINE * 30_000 + b"1,2\n", r"line 30001: 2 columns"),
        (b"hello\nworld\n", r"line 1: no column for open_time, open"),
        (b"open_time,open,high,low,close,volume,open\n1,2,3,4,5,6,7\n", r"line 1: two columns"),
        (b"\x00\xff" * 50, r"line 1: no column for open_time"),
    ],
)
def test_a_csv_that_is_not_clear_is_named(text, said):
    """The file, the line, the column and the remedy, in one line."""
    with pytest.raises(SourceFormatError, match=said) as caught:
        parsed_csv(text)
    assert str(caught.value).startswith("BTCUSDT-1h-2024-03.zip: ")
    assert "\n" not in str(caught.value)


GOOD_ZIP = zipped("BTCUSDT-1h-2024-03.csv", HEADER + LINE * 500)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (GOOD_ZIP[:-40], "cannot be unpacked"),
        (GOOD_ZIP[:60], "cannot be unpacked"),
        (b"", "cannot be unpacked"),
        (b"<html></html>", "cannot be unpacked"),
        (GOOD_ZIP[:70] + b"\xff\x00\xff" + GOOD_ZIP[73:], "cannot be unpacked"),
        (zipped("ETHUSDT-1h-2024-03.csv", LINE), "holds ETHUSDT-1h-2024-03.csv"),
        (zipped("../../etc/passwd", LINE), "holds ../../etc/passwd"),
    ],
)
def test_a_zip_that_is_not_clear_is_named(body, said):
    """Damaged, or with another file inside: no row of it is taken."""
    with pytest.raises(SourceFormatError, match=said):
        parsed(body)


def test_a_zip_bomb_is_not_unpacked(monkeypatch):
    """What it says it unpacks to is read before, and it cannot unpack to more."""
    monkeypatch.setattr(vision, "MAX_UNPACKED", 1000)
    with pytest.raises(SourceFormatError, match="unpacks to more"):
        parsed(GOOD_ZIP)


@given(st.binary(max_size=300), st.integers(0, len(GOOD_ZIP) - 1), st.booleans())
def test_damaged_bytes_raise_in_words_or_change_nothing(noise, place, is_tar):
    """Never a traceback of a library."""
    body = GOOD_ZIP[:place] + noise + GOOD_ZIP[place + len(noise) :]
    try:
        candles = parsed(
            vision.packed([("BTCUSDT-1h-2024-03.zip", body)]) if is_tar else body,
            kind="tar" if is_tar else "zip",
        )
    except SourceFormatError:
        return
    assert len(candles) == 500


def test_a_damaged_tar_is_named():
    """The lake's copy was cut: said, and not taken for an empty reply."""
    whole = vision.packed([("BTCUSDT-1h-2024-03.zip", GOOD_ZIP)])
    for body in (whole[:700], b"junk" * 300):
        with pytest.raises(SourceFormatError, match="BTCUSDT"):
            parsed(body, kind="tar")


PAGE = [1709251200000, "10", "12", "9", "11", "4", 1709254799999, "42", 7, "2", "21", "0"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([PAGE, [*PAGE[:1], "ten", *PAGE[2:]]], r"row 1, column 'open': 'ten'"),
        ([PAGE, PAGE[:5]], "12 values|not the list"),
        ([[None, *PAGE[1:]]], r"row 0, column 'open_time'"),
        ({"code": 1}, "12 values|not the list"),
        (None, "12 values|not the list"),
        ("x", "12 values|not the list"),
    ],
)
def test_a_page_of_another_shape_is_named(rows, said):
    """The row and the column of what REST should not have said."""
    body = vision.packed([("BTCUSDT-1h-2024-03-01T0000.json", json.dumps(rows).encode())])
    with pytest.raises(SourceFormatError, match=said):
        parsed(body, kind="tar")


def test_good_candles_pass_every_check():
    """What the source gives is what the house's checks expect."""
    frame = hours("2024-02-01", "2024-05-01")
    with BinanceStandIn({"BTCUSDT": frame}, "1h") as server:
        source = source_of(server)
        reply = source.fetch(request_of("2024-02-01", "2024-05-01"))
    candles, _, quarantine = checks.apply(
        [(reply, source.parse(reply))], pd.DataFrame(), Calendars()
    )
    assert len(candles) == len(frame)
    assert quarantine.empty
