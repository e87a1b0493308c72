"""The reasons: every number in a sentence is the number of the bar."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.explain import (
    as_correction,
    briefly,
    correction,
    data_notes,
    explain,
    headline,
)
from components.reasons import AMPLITUDE
from components.records import Failure
from components.words import clean, ordinal, percent, price, probability, share
from tests.builders import candles, ending_in, scores, verdict

BARS = ending_in(candles(), open=100.0, high=101.0, low=90.0, close=92.0, volume=2000.0)


def explained(bars=BARS, *, last=5.0, larger=(), market=0.0, n_others=5, detector="", **other):
    own = verdict(bars, **other)
    past = scores(bars, last, larger=larger)
    return explain(own, bars, past, market, n_others, 252, detector or "volatility_zscore")


def told(*args, **kwargs) -> str:
    return "\n".join(explained(*args, **kwargs).reasons)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (64_000, "64,000"),
        (1128.15, "1128.15"),
        (1.0003, "1.0003"),
        (1.5, "1.50"),
        (0.0000081, "0.0000081"),
        (-36.23, "-36.23"),
        (0, "0.00"),
        (math.nan, "n/a"),
    ],
)
def test_a_price_has_the_digits_it_needs(value, words):
    """A stablecoin's fourth decimal matters, bitcoin's cents do not."""
    assert price(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(-0.0324, "-3.2 %"), (0.00034, "0.034 %"), (2.5, "250 %"), (1e-9, "0 %"), (math.nan, "n/a")],
)
def test_a_per_cent_has_the_digits_it_needs(value, words):
    """A stablecoin's move is not rounded to nothing."""
    assert percent(value) == words


def test_small_probabilities_are_written_out():
    """Nobody reads 4e-03."""
    assert [share(p) for p in (0.004, 0.15, 0.023, 1.0, 1e-9)] == [
        "0.004",
        "0.15",
        "0.023",
        "1",
        "<0.000001",
    ]
    assert probability(5e-324) == "p below 0.000001"
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 112)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th")
    ]


def test_the_size_names_the_bars_own_numbers():
    """The move, the close and the body are those of the verdict."""
    bars = ending_in(BARS, close=92.0)
    bars.loc[bars.index[-2], "close"] = 100.0
    assert "closed 8.0 % below the day before, at 92.00; from open to close it fell 8.0 %" in told(
        bars
    )


def test_the_size_in_units_is_the_move_over_the_volatility():
    """Sigmas is |return| / scale where the score is that of the return."""
    bars = BARS.copy()
    bars.loc[bars.index[-2], "close"] = 100.0
    finding = explained(bars, last=8.0, scale=0.01)
    assert finding.sigmas == pytest.approx(8.0)
    assert "that is 8.0 times its usual daily move of 1.0 %" in finding.reasons


def test_the_size_is_the_bodys_where_the_body_made_the_score():
    """The body's usual move is what the score and the body give back."""
    bars = BARS.copy()
    bars.loc[bars.index[-2], "close"] = 92.5
    finding = explained(bars, last=8.0, scale=0.01)
    assert finding.sigmas == pytest.approx(8.0)
    assert "from open to close that is 8.0 times its usual daily move of 1.0 %" in finding.reasons


def test_the_rank_and_the_last_one_as_unusual_are_counted():
    """Two larger scores make it the third; the later of them is named."""
    finding = explained(larger=(10, 20))
    assert (finding.rank, finding.n_reference) == (3, 299)
    assert (
        "the 3rd largest of its last 299 days, p = 0.004: about one such day a year"
        in finding.reasons
    )
    assert f"the last one as unusual was {BARS['ts'][20]:%Y-%m-%d}" in finding.reasons


def test_a_record_says_so():
    """Nothing larger in what is kept."""
    words = told()
    assert "the largest of its last 299 days" in words
    assert "nothing as unusual in the 299 days kept" in words


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0001, "about one such day in 40 years"),
        (0.02, "about 5 such days a year"),
        (1e-8, "less than one such day in 100 years"),
    ],
)
def test_how_often_agrees_with_p(p, words):
    """P times 252 bars a year."""
    assert words in told(p=p)


