"""Bins on the operator's clock: slots and lengths when clocks change, holidays, placed values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bin_panels import clock, holidays, panel_of
from components.bins import bin_end, bin_length, bin_start, expected_bins
from components.errors import SettingsError, UnknownName

INTERVALS = ("15m", "1h", "2h", "6h", "1d")

# Years in which each zone's clocks went both ways; Sao Paulo's do at midnight, Lord Howe's by
# half an hour.
YEARS = {
    "Europe/Berlin": 2024,
    "America/Sao_Paulo": 2018,
    "Australia/Lord_Howe": 2024,
    "UTC": 2024,
}

every_clock = pytest.mark.parametrize(
    ("zone", "interval"), [(zone, interval) for zone in YEARS for interval in INTERVALS]
)


def bins_of_year(zone, interval):
    since, until = (
        bin_start(pd.DatetimeIndex([pd.Timestamp(f"{year}-01-01", tz=zone)]), interval, zone)[0]
        for year in (YEARS[zone], YEARS[zone] + 1)
    )
    return since, until, expected_bins(since, until, interval, zone)


@every_clock
def test_bins_cover_the_year_and_their_lengths_are_its_length(zone, interval):
    """Each bin ends where the next begins; hours that are lost or doubled are in the lengths."""
    since, until, ts = bins_of_year(zone, interval)
    panel = clock(ts, interval, zone)
    length = bin_length(interval)
    ends = ts + pd.to_timedelta(np.round(panel.length * length.total_seconds()), unit="s")
    assert ts[0] == since
    assert (ends[:-1] == ts[1:]).all()
    assert ends[-1] == until
    assert (panel.length > 0).all()
    assert panel.length.sum() == pytest.approx((until - since) / length, rel=1e-12)
    is_usual = panel.length == 1
    assert (~is_usual).sum() <= 4
    # Where the jump is a whole number of bins, these are lost or come twice instead.
    jump = pd.Timedelta("30m" if zone == "Australia/Lord_Howe" else "1h")
    assert is_usual.all() == (zone == "UTC" or length <= jump)
    assert panel.value.shape == (0, len(ts))
    assert panel.n_series == 0


@every_clock
def test_the_same_time_on_the_wall_is_the_same_slot_all_year(zone, interval):
    """Nine o'clock is nine o'clock in winter and in summer, and Monday's first slot is 0."""
    _, _, ts = bins_of_year(zone, interval)
    panel = clock(ts, interval, zone)
    wall = ts.tz_convert(zone).tz_localize(None)
    minutes = wall.hour * 60 + wall.minute
    step = int(bin_length(interval) / pd.Timedelta(minutes=1))
    np.testing.assert_array_equal(panel.day_slot, minutes // step)
    np.testing.assert_array_equal(panel.week_slot, wall.day_of_week * panel.n_day + panel.day_slot)
    assert panel.n_day * step == 24 * 60
    assert set(panel.day_slot) == set(range(panel.n_day))
    assert set(panel.week_slot) == set(range(7 * panel.n_day))
    # A label without its slot: a skipped one alone, whose bin begins at the jump.
    slots_of = pd.Series(panel.day_slot).groupby(wall.strftime("%H:%M")).nunique()
    assert (slots_of == 1).all()
    assert (minutes % step != 0).sum() <= 1


CHANGES = [
    # Three o'clock comes after one: the two hours from two on last one.
    ("Europe/Berlin", "2h", "2024-03-31", {1: 0.5}),
    ("Europe/Berlin", "2h", "2024-10-27", {1: 1.5}),
    ("Europe/Berlin", "1d", "2024-03-31", {0: 23 / 24}),
    ("Europe/Berlin", "1d", "2024-10-27", {0: 25 / 24}),
    ("Australia/Lord_Howe", "1h", "2024-10-06", {2: 0.5}),
    ("Australia/Lord_Howe", "1h", "2024-04-07", {1: 1.5}),
    ("America/Sao_Paulo", "2h", "2018-11-04", {0: 0.5}),
    ("America/Sao_Paulo", "6h", "2018-02-17", {3: 7 / 6}),
]


@pytest.mark.parametrize(("zone", "interval", "day", "unusual"), CHANGES)
def test_the_bin_of_a_change_has_its_real_length(zone, interval, day, unusual):
    """Half of the payments in half of the time are no drop."""
    since = pd.Timestamp(day, tz="UTC") - pd.Timedelta("2D")
    ts = expected_bins(since, since + pd.Timedelta("5D"), interval, zone)
    panel = clock(ts, interval, zone)
    is_day = ts.tz_convert(zone).strftime("%Y-%m-%d") == day
    found = {int(s): float(x) for s, x in zip(panel.day_slot, panel.length, strict=True) if x != 1}
    assert found == pytest.approx(unusual)
    assert (panel.length[~is_day] == 1).all()


def test_hours_that_come_twice_share_their_slot():
    """Both hours from two to three are the hour from two to three."""
    ts = pd.date_range("2024-10-26T23:00Z", "2024-10-27T02:00Z", freq="h", unit="us")
    panel = clock(ts, "1h", "Europe/Berlin")
    assert panel.day_slot.tolist() == [1, 2, 2, 3]
    assert panel.length.tolist() == [1, 1, 1, 1]


@settings(max_examples=25)
@given(
    zone=st.sampled_from(sorted(YEARS)),
    interval=st.sampled_from(INTERVALS),
    at=st.integers(0, 4000),
    n=st.integers(1, 40),
)
def test_some_bins_have_the_slots_that_they_have_among_all(zone, interval, at, n):
    """The clock knows no history: a run of one bin places it as a backfill does."""
    _, _, ts = bins_of_year(zone, interval)
    at = at % len(ts)
    whole, some = clock(ts, interval, zone), clock(ts[at : at + n], interval, zone)
    for name in ("day_slot", "week_slot", "length", "is_holiday"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[at : at + n])
    assert (bin_end(ts[at : at + 1], interval, zone) > ts[at]).all()


SPRING = pd.Timestamp("2011-04-01", tz="UTC"), pd.Timestamp("2011-05-15", tz="UTC")


def dates(*said):
    return {pd.Timestamp(day) for day in said}


def test_days_of_rest_are_named_by_date_and_by_calendar():
    """London's Easter, the royal wedding and May Day; and the days that the operator adds."""
    london = dates("2011-04-22", "2011-04-25", "2011-04-29", "2011-05-02")
    assert holidays(["XLON"], *SPRING) == london
    assert holidays(["2024-12-25"], *SPRING) == dates("2024-12-25")
    # The wedding was no feast of Germany's, and Easter is everybody's.
    assert holidays(["XETR"], *SPRING) == dates("2011-04-22", "2011-04-25")
    both = holidays(["2011-04-05", "XLON", "XETR"], *SPRING)
    assert both == london | dates("2011-04-05")
    assert holidays([], *SPRING) == frozenset()
    assert holidays(["24/7"], *SPRING) == frozenset()


def test_a_holiday_is_one_from_midnight_to_midnight_on_the_operators_clock():
    """The last hours of Good Friday in London belong to it, whatever UTC says."""
    ts = expected_bins(*SPRING, "2h", "Europe/London")
    panel = clock(ts, "2h", "Europe/London", holidays(["XLON"], *SPRING))
    local = ts.tz_convert("Europe/London").strftime("%Y-%m-%d")
    wanted = ["2011-04-22", "2011-04-25", "2011-04-29", "2011-05-02"]
    np.testing.assert_array_equal(panel.is_holiday, local.isin(wanted))
    assert panel.is_holiday.sum() == 4 * 12
    assert not clock(ts, "2h", "Europe/London").is_holiday.any()


@pytest.mark.parametrize("wrong", ["2024-02-30", "2024-13-01", "0000-00-00"])
def test_a_date_that_there_is_not_is_told(wrong):
    """The message names the date and shows how one is written."""
    with pytest.raises(SettingsError, match=rf"{wrong} is no date\. Write it as 2024-12-25"):
        holidays(["2024-12-25", wrong, "XLON"], *SPRING)


@pytest.mark.parametrize("wrong", ["XXXX", "25.12.2024", "christmas", "2024-1-1", ""])
def test_what_is_neither_date_nor_calendar_is_told(wrong):
    """A slip of the keyboard does not pass for a day."""
    with pytest.raises(UnknownName):
        holidays([wrong], *SPRING)


def test_values_are_placed_by_series_and_bin():
    """Rows in any order; bins without a row are unknown, not 0; what nobody asked for is left."""
    ts = expected_bins(
        pd.Timestamp("2024-03-30", tz="UTC"), pd.Timestamp("2024-04-02", tz="UTC"), "2h", "UTC"
    )
    on = clock(ts, "2h", "UTC")
    random = np.random.default_rng(0)
    wanted = np.full((3, len(ts)), np.nan)
    at = random.permutation(3 * len(ts))[:60]
    wanted.ravel()[at] = random.normal(size=60)
    rows = pd.DataFrame(
        {
            "series": np.array(["b", "a", "c"])[at // len(ts)],
            "ts": ts[at % len(ts)],
            "value": wanted.ravel()[at],
        }
    )
    strangers = pd.DataFrame(
        {"series": ["d", "a"], "ts": [ts[0], ts[0] - pd.Timedelta("2h")], "value": [1.0, 2.0]}
    )
    panel = panel_of(pd.concat([rows, strangers]), ["b", "a", "c"], on, ts)
    np.testing.assert_array_equal(panel.value, wanted)
    for name in ("day_slot", "week_slot", "length", "is_holiday"):
        np.testing.assert_array_equal(getattr(panel, name), getattr(on, name))
    in_ns = rows.assign(ts=rows["ts"].astype("datetime64[ns, UTC]"))
    np.testing.assert_array_equal(panel_of(in_ns, ["b", "a", "c"], on, ts).value, wanted)
    nothing = panel_of(rows.iloc[:0], ["b"], on, ts)
    assert np.isnan(nothing.value).all()
    assert nothing.value.shape == (1, len(ts))
