"""The page of payments, as an operator meets it: in a browser, over runs that judged."""

import csv
import io
import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plots.bands import figure
from components.reading import payments as reading
from components.steps.bands import recall_bands
from components.steps.trials import try_forecasters
from components.tables import BANDS
from components.warehouse import Warehouse
from components.wiring import open_parts
from tests.browser import dashboard, look, picture, serious, settle, words
from tests.payments_made import ZONE, at, payments, run_forecast, shops
from tests.terminal import hurry, run_sql
from tests.worlds import World

NOW = at("2024-03-27 14:40")
ODD = at("2024-03-27 12:00")

# Names that a page could take for its own markup.
HOSTILE = "<img src=x onerror=document.title=1>"
LINK = "[kiosk](javascript:alert(1)) **bold** :red[x]"

N_TERMINALS = 3000


def town():
    """Shops of ten weeks: one sells far too much at noon, one nothing, two hardly ever sell."""
    rows = payments(at("2024-03-27 14:40").normalize() + pd.Timedelta(days=1))
    is_noon = rows["paid_at"].between(ODD, ODD + pd.Timedelta(hours=2), inclusive="left")
    rows.loc[is_noon & (rows["shop"] == "omega"), "amount"] *= 8
    rows = rows[~(is_noon & (rows["shop"] == "delta"))]
    rare = rows[(rows["shop"] == "alpha") & (rows["paid_at"].dt.day % 9 == 0)].iloc[::12]
    return pd.concat([rows, rare.assign(shop=HOSTILE), rare.assign(shop=LINK)])


def terminals(warehouse):
    """Three bins of each of thousands of terminals, a few of which alarm in the last one."""
    names = [f"terminal {n:05d}" for n in range(N_TERMINALS)]
    ts = pd.date_range(ODD.tz_convert("UTC") - pd.Timedelta(hours=4), periods=3, freq="2h")
    n = len(names)
    rows = pd.DataFrame({"series": np.repeat(names, 3), "ts": ts.append([ts] * (n - 1))})
    is_odd = (rows["ts"] == ts[-1]) & rows["series"].isin(names[-5:])
    rows = rows.assign(
        data_set="terminals", interval="2h", ends_at=rows["ts"] + pd.Timedelta(hours=2),
        forecaster="slot_ewma", actual=np.where(is_odd, 900.0 + np.arange(len(rows)), 100.0),
        expected=100.0, lower=60.0, upper=150.0, p=np.where(is_odd, 1e-5, 0.5),
        level=np.where(is_odd, 3, 0), standing="live", known_at=NOW.tz_convert("UTC"),
    )  # fmt: skip
    warehouse.upsert(BANDS, rows)


@pytest.fixture(scope="module")
def shopping(postgres_server, tmp_path_factory):
    """The shops' world, judged at two instants, its forecasters tried."""
    hurry(postgres_server)
    run_sql(postgres_server, "create database dashboard_payments")
    url = postgres_server.replace("/postgres?", "/dashboard_payments?")
    world = shops(World(tmp_path_factory.mktemp("payments"), url))
    rows = town()
    run_forecast(world, rows, at("2024-03-27 12:05"))
    run_forecast(world, rows, NOW)
    names = ("slot_ewma", "seasonal_naive", "ridge")
    with open_parts(world.read_settings(), NOW.tz_convert("UTC"), command="train") as parts:
        try_forecasters(parts, recall_bands(parts, "shops"), names)
        terminals(parts.warehouse)
    return world


def told(world):
    """The settings of a dashboard over a world."""
    found = {k: v for k, v in world.settings.items() if v is not None}
    return {**found, "warehouse_url": world.postgres_url, "state_dir": world.folder / "var"}


@pytest.fixture(scope="module")
def board(shopping):
    """The dashboard over the shops."""
    with dashboard(shopping.folder, told(shopping)) as running:
        yield running


@pytest.fixture(scope="module")
def page(board, chromium):
    """A window on the page."""
    found = look(chromium, f"{board.url}/payments")
    found.wait_for_selector(".js-plotly-plot")
    return found


def metric(page, name):
    """The number that stands under a name."""
    found = page.locator("[data-testid=stMetric]").filter(has_text=name)
    return found.locator("[data-testid=stMetricValue]").inner_text()


def choose(page, label, option):
    """Pick one of a list, by the keyboard."""
    box = page.get_by_role("combobox", name=re.compile(label)).first
    box.click()
    box.fill(option)
    page.keyboard.press("Enter")
    settle(page)


def exported(page):
    """The CSV of what is shown."""
    with page.expect_download() as told_of:
        page.get_by_role("button", name="Export these bins as CSV").click()
    return list(csv.DictReader(io.StringIO(told_of.value.path().read_text())))


