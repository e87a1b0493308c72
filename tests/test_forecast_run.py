"""The run over payments: judged once, told once, whatever happens in between."""

import numpy as np
import pandas as pd
import pytest

from components.steps.runner import Runner
from components.tables import BANDS, FORECASTS, SILENT
from tests.payments_made import (
    DAY,
    LENGTH,
    SHOPS,
    Unseen,
    at,
    payments,
    put_payments,
    run_forecast,
    shops,
    without,
)
from tests.terminal import hurry, tremor

NOON = at("2024-03-27 12:00")
EARLIER = at("2024-03-27 08:05")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture(scope="module")
def rows():
    """Ten quiet weeks."""
    return payments()


@pytest.fixture
def town(world):
    """The shops, watched."""
    return shops(world)


def latest(world, since=None):
    """The newest verdict of each bin, without when it became known."""
    rows = world.query(
        "select distinct on (series, ts) * from bands order by series, ts, known_at desc"
    ).drop(columns="known_at")
    return rows if since is None else rows[rows["ts"] >= since].reset_index(drop=True)


def test_the_first_run_judges_the_past_and_tells_none_of_it(town, rows):
    """Each shop and their sum have bands that hold; twelve bins ahead have theirs."""
    summary = run_forecast(town, rows, NOON + pd.Timedelta(minutes=5))
    assert (summary.exit_code, summary.counts["alerts"]) == (0, 0)
    judged = latest(town)
    assert set(judged["series"]) == {*SHOPS, "total"}
    live = judged[judged["standing"] == "live"]
    inside = live["actual"].between(live["lower"], live["upper"])
    assert len(live) > 900
    assert 0.97 < inside.mean() < 1
    # What is closed has no payment, and that is what is expected of it.
    closed = judged[judged["standing"] == "closed"]
    assert (closed[["actual", "expected", "lower", "upper"]] == 0).all(axis=None)
    ahead = town.query("select * from forecasts order by series, ts")
    counts = ahead.groupby("series").size()
    assert set(counts) == {12}
    assert ahead["ts"].min() == NOON.tz_convert("UTC")
    of_total = ahead[(ahead["series"] == "total") & (ahead["standing"] == "live")]
    assert (of_total["lower"] < of_total["expected"]).all()
    assert (of_total["expected"] < of_total["upper"]).all()


def test_the_sum_of_all_is_the_sum_of_each(town, rows):
    """Bin by bin, to the cent."""
    run_forecast(town, rows, NOON)
    judged = latest(town)
    sums = judged[judged["series"] != "total"].groupby("ts")["actual"].sum()
    total = judged[judged["series"] == "total"].set_index("ts")["actual"]
    assert len(total) > 300
    pd.testing.assert_series_equal(total, sums.loc[total.index], check_names=False, rtol=1e-12)


def test_payments_that_stop_are_one_incident_at_the_first_closed_bin(town, rows):
    """Told once, in one message; the bins behind continue it, and its end tells nothing."""
    stopped = without(rows, at("2024-03-27 10:00"), at("2024-03-27 14:00"))
    run_forecast(town, stopped, EARLIER)
    told = []
    for hour in (10, 12, 14, 16, 18):
        now = at(f"2024-03-27 {hour}:00")
        # The bin under way is not looked at: it is over just then.
        told.append(run_forecast(town, stopped, now).counts["alerts"])
        assert run_forecast(town, stopped, now).counts["alerts"] == told[-1]
    assert told == [0, 1, 0, 0, 0]
    (alert,) = town.alerts().to_dict("records")
    assert alert["kind"] == "payments"
    assert alert["headline"] == "shops: payments stopped, none in 5 of 5 busy series"
    assert alert["ts"] == at("2024-03-27 10:00")
    (message,) = town.messages()
    assert "payments stopped" in message["Subject"]
    said = message.get_body(("plain",)).get_content()
    assert "10:00-12:00 Europe/Berlin" in said
    # What that comes to, of all together, with its picture.
    assert "shops:total" in said
    assert "0.00 EUR in 2024-03-27 10:00-12:00" in said
    assert any(part.get_content_type() == "image/png" for part in message.walk())
    stored = town.query("select * from silent where p < 0.001 order by ts")
    assert set(stored["n_silent"]) == {5}


