"""Pictures to point at, as numbers: bands, levels, parts; nothing from outside is markup."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plots import candles, heat_map, shares
from components.plots.inks import plain
from components.records import Followed

DAYS = pd.bdate_range("2024-01-01", periods=40, tz="UTC")


def bars(n=40, scale=0.01):
    """Candles that stand still but for the last, which falls by a tenth."""
    close = np.full(n, 100.0)
    close[-1] = 90.0
    return pd.DataFrame(
        {
            "ts": DAYS[:n],
            "open": 100.0,
            "high": 101.0,
            "low": np.minimum(close, 99.0),
            "close": close,
            "volume": 5.0,
            "scale": scale,
        }
    )


def verdicts(**columns):
    """Two instruments, ten days of verdicts."""
    rows = pd.DataFrame({"symbol": ["A", "<b>B"], "key": 0}).merge(
        pd.DataFrame({"ts": DAYS[:10], "key": 0})
    )
    base = {"verdict": "normal", "level": 0, "state": "live", "p": 0.5, "return": 0.01}
    return rows.assign(**{**base, **columns})


@given(st.floats(1e-4, 0.2), st.integers(2, 40))
def test_the_band_is_the_close_before_give_or_take_the_usual_move(scale, n):
    """Of each bar it is known before the bar: changing a close changes only the next one's band."""
    own = bars(n, scale)
    lower, upper = candles.band(own)
    assert np.isnan(lower[0])
    np.testing.assert_allclose(np.sqrt(lower[1:] * upper[1:]), own["close"].to_numpy()[:-1])
    np.testing.assert_allclose(np.log(upper[1:] / lower[1:]), 2 * candles.USUAL * scale)
    changed = own.assign(close=own["close"].where(own.index < n - 1, 1.0))
    np.testing.assert_array_equal(candles.band(changed)[0], lower)


def test_closes_outside_of_the_band_are_counted_and_said():
    """One of 39 bars that have a band left it; without any volatility there is no band."""
    assert candles.outside(bars()) == (1, 39)
    assert "1 of 39 bars shown closed outside (2.6 %)" in candles.band_words(bars())
    assert "No band" in candles.band_words(bars(scale=np.nan))


@pytest.mark.parametrize(("level", "symbol"), [(1, "circle-open"), (2, "diamond"), (3, "star")])
def test_a_judged_bar_is_marked_by_a_shape_and_a_word(level, symbol):
    """Colour alone would tell some people nothing."""
    judged = candles.Judged(DAYS[39], level, "a word")
    figure = candles.figure(bars(), "1d", judged)
    (marker,) = [
        trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"
    ]
    assert marker.marker.symbol == symbol
    assert [note.text for note in figure.layout.annotations] == ["a word"]
    assert figure.layout.xaxis2.title.text == "trading day"
    absent = candles.figure(bars(), "1d", candles.Judged(DAYS[0] - DAYS.freq, 3, "x"))
    assert not absent.layout.annotations


def test_weekends_take_no_room_where_nobody_trades_on_them():
    """A market that never closes keeps all of its days, and so do minutes."""
    own = bars()
    assert candles.figure(own, "1d").layout.xaxis.rangebreaks
    every = own.assign(ts=pd.date_range("2024-01-01", periods=40, tz="UTC"))
    assert not candles.figure(every, "1d").layout.xaxis.rangebreaks
    assert not candles.figure(own, "1m").layout.xaxis.rangebreaks


def test_each_state_has_a_letter_of_its_own_and_undecided_is_not_normal():
    """Levels 0 to 3, votes beyond three, undecided and stale."""
    rows = pd.DataFrame(
        {
            "verdict": ["normal", "normal", "anomaly", "anomaly", "undecided", "normal"],
            "level": [0, 1, 2, 5, 0, 0],
            "state": ["live", "live", "live", "live", "warm-up", "stale"],
        }
    )
    assert heat_map.LETTERS[heat_map.codes(rows)].tolist() == ["", "L", "M", "H", "?", "?"]
    assert len(set(heat_map.LETTERS)) == len(heat_map.LETTERS)


def test_a_glance_has_a_row_an_instrument_and_a_gap_where_there_is_no_bar():
    """Names from outside are text; a bar that is not there has no colour and no letter."""
    rows = verdicts().iloc[1:]
    figure = heat_map.glance(rows, "1d")
    (drawn,) = figure.data
    assert drawn.z.shape == (2, 10)
    assert list(drawn.y) == ["&lt;b&gt;B", "A"]
    assert np.isnan(drawn.z).sum() == 1
    assert "19 nothing unusual" in heat_map.glance_words(rows)


def test_a_year_puts_each_day_into_its_week_and_weekday():
    """2024 began on a Monday; weekends have rows only where there are bars on them."""
    own = verdicts(level=2).query("symbol == 'A'")
    (drawn,) = heat_map.year(own, 2024).data
    assert drawn.z.shape == (5, 54)
    assert np.isfinite(drawn.z[:, :2]).all()
    assert np.isnan(drawn.z[:, 2:]).all()
    assert drawn.customdata[0, 1, 3] == "2024-01-08"


def test_the_parts_of_a_move_and_what_followed_are_drawn_with_their_intervals():
    """Percent and multiples, as they are written beside them."""
    figure = shares.parts(-0.031, 0.002)
    assert list(figure.data[0].text) == ["-3.1 %", "+0.2 %"]
    followed = [Followed(5, 1.2, 1.0, 1.5, 0.02, -0.01, 0.05)]
    drawn = shares.moves(followed, "1d").data[0]
    assert (drawn.y[0], drawn.error_y.array[0], drawn.error_y.arrayminus[0]) == pytest.approx(
        (2.0, 3.0, 3.0)
    )
    assert drawn.x[0] == "5 days"
    assert shares.volatility(followed, "1d").data[0].error_y.arrayminus[0] == pytest.approx(0.2)
    assert "volatility 1.2 times (1.0 to 1.5)" in shares.followed_words(followed)


@given(st.text())
def test_no_text_is_markup_in_a_picture(text):
    """Plotly reads a few tags in names and labels."""
    assert "<" not in plain(text)
    assert ">" not in plain(text)
