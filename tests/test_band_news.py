"""What is said of payments outside of their band: headlines, reasons, and names from outside."""

import math
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.band_news import (
    N_NAMED,
    Where,
    counted_series,
    every_of,
    headline,
    made_by,
    name_of,
    reasons,
    silence_notes,
)

NAN = math.nan
LONDON = Where("Europe/London", "GBP")
TS = pd.Timestamp("2024-03-12T14:00Z")
TWO_HOURS = pd.Timedelta("2h")
SPAN = "2024-03-12 14:00-16:00 Europe/London"
NOBODY = pd.DataFrame({"series": pd.Series(dtype="str"), "difference": pd.Series(dtype=float)})


def row(**other):
    """A bin of a live series far below its band."""
    return {
        "series": "cafe",
        "ts": TS,
        "ends_at": TS + TWO_HOURS,
        "actual": 4210.0,
        "expected": 10800.0,
        "lower": 8000.0,
        "upper": 14000.0,
        "p": 0.002,
        "standing": "live",
        **other,
    }


def closed(**other):
    return row(standing="closed", actual=50.0, expected=0.0, lower=0.0, upper=0.0, **other)


def sparse(**other):
    return row(standing="sparse", expected=NAN, lower=NAN, upper=NAN, **other)


SILENT = {"n_likely": 1200, "n_silent": 1100, "p": 1e-9, "ts": TS, "until": TS + TWO_HOURS}


def said(row, since=TS, before=None, parts=NOBODY):
    return reasons(row, since=since, before=before, parts=parts, where=LONDON)


HEADLINES = [
    (row(), "shops: cafe 61.0 % below what was expected"),
    (row(actual=20000.0), "shops: cafe 85.2 % above what was expected"),
    (row(actual=0.0), "shops: cafe stopped, 10,800 GBP expected"),
    (row(expected=0.0, actual=70.0), "shops: cafe 70.00 GBP above what was expected"),
    (row(expected=-10.0, actual=-70.0), "shops: cafe 60.00 GBP below what was expected"),
    (closed(), "shops: cafe had 50.00 GBP while closed"),
    (sparse(actual=0.0), "shops: cafe is silent for too long"),
    (sparse(actual=70.0), "shops: cafe has more payments than it ever had"),
]


@pytest.mark.parametrize(("first", "wanted"), HEADLINES)
def test_the_headline_says_which_series_and_how_far_off(first, wanted):
    """One line tells what happened, and how many more series it happened to."""
    assert headline("shops", [first], None, LONDON) == wanted
    many = headline("shops", [first, *[row(series="other")] * 1200], None, LONDON)
    assert many == f"{wanted} (and 1,200 more series)"


def test_payments_that_stopped_everywhere_are_the_headline():
    """A hundred silent shops are one piece of news, and no shop's."""
    wanted = "shops: payments stopped, none in 1,100 of 1,200 busy series"
    assert headline("shops", [], SILENT, LONDON) == wanted
    assert headline("shops", [row()], SILENT, LONDON) == wanted


def test_silence_is_explained_by_counts_and_chance():
    """How many of how many, when, and how rare that is."""
    notes = silence_notes(SILENT, LONDON)
    assert notes == (
        "1,100 of the 1,200 series that nearly always have payments at this time had none in "
        f"{SPAN}",
        "if they were independent, that would have a chance of less than 1 in 1,000,000",
    )
    assert silence_notes({**SILENT, "p": 0.0004}, LONDON)[1].endswith("a chance of 1 in 2,500")


AMOUNTS = [
    (
        row(),
        f"4,210 GBP in {SPAN}, 6,590 GBP or 61.0 % below the 10,800 GBP expected; "
        "band 8,000 GBP to 14,000 GBP",
        "so far off is 1 in 500 of its open bins, by its errors so far (p = 0.002)",
    ),
    (
        row(expected=0.0, lower=0.0, upper=5.0, actual=70.0),
        f"70.00 GBP in {SPAN}, 70.00 GBP above the 0.00 GBP expected; band 0.00 GBP to 5.00 GBP",
        "so far off is 1 in 500 of its open bins, by its errors so far (p = 0.002)",
    ),
    (
        closed(),
        f"50.00 GBP in {SPAN}, when there is usually nothing",
        "1 in 500 of the bins in which it is closed had a payment so far (p = 0.002)",
    ),
    (
        sparse(actual=0.0),
        f"0.00 GBP in {SPAN}; too few payments for a band",
        "so long a silence has a chance of 1 in 500 (rate test, p = 0.002)",
    ),
    (
        sparse(actual=70.0, p=1e-9),
        f"70.00 GBP in {SPAN}; too few payments for a band",
        "so many payments within a day have a chance of fewer than 1 in 1,000,000 "
        "(rate test, p below 0.000001)",
    ),
]


@pytest.mark.parametrize(("bin_", "amounts", "rarity"), AMOUNTS)
def test_reasons_begin_with_amounts_and_end_with_how_rare(bin_, amounts, rarity):
    """What came, what was expected, and how often as much was missed."""
    assert said(bin_) == (amounts, rarity)
    assert said({**bin_, "p": NAN}) == (amounts,)


