"""The page of bands: alarms first, everything escaped, small enough to open."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components import band_page
from components.band_page import MAX_CHARTS, MAX_ROWS, BandPage, page, series_page
from components.errors import SettingsError
from tests.test_band_charts import at, banded
from tests.test_report import HOSTILE, Page

AS_OF = pd.Timestamp("2024-03-09 00:48", tz="UTC")
TOLD = {"as_of": AS_OF, "zone": "Europe/Berlin", "unit": "EUR", "interval": "2h"}


def watched(name="Germany", n=60, *, level=0, size=1.0, **other):
    """A series with one bin under way and three to come."""
    rows = banded(n + 4, series=name, **other)
    rows["actual"] *= size
    rows = at(rows, slice(-4, None), actual=np.nan)
    return at(at(rows, -4, so_far=40.0, nowcast=125.0), -5, level=level, p=0.001)


def realised(*names, n_open=800, n_outside=9):
    rows = {"series": list(names), "n_open": n_open, "n_outside": n_outside, "stated": 0.99}
    return pd.DataFrame(rows)


def data(*series, kept=None, **other) -> BandPage:
    rows = pd.concat(series, ignore_index=True) if series else banded(0)
    kept = realised(*rows["series"].unique()) if kept is None else kept
    usual = {"data_set": "retail", "rows": rows, "realised": kept, **TOLD}
    return BandPage(**(usual | other))


def test_alarms_come_first_then_the_largest():
    """HIGH before MEDIUM before the rest; LOW is no alarm."""
    series = [
        watched("low", level=1),
        watched("large", size=9),
        watched("medium", level=2),
        watched("high", level=3),
    ]
    words = Page(page(data(*series))).text
    table = words[words.index("Every series") : words.index("Pictures")]
    names = re.findall(r"(\w+) live", table)
    assert names == ["high", "medium", "large", "low"]
    assert "2 with an alarm in the last bin" in words


def test_a_row_tells_the_last_bin_and_the_next_ones():
    """On the operator's clock, with the difference and what the bin under way points to."""
    words = Page(page(data(watched()))).text
    assert "Germany live 2024-03-08 23:00 210.00 215.00 50.00 to 260.00 -5.00 -2.3" in words
    assert "01:00 105.00 (50.00 to 260.00) 03:00 115.00 (50.00 to 260.00) 125.00" in words


def test_the_coverage_kept_stands_beside_the_stated():
    """With counts, and never 100 % of what is not whole."""
    kept = pd.concat([realised("Germany"), realised("France", n_open=90_000, n_outside=1)])
    words = Page(page(data(watched(level=3), watched("France"), kept=kept))).text
    assert "Germany 800 9 99.00 % 98.88 % 1.4" in words
    assert "France 90,000 1 99.00 % 99.99 % 0.0" in words
    assert "did, 90,790 of 90,800" in words
    assert "Alarms a week are those of the last 5 days" in words


def test_a_series_that_knows_nothing_has_its_row():
    """No value, no band, no realised coverage: words in their place, and no NaN."""
    unknown = watched().assign(
        **dict.fromkeys(["actual", "expected", "lower", "upper", "p", "nowcast"], np.nan),
        standing="warm-up",
    )
    text = page(data(unknown, kept=realised("Germany", n_open=0, n_outside=0)))
    words = Page(text).text
    assert "no band (warm-up)" in words
    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", text).lower()
    one = Page(series_page(unknown, data_set="retail", **TOLD)).text
    assert "nan" not in one.lower()


def test_no_series_is_a_page_as_well():
    """A data set's first run."""
    assert "No series is watched" in Page(page(data())).text
    assert "no bins" in Page(series_page(banded(0), data_set="retail", **TOLD)).text


@pytest.mark.parametrize(("interval", "told"), [("15m", "900"), ("2h", "7200"), ("1d", "7200")])
def test_the_page_renews_itself(interval, told):
    """Once a bin, and every two hours at least."""
    text = page(data(watched(), interval=interval))
    assert ("meta", "content", told) in Page(text).attributes
    assert '<meta http-equiv="refresh"' in text