def test_minutes_are_counted_by_week_and_day():
    """A share of 525 600 bars a year is no number of a year that a person can use."""
    own = verdict(BARS, interval="1m", p=0.004)
    words = "\n".join(
        explain(own, BARS, scores(BARS, 5.0), 0, 5, 525_600, "volatility_zscore").reasons
    )
    assert "about 6 such minutes a day" in words
    assert "UTC" not in words.split("\n")[0]


@pytest.mark.parametrize(
    ("market", "words"),
    [
        (
            -0.031,
            "5 instruments moved -3.1 % (median): 97 % of this move; its own share is -0.1 %",
        ),
        (0.01, "moved +1.0 % (median), the other way: against them it fell 4.2 %"),
        (-0.0002, "hardly moved, -0.02 % (median): this move is its own"),
        (-0.05, "more than it did: against them it rose 1.8 %"),
    ],
)
def test_the_share_of_the_market_is_in_words(market, words):
    """Same way, other way, hardly, more than this one."""
    assert words in told(market=market, **{"return": -0.032})


def test_without_others_the_share_is_said_to_be_unknown():
    """No other instrument, or none with a return."""
    assert "no other instrument" in told(n_others=0)
    assert "no other instrument" in told(market=math.nan)
    assert "the other instrument moved -3.1 %: 97 %" in told(
        market=-0.031, n_others=1, **{"return": -0.032}
    )


def test_a_split_and_a_dividend_are_mentioned_and_the_chart_allows_for_them():
    """Before a split of 4 for 1 the chart shows a quarter of what was traded."""
    bars = ending_in(BARS, split=4.0).assign(dividend=0.0)
    bars.loc[bars.index[-1], "dividend"] = 0.5
    finding = explained(bars)
    words = "\n".join(finding.reasons)
    assert "it split that day, 4 new shares for an old one" in words
    assert "dividend of 0.50 a share" in words
    assert finding.chart.close[-2] == pytest.approx(bars["close"].iloc[-2] / 4)
    assert finding.chart.close[-1] == pytest.approx(92.0)


def test_the_volume_is_compared_with_its_median():
    """2000 against about 1000; nothing is said where there is none."""
    median = BARS["volume"].iloc[-61:-1].median()
    assert f"volume {2000 / median:.1f} times its median of the last 60 bars" in told()
    assert "volume" not in told(ending_in(BARS, volume=0.0))
    assert "volume" not in told(BARS.assign(volume=math.nan))


def test_the_baseline_is_told_in_the_words_of_its_rule():
    """Its p is nominal: no frequency is promised from it."""
    words = told(detector=AMPLITUDE, last=3.4, p=0.0007)
    assert "close - open was -8.00, 3.4 standard deviations" in words
    assert "nominal two-sided normal p" in words
    assert "a year" not in words


def test_the_chart_is_bounded():
    """120 bars, 1000 scores, whatever is given."""
    bars = candles(3000)
    chart = explained(bars).chart
    assert (len(chart.ts), len(chart.close), len(chart.past_scores)) == (120, 120, 1000)
    assert chart.judged == chart.ts[-1]


NUMBER = st.one_of(
    st.floats(-0.99, 5), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e-12, -1e-12])
)


@settings(max_examples=150, deadline=None)
@given(
    move=NUMBER,
    body=NUMBER,
    scale=NUMBER,
    market=NUMBER,
    p=st.one_of(st.floats(0, 1), st.just(math.nan)),
    last=NUMBER,
    close=st.floats(1e-9, 1e9),
    volume=st.sampled_from([0.0, math.nan, 1e12]),
    n_others=st.integers(0, 3),
    detector=st.sampled_from([AMPLITUDE, "volatility_zscore", "other"]),
)
def test_no_reason_ever_says_nan(  # noqa: PLR0917
    move, body, scale, market, p, last, close, volume, n_others, detector
):
    """Unknown numbers are left out or put in words."""
    bars = ending_in(BARS.tail(60), close=close, volume=volume)
    own = verdict(bars, scale=scale, p=p, body=body, **{"return": move})
    finding = explain(own, bars, scores(bars, last), market, n_others, 252, detector)
    words = " ".join(finding.reasons)
    assert not re.search(r"\b(nan|inf|None|NaT|n/a)\b", words)
    assert not re.search(r"\d[eE][+-]?\d", words)
    assert all(finding.reasons)