def test_a_series_is_seen_with_its_band_its_alarm_and_what_comes(page, shopping):
    """Of all together: the last bin and its level, the nowcast, stated beside realised."""
    last = shopping.query(
        "select distinct on (ts) * from bands where series = 'total' and data_set = 'shops' "
        "order by ts desc, known_at desc limit 1"
    ).iloc[0]
    assert last["level"] == 3
    assert metric(page, "Last closed bin, EUR") == f"{last['actual']:.2f}"
    assert metric(page, "It lies") == "▲ HIGH, above"
    coming = shopping.query(
        "select * from forecasts where series = 'total' and so_far > 0 order by ts desc"
    )
    assert metric(page, "Nowcast, EUR") == f"{coming['nowcast'].iloc[0]:.2f}"
    assert re.fullmatch(r"9\d\.\d\d %", metric(page, "Inside, stated 99.0 %"))
    text = words(page)
    assert "Judged to 2024-03-27 14:00 Europe/Berlin by slot_ewma" in text
    assert "did not run since" in text
    names = page.evaluate("document.querySelector('.js-plotly-plot').data.map(t => t.name)")
    assert {"band", "band to come", "expected", "actual", "HIGH", "so far", "nowcast"} <= set(names)
    axes = page.locator(".xtitle, .ytitle").all_text_contents()
    assert axes == ["clock of Europe/Berlin", "EUR a bin of 2h"]


def test_what_is_shown_is_exported_on_the_operators_clock(page, shopping):
    """Each judged bin of the span and each that comes, as they are stored."""
    rows = exported(page)
    stored = shopping.query(
        "select distinct on (ts) ts, actual from bands where series = 'total' "
        "and data_set = 'shops' and ts > (select max(ts) from bands where data_set = 'shops') "
        "- interval '7 days' order by ts, known_at desc"
    )
    judged = [row for row in rows if row["actual"]]
    assert [float(row["actual"]) for row in judged] == stored["actual"].tolist()
    assert len(rows) - len(judged) == 12
    assert judged[-1]["bin_start"] == "2024-03-27T12:00:00+01:00"
    assert {row["series"] for row in rows} == {"total"}


def test_a_day_shows_a_day(page):
    """The span is what the picture and the export hold."""
    page.get_by_text("Day", exact=True).click()
    settle(page)
    assert len([row for row in exported(page) if row["actual"]]) == 12
    page.get_by_text("Week", exact=True).click()
    settle(page)


def test_who_lies_outside_is_listed_the_largest_first(shopping):
    """Omega sold far too much, delta nothing: by the size of the difference."""
    with Warehouse(shopping.postgres_url) as warehouse:
        found = reading.outside(warehouse, "shops", "2h")
        some = reading.outside(warehouse, "terminals", "2h", limit=2)
    assert found["series"].tolist()[0] == "omega"
    assert {"omega", "delta", "total"} <= set(found["series"])
    size = (found["actual"] - found["expected"]).abs()
    assert size.is_monotonic_decreasing
    assert some["n"].tolist() == [5, 5]
    assert some["actual"].is_monotonic_decreasing


def test_the_forecasters_are_compared_and_the_champion_named(page, shopping):
    """Who judges now, and who will from the next run on, as the trials have it."""
    crowned = shopping.query("select forecaster from forecast_trials where is_champion = 1")
    name = crowned["forecaster"].iloc[0]
    text = words(page)
    assert "slot_ewma makes the bands." in text
    assert ("From the next run on" in text) == (name != "slot_ewma")
    assert "busy series had no payment in the bin up to 2024-03-27 14:40" in text


def test_a_series_too_sparse_for_a_band_says_so_and_its_name_is_words(page):
    """A kiosk that hardly ever sells, whose name looks like markup."""
    choose(page, "^Series", "kiosk")
    text = words(page)
    assert LINK in text
    assert "Too few payments for a band" in text
    choose(page, "^Series", "img src")
    assert HOSTILE in words(page)
    assert page.title() != "1"
    assert page.locator("[data-testid=stMain] img, a[href^=javascript]").count() == 0
    choose(page, "^Series", "total")


def test_one_of_thousands_of_series_is_found_by_a_part_of_its_name(page):
    """What is not among those offered is searched for; what nobody is called is said."""
    choose(page, "Data set", "terminals")
    assert "of 3,000" in page.locator("[data-testid=stSelectbox]").nth(1).inner_text()
    search = page.get_by_label("Find a series")
    search.fill("02998")
    search.press("Enter")
    settle(page)
    assert "terminal 02998" in words(page)
    assert metric(page, "It lies") == "▲ HIGH, above"
    search.fill("nobody *is* called so")
    search.press("Enter")
    settle(page)
    assert "No series of this data set has “nobody *is* called so”" in words(page)
    search.fill("")
    search.press("Enter")
    settle(page)
    choose(page, "Data set", "shops")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_does_not_see_and_who_has_a_phone_can_use_it(board, chromium, scheme):
    """Nothing serious by axe, nothing beside a screen 390 pixels wide, no script that fails."""
    errors = []
    small = {"width": 390, "height": 844, "scheme": scheme, "errors": errors}
    page = look(chromium, f"{board.url}/payments", **small)
    page.wait_for_selector(".js-plotly-plot")
    assert serious(page) == []
    wide = "document.querySelector('[data-testid=stMain]').scrollWidth"
    assert page.evaluate(wide) <= 390
    picture(page, f"payments-phone-{scheme}")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert serious(page) == []
    picture(page, f"payments-{scheme}")
    assert errors == []
    assert "Traceback" not in board.said


