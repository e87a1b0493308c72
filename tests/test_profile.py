"""The exploration's figures: each against a slow twin, or against what was planted."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.features.channels import Channels
from components.panels import FIELDS, CandlePanel, pack
from components.profile import pairs
from components.profile.figures import LEAST_RETURNS, RECENT, figures
from components.profile.history import MOST_COLUMNS, histories
from components.profile.pairs import LEAST_COMMON, correlations, matrix, no_returns, strongest
from components.profile.unusual import (
    DAY_US,
    LARGE,
    Axis,
    compared,
    large_moves,
    volume_spikes,
)
from tests.causality import assert_no_look_ahead
from tests.panels_made import candle_panel

MINUTE_US = 60_000_000
SESSION = 390


def days(panel, per_year=252.0):
    """The axis of daily bars."""
    n = len(panel.symbols)
    return Axis(DAY_US, np.full(n, per_year), np.ones(n))


def minutes(panel):
    """The axis of minutes of a market that is open for six and a half hours."""
    n = len(panel.symbols)
    return Axis(MINUTE_US, np.full(n, 252.0 * SESSION), np.full(n, float(SESSION)))


def described(panel, axis=None):
    """The rows of an exploration, by symbol."""
    axis = axis or days(panel)
    return figures(panel, axis, compared(panel, axis)).set_index("symbol")


def changed(panel, **fields):
    """The same panel with other values: name -> (series, bars, value or array)."""
    values = panel.fields.copy()
    for name, (series, bars, value) in fields.items():
        values[series, bars, FIELDS.index(name)] = value
    return replace(panel, fields=values)


def scaled(panel, series, since, factor):
    """The same panel, whose prices of one series are so many times as high from a bar on."""
    values = panel.fields.copy()
    values[series, since:, :4] *= factor
    return replace(panel, fields=values)


def minute_panel(n_sessions=12, seed=4):
    """Minutes of sessions that are busy and restless in their first half hour."""
    random = np.random.default_rng(seed)
    within = np.arange(SESSION)
    busy = np.where(within < 30, 4.0, 1.0)
    r = 0.0005 * random.standard_normal((n_sessions, SESSION)) * busy
    r[:, 0] = 0.004 * random.standard_normal(n_sessions)
    close = 100 * np.exp(np.cumsum(r.ravel()))
    open_ = np.r_[100.0, close[:-1]]
    volume = np.exp(8 + np.log(busy) + 0.3 * random.standard_normal((n_sessions, SESSION)))
    opened = pd.bdate_range("2024-03-11", periods=n_sessions) + pd.Timedelta(hours=13.5)
    ts = (opened.to_numpy()[:, None] + within * np.timedelta64(1, "m")).ravel()
    frame = pd.DataFrame({"symbol": "ACME", "ts": pd.DatetimeIndex(ts, tz="UTC").as_unit("us")})
    frame = frame.assign(open=open_, close=close, volume=volume.ravel(), split=1.0, steps=1)
    frame = frame.assign(
        high=np.maximum(open_, close) * 1.0001, low=np.minimum(open_, close) * 0.9999
    )
    return pack(frame, ("ACME",))


def test_a_day_is_compared_as_an_alert_compares_it():
    """The units are those of the channels, to the bit: one judgement everywhere."""
    panel = candle_panel(n_bars=300)
    found = compared(panel, days(panel))
    channels = Channels()
    _, channelled = channels.run(channels.start(3), panel)
    np.testing.assert_array_equal(found.move_z, channelled.columns["return_z"])
    np.testing.assert_array_equal(found.volume_z, channelled.columns["volume_z"])


@pytest.mark.parametrize("kind", ["days", "minutes"])
@given(last=st.integers(1, 3_000))
@settings(max_examples=8)
def test_nothing_that_comes_later_changes_what_is_unusual(kind, last):
    """No look-ahead: a history cut short says the same of its bars."""
    panel = candle_panel(n_bars=3_000, n_series=1) if kind == "days" else minute_panel(8)
    axis = days(panel) if kind == "days" else minutes(panel)

    def cut(first, until):
        own = replace(panel, ts=panel.ts[:, first:until], fields=panel.fields[:, first:until])
        found = compared(own, axis)
        return np.concatenate([found.move_z, found.volume_z])

    assert_no_look_ahead(cut, panel.ts.shape[1], last)


def test_a_planted_move_and_a_planted_spike_stand_first_and_a_second_crash_is_not_hidden():
    """Fifteen per cent down, the next day again; a volume of twenty times the usual."""
    panel = scaled(scaled(candle_panel(), 1, 300, 0.85), 1, 301, 0.85)
    panel = changed(panel, volume=(2, 350, 2e7))
    axis = days(panel)
    found = compared(panel, axis)
    moves, spikes = large_moves(panel, found, 20), volume_spikes(panel, found, 20)
    assert moves["symbol"].tolist()[:2] == ["S1", "S1"]
    assert set(moves["ts"][:2]) == {_ts(panel, 300), _ts(panel, 301)}
    assert (moves["return"][:2] < -0.1).all()
    assert (moves["times_usual"][:2] < -LARGE).all()
    assert (spikes["symbol"][0], spikes["ts"][0]) == ("S2", _ts(panel, 350))
    usual = np.median(panel.field("volume")[2, 290:350])
    assert spikes["times_median"][0] == pytest.approx(2e7 / usual)
    row = described(panel).loc["S1"]
    assert row["largest_move_ts"] in set(moves["ts"][:2])
    assert row["largest_move_times"] == pytest.approx(np.abs(moves["times_usual"]).max())
    assert row["n_large_moves"] == (np.abs(found.move_z[1]) >= LARGE).sum() >= 2
    every = large_moves(panel, found, 400)["symbol"].value_counts()
    assert every.to_dict() == described(panel)["n_large_moves"].to_dict()


@pytest.mark.parametrize(("bar", "is_known"), [(59, False), (60, True)])
def test_a_spike_is_named_beside_the_median_of_sixty_bars_or_of_none(bar, is_known):
    """Of fewer bars before it no median is told."""
    panel = changed(candle_panel(n_series=1), volume=(0, bar, 1e8))
    found = volume_spikes(panel, compared(panel, days(panel)), 1)
    assert found["ts"].tolist() == [_ts(panel, bar)]
    assert found["times_median"].notna().tolist() == [is_known]


def _ts(panel, bar):
    return pd.Timestamp(panel.ts[0, bar], tz="UTC")


def test_of_each_instrument_no_more_unusual_bars_are_listed_than_asked_for():
    """The largest of each, the largest of all first."""
    panel = candle_panel(n_bars=2_000)
    found = compared(panel, days(panel))
    moves = large_moves(panel, found, 5)
    assert moves["symbol"].value_counts().tolist() == [5, 5, 5]
    assert moves["times_usual"].abs().is_monotonic_decreasing
    for row, symbol in enumerate(panel.symbols):
        own = moves.loc[moves["symbol"] == symbol, "times_usual"].abs()
        np.testing.assert_array_equal(own, np.sort(np.abs(found.move_z[row, 31:]))[::-1][:5])


def test_a_split_is_no_move_and_no_spike_and_the_picture_has_the_newest_shares():
    """Ten new shares for an old one: a tenth of the price, ten times the volume."""
    plain = candle_panel(n_series=1)
    split = scaled(plain, 0, 200, 0.1)
    volume = np.where(np.arange(400) >= 200, 10, 1) * plain.field("volume")[0]
    split = changed(split, split=(0, 200, 10.0), volume=(0, slice(None), volume))
    axis = days(plain)
    before, after = compared(plain, axis), compared(split, axis)
    for name in ("move", "move_z", "volume_z"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name), rtol=1e-9)
    pd.testing.assert_frame_equal(described(plain), described(split))
    (whole,), (drawn,) = histories(plain, before), histories(split, after)
    for name in ("low", "high", "close"):
        np.testing.assert_allclose(drawn.columns[name], whole.columns[name] / 10)
    np.testing.assert_allclose(drawn.columns["volume"], whole.columns["volume"] * 10)


def test_volatility_is_that_of_the_log_returns_times_the_bars_of_a_year():
    """Against pandas: all returns, and the last sixty; a move over four bars counts half."""
    panel = changed(candle_panel(), steps=(0, 250, 4.0))
    rows = described(panel, days(panel, per_year=365.0))
    for i, symbol in enumerate(panel.symbols):
        r = np.log(pd.Series(panel.field("close")[i])).diff()
        r[250] /= 2 if i == 0 else 1
        root = np.sqrt(365)
        assert rows.loc[symbol, "volatility"] == pytest.approx(r.std() * root)
        recent = r.tail(RECENT).std() * root
        assert rows.loc[symbol, "volatility_recent"] == pytest.approx(recent)


@pytest.mark.parametrize("n_bars", [1, 2, LEAST_RETURNS, LEAST_RETURNS + 1])
def test_of_few_returns_no_volatility_is_told(n_bars):
    """Twenty are needed; a single bar has a row of counts, and nothing that is made up."""
    row = described(candle_panel(n_series=1, n_bars=n_bars)).loc["S0"]
    assert np.isfinite(row["volatility"]) == (n_bars > LEAST_RETURNS)
    assert row["n_bars"] == n_bars
    assert row["n_judged_moves"] == row["n_large_moves"] == row["n_judged_volumes"] == 0
    assert pd.isna(row["largest_move_ts"])
    assert row["first"] <= row["last"]


@given(
    volume=arrays(float, 60, elements=st.sampled_from([0.0, 1.0, 2.0, 7.0, 40.0, np.nan])),
)
def test_the_plain_rule_is_counted_as_pandas_counts_it(volume):
    """Volume over 3 times the mean of up to 19 bars before, of at least 5."""
    panel = changed(candle_panel(n_series=1, n_bars=60), volume=(0, slice(None), volume))
    row = described(panel).loc["S0"]
    series = pd.Series(volume)
    mean = series.shift().rolling(19, min_periods=5).mean()
    assert row["n_plain_judged"] == (mean.notna() & series.notna()).sum()
    assert row["n_plain_spikes"] == (series > 3 * mean + 1e-9).sum()
    assert row["n_zero_volume"] == (series == 0).sum()
    assert row["n_no_volume"] == series.isna().sum()


@given(moves=arrays(np.int64, 50, elements=st.sampled_from([0, 0, 1, -1])))
def test_unchanged_closes_are_counted_in_all_and_in_a_row(moves):
    """Against a loop over runs."""
    close = 100 + np.cumsum(moves).astype(float)
    panel = candle_panel(n_series=1, n_bars=50)
    row = described(changed(panel, close=(0, slice(None), close))).loc["S0"]
    same = [move == 0 for move in moves[1:]]
    runs = [len(list(run)) for is_same, run in itertools.groupby(same) if is_same]
    assert row["n_unchanged"] == sum(runs)
    assert row["longest_unchanged"] == max(runs, default=0)


def test_gaps_are_counted_in_places_and_in_bars():
    """Two places, of which one lacks seven bars; an instrument that began late has no gap."""
    panel = changed(candle_panel(), steps=(0, [100, 200], [3.0, 8.0]))
    late = panel.ts.copy()
    late[1, :50] = np.datetime64("NaT")
    fields = panel.fields.copy()
    fields[1, :50] = np.nan
    rows = described(CandlePanel(panel.symbols, late, fields))
    assert rows["n_gaps"].tolist() == [2, 0, 0]
    assert rows["longest_gap_bars"].tolist() == [7, 0, 0]
    assert rows["n_bars"].tolist() == [400, 350, 400]
    assert rows.loc["S1", "first"] == _ts(panel, 50)


def test_an_instrument_that_stands_still_or_has_no_volume_breaks_no_figure():
    """Flat prices have no volatility and no large move; without volumes no spike is judged."""
    panel = candle_panel()
    flat = changed(panel, volume=(0, slice(None), 0.0))
    flat.fields[0, :, :4] = 5.0
    rows = described(changed(flat, volume=(1, slice(None), np.nan)))
    still, silent = rows.loc["S0"], rows.loc["S1"]
    assert still["volatility"] == 0
    assert (still["n_large_moves"], still["n_unchanged"], still["n_flat"]) == (0, 399, 400)
    assert (still["n_zero_volume"], still["longest_unchanged"]) == (400, 399)
    assert (silent["n_no_volume"], silent["n_judged_volumes"], silent["n_plain_judged"]) == (
        400,
        0,
        0,
    )
    assert silent["n_judged_moves"] > 300


def test_what_is_usual_at_the_opening_is_no_spike_and_no_move_there():
    """The same volume and the same move are unusual at noon."""
    panel = minute_panel()
    axis = minutes(panel)
    found = compared(panel, axis)
    minute = np.arange(panel.ts.shape[1]) % SESSION
    opening = (minute > 0) & (minute < 30)
    for z in (np.abs(found.move_z[0]), found.volume_z[0]):
        judged = np.isfinite(z)
        assert (z[judged & opening] >= LARGE).mean() < 0.01
    noon = 9 * SESSION + 200
    busy = np.median(panel.field("volume")[0, opening])
    loud = changed(panel, volume=(0, noon, busy))
    assert compared(loud, axis).volume_z[0, noon] > LARGE
    moved = scaled(panel, 0, noon, 1.004)
    assert compared(moved, axis).move_z[0, noon] > LARGE


def test_a_night_is_held_against_a_whole_session():
    """One per cent over night is nothing; ten are; one within a minute is."""
    panel = minute_panel()
    axis = minutes(panel)
    morning = 6 * SESSION
    for factor, is_large in ((1.01, False), (1.1, True)):
        z = compared(scaled(panel, 0, morning, factor), axis).move_z
        assert (np.abs(z[0, morning]) >= LARGE) == is_large
    z = compared(scaled(panel, 0, morning + 200, 1.01), axis).move_z
    assert z[0, morning + 200] > LARGE


def test_a_long_history_is_drawn_in_as_many_columns_as_a_picture_has_room_for():
    """No extreme is lost in them: lowest low, highest high, all volume, every mark."""
    panel = candle_panel(n_series=1, n_bars=3_001)
    found = compared(panel, days(panel))
    (drawn,) = histories(panel, found)
    assert len(drawn.columns) <= MOST_COLUMNS
    assert drawn.bars_a_column == 8
    assert drawn.columns["low"].min() == panel.field("low").min()
    assert drawn.columns["high"].max() == panel.field("high").max()
    assert drawn.columns["volume"].sum() == pytest.approx(panel.field("volume").sum())
    assert drawn.columns["close"].iloc[-1] == panel.field("close")[0, -1]
    assert len(drawn.moves) == (np.abs(found.move_z) >= LARGE).sum()
    assert len(drawn.spikes) == (found.volume_z >= LARGE).sum()
    assert drawn.moves["column"].max() < len(drawn.columns)


def grid_of(panel, row=0):
    """The bars that a calendar expects, which are all that the panel has."""
    return panel.ts[row][~np.isnat(panel.ts[row])].astype(np.int64)


def returns_of(panel, grids=None):
    """The returns of a panel's instruments by time."""
    room = no_returns(panel.symbols, grids or [grid_of(panel)])
    room.put(0, panel, compared(panel, days(panel)).move)
    return room


