"""Missing bars: how many there are, and that a move over them is never a false jump."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ensemble import Ensemble
from components.features.channels import Channels
from components.market import is_same_time, judge_market, market_returns, medians
from components.panels import FIELDS, CandlePanel
from components.sessions import Calendars
from components.settings import ENSEMBLE
from components.steps.gaps import regular, with_steps
from components.steps.judging import judge_all
from components.tables import CANDLES, MARKET, VERDICTS
from components.wiring import open_parts
from tests import naive
from tests.panels_made import candle_panel

HOLE = 285
STEPS = FIELDS.index("steps")


def parts_of(interval):
    """What the count of bars asks of a run: its calendars and its interval."""
    return SimpleNamespace(calendars=Calendars(), watch=SimpleNamespace(interval=interval))


def bars(symbol, *stamps):
    return pd.DataFrame({"symbol": symbol, "ts": pd.DatetimeIndex(stamps, tz="UTC").as_unit("us")})


def steps_of(interval, symbol, *stamps):
    return with_steps(parts_of(interval), bars(symbol, *stamps))["steps"].tolist()


def test_nights_weekends_and_holidays_are_no_gaps():
    """New York rests over Easter 2024, and at 20:00 UTC each day; London before it in 2024."""
    days = ("2024-03-27", "2024-03-28", "2024-04-01", "2024-04-04")
    assert steps_of("1d", "AAPL", *days) == [1, 1, 1, 3]
    assert steps_of("1d", "BARC.L", "2024-03-28", "2024-04-02", "2024-04-04") == [1, 1, 2]
    minutes = ("2024-03-28 19:58", "2024-03-28 19:59", "2024-04-01 13:30", "2024-04-01 13:33")
    assert steps_of("1m", "AAPL", *minutes) == [1, 1, 1, 3]
    hours = ("2024-03-28 19:30", "2024-04-01 14:30", "2024-04-01 19:30", "2024-04-02 14:30")
    assert steps_of("1h", "AAPL", *hours) == [1, 2, 5, 2]


def test_a_market_that_never_closes_counts_by_the_clock():
    """The outage of 2021-04-25, and a coin without a weekend."""
    outage = ("2021-04-25 04:00", "2021-04-25 04:01", "2021-04-25 08:46")
    assert steps_of("1m", "BTCUSDT", *outage) == [1, 1, HOLE]
    assert steps_of("1d", "BTC-USD", "2024-03-08", "2024-03-11") == [1, 3]
    assert steps_of("4h", "BTCUSDT", "2024-03-08 20:00", "2024-03-09 00:00") == [1, 1]


def test_bars_that_no_calendar_expects_are_counted_sensibly():
    """A Saturday's bar, one before the known years, a week's bar: none is a gap of its own."""
    assert steps_of("1d", "AAPL", "2024-03-08", "2024-03-09", "2024-03-11") == [1, 1, 1]
    assert steps_of("1d", "AAPL", "1950-03-09", "1950-03-10", "1950-03-13") == [1, 1, 1]
    assert steps_of("1m", "AAPL", "1950-03-09 15:00", "1950-03-10 15:00") == [1, 1]
    assert steps_of("7d", "AAPL", "2024-03-04", "2024-03-11", "2024-03-25") == [1, 1, 2]
    assert steps_of("1h", "AAPL", "2024-03-28 15:05", "2024-03-28 15:40") == [1, 1]


@pytest.mark.parametrize(
    ("symbol", "interval", "span"), [("AAPL", "1d", 250), ("AAPL", "1h", 40), ("BTCUSDT", "1m", 1)]
)
@given(data=st.data())
def test_steps_are_their_count_whole_or_in_pieces(symbol, interval, span, data):
    """Whatever is missing: the count is that of a loop, and a carried run counts as the whole."""
    since = pd.Timestamp("2024-01-02", tz="UTC")
    due = Calendars().expected(symbol, interval, since, since + pd.Timedelta(days=span))[:200]
    held = sorted(data.draw(st.sets(st.integers(0, len(due) - 1), min_size=2, max_size=30)))
    cut = data.draw(st.integers(1, len(held) - 1))
    rows = bars(symbol, *due[held].tz_localize(None))
    whole = with_steps(parts_of(interval), rows)["steps"].tolist()
    pairs = zip(due[held][1:], due[held], strict=False)
    assert whole == [1, *(naive.expected_steps(ts, before, due) for ts, before in pairs)]
    after = pd.Series({symbol: rows["ts"].iloc[cut - 1]})
    onward = with_steps(parts_of(interval), rows.iloc[cut:], after)["steps"].tolist()
    assert whole[cut:] == onward


def test_several_instruments_are_counted_each_by_its_own_calendar_and_bar():
    """Rows in any order, one instrument new, one known before; none at all is none."""
    rows = pd.concat(
        [
            bars("BTC-USD", "2024-03-11"),
            bars("AAPL", "2024-03-12", "2024-03-11"),
            bars("NEW", "2024-03-12"),
        ]
    )
    after = pd.Series(
        {
            "AAPL": pd.Timestamp("2024-03-07", tz="UTC"),
            "BTC-USD": rows["ts"].iloc[0] - pd.Timedelta(days=3),
            "NEW": pd.NaT,
        }
    )
    found = with_steps(parts_of("1d"), rows, after)
    assert found["symbol"].tolist() == ["AAPL", "AAPL", "BTC-USD", "NEW"]
    assert found["steps"].tolist() == [2, 1, 3, 1]
    assert with_steps(parts_of("1d"), rows.iloc[:0], after)["steps"].empty


def test_bars_of_extended_hours_are_left_out():
    """Those of the session, and those of markets that know no hours, stay."""
    rows = pd.DataFrame({"hours": ["extended", "regular", None, np.nan]})
    assert regular(rows).index.tolist() == [1, 2, 3]
    assert len(regular(pd.DataFrame({"hours": [None, None]}))) == 2


def test_unknown_steps_are_one_step_and_change_not_a_bit():
    """Bars next to each other are judged as if no gap had ever been thought of."""
    panel = candle_panel(with_market=True)
    assert (panel.steps == 1).all()
    ensemble, rates = Ensemble(ENSEMBLE, 12), np.full(3, 12 / 252)
    _, expected = ensemble.run(ensemble.start(3), panel, rates)
    for unknown in (np.nan, 0.0):
        fields = panel.fields.copy()
        fields[:, :, STEPS] = unknown
        other = CandlePanel(panel.symbols, panel.ts, fields)
        _, found = ensemble.run(ensemble.start(3), other, rates)
        for name in ("score", "p", "agreed_p", "rate", "channels", "move", "market_part"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def walks(n_series=400, n_before=400, seed=1, jump=0.0, night=0.0):
    """Minutes of a random walk, of which a block of 284 is missing before the bar given back.

    ``jump`` falls into the hole; ``night`` is the size of the moves from a close to the next
    open, in those from an open to its close.
    """
    random = np.random.default_rng(seed)
    path = n_before + HOLE + 100
    body = 0.001 * random.standard_normal((n_series, path, 20)) / np.sqrt(20)
    gap = night * 0.001 * random.standard_normal((n_series, path))
    gap[:, n_before + 100] += jump
    price = np.cumsum(gap + body.sum(axis=2), axis=1)
    inner = (price - body.sum(axis=2))[:, :, None] + np.cumsum(body, axis=2)
    open_ = price - body.sum(axis=2)
    high, low = np.maximum(inner.max(axis=2), open_), np.minimum(inner.min(axis=2), open_)
    volume = 10 + 0.3 * random.standard_normal(price.shape)
    fields = np.exp(np.stack([open_, high, low, price, volume], axis=2))
    rest = np.broadcast_to([1.0, np.nan, 1.0], (*price.shape, 3))
    kept = np.r_[0:n_before, n_before + HOLE - 1 : path]
    fields = np.concatenate([fields, rest], axis=2)[:, kept]
    fields[:, n_before, STEPS] = HOLE
    minutes = np.datetime64("2024-03-04", "us") + kept * np.timedelta64(1, "m")
    symbols = tuple(f"S{i}" for i in range(n_series))
    always = frozenset() if night else frozenset(symbols)
    return CandlePanel(symbols, np.tile(minutes, (n_series, 1)), fields, always), n_before


def sizes(panel):
    _, found = Channels().run(Channels().start(len(panel.symbols)), panel)
    return {
        name: z if name in ("range_z", "excursion_z") else np.abs(z)
        for name, z in found.columns.items()
    }


@pytest.mark.parametrize("night", [0.0, 0.3])
def test_the_bar_after_a_hole_is_as_usual_as_any(night):
    """Of 400 random walks without 284 minutes, the next bar's sizes are those of other bars."""
    panel, after = walks(night=night)
    found = sizes(panel)
    for name in ("return_z", "body_z", "range_z", "excursion_z"):
        here, usual = found[name][:, after], found[name][:, 200:after]
        assert np.mean(here > np.quantile(usual, 0.99)) < 0.03, name
    for name in ("return_z", "body_z"):
        here, usual = (
            np.quantile(z, [0.5, 0.9]) for z in (found[name][:, after], found[name][:, 200:after])
        )
        np.testing.assert_allclose(here, usual, rtol=0.15, err_msg=name)
    assert np.isnan(found["gap_z"][:, after]).all()
    assert np.isfinite(found["gap_z"][:, after + 1]).all() == bool(night)
    # What it was: seventeen times too large.
    side_by_side = panel.fields.copy()
    side_by_side[:, :, STEPS] = 1
    before = sizes(CandlePanel(panel.symbols, panel.ts, side_by_side, panel.round_the_clock))
    assert np.median(before["return_z"][:, after]) > 10 * np.median(found["return_z"][:, after])


