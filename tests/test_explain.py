"""The reasons: every number in a sentence is the number of the bar."""

import math
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import reasons
from components.detectors import DETECTORS
from components.explain import Evidence, as_correction, briefly, correction, explain
from components.headlines import discoveries, headline, market_headline, market_notes
from components.precedents import what_followed
from components.reasons import AMPLITUDE
from components.records import Failure, Followed, alert_from_json, alert_to_json
from components.stances import in_words, stances
from components.trouble_words import data_notes
from components.words import clean, ordinal, percent, price, probability, share
from tests.builders import alert, candles, ending_in, finding, history, scores, verdict

BARS = ending_in(candles(), open=100.0, high=101.0, low=90.0, close=92.0, volume=2000.0)


def explained(bars=BARS, *, larger=(), channels=(), detectors=(), **other):
    """The finding on the last of ``bars``: evidence by name, the rest is the verdict's."""
    given = {k: other.pop(k) for k in ("market", "n_others", "bars_per_year") if k in other}
    own = verdict(bars, **other)
    past = history(bars, own, larger=larger, **dict(channels))
    rows = scores(bars, dict(detectors))
    evidence = {"n_others": 5, "market": 0.0, **given}
    names = tuple(detectors) or ("volatility_zscore",)
    return explain(own, Evidence(bars, past, rows, names, **evidence))


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
    """The move, the close, the usual move and the body are those of the verdict."""
    bars = ending_in(BARS, close=92.0)
    bars.loc[bars.index[-2], "close"] = 100.0
    finding = explained(bars, scale=0.01)
    assert finding.sigmas == pytest.approx(8.0)
    assert finding.reasons[0] == (
        "closed 8.0 % below the day before, at 92.00: 8.0 times its usual daily move of 1.0 %"
    )
    assert "from open to close it fell 8.0 %" in finding.reasons


def test_a_body_that_is_more_unusual_than_the_return_says_so():
    """It opened far away and came back: the return alone would hide it."""
    assert "fell 8.0 %, 6.2 times what is usual" in told(channels={"body_z": -6.2, "return_z": 0.3})
    assert "times what is usual" not in told(channels={"body_z": -6.2, "return_z": -7.0})


def test_the_rank_is_counted_over_all_judged_bars():
    """Two larger moves make it the third; the later of them is named."""
    finding = explained(larger=(10, 20))
    assert (finding.rank, finding.n_reference) == (3, 298)
    assert finding.reasons[1] == (
        f"the third largest of 299 days; last such {BARS['ts'][20]:%Y-%m-%d}; "
        "p = 0.004, surprise 2.4: about one such day a year"
    )


def test_all_of_a_long_history_is_ranked():
    """2 586 days, not only the last 1000."""
    assert "the second largest of 2,585 days; last such" in told(candles(2586), larger=(3,))


def test_a_record_says_so_and_a_usual_move_names_no_date():
    """Nothing larger; or so many larger that the last one is no news."""
    assert "the largest of 299 days; p" in told()
    assert "the 21st largest of 299 days; p" in told(larger=range(10, 30))
    assert "the move alone is not rare, 41st of 299 days; p" in told(larger=range(10, 50))


def test_the_surprise_counts_the_zeros_of_p():
    """One more for each ten times rarer; nothing for a p that is unknown."""
    assert reasons.surprise(0.001) == pytest.approx(3.0)
    assert math.isnan(explained(p=math.nan).surprise)


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
    words = told(interval="1m", p=0.004, bars_per_year=525_600)
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
    ratio = f"{2000 / median:.1f} times its median of the last 60 bars"
    assert f"volume {ratio}" in told()
    assert "volume" not in told(ending_in(BARS, volume=0.0))
    assert "volume" not in told(BARS.assign(volume=math.nan))
    both = told(channels={"volume_z": 3.24, "range_z": 0.4})
    assert f"volume very high (z +3.2; {ratio}); range usual (z +0.4)" in both


PARTS = st.floats(-0.9, 2).filter(lambda x: abs(x) > 1e-5)


@given(move=PARTS, part=PARTS)
def test_the_two_parts_sum_to_the_return_as_they_are_printed(move, part):
    """A reader who adds them up finds the return, to the last digit."""
    whole, market, own = (Decimal(words.removesuffix(" %")) for words in reasons.parts(move, part))
    assert market + own == whole
    assert float(whole) == pytest.approx(float(percent(move).removesuffix(" %")))
    assert float(market) == pytest.approx(100 * part, abs=0.51 if abs(move) >= 1 else 0.051)


