"""Pictures of bands: any rows can be drawn, and what matters shows."""

import io
import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.band_charts import _short, band_png
from components.charts import finding_png
from components.records import BandChart, alert_from_json, alert_to_json
from tests.builders import alert, finding


def banded(n, *, since="2024-03-04 00:00", freq="2h", series="Germany", **other) -> pd.DataFrame:
    """``n`` closed bins inside of their band."""
    ts = pd.date_range(since, periods=n, freq=freq, tz="UTC")
    usual = {
        "series": series,
        "ts": ts,
        "ends_at": ts + pd.Timedelta(freq),
        "actual": 100.0 + 10 * (np.arange(n) % 12),
        "expected": 105.0 + 10 * (np.arange(n) % 12),
        "lower": 50.0,
        "upper": 260.0,
        "p": 0.4,
        "level": 0,
        "standing": "live",
        "so_far": np.nan,
        "nowcast": np.nan,
    }
    return pd.DataFrame(usual | other)


def picture(rows, title="retail, Germany", unit="EUR", zone="Europe/Berlin"):
    """The picture's pixels."""
    drawn = band_png(rows, title=title, unit=unit, zone=zone)
    return np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"))


def at(rows, place, **values):
    """The rows with one bin changed."""
    changed = rows.copy()
    for name, value in values.items():
        changed.loc[changed.index[place], name] = value
    return changed


def band_chart(**other) -> BandChart:
    rows = banded(30)
    usual = BandChart(
        ts=tuple(ts.isoformat() for ts in rows["ts"]),
        actual=tuple(rows["actual"]),
        expected=tuple(rows["expected"]),
        lower=tuple(rows["lower"]),
        upper=(*rows["upper"][:-1], math.nan),
        judged=rows["ts"].iloc[20].isoformat(),
        unit="EUR",
        zone="Europe/Berlin",
        title="retail, Germany",
    )
    return replace(usual, **other)


values = st.floats() | st.sampled_from([0.0, -5.0, 1e12, 5e-324, 1.7e308])
one_bin = st.tuples(*[values] * 6, st.integers(0, 3))


@settings(max_examples=25)
@given(
    bins=st.lists(one_bin, max_size=12),
    title=st.text(max_size=120),
    unit=st.text(max_size=60),
    freq=st.sampled_from(["15min", "2h", "1D"]),
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_rows_can_be_drawn(bins, title, unit, freq):
    """Nothing known, one bin, no number at all, numbers beyond all measure, any text."""
    columns = ["actual", "expected", "lower", "upper", "so_far", "nowcast", "level"]
    found = dict(zip(columns, zip(*bins, strict=True), strict=True)) if bins else {}
    assert picture(banded(len(bins), freq=freq, **found), title, unit).shape == (480, 1216, 3)


@settings(max_examples=15)
@given(place=st.integers(0, 59), level=st.sampled_from([2, 3]), value=st.floats(-1e13, 1e13))
def test_an_alarm_shows(place, level, value):
    """Wherever it is, and whatever the value."""
    rows = at(banded(60), place, actual=value)
    assert (picture(rows) != picture(at(rows, place, level=level))).any()


def test_levels_are_told_apart_without_colour():
    """In grey MEDIUM and HIGH differ, and a value above its band from one below."""
    rows = banded(40, actual=300.0)
    medium, high = (picture(at(rows, 20, level=level)).mean(axis=2) for level in (2, 3))
    assert (abs(medium - high) > 40).sum() > 50


def test_the_same_rows_give_the_same_bytes():
    """Pictures are compared by their bytes; those of other rows differ."""
    first, again = (band_png(banded(60), title="a", unit="", zone="UTC") for _ in range(2))
    assert first == again
    assert first != band_png(banded(61), title="a", unit="", zone="UTC")


def test_rows_are_left_as_they_were():
    """Nothing is added to the caller's table."""
    rows = banded(20)
    picture(rows)
    pd.testing.assert_frame_equal(rows, banded(20))


def test_only_the_last_two_weeks_are_drawn():
    """A year of bins gives the picture of its end."""
    year = banded(12 * 365)
    assert (picture(year) == picture(year.tail(12 * 14))).all()


def test_what_comes_stands_behind_a_line():
    """The bins to come, the sum so far and what it points to each change the picture."""
    rows = banded(60)
    coming = at(rows, slice(-4, None), actual=np.nan)
    under_way = at(coming, -4, so_far=40.0)
    pictures = [picture(each) for each in (rows, coming, under_way, at(under_way, -4, nowcast=120))]
    for before, after in pairwise(pictures):
        assert (before != after).any()


@pytest.mark.parametrize("since", ["2024-03-30 12:00", "2024-10-26 12:00"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu"])
@pytest.mark.parametrize("n", [1, 12, 120])
def test_clocks_that_change_are_no_trouble(since, zone, n):
    """A midnight that the clock skips or shows twice is a line like any other."""
    assert picture(banded(n, since=since), zone=zone).shape == (480, 1216, 3)


def test_a_missing_bin_is_a_gap():
    """No line is drawn over what was never there."""
    rows = banded(40)
    assert (picture(rows.drop(index=[20, 21])) != picture(rows)).any()


@pytest.mark.parametrize(
    ("ticks", "said"),
    [
        ([0.0, 20_000.0, 40_000.0], ["0", "20k", "40k"]),
        ([0.0, 2_500_000.0, 12_500_000.0], ["0", "2.5M", "12.5M"]),
        ([-50.0, 0.0, 50.0], ["-50", "0", "50"]),
        ([0.0, 0.25, 0.5], ["0", "0.25", "0.50"]),
        ([1e12, 1e12 + 50], ["1,000,000,000,000", "1,000,000,000,050"]),
        ([], []),
    ],
)
def test_numbers_of_the_axis_are_short_and_told_apart(ticks, said):
    """One unit for all of an axis, and never the same word twice."""
    assert _short(ticks) == said


def test_a_chart_of_a_band_comes_back_from_json():
    """Beside the charts of prices, with what is not known still unknown."""
    band, prices = finding(chart=band_chart()), finding()
    text = alert_to_json(alert(band, prices))
    assert json.loads(text)["findings"][0]["chart"]["upper"][-1] is None
    read = alert_from_json(text).findings
    assert repr(read[0].chart) == repr(band.chart)
    assert read[1].chart == prices.chart


def test_the_picture_of_a_finding_is_that_of_its_band():
    """The judged bin is marked; a chart without bins is a picture as well."""
    drawn = finding_png(band_chart())
    assert Image.open(io.BytesIO(drawn)).size == (1216, 480)
    assert drawn == finding_png.__wrapped__(band_chart())
    assert drawn != finding_png(band_chart(judged=""))
    nothing = band_chart(ts=(), actual=(), expected=(), lower=(), upper=())
    assert Image.open(io.BytesIO(finding_png(nothing))).size == (1216, 480)
    one = band_chart(
        ts=("2024-03-04T00:00:00+00:00",),
        **dict.fromkeys(("actual", "expected", "lower", "upper"), (1.0,)),
    )
    assert Image.open(io.BytesIO(finding_png(one))).size == (1216, 480)