def test_a_hole_changes_little_in_what_later_bars_are_compared_with():
    """The scale behind it is that of one bar, and the alarms are those of a walk without one."""
    panel, after = walks(n_series=60, n_before=700)
    ensemble = Ensemble(ENSEMBLE, 365 * 1440 / 100)
    rates = np.full(60, 0.01)
    _, found = ensemble.run(ensemble.start(60), panel, rates)
    assert found.is_anomaly[:, after].sum() <= 4
    calm = np.median(found.scale[:, after - 60 : after])
    assert np.median(found.scale[:, after + 1 :]) == pytest.approx(calm, rel=0.05)
    true = panel.field("close")[:, after] / panel.field("close")[:, after - 1] - 1
    np.testing.assert_allclose(found.move[:, after], true, rtol=1e-12)


def test_a_real_jump_over_a_hole_is_seen():
    """Ten times what 285 minutes usually move is ten units, and an alarm."""
    panel, after = walks(n_series=60, n_before=700, jump=10 * 0.001 * np.sqrt(HOLE))
    assert np.median(sizes(panel)["return_z"][:, after]) == pytest.approx(10, rel=0.15)
    ensemble = Ensemble(ENSEMBLE, 365 * 1440 / 100)
    _, found = ensemble.run(ensemble.start(60), panel, np.full(60, 0.01))
    assert found.is_anomaly[:, after].mean() > 0.9


