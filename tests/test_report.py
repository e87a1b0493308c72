"""The report: one page that stands alone, whatever it is made from."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from components.charts import finding_png
from components.records import Failure, RunSummary
from components.report import MAX_CHARTS, MAX_ROWS, ReportData, by_symbol, by_year, page
from components.tables import VERDICTS
from tests.builders import alert, data_alert, finding, market_alert, rich_finding

TS = pd.Timestamp("2024-03-12", tz="UTC")
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """Reads a page and refuses tags that do not close as they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        """Note what opened, and with which attributes."""
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Refuse an end that fits no start."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep the words."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """The words, white space made even."""
        return " ".join(" ".join(self.words).split())


def verdicts(n: int, *, undecided: int = 0, symbol: str = "S") -> pd.DataFrame:
    number = np.arange(n)
    return pd.DataFrame(
        {
            "symbol": [f"{symbol}{i}" for i in number],
            "interval": "1d",
            "ts": TS,
            "judge": "volatility_zscore",
            "verdict": np.where(
                number < undecided, "undecided", np.where(number == undecided, "anomaly", "normal")
            ),
            "votes": 1,
            "voters": 1,
            "p": np.where(number < undecided, np.nan, (number + 1) / (n + 1)),
            "rate": 0.016,
            "bars_lacking": np.where(number < undecided, 212, 0),
            "body": -0.01,
            "return": -0.02,
            "scale": 0.01,
            "known_at": TS,
        }
    )


def realised(n: int) -> pd.DataFrame:
    rows = [(f"S{i}", year, 252, 4 + year % 2, 4.0) for i in range(n) for year in (2022, 2023)]
    return pd.DataFrame(rows, columns=["symbol", "year", "n_decided", "n_anomalies", "stated"])


def health(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": [f"S{i}" for i in range(n)],
            "last_ts": [pd.NaT, *[TS] * (n - 1)],
            "expected_ts": TS,
            "n_bars": 2500,
            "n_missing": 0,
            "status": ["no data", *["fresh"] * (n - 1)],
        }
    )


QUARANTINE = pd.DataFrame(
    {"check_name": ["high_below_close"], "n": [3], "symbol": ["S1"], "ts": [TS]}
)


def data(n: int = 6, **other) -> ReportData:
    at = datetime(2024, 3, 13, 6, tzinfo=UTC)
    summary = RunSummary(
        "run-20240313T060000Z", "run", pd.Timestamp(at), "finished", 3, at, at, {"bars_new": 6}
    )
    summary.failures = [Failure("ETH-USD", "SourceUnavailable", "the provider answered 503")]
    summary.seconds = {"fetch": 2.31, "judge": 0.03}
    usual = {
        "summary": summary,
        "settings": {"source": "sample", "alerts_per_year": "4"},
        "alerts": (alert(finding("S1")), data_alert()),
        "verdicts": verdicts(n, undecided=1),
        "realised": realised(n),
        "health": health(n),
        "quarantine": QUARANTINE,
    }
    return ReportData(**{**usual, **other})


def empty() -> ReportData:
    return data(
        alerts=(),
        verdicts=pd.DataFrame(columns=list(VERDICTS.columns)),
        realised=realised(0),
        health=health(1)[:0],
        quarantine=QUARANTINE[:0],
        settings={},
    )


def test_the_page_parses_and_says_what_the_run_did():
    """Counts, alerts, verdicts, rates, health, quarantine, steps and settings."""
    text = Page(page(data())).text
    for words in (
        "Tremor 2024-03-13: 1 of 6 instruments unusual",
        "source sample",
        "5 judged",
        "Closed 11.8 % below the day before",
        "Bars lacking S0 2024-03-12 -2.0 % 212",
        "Stated 4.0 alerts per instrument and year; realised so far 4.5",
        "ETH-USD failed (SourceUnavailable): the provider answered 503",
        "high_below_close 3 S1 2024-03-12",
        "fetch 2.3 s",
        "alerts_per_year 4",
    ):
        assert words in text, words
    assert not re.search(r"\b(nan|NaT|None)\b", text)


def test_a_card_shows_the_level_the_views_and_what_followed_similar_days():
    """Everything that the finding knows, and "no pattern" where the interval holds zero."""
    text = Page(page(data(alerts=(alert(rich_finding()),)))).text
    for words in (
        "HIGH 5.0 \N{MULTIPLICATION SIGN} usual p 0.004 surprise 2.4",
        "✓ market p 0.001 ✗ kNN p 0.3 pump",
        "2020-03-12 -9.0 % 0.40",
        "1 bar 1.1 (0.90 to 1.3) no pattern -0.1 % (-0.4 % to +0.2 %)",
        "5 bars 1.4 (1.2 to 1.6) +1.2 % (+0.4 % to +2.0 %)",
    ):
        assert words in text, words


