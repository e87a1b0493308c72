"""What is said of a candle at a glance: none that is called plain fails a check."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import checks
from components.checks.plain import LEAST_PRICE, MOST_STEP, is_plain
from components.checks.row_checks import LARGEST
from components.checks.series_checks import dead_after
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars

MINUTE = pd.Timedelta(minutes=1)
T0 = pd.Timestamp("2024-03-12 15:00", tz="UTC")
NO_ACTIONS = pd.DataFrame({"ts": pd.DatetimeIndex([], tz="UTC"), "kind": [], "value": []})
CALENDARS = {"BTCUSDT": Calendars(of_venue="24/7"), "ABC": Calendars()}

# Factors that people and providers get wrong, and numbers beside every bound.
STEPS = [1, 1, 1.001, 1 / 3, 3.1, 0.5, 2, 10, 0.1, 15, MOST_STEP, 1 / MOST_STEP, 100, 0.01, 1000]
EDGES = [0, 1e-9, 1e-6, 2e-6, LEAST_PRICE, 1, LARGEST, 2 * LARGEST, -1, np.nan, np.inf]
prices = st.one_of(
    st.sampled_from(EDGES), st.floats(1e-5, 1e6), st.floats(0.5, 1.5).map(lambda x: round(x, 2))
)
volumes = st.one_of(
    st.sampled_from([0, 0, 1, 5, LARGEST, 2 * LARGEST, np.nan, -1]), st.floats(0, 1e9)
)


@st.composite
def pasts(draw):
    """Closes and volumes of the bars before: some trade, then some that rest."""
    n_traded, n_idle = (
        draw(st.integers(0, 8)),
        draw(st.sampled_from([0, 1, 28, 57, 58, 59, 60, 70])),
    )
    moves = draw(st.lists(st.sampled_from(STEPS), min_size=n_traded, max_size=n_traded))
    close = np.cumprod([draw(st.floats(1e-3, 1e4)), *moves])[1:]
    if n_traded:
        close = np.append(close, np.full(n_idle, close[-1]))
    volume = np.append(np.full(n_traded, 7.0), np.zeros(n_idle))[: len(close)]
    return close, volume


@st.composite
def candles(draw, last):
    """A candle near the close before, or of any numbers at all."""
    if draw(st.booleans()) or not np.isfinite(last):
        named = dict.fromkeys(["open", "high", "low", "close"], None)
        one = draw(prices)
        numbers = {n: one if draw(st.booleans()) else draw(prices) for n in named}
    else:
        near = sorted(last * draw(st.sampled_from(STEPS)) for _ in range(4))
        turn = draw(st.booleans())
        numbers = {"open": near[1 + turn], "high": near[3], "low": near[0], "close": near[2 - turn]}
    return {**numbers, "volume": draw(volumes)}


def failed(symbol, past, candle):
    """The checks that the candle fails behind what is stored; the notes among them."""
    close, volume = past
    ts = pd.date_range(end=T0, periods=len(close) + 1, freq=MINUTE)[:-1]
    stored = pd.DataFrame({"symbol": symbol, "interval": "1m", "ts": ts.as_unit("us")})
    stored = stored.assign(**dict.fromkeys(["open", "high", "low", "close"], close), volume=volume)
    known_at = T0 + 2 * MINUTE
    request = CandleRequest(symbol, "1m", T0, T0 + MINUTE, known_at)
    rows = pd.DataFrame([{"ts": T0, **candle, "vwap": np.nan, "trades": np.nan, "line": 0}])
    rows = rows.astype(dict.fromkeys(candle, float))
    body = json.dumps(rows.to_dict("records"), default=str).encode()
    reply = RawReply("binance", request, "", 200, known_at, body)
    passed, _, aside = checks.apply([(reply, Parsed(rows, NO_ACTIONS))], stored, CALENDARS[symbol])
    assert len(passed) + len(aside[~aside["check_name"].isin(checks.NOTES)]) == 1
    return list(aside["check_name"])


def called_plain(past, candle):
    close, volume = past
    last = np.array([close[-1] if len(close) else np.nan])
    n_idle = np.array([len(volume) - np.flatnonzero(volume)[-1] - 1 if len(volume) else 60])
    rows = pd.DataFrame([candle]).astype(float)
    return bool(is_plain(rows, last, n_idle, dead_after("1m"))[0])


@pytest.mark.parametrize("symbol", CALENDARS)
@given(st.data(), pasts())
def test_a_candle_that_is_called_plain_fails_no_check(symbol, data, past):
    """Whatever came before it, of a coin and of a share; nor is anything noted of it."""
    candle = data.draw(candles(past[0][-1] if len(past[0]) else np.nan))
    if called_plain(past, candle):
        assert failed(symbol, past, candle) == []


def bar(price=100.0, volume=5.0, **other):
    return {**dict.fromkeys(["open", "high", "low", "close"], price), "volume": volume, **other}


PAST = np.full(8, 100.0), np.full(8, 5.0)


@pytest.mark.parametrize(
    "candle",
    [bar(), bar(60.0), bar(1900.0), bar(high=180.0, low=20.0), bar(volume=0.0)],
    ids=["as before", "a crash", "nineteen times", "a wide bar", "nobody traded"],
)
def test_what_happens_in_markets_is_plain(candle):
    """So that a stream looks at few candles twice."""
    assert called_plain(PAST, candle)


@pytest.mark.parametrize(
    "candle",
    [
        bar(np.nan), bar(0.0), bar(-1.0), bar(np.inf), bar(high=90.0), bar(low=101.0),
        bar(volume=-1.0), bar(volume=np.nan), bar(volume=np.inf), bar(1e16), bar(2100.0), bar(4.0),
        bar(volume=0.0, high=101.0),
    ],
)  # fmt: skip
def test_what_may_be_an_error_is_looked_at(candle):
    """Each check's own bad row is not plain."""
    assert not called_plain(PAST, candle)


def test_a_market_is_idle_for_an_hour_and_then_it_is_looked_at():
    """One bar before the check refuses the first of them."""
    close, idle = np.full(100, 100.0), bar(volume=0.0)
    plain = [called_plain((close[: n + 1], np.append(7.0, np.zeros(n))), idle) for n in range(70)]
    last = plain.index(False)
    assert plain == [True] * last + [False] * (70 - last)
    past = close[: last + 1], np.append(7.0, np.zeros(last))
    assert failed("BTCUSDT", past, idle) == []
    longer = close[:61], np.append(7.0, np.zeros(60))
    assert failed("BTCUSDT", longer, idle) == ["dead_market"]