def test_an_outage_of_one_is_no_move_of_the_market_and_one_of_all_is_scaled():
    """Members count by the steps that most have; the market is judged by the same rule."""
    days = pd.date_range("2024-03-04", periods=3, tz="UTC")
    closes = {f"C{n}": [100.0, 101.0, 102.01] for n in range(5)} | {"LATE": [100.0, np.nan, 400.0]}
    rows = pd.DataFrame(
        [
            (s, ts, c, 1.0)
            for s, prices in closes.items()
            for ts, c in zip(days, prices, strict=True)
        ],
        columns=["symbol", "ts", "close", "split"],
    ).dropna()
    steps = np.where((rows["symbol"] == "LATE") & (rows["ts"] == days[2]), 2, 1)
    found = market_returns(rows.assign(steps=steps))
    assert found["n_instruments"].tolist() == [5, 5]
    assert found["return"].to_numpy() == pytest.approx([0.01, 0.01], rel=1e-5)
    # Not all come back in the same minute.
    spans = pd.DataFrame([[284, 285, 285, 284, 285, 2]], dtype=float)
    moves = pd.DataFrame([[0.01, 0.02, 0.03, 0.04, 0.05, 0.5]])
    assert medians(moves, spans)["return"].tolist() == [0.03]
    assert is_same_time(np.array([1, 1, 2, 10, 10]), np.array([1, 2, 3, 11, 12])).tolist() == [
        True, False, False, True, False,
    ]  # fmt: skip
    random = np.random.default_rng(3)
    moves, steps = 0.001 * random.standard_normal(600), np.ones(600)
    moves[500], steps[500] = 0.001 * np.sqrt(HOLE), HOLE
    assert abs(judge_market(moves, 0.01, steps).z[500]) < 2
    assert abs(judge_market(moves, 0.01).z[500]) > 10