def test_one_shop_that_sells_three_times_as_much_is_explained(town, rows):
    """Expected, band, actual, difference in money and per cent, since when, a week ago."""
    wanted = rows["paid_at"].between(at("2024-03-27 10:00"), NOON, inclusive="left")
    more = rows[wanted & (rows["shop"] == "omega")]
    busy = pd.concat([rows, *[more] * 3], ignore_index=True)
    run_forecast(town, busy, EARLIER)
    run_forecast(town, busy, at("2024-03-27 10:05"))
    summary = run_forecast(town, busy, at("2024-03-27 12:05"))
    assert summary.counts["alerts"] == 1
    (message,) = town.messages()
    said = message.get_body(("plain",)).get_content()
    assert "shops:omega" in said
    for words in (
        "EUR in 2024-03-27 10:00-12:00 Europe/Berlin",
        "% above the",
        "band ",
        "the same bin a week before had",
        "of its open bins, by its errors so far",
    ):
        assert words in said, (words, said)
    page = message.get_body(("html",)).get_content()
    assert "shops:omega" in page
    pictures = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert pictures
    if "shops:total" in said:
        assert "made by omega" in said


def test_names_of_any_kind_are_told_as_they_are(town, rows):
    """A star, quotes, SQL, markup: each is one series among others."""
    names = {"omega": "*", "delta": "x';drop table bands;--", "gamma": "<b>&", "beta": "a:b:*"}
    odd = rows.assign(shop=rows["shop"].replace(names))
    wanted = odd["paid_at"].between(at("2024-03-27 10:00"), NOON, inclusive="left")
    odd = pd.concat([odd, *[odd[wanted & (odd["shop"] == "*")]] * 4], ignore_index=True)
    run_forecast(town, odd.assign(shop=odd["shop"].str.replace("'", "''")), EARLIER)
    odd["shop"] = odd["shop"].str.replace("'", "''")
    summary = run_forecast(town, odd, at("2024-03-27 12:05"), Runner())
    assert (summary.exit_code, summary.counts["alerts"]) == (0, 1)
    assert "shops:*" in town.alerts()["symbols"].iloc[0]
    page = (town.folder / "var/lake/payments/shops/index.html").read_text()
    assert "<b>&<" not in page


def test_a_damaged_cache_is_made_again(make_world, rows):
    """Whatever lies where the carried state should: the bands are those of before."""
    whole, damaged = shops(make_world()), shops(make_world())
    for world in (whole, damaged):
        run_forecast(world, rows, EARLIER)
    for body in (b"", b"garbage", b"ARROW1\0\0" + b"x" * 999 + b"ARROW1"):
        for path in (damaged.folder / "var/lake/state").rglob("*.arrow"):
            path.write_bytes(body)
        assert run_forecast(damaged, rows, at("2024-03-27 10:05")).exit_code == 0
    run_forecast(whole, rows, at("2024-03-27 10:05"))
    pd.testing.assert_frame_equal(latest(damaged), latest(whole), check_exact=True)


def test_days_have_bands_too(town):
    """One bin a day: a silent day is told."""
    long = payments(until=at("2024-07-25"))
    quiet = without(long, at("2024-07-23"), at("2024-07-24"))
    town.settings["interval"] = "1d"
    run_forecast(town, quiet, at("2024-07-23 00:05"))
    assert run_forecast(town, quiet, at("2024-07-24 00:05")).counts["alerts"] == 1
    judged = latest(town)
    assert (judged["standing"] == "live").mean() > 0.5


def test_a_sale_at_three_in_the_morning_is_told(town, rows):
    """Of shops that were never open then."""
    night = pd.DataFrame({"paid_at": [at("2024-03-27 03:10")], "shop": ["beta"], "amount": [19.9]})
    odd = pd.concat([rows, night.astype({"paid_at": rows["paid_at"].dtype})])
    run_forecast(town, odd, at("2024-03-27 02:05"))
    assert run_forecast(town, odd, at("2024-03-27 04:05")).counts["alerts"] == 1
    assert "beta had 19.90 EUR while closed" in town.alerts()["headline"].iloc[0]


def test_the_bin_under_way_is_shown_and_never_judged(town, rows):
    """So far, and what that points to: near what the bin then came to."""
    half = at("2024-03-27 11:00")
    run_forecast(town, rows, half)
    now = town.query(
        "select * from payment_band where bin_start = %(ts)s order by series",
        ts=at("2024-03-27 10:00").to_pydatetime(),
    )
    assert now["actual"].isna().all()
    assert now["in_band"].isna().all()
    paid = rows[rows["paid_at"].between(at("2024-03-27 10:00"), half, inclusive="left")]
    so_far = now.set_index("series")["so_far"]
    assert so_far["total"] == pytest.approx(paid["amount"].sum())
    whole = rows[rows["paid_at"].between(at("2024-03-27 10:00"), NOON, inclusive="left")]
    of_total = now.set_index("series").loc["total"]
    assert of_total["nowcast"] == pytest.approx(whole["amount"].sum(), rel=0.35)
    assert of_total["nowcast"] > of_total["so_far"]


