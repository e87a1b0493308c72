"""The command ``evaluate``: its files, its JSON, its errors, and that nobody is told."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.evaluation.null import quiet_market
from components.tables import CANDLES, TABLES
from components.wiring import open_warehouse
from tests.terminal import hurry, tremor

KNOWN_AT = pd.Timestamp("2024-03-13", tz="UTC")
BLOCK = {"realised", "planted", "events", "event_study"}
BASELINES = {"amplitude_zscore", "volatility_zscore", "dual_stream", "random"}
JUDGE = ("--detectors", "volatility_zscore")


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def fill(world, n_series=4, n_bars=900, coins=0):
    """Put a market's candles into the warehouse, as runs before would have."""
    candles = quiet_market(n_series + coins, n_bars, seed=2).drop(columns="split")
    names = {f"NULL{n:03}": f"COIN{n}-USD" for n in range(n_series, n_series + coins)}
    candles["symbol"] = candles["symbol"].replace(names)
    rows = candles.assign(
        interval="1d", source="made", vwap=np.nan, trades=np.nan, known_at=KNOWN_AT
    )
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(CANDLES, rows)
    world.files.mkdir(exist_ok=True)
    return candles


def numbers_in(value):
    """Every number of a JSON document, with the path to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ((f"{name}.{path}", number) for path, number in numbers_in(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)
    elif isinstance(value, float):
        yield "", value


def test_the_figures_have_their_keys_and_the_files_lie_where_they_are_said_to(world):
    """JSON for a program: the promised keys for the judge and each baseline, and no NaN."""
    fill(world)
    seen = tremor(world, "evaluate", *JUDGE, "--json", "--seed", "3")
    assert seen.code == 0, seen.err
    found = json.loads(seen.out)
    assert found.keys() >= {*BLOCK, "baselines", "alerts_per_year", "judge", "panel"}
    assert found["baselines"].keys() == BASELINES
    for block in (found, *found["baselines"].values()):
        assert block.keys() >= BLOCK
        assert block["realised"].keys() >= {"pooled", "by_year", "by_tercile", "by_instrument"}
        assert block["realised"]["by_instrument"].keys() >= {"p10", "p90"}
        assert block["planted"].keys() >= {"recall", "average_precision", "vus_pr", "by_kind"}
        assert len(block["planted"]["by_kind"]) == 8
        assert block["events"].keys() >= {"recall", "n"}
        assert block["event_study"].keys() >= {"volatility_ratio", "interval", "return"}
    assert found["events"] == {
        "recall": None, "n": 0, "interval": [None, None], "n_undecided": 0, "missed": [],
    }  # fmt: skip
    assert all(math.isfinite(number) for _, number in numbers_in(found))
    assert found["panel"]["n_instruments"] == 4
    assert 1 < found["realised"]["pooled"] < 8
    assert found["planted"]["recall"] > found["baselines"]["random"]["planted"]["recall"] + 0.2

    page, figures = re.findall(r": (/\S+)", seen.err)
    assert json.loads(Path(figures).read_text()) == found
    html = Path(page).read_text()
    assert page.startswith(str(world.folder / "var" / "lake" / "runs" / "evaluate-"))
    assert html.count("data:image/png;base64,") == 3
    assert "http" not in re.sub(r"base64,[^\"]+", "", html)


def test_the_same_seed_gives_the_same_figures_and_another_other_plants(world):
    """An evaluation can be repeated to the last digit."""
    fill(world)
    command = ("evaluate", *JUDGE, "--json", "--subset", "2")
    first, again, other = (tremor(world, *command, "--seed", seed).out for seed in ("5", "5", "6"))
    assert first == again
    assert first != other
    assert json.loads(first)["panel"]["n_instruments"] == 2


def test_the_table_holds_the_baselines_and_nobody_is_told(world):
    """On the console for a person; no verdict, alert, delivery or run is written."""
    fill(world, n_series=3, coins=2)
    seen = tremor(world, "evaluate", *JUDGE, "--out", str(world.folder / "proof"))
    assert seen.code == 0, seen.err
    for words in ("this judge", "base rule", "peer's rule", "random alerts", "frozen price"):
        assert words in seen.out
    assert "nan" not in seen.out
    assert (world.folder / "proof" / "evaluation.html").is_file()
    for table in TABLES:
        assert (len(world.rows(table)) > 0) == (table.name == "candles"), table.name
    assert world.messages() == []


def test_another_budget_can_be_tried(world):
    """Twelve a year ring three times as often as four."""
    fill(world)
    few, many = (
        json.loads(tremor(world, "evaluate", *JUDGE, "--json", "--alerts-per-year", k).out)
        for k in ("4", "12")
    )
    assert many["alerts_per_year"] == 12
    assert many["realised"]["n_alerts"] > 2 * few["realised"]["n_alerts"]


def test_a_market_without_anomalies_shows_the_rate_alone(world):
    """What rings there is a false alarm, and the stated rate of them."""
    world.files.mkdir()
    seen = tremor(world, "evaluate", *JUDGE, "--null", "--subset", "8", "--json")
    assert seen.code == 0, seen.err
    found = json.loads(seen.out)
    assert found.keys() == {"judge", "alerts_per_year", "panel", "realised"}
    assert 3 < found["realised"]["pooled"] < 5
    table = tremor(world, "evaluate", *JUDGE, "--null", "--subset", "8")
    assert "realised" in table.out
    assert "planted" not in table.out


def test_a_users_own_list_of_events_is_asked_after(world):
    """Its own CSV: symbol, date, what."""
    candles = fill(world)
    own = candles[candles["symbol"] == "NULL001"].reset_index(drop=True)
    own_events = world.folder / "own.csv"
    lines = [f"NULL001,{ts:%Y-%m-%d},made" for ts in own["ts"][[10, 500, 600]]]
    own_events.write_text("\n".join(["symbol,date,what", *lines]))
    seen = tremor(world, "evaluate", *JUDGE, "--json", "--events", str(own_events))
    events = json.loads(seen.out)["events"]
    assert (events["n"], events["n_undecided"]) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the warehouse holds no 1d candles"),
        (("--symbols", "ZZZ"), "the warehouse holds no 1d candles of ZZZ"),
        (("--detectors", "zscore"), "no detector is called 'zscore'. Known: amplitude_zscore"),
        (("--events", "no_such_file.csv"), "no list of events"),
        (("--since", "yesterday-ish"), "is no date"),
        (("--alerts-per-year", "-1"), "ALERTS_PER_YEAR"),
        (("--subset", "-3"), "subset"),
    ],
)
def test_what_the_user_can_mend_is_one_line(world, arguments, said):
    """Empty warehouse, unknown names, odd values: exit code 2 and the remedy."""
    world.files.mkdir()
    assert said in tremor(world, "evaluate", *arguments).error


def test_a_rate_that_no_history_can_resolve_is_one_line(world):
    """One alert in a hundred thousand years: the line says what to ask for."""
    fill(world)
    assert "Ask for" in tremor(world, "evaluate", "--alerts-per-year", "0.00001").error


def test_too_few_bars_are_told_with_both_numbers(world):
    """Nothing decided is no evaluation."""
    fill(world, n_series=2, n_bars=60)
    error = tremor(world, "evaluate", *JUDGE).error
    assert re.search(r"evaluate needs at least \d+ bars, got 60\. Backfill", error)
    error = tremor(world, "evaluate", *JUDGE, "--since", "2024-03-01").error
    assert re.search(r"needs at least \d+ bars, got 0", error)


def test_a_history_too_short_for_plants_still_gives_its_rate(world):
    """What was not measured is null in JSON and a dash on the page."""
    fill(world, n_series=2, n_bars=300)
    seen = tremor(world, "evaluate", *JUDGE, "--json")
    assert seen.code == 0, seen.err
    found = json.loads(seen.out)
    assert found["planted"]["n"] == 0
    assert found["planted"]["vus_pr"] is None
    assert found["realised"]["pooled"] is not None
    assert all(math.isfinite(number) for _, number in numbers_in(found))
    assert tremor(world, "evaluate", *JUDGE).code == 0


def test_a_folder_that_cannot_be_written_is_named(world):
    """A file stands where the folder should be."""
    fill(world, n_series=1)
    (world.folder / "taken").write_text("")
    seen = tremor(world, "evaluate", *JUDGE, "--out", str(world.folder / "taken"))
    assert seen.code == 2
    assert "--out" in seen.said[-1]


def test_hostile_histories_are_evaluated_all_the_same(world):
    """One instrument is dead, one has no volume, one is a day old: no figure breaks."""
    candles = fill(world, n_series=3)
    odd = candles[candles["symbol"] == "NULL000"].reset_index(drop=True)
    flat = odd.assign(symbol="DEAD", open=1.0, high=1.0, low=1.0, close=1.0, volume=0.0)
    silent = odd.assign(symbol="INDEX", volume=np.nan)
    young = odd.tail(1).assign(symbol="YOUNG")
    wild = odd.assign(symbol="WILD")
    wild.loc[600, ["open", "high", "low", "close"]] = 1e-9
    rows = pd.concat([flat, silent, young, wild]).assign(
        interval="1d", source="made", vwap=np.nan, trades=np.nan, known_at=KNOWN_AT
    )
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(CANDLES, rows)
    seen = tremor(world, "evaluate", *JUDGE, "--json")
    assert seen.code == 0, seen.err
    found = json.loads(seen.out)
    assert found["panel"]["n_instruments"] == 7
    assert all(math.isfinite(number) for _, number in numbers_in(found))
    assert all(line.startswith(("report:", "figures:")) for line in seen.said)
