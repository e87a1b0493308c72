"""A market judged in pieces: the medians, the judgement and who stands beside them, as at once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components import gaps
from components.ensemble import Ensemble
from components.market import is_same_time, judge_market, market_returns
from components.panels import pack
from components.sessions import Calendars
from components.streaming.judge import StreamJudge
from components.streaming.market_scan import WINDOW, MarketScan, beside, start_scan

COINS = tuple(f"C{k}USDT" for k in range(6))
SHARES = tuple(f"S{k}" for k in range(6))
DAY, MINUTE = pd.Timedelta(days=1), pd.Timedelta(minutes=1)
NEVER, STAMPS = pd.NaT, "datetime64[us, UTC]"
# A smaller seed is no simpler market.
WHOLE = [Phase.generate]

KINDS = {
    "coins": (COINS, Calendars(of_venue="24/7"), "1m", "2024-03-04 00:00", 900),
    "minutes of shares": (SHARES, Calendars(), "1m", "2024-03-07 18:00", 700),
    "days of shares": (SHARES, Calendars(), "1d", "2023-10-01", 300),
}


def made(kind, seed, *, absent=0.1):
    """Bars of six members: holes, an outage of all, splits, idle minutes, unknown volumes."""
    symbols, calendars, interval, first, n_bars = KINDS[kind]
    since = pd.Timestamp(first, tz="UTC")
    opens = calendars.expected(
        symbols[0], interval, since, since + pd.Timedelta(days=450 if interval == "1d" else 6)
    )[:n_bars]
    random, tables = np.random.default_rng(seed), []
    shared = 0.01 * random.standard_t(3, n_bars)
    for symbol in symbols:
        split = np.where(random.random(n_bars) < 0.01, 2.0, 1.0)
        own = shared + 0.005 * random.standard_normal(n_bars)
        volume = random.lognormal(3, 1, n_bars)
        volume[random.random(n_bars) < 0.03] = 0
        volume[random.random(n_bars) < 0.02] = np.nan
        close = 100 * np.exp(np.cumsum(own)) / np.cumprod(split)
        rows = pd.DataFrame({"ts": opens.as_unit("us"), "close": close, "volume": volume})
        rows = rows.assign(symbol=symbol, split=split, open=close, high=close, low=close)
        rows = rows[random.random(n_bars) >= absent]
        tables.append(rows.iloc[random.integers(0, 40) :])
    rows = pd.concat(tables).assign(vwap=np.nan)
    out = opens[n_bars // 2], opens[n_bars // 2 + 45]
    return rows[(rows["ts"] < out[0]) | (rows["ts"] >= out[1])], symbols, calendars, interval


def at_once(rows, symbols, calendars, interval, rate):
    """The batch's own functions over the whole."""
    rows = gaps.with_steps(calendars, interval, rows)
    found = market_returns(rows).reset_index(drop=True)
    steps = gaps.with_steps(calendars, interval, found.assign(symbol=symbols[0]))["steps"]
    found = found.assign(steps=steps.to_numpy())
    judged = judge_market(found["return"].to_numpy(), rate, steps.to_numpy(dtype=float))
    return found.assign(z=judged.z, p=judged.p, rate=judged.rate, is_odd=judged.is_anomaly)


def in_pieces(rows, symbols, calendars, interval, rate, cuts):
    """The scan over the same bars, cut between bars."""
    scan, state, found = MarketScan(rate), start_scan(len(symbols)), []
    opens = np.sort(rows["ts"].unique())
    last = pd.Series([NEVER] * len(symbols), index=symbols, dtype=STAMPS)
    before = NEVER
    for own in np.split(opens, cuts):
        piece = rows[rows["ts"].isin(own)]
        if not len(piece):
            continue
        piece = gaps.with_steps(calendars, interval, piece, last)
        last = piece.groupby("symbol")["ts"].max().reindex(symbols).fillna(last)
        state, moves = scan.moves(state, pack(piece, symbols))
        after = pd.Series([before], index=symbols[:1], dtype=STAMPS)
        moves = gaps.with_steps(calendars, interval, moves.assign(symbol=symbols[0]), after)
        before = moves["ts"].iloc[-1] if len(moves) else before
        state, said = scan.judged(state, moves.drop(columns="symbol"))
        found.append(said)
    return state, pd.concat(found, ignore_index=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, phases=WHOLE)
