"""How soon a page stands: 50 instruments over ten years, in a real browser.

    python -m benchmarks.dashboard [--symbols 50] [--years 10] [--rounds 5]

A market is judged, the dashboard is started, and each page is opened in a new window: first by the
server's very first visitor, then a few times more. Printed are the seconds until the heading and
until the first picture of the page (or its last words, where it has none), the median and the
worst, and the ratio to a bare Streamlit page with one heading and one picture on the same machine.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.made_market import histories, judged_market
from tests.browser import browser, dashboard, streamlit

WANTED_S = 3.0

# What stands last on a page: its first picture, or the control or the words of a page without.
PICTURE = ".js-plotly-plot .main-svg"
SAID = "[data-testid=stAlert], [data-testid=stMetric], [data-testid=stSelectbox]"

PAGES = {
    "": PICTURE,
    "data": PICTURE,
    "training": SAID,
    "evaluation": SAID,
    "live": f"{SAID}, [data-testid=stRadio], [data-testid=stButtonGroup]",
    "payments": SAID,
    "would_have_fired": PICTURE,
}

BARE = """\
import plotly.graph_objects as go
import streamlit as st

st.title("Bare")
st.plotly_chart(go.Figure(go.Scatter(y=list(range(250)))))
"""


def seen(opened, url: str, last: str) -> tuple[float, float]:
    """Seconds until the heading and until the last part, in a window that has seen nothing."""
    window = opened.new_context(viewport={"width": 1280, "height": 900})
    page = window.new_page()
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("h1")
    heading = time.perf_counter() - began
    page.wait_for_selector(last)
    whole = time.perf_counter() - began
    window.close()
    return heading, whole


def line(name: str, times: list[tuple[float, float]], bare: float) -> str:
    """One line of the table."""
    headings, wholes = zip(*times, strict=True)
    middle = median(wholes)
    return (
        f"{name:<17} heading {median(headings):.2f} s  stands {middle:.2f} s  "
        f"worst {max(wholes):.2f} s  ratio {middle / bare:.2f}  "
        f"{'within' if middle <= WANTED_S else 'OVER'} {WANTED_S:g} s"
    )


def bare_page(opened, folder: Path, rounds: int) -> list[tuple[float, float]]:
    """The times of a page of Streamlit's with a heading and a picture, beyond its first visitor."""
    script = folder / "bare.py"
    script.write_text(BARE)
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    command += ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false"]
    with streamlit(folder / "bare.log", command, "--server.port") as board:
        return [seen(opened, board.url, PICTURE) for _ in range(rounds + 1)][1:]


def main() -> None:
    """Make a market, show it, look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = histories(options.symbols, 365 * options.years)
    with (
        tempfile.TemporaryDirectory() as name,
        browser() as opened,
        judged_market(Path(name), files, options.years) as own,
    ):
        times = bare_page(opened, Path(name), options.rounds)
        bare = median(whole for _, whole in times)
        print(line("a bare page", times, bare))
        with dashboard(name, own) as board:
            first = seen(opened, f"{board.url}/", PICTURE)
            print(line("today, first ever", [first], bare))
            for page, last in PAGES.items():
                times = [seen(opened, f"{board.url}/{page}", last) for _ in range(options.rounds)]
                print(line(page or "today", times, bare))


if __name__ == "__main__":
    main()
