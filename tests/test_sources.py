"""Sources: what every one must do, and what each makes of the replies it can get."""

import gzip
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from components import checks
from components.errors import (
    InvalidSymbol,
    RateLimited,
    SettingsError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
    UnknownName,
)
from components.records import CandleRequest, RawReply
from components.sessions import Calendars
from components.sources import SOURCES, check_symbol, open_source
from components.sources.bars import actions_frame, candles_frame, significant, undo_splits
from components.sources.sheets import parse_sheet
from tests.athena_server import athena_server, prepare_environment
from tests.binance_stand_in import BinanceStandIn, minutes
from tests.cases import SOURCE_CASES
from tests.polygon_stand_in import KEY, PolygonStandIn, bars
from tests.yahoo_stand_in import (
    DELISTED,
    DROPPED,
    JUNK,
    NO_DATA,
    SERVER_ERROR,
    TOO_MANY,
    Status,
    YahooStandIn,
    chart,
    rows,
)

RECORDED = Path(__file__).parent / "recorded"
AS_OF = pd.Timestamp("2024-06-01", tz="UTC")


def request_of(symbol, interval="1d", since="1990-01-01", as_of=AS_OF):
    return CandleRequest(symbol, interval, pd.Timestamp(since, tz="UTC"), as_of, as_of)


def opened(url, tmp_path, timeout_s=5.0):
    return open_source(
        "yahoo",
        yahoo_url=url,
        yahoo_requests_per_second=1000,
        timeout_s=timeout_s,
        state_dir=tmp_path,
    )


@pytest.fixture(scope="module")
def athena_url(tmp_path_factory):
    """An Athena with a table of payments."""
    with athena_server(tmp_path_factory.mktemp("athena")) as url:
        yield url


@pytest.fixture
def payments(request, tmp_path):
    """Settings of the sources that ask a database, each with a table of payments."""

    def make(name):
        query = tmp_path / "payments.sql"
        query.write_text(
            "select country as series, paid_at as ts, amount as value from payments "
            "where paid_at >= :since and paid_at < :until"
        )
        if name == "athena":
            url = request.getfixturevalue("athena_url")
            prepare_environment(request.getfixturevalue("monkeypatch"), url)
            output = "s3://pay/results"
            return {"athena_database": "shop", "athena_output": output, "measures_query": query}
        if name != "sql":
            return {}
        url = request.getfixturevalue("postgres_url")
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("create table payments (country text, paid_at timestamp, amount float)")
            cursor.execute("insert into payments values ('DE', '2024-01-05', 1)")
        connection.close()
        return {"sql_url": SecretStr(url), "measures_query": query}

    return make


@pytest.fixture(params=SOURCE_CASES, ids=lambda case: case.name)
def case_and_source(request, tmp_path, payments):
    case = request.param
    of_payments = payments(case.name)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "ACME-USD.csv").write_bytes((RECORDED / "yahoo_multiheader.csv").read_bytes())
    with (
        YahooStandIn({"ACME": chart("ACME", rows("2024-03-04", [10, 11, 12]))}) as server,
        BinanceStandIn({"BTCUSDT": minutes("2024-03-04", 3, "1d")}, "1d") as binance,
        PolygonStandIn({"ACME": bars("2024-03-04", [10, 11, 12], freq="D")}) as polygon,
    ):
        yield (
            case,
            open_source(
                case.name,
                files_root=folder,
                binance_archive_url=binance.url,
                binance_api_url=binance.url,
                polygon_api_key=SecretStr(KEY),
                polygon_url=polygon.url,
                polygon_requests_per_minute=1000,
                yahoo_url=server.url,
                yahoo_requests_per_second=1000,
                state_dir=tmp_path,
                **of_payments,
            ),
        )


def test_every_registered_source_has_a_case():
    """A source outside the table would silently skip every law."""
    assert {case.name for case in SOURCE_CASES} == set(SOURCES)


def test_an_unknown_source_lists_the_known_ones():
    """A slip of the pen is answered with what there is."""
    with pytest.raises(UnknownName, match=r"'yaho'\. Known: .*files, .*yahoo"):
        open_source("yaho")


def test_a_reply_is_kept_with_where_and_when(case_and_source):
    """Bytes, address, status, and an observation that is never later than the run."""
    case, source = case_and_source
    reply = source.fetch(request_of(case.symbol))
    assert reply.source == source.name == case.name
    assert reply.body
    assert reply.url
    # A month of payments that is not over may still change.
    assert reply.status == (206 if source.traits.kind == "measures" else 200)
    assert reply.observed_at <= AS_OF