def test_the_return_is_split_into_the_markets_part_and_its_own():
    """The parts, and whether the own one is unusual by itself."""
    finding = explained(market_part=-0.031, residual_p=0.003, **{"return": -0.08})
    assert finding.market_part + finding.own_part == pytest.approx(finding.move)
    assert finding.reasons[2] == (
        "of the -8.0 %, -3.1 % is the market's part and -4.9 % its own, which alone has p = 0.003"
    )
    assert "alone is nothing unusual (p = 0.4)" in told(market_part=-0.031, residual_p=0.4)
    assert "no other instrument" not in "".join(finding.reasons)
    assert "hardly moved" in told(market_part=math.nan)


VIEWS = {"market": 0.001, "pump": None, "knn": 0.002, "gmm": 0.4}


def test_the_views_are_named_by_how_they_stood():
    """Voted, not, abstained and why; views that repeat each other count once."""
    finding = explained(
        detectors=VIEWS, votes=1, level=1, rate=0.016, channels={"volume_z": math.nan, "gap_z": 1.0}
    )
    assert [view.stance for view in finding.views] == ["voted", "abstained", "voted", "against"]
    assert (
        "2 of 4 views call it unusual: market and kNN (they count as 1 independent vote); "
        "not GMM; pump abstains (no volume data)"
    ) in finding.reasons
    assert "views" not in told()


def test_a_view_that_lacks_bars_says_how_many():
    """A score without a p-value waits for its reference; no score waits for bars to learn from."""
    short = explained(detectors={"volatility_zscore": math.nan, "gmm": 0.01})
    assert short.views[0].why == "only 199 past scores to compare with"
    name = max(DETECTORS, key=lambda name: DETECTORS[name].min_bars)
    young = DETECTORS[name].min_bars - 1
    (view,) = stances((name,), scores(BARS, {}), 0.016, {}, young)
    assert view.why == "needs 1 more bar"
    assert in_words((view, view), 0, 0) == ""


@pytest.mark.parametrize(
    ("five", "words"),
    [
        ((-0.01, 0.02), "; no pattern in returns over 1, 5 or 20 days"),
        (
            (0.004, 0.02),
            "; return over 5 days +1.2 % on average (+0.4 % to +2.0 %), which is the past and no "
            "forecast; no pattern in returns over 1 or 20 days",
        ),
    ],
)
def test_no_pattern_is_said_where_the_interval_holds_zero(five, words):
    """And where it does not, that it is no forecast."""
    spans = [
        Followed(n, 1.4, 1.2, 1.6, 0.012, *(five if n == 5 else (-0.01, 0.02))) for n in (1, 5, 20)
    ]
    assert what_followed(spans, 25, "1d") == (
        "after the 25 most similar, volatility over 1, 5 and 20 days was 1.4 (1.2 to 1.6), "
        "1.4 (1.2 to 1.6) and 1.4 (1.2 to 1.6) times the one known before (95 % intervals)"
        f"{words}"
    )
    assert what_followed((), 3, "1d") == ""


def test_the_baseline_is_told_in_the_words_of_its_rule():
    """Its p is nominal: no frequency is promised from it."""
    words = told(detectors={AMPLITUDE: 3.4}, p=0.0007)
    assert "close - open was -8.00, 3.4 standard deviations" in words
    assert "nominal two-sided normal p" in words
    assert "a year" not in words


def test_the_chart_is_bounded():
    """120 bars, 1000 sizes, whatever is given."""
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
    part=NUMBER,
    z=NUMBER,
    close=st.floats(1e-9, 1e9),
    volume=st.sampled_from([0.0, math.nan, 1e12]),
    n_others=st.integers(0, 3),
    detector=st.sampled_from([AMPLITUDE, "volatility_zscore", "knn"]),
)
def test_no_reason_ever_says_nan(  # noqa: PLR0917
    move, body, scale, market, p, part, z, close, volume, n_others, detector
):
    """Unknown numbers are left out or put in words."""
    bars = ending_in(BARS.tail(60), close=close, volume=volume)
    finding = explained(
        bars,
        channels={"volume_z": z, "body_z": z},
        detectors={detector: p, "gmm": part},
        market=market,
        n_others=n_others,
        market_part=part,
        residual_p=p,
        **{"return": move, "scale": scale, "p": p, "body": body},
    )
    words = " ".join(finding.reasons)
    assert not re.search(r"\b(nan|inf|None|NaT|n/a)\b", words)
    assert not re.search(r"\d[eE][+-]?\d", words)
    assert all(finding.reasons)


