"""Who may look at the dashboard, and who may change: as a visitor meets it in a browser."""

import re
import subprocess
import sys

import pytest

from components.entrypoints.dashboard.entering import by_claims
from components.entrypoints.dashboard.saying import escaped
from components.passwords import hashed
from components.settings import Settings
from tests import browser
from tests.browser import dashboard, free_port, picture, serious, settle, words
from tests.oidc_stand_in import provider
from tests.terminal import ROOT

PASSWORD = "a testing word"

PEOPLE = {
    "ann": {"email": "Ann@desk.example", "email_verified": True},
    "bob": {"email": "bob@desk.example", "email_verified": True},
    "forger": {"email": "ann@desk.example", "email_verified": False},
}


@pytest.fixture(scope="module")
def state(tmp_path_factory, postgres_server):
    """Settings over an empty warehouse."""
    return {"warehouse_url": postgres_server, "state_dir": tmp_path_factory.mktemp("state")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, state):
    """A dashboard behind a password."""
    settings = {**state, "dashboard_password_hash": hashed(PASSWORD)}
    with dashboard(tmp_path_factory.mktemp("guarded"), settings) as running:
        yield running


def look(chromium, url, **window):
    """A new window on a page, once its heading is there."""
    page = browser.look(chromium, url, **window)
    page.wait_for_selector("[data-testid=stMain] h1, [data-testid=stAlert]")
    settle(page)
    return page


def enter(page, password):
    """Type a password and send it."""
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()
    settle(page)


def test_nothing_is_seen_before_the_password_and_it_gives_the_write_role(guarded, chromium):
    """No page, no name of a page; then all, and after logging out nothing again."""
    page = look(chromium, f"{guarded.url}/data")
    assert "Log in to see" in words(page)
    assert page.get_by_test_id("stSidebarNav").count() == 0
    assert serious(page) == []
    picture(page, "login-light")
    enter(page, PASSWORD)
    # The address that was asked for is where one arrives.
    assert page.get_by_role("heading", name="Data").is_visible()
    assert "operator: may look and change." in page.get_by_test_id("stSidebar").inner_text()
    assert serious(page) == []
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector("text=Log in to see")
    settle(page)
    assert "Choose an instrument" not in words(page)
    # A browser session of its own has its own login.
    other = look(chromium, guarded.url, scheme="dark", width=390, height=800)
    assert "Log in to see" in words(other)
    assert serious(other) == []
    picture(other, "login-dark-phone")


def test_wrong_guesses_are_slowed_down_for_all_windows_together(guarded, chromium):
    """The visitor is told how long to wait, and a second window has to wait as well."""
    page, other = look(chromium, guarded.url), look(chromium, guarded.url)
    enter(page, "wrong")
    assert "This is not the password. Try again." in words(page)
    waits = [0]
    while waits[-1] < 6 and len(waits) < 30:
        enter(page, "wrong")
        waits += [int(found) for found in re.findall(r"Wait (\d+) s", words(page))]
    assert waits[-1] >= 6
    enter(other, PASSWORD)
    assert "came too early" in words(other)
    assert PASSWORD not in guarded.said


@pytest.fixture(scope="module")
def by_provider(tmp_path_factory, state):
    """A dashboard behind a real provider: ann may write, bob may look."""
    folder = tmp_path_factory.mktemp("oidc")
    own, theirs = free_port(), free_port()
    with provider(PEOPLE, theirs) as made, pytest.MonkeyPatch.context() as patched:
        patched.setattr(browser, "free_port", lambda: own)
        (folder / "auth.toml").write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{own}/oauth2callback"\n'
            f'cookie_secret = "a testing secret"\nclient_id = "{made.client_id}"\n'
            f'client_secret = "{made.client_secret}"\n'
            f'server_metadata_url = "{made.url}/.well-known/openid-configuration"\n'
        )
        settings = {
            **state,
            "dashboard_oidc": folder / "auth.toml",
            "dashboard_writers": "ann@desk.example",
            "dashboard_readers": "bob@desk.example",
        }
        with dashboard(folder, settings) as running:
            yield running


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("ann", "Ann@desk.example: may look and change."),
        ("bob", "bob@desk.example: may look."),
        ("forger", "forger: may not look."),
    ],
)
def test_a_provider_says_who_it_is_and_the_settings_what_he_may(by_provider, chromium, who, said):
    """Logged in at the provider with a real browser; an unverified address is nobody's."""
    page = look(chromium, by_provider.url)
    assert "Log in to see" in words(page)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name=who).click()
    page.wait_for_selector("[data-testid=stSidebar]")
    settle(page)
    assert said in page.get_by_test_id("stSidebar").inner_text()
    if who == "forger":
        assert "may not look here" in words(page)
        assert page.get_by_test_id("stSidebarNav").count() == 0
        picture(page, "login-refused")
    else:
        assert page.get_by_role("heading", name="Today").is_visible()
    assert serious(page) == []
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector("text=Log in to see")


