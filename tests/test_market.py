"""The market of each calendar: stored before anything is judged, once, and judged as one."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from components.market import LEAST_MEMBERS, market_returns
from components.steps import market
from components.steps.gaps import with_steps
from components.steps.market import with_market
from components.tables import CANDLES, MARKET
from components.wiring import open_parts
from tests.worlds import DAY, LAST

STOCKS = tuple(f"S{n}" for n in range(LEAST_MEMBERS + 1))
COINS = tuple(f"C{n}-USD" for n in range(LEAST_MEMBERS))
NYSE, ROUND_THE_CLOCK = "XNYS", "24/7"
DAYS = pd.DatetimeIndex(pd.bdate_range(end=LAST, periods=4))


@contextmanager
def at_work(world, day, symbols):
    settings = world.read_settings(symbols=",".join(symbols))
    with open_parts(settings, day + 2 * DAY) as parts:
        yield parts


def learn(parts, symbol, closes, days=DAYS):
    """Store candles as this run knows them."""
    close = np.asarray(closes, dtype=float)
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    rows = pd.DataFrame({"symbol": symbol, "interval": "1d", "ts": days, **prices})
    rows = rows.assign(volume=1000.0, source="files", known_at=parts.run.as_of)
    parts.warehouse.upsert(CANDLES, rows)


def rising(percent, n=4):
    """So many closes, each so much above the one before."""
    return 100 * (1 + percent / 100) ** np.arange(n)


def stored(world, calendar):
    return world.query(
        'select ts, "return", n_instruments, known_at from market where watch_list = %(name)s '
        "order by ts",
        name=calendar,
    )


def test_the_median_of_the_members_is_stored_at_each_bar(world):
    """One large mover is not the market; the first bar has no return."""
    with at_work(world, LAST, STOCKS) as parts:
        for symbol, percent in zip(STOCKS, (1, 1, 1, 2, 2, 50), strict=True):
            learn(parts, symbol, rising(percent))
        assert market(parts, parts.run.as_of) == 3
        assert market(parts, parts.run.as_of) == 0
    rows = stored(world, NYSE)
    assert rows["ts"].tolist() == DAYS[1:].tolist()
    assert rows["return"].to_numpy() == pytest.approx([0.015] * 3, rel=1e-5)
    assert set(rows["n_instruments"]) == {6}


def test_the_first_value_stays_when_a_late_member_comes(world):
    """The others were judged with it; bars that come anew are of all."""
    with at_work(world, DAYS[2], STOCKS) as parts:
        for symbol in STOCKS[:5]:
            learn(parts, symbol, rising(1, 3), DAYS[:3])
        assert market(parts, parts.run.as_of) == 2
    before = stored(world, NYSE)
    with at_work(world, LAST, STOCKS) as parts:
        for symbol in STOCKS[:5]:
            learn(parts, symbol, rising(1)[3:], DAYS[3:])
        learn(parts, STOCKS[5], rising(-8))
        assert market(parts, parts.run.as_of) == 1
    after = stored(world, NYSE)
    pd.testing.assert_frame_equal(after.iloc[:2], before)
    assert after["n_instruments"].tolist() == [5, 5, 6]


def test_a_corrected_close_does_not_change_what_is_stored(world):
    """Nor does it change what any other was judged with."""
    with at_work(world, DAYS[2], STOCKS) as parts:
        for symbol in STOCKS:
            learn(parts, symbol, rising(1, 3), DAYS[:3])
        market(parts, parts.run.as_of)
    before = stored(world, NYSE)
    with at_work(world, LAST, STOCKS) as parts:
        for symbol in STOCKS:
            learn(parts, symbol, rising(3, 3), DAYS[:3])
        assert market(parts, parts.run.as_of) == 0
    pd.testing.assert_frame_equal(stored(world, NYSE), before)


@pytest.mark.parametrize("n", [1, LEAST_MEMBERS - 1])
def test_fewer_than_five_members_are_no_market(world, n):
    """The median of a few is mostly one of them: nothing is stored."""
    with at_work(world, LAST, STOCKS[:n]) as parts:
        for symbol in STOCKS[:n]:
            learn(parts, symbol, rising(1))
        assert market(parts, parts.run.as_of) == 0
    assert len(stored(world, NYSE)) == 0


def test_a_bar_that_only_four_have_waits_for_the_fifth(world):
    """Members are counted at each bar, and by the return that they have there."""
    with at_work(world, LAST, STOCKS[:5]) as parts:
        for symbol in STOCKS[:4]:
            learn(parts, symbol, rising(1))
        learn(parts, STOCKS[4], rising(1, 3), DAYS[:3])
        assert market(parts, parts.run.as_of) == 2
    with at_work(world, LAST + DAY, STOCKS[:5]) as parts:
        learn(parts, STOCKS[4], rising(1)[3:], DAYS[3:])
        assert market(parts, parts.run.as_of) == 1
    assert stored(world, NYSE)["ts"].tolist() == DAYS[1:].tolist()


def test_two_calendars_are_two_markets(world):
    """Coins that fall on a day on which stocks rise are no part of the stocks' market."""
    with at_work(world, LAST, (*STOCKS, *COINS)) as parts:
        for symbol in STOCKS:
            learn(parts, symbol, rising(1))
        for symbol in COINS:
            learn(parts, symbol, rising(-2))
        assert market(parts, parts.run.as_of) == 6
    assert stored(world, NYSE)["return"].to_numpy() == pytest.approx([0.01] * 3, rel=1e-5)
    assert stored(world, ROUND_THE_CLOCK)["return"].to_numpy() == pytest.approx(
        [-0.02] * 3, rel=1e-5
    )
    assert set(stored(world, ROUND_THE_CLOCK)["n_instruments"]) == {5}


def test_a_split_is_no_move_of_the_market():
    """Two new shares for one at half of the price."""
    rows = pd.DataFrame(
        [
            {"symbol": symbol, "ts": ts, "close": close, "split": split}
            for symbol in STOCKS
            for ts, close, split in zip(DAYS, (100, 101, 51, 51), (1, 1, 2, 1), strict=True)
        ]
    )
    found = market_returns(rows)
    assert found["return"].to_numpy() == pytest.approx([0.01, 1 / 101, 0], abs=1e-6)
    assert found["ts"].tolist() == DAYS[1:].tolist()


def test_a_bar_is_known_no_earlier_than_the_market_that_says_over_how_many_steps(world):
    """A market that is stored late makes the next one's return one over a single step."""
    with at_work(world, LAST, STOCKS) as parts:
        at = parts.run.as_of
        rows = pd.DataFrame({"watch_list": NYSE, "interval": "1d", "ts": DAYS, "return": 0.01})
        known_at = [at, at, at + DAY, at]
        parts.warehouse.upsert(MARKET, rows.assign(known_at=known_at))
        bars = pd.DataFrame({"symbol": "S0", "ts": DAYS[[0, 1, 3]], "known_at": at})
        bars = with_steps(parts, bars)
        assert bars["steps"].tolist() == [1, 1, 2]
        before, after = (with_market(parts, bars, at + n * DAY) for n in (0, 1))
    assert before["market"].tolist()[1:] == [0.01, 0.01]
    assert before["known_at"].tolist() == [at, at, at]
    assert np.isnan(after["market"].tolist()[2])
    assert after["known_at"].tolist() == [at, at, at + DAY]