def test_what_began_earlier_says_since_when():
    """On the operator's clock, and only if it did not begin in this bin."""
    summer = pd.Timestamp("2024-07-01T12:00Z")
    later = row(ts=summer, ends_at=summer + TWO_HOURS)
    first = said(later, since=summer - TWO_HOURS)
    assert first[1] == "outside since 2024-07-01 11:00 Europe/London"
    assert "2024-07-01 13:00-15:00 Europe/London" in first[0]
    assert not [text for text in said(later, since=summer) if text.startswith("outside since")]


WEEKS = [
    ({"actual": 10400.0}, "the same bin a week before had 10,400 GBP, inside its band"),
    ({"actual": 8000.0}, "the same bin a week before had 8,000 GBP, inside its band"),
    ({"actual": 1.0}, "the same bin a week before had 1.00 GBP, outside of its band"),
    ({"actual": 9.5, "lower": NAN, "upper": NAN}, "the same bin a week before had 9.50 GBP"),
    ({"actual": NAN}, "of the same bin a week before nothing is known"),
]


@pytest.mark.parametrize(("before", "wanted"), WEEKS)
def test_the_same_bin_a_week_ago_stands_beside(before, wanted):
    """Who knows last Tuesday's figure sees at once whether this one is odd."""
    assert said(row(), before=row(**before))[1] == wanted
    assert len(said(row(), before=None)) == 2


def parts(**difference):
    return pd.DataFrame({"series": [*difference], "difference": [*map(float, difference.values())]})


def test_who_made_the_difference_is_named_with_his_part():
    """The largest first, three at most, none below a twentieth; the unknown count for nothing."""
    made = parts(a=-300, b=-4000, c=-2000, d=-500, e=NAN, f=210)
    wanted = "made by b 60.7 % (-4,000 GBP), c 30.3 % (-2,000 GBP), d 7.6 % (-500.00 GBP)"
    assert made_by(made, LONDON) == wanted
    assert said(row(), parts=made)[1] == wanted
    # Who went the other way did not make it.
    assert made_by(parts(up=100, down=-1100), LONDON) == "made by down 110 % (-1,100 GBP)"


@given(st.lists(st.floats(-1e6, 1e6) | st.just(NAN), max_size=30))
def test_named_parts_are_parts(differences):
    """Whatever the differences: at most three names, in order, each with its sign; or nothing."""
    made = pd.DataFrame(
        {"series": [f"s{i:02d}" for i in range(len(differences))], "difference": differences}
    ).astype({"difference": float})
    found = made_by(made, LONDON)
    total = made["difference"].sum()
    if total == 0:
        assert found == ""
        return
    large = made[made["difference"] / total >= 0.05].dropna()
    named = [word for word in found.split() if word in set(made["series"])]
    assert len(named) == min(len(large), N_NAMED)
    assert set(named) <= set(large["series"])


@pytest.mark.parametrize("nothing", [NOBODY, parts(a=NAN), parts(a=0), parts(a=5, b=-5)])
def test_a_difference_that_nobody_made_is_not_told(nothing):
    """No sentence is better than one that divides by nothing."""
    assert made_by(nothing, LONDON) == ""
    assert len(said(row(), parts=nothing)) == 2


def test_a_bin_over_midnight_names_both_days():
    """A bin that ends at midnight is its day's; one that goes on names the next."""
    begin = pd.Timestamp("2024-03-12T20:00Z")
    assert LONDON.span(begin, begin + pd.Timedelta("4h")) == "2024-03-12 20:00-00:00 Europe/London"
    wanted = "2024-03-12 20:00-2024-03-13 02:00 Europe/London"
    assert LONDON.span(begin, begin + pd.Timedelta("6h")) == wanted


def test_names_and_counts_have_one_form():
    """What is told under a name is silenced by it."""
    assert name_of("shops", "cafe") == "shops:cafe"
    assert every_of("shops") == "shops"
    assert [counted_series(n) for n in (1, 1200)] == ["1 series", "1,200 series"]
    assert Where("UTC").amount(4210) == "4,210"


HOSTILE = "\n\r\t\x00\x1b[31m\u202e\u2028\u2029\x85</b>{{x}}%s"
texts = st.text(max_size=80) | st.text(alphabet=st.sampled_from(HOSTILE), max_size=80)
BREAKING = {"Cc", "Cs", "Zl", "Zp"}


@given(name=texts, data_set=texts, unit=texts, base=st.sampled_from([row, closed, sparse]))
def test_hostile_names_stay_one_clean_line(name, data_set, unit, base):
    """A series called like a line of its own, or that turns the text around, does neither."""
    where = Where("UTC", unit)
    made = pd.DataFrame({"series": [name, name + "\n"], "difference": [-50.0, -50.0]})
    bin_ = base(series=name)
    lines = [
        headline(data_set, [bin_, bin_], None, where),
        headline(data_set, [bin_], SILENT, where),
        *reasons(bin_, since=TS - TWO_HOURS, before=row(), parts=made, where=where),
        *silence_notes(SILENT, where),
    ]
    for line in lines:
        assert len(line.splitlines()) == 1
        assert not {unicodedata.category(char) for char in line} & BREAKING
        assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
        assert len(line) < 400
