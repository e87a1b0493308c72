"""Messages: what goes in comes out, and nothing that comes in is believed."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.messages import (
    CANDLE,
    KEPT,
    LONGEST,
    DeadLetter,
    Malformed,
    decode_alerts,
    decode_candles,
    decode_verdicts,
    encode_alerts,
    encode_candles,
    encode_verdicts,
)

NUMBERS = ["open", "high", "low", "close", "volume", "vwap", "trades"]
NOON = pd.Timestamp("2021-05-19T12:00", tz="UTC")

PRICES = st.floats(1e-12, 1e12)
MAYBE = st.none() | st.floats(0, 1e15)
CANDLES = st.lists(
    st.tuples(
        st.from_regex(r"\A[A-Z0-9]{1,8}(-USD)?\Z"),
        st.integers(0, 4_000_000_000),
        *[PRICES] * 4,
        *[MAYBE] * 3,
    ),
    max_size=20,
)


def candles(rows):
    table = pd.DataFrame(rows, columns=["symbol", "ts", *NUMBERS])
    ts = pd.to_datetime(table["ts"].astype("int64"), unit="s", utc=True).dt.as_unit("us")
    types = {"symbol": "str", **dict.fromkeys(NUMBERS, "float64")}
    return table.assign(ts=ts).astype(types)


def one(**changes):
    """A message of a candle with some fields changed; those that are None by ``...`` leave."""
    body = {"schema": "candle/1", "symbol": "BTCUSDT", "interval": "1m", "ts": 1621425600000}
    body |= {"open": 40e3, "high": 41e3, "low": 39e3, "close": 40e3, "volume": 1, "vwap": None}
    body |= {"trades": 7.0, "known_at": None, **changes}
    return json.dumps({k: v for k, v in body.items() if v is not ...}).encode()


def reason(message, **asked):
    """Why a message of a candle is not read."""
    read, unread = decode_candles([message], asked.pop("interval", "1m"), **asked)
    assert len(read) == 0
    ((place, said),) = unread
    assert place == 0
    assert said.isascii()
    assert "\n" not in said
    return said


@given(CANDLES)
def test_candles_come_out_as_they_went_in(rows):
    """To the last bit, in their order, unknown numbers unknown; the key is the instrument."""
    table = candles(rows)
    coded = encode_candles(table, "1m")
    assert [key.decode() for key, _ in coded] == table["symbol"].tolist()
    assert all(json.loads(body)["schema"] == CANDLE.schema for _, body in coded)
    read, unread = decode_candles([body for _, body in coded], "1m")
    assert unread == []
    assert read["known_at"].isna().all()
    pd.testing.assert_frame_equal(read.drop(columns=["interval", "known_at"]), table)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.none() | st.binary(max_size=200), max_size=8))
@example([b"[" * 4000, b'{"schema":' * 300, b"1" * 4090, b"\xff\xfe", b"", None, b"NaN", b"{}"])
@example([b'{"schema":"candle/1","symbol":' + b"[" * 500 + b"]" * 500 + b"}"])
def test_no_bytes_stop_the_reading(messages):
    """Each gets a reason in words, whatever it is, and the candle behind them is read."""
    for decode in (lambda m: decode_candles(m, "1m"), decode_verdicts, decode_alerts):
        read, unread = decode(messages)
        assert [place for place, _ in unread] == list(range(len(messages)))
        assert all(said and said.isprintable() and len(said) < 300 for _, said in unread)
    read, unread = decode_candles([*messages, one()], "1m")
    assert (read["symbol"].tolist(), len(unread)) == (["BTCUSDT"], len(messages))
    for message in messages:
        with pytest.raises(Malformed):
            DeadLetter.decode(message)


@given(st.sampled_from(["symbol", "interval", "ts", *NUMBERS]), ANY_JSON)
def test_a_field_is_what_it_should_be_or_the_message_is_refused(name, value):
    """No value of any type comes through that a candle cannot have."""
    read, unread = decode_candles([one(**{name: value})], "1m")
    assert len(read) + len(unread) == 1
    if len(unread):
        assert unread[0][1].startswith(name)
    else:
        numbers = read[NUMBERS].iloc[0]
        assert np.isfinite(numbers[["open", "high", "low", "close"]].astype(float)).all()
        assert (numbers.isna() | np.isfinite(numbers.astype(float))).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "candle/2"}, "schema is 'candle/2', and candle/1 is read"),
        ({"schema": ...}, "schema is None, and candle/1 is read"),
        ({"schema": ["candle/1"]}, "schema is a list, and candle/1 is read"),
        ({"close": ...}, "lacks close"),
        ({"close": math.nan}, "close is nan, and no finite number"),
        ({"close": math.inf}, "close is inf, and no finite number"),
        ({"close": None}, "close is None, and no finite number"),
        ({"close": "40000"}, "close is '40000', and no finite number"),
        ({"close": True}, "close is True, and no finite number"),
        ({"volume": 10**300}, "volume is 1000"),
        ({"symbol": "../x"}, "symbol is '../x', and no instrument name"),
        ({"symbol": "Ä"}, r"symbol is '\xc4', and no instrument name"),
        ({"symbol": 7}, "symbol is 7, and no instrument name"),
        ({"interval": "1 minute"}, "interval is '1 minute', and no interval such as 1m"),
        ({"interval": "5m"}, "interval is 5m, and 1m is watched"),
        ({"ts": -1}, "ts is -1, and no milliseconds"),
        ({"ts": 1621425600.5}, "ts is 1621425600.5, and no milliseconds"),
        ({"ts": 9e15}, "ts is 9000000000000000.0, and no milliseconds"),
        ({"ts": 10**17}, "ts is 100000000000000000, and no milliseconds"),
        ({"note": "x" * 5000}, "is 5"),
    ],
)
def test_what_is_wrong_is_said(changes, said):
    """The field and what came in it, cut."""
    assert reason(one(**changes)).startswith(said)


def test_a_number_that_overflows_is_none():
    """1e999 is JSON, and infinite once it is read."""
    assert "no finite number" in reason(one().replace(b"41000.0", b"1e999"))


def test_a_candle_of_the_future_is_refused():
    """It would close every bar before it; the bar that opens now is let in."""
    said = reason(one(), until=NOON - pd.Timedelta(minutes=1))
    assert said == "ts is 1621425600000, which is yet to come"
    assert len(decode_candles([one()], "1m", until=NOON)[0]) == 1


def test_fields_that_are_not_known_are_passed_over():
    """A producer may be newer than its reader."""
    assert len(decode_candles([one(quote="USDT", nested={"a": [1]})], "1m")[0]) == 1


def test_a_price_that_is_not_finite_is_not_sent():
    """What no reader would let in leaves no producer."""
    with pytest.raises(ValueError, match="JSON"):
        encode_candles(candles([("A", 0, 1, math.inf, 1, 1, 1, 1, 1)]), "1m")


def test_verdicts_come_out_as_they_went_in():
    """Numbers that are not known yet are null."""
    rows = pd.DataFrame(
        {
            "symbol": ["BTCUSDT", "ETHUSDT"],
            "interval": "1m",
            "ts": [NOON.as_unit("us")] * 2,
            "judge": "ensemble@1",
            "verdict": ["anomaly", "undecided"],
            "level": [2, 0],
            "votes": [3, 0],
            "p": [1e-7, math.nan],
            "rate": [2e-4, 2e-4],
            "return": [-0.04, math.nan],
            "parameters": ["2021-05-01/3", ""],
        }
    )
    coded = encode_verdicts(rows)
    read, unread = decode_verdicts([body for _, body in coded])
    assert (unread, coded[0][0]) == ([], b"BTCUSDT")
    pd.testing.assert_frame_equal(read[rows.columns], rows, check_dtype=False)
    assert b'"p":null' in coded[1][1]
    without = encode_verdicts(rows.drop(columns="parameters"))
    assert decode_verdicts([without[0][1]])[0]["parameters"].item() == ""


def alerts(payload):
    row = {"id": "a1", "kind": "anomaly", "interval": "1m", "ts": NOON, "headline": "BTC fell"}
    return pd.DataFrame([{**row, "symbols": '["BTCUSDT", "ETHUSDT"]', "payload": payload}])


def test_alerts_come_out_as_they_went_in():
    """Instruments and payload as the table keeps them, in JSON."""
    rows = alerts('{"findings": [{"move": -0.04, "reasons": ["ä"]}]}')
    ((key, body),) = encode_alerts(rows)
    read, unread = decode_alerts([body])
    assert (key, unread) == (b"BTCUSDT", [])
    assert json.loads(read["payload"].item()) == json.loads(rows["payload"].item())
    assert json.loads(read["symbols"].item()) == ["BTCUSDT", "ETHUSDT"]
    parsed = rows.assign(payload=[{"a": 1}], symbols=[["X"]])
    assert decode_alerts([encode_alerts(parsed)[0][1]])[1] == []


def test_an_alert_that_no_broker_takes_is_told_without_its_payload():
    """That something was unusual is never lost for its length."""
    ((_, body),) = encode_alerts(alerts(json.dumps({"notes": ["x" * LONGEST]})))
    assert len(body) < 1000
    assert decode_alerts([body])[0]["payload"].item() == "{}"


@pytest.mark.parametrize("payload", [b'{"a":"\\u0000"}', b'{"a":"\\ud800"}', b'{"a":NaN}', b"7"])
def test_a_payload_that_no_database_takes_is_refused(payload):
    """NUL, half a character, no number: they would end the transaction they are in."""
    ((_, body),) = encode_alerts(alerts('{"here": 1}'))
    ((_, said),) = decode_alerts([body.replace(b'{"here":1}', payload)])[1]
    assert said.startswith("payload ")


@given(st.binary(max_size=2 * KEPT), st.text(max_size=400), st.integers(0, 2**40))
def test_a_dead_letter_holds_the_message_and_where_it_lies(message, why, offset):
    """Its first bytes as they were, and how many there were."""
    why = why.encode(errors="replace").decode().replace("\0", "")
    letter = DeadLetter.of(why, "tremor.candles", 3, offset, message)
    read = DeadLetter.decode(letter.encode())
    assert read == letter
    assert (read.message, read.size) == (message[:KEPT], len(message))
    assert DeadLetter.of("has no content", "t", 0, 0, None).message == b""