def holed(n_series, n_bars, seed=5):
    """A panel in which a fifth of the closes is unknown."""
    panel = candle_panel(seed=seed, n_series=n_series, n_bars=n_bars)
    random = np.random.default_rng(seed)
    panel.field("close")[random.random((n_series, n_bars)) < 0.2] = np.nan
    return panel


@pytest.mark.parametrize("block", [2, 3, 256])
def test_correlations_are_those_of_pandas_over_the_common_bars(block, monkeypatch):
    """Pair by pair, whatever is multiplied at once; the strongest first, each pair once."""
    monkeypatch.setattr(pairs, "BLOCK", block)
    panel = holed(7, 200)
    room = returns_of(panel)
    logs = pd.DataFrame(np.log(panel.field("close")).T, columns=list(panel.symbols)).diff()
    expected = logs.corr(min_periods=LEAST_COMMON)
    found, n_common = correlations(room.of, room.of)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    known = logs.notna().to_numpy().astype(int)
    np.testing.assert_array_equal(n_common, known.T @ known)
    listed = strongest(room, 10)
    names = itertools.combinations(panel.symbols, 2)
    every = pd.Series({pair: expected.loc[pair] for pair in names}).dropna()
    largest = every.abs().sort_values(ascending=False).head(10)
    np.testing.assert_allclose(listed["correlation"].abs(), largest, rtol=1e-5)
    assert set(zip(listed["first"], listed["second"], strict=True)) == set(largest.index)
    for row in listed.to_dict("records"):
        own = logs[[row["first"], row["second"]]].dropna()
        assert row["n_common"] == len(own)


