"""Bins of the operator's day: against a slow twin, on the days when clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bins import (
    bin_end,
    bin_length,
    bin_start,
    complete,
    expected_bins,
    labels,
    last_closed_end,
    month_edges,
    zone_named,
)
from components.errors import SettingsError

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "UTC",
)
INTERVALS = ("15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")

QUARTER = timedelta(minutes=15)

# Days around a change of clocks, and days far from one.
CHANGES = {
    "Europe/Berlin": ("2024-03-31", "2024-10-27"),
    "America/New_York": ("2024-03-10", "2024-11-03"),
    "America/Sao_Paulo": ("2018-11-04", "2018-02-17", "2017-10-15", "2019-02-16"),
    "Australia/Lord_Howe": ("2024-04-07", "2024-10-06"),
    "Asia/Kolkata": ("2024-06-01",),
    "UTC": ("2024-02-29",),
}


def naive_starts(day, interval, zone):
    """The slow twin: walk through three days by the quarter, and see where the label turns."""
    step = int(bin_length(interval) / pd.Timedelta(minutes=1))
    local = ZoneInfo(zone)
    at = datetime(day.year, day.month, day.day, tzinfo=local).astimezone(UTC) - timedelta(hours=30)
    starts, label, before = [], None, at.astimezone(local)
    for _ in range(5 * 24 * 4):
        wall = at.astimezone(local)
        minute = wall.hour * 60 + wall.minute
        found = (wall.date(), minute // step)
        # A clock that goes back by a whole bin and more repeats it.
        back = before.replace(tzinfo=None) - wall.replace(tzinfo=None) + QUARTER
        if found != label or back >= timedelta(minutes=step):
            starts.append(at)
        label, before = found, wall
        at += QUARTER
    return pd.DatetimeIndex(starts[1:]).as_unit("us")


@st.composite
def places(draw):
    """A zone, an interval, and a day: often one on which the clock changes."""
    zone = draw(st.sampled_from(ZONES))
    days = [pd.Timestamp(day) for day in CHANGES[zone]]
    changing = st.sampled_from(days).flatmap(
        lambda day: st.integers(-2, 2).map(lambda n: day + pd.Timedelta(days=n))
    )
    anywhere = st.integers(0, 9000).map(lambda n: pd.Timestamp("2001-01-01") + pd.Timedelta(days=n))
    return zone, draw(st.sampled_from(INTERVALS)), draw(st.one_of(changing, anywhere))


def midnight(day, zone):
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return pd.Timestamp(local.astimezone(UTC))


@given(places())
def test_bins_are_those_of_the_slow_twin(place):
    """A bin begins where the label on the operator's clock turns, and nowhere else."""
    zone, interval, day = place
    slow = naive_starts(day, interval, zone)
    fast = expected_bins(slow[0], slow[-1], interval, zone)
    assert list(fast) == list(slow[:-1])
    assert list(bin_end(fast, interval, zone)) == list(slow[1:])


@given(places(), st.lists(st.integers(0, 3 * 24 * 3600), min_size=1, max_size=20))
def test_every_instant_is_in_exactly_one_bin(place, seconds):
    """No money is counted twice and none is lost, on days of 23, 24 and 25 hours."""
    zone, interval, day = place
    ts = midnight(day, zone) - pd.Timedelta(days=1) + pd.to_timedelta(seconds, unit="s")
    starts = bin_start(pd.DatetimeIndex(ts), interval, zone)
    ends = bin_end(starts, interval, zone)
    assert ((starts <= ts) & (ts < ends)).all()
    around = expected_bins(
        ts.min() - pd.Timedelta("3D"), ts.max() + pd.Timedelta("3D"), interval, zone
    )
    assert starts.isin(around).all()
    assert (around[1:] == bin_end(around, interval, zone)[:-1]).all()


@given(places())
def test_a_days_bins_are_as_long_as_the_day(place):
    """The real lengths of a day's bins add up to the day's, 23 or 25 hours included."""
    zone, interval, day = place
    since, until = midnight(day, zone), midnight(day + pd.Timedelta(days=1), zone)
    # In Sao Paulo a midnight that the clock skipped is the jump, an hour later by its own label.
    since, until = bin_start(pd.DatetimeIndex([since, until]), interval, zone)
    starts = expected_bins(since, until, interval, zone)
    assert (bin_end(starts, interval, zone) - starts).sum() == until - since
    assert (bin_end(starts, interval, zone) > starts).all()


@pytest.mark.parametrize(
    ("zone", "day", "label", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", "2024-03-31 03:00+0200", 1),
        ("Europe/Berlin", "2024-10-27", "2024-10-27 02:00+0200", 3),
        ("America/New_York", "2024-03-10", "2024-03-10 03:00-0400", 1),
        ("America/New_York", "2024-11-03", "2024-11-03 00:00-0400", 3),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 01:00-0200", 1),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17 22:00-0200", 3),
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-07 00:00+1100", 2.5),
        ("Australia/Lord_Howe", "2024-10-06", "2024-10-06 02:30+1100", 1.5),
    ],
)
def test_two_hour_bins_on_the_days_when_clocks_change(zone, day, label, hours):
    """Twelve bins on either day: one is shorter, or holds the repeated hour."""
    since = midnight(pd.Timestamp(day), zone)
    starts = expected_bins(since, since + pd.Timedelta(days=1, hours=2), "2h", zone)
    starts = starts[starts.tz_convert(zone).strftime("%Y-%m-%d") == day]
    assert len(starts) == 12
    real = pd.Series((bin_end(starts, "2h", zone) - starts) / pd.Timedelta(hours=1))
    odd = real[real != 2]
    assert list(odd) == [hours]
    assert labels(starts, zone)[odd.index[0]] == label