def test_parsing_is_pure_and_repeatable(case_and_source):
    """Promise 8: a reply that was stored and read back gives the same rows."""
    case, source = case_and_source
    reply = source.fetch(request_of(case.symbol))
    first, second = source.parse(reply), source.parse(pickle.loads(pickle.dumps(reply)))
    pd.testing.assert_frame_equal(first.candles, second.candles)
    pd.testing.assert_frame_equal(first.actions, second.actions)


def test_rows_have_the_agreed_columns(case_and_source):
    """What the checks rely on: columns, UTC, float numbers, a line each."""
    case, source = case_and_source
    parsed = source.parse(source.fetch(request_of(case.symbol)))
    numbers = ["open", "high", "low", "close", "volume", "vwap", "trades"]
    assert [*parsed.candles.columns][:9] == ["ts", *numbers, "line"]
    assert str(parsed.candles["ts"].dtype) == "datetime64[us, UTC]"
    assert all(parsed.candles[name].dtype == float for name in numbers)
    assert parsed.candles["line"].is_unique
    if source.traits.kind == "measures":
        assert list(parsed.measures.columns) == ["series", "ts", "value", "line"]
        assert str(parsed.measures["ts"].dtype) == "datetime64[us, UTC]"
    assert len(parsed.candles if parsed.measures is None else parsed.measures) > 1
    assert list(parsed.actions.columns) == ["ts", "kind", "value"]


def test_two_fetches_give_the_same_bytes(case_and_source):
    """A repeated run stores the same raw object."""
    case, source = case_and_source
    one, other = (source.fetch(request_of(case.symbol)).body for _ in range(2))
    assert one == other


def test_an_instrument_that_is_not_there_is_named(case_and_source):
    """The error carries the symbol, and is of the kind that is not tried again."""
    _, source = case_and_source
    with pytest.raises(SymbolNotFound, match="NOSUCH") as caught:
        source.fetch(request_of("NOSUCH"))
    assert caught.value.symbol == "NOSUCH"


HOSTILE = [
    "",
    "../../etc/passwd",
    "..",
    ".hidden",
    "A/B",
    "A\\B",
    "a'; drop table candles; --",
    "A B",
    "A\n",
    "A\x00",
    "%2e%2e",
    "*",
    "A" * 33,
    "ÄÖ",
]


@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_hostile_name_reaches_no_source(symbol, case_and_source):
    """A name becomes a file name, a URL and a key: only what markets use is let through."""
    _, source = case_and_source
    with pytest.raises(InvalidSymbol):
        source.fetch(request_of(symbol))


@pytest.mark.parametrize(
    "symbol", ["AAPL", "BRK.B", "BRK-B", "^GSPC", "EURUSD=X", "GC=F", "1000SHIB_USDT", "M&M.NS"]
)
def test_names_that_markets_use_pass(symbol):
    """Letters, digits and . - = ^ _ & are in use."""
    assert check_symbol(symbol) == symbol


# Yahoo


def parsed_chart(name, symbol, interval="1d"):
    source = open_source("yahoo")
    body = (RECORDED / name).read_bytes()
    return source.parse(RawReply("yahoo", request_of(symbol, interval), "", 200, AS_OF, body))


def test_a_chart_gives_prices_as_traded_on_session_dates():
    """Splits undone, float noise rounded off, volumes in the shares of that day."""
    parsed = parsed_chart("yahoo_chart_split_null_live.json", "ACME.L")
    dates = [f"{ts:%m-%d %H:%M}" for ts in parsed.candles["ts"]]
    assert dates == ["03-26 00:00", "03-27 00:00", "03-28 00:00", "04-02 00:00", "04-03 00:00"]
    close = parsed.candles["close"].tolist()
    assert close[:2] == [409.8, 415.2]
    assert np.isnan(close[2])
    assert close[3:] == [104.1, 104.2]
    assert parsed.candles["volume"].tolist()[:2] == [1000, 2000]
    actions = parsed.actions.set_index("kind")["value"].to_dict()
    assert actions == {"dividend": 6.0, "split": 4.0}


def test_a_weekend_has_no_rows():
    """No `timestamp` at all is an empty answer, not an error."""
    assert parsed_chart("yahoo_chart_weekend.json", "ACME", "1m").candles.empty


