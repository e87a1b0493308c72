"""When bars close, which should exist: against dates that are known from the exchanges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SettingsError, UnknownName
from components.sessions import Calendars, length

CALENDARS = Calendars()
SYMBOLS = ["AAPL", "VOD.L", "7203.T", "BTC-USD", "EURUSD=X", "GC=F"]
days = st.dates(pd.Timestamp("1965-01-01").date(), pd.Timestamp("2034-01-01").date())


def utc(text: object) -> pd.Timestamp:
    return pd.Timestamp(str(text), tz="UTC")


@pytest.mark.parametrize(
    ("symbol", "calendar"),
    [
        ("AAPL", "XNYS"),
        ("BRK-B", "XNYS"),
        ("BRK.B", "XNYS"),
        ("GBTC", "XNYS"),
        ("^GSPC", "XNYS"),
        ("^FTSE", "XLON"),
        ("VOD.L", "XLON"),
        ("HSBK.IL", "XLON"),
        ("WSU.DE", "XETR"),
        ("IPL.TO", "XTSE"),
        ("1398.HK", "XHKG"),
        ("4063.T", "XTKS"),
        ("WSKT.JK", "XIDX"),
        ("KEN.TA", "XTAE"),
        ("GC=F", "CMES"),
        ("EURUSD=X", "24/5"),
        ("BTC-USD", "24/7"),
        ("LUNA1-USD", "24/7"),
        ("1000SHIB_USDT", "24/7"),
        ("BTCUSDT", "24/7"),
        ("ETHBTC", "24/7"),
    ],
)
def test_a_name_tells_its_calendar(symbol, calendar):
    """Suffixes, coins, currencies, futures and indices are known by their names."""
    assert CALENDARS.of(symbol) == calendar


def test_an_override_wins_and_must_exist():
    """The operator may name the calendar himself, but only one that exists."""
    assert Calendars({"AAPL": "XLON"}).of("AAPL") == "XLON"
    with pytest.raises(UnknownName, match=r"no calendar is called 'XXXX'\. Known: .*XNYS"):
        Calendars({"AAPL": "XXXX"})


@pytest.mark.parametrize(
    ("symbol", "date", "closes"),
    [
        ("AAPL", "2023-11-22", "2023-11-22 21:00"),
        ("AAPL", "2023-11-24", "2023-11-24 18:00"),
        ("AAPL", "2024-03-08", "2024-03-08 21:00"),
        ("AAPL", "2024-03-11", "2024-03-11 20:00"),
        ("VOD.L", "2023-12-22", "2023-12-22 12:30"),
        ("7203.T", "2024-03-11", "2024-03-11 06:00"),
        ("BTC-USD", "2024-03-09", "2024-03-10 00:00"),
        ("EURUSD=X", "2024-03-08", "2024-03-09 00:00"),
        # No session: the end of that day at the exchange.
        ("AAPL", "2023-11-25", "2023-11-26 05:00"),
        ("AAPL", "1950-01-03", "1950-01-04 05:00"),
        ("AAPL", "2050-01-03", "2050-01-04 05:00"),
    ],
)
def test_a_daily_bar_closes_with_its_session(symbol, date, closes):
    """Early closes, daylight saving, weekends, years that no calendar knows."""
    ts = pd.DatetimeIndex([utc(date)])
    assert CALENDARS.closes(symbol, "1d", ts)[0] == utc(closes)


def test_a_shorter_bar_closes_one_interval_later():
    """The minute of 14:30 is over at 14:31."""
    ts = pd.DatetimeIndex([utc("2024-03-08 14:30")])
    assert CALENDARS.closes("AAPL", "1m", ts)[0] == utc("2024-03-08 14:31")


def test_hours_follow_the_session_and_its_break():
    """New York has seven hours from 09:30 on; Hong Kong rests at noon."""
    hours = CALENDARS.expected("AAPL", "1h", utc("2024-03-08"), utc("2024-03-12"))
    assert len(hours) == 14
    assert hours[0] == utc("2024-03-08 14:30")
    assert hours[7] == utc("2024-03-11 13:30")
    noon = CALENDARS.expected("1398.HK", "1h", utc("2024-03-08"), utc("2024-03-09"))
    assert utc("2024-03-08 04:30") not in noon
    assert len(noon) == 6
    assert len(CALENDARS.expected("BTCUSDT", "1m", utc("2024-03-09"), utc("2024-03-10"))) == 1440


def test_years_that_no_calendar_knows_expect_weekdays():
    """IBM's history begins in 1962, others before."""
    old = CALENDARS.expected("IBM", "1d", utc("1950-01-02"), utc("1950-01-09"))
    assert len(old) == 5
    far = CALENDARS.expected("IBM", "1d", utc("2049-12-27"), utc("2050-01-03"))
    assert len(far) == 5