def test_the_monday_of_a_coin_is_not_the_monday_of_a_share():
    """One is over a day, the other over three: they are no common bar; Tuesday to Friday are."""
    coin = candle_panel(n_series=1, n_bars=364, start="2024-01-01")
    weekday = pd.DatetimeIndex(coin.ts[0]).day_of_week
    share = replace(
        coin, symbols=("ACME",), ts=coin.ts[:, weekday < 5], fields=coin.fields[:, weekday < 5]
    )
    room = no_returns(("BTC-USD", "ACME"), [grid_of(coin), grid_of(share)])
    for row, panel in enumerate((coin, share)):
        room.put(row, panel, compared(panel, days(panel)).move)
    (pair,) = strongest(room, 5).to_dict("records")
    assert (pair["first"], pair["second"]) == ("ACME", "BTC-USD")
    assert pair["n_common"] == ((weekday >= 1) & (weekday <= 4)).sum()
    assert pair["correlation"] == pytest.approx(1)


def test_too_few_common_bars_and_a_flat_instrument_have_no_correlation():
    """Twenty-nine are too few, thirty are enough; where nothing moves nothing moves together."""
    panel = candle_panel(n_series=4, n_bars=100)
    room = returns_of(panel)
    room.of[1, LEAST_COMMON - 1 :] = np.nan
    room.of[2, LEAST_COMMON:] = np.nan
    room.of[3] = 0.0
    found, n_common = correlations(room.of, room.of)
    assert n_common[0].tolist() == [99, LEAST_COMMON - 1, LEAST_COMMON, 99]
    assert np.isfinite(found[0]).tolist() == [True, False, True, False]
    assert strongest(room, 9)[["first", "second"]].to_numpy().tolist() == [["S0", "S2"]]
    assert strongest(no_returns((), []), 9).empty