@given(
    closes=st.lists(st.integers(1, 999_999).map(lambda cents: cents / 100), min_size=3, max_size=9),
    ratio=st.sampled_from([2.0, 3.0, 4.0, 5.0, 1.5, 7.0, 20.0, 0.1, 0.125]),
)
def test_a_price_restated_by_a_split_is_the_same_number_again(closes, ratio):
    """Yahoo divides history by each new split, in 32 bits: no correction may come of it."""
    table = rows("2024-03-04", closes)
    last = table["ts"].iloc[-1]
    restated = table.copy()
    is_before = restated["ts"] < last
    prices = ["open", "high", "low", "close"]
    restated[prices] = restated[prices].div(np.where(is_before, ratio, 1.0), axis=0)
    restated[prices] = restated[prices].astype(np.float32).astype(float)
    source = open_source("yahoo")
    body = chart("ACME", restated, splits={f"{last:%Y-%m-%d}": (ratio, 1.0)})
    parsed = source.parse(RawReply("yahoo", request_of("ACME"), "", 200, AS_OF, body))
    assert parsed.candles["close"].tolist() == table["close"].tolist()


def test_a_chart_of_another_instrument_or_interval_is_no_answer():
    """Yahoo answers some requests with something near to what was asked."""
    source = open_source("yahoo")
    body = chart("OTHER", rows("2024-03-04", [10, 11]))
    with pytest.raises(SourceFormatError, match="Yahoo answered with OTHER"):
        source.parse(RawReply("yahoo", request_of("ACME"), "", 200, AS_OF, body))
    body = chart("ACME", rows("2024-03-04", [10, 11]), interval="1wk")
    with pytest.raises(SourceFormatError, match="Yahoo answered with 1wk"):
        source.parse(RawReply("yahoo", request_of("ACME"), "", 200, AS_OF, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"chart": null}',
        b'{"chart":{"result":[],"error":null}}',
        b'{"chart":{"result":[{"meta":{}}],"error":null}}',
        chart("ACME", rows("2024-03-04", [10, 11])).replace(b"America/New_York", b"Mars/Base"),
        chart("ACME", rows("2024-03-04", [10, 11])).replace(b'"close": [10.0, ', b'"close": ['),
        chart("ACME", rows("2024-03-04", [10]), splits={"2024-03-04": (0, 1)}),
    ],
)
def test_a_chart_that_is_none_raises_in_words(body):
    """Never a traceback of the parser, never silently no data."""
    with pytest.raises(SourceFormatError, match="ACME"):
        open_source("yahoo").parse(RawReply("yahoo", request_of("ACME"), "", 200, AS_OF, body))


def test_the_request_reaches_the_present_and_its_address_keeps_no_secret(tmp_path):
    """Only a reply up to the present has all splits; crumb and cookies are not stored."""
    with YahooStandIn({"^GSPC": chart("^GSPC", rows("2024-03-04", [10, 11]))}) as server:
        reply = opened(server.url, tmp_path).fetch(request_of("^GSPC", since="2024-03-04"))
        [(symbol, asked)] = server.requests
    assert symbol == "^GSPC"
    assert asked["crumb"]
    assert asked["period2"] == str(int(AS_OF.timestamp()))
    assert asked["events"] == "div,splits"
    assert asked["includePrePost"] == "false"
    assert "crumb" not in reply.url
    assert "cookie" not in str(reply.details).lower()
    assert reply.details["currency"] == "USD"


GOOD = chart("ACME", rows("2024-03-04", [10, 11]))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (TOO_MANY, RateLimited),
        (Status(200, b"Edge: Too Many Requests", "text/plain"), RateLimited),
        (SERVER_ERROR, SourceUnavailable),
        (Status(503, b""), SourceUnavailable),
        (Status(401, b'{"finance":{"error":"Invalid Crumb"}}'), SourceUnavailable),
        (Status(404, b"<html>no such page</html>", "text/html"), SourceUnavailable),
        (JUNK, SourceUnavailable),
        (DROPPED, SourceUnavailable),
        (Status(200, GOOD, sent=60), SourceUnavailable),
        (Status(200, GOOD[:60]), SourceUnavailable),
        (Status(200, GOOD, delay_s=1.5), SourceUnavailable),
        (DELISTED, SymbolNotFound),
    ],
)
def test_each_failure_has_its_kind_and_the_next_try_starts_afresh(answer, error, tmp_path):
    """No failure is taken for "no data", and none is remembered in the process."""
    # yfinance asks twice when the first answer is an error.
    with YahooStandIn({"ACME": [answer, answer, GOOD]}) as server:
        source = opened(server.url, tmp_path, timeout_s=0.5)
        with pytest.raises(error, match="ACME"):
            source.fetch(request_of("ACME"))
        while server.requests and len(server.requests) < 2:
            with pytest.raises(error):
                source.fetch(request_of("ACME"))
        assert len(source.parse(source.fetch(request_of("ACME"))).candles) == 2