COINS = tuple(f"C{n}-USD" for n in range(6))


def hours_of(symbol):
    """450 hours of a coin: an outage of all, one of its own, and bars of extended hours."""
    ts = pd.date_range("2024-03-01", periods=450, freq="h", tz="UTC").as_unit("us")
    random = np.random.default_rng([*symbol.encode()])
    close = 100 * np.exp(np.cumsum(0.01 * random.standard_normal(450)))
    rows = pd.DataFrame({"symbol": symbol, "interval": "1h", "ts": ts, "open": close})
    rows = rows.assign(high=close * 1.001, low=close * 0.999, close=close, hours=None)
    rows = rows.assign(volume=random.integers(1_000, 9_000, 450).astype(float), source="files")
    kept = np.ones(450, dtype=bool)
    kept[395:405] = False
    if symbol == COINS[0]:
        kept[[300, 429, 430, 431]] = False
    if symbol == COINS[1]:
        rows.loc[[420, 426, 449], "hours"] = "extended"
    return rows[kept]


def judged_over(world, *n_hours):
    """The verdicts, when so many hours are known at each run, without the instant of judging."""
    known = 0
    for n in n_hours:
        as_of = pd.Timestamp("2024-03-01", tz="UTC") + pd.Timedelta(hours=n + 1)
        settings = world.read_settings(symbols=",".join(COINS), interval="1h")
        with open_parts(settings, as_of) as parts:
            ts = as_of - pd.Timedelta(hours=n + 1)
            since, until = ts + pd.Timedelta(hours=known), ts + pd.Timedelta(hours=n)
            for rows in map(hours_of, COINS):
                new = rows[(rows["ts"] >= since) & (rows["ts"] < until)]
                parts.warehouse.upsert(CANDLES, new.assign(known_at=as_of))
            judge_all(parts, as_of)
        known = n
    return world.rows(VERDICTS).drop(columns="known_at"), world.rows(MARKET)


def test_runs_one_by_one_over_gaps_give_what_one_run_gives(make_world):
    """The holes lie across the runs' bounds; bars of extended hours are never judged."""
    whole, market = judged_over(make_world(), 450)
    pieces, parts_of_market = judged_over(make_world(), 392, 400, 410, 430, 433, 450)
    pd.testing.assert_frame_equal(pieces, whole, check_exact=True)
    columns = ["watch_list", "ts", "return", "n_instruments", "z"]
    pd.testing.assert_frame_equal(parts_of_market[columns], market[columns], check_exact=True)
    start = pd.Timestamp("2024-03-01", tz="UTC")
    of = {
        symbol: rows.set_index((rows["ts"] - start) // pd.Timedelta(hours=1))
        for symbol, rows in whole.groupby("symbol")
    }
    assert not {420, 426, 449} & set(of[COINS[1]].index)
    assert len(of[COINS[1]]) == 450 - 10 - 3
    # All came back from the outage together: the market did what it did over the same hours.
    # What came back alone, or was away alone, has no market to be held against.
    assert np.isfinite(of[COINS[2]]["market_part"][405])
    assert np.isnan(of[COINS[0]]["market_part"][432])
    assert np.isfinite(of[COINS[2]]["market_part"][432])
    close = hours_of(COINS[2])["close"]
    assert of[COINS[2]]["return"][405] == pytest.approx(close[405] / close[394] - 1)