def test_rates_per_year():
    """What the alarm budget is divided by."""
    assert CALENDARS.bars_per_year("BTC-USD", "1d") == 365
    assert CALENDARS.bars_per_year("AAPL", "1d") == 252
    assert CALENDARS.bars_per_year("BTC-USD", "1h") == 8760
    assert CALENDARS.bars_per_year("AAPL", "1h") == 1638
    assert CALENDARS.time_zone("VOD.L") == "Europe/London"


@pytest.mark.parametrize("text", ["", "1x", "0m", "day", "-1d", "1 d"])
def test_what_is_no_interval_is_refused(text):
    """The message shows how to write one."""
    with pytest.raises(SettingsError, match="1d, 1h, 5m or 1m"):
        length(text)


@given(symbol=st.sampled_from(SYMBOLS), day=days, hour=st.integers(0, 23))
def test_the_last_closed_bar_is_closed_and_no_later_one_is(symbol, day, hour):
    """Promise 1: only closed bars are judged, and none is overlooked."""
    as_of = utc(day) + pd.Timedelta(hours=hour)
    last = CALENDARS.last_closed(symbol, "1d", as_of)
    assert CALENDARS.closes(symbol, "1d", pd.DatetimeIndex([last]))[0] <= as_of
    later = CALENDARS.expected(symbol, "1d", last + pd.Timedelta(days=1), as_of)
    assert (CALENDARS.closes(symbol, "1d", later) > as_of).all()


@given(symbol=st.sampled_from(SYMBOLS), day=days, cut=st.integers(0, 60))
def test_expected_bars_of_two_halves_are_those_of_the_whole(symbol, day, cut):
    """Since <= ts < until: no bar is lost or doubled at a border."""
    since, until = utc(day), utc(day) + pd.Timedelta(days=60)
    middle = since + pd.Timedelta(days=cut)
    whole = CALENDARS.expected(symbol, "1d", since, until)
    halves = CALENDARS.expected(symbol, "1d", since, middle).append(
        CALENDARS.expected(symbol, "1d", middle, until)
    )
    assert whole.equals(halves)
    assert whole.is_monotonic_increasing
    assert whole.is_unique


@given(symbol=st.sampled_from(SYMBOLS), day=days)
def test_bars_close_in_their_order(symbol, day):
    """A later bar never closes before an earlier one."""
    bars = CALENDARS.expected(symbol, "1d", utc(day), utc(day) + pd.Timedelta(days=40))
    closes = CALENDARS.closes(symbol, "1d", bars)
    assert (np.diff(closes.asi8) > 0).all()
    assert CALENDARS.is_session(symbol, bars).all()
    assert CALENDARS.on_grid(symbol, "1d", bars).all()


@given(symbol=st.sampled_from(SYMBOLS), day=days, interval=st.sampled_from(["1h", "15m"]))
def test_the_bars_that_should_exist_are_of_regular_hours(symbol, day, interval):
    """They open from the session's open on, before its close; daily bars know no other hours."""
    bars = CALENDARS.expected(symbol, interval, utc(day), utc(day) + pd.Timedelta(days=5))
    assert CALENDARS.is_regular(symbol, interval, bars).all()
    assert CALENDARS.is_regular(symbol, "1d", bars.normalize()).all()


@pytest.mark.parametrize(
    ("at", "is_regular"),
    [
        ("2024-07-03 13:29", False),
        ("2024-07-03 13:30", True),
        ("2024-07-03 16:59", True),
        ("2024-07-03 17:00", False),  # an early close
        ("2024-07-04 15:00", False),  # a holiday
        ("2024-01-05 14:29", False),  # winter time
        ("2024-01-05 14:30", True),
    ],
)
def test_extended_hours_lie_round_the_session(at, is_regular):
    """A bar counts by its open, to the minute."""
    ts = pd.DatetimeIndex([pd.Timestamp(at, tz="UTC")])
    assert CALENDARS.is_regular("AAPL", "1m", ts).tolist() == [is_regular]
    assert CALENDARS.is_regular("BTC-USD", "1m", ts).all()
    assert CALENDARS.is_regular("EURUSD=X", "1m", ts).all()
