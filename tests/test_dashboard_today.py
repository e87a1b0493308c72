"""The page Today, as an analyst uses it in a browser: over a real market, judged for real."""

import json

import pandas as pd
import pytest

from components.entrypoints.dashboard import said_view
from components.entrypoints.dashboard.held import Held
from components.errors import SettingsError
from components.records import Alert, alert_to_json
from components.tables import ALERTS
from components.warehouse.pool import Pool
from components.wiring import open_warehouse
from tests import browser
from tests.browser import dashboard, picture, serious, settle, words
from tests.worlds import MORNING, World

HOSTILE = "<img src=x onerror=alert(1)> **bold** $x$ [a](http://evil.example)"


@pytest.fixture(scope="module")
def market(tmp_path_factory, postgres_server):
    """A market of four instruments, of which one fell by a fifth on its last day."""
    import psycopg2

    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("create database today_page")
    connection.close()
    url = postgres_server.replace("/postgres?", "/today_page?")
    world = World(tmp_path_factory.mktemp("market"), url)
    world.put_market(AAA=0.2)
    world.run()
    return world


def settings_of(world, **more):
    """What the dashboard is told of a world."""
    return {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "warehouse_url": world.postgres_url,
        "history_years": 3,
        **more,
    }


@pytest.fixture(scope="module")
def page_url(market, tmp_path_factory):
    """A dashboard whose visitors may write."""
    settings = settings_of(market, dashboard_role="write")
    with dashboard(tmp_path_factory.mktemp("today"), settings) as running:
        yield running.url


def look(chromium, url, **window):
    """A new window on the page, once all of it is there."""
    page = browser.look(chromium, url, **window)
    page.wait_for_selector("text=Data health")
    settle(page)
    return page


def click(page, name):
    """Press a button, and wait until what follows stands."""
    page.get_by_role("button", name=name, exact=True).click()
    settle(page)


def fits(page):
    """Whether nothing of the page is cut off at its side."""
    return page.evaluate(
        "(() => { const m = document.querySelector('[data-testid=stMain]');"
        " return m.scrollWidth <= m.clientWidth"
        " && document.documentElement.scrollWidth <= innerWidth })()"
    )


def told(market):
    """The alert of the fall."""
    return market.alerts("anomaly").iloc[0]


def test_what_is_unusual_is_drawn_and_explained(market, page_url, chromium):
    """Headline, level, candles with volume and band, reasons, views, what followed."""
    errors = []
    page = look(chromium, page_url, errors=errors)
    shown = words(page)
    alert = told(market)
    assert alert["headline"] in shown
    assert "As of 2024-03-13 12:00 UTC" in shown
    finding = alert["payload"]["findings"][0]
    assert all(reason in shown for reason in finding["reasons"])
    assert f"AAA {'HIGH' if finding['level'] > 2 else 'MEDIUM'}" in shown
    assert "price, quote currency" in shown
    assert "bars shown closed outside" in shown
    assert page.get_by_role("row", name="kNN").count() == 1
    for name in ("AAA, 90 candles", "What followed days alike", "Levels of the"):
        assert page.locator(f'[aria-label*="{name}"], [alt*="{name}"]').count() or name in shown, (
            name
        )
    assert "return after, %" in shown
    assert errors == []
    assert serious(page) == []
    picture(page, "today-light")


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390), ("dark", 390)])
def test_it_is_usable_in_the_dark_and_on_a_phone(page_url, chromium, scheme, width):
    """Nothing is cut off at the side, and axe has nothing serious to say."""
    page = look(chromium, page_url, scheme=scheme, width=width, height=844)
    assert fits(page)
    assert serious(page) == []
    picture(page, f"today-{scheme}-{width}")


def test_acknowledge_snooze_and_label_are_kept_and_shown_at_once(market, page_url, chromium):
    """With the note as it was written, and as the command line keeps them."""
    page = look(chromium, page_url)
    alert = told(market)
    page.get_by_label("Note, optional").fill(HOSTILE)
    page.keyboard.press("Tab")
    settle(page)
    click(page, "Acknowledge")
    rows = market.query("select * from labels order by made_at")
    assert rows["action"].tolist() == ["acknowledge"]
    assert rows["note"].tolist() == [HOSTILE]
    assert rows["symbol"].tolist() == ["AAA"]
    # The last run is one of old days: what is said counts from just after it.
    assert MORNING < rows["made_at"].iloc[0] < MORNING + pd.Timedelta(minutes=1)
    assert "acknowledged" in words(page)
    click(page, "Snooze")
    click(page, "expected")
    rows = market.query("select * from labels order by made_at")
    assert rows["action"].tolist() == ["acknowledge", "snooze", "label"]
    assert rows["until"].iloc[1] == pd.Timestamp("2024-03-20", tz="UTC")
    assert rows["label"].iloc[2] == "expected"
    assert "labelled expected" in words(page)
    assert "Said so far:" in words(page)
    assert "0 HIGH, 0 MEDIUM" in words(page)
    assert page.locator("img[src=x]").count() == 0
    picture(page, "today-said")
    # Whoever comes later sees it too; the command line's list has the same.
    assert "labelled expected" in words(look(chromium, page_url))
    assert alert["id"] in market.query("select alert_id from labels")["alert_id"].tolist()