@given(st.integers(0, 2**16), st.data())
def test_a_market_in_pieces_is_the_market_at_once(kind, seed, data):
    """To the last bit, wherever it is cut: members absent, outages, nights, splits, no volume."""
    rows, *shape = made(kind, seed, absent=data.draw(st.sampled_from([0.0, 0.05, 0.3])))
    n_bars = rows["ts"].nunique()
    cuts = sorted(data.draw(st.lists(st.integers(0, n_bars), max_size=15)))
    whole = at_once(rows, *shape, 1 / 200)
    state, found = in_pieces(rows, *shape, 1 / 200, cuts)
    columns = ["ts", "return", "volume", "n_instruments", "steps", "z", "p", "rate"]
    pd.testing.assert_frame_equal(found[columns], whole[columns], check_exact=True)
    assert (found["verdict"] == "anomaly").tolist() == whole["is_odd"].tolist()
    assert (found["verdict"] == "undecided").tolist() == whole["p"].isna().tolist()
    assert pd.Timestamp(state.last, tz="UTC") == whole["ts"].iloc[-1]


def test_a_market_goes_bar_by_bar_too():
    """One bar at a time, as a live stream has them."""
    rows, *shape = made("coins", 4)
    rows = rows[rows["ts"] < rows["ts"].min() + 70 * MINUTE]
    whole = at_once(rows, *shape, 1 / 50)
    _, found = in_pieces(rows, *shape, 1 / 50, np.arange(1, rows["ts"].nunique()))
    columns = ["ts", "return", "volume", "n_instruments", "z", "p", "rate"]
    pd.testing.assert_frame_equal(found[columns], whole[columns], check_exact=True)


def test_what_a_market_carries_are_its_members_last_bars():
    """Ten of each, newest at the end; of a member that is absent those before."""
    rows, symbols, calendars, interval = made("coins", 9)
    gone = rows[(rows["symbol"] != symbols[2]) | (rows["ts"] < rows["ts"].min() + 0.5 * DAY)]
    state, _ = in_pieces(gone, symbols, calendars, interval, 0.01, [100, 101, 500])
    for at, symbol in enumerate(symbols):
        own = gone[gone["symbol"] == symbol].tail(WINDOW)
        assert (state.ts[at] == own["ts"].dt.tz_localize(None).to_numpy()).all()
        carried = own[["close", "volume", "split"]].to_numpy()
        np.testing.assert_array_equal(state.fields[at], carried)


@given(st.integers(0, 2**16))
@settings(max_examples=5, phases=WHOLE)
def test_beside_a_bar_stands_the_market_over_its_own_time_alone(seed):
    """As the batch joins it: unknown where the market has no bar, or is over another time."""
    rows, symbols, calendars, interval = made("coins", seed, absent=0.3)
    market = at_once(rows, symbols, calendars, interval, 0.01)
    rows = gaps.with_steps(calendars, interval, rows)
    found = beside(rows, market)
    joined = rows.merge(market, how="left", on="ts", suffixes=("", "_market"))
    is_own = is_same_time(joined["steps"].to_numpy(float), joined["steps_market"].to_numpy(float))
    for name, source in (("market", "return"), ("market_volume", "volume_market")):
        wanted = np.where(is_own, joined[source], np.nan)
        np.testing.assert_array_equal(found[name].to_numpy(), wanted)
    assert found["market"].isna().any()
    assert found["market"].notna().any()


def test_a_piece_without_a_market_of_five_leaves_it_where_it_was():
    """Four members are no market: nothing is stored, and the next bars go on."""
    rows, symbols, calendars, interval = made("coins", 2, absent=0.0)
    judge = StreamJudge(Ensemble(("volatility_zscore",), 52 * 100), calendars, interval, symbols)
    first = rows["ts"].min()
    full = rows[rows["ts"] < first + 100 * MINUTE]
    lone = rows[rows["ts"].between(first + 100 * MINUTE, first + 120 * MINUTE, inclusive="left")]
    lone = lone[lone["symbol"].isin(symbols[:4])]
    state, found = judge.run(judge.start(), full)
    assert len(found.market)
    after, nothing = judge.run(state, lone)
    assert not len(nothing.market)
    assert nothing.judged.panel.is_bar.sum() == len(lone)
    assert after.markets["24/7"].last == state.markets["24/7"].last
    assert (after.markets["24/7"].fields[4:] == state.markets["24/7"].fields[4:]).all()
