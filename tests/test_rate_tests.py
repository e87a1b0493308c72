"""Counts of a day against their references: what is called unusual, and tables that are refused."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.errors import SourceFormatError
from components.rate_tests import RateTest, counts_of

# Payments an hour of a usual day, and what the four references are called.
USUAL = np.array(
    [9, 5, 2, 1, 1, 1, 2, 5, 12, 22, 25, 24, 22, 22, 21, 25, 24, 22, 25, 22, 20, 22, 18, 12]
)
NAMES = ("yesterday", "same_day_last_week", "avg_last_week", "avg_last_month")


def day(today=USUAL, references=None):
    """A day's table, as a monitoring page exports it."""
    hours = [f"{hour:02d}h" for hour in range(len(today))]
    if references is None:
        near = np.array([[1, 0], [-1, 1], [0.4, 0.2], [0.1, -0.3]])
        references = np.maximum(USUAL[:, None] + near[:, np.arange(len(USUAL)) % 2].T, 0)
    columns = dict(zip(NAMES, np.asarray(references, dtype=float).T, strict=True))
    return pd.DataFrame({"time": hours, "today": today, **columns})


def judged(table, miss=0.01):
    return RateTest(miss).run(counts_of(table, "day.csv"))


def test_a_normal_day_has_nothing_outside():
    """What is near its references is inside, in the night as at noon."""
    found = judged(day())
    assert not found["is_outside"].any()
    assert (found["lower"] <= found["actual"]).all()
    assert (found["actual"] <= found["upper"]).all()
    assert list(found["time"]) == list(day()["time"])


def test_hours_without_a_payment_are_outside():
    """Nothing between three and six in the afternoon, where there are twenty, is an outage."""
    today = USUAL.copy()
    today[15:18] = 0
    found = judged(day(today))
    assert list(np.flatnonzero(found["is_outside"])) == [15, 16, 17]
    assert (found["p"][15:18] < 1e-4).all()
    assert (found["lower"][15:18] > 0).all()
    # An hour that usually has one may well have none.
    assert not judged(day(np.where(USUAL <= 2, 0, USUAL)))["is_outside"].any()


@pytest.mark.parametrize(("count", "is_outside"), [(0, True), (3, True), (12, False), (60, True)])
def test_far_below_and_far_above_are_outside(count, is_outside):
    """Against 22: none, three and sixty are unusual; half of it may happen."""
    today = USUAL.copy()
    today[12] = count
    found = judged(day(today))
    assert found["is_outside"][12] == is_outside
    assert found["is_outside"].sum() == is_outside


def test_the_law_is_scipys_negative_binomial():
    """The formula of the docstring, on references that differ by more than a quarter."""
    references = np.array([[10, 30, 20, 20], [50, 10, 30, 30], [0, 0, 0, 0], [8, 8, 4, 4]])
    today = np.array([5, 31, 1, 12])
    found = judged(day(today, references))
    mean = references.mean(axis=1)
    large = mean >= 5
    own = (references[large].var(axis=1, ddof=1) - mean[large]) / mean[large] ** 2
    spread = max(np.sqrt(max(own.mean(), 0)), 0.25)
    assert spread > 0.25
    m = np.maximum(mean, 0.5)
    law = stats.nbinom(1 / spread**2, 1 / (1 + spread**2 * m))
    np.testing.assert_allclose(law.var(), m + (spread * m) ** 2)
    p = np.minimum(1, 2 * np.minimum(law.cdf(today), law.sf(today - 1)))
    np.testing.assert_allclose(found["p"], p, rtol=1e-9)
    np.testing.assert_allclose(found["expected"], mean)


