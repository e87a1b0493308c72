"""Dead markets, ticks, rounded prices and absent volume: what is kept aside, and what is not."""

import numpy as np
import pandas as pd
import pytest

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.sources.bars import actions_frame, candles_frame
from components.sources.sheets import parse_sheet

CALENDARS = Calendars()
FIRST, LATE = pd.Timestamp("2024-03-04", tz="UTC"), pd.Timestamp("2024-06-01", tz="UTC")
PRICES = ["open", "high", "low", "close"]
STEPS = {"1d": "D", "1h": "h", "5m": "5min", "1m": "min"}


def bars(closes, interval="1d", volume=None, first=FIRST):
    """Bars that open at the close before, without a wick."""
    close = np.asarray(closes, dtype=float)
    opened = np.r_[close[:1], close[:-1]]
    numbers = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close)}
    volume = 1000.0 + np.arange(len(close)) if volume is None else volume
    volume = np.broadcast_to(np.asarray(volume, dtype=float), close.shape)
    ts = pd.date_range(first, periods=len(close), freq=STEPS[interval])
    return candles_frame(ts, {**numbers, "close": close, "volume": volume})


def leaps(closes, **other):
    """Bars that stand at their close from open to close."""
    table = bars(closes, **other)
    table[["open", "high", "low"]] = table[["close"] * 3].to_numpy()
    return table


def reply_of(symbol, interval, body=b""):
    request = CandleRequest(symbol, interval, pd.Timestamp("2000-01-01", tz="UTC"), LATE, LATE)
    return RawReply("files", request, "", 200, LATE, body)


def judged(*tables, symbol="BTC-USD", interval="1d", stored=None):
    pairs = [
        (reply_of(symbol, interval, b"%d" % n), Parsed(table, actions_frame()))
        for n, table in enumerate(tables)
    ]
    stored = pd.DataFrame() if stored is None else stored
    candles, _, quarantine = checks.apply(pairs, stored, CALENDARS)
    return candles, quarantine


def names(quarantine):
    return quarantine["check_name"].value_counts().to_dict()


def dying(n_idle, interval="1d", first=FIRST):
    """Ten bars with trade, then idle ones at one price."""
    closes = [*(100.0 + np.arange(10)), *[109.0] * n_idle]
    return bars(closes, interval, [5.0] * 10 + [0.0] * n_idle, first)


@pytest.mark.parametrize(("interval", "n_let_in"), [("1d", 30), ("1h", 30), ("5m", 30), ("1m", 60)])
def test_the_first_idle_bars_stay_and_the_others_are_kept_aside(interval, n_let_in):
    """Thirty bars, an hour of minutes: what came later is not needed to say so."""
    for n_idle in (n_let_in, n_let_in + 7):
        candles, quarantine = judged(dying(n_idle, interval), interval=interval)
        assert names(quarantine) == ({"dead_market": 7} if n_idle > n_let_in else {})
        assert len(candles) == 10 + n_let_in


def test_a_dead_market_is_dead_bar_by_bar_and_reply_by_reply():
    """No look-ahead: any cut of the rows into replies and runs gives the same."""
    table = dying(50)
    whole = judged(table)[0]["ts"].tolist()
    assert judged(table[:25], table[25:45], table[45:])[0]["ts"].tolist() == whole
    stored = judged(table[:25])[0]
    for last in range(25, 60):
        new = judged(table[last - 5 : last + 1], stored=stored)[0]
        stored = pd.concat([stored, new]).drop_duplicates("ts", keep="last", ignore_index=True)
        stored = stored.sort_values("ts", ignore_index=True)
    assert stored["ts"].tolist() == whole


def test_a_market_that_wakes_up_is_let_in_again():
    """The bar that moves, or trades, ends the run."""
    table = dying(50)
    table.loc[45, "volume"] = 3.0
    candles, quarantine = judged(table)
    assert names(quarantine) == {"dead_market": 5}
    assert table["ts"][45] in set(candles["ts"])
    assert candles["ts"].max() == table["ts"].max()


