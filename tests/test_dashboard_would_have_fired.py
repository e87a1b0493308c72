"""The page "Would have fired", as a person uses it in a browser."""

import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from components import what_if
from components.embedded import close_embedded
from components.entrypoints.views import act
from components.steps.weighing import votes_of
from components.wiring import open_parts, open_warehouse
from tests.browser import dashboard, look, picture, serious, settle, words
from tests.worlds import DAY, MORNING, World, history

NAMES = ("AAA", "BBB", "CCC", "EEE", "FFF", "DDD-USD")
EVER = pd.Timestamp(0, tz="UTC")
TOLD = re.compile(r"([\d,]+) kept, ([\d,]+) new, ([\d,]+) lost")
PATH = "/would_have_fired"


@pytest.fixture(scope="module")
def market():
    """Six instruments over 900 bars, judged by one run, whose alert a person confirmed."""
    folder = Path(tempfile.mkdtemp(prefix="tremor-fired-"))
    folder.chmod(0o711)
    world = World(folder, "", {"history_years": 5})
    for symbol in NAMES:
        world.put(symbol, history(symbol, n_bars=900, crash=0.2 if symbol == "BBB" else 0.0))
    (world.folder / ".env").write_text("# mine\nTREMOR_QUORUM=2\n")
    world.run(MORNING)
    alert = world.alerts("anomaly")["id"].iloc[0]
    with open_warehouse(world.read_settings()) as warehouse:
        at = MORNING + pd.Timedelta(hours=1)
        act(warehouse, alert, "label", at, label="confirmed", note="<b>it was so</b>")
    yield world
    close_embedded(folder / "var")
    shutil.rmtree(folder)


def settings_of(world):
    """What the dashboard is started with."""
    return {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "history_years": 5,
        "attempts": 1,
    }


@pytest.fixture(scope="module")
def url(market):
    """The dashboard of who may write."""
    with dashboard(market.folder, settings_of(market), "--role", "write") as running:
        yield running.url + PATH


@pytest.fixture(scope="module")
def votes(market):
    """The judge and its votes, made here."""
    with open_parts(market.read_settings(), MORNING, reads_only=True) as parts:
        return parts.ensemble, votes_of(parts, tuple(sorted(NAMES)), MORNING)


def bars(votes, **chosen):
    """The bars that would be told in the last ten years, as pairs."""
    judge, cast = votes
    outcome = what_if.decide(replace(judge, **chosen), cast)
    rows = what_if.told_bars(outcome, MORNING - pd.DateOffset(years=10))
    return set(map(tuple, rows[["symbol", "ts"]].to_numpy()))


def said(page):
    """Kept, new and lost, as the page says."""
    return tuple(int(n.replace(",", "")) for n in TOLD.search(words(page)).groups())


def seen(page):
    """Wait until the pictures stand."""
    page.wait_for_selector("text=Largest moves not told")
    page.wait_for_selector(".js-plotly-plot .scatterlayer .point >> nth=0")
    settle(page)
    return page


def faults(page):
    """What axe finds once everything stands: what fades in is pale for a second."""
    page.wait_for_timeout(1500)
    return serious(page)


def slide(page, key, times=1):
    """Move the rate's slider by the keyboard."""
    handle = page.locator("[data-testid=stSlider] input[type=range]")
    handle.focus()
    for _ in range(times):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    settle(page)


def stored(world):
    """The anomalies that the newest verdicts hold."""
    rows = world.query(
        "select distinct on (symbol, ts) symbol, ts, verdict from verdicts "
        "order by symbol, ts, known_at desc"
    )
    rows = rows[rows["verdict"] == "anomaly"]
    return set(map(tuple, rows[["symbol", "ts"]].to_numpy()))


def test_at_first_the_page_says_what_the_run_stored(chromium, market, url):
    """The settings in force, beside themselves: all kept, just the stored anomalies."""
    errors = []
    page = seen(look(chromium, url, errors=errors))
    n_stored = len(stored(market))
    assert n_stored > 20
    assert said(page) == (n_stored, 0, 0)
    assert f"give just the {n_stored} anomalies that the runs stored" in words(page)
    assert "The chosen settings are those in force" in words(page)
    # The one that a person confirmed.
    assert "Of 1 judged, in force tells 1, chosen 1: 0 lost, 0 won." in words(page)
    assert errors == []
    assert faults(page) == []
    picture(page, "would-have-fired-first")
    page.close()


def test_the_slider_shows_at_once_what_more_alerts_would_be(chromium, url, votes):
    """One step of the keyboard: the words and the picture are those of the new rate."""
    page = seen(look(chromium, url))
    begun = time.monotonic()
    page.locator("[data-testid=stSlider] input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "[...document.querySelectorAll('.legendtext')]"
        ".some(e => /new: by the chosen alone .[1-9]/.test(e.textContent))"
    )
    took_s = time.monotonic() - begun
    settle(page)
    now, then = bars(votes), bars(votes, alerts_per_year=5.0)
    assert said(page) == (len(now & then), len(then - now), len(now - then))
    assert "TREMOR_ALERTS_PER_YEAR=5" in words(page)
    assert took_s < 5, took_s
    picture(page, "would-have-fired-more")
    slide(page, "ArrowRight", 4)
    then = bars(votes, alerts_per_year=12.0)
    assert said(page) == (len(now & then), len(then - now), len(now - then))
    page.close()