def test_a_range_without_bars_is_an_answer(tmp_path):
    """Before the listing Yahoo says 400, which is no failure."""
    with YahooStandIn({"ACME": NO_DATA}) as server:
        source = opened(server.url, tmp_path)
        assert source.parse(source.fetch(request_of("ACME"))).candles.empty


@pytest.mark.parametrize("crumb", [SERVER_ERROR, TOO_MANY, DROPPED, b"Internal Server Error"])
def test_a_failed_crumb_spoils_nothing(crumb, tmp_path):
    """The chart answers without it."""
    with YahooStandIn({"ACME": GOOD}, crumb=crumb) as server:
        source = opened(server.url, tmp_path)
        assert source.fetch(request_of("ACME")).status == 200


def test_nobody_listening_is_unavailable(tmp_path):
    """A refused connection is worth another try."""
    with pytest.raises(SourceUnavailable, match="ACME"):
        opened("http://127.0.0.1:9", tmp_path).fetch(request_of("ACME"))


# Files


def files_of(tmp_path, **contents):
    for name, body in contents.items():
        (tmp_path / name.replace("__dot__", ".")).write_bytes(body)
    return open_source("files", files_root=tmp_path)


def recorded(name):
    return (RECORDED / name).read_bytes()


def closes_of(source, symbol, interval="1d"):
    candles = source.parse(source.fetch(request_of(symbol, interval))).candles
    return dict(zip(candles["ts"].dt.strftime("%m-%d"), candles["close"], strict=True))


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        ("yahoo_history.csv", {"03-29": 21.5, "04-01": 21.2, "04-02": 10.8}),
        ("yahoo_multiheader.csv", {"03-30": 1.05, "03-31": 1.2}),
        ("binance_daily.csv", {"03-30": 69630.33, "03-31": 71280.01}),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_each_shape_is_understood(recording, expected, is_packed, tmp_path):
    """Offsets give local dates, splits are undone, milliseconds are read, packed or not."""
    body = recorded(recording)
    name = "ACME.csv.gz" if is_packed else "ACME.csv"
    (tmp_path / name).write_bytes(gzip.compress(body) if is_packed else body)
    assert closes_of(open_source("files", files_root=tmp_path), "ACME") == expected


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC-USD.csv.gz", "BTC-USD"),
        ("FTT-USD__2021-05-09_2022.csv", "FTT-USD"),
        ("WSU.DE.csv", "WSU.DE"),
        ("BRK.B.parquet", "BRK.B"),
        ("1000SHIB_USDT_1d.csv", "1000SHIB_USDT"),
        ("^GSPC.json.gz", "^GSPC"),
    ],
)
def test_the_files_name_is_the_instruments(name, symbol, tmp_path):
    """Up to two underscores, the interval, or the extension."""
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert open_source("files", files_root=tmp_path).symbols() == (symbol,)


HEADER = b"Date,Open,High,Low,Close,Volume\n"
LINE = b"2024-03-28,10,11,9,10.5,100"