def test_a_first_bar_without_scores_is_still_explained():
    """Nothing to compare with, in words."""
    bars = BARS.tail(2).copy()
    own = verdict(bars, p=math.nan, scale=math.nan, **{"return": math.nan})
    finding = explain(own, Evidence(bars))
    assert (finding.rank, finding.n_reference) == (0, 0)
    assert finding.reasons[0].startswith("closed at 92.00, with no close before it")


def test_explaining_changes_no_input():
    """The bars are shared with other readers."""
    own = verdict(BARS)
    bars, past = BARS.copy(), history(BARS, own)
    explain(own, Evidence(bars, past))
    pd.testing.assert_frame_equal(bars, BARS)
    pd.testing.assert_frame_equal(past, history(BARS, own))


def test_an_alert_comes_back_from_its_text_whole():
    """What is stored is what was told: levels, views, similar days and what followed."""
    made = alert(
        explained(
            detectors=VIEWS, market_part=-0.01, level=3, channels={"return_z": 8.0, "gap_z": 1.0}
        ),
        finding("BETA"),
    )
    text = alert_to_json(made)
    assert alert_to_json(alert_from_json(text)) == text
    assert alert_from_json(text).findings[0].similar == made.findings[0].similar
    assert made.findings[0].followed


def test_an_alert_of_an_older_release_can_still_be_read():
    """It has no level, no split, no views: they are unknown."""
    payload = (
        '{"id": "1", "kind": "anomaly", "interval": "1d", "ts": "2024-03-12T00:00:00+00:00", '
        '"symbols": ["A"], "headline": "A unusual", "notes": [], "findings": [{"symbol": "A", '
        '"ts": "2024-03-12T00:00:00+00:00", "verdict": "anomaly", "move": -0.1, "body": null, '
        '"sigmas": 5.0, "p": 0.004, "rank": 1, "n_reference": 300, "market": null, '
        '"reasons": ["closed"], "chart": {"ts": [], "close": [null], "high": [], "low": [], '
        '"judged": "", "score": null, "past_scores": [], "score_unit": "x"}}]}'
    )
    (found,) = alert_from_json(payload).findings
    assert (found.level, found.views, found.followed) == (0, (), ())
    assert math.isnan(found.market_part)
    assert math.isnan(found.chart.own_part)
    assert alert_from_json(payload).told_apart == (found,)


def test_the_headline_leads_with_the_first_finding():
    """One instrument, several, a correction; with the level where it is known."""
    first, second = explained(), explained(symbol="BETA")
    move = percent(first.move, sign=True)
    assert headline([first, second], 6) == f"2 of 6 instruments unusual, ACME {move} first"
    assert headline([first], 6) == f"ACME {move} unusual, 1 of 6 instruments"
    assert headline([first], 6, "correction") == "ACME now unusual after a correction"
    high = explained(level=3)
    assert headline([high], 6) == f"ACME {move} unusual (HIGH), 1 of 6 instruments"
    assert headline([high, second], 6) == (
        f"2 of 6 instruments unusual (1 HIGH), ACME {move} first"
    )


MARKET = {"watch_list": "XNYS", "interval": "1d", "return": -0.031, "n_instruments": 60, "p": 1e-4}


def test_a_market_wide_day_names_first_what_went_beyond_it():
    """The instruments of its own move in the headline, the others counted."""
    apart, with_it = [finding("ACME", level=3)], [finding(f"S{n}") for n in range(17)]
    assert market_headline(MARKET, apart, with_it) == (
        "Market-wide day (XNYS -3.1 %): ACME -11.8 % beyond it (all HIGH), 17 with it"
    )
    assert market_headline(MARKET, [], with_it[:1]).endswith(
        "1 instrument moved with it, none beyond"
    )
    assert market_headline(MARKET, [], []).endswith("no news of single instruments")
    moved, listed = market_notes(MARKET, with_it, len(apart))
    assert moved == "the median of 60 instruments of XNYS moved -3.1 %, p = 0.0001"
    assert listed.startswith("17 more moved with the market: S0, S1")
    assert listed.endswith("S11 and 5 more")


def test_a_long_list_says_how_many_would_stand_by_themselves():
    """Benjamini and Hochberg over all that were judged, not only over those told."""
    told_p = np.r_[[0.0001] * 5, [0.015] * 6]
    judged = np.r_[told_p, np.linspace(0.02, 1, 89), math.nan]
    assert discoveries(told_p, judged) == (
        "5 of these 11 stand at a false discovery rate of 10 %, 100 judged"
    )
    assert discoveries(told_p[:10], judged) == ""


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
