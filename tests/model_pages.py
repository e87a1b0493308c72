"""What the tests of the pages over models share: a market that is judged, and ways to look."""

import contextlib
from pathlib import Path

import pandas as pd
from playwright.sync_api import TimeoutError as TooLate

from components.entrypoints.dashboard import jobs
from components.entrypoints.dashboard.held import Held
from tests import browser
from tests.browser import environment, settle
from tests.terminal import ROOT, hurry, run_sql, tremor
from tests.trained_worlds import LAST, fill
from tests.worlds import World

# On a machine that has much else to do.
ENDED_MS = 240_000


def judged_world(tmp_path_factory, postgres_server, name):
    """Ten made coins, one of them under a name that is known of events, judged to the end."""
    hurry(postgres_server)
    run_sql(postgres_server, f"create database {name}")
    folder = tmp_path_factory.mktemp(name)
    world = World(folder, postgres_server.replace("/postgres?", f"/{name}?"))
    fill(world, n_days_more=3)
    (world.files / "C09-USD.csv").rename(world.files / "SOL-USD.csv")
    assert tremor(world, "run", "--as-of", f"{LAST:%Y-%m-%d}T12:00").code == 0
    return world


def settings_of(world):
    """The settings of a dashboard over a world, as an operator's environment has them."""
    return {
        "source": "files",
        "files_root": world.files,
        "state_dir": world.folder / "var",
        "warehouse_url": world.postgres_url,
        "attempts": 1,
        **world.settings,
    }


def look(chromium, dashboard, name, **window):
    """A new window on a page of a dashboard, once its heading and what follows is there."""
    page = browser.look(chromium, f"{dashboard.url}/{name}", **window)
    page.wait_for_selector("[data-testid=stMain] h1")
    settle(page)
    return page


def ended(page):
    """Wait until a piece of work has begun, ended, and left the page as it stays."""
    page.wait_for_selector("text=is going on", state="detached", timeout=ENDED_MS)
    settle(page)


def begin(world, monkeypatch, kind, asked):
    """Start a piece of work as the dashboard over a world would."""
    # As the dashboard's own start does it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, value in environment(settings_of(world)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(world.folder)
    jobs.start(held_by(world), kind, asked)


def held_by(world, role="write"):
    """What a page over a world is given."""
    return Held(world.read_settings(), None, "someone", role, pd.Timestamp.now("UTC"))


def choose(page, label, option):
    """Choose an option of a list; one that closes under the hand is opened again."""
    wanted = page.get_by_role("option", name=option).first
    for _ in range(5):
        page.get_by_role("combobox", name=label).click()
        with contextlib.suppress(TooLate):
            wanted.click(timeout=5_000)
            settle(page)
            return
        page.keyboard.press("Escape")
    raise AssertionError(f"no {option} in {label}")


def write(page, label, text):
    """Write into a field and leave it."""
    page.get_by_label(label).and_(page.locator("input")).fill(text)
    page.keyboard.press("Tab")
    settle(page)


def press(page, name):
    """Press a button."""
    page.get_by_role("button", name=name, exact=True).click()


def is_scrolled_sideways(page):
    """Whether the page is wider than its window."""
    return page.evaluate(
        "() => { const m = document.querySelector('[data-testid=stMain]');"
        " return m.scrollWidth > m.clientWidth + 1 ||"
        " document.documentElement.scrollWidth > window.innerWidth + 1; }"
    )


def database_of(world):
    """Where the registry's own database lies."""
    return Path(world.folder) / "var" / "mlflow" / "mlflow.db"