def test_what_does_not_move_over_the_common_bars_has_no_correlation_there():
    """It moved before the other came; what is left of its variance is the noise of sums."""
    room = returns_of(candle_panel(n_series=2, n_bars=201))
    room.of[0, 100:] = 0.1
    room.of[1, :100] = np.nan
    found, n_common = correlations(room.of, room.of)
    assert n_common[0, 1] == 100
    assert np.isnan(found[0, 1])
    assert found[0, 0] == pytest.approx(1)


def test_a_gap_makes_no_common_bar():
    """A return over three bars is not one of those that others have over one."""
    panel = candle_panel(n_series=2, n_bars=100)
    kept = np.ones(100, dtype=bool)
    kept[40:42] = False
    rows = [
        replace(panel, symbols=("S0",), ts=panel.ts[:1], fields=panel.fields[:1]),
        replace(panel, symbols=("S1",), ts=panel.ts[1:, kept], fields=panel.fields[1:, kept]),
    ]
    room = no_returns(panel.symbols, [grid_of(panel)])
    for row, own in enumerate(rows):
        room.put(row, own, compared(own, days(own)).move)
    assert strongest(room, 1)["n_common"].tolist() == [99 - 3]


def test_the_room_for_returns_is_bounded_and_keeps_the_newest(monkeypatch):
    """However many instruments and years: as many cells as are allowed, the last ones."""
    panel = candle_panel(n_series=3, n_bars=100)
    monkeypatch.setattr(pairs, "MOST_CELLS", 3 * 40 + 2)
    room = returns_of(panel)
    assert room.of.shape == (3, 40)
    r = np.diff(np.log(panel.field("close")), axis=1)
    np.testing.assert_allclose(room.of, r[:, -40:], rtol=1e-6)
    # With a second calendar some of the newest times are its own.
    both = no_returns(panel.symbols, [grid_of(panel), grid_of(panel)[::2]])
    assert both.of.shape == (3, 40)
    assert both.columns[-1] > room.columns[20]
    assert set(room.columns[-20:]) < set(both.columns)


def test_the_matrix_puts_what_moves_together_side_by_side():
    """Two families, entered in turn: each stands in one block, whatever the order was."""
    random = np.random.default_rng(2)
    market = random.standard_normal((2, 300))
    room = returns_of(candle_panel(n_series=6, n_bars=301))
    room.of[:] = market[[0, 1, 0, 1, 0, 1]] + 0.5 * random.standard_normal((6, 300))
    found = matrix(room, room.symbols)
    family = [int(name[1]) % 2 for name in found.symbols]
    assert sum(a != b for a, b in itertools.pairwise(family)) == 1
    np.testing.assert_allclose(found.correlation, found.correlation.T)
    place = [room.symbols.index(name) for name in found.symbols]
    expected, _ = correlations(room.of, room.of)
    np.testing.assert_allclose(found.correlation, expected[np.ix_(place, place)])
    assert matrix(room, []).symbols == ()
    assert matrix(room, ["S3"]).symbols == ("S3",)