def test_payments_that_stop_are_told_before_their_bin_is_over(town, rows):
    """By the same time of earlier days; when the bin closes it is not told again."""
    stopped = without(rows, at("2024-03-27 12:00"), at("2024-03-27 16:00"))
    run_forecast(town, stopped, at("2024-03-27 12:05"))
    early = run_forecast(town, stopped, at("2024-03-27 13:00"))
    assert early.counts["alerts"] == 1
    assert "12:00-13:00 Europe/Berlin" in town.messages()[0].get_body(("plain",)).get_content()
    assert run_forecast(town, stopped, at("2024-03-27 14:05")).counts["alerts"] == 0
    assert run_forecast(town, stopped, at("2024-03-27 16:05")).counts["alerts"] == 0
    assert len(town.alerts()) == 1


def test_many_small_runs_come_to_what_one_large_run_does(make_world, rows):
    """Bands are the same to the last bit, whatever was carried between the runs, or lost."""
    often, once = shops(make_world()), shops(make_world())
    for hours in range(0, 9 * 24, 36):
        run_forecast(often, rows, at("2024-03-18 06:05") + pd.Timedelta(hours=hours))
    now = at("2024-03-27 06:05")
    run_forecast(often, rows, now)
    run_forecast(once, rows, now)
    # One run records the last five weeks, and the first of many did so long before.
    whole = latest(once)
    pd.testing.assert_frame_equal(latest(often, whole["ts"].min()), whole, check_exact=True)
    ahead = [world.rows(FORECASTS) for world in (often, once)]
    since = at("2024-03-27 06:00").tz_convert("UTC")
    here, there = (each[each["ts"] >= since].drop(columns="known_at") for each in ahead)
    pd.testing.assert_frame_equal(
        here.reset_index(drop=True), there.reset_index(drop=True), check_exact=True
    )


def test_a_payment_that_comes_late_changes_its_bin_and_what_follows(make_world, rows):
    """As if it had been there from the start; the verdict of before stays as a version."""
    late, whole = shops(make_world()), shops(make_world())
    lost = without(rows, at("2024-03-20 10:00"), at("2024-03-20 12:00"), ("gamma",))
    run_forecast(late, lost, EARLIER)
    run_forecast(late, rows, NOON)
    run_forecast(whole, rows, NOON)
    judged = latest(whole)
    pd.testing.assert_frame_equal(latest(late, judged["ts"].min()), judged, check_exact=True)
    versions = late.query(
        "select count(*) as n from bands where series = 'gamma' and ts = %(ts)s",
        ts=at("2024-03-20 10:00").to_pydatetime(),
    )
    assert versions["n"].iloc[0] == 2


class Stopping(Unseen):
    """A run that dies before or behind its n-th step."""

    def __init__(self, n, *, behind):
        super().__init__()
        self.left, self.behind = n, behind

    def __call__(self, step, parts, *args):
        """Call the step, or die."""
        self.left -= 1
        if self.left == 0 and not self.behind:
            raise KeyboardInterrupt
        result = super().__call__(step, parts, *args)
        if self.left == 0:
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("behind", [False, True])
def test_a_run_that_dies_anywhere_is_made_good_by_the_next(make_world, rows, behind):
    """Nothing is lost and nothing told twice, at whichever step it died."""
    stopped = without(rows, at("2024-03-27 10:00"), at("2024-03-27 14:00"))
    whole = shops(make_world())
    for now in (EARLIER, at("2024-03-27 12:05")):
        run_forecast(whole, stopped, now)
    broken = shops(make_world())
    run_forecast(broken, stopped, EARLIER)
    for n in range(1, 20):
        try:
            run_forecast(broken, stopped, at("2024-03-27 12:05"), Stopping(n, behind=behind))
        except KeyboardInterrupt:
            continue
        break
    assert n > 8
    for table in (BANDS, FORECASTS, SILENT):
        pd.testing.assert_frame_equal(broken.rows(table), whole.rows(table), check_exact=True)
    assert broken.alerts()["id"].tolist() == whole.alerts()["id"].tolist()
    subjects = [[m["Message-ID"] for m in each.messages()] for each in (broken, whole)]
    assert subjects[0] == subjects[1]


def test_a_dry_run_says_and_changes_nothing(town, rows, capsys):
    """What it would tell is printed."""
    stopped = without(rows, at("2024-03-27 10:00"), at("2024-03-27 14:00"))
    run_forecast(town, stopped, EARLIER)
    before = latest(town)
    run_forecast(town, stopped, at("2024-03-27 12:05"), dry=True)
    assert "payments stopped" in capsys.readouterr().out
    pd.testing.assert_frame_equal(latest(town), before)
    assert not town.messages()
    assert run_forecast(town, stopped, at("2024-03-27 12:05")).counts["alerts"] == 1