def test_what_never_traded_is_no_dead_market():
    """A money market fund stands at 1.00 without any volume."""
    table = bars([1.0] * 80, volume=0.0)
    candles, quarantine = judged(table, symbol="VMFXX-USD")
    assert quarantine.empty
    assert len(candles) == 80


def test_a_row_kept_aside_in_between_shows_that_the_market_lives():
    """The run is of bars that follow each other."""
    table = dying(50)
    table.loc[30, "high"] = 1.0
    _, quarantine = judged(table)
    assert names(quarantine) == {"ohlc_order": 1}


@pytest.mark.parametrize("factor", [100.0, 0.01, 10.0, 3.0, 0.3])
@pytest.mark.parametrize("n_bars", [1, 2, 3])
@pytest.mark.parametrize("symbol", ["BTC-USD", "AAPL"])
def test_a_tick_that_comes_back_is_kept_aside(factor, n_bars, symbol):
    """Up to three bars away by three times or more, and back at the old level."""
    table = leaps([10.0, 10.1, *[10.1 * factor] * n_bars, 10.1, 10.2], first=FIRST)
    candles, quarantine = judged(table, symbol=symbol, interval="1d")
    assert set(names(quarantine)) <= {"bad_tick", "hundredfold"}
    assert len(quarantine) == n_bars
    assert len(candles) == 4


def traded(n, gap=0.01):
    """Days with wicks and gaps: a seeded walk of 1 % a day."""
    random = np.random.default_rng(7)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
    table = bars(close)
    table["open"] = np.r_[close[0], close[:-1]] * np.exp(random.uniform(-gap, gap, n))
    table["high"] = table[["open", "close"]].max(axis=1) * 1.01
    table["low"] = table[["open", "close"]].min(axis=1) * 0.99
    return table


FACTORS = [1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50, 100, 1000]


@pytest.mark.parametrize("factor", [*FACTORS, *(1 / factor for factor in FACTORS)])
@pytest.mark.parametrize("n_bars", [1, 3, 4, 10, 20])
def test_a_run_off_by_a_split_is_kept_aside(factor, n_bars):
    """Coins and shares, from one bar to twenty; all other bars are let in."""
    for symbol in ("BTC-USD", "AAPL"):
        table = traded(60)
        if symbol == "AAPL":
            table["ts"] = CALENDARS.expected(symbol, "1d", FIRST, LATE)[:60]
        table.loc[25 : 24 + n_bars, PRICES] *= factor
        candles, quarantine = judged(table, symbol=symbol)
        assert set(names(quarantine)) <= {"bad_tick", "hundredfold"}
        assert quarantine["line"].tolist() == list(range(25, 25 + n_bars))
        assert len(candles) == 60 - n_bars


def test_two_runs_beside_each_other_leave_the_bars_between_alone():
    """The way back of the one is not the way out of another."""
    table = traded(40)
    for first in (10, 15, 22):
        table.loc[first : first + 2, PRICES] *= 2
    _, quarantine = judged(table)
    assert quarantine["line"].tolist() == [10, 11, 12, 15, 16, 17, 22, 23, 24]


def test_a_run_is_off_for_twenty_bars_at_most():
    """What lasts longer may be a split that the provider does not name, and its reverse."""
    table = traded(60)
    table.loc[20:40, PRICES] *= 2
    assert judged(table)[1].empty


@pytest.mark.parametrize("spoilt", ["wick", "gap", "away", "thin"])
def test_what_only_resembles_a_split_is_let_in(spoilt):
    """A wick that reaches the other level, a gap of no split, another level behind, no trade."""
    table = traded(60, gap=0.0)
    table.loc[20:25, PRICES] *= 2
    if spoilt == "wick":
        table.loc[22, "low"] = table.loc[19, "close"]
    if spoilt == "gap":
        table.loc[20, ["open", "low"]] *= 0.92
    if spoilt == "away":
        table.loc[26:, PRICES] *= 0.8
    if spoilt == "thin":
        table.loc[19, "volume"] = 0.0
    candles, quarantine = judged(table)
    assert quarantine[~quarantine["check_name"].isin(checks.NOTES)].empty
    assert len(candles) == 60