def test_a_rate_that_cannot_be_kept_is_refused_with_what_can_be_asked(chromium, url):
    """One line, and the controls stay, so that another can be chosen."""
    page = seen(look(chromium, url))
    slide(page, "Home")
    assert "Ask for 1 to 126 alerts a year" in words(page)
    assert "Traceback" not in words(page)
    picture(page, "would-have-fired-refused")
    slide(page, "ArrowRight", 2)
    assert said(page)[0] > 0
    page.close()


def test_another_quorum_is_decided_from_the_same_votes(chromium, url, votes):
    """Three votes where two were enough."""
    page = seen(look(chromium, url))
    page.get_by_text("3 (HIGH)").click()
    page.wait_for_selector("text=TREMOR_QUORUM=3")
    settle(page)
    now, then = bars(votes), bars(votes, quorum=3)
    assert said(page) == (len(now & then), len(then - now), len(now - then))
    page.close()


def test_other_detectors_are_weighed_anew(chromium, market, url, votes):
    """Those left give what a judgement by them alone gives."""
    page = seen(look(chromium, url))
    page.get_by_text("Detectors that vote: market, pump, knn, kmeans, gmm").click()
    page.get_by_role("button", name="pump", exact=True).click()
    picture(page, "would-have-fired-detectors")
    page.get_by_role("button", name="Weigh by these detectors").click()
    page.wait_for_selector("text=TREMOR_DETECTORS=market,knn,kmeans,gmm")
    seen(page)
    fewer = {"detectors": ("market", "knn", "kmeans", "gmm")}
    with open_parts(market.read_settings(**fewer), MORNING, reads_only=True) as parts:
        other = (parts.ensemble, votes_of(parts, tuple(sorted(NAMES)), MORNING))
    now, then = bars(votes), bars(other)
    assert said(page) == (len(now & then), len(then - now), len(now - then))
    page.close()


def test_an_instrument_is_found_by_its_name_and_none_is_told_what_to_do(chromium, url, votes):
    """Parts of names, separated by commas."""
    page = seen(look(chromium, url))
    box = page.get_by_label("Instruments", exact=True)
    box.fill("bbb, usd")
    box.press("Enter")
    page.wait_for_selector("text=2 instruments found: BBB, DDD-USD.")
    seen(page)
    chosen = {bar for bar in bars(votes) if bar[0] in ("BBB", "DDD-USD")}
    assert said(page) == (len(chosen), 0, 0)
    box.fill("<b>nothing</b>")
    box.press("Enter")
    page.wait_for_selector("text=No judged instrument is called so")
    settle(page)
    page.close()


def test_in_the_dark_and_on_a_phone_nothing_is_cut_off(chromium, url):
    """390 px wide, no sideways scrolling, nothing that axe finds serious."""
    page = seen(look(chromium, url, width=390, height=844, scheme="dark"))
    slide(page, "ArrowRight", 2)
    assert faults(page) == []
    widths = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain], body')]"
        ".map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert all(inner <= outer for inner, outer in widths)
    picture(page, "would-have-fired-phone-dark")
    page.close()


def test_who_may_only_look_writes_nothing(chromium, market):
    """The button is disabled, with the reason beside it."""
    held = (market.folder / ".env").read_text()
    with dashboard(market.folder, settings_of(market)) as running:
        page = seen(look(chromium, running.url + PATH, scheme="dark"))
        slide(page, "ArrowRight")
        button = page.get_by_role("button", name="Write these lines into .env")
        assert button.is_disabled()
        assert "This needs the write role" in words(page)
        picture(page, "would-have-fired-reader-dark")
        assert faults(page) == []
        page.close()
    assert (market.folder / ".env").read_text() == held


def test_what_is_saved_is_what_the_next_run_judges_by(chromium, market, url, votes):
    """The lines go into .env, the others stay; the run then stores the bars that were foretold."""
    page = seen(look(chromium, url))
    slide(page, "ArrowRight", 4)
    button = page.get_by_role("button", name="Write these lines into .env")
    button.scroll_into_view_if_needed()
    button.click()
    page.wait_for_selector("text=Written. The next run judges by them.")
    held = (market.folder / ".env").read_text()
    assert held == "# mine\nTREMOR_QUORUM=2\nTREMOR_ALERTS_PER_YEAR=10\n"
    page.close()
    market.run(MORNING + DAY, alerts_per_year=10)
    assert stored(market) == bars(votes, alerts_per_year=10.0)


def test_before_a_run_with_them_the_page_says_that_what_is_stored_differs(chromium, market, url):
    """The dashboard still compares with the settings that it was started with."""
    page = seen(look(chromium, url))
    assert "The stored verdicts differ from the settings in force on" in words(page)
    page.close()