def test_who_was_acknowledged_is_quiet_until_it_is_inside_again(town, rows):
    """A shop that sells nothing for two days, told on the first."""
    stopped = without(rows, at("2024-03-26 10:00"), at("2024-03-27 16:00"), ("omega",))
    run_forecast(town, stopped, at("2024-03-26 08:05"))
    told = run_forecast(town, stopped, at("2024-03-26 14:05"))
    assert told.counts["alerts"] >= 1
    alert = town.alerts()["id"].iloc[0]
    seen = tremor(town, "alerts", "acknowledge", alert)
    assert (seen.code, "shops:omega" in seen.out) == (0, True)
    assert run_forecast(town, stopped, at("2024-03-26 20:05")).counts["alerts"] == 0
    assert run_forecast(town, stopped, at("2024-03-27 12:05")).counts["alerts"] == 0


def test_clocks_that_change_move_no_bin(town):
    """The shops keep their hours on the wall; the Sunday of the change has one hour less."""
    rows = payments(until=at("2024-04-03"))
    run_forecast(town, rows, at("2024-03-30 21:00"))
    summary = run_forecast(town, rows, at("2024-04-02 23:00"))
    judged = latest(town, since=at("2024-03-31").tz_convert("UTC"))
    assert summary.counts["alerts"] <= 1
    sunday = judged[(judged["series"] == "total") & (judged["ts"] < at("2024-04-01"))]
    assert len(sunday) == 12
    lengths = (sunday["ends_at"] - sunday["ts"]).value_counts().to_dict()
    assert lengths == {LENGTH: 11, LENGTH / 2: 1}
    monday = judged[(judged["series"] == "total") & (judged["ts"] == at("2024-04-01 10:00"))]
    assert monday["standing"].tolist() == ["live"]


def test_days_of_rest_that_are_named_are_no_outage(town, rows):
    """A holiday on a Wednesday: nothing is judged, nothing learned, nothing told."""
    rest = without(rows, at("2024-03-27"), at("2024-03-28"))
    town.settings |= {"holidays": "2024-03-27,XETR"}
    run_forecast(town, rest, at("2024-03-26 23:00"))
    assert run_forecast(town, rest, at("2024-03-27 20:05")).counts["alerts"] == 0
    judged = latest(town, since=DAY.tz_convert("UTC"))
    assert set(judged["standing"]) == {"holiday"}


def test_a_band_tells_a_business_tool_what_it_needs(town, rows):
    """The view: bin, actual, expected, bounds, whether inside, level; the CSV says the same."""
    stopped = without(rows, at("2024-03-27 10:00"), at("2024-03-27 14:00"), ("omega",))
    run_forecast(town, stopped, EARLIER)
    run_forecast(town, stopped, at("2024-03-27 14:05"))
    view = town.query(
        "select * from payment_band where data_set = 'shops' order by series, bin_start"
    )
    assert view.columns.tolist()[:11] == [
        *("data_set", "series", "interval", "bin_start", "bin_end", "actual", "expected"),
        *("lower", "upper", "in_band", "alarm_level"),
    ]
    assert not view.duplicated(["series", "bin_start"]).any()
    of_shop = view[(view["series"] == "omega") & (view["bin_start"] == at("2024-03-27 12:00"))]
    assert of_shop["alarm_level"].iloc[0] in ("MEDIUM", "HIGH")
    out = town.folder / "band.csv"
    put_payments(town, stopped, at("2024-03-27 14:05"))
    seen = tremor(
        town, "forecast", "--csv", str(out), "--as-of", "2024-03-27T13:05", "--since", "2024-03-01"
    )
    assert (seen.code, seen.out.split()[1]) == (0, "bins"), seen
    table = pd.read_csv(out)
    here = view[view["bin_start"] >= pd.Timestamp("2024-03-01", tz="UTC")]
    assert len(table) == len(here)
    np.testing.assert_array_equal(table["expected"], here["expected"].astype(float))


def test_pages_and_pictures_lie_in_the_lake(town, rows):
    """One page a data set, one page and one picture a series, all renewing themselves."""
    summary = run_forecast(town, rows, NOON, Runner())
    folder = town.folder / "var/lake/payments/shops"
    assert summary.pages == [f"{folder}/index.html"]
    names = sorted(path.name for path in (folder / "series").iterdir())
    assert names == sorted(
        f"{name}.{kind}" for name in (*SHOPS, "total") for kind in ("html", "png")
    )
    page = (folder / "index.html").read_text()
    assert 'http-equiv="refresh" content="7200"' in page
    assert (folder / "band.csv").read_bytes().startswith(b"series,bin_start,bin_end,actual")