def test_levels_and_names_narrow_the_list_and_an_empty_one_says_what_to_do(page_url, chromium):
    """LOW bars can be seen; where nothing fits, the remedy is there."""
    page = look(chromium, page_url)
    page.get_by_text("LOW", exact=True).first.click()
    settle(page)
    assert "LOW, one vote, recorded and not told" in words(page)
    page.get_by_label("Instrument", exact=True).fill("NOSUCH")
    page.keyboard.press("Enter")
    settle(page)
    page.wait_for_selector("text=Nothing is told that fits.")
    assert "Choose more levels, or another instrument" in words(page)


def test_all_are_seen_at_a_glance_and_found_by_search(page_url, chromium):
    """Four rows, letters beside colours, one found by a part of its name, none by another."""
    page = look(chromium, page_url)
    assert "no letter: nothing unusual; L: LOW" in words(page)
    assert all(name in words(page) for name in ("BBB", "CCC", "DDD-USD"))
    search = page.get_by_label("Search instruments")
    search.fill("ddd")
    search.press("Enter")
    settle(page)
    glance = page.locator(".st-key-glance")
    assert "DDD-USD" in glance.inner_text()
    assert "BBB" not in glance.inner_text()
    search.fill("<b>")
    search.press("Enter")
    settle(page)
    page.wait_for_selector("text=No judged instrument's name has '<b>' in it.")


def test_data_health_says_what_is_late_kept_aside_and_waiting(page_url, chromium):
    """Figures first, a table behind each."""
    page = look(chromium, page_url)
    shown = words(page)
    assert "late instruments 0 of 4" in shown
    assert "undecided or stale 0" in shown
    assert "deliveries that wait 0" in shown
    page.get_by_text("Undecided and stale instruments").click()
    page.wait_for_selector("text=None: every instrument held has enough history")


def test_who_may_only_look_cannot_say_anything(market, tmp_path, chromium):
    """The controls are off, with the reason; and the check is made again where it is stored."""
    before = len(market.query("select * from labels"))
    with dashboard(tmp_path, settings_of(market)) as running:
        page = look(chromium, running.url)
        assert "This needs the write role" in words(page)
        for name in ("Acknowledge", "Snooze", "false"):
            assert page.get_by_role("button", name=name, exact=True).is_disabled()
        assert serious(page) == []
        picture(page, "today-read-only")
    settings = market.read_settings()
    held = Held(settings, Pool(settings.warehouse), "x", "read", MORNING)
    with pytest.raises(SettingsError, match="may look only"):
        held.require_write()
    alert = Alert("none", "anomaly", "1d", "2024-03-12", ("AAA",), "x")
    said_view._say(held, alert, "acknowledge", symbol="", note="")
    assert len(market.query("select * from labels")) == before


def test_a_hostile_headline_is_text(market, page_url, chromium):
    """No markup of it is read, in the list or in the alert."""
    alert = Alert(
        "hostile", "data", "1d", "2024-03-12T00:00:00+00:00", ("AAA",), HOSTILE, notes=(HOSTILE,)
    )
    rows = pd.DataFrame(
        {
            "id": ["hostile"],
            "kind": ["data"],
            "interval": ["1d"],
            "ts": [pd.Timestamp("2024-03-12", tz="UTC")],
            "symbols": [json.dumps(["AAA"])],
            "headline": [HOSTILE],
            "payload": [alert_to_json(alert)],
            "known_at": [MORNING],
        }
    )
    with open_warehouse(market.read_settings()) as warehouse:
        warehouse.upsert(ALERTS, rows)
    page = look(chromium, f"{page_url}/?alert=hostile")
    assert words(page).replace("\u2060", "").count(HOSTILE) == 3
    assert page.locator("[data-testid=stMain] a[href*=evil], img[src=x], .katex").count() == 0


def test_before_any_run_it_says_what_to_do(tmp_path, make_postgres_url, chromium):
    """An empty warehouse is no error."""
    with dashboard(tmp_path, {"warehouse_url": make_postgres_url()}) as running:
        page = browser.look(chromium, running.url)
        page.wait_for_selector("text=No run has finished yet")
        assert "python main.py run" in words(page)
        assert serious(page) == []


def test_a_warehouse_that_is_away_is_one_line(tmp_path, chromium):
    """What, where, remedy; no traceback."""
    away = {"warehouse_url": "postgresql://nobody:canary@127.0.0.1:1/none"}
    with dashboard(tmp_path, away) as running:
        page = browser.look(chromium, running.url)
        page.wait_for_selector("[data-testid=stAlert]")
        shown = words(page)
        assert "127.0.0.1:1" in shown.replace("\u2060", "")
        assert "Traceback" not in shown
        assert "canary" not in shown
