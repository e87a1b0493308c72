"""The page Data, as an analyst uses it in a browser: over a warehouse of its own, embedded."""

import io
import re

import pandas as pd
import pytest

from components.embedded import close_embedded
from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.exporting import csv_bytes, parquet_bytes
from components.entrypoints.dashboard.held import Held
from components.errors import SettingsError
from components.warehouse.pool import Pool
from components.wiring import open_warehouse
from tests import browser
from tests.browser import dashboard, picture, serious, settle, words
from tests.worlds import LAST, MORNING, World, history

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A market that was judged, one row of it kept aside, and a file that was not fetched."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o711)
    world = World(folder, "")
    world.put_market(AAA=0.2)
    odd = history("BBB")
    odd.loc[len(odd) - 5, "High"] = 1.0
    world.put("BBB", odd)
    world.run(symbols=("AAA", "BBB", "CCC"))
    yield world
    close_embedded(folder / "var")


def settings_of(world, **more):
    """What the dashboard is told of a world."""
    return {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "history_years": 3,
        "symbols": "AAA,BBB,CCC",
        **more,
    }


@pytest.fixture(scope="module")
def page_url(market, tmp_path_factory):
    """A dashboard whose visitors may write."""
    settings = settings_of(market, dashboard_role="write")
    with dashboard(tmp_path_factory.mktemp("page"), settings) as running:
        yield f"{running.url}/data"


def look(chromium, url, part="Candles", **window):
    """A new window on a part of the page."""
    page = browser.look(chromium, url, **window)
    page.wait_for_selector("text=What to do")
    settle(page)
    if part != "Candles":
        page.get_by_text(part, exact=True).first.click()
        settle(page)
    return page


def fits(page):
    """Whether nothing of the page is cut off at its side."""
    return page.evaluate(
        "(() => { const m = document.querySelector('[data-testid=stMain]');"
        " return m.scrollWidth <= m.clientWidth"
        " && document.documentElement.scrollWidth <= innerWidth })()"
    )


def taken(page, name):
    """The bytes that a button gives, once the page stands: a file made before is let go of then."""
    settle(page)
    with page.expect_download() as waited:
        page.get_by_role("button", name=name, exact=True).click()
    return waited.value.path().read_bytes()


def test_candles_are_drawn_listed_and_taken_along(market, page_url, chromium):
    """Searched by name; the files hold just what the warehouse holds of the span."""
    page = look(chromium, page_url)
    search = page.get_by_label("Search instruments")
    search.fill("cc")
    search.press("Enter")
    settle(page)
    page.wait_for_selector("text=candles, the newest first")
    assert "CCC" in words(page)
    assert "trading day" in words(page)
    assert page.locator('[aria-label*="CCC, "], [alt*="CCC, "]').count()
    held = market.query(
        "select ts, close from candles where symbol = 'CCC' and ts >= '2023-03-14' order by ts desc"
    )
    plain = pd.read_csv(io.BytesIO(taken(page, "CSV")))
    assert plain["close"].tolist() == held["close"].tolist()
    assert plain["symbol"].unique().tolist() == ["CCC"]
    whole = pd.read_parquet(io.BytesIO(taken(page, "Parquet")))
    assert whole["ts"].tolist() == held["ts"].tolist()
    assert serious(page) == []
    picture(page, "data-candles")
    search.fill("nosuch")
    search.press("Enter")
    settle(page)
    page.wait_for_selector("text=Choose an instrument to see its candles.")


@pytest.mark.parametrize("part", ["Candles", "Download history", "Gaps and rows kept aside", "SQL"])
def test_each_part_is_usable_in_the_dark_on_a_phone(page_url, chromium, part):
    """Nothing is cut off at the side, and axe has nothing serious to say."""
    page = look(chromium, page_url, part, scheme="dark", width=390, height=844)
    assert fits(page)
    assert serious(page) == []
    picture(page, f"data-{part.split()[0].lower()}-dark-phone")


def test_missing_history_is_downloaded_while_the_page_is_left(market, page_url, chromium):
    """As the command line does it: without alerts, with an end that any visitor sees."""
    page = look(chromium, page_url, "Download history")
    symbols = page.get_by_label("Symbols, comma-separated", exact=False)
    symbols.fill("../etc")
    symbols.press("Enter")
    settle(page)
    page.get_by_role("button", name="Download", exact=True).click()
    page.wait_for_selector("text=is no instrument name")
    symbols.fill("DDD-USD")
    symbols.press("Enter")
    settle(page)
    n_alerts = len(market.alerts())
    page.get_by_role("button", name="Download", exact=True).click()
    page.wait_for_selector("text=The last download")
    page.close()
    other = look(chromium, page_url, "Download history")
    other.wait_for_selector("text=stored.")
    assert "DDD-USD from files" in words(other)
    held = market.query("select count(*) as n from candles where symbol = 'DDD-USD'")["n"].iloc[0]
    assert held == 400
    assert f"{held} new candles stored." in words(other).replace("\u2060", "")
    assert len(market.alerts()) == n_alerts
    assert serious(other) == []
    picture(other, "data-download")


def test_a_run_at_work_is_said(market, page_url, chromium):
    """The download steps aside, in words."""
    page = look(chromium, page_url, "Download history")
    with open_warehouse(market.read_settings()) as warehouse, warehouse.run_lock():
        page.get_by_role("button", name="Download", exact=True).click()
        page.wait_for_selector("text=another run is at work")