@pytest.mark.parametrize(
    "body",
    [
        HEADER + LINE,
        b"\xef\xbb\xbf" + HEADER + LINE + b"\r\n",
        b"\n\n" + HEADER + LINE + b"\n\n",
        (HEADER + LINE).decode().encode("utf-16"),
        (HEADER + LINE).replace(b",", b"\t"),
        b"Date;Open;High;Low;Close;Volume\n2024-03-28;10,0;11,0;9,0;10,5;100\n",
        b"date,OPEN,high,Low,cLose,note\n2024-03-28,10,11,9,10.5,caf\xe9\n",
        HEADER + LINE + b"\n" + HEADER + b"",
        HEADER + LINE.replace(b"2024-03-28", b"3/28/2024"),
        HEADER + LINE.replace(b"2024-03-28", b"20240328"),
        HEADER + LINE.replace(b"2024-03-28", b"2024-03-28T00:00:00Z"),
        HEADER.replace(b"Volume", b"note") + LINE[:-3] + b"x" * 10_000_000,
    ],
)
def test_odd_files_that_are_clear_just_work(body, tmp_path):
    """Byte-order mark, tabs, semicolons, Latin letters, repeated header, a huge cell."""
    assert closes_of(files_of(tmp_path, ACME__dot__csv=body), "ACME") == {"03-28": 10.5}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02" * 100, "not a text file"),
        (b"\x1f\x8b\x08broken", "cannot be unpacked"),
        (b"PAR1 broken", "Parquet that cannot be read"),
        (b"{}", "no chart"),
        (b"hello\nworld\n", "no column for time, open"),
        (b"Date,Open,High,Low\n2024-03-28,1,2,3\n", "no column for close"),
        (HEADER.replace(b"Volume", b"Close") + LINE, "two columns for 'close'"),
        (HEADER + LINE + b"\n2024-03-29,10,eleven,9,10,1\n", "line 3, column 'high': 'eleven'"),
        (HEADER + LINE + b"\n2024-03-29,1,1,1,1,1,7,8,9\n", "line 3"),
        (HEADER + LINE.replace(b"10.5", b"z" * 10_000_000), "line 2, column 'close'"),
        (HEADER + LINE.replace(b"2024-03-28", b"3/4/2024"), "day and month"),
    ],
)
def test_odd_files_that_are_not_clear_are_named(body, message, tmp_path):
    """One line with the file, the line, the column and the remedy."""
    source = files_of(tmp_path, ACME__dot__csv=body)
    reply = source.fetch(request_of("ACME"))
    with pytest.raises(SourceFormatError) as caught:
        source.parse(reply)
    text = str(caught.value)
    assert message in text
    assert "ACME" in text
    assert "\n" not in text
    assert len(text) < 500
    assert caught.value.symbol == "ACME"


def test_a_damaged_file_is_read_as_far_as_it_tells(tmp_path):
    """A time that is none, and a line cut short, are left to the checks."""
    body = HEADER + LINE + b"\nsomeday,1,2,1,2,3\n2024-04-02,10,1"
    source = files_of(tmp_path, ACME__dot__csv=body)
    parsed = source.parse(source.fetch(request_of("ACME")))
    _, _, quarantine = checks.apply(
        [(source.fetch(request_of("ACME")), parsed)], pd.DataFrame(), Calendars()
    )
    assert sorted(set(quarantine["check_name"]) - {"unfinished_bar"}) <= ["no_time", "null_price"]
    assert parsed.candles["ts"].isna().sum() == 1
    assert len(parsed.candles) == 3


def test_parquet_with_the_date_as_index_is_read(tmp_path):
    """As pandas and yfinance write it, time zone included."""
    index = pd.DatetimeIndex(["2024-03-28", "2024-04-01"], tz="Asia/Tokyo", name="Date")
    numbers = {name: [10.0, 10.5] for name in ("Open", "High", "Low", "Close")}
    pd.DataFrame(numbers, index=index).to_parquet(tmp_path / "4063.T.parquet")
    source = open_source("files", files_root=tmp_path)
    assert closes_of(source, "4063.T") == {"03-28": 10.0, "04-01": 10.5}


def test_one_ticker_is_taken_out_of_many(tmp_path):
    """Yfinance writes several tickers beside each other."""
    body = b"Price,Close,High,Low,Open,Close,High,Low,Open\nTicker,A,A,A,A,B,B,B,B\nDate\n"
    source = files_of(tmp_path, B__dot__csv=body + b"2024-03-28,1,1,1,1,2,2,2,2\n")
    assert closes_of(source, "B") == {"03-28": 2.0}


def test_hours_are_not_taken_for_days(tmp_path):
    """A file of hours, asked for days, fails the grid; asked for hours it is read."""
    body = b"Datetime,Open,High,Low,Close\n2024-03-28 10:00:00+01:00,1,1,1,1\n"
    source = files_of(tmp_path, ACME__dot__csv=body)
    for interval, expected in (("1h", {}), ("1d", {"off_grid": 1})):
        reply = source.fetch(request_of("ACME", interval))
        reply = replace(reply, observed_at=AS_OF)
        _, _, quarantine = checks.apply([(reply, source.parse(reply))], pd.DataFrame(), Calendars())
        assert quarantine["check_name"].value_counts().to_dict() == expected