def test_a_tick_is_let_in_until_the_way_back_is_seen():
    """The newest bar is judged without the next one; when that comes, the tick is told."""
    table = leaps([10.0, 10.1, 101.0, 10.1])
    stored, quarantine = judged(table[:3])
    assert quarantine.empty
    candles, quarantine = judged(table, stored=stored)
    assert names(quarantine) == {"bad_tick": 1}
    assert candles["close"].tolist() == [10.0, 10.1, 10.1]


def test_a_tick_at_the_start_of_a_reply_is_measured_by_what_is_stored():
    """The last stored close is the level before."""
    table = leaps([10.0, 10.1, 50.5, 10.1])
    stored, _ = judged(table[:2])
    assert names(judged(table[2:], stored=stored)[1]) == {"bad_tick": 1}
    assert judged(table[2:])[1].empty


@pytest.mark.parametrize(
    "closes",
    [
        [0.0075, 0.0342, 0.047, 0.028],  # DOGE, January 2021: +356 %
        [0.22, 0.4279, 0.32],  # TRX, 2024-12-03: +93 %
        [64.1, 30.0, 17.5, 1.07, 0.0036, 0.0001, 0.0005],  # LUNA, May 2022
        [17.0, 37.0, 86.9, 48.4, 81.3, 22.5],  # GME, January 2021
        [7900.0, 4970.0, 5560.0],  # BTC, 2020-03-12
        [1.0, 4.0, 8.0, 3.0, 1.3, 1.0],  # a pump, and its dump
        [1.0, 3.5, 3.6, 3.5, 3.6, 1.0],  # four bars by a factor of no split
        [10.0, 40.0, 14.0],  # back, but not to where it was
    ],
)
@pytest.mark.parametrize("make", [bars, leaps])
def test_no_real_move_is_a_tick(closes, make):
    """Promise 6: what rises and falls is told, not cleaned away."""
    candles, quarantine = judged(make(closes))
    assert quarantine.empty
    assert len(candles) == len(closes)


def test_a_pump_within_a_minute_is_no_tick():
    """Five times the price and back: the bars pass through the prices between."""
    table = bars([1.0, 1.0, 5.0, 1.0, 1.0], interval="1m")
    assert judged(table, interval="1m")[1].empty


def test_a_high_alone_is_no_tick():
    """A real trade may have made it."""
    table = bars([1.0] * 5)
    table.loc[2, "high"] = 50.0
    assert judged(table)[1].empty


def test_prices_that_are_mostly_rounding_are_kept_aside():
    """One millionth more is 50 %: such a return says nothing."""
    table = bars([1e-6, 2e-6, 9e-6, 1.1e-5, 1.6e-5])
    table["high"] = table[["open", "close"]].max(axis=1)
    candles, quarantine = judged(table, symbol="SHIB-USD")
    assert names(quarantine) == {"rounded_price": 3}
    assert candles["close"].tolist() == [1.1e-5, 1.6e-5]


@pytest.mark.parametrize(
    ("symbol", "closes"),
    [
        ("SHIB-USD", [1.234e-6, 2.0e-6, 3.0e-6]),
        ("PEPE-USD", [1.2345678e-8, 1.3e-8, 2.0e-8]),
        ("ACME", [2e-6, 3e-6]),
        ("DOGE-USD", [0.3, 0.3, 0.4]),
        ("APPCBTC", [3.1e-7, 3.2e-7, 4.0e-7]),
    ],
)
def test_small_prices_with_their_digits_are_let_in(symbol, closes):
    """What counts is what is printed, and a share may cost what it does."""
    assert judged(leaps(closes), symbol=symbol)[1].empty