def test_what_payments_do_is_asked_of_an_index(shopping):
    """The questions of a page take a tenth of a second with thousands of series."""
    with Warehouse(shopping.postgres_url) as warehouse:
        reading.data_sets(warehouse)
        begun = time.monotonic()
        found = reading.series(warehouse, "terminals", "2h", "0299")
        reading.bins(warehouse, "terminals", "terminal 02998", "2h", pd.Timedelta(days=31))
        reading.kept(warehouse, "terminals", "terminal 02998", "2h")
        took_s = time.monotonic() - begun
    assert found["n"].iloc[0] == 11
    assert took_s < 5


def test_who_has_no_payments_is_told_what_to_set_up(postgres_server, tmp_path, chromium):
    """Neither payments nor bands: which settings, and which command."""
    run_sql(postgres_server, "create database dashboard_payments_empty")
    url = postgres_server.replace("/postgres?", "/dashboard_payments_empty?")
    with dashboard(tmp_path, {"warehouse_url": url, "state_dir": tmp_path / "var"}) as running:
        page = look(chromium, f"{running.url}/payments")
        assert "TREMOR_MEASURES_QUERY" in words(page)
        assert "python main.py forecast" in words(page)
        assert serious(page) == []


# Without a browser: the picture.


def rows(n=6, gap=False):
    """Bins of a series, the last two to come; with a gap one is missing in between."""
    ts = pd.date_range("2024-03-30 20:00", periods=n, freq="2h", tz="UTC").delete(2 if gap else [])
    n, coming = len(ts), np.arange(len(ts)) >= len(ts) - 2
    return pd.DataFrame(
        {
            "ts": ts, "ends_at": ts + pd.Timedelta(hours=2),
            "actual": np.where(coming, np.nan, np.arange(n) + 10.0), "expected": 11.0,
            "lower": 8.0, "upper": 14.0, "level": np.where(coming, np.nan, 0),
            "so_far": np.nan, "nowcast": np.nan,
        }
    )  # fmt: skip


def traces(made):
    """The traces of a picture by their names."""
    return {trace.name: trace for trace in figure(made, **FORM).data}


FORM = {"unit": "EUR", "zone": ZONE, "interval": "2h"}


def test_a_missing_bin_is_a_gap():
    """Nothing is drawn where nothing is known: neither the line nor the band."""
    whole, torn = traces(rows()), traces(rows(gap=True))
    assert np.isnan(np.asarray(whole["actual"].y, dtype=float)).sum() == 1
    assert np.isnan(np.asarray(torn["actual"].y, dtype=float)).sum() == 2
    assert np.isnan(np.asarray(torn["band"].y, dtype=float)).sum() == 2


def test_bins_are_on_the_operators_clock():
    """Also when that goes forward in between: at 01:00 UTC it shows 03:00."""
    actual = traces(rows())["actual"]
    shown = list(map(str, pd.DatetimeIndex(actual.x)))
    assert shown[:4] == [f"2024-03-{at}" for at in (
        "30 21:00:00", "30 23:00:00", "31 01:00:00", "31 04:00:00")]  # fmt: skip


@given(level=st.integers(0, 3), is_above=st.booleans(), value=st.floats(0, 1e12))
def test_an_alarm_has_a_shape_a_word_and_a_side(level, is_above, value):
    """Not colour alone: up above the band, down below it, full where it is HIGH."""
    made = rows()
    made.loc[1, ["level", "actual", "expected"]] = level, value, value + (-1 if is_above else 1)
    found = {word: trace for word, trace in traces(made).items() if word in WORDS.values()}
    assert set(found) == ({WORDS[level]} if level else set())
    if level >= 2:
        (symbol,) = found[WORDS[level]].marker.symbol
        side = "up" if value > made.loc[1, "expected"] else "down"
        assert symbol == f"triangle-{side}{'' if level == 3 else '-open'}"


WORDS = {1: "LOW, not told", 2: "MEDIUM", 3: "HIGH"}


def test_a_unit_like_markup_stays_words():
    """Plotly reads tags: there are none left in what it is given."""
    drawn = figure(rows(), **{**FORM, "unit": "<b>x</b>"})
    assert "<b" not in drawn.layout.yaxis.title.text


def test_nothing_known_is_a_picture_as_well():
    """Before the first band, and before the first bin."""
    unknown = rows().assign(expected=np.nan, lower=np.nan, upper=np.nan)
    assert "band" not in traces(unknown)
    assert len(figure(rows().tail(2), **FORM).data)