def test_bins_that_divide_no_day_are_refused():
    """With the setting that mends it."""
    with pytest.raises(SettingsError, match="TREMOR_INTERVAL"):
        page(data(watched(), interval="7h"))


@pytest.mark.parametrize("name", [HOSTILE, "<script>x</script>", '"><img src=x>'])
def test_hostile_names_are_words(name):
    """A name from a file cannot become a part of the page."""
    pages = [
        page(data(watched(name, level=3), data_set=name, unit=name, kept=realised(name))),
        series_page(watched(name, level=3), data_set=name, **(TOLD | {"unit": name})),
    ]
    for text in pages:
        parsed = Page(text)
        assert "<script" not in text
        assert {n for _, n, _ in parsed.attributes if n.startswith("on")} == set()
        sources = [value for tag, n, value in parsed.attributes if n == "src"]
        assert all(value.startswith("data:image/png;base64,") for value in sources)


@settings(max_examples=10)
@given(name=st.text(max_size=60), level=st.integers(0, 3), value=st.floats())
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_series_gives_a_page_whose_tags_close(name, level, value):
    """Whatever a series is called, and whatever it holds."""
    rows = watched(name, level=level)
    Page(page(data(rows.assign(expected=value, upper=value))))
    Page(series_page(rows.assign(actual=value), data_set=name, **TOLD))


def test_thousands_of_series_stay_small():
    """Some are drawn and some listed; the page says how many are not."""
    n, n_bins = 5_000, 60
    one = watched(n=n_bins)
    many = pd.concat([one] * n, ignore_index=True)
    numbers = np.repeat(np.arange(n), len(one))
    many["series"] = [f"Merchant {number:,} of a very large list" for number in numbers]
    many["actual"] *= 1 + np.random.default_rng(0).random(len(many))
    is_last = np.arange(len(many)) % len(one) == n_bins - 1
    many.loc[is_last & np.isin(numbers, [7, 4_990]), "level"] = 3
    text = page(data(many))
    assert len(text.encode()) < 3_000_000
    words = Page(text).text
    assert text.count("data:image/png") == MAX_CHARTS
    assert f"{n - MAX_CHARTS:,} more series are not drawn" in words
    assert words.count(f"and {n - MAX_ROWS:,} more series") == 2
    first = words[words.index("Nowcast") :][:400]
    assert "Merchant 7 " in first
    assert "Merchant 4,990 " in first


def test_the_pictures_are_of_those_that_come_first(monkeypatch):
    """The alarmed series is drawn although it is the smallest, then the largest."""
    monkeypatch.setattr(band_page, "MAX_CHARTS", 2)
    series = [watched("large", size=2.0), watched("usual"), watched("small", level=2, size=0.1)]
    text = page(data(*series))
    drawn = [value for tag, n, value in Page(text).attributes if (tag, n) == ("img", "alt")]
    assert [re.search(r"of (\w+),", told)[1] for told in drawn] == ["small", "large"]
    assert "1 more series are not drawn" in text


def test_the_page_of_one_series_has_its_picture_and_its_bins():
    """The newest first, those to come above, with what the sum so far points to."""
    text = series_page(watched(level=3), data_set="retail", **TOLD)
    parsed = Page(text)
    assert "40.00 so far, points to 125.00" in parsed.text
    assert "HIGH" in parsed.text
    assert parsed.text.index("2024-03-09 07:00") < parsed.text.rindex("2024-03-08 23:00")
    (source,) = [value for tag, name, value in parsed.attributes if (tag, name) == ("img", "src")]
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert picture.size == (1216, 480)


def test_the_page_needs_nothing_from_outside():
    """No address of any host: it opens from a disk, years later, and tells nobody."""
    assert "http:" not in page(data(watched())).replace("http-equiv", "")
    assert "https" not in page(data(watched()))