def test_a_first_bar_without_scores_is_still_explained():
    """Nothing to compare with, in words."""
    bars = BARS.tail(2).copy()
    own = verdict(bars, p=math.nan, scale=math.nan, **{"return": math.nan})
    none = pd.DataFrame({"ts": bars["ts"][:0], "score": [], "p": []})
    finding = explain(own, bars, none, math.nan, 0, 252, "volatility_zscore")
    assert (finding.rank, finding.n_reference) == (0, 0)
    assert finding.reasons[0].startswith("closed at 92.00, with no close before it")


def test_explaining_changes_no_input():
    """The bars are shared with other readers."""
    bars, past = BARS.copy(), scores(BARS, 5.0)
    explain(verdict(bars), bars, past, 0.0, 5, 252, "volatility_zscore")
    pd.testing.assert_frame_equal(bars, BARS)
    pd.testing.assert_frame_equal(past, scores(BARS, 5.0))


def test_the_headline_leads_with_the_first_finding():
    """One instrument, several, a correction."""
    first, second = explained(), explained(symbol="BETA")
    move = percent(first.move, sign=True)
    assert headline([first, second], 6) == f"2 of 6 instruments unusual, ACME {move} first"
    assert headline([first], 6) == f"ACME {move} unusual, 1 of 6 instruments"
    assert headline([first], 6, "correction") == "ACME now unusual after a correction"


def test_a_correction_names_both_values():
    """Old and new close and p; what did not change is passed over."""
    before = {"ts": "2024-03-11", "interval": "1d", "verdict": "anomaly", "close": 92.0, "p": 0.004}
    now = {**before, "verdict": "normal", "close": 99.5, "open": 98.0}
    assert correction(before, now) == (
        "2024-03-11 was called unusual; after the provider's correction it is normal",
        "close was 92.00, is now 99.50",
    )
    turned = as_correction(explained(verdict="normal"), "anomaly").reasons[0]
    assert turned == "was called unusual; after the provider's correction it is normal"


def test_a_finding_in_brief_has_the_numbers_and_no_reasons():
    """For the list of a crowded day."""
    finding = briefly(verdict(BARS, scale=0.02))
    assert finding.sigmas == pytest.approx(abs(finding.move) / 0.02)
    assert finding.reasons == ()
    assert finding.chart is None


def test_data_trouble_is_told_with_the_first_case_and_the_remedy():
    """Failed, stale, missing, quarantined: one sentence each."""
    notes = data_notes(
        [Failure("ETH-USD", "SourceUnavailable", "the provider answered 503")],
        {
            "SOL-USD": (pd.Timestamp("2024-03-08"), pd.Timestamp("2024-03-12")),
            "NEW": (None, "2024-03-12"),
        },
        {"QQQ": list(pd.date_range("2024-03-01", periods=7))},
        pd.DataFrame(
            {
                "check_name": ["high_below_close"],
                "n": [3],
                "symbol": ["AAPL"],
                "ts": [np.datetime64("2024-03-11")],
            }
        ),
    )
    assert notes == (
        "ETH-USD: the provider answered 503",
        "SOL-USD: the last bar is 2024-03-08; 2024-03-12 was expected",
        "NEW: no bar is known; 2024-03-12 was expected",
        "QQQ: 7 bars missing (2024-03-01, 2024-03-02 ... 2024-03-07)",
        "3 rows failed high_below_close; first: AAPL 2024-03-11. Kept in quarantine; see "
        "`python main.py status --quarantine`",
    )


def test_ten_thousand_failures_are_twenty_notes_and_a_count():
    """A provider that is down fails every symbol at once."""
    notes = data_notes([Failure(f"S{n}", "SourceUnavailable", "503") for n in range(10_000)])
    assert len(notes) == 21
    assert notes[-1].startswith("and 9,980 more")


@given(st.text())
def test_clean_text_is_one_harmless_line(text):
    """No control character, no line break, no lone surrogate gets through."""
    line = clean(text, 50)
    line.encode()
    assert len(line) <= 50
    assert line.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", line)