def test_a_market_wide_day_lists_those_that_moved_with_it():
    """Those beyond have cards, the others rows."""
    text = page(data(alerts=(market_alert(3, finding("BEYOND")),)))
    words = Page(text).text
    assert words.index("The median of 60") < words.index("BEYOND") < words.index("S2 MEDIUM")
    assert "Moved with the market" in words
    assert text.count("data:image/png") == 2


def test_the_picture_shows_the_two_parts_of_the_move():
    """Where they are known it is higher by their bar; the same numbers give the same bytes."""
    known, unknown = rich_finding().chart, finding().chart
    sizes = [finding_png.__wrapped__(chart)[16:24] for chart in (known, unknown)]
    assert int.from_bytes(sizes[0][4:]) > int.from_bytes(sizes[1][4:])
    assert sizes[0][:4] == sizes[1][:4]
    assert finding_png.__wrapped__(known) == finding_png.__wrapped__(known)


@pytest.mark.parametrize("parts", [(0.0, 0.0), (0.05, -0.05), (-0.2, 0.1), (1e-9, 3.0)])
def test_any_parts_can_be_drawn(parts):
    """Nothing at all, parts that cancel, parts that pull apart."""
    market, own = parts
    chart = replace(finding().chart, market_part=market, own_part=own)
    assert finding_png.__wrapped__(chart).startswith(b"\x89PNG")


def test_the_highest_level_comes_first():
    """Of the judged ones: HIGH before MEDIUM, whatever their p."""
    rows = verdicts(6).assign(verdict="anomaly", level=[2, 2, 3, 2, 2, 0])
    words = Page(page(data(verdicts=rows))).text
    table = words[words.index("All judged") :]
    assert table.index("S2 ") < table.index("S0 ") < table.index("S5 ")


def test_the_page_needs_nothing_from_outside():
    """No address of any host: it opens from a disk, years later, and tells nobody."""
    text = page(data())
    assert "http" not in text.lower()
    loading = [value for _, name, value in Page(text).attributes if name in ("src", "href")]
    assert loading
    assert all(value.startswith("data:image/png;base64,") for value in loading)
    assert "@import" not in text
    assert "url(" not in text


def test_a_page_of_nothing_is_still_a_page():
    """The first run of a new watch list has judged nothing."""
    text = Page(page(empty())).text
    assert "No instrument was judged." in text
    assert "No bar has been decided yet." in text
    assert "No row failed a check." in text


def test_ten_thousand_instruments_are_capped_and_counted():
    """A table stops at its cap and says how many more there are."""
    crowd = alert(*(finding(f"S{i}") for i in range(10_000)))
    text = page(data(10_000, alerts=(crowd,)))
    assert len(text) < 4_000_000
    words = Page(text).text
    assert f"and {9_999 - MAX_ROWS:,} more instruments" in words
    assert text.count("data:image/png") == MAX_CHARTS + 1
    assert "more: python main.py alerts show" in words


HOSTILE = '"><script>alert(1)</script>\x00{{ 7*7 }}<img src=x onerror=y>'


def test_hostile_text_is_shown_not_run():
    """Names, headlines, notes, failures and settings come from outside."""
    told = alert(
        finding(HOSTILE, reasons=(HOSTILE,)), id=HOSTILE, headline=HOSTILE, notes=(HOSTILE,)
    )
    hostile = data(
        alerts=(told,),
        verdicts=verdicts(6, symbol=HOSTILE),
        settings={HOSTILE: HOSTILE},
        quarantine=QUARANTINE.assign(check_name=HOSTILE, symbol=HOSTILE),
        health=health(6).assign(symbol=HOSTILE, status=HOSTILE),
        realised=realised(2).assign(symbol=HOSTILE),
    )
    hostile.summary.failures = [Failure(HOSTILE, HOSTILE, HOSTILE)]
    hostile.summary.undelivered = [HOSTILE]
    text = page(hostile)
    assert "<script" not in text
    assert "\x00" not in text
    assert not any(name.startswith("on") for _, name, _ in Page(text).attributes)
    assert "{{ 7*7 }}" in Page(text).text


def test_the_realised_rate_is_counted_over_instrument_years():
    """A year of which half is decided counts half."""
    rows = realised(2)
    rows.loc[0, "n_decided"] = 126
    years = by_year(rows).set_index("year")
    assert years.loc[2022, "n_years"] == pytest.approx(1.5)
    assert years.loc[2022, "expected"] == pytest.approx(6)
    assert years.loc[2022, "realised"] == pytest.approx(8 / 1.5)
    assert by_symbol(rows).set_index("symbol").loc["S1", "realised"] == pytest.approx(4.5)


def test_instruments_may_have_years_of_their_own_length():
    """Bitcoin has 365 bars a year."""
    rows = realised(1).assign(bars_per_year=[365, 252], n_decided=[365, 252])
    assert by_symbol(rows)["n_years"].tolist() == [2.0]


def test_the_same_run_gives_the_same_page():
    """No clock, no chance."""
    assert page(data()) == page(data())
