"""The real dashboard in a process of its own, and a real browser that looks at it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import weakref
from dataclasses import dataclass
from pathlib import Path

from tests.proxies import free_port
from tests.terminal import ROOT, stop

CHROMIUM = shutil.which("chromium")

# Why a machine without a browser skips.
NO_CHROMIUM = "chromium is not installed on this machine"

# What is seen is kept for who looks at the tests.
PICTURES = ROOT / "var" / "test-pictures"

# Without these a browser asks for its maker's hosts, and as root it does not start.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

PATIENCE_MS = 60_000

# What shows that a part is of the run before, and paler, or still being fetched.
PASSING = "[data-stale=true], [data-testid=stSkeleton], [data-testid=stAppSkeleton]"

# Nothing is at work, and nothing passing is seen.
STANDS = f"""() => document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]")
    && !document.querySelector("{PASSING}")"""


@dataclass
class Dashboard:
    """A running dashboard."""

    url: str
    process: subprocess.Popen
    log: Path

    @property
    def said(self):
        """What it wrote on its terminal."""
        return self.log.read_text()


class Talk:
    """Whether what a page last asked of the dashboard is answered.

    What the page looks like does not say it: until the question has arrived, it looks done. What a
    page asks by itself, from time to time, counts once its answer begins.
    """

    def __init__(self):
        self.state = "opening"

    def overhear(self, socket):
        """Follow a connection from now on."""
        socket.on("framesent", self._asked)
        socket.on("framereceived", self._answered)

    def _asked(self, frame):
        from streamlit.proto.BackMsg_pb2 import BackMsg

        said = _read(BackMsg, frame)
        if said.WhichOneof("type") == "rerun_script" and not said.rerun_script.is_auto_rerun:
            self.state = "asked"

    def _answered(self, frame):
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        said = _read(ForwardMsg, frame)
        kind = said.WhichOneof("type")
        if kind == "new_session":
            self.state = "begun"
        elif kind == "script_finished" and self.state == "begun":
            is_begun_anew = said.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
            self.state = "asked" if is_begun_anew else "over"


# Of each page that is open.
_TALKS = weakref.WeakKeyDictionary()


def _read(kind, frame):
    said = kind()
    if isinstance(frame, bytes):
        said.ParseFromString(frame)
    return said


def environment(settings):
    """The environment of an operator with these settings, and none of this shell's."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")}
    said = {f"TREMOR_{name.upper()}": str(value) for name, value in settings.items()}
    return {**plain, **said}


@contextlib.contextmanager
def dashboard(folder, settings, *arguments):
    """Run ``python main.py dashboard`` in a folder until the end, and stop it."""
    command = [sys.executable, str(ROOT / "main.py"), "dashboard", *arguments]
    log = Path(folder) / "dashboard.log"
    with streamlit(log, command, "--port", cwd=folder, env=environment(settings)) as running:
        yield running


@contextlib.contextmanager
def streamlit(log, command, port_option, **place):
    """Run a command that serves a page of Streamlit's on a free port until the end, and stop it."""
    port = free_port()
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, port_option, str(port)], stdout=out, stderr=out, **place
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}/_stcore/health", process, log)
        yield Dashboard(url, process, log)
    finally:
        stop(process)


def _wait(url, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@contextlib.contextmanager
def browser():
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def look(browser, url, *, width=1280, height=900, scheme="light", errors=None):
    """A new window on a page; what the page's own scripts complain of goes into ``errors``."""
    window = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
    )
    page = window.new_page()
    page.set_default_timeout(PATIENCE_MS)
    _TALKS[page] = Talk()
    page.on("websocket", _TALKS[page].overhear)
    if errors is not None:
        page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    settle(page)
    return page


def settle(page):
    """Wait until all that was done on the page is answered, and everything of it stands."""
    begun = time.monotonic()
    while not _stands(page) or page.wait_for_timeout(300) or not _stands(page):
        assert time.monotonic() - begun < PATIENCE_MS / 1000, f"no end of {_TALKS[page].state}"
        page.wait_for_timeout(50)


def _stands(page):
    # What was done before this is sent before its answer, in the same way.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return _TALKS[page].state == "over" and page.evaluate(STANDS)


def picture(page, name):
    """Keep what is seen, whole, as a PNG; give its path."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    # Streamlit scrolls inside the window: one as high as the page shows all of it.
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    width = page.viewport_size["width"]
    page.set_viewport_size({"width": width, "height": min(max(int(height), 600), 6000)})
    page.wait_for_timeout(400)
    page.screenshot(path=path)
    return path


def serious(page):
    """What axe finds wrong for who cannot see, or has no mouse: serious and critical findings."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (rule["id"], rule["impact"], [node["target"] for node in rule["nodes"]][:3])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


def words(page):
    """All that can be read on the page, in one line."""
    return re.sub(r"\s+", " ", page.inner_text("[data-testid=stMain]"))
