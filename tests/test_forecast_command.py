"""The commands over payments as an operator meets them: forecast, train forecasters, errors."""

import json

import pandas as pd
import pytest

from components.forecasters import FORECASTERS
from tests.payments_made import at, payments, put_payments, run_forecast, shops
from tests.terminal import hurry, tremor

NOW = at("2024-03-27 12:05")
AS_OF = ("--as-of", f"{NOW.tz_convert('UTC'):%Y-%m-%dT%H:%M}")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def town(world):
    """The shops, with ten weeks booked."""
    town = shops(world)
    put_payments(town, payments(), NOW)
    return town


def test_forecast_says_what_was_and_what_comes(town):
    """A row a series, on the operator's clock; the same for a program; again, nothing is new."""
    seen = tremor(town, "forecast", *AS_OF)
    assert seen.code == 0, seen
    assert seen.out.startswith("bins of Europe/Berlin, EUR\n")
    assert "2024-03-27 10:00" in seen.out
    assert "payments/shops/index.html" in seen.out
    again = tremor(town, "forecast", *AS_OF, "--json")
    rows = json.loads(again.out[again.out.index("{") : again.out.rindex("}") + 1])["series"]
    assert {row["series"] for row in rows} == {"alpha", "beta", "gamma", "delta", "omega", "total"}
    assert all(row["lower_next"] <= row["expected_next"] <= row["upper_next"] for row in rows)
    runs = town.query("select counts from runs where command = 'forecast' order by started_at")
    assert runs["counts"].iloc[-1]["bands_new"] == 0


def test_forecasters_are_held_against_each_other_and_the_best_one_judges(town):
    """Six are tried on the same bins; the champion is kept, and makes the bands from then on."""
    assert tremor(town, "forecast", *AS_OF).code == 0
    seen = tremor(town, "train", "forecasters", "--json")
    assert seen.code == 0, seen
    (said,) = json.loads(seen.out).items()
    title, trials = said
    assert {trial["forecaster"] for trial in trials} == set(FORECASTERS)
    assert len({trial["n_bins"] for trial in trials}) == 1
    score = {trial["forecaster"]: trial["winkler"] for trial in trials}
    assert score["seasonal_naive"] == 1
    assert score["deviation"] > 2
    champion = title.removeprefix("shops: ").removesuffix(" is champion")
    assert score[champion] < 1
    kept = town.query("select forecaster, is_champion, model from forecast_trials")
    assert kept.loc[kept["is_champion"] == 1, "forecaster"].tolist() == [champion]
    fitted = kept[kept["model"] != ""]["forecaster"]
    assert sorted(fitted) == ["boosted", "lstm"]
    # Who is named judges, as far as it was known by then.
    later = (pd.Timestamp.now("UTC") + pd.Timedelta(minutes=1)).floor("s")
    for name, wanted in (("champion", champion), ("lstm", "lstm"), ("boosted", "boosted")):
        summary = run_forecast(town, payments(), later, forecaster=name, history_years=20)
        assert summary.exit_code in (0, 3)
        made = town.query(
            "select distinct forecaster from forecasts where known_at = %(at)s",
            at=later.to_pydatetime(),
        )
        assert made["forecaster"].tolist() == [wanted]
        later += pd.Timedelta(seconds=1)


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (("forecast",), {"source": "yahoo"}, "forecast needs payments"),
        (("forecast", "--since", "2024-01-01"), {}, "--since goes with --csv"),
        (("forecast", "--day", "nowhere.csv"), {}, "cannot be read"),
        (("forecast", *AS_OF), {"forecaster": "lstm"}, "no fitted lstm is kept"),
        (("forecast", *AS_OF), {"forecaster": "nobody"}, "no forecaster is called 'nobody'"),
        (("forecast", *AS_OF), {"holidays": "2024-13-45"}, "2024-13-45 is no date"),
        (("forecast", *AS_OF), {"coverage": "1"}, "TREMOR_COVERAGE"),
        (("train", "forecasters", "--per-symbol"), {}, "takes no --features"),
        (("train", "forecasters"), {}, "no data set has a bin"),
    ],
)
def test_what_the_user_can_mend_is_one_line(town, arguments, settings, said):
    """What, where and the remedy; exit code 2."""
    assert said in tremor(town, *arguments, **settings).error


def test_a_day_is_tested_against_its_own_references(town):
    """Without a database, a history or a band."""
    hours = [f"{hour:02}h" for hour in range(24)]
    usual = [1, 1, 1, 1, 1, 2, 3, 5, 9, 20, 35, 36, 33, 30, 31, 30, 31, 26, 24, 25, 20, 21, 18, 10]
    today = [n if not 15 <= hour < 18 else 0 for hour, n in enumerate(usual)]
    table = pd.DataFrame({"time": hours, "today": today, "yesterday": usual})
    table["avg_last_week"] = [n + 0.4 for n in usual]
    path = town.folder / "day.csv"
    table.to_csv(path, index=False)
    seen = tremor(town, "forecast", "--day", str(path))
    assert seen.code == 0, seen
    lines = seen.out.splitlines()
    assert lines[0] == "3 of 24 bins are unusual at 99.0 % coverage"
    assert [line[:4] for line in lines[1:]] == ["15h:", "16h:", "17h:"]