READERS = {"dashboard_readers": ("*",), "dashboard_writers": ("ann@desk.example",)}


@pytest.mark.parametrize(
    ("claims", "settings", "role"),
    [
        ({"sub": "1"}, {}, ""),
        ({"sub": "1"}, READERS, "read"),
        ({"email": "ANN@desk.example", "email_verified": True}, READERS, "write"),
        ({"email": "ANN@desk.example"}, READERS, "read"),
        ({"email": "ann@desk.example", "email_verified": "false"}, READERS, "read"),
        ({"email": "ann@desk.example", "email_verified": None}, READERS, "read"),
        # A sign that only looks like a letter, and becomes one when it is made small.
        (
            {"email": "\u212aim@d.e", "email_verified": True},
            {"dashboard_writers": ("kim@d.e",)},
            "",
        ),
        ({"email": "", "email_verified": True}, {"dashboard_readers": ("",)}, ""),
        ({"email": "*", "email_verified": True}, {"dashboard_readers": ("bob@desk.example",)}, ""),
    ],
)
def test_a_role_follows_from_verified_addresses_alone(claims, settings, role):
    """Nobody becomes somebody else by claiming his address."""
    assert by_claims(claims, Settings(_env_file=None, **settings)).role == role


def started(tmp_path, **settings):
    """What ``dashboard`` says when it does not start."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "dashboard", "--port", "0"],
        cwd=tmp_path,
        env=browser.environment({"state_dir": tmp_path, **settings}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_is_never_open_to_the_network_without_a_login(tmp_path):
    """Nor with a broken one: it is refused before it listens, in one line."""
    assert "there is no login" in started(tmp_path, dashboard_address="0.0.0.0")
    refused = started(tmp_path, dashboard_address="0.0.0.0", dashboard_password_hash="sesame")
    assert "keys password" in refused
    assert "sesame" not in refused
    absent = started(tmp_path, dashboard_oidc=tmp_path / "absent.toml")
    assert "No such file" in absent
    (tmp_path / "auth.toml").write_text('[auth]\nredirect_uri = "http://x"\n')
    assert "lacks cookie_secret" in started(tmp_path, dashboard_oidc=tmp_path / "auth.toml")


def test_a_text_from_outside_is_shown_as_it_is(tmp_path, chromium):
    """Neither a link, nor HTML, nor mathematics, nor an icon is made of it."""
    hostile = (
        "<img src=x> [a](http://evil.example) http://evil.example www.evil.example a@b.example "
        "$x^2$ :red[b] :material/home: **c** `d` # e"
    )
    script = tmp_path / "page.py"
    script.write_text(
        "import streamlit as st\nfrom components.entrypoints.dashboard.saying import escaped\n"
        f"st.error(escaped({hostile!r}))\n"
    )
    with plain_streamlit(script) as url:
        page = look(chromium, url)
        shown = page.get_by_test_id("stAlert")
        assert shown.inner_text().replace("\u2060", "").strip() == hostile
        assert shown.locator("a, img, code, strong, .katex, [role=img]").count() == 0
    assert escaped("a\nb") == "a b"


def plain_streamlit(script):
    """A page of one script."""
    import contextlib
    import os

    @contextlib.contextmanager
    def running():
        port = free_port()
        command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}"]
        options = ["--server.headless=true", "--browser.gatherUsageStats=false"]
        log = script.with_suffix(".log")
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *options],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=out,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            browser._wait(f"{url}/_stcore/health", process, log)
            yield url
        finally:
            process.terminate()
            process.wait()

    return running()