def test_who_may_only_look_downloads_nothing(market, tmp_path, chromium):
    """The button is off, with the reason; and the check is made again where it begins."""
    with dashboard(tmp_path, settings_of(market)) as running:
        page = look(chromium, f"{running.url}/data", "Download history")
        assert page.get_by_role("button", name="Download", exact=True).is_disabled()
        assert "This needs the write role" in words(page)
        assert serious(page) == []
    settings = market.read_settings()
    held = Held(settings, Pool("postgresql://x@/x"), "x", "read", MORNING)
    with pytest.raises(SettingsError, match="may look only"):
        jobs.start(held, jobs.DOWNLOAD, {})


def test_gaps_and_rows_kept_aside_are_shown(page_url, chromium):
    """What should be there, what is missing, and what a check refused."""
    page = look(chromium, page_url, "Gaps and rows kept aside")
    settle(page)
    search = page.get_by_label("Search instruments").last
    search.fill("BBB")
    search.press("Enter")
    settle(page)
    page.wait_for_selector("text=Rows kept aside, under the check")
    assert "bars held" in words(page)
    picture(page, "data-gaps")


def ask(page, question):
    """Write a question and send it."""
    page.get_by_label("Query").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    settle(page)


def test_sql_reads_and_does_nothing_else(market, page_url, chromium):
    """A table that can be taken along; a write, keys and an endless question end in a line."""
    page = look(chromium, page_url, "SQL")
    ask(page, "select symbol, count(*) as n from candles group by symbol order by symbol")
    page.wait_for_selector("text=rows in")
    rows = pd.read_csv(io.BytesIO(taken(page, "CSV")))
    assert rows["symbol"].tolist()[:3] == ["AAA", "BBB", "CCC"]
    assert rows["n"].tolist()[0] == 400
    # The table's own file would hold formulas of others.
    page.get_by_test_id("stDataFrame").hover()
    page.get_by_role("button", name=re.compile("^Search")).wait_for()
    assert page.get_by_role("button", name=re.compile("^Download")).count() == 0
    assert serious(page) == []
    picture(page, "data-sql")
    ask(page, "select generate_series(1, 1000000000) as n")
    page.wait_for_selector("text=10,000 rows in")
    assert "there are more" in words(page)
    n_before = len(market.query("select symbol from candles"))
    for question, said in (
        ("delete from candles", "the warehouse says"),
        ("select 1; drop table candles", "the warehouse says"),
        ("select * from api_keys", "permission denied for table"),
        ("select pg_sleep(60)", "took longer than 10 s"),
    ):
        ask(page, question)
        page.wait_for_selector(f"text={said}")
        assert " rows in " not in words(page)
    assert len(market.query("select symbol from candles")) == n_before


def test_a_file_can_be_fetched_whatever_others_do_meanwhile(market, page_url, chromium):
    """As on a slow line, while the pages of other visitors are drawn again and again."""
    page = look(chromium, page_url, "SQL")
    ask(page, "select symbol, ts, close from candles order by symbol, ts")
    page.wait_for_selector("text=rows in")
    with page.expect_download() as waited:
        page.get_by_role("button", name="CSV", exact=True).click()
    for _ in range(3):
        look(chromium, page_url).close()
    answer = page.request.get(waited.value.url)
    assert answer.status == 200
    rows = pd.read_csv(io.BytesIO(answer.body()))
    held = market.query("select close from candles order by symbol, ts")
    assert rows["close"].tolist() == held["close"].tolist()


def test_a_large_file_is_what_was_asked_for_and_none_like_it(page_url, chromium):
    """Of the same length, and other in one row far from its ends and its middle."""
    kept = []
    for letter in "xy":
        page = look(chromium, page_url, "SQL")
        row = f"repeat('a', 2000) || case n when 700 then '{letter}' else 'z' end"
        ask(page, f"select {row} as wide from generate_series(1, 1000) as n")
        page.wait_for_selector("text=1,000 rows in")
        kept.append(pd.read_csv(io.BytesIO(taken(page, "CSV")))["wide"].str[-1])
    assert kept[0][699] == "x"
    assert kept[1][699] == "y"


def test_without_a_reader_there_is_no_sql(tmp_path, make_postgres_url, chromium):
    """On a server of somebody else's no role is made: the page says what to set."""
    with dashboard(tmp_path, {"warehouse_url": make_postgres_url()}) as running:
        page = look(chromium, f"{running.url}/data", "SQL")
        page.wait_for_selector("text=TREMOR_READER_URL")
        assert page.get_by_label("Query").count() == 0


def test_a_file_for_a_spreadsheet_runs_no_formula():
    """Texts and names of columns that begin as one are led by an apostrophe; numbers are not."""
    rows = pd.DataFrame(
        {
            "=1+1": ["=cmd|' /C calc'!A0", "@x", "+1", "-1", "plain", None],
            "n": [-1.5, 2, 3, 4, 5, float("nan")],
            "ts": pd.date_range(LAST, periods=6, freq="D"),
            "mixed": [1, "=2", None, True, "\tx", "\r"],
        }
    )
    lines = csv_bytes(rows).decode().splitlines()
    assert lines[0] == "'=1+1,n,ts,mixed"
    assert lines[1].startswith("'=cmd|' /C calc'!A0,-1.5,2024-03-12")
    assert [line.split(",")[0] for line in lines[2:6]] == ["'@x", "'+1", "'-1", "plain"]
    assert ",'=2" in lines[2]
    back = pd.read_parquet(io.BytesIO(parquet_bytes(rows)))
    assert back["n"].tolist()[:5] == [-1.5, 2, 3, 4, 5]
    assert back["=1+1"].tolist()[:5] == rows["=1+1"].tolist()[:5]
    assert back["ts"].tolist() == rows["ts"].tolist()