@pytest.mark.parametrize("absent", [np.nan, 0.0])
def test_a_bar_without_volume_is_noted_and_let_in(absent):
    """Its prices may tell of a crash."""
    table = bars([10.0, 10.1, 10.2, 10.1, 10.0, 10.2, 10.1, 5.0])
    table.loc[7, "volume"] = absent
    candles, quarantine = judged(table, symbol="AAPL")
    assert names(quarantine) == {"volume_absent": 1}
    assert quarantine["line"].tolist() == [7]
    assert len(candles) == 8


def test_where_volume_is_not_usual_its_absence_is_nothing():
    """Currencies and indices have none; a thin share rests now and then."""
    closes = 10 + np.arange(12) / 10
    for volume in (0.0, np.nan, [1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1]):
        assert judged(bars(closes, volume=volume))[1].empty


def test_minutes_know_their_hours():
    """Regular within the session, extended round it, nothing for coins and days."""
    ts = [pd.Timestamp(f"2024-03-05 {at}", tz="UTC") for at in ("09:00", "14:29", "14:30")]
    ts += [pd.Timestamp(f"2024-03-05 {at}", tz="UTC") for at in ("20:59", "21:00")]
    table = leaps([10.0] * 5)
    table["ts"] = pd.DatetimeIndex(ts).as_unit("us")
    candles, quarantine = judged(table, symbol="AAPL", interval="1m")
    assert quarantine.empty
    expected = ["extended", "extended", "regular", "regular", "extended"]
    assert candles["hours"].tolist() == expected
    assert judged(table, interval="1m")[0]["hours"].isna().all()
    assert judged(leaps([10.0] * 5), symbol="AAPL")[0]["hours"].isna().all()


def sheet(closes, adjusted, dividends):
    """A download with adjusted closes, as a source reads it."""
    days = CALENDARS.expected("AAPL", "1d", FIRST, LATE)[: len(closes)]
    c = np.asarray(closes, dtype=float)
    frame = pd.DataFrame({"Date": days.strftime("%Y-%m-%d"), "Open": c, "High": c, "Low": c})
    frame = frame.assign(**{"Close": c, "Adj Close": adjusted, "Volume": 1000 + np.arange(len(c))})
    body = frame.assign(Dividends=dividends).to_csv(index=False).encode()
    return parse_sheet(body, "x.csv", "AAPL", "1d")


@pytest.mark.parametrize(
    ("taken_off", "found"),
    [
        (0.04, {}),
        (0.0, {"dividend_not_adjusted": 1}),
        (0.0004, {"dividend_not_adjusted": 1}),
        (0.08, {"dividend_adjusted_twice": 1}),
        (0.042, {}),
    ],
)
def test_a_dividend_is_held_against_the_adjusted_closes(taken_off, found):
    """4 of 100 were paid: the earlier adjusted closes must be 4 % below; the action is let in."""
    closes = np.array([100.0, 100.0, 96.0, 96.0])
    adjusted = closes * [1 - taken_off, 1 - taken_off, 1.0, 1.0]
    parsed = sheet(closes, adjusted, [0, 0, 4.0, 0])
    _, actions, quarantine = checks.apply(
        [(reply_of("AAPL", "1d"), parsed)], pd.DataFrame(), CALENDARS
    )
    assert names(quarantine) == found
    assert actions["value"].tolist() == [4.0]


def test_a_dividend_of_a_hundredth_of_the_others_is_refused():
    """Pounds where pence were stated before."""
    closes = np.full(40, 100.0) - np.arange(40) / 100
    dividends = np.zeros(40)
    dividends[[5, 15, 25, 35]] = [2.0, 1.8, 0.02, 2.2]
    table = sheet(closes, closes, dividends)
    table.candles["adj_close"] = np.nan
    _, actions, quarantine = checks.apply(
        [(reply_of("AAPL", "1d"), table)], pd.DataFrame(), CALENDARS
    )
    assert names(quarantine) == {"dividend_out_of_scale": 1}
    assert actions["value"].tolist() == [2.0, 1.8, 2.2]