@pytest.mark.parametrize("miss", [0.05, 0.01])
@pytest.mark.parametrize(("spread", "times"), [(0.0, 1.0), (0.2, 2.0), (0.3, 2.5)])
def test_about_as_few_are_outside_as_was_stated(miss, spread, times):
    """Of Poisson counts no more than the share; of restless ones, with four references, twice it.

    The mean of four is itself not sure, which the formula leaves out.
    """
    random = np.random.default_rng(1)
    outside = []
    for _ in range(60):
        rate = USUAL[:, None] * np.exp(spread * random.standard_normal((len(USUAL), 5)))
        counts = random.poisson(rate)
        outside.append(judged(day(counts[:, 0], counts[:, 1:]), miss)["is_outside"].mean())
    assert np.mean(outside) <= times * miss


@settings(max_examples=25)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=12), st.data())
def test_outside_is_what_lies_beyond_the_bounds(today, data):
    """Whatever the counts: p is a probability, and what is outside of the bounds is told."""
    count = st.lists(st.integers(0, 200), min_size=4, max_size=4)
    references = data.draw(st.lists(count, min_size=len(today), max_size=len(today)))
    found = judged(day(np.array(today), references))
    assert found["p"].between(0, 1).all()
    assert (found["lower"] <= found["upper"]).all()
    beyond = (found["actual"] < found["lower"]) | (found["actual"] > found["upper"])
    assert found.loc[beyond, "is_outside"].all()


def test_a_bin_without_any_reference_is_not_judged():
    """Nothing is known of it, so nothing is told, without a warning; one gap alone is none."""
    table = day()
    table.loc[3, list(NAMES)] = np.nan
    table.loc[5, "yesterday"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = judged(table)
    assert np.isnan(found["p"][3])
    assert np.isnan(found["expected"][3])
    assert not found["is_outside"].any()
    assert found.drop(index=3)["p"].notna().all()


def test_columns_are_found_by_their_words():
    """Whatever the case and the order; a column that is neither is left out."""
    table = day().rename(columns={"time": " Hour", "today": "COUNT", "yesterday": "Yesterday"})
    table["comment"] = "no number"
    found = counts_of(table[table.columns[::-1]], "day.csv")
    assert list(found.columns[:2]) == ["time", "actual"]
    assert set(found.columns[2:]) == {"Yesterday", *NAMES[1:]}
    np.testing.assert_array_equal(found["actual"], USUAL)


HOSTILE = {
    "time,today\n00h,3": "has time, today. Expected time, today, and references",
    "today,yesterday\n3,4": "has today, yesterday. Expected time",
    "time,yesterday\n00h,4": "has time, yesterday. Expected time",
    "time,today,yesterday": "has no rows",
    "time,today,yesterday\n00h,3,4\n01h,many,4": "line 3, column 'today' is no count",
    "time,today,yesterday\n00h,3,\n01h,3,x": "line 3, column 'yesterday' is no count",
    "time,today,yesterday\n00h,,4": "line 2, column 'today' is no count",
    "time,today,yesterday\n00h,nan,4": "line 2, column 'today' is no count",
    "time,today,yesterday\n00h,3,4\n01h,-1,4": "line 3, column 'today' is no count",
    "time,today,avg\n00h,3,4\n01h,3,\n02h,3,-0.5": "line 4, column 'avg' is no count",
    "time,today,yesterday\n00h,inf,4": "line 2, column 'today' is no count",
    "time,today,yesterday\n00h,3,1e300": "line 2, column 'yesterday' is no count",
    'time,today,"last_week\n\x1b[31m"\n00h,3,x': "line 2, column 'last_week [31m' is no count",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_that_is_none_is_refused_in_one_line(text):
    """The message names the file, and the line and the column where there is one."""
    with pytest.raises(SourceFormatError) as refused:
        counts_of(pd.read_csv(io.StringIO(text)), "day.csv")
    said = str(refused.value)
    assert said.startswith("day.csv: ")
    assert HOSTILE[text] in said
    assert said.isprintable()


def test_a_table_without_columns_is_refused():
    """Not even a header: the message shows what one looks like."""
    with pytest.raises(
        SourceFormatError, match=r"^day\.csv: has no columns\. Expected time, today"
    ):
        counts_of(pd.DataFrame(), "day.csv")