def test_several_files_of_one_instrument_are_one_reply(tmp_path):
    """Each stays as it was; where they disagree the one that reaches farther wins."""
    old, new = HEADER + LINE + b"\n2024-04-01,10,11,9,10,5\n", HEADER
    new += b"2024-04-01,10,11,9,10.75,100\n2024-04-02,10,11,9,10.8,100\n"
    source = files_of(tmp_path, ACME__2024__dot__csv=new, ACME__2023__dot__csv=old)
    for path in tmp_path.iterdir():
        os.utime(path, (1715000000, 1715000000))
    reply = source.fetch(request_of("ACME"))
    assert old in reply.body
    assert new in reply.body
    candles, _, quarantine = checks.apply(
        [(reply, source.parse(reply))], pd.DataFrame(), Calendars()
    )
    assert candles["close"].tolist() == [10.5, 10.75, 10.8]
    assert quarantine["check_name"].tolist() == ["conflicting_copy"]


def test_what_closed_after_the_file_was_written_is_unfinished(tmp_path):
    """The file's time of writing is when its rows were observed."""
    source = files_of(tmp_path, ACME__dot__csv=HEADER + LINE)
    noon = pd.Timestamp("2024-03-28 12:00", tz="UTC").timestamp()
    os.utime(tmp_path / "ACME.csv", (noon, noon))
    reply = source.fetch(request_of("ACME"))
    _, _, quarantine = checks.apply([(reply, source.parse(reply))], pd.DataFrame(), Calendars())
    assert quarantine["check_name"].tolist() == ["unfinished_bar"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    """A file that only seems to be in the folder is not there."""
    folder = tmp_path / "files"
    folder.mkdir()
    (tmp_path / "secret.csv").write_bytes(HEADER + LINE)
    (folder / "ACME.csv").symlink_to(tmp_path / "secret.csv")
    source = open_source("files", files_root=folder)
    assert source.symbols() == ()
    with pytest.raises(SymbolNotFound):
        source.fetch(request_of("ACME"))


def test_a_missing_folder_is_told_with_its_setting(tmp_path):
    """The remedy names the setting."""
    with pytest.raises(SettingsError, match="TREMOR_FILES_ROOT"):
        open_source("files")
    with pytest.raises(SettingsError, match="TREMOR_FILES_ROOT"):
        open_source("files", files_root=tmp_path / "no").fetch(request_of("ACME"))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body):
    """Whatever a file holds: rows, or one clear error."""
    try:
        parsed = parse_sheet(body, "ACME.csv", "ACME", "1d")
    except SourceFormatError:
        return
    assert {"ts", "close", "line"} <= set(parsed.candles.columns)


# Sample and numbers


def test_the_sample_is_as_traded_and_knows_its_splits():
    """A fall by half on each split's date, and on no other day."""
    source = open_source("sample")
    assert {"^GSPC", "^IXIC", "AAPL", "GOOG", "IBM", "MSFT"} <= set(source.symbols())
    for symbol in ("AAPL", "MSFT"):
        reply = source.fetch(request_of(symbol))
        candles, actions, quarantine = checks.apply(
            [(reply, source.parse(reply))], pd.DataFrame(), Calendars()
        )
        moves = candles.set_index("ts")["open"] / candles.set_index("ts")["close"].shift()
        assert quarantine.empty
        assert len(candles) == 3270
        assert moves[actions["ts"]].between(0.49, 0.53).all()


@given(st.floats(1e-9, 1e12), st.integers(3, 12))
def test_rounding_keeps_the_digits_that_were_asked_for(value, digits):
    """The same as Python's own formatting, for arrays."""
    assert significant(np.array([value]), digits)[0] == pytest.approx(
        float(f"{value:.{digits - 1}e}"), rel=10.0**-digits
    )


def test_splits_are_undone_for_bars_before_them_only():
    """Two splits multiply; the split's own day is in new shares already."""
    ts = pd.date_range("2024-01-01", periods=5, tz="UTC")
    same = {name: np.full(5, 10.0) for name in ("open", "high", "low", "close", "volume")}
    splits = pd.Series([2.0, 5.0], index=ts[[1, 3]])
    parsed = undo_splits(candles_frame(ts, same), actions_frame(splits=splits))
    assert parsed.candles["close"].tolist() == [100, 50, 50, 10, 10]
    assert parsed.candles["volume"].tolist() == [1, 2, 2, 10, 10]