def test_a_bin_that_is_repeated_whole_is_a_bin_of_its_own():
    """An hour that comes twice is two 1h bins, and a skipped one is none."""
    back = expected_bins(
        pd.Timestamp("2024-10-26 22:00", tz="UTC"), pd.Timestamp("2024-10-27 23:00", tz="UTC"),
        "1h", "Europe/Berlin",
    )  # fmt: skip
    assert len(back) == 25
    assert list(labels(back[2:4], "Europe/Berlin")) == [
        "2024-10-27 02:00+0200",
        "2024-10-27 02:00+0100",
    ]
    forward = expected_bins(
        pd.Timestamp("2024-03-30 23:00", tz="UTC"), pd.Timestamp("2024-03-31 22:00", tz="UTC"),
        "1h", "Europe/Berlin",
    )  # fmt: skip
    assert len(forward) == 23


def test_a_day_that_was_skipped_and_a_clock_that_went_back_over_midnight():
    """Samoa had no 2011-12-30; Newfoundland's clock once went from 00:01 to 23:01."""
    skipped = expected_bins(
        pd.Timestamp("2011-12-29", tz="UTC"), pd.Timestamp("2012-01-02", tz="UTC"), "1d",
        "Pacific/Apia",
    )  # fmt: skip
    assert [text[:10] for text in labels(skipped, "Pacific/Apia")] == [
        "2011-12-29",
        "2011-12-31",
        "2012-01-01",
    ]
    back = expected_bins(
        pd.Timestamp("2010-11-06", tz="UTC"), pd.Timestamp("2010-11-09 12:00", tz="UTC"), "1d",
        "America/St_Johns",
    )  # fmt: skip
    assert [text[:10] for text in labels(back, "America/St_Johns")] == [
        "2010-11-06",
        "2010-11-07",
        "2010-11-08",
    ]


@given(places(), st.integers(0, 72 * 60))
def test_the_last_closed_bin_ends_by_now(place, minutes):
    """What is still filling up is never judged."""
    zone, interval, day = place
    as_of = midnight(day, zone) + pd.Timedelta(minutes=minutes)
    end = last_closed_end(as_of, interval, zone)
    assert end <= as_of
    assert bin_end(pd.DatetimeIndex([end]), interval, zone)[0] > as_of


@given(st.sampled_from(ZONES), st.integers(0, 200_000), st.integers(1, 100_000))
def test_months_cover_the_span_without_a_gap(zone, start, hours):
    """The month that holds the end is among them."""
    since = pd.Timestamp("2001-01-01", tz="UTC") + pd.Timedelta(hours=start)
    until = since + pd.Timedelta(hours=hours)
    edges = month_edges(since, until, zone)
    assert edges[0] <= since < edges[1]
    assert edges[-2] < until <= edges[-1]
    local = edges.tz_convert(zone)
    assert (local.day == 1).all()
    assert list(local.month[1:]) == list(local.month[:-1] % 12 + 1)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 11), st.floats(-10, 10)),
        unique_by=lambda row: row[:2],
    )
)
def test_complete_adds_what_lacks_and_changes_nothing_else(rows):
    """Every known series has a value in every bin, and its own values stay."""
    expected = expected_bins(
        pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="UTC"), "2h", "UTC"
    )
    measures = pd.DataFrame(
        {
            "series": pd.Series([name for name, _, _ in rows], dtype="str"),
            "ts": expected[[place for _, place, _ in rows]],
            "value": pd.Series([value for _, _, value in rows], dtype=float),
        }
    )
    full = complete(measures, expected, series=("z",))
    assert len(full) == 12 * (len({name for name, _, _ in rows}) + 1)
    assert list(full.columns) == ["series", "ts", "value"]
    given_values = {(name, expected[place]): value for name, place, value in rows}
    assert all(
        value == given_values.get((name, ts), 0.0)
        for name, ts, value in full.itertuples(index=False)
    )
    assert len(complete(measures, expected, series=("z",), fill=None)) == len(rows)


@pytest.mark.parametrize("interval", ["7m", "5h", "2d", "0h", "2", "h", "2 h", "-2h", "999999999d"])
def test_an_interval_that_does_not_divide_a_day_is_refused(interval):
    """Its bins would begin at another time each day."""
    with pytest.raises(SettingsError, match=r"do not divide a day\. Set TREMOR_INTERVAL"):
        bin_length(interval)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "a" * 999]
)
def test_an_unknown_time_zone_is_refused(name):
    """With how one is written."""
    with pytest.raises(SettingsError, match=r"no time zone is called .* Write it like"):
        zone_named(name)
