"""``evaluate --profile``: its tables, page and JSON, on made worlds; its errors; nobody is told."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.explored import TOLD, as_json
from components.profile_page import page, until_last
from components.profile_tables import text_table
from components.steps import profile as exploring
from components.steps.evaluate import Chosen
from components.steps.profile import profile
from components.tables import CANDLES, QUARANTINE, TABLES
from components.wiring import open_parts, open_warehouse
from tests.terminal import hurry, tremor
from tests.test_evaluation_command import fill, numbers_in
from tests.test_report import HOSTILE, Page
from tests.worlds import DAY, LAST, MORNING, history

PROFILE = ("evaluate", "--profile")
KEYS = {
    *("as_of", "since", "interval", "source", "rules", "symbols", "moves", "spikes", "pairs"),
    *("checks", "matrix", "units"),
}


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def explored(world, as_of=MORNING, chosen=None, **settings):
    """The exploration of what a world holds, as of an instant."""
    opened = open_parts(
        world.read_settings(model="none", **settings), as_of, command="profile", reads_only=True
    )
    with opened as parts:
        return profile(parts, chosen or Chosen())


def row(found, symbol):
    """One instrument's figures."""
    return found.symbols.set_index("symbol").loc[symbol]


def stored(world, rows, **settings):
    """Put candles into the warehouse, as a load does."""
    filled = {"interval": "1d", "source": "files", "vwap": np.nan, "trades": np.nan, "hours": None}
    missing = {name: value for name, value in filled.items() if name not in rows}
    with open_warehouse(world.read_settings(**settings)) as warehouse:
        warehouse.upsert(CANDLES, rows.drop(columns="split", errors="ignore").assign(**missing))
    world.files.mkdir(exist_ok=True)


def test_the_figures_have_their_keys_and_the_files_lie_where_they_are_said_to(world):
    """JSON for a program, in promised keys and order; the page needs nothing beside it."""
    fill(world)
    seen = tremor(world, *PROFILE, "--json")
    assert seen.code == 0, seen.err
    found = json.loads(seen.out)
    assert found.keys() == KEYS
    assert [tuple(each) for each in found["symbols"]] == [TOLD] * 4
    assert found["moves"][0].keys() == {
        *("symbol", "ts", "close", "return", "times_usual", "bars_over")
    }
    assert found["spikes"][0].keys() == {*("symbol", "ts", "volume", "z", "times_median", "return")}
    assert found["pairs"][0].keys() == {"first", "second", "correlation", "n_common"}
    assert found["matrix"].keys() == {"symbols", "correlation", "n_common"}
    assert found["rules"]["large_move_times_usual"] == 3
    told = {*TOLD, *found["moves"][0], *found["spikes"][0], *found["pairs"][0]}
    assert found["units"].keys() <= told
    assert all(math.isfinite(number) for _, number in numbers_in(found))
    html, figures = re.findall(r": (/\S+)", seen.err)
    assert json.loads(Path(figures).read_text()) == found
    assert html.startswith(str(world.folder / "var" / "lake" / "runs" / "profile-"))
    text = Path(html).read_text()
    # Four histories, the volatilities, the correlations, the coverage.
    assert text.count("data:image/png;base64,") == 7
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)


def test_the_tables_are_shown_nothing_is_changed_and_nobody_is_told(world):
    """On the console for a person; no verdict, alert, delivery or run is written."""
    fill(world, n_series=3, coins=2)
    seen = tremor(world, *PROFILE, "--out", str(world.folder / "seen"))
    assert seen.code == 0, seen.err
    assert "Exploration: 1d, 5 instruments, 4,500 bars, files, as of" in seen.out
    for words in ("consistency", "largest moves", "volume spikes", "strongest pairs", "COIN4-USD"):
        assert words in seen.out
    assert not re.search(r"\b(nan|NaT|None)\b", seen.out)
    assert {path.name for path in (world.folder / "seen").iterdir()} == {
        "profile.html",
        "profile.json",
    }
    for table in TABLES:
        assert (len(world.rows(table)) > 0) == (table.name == "candles"), table.name
    assert world.messages() == []


def test_a_run_and_the_exploration_call_the_same_bars_unusual(world):
    """The stored channels of a run are the exploration's units: 12 digits of them are told."""
    world.put_market(AAA=0.2)
    world.run()
    found = explored(world)
    channels = world.query("select symbol, ts, return_z, volume_z from channels")
    both = found.moves.merge(channels, on=["symbol", "ts"])
    assert len(both) > 5
    np.testing.assert_allclose(both["times_usual"], both["return_z"], rtol=1e-9)
    spikes = found.spikes.merge(channels, on=["symbol", "ts"])
    np.testing.assert_allclose(spikes["z"], spikes["volume_z"], rtol=1e-9)
    crash = found.moves.iloc[0]
    assert (crash["symbol"], crash["ts"]) == ("AAA", LAST)
    assert crash["return"] == pytest.approx(-0.2, abs=1e-4)
    assert found.symbols["symbol"][0] == "AAA"


def test_coverage_ends_where_the_history_ends_and_what_is_late_is_told_apart(world):
    """Five days lack within AAA, one row was refused; BBB ends three sessions early."""
    world.put_market()
    frame = history("AAA").drop(index=[100, 200, 201, 202, 203])
    frame.loc[300, "High"] = 1
    world.put("AAA", frame)
    world.put("BBB", history("BBB")[:-3])
    world.run()
    found = explored(world)
    aaa, bbb = row(found, "AAA"), row(found, "BBB")
    assert (aaa["n_due"], aaa["n_held"], aaa["n_missing"], aaa["n_refused"]) == (400, 394, 5, 1)
    assert aaa["coverage"] == pytest.approx(394 / 400)
    assert (aaa["n_gaps"], aaa["longest_gap_bars"], aaa["n_late"]) == (3, 4, 0)
    assert (bbb["coverage"], bbb["n_late"], bbb["n_missing"]) == (1, 3, 3)
    assert bbb["is_late"]
    assert (aaa["n_out_of_order"], aaa["n_aside"], bbb["n_aside"]) == (1, 1, 0)
    assert found.checks.to_dict("records") == [
        {
            "symbol": "AAA",
            "check_name": "ohlc_order",
            "first": pd.Timestamp("2023-10-18", tz="UTC"),
            "n_bars": 1,
            "is_let_in": False,
        }
    ]
    said = text_table(found)
    assert "ohlc_order: 1 bar kept aside, of 1 instrument; first AAA 2023-10-18" in said
    assert re.search(r"AAA .* 98\.50 % ", said)
    words = Page(page(found)).text
    assert "4 sessions missing AAA" in words
    assert "3 sessions" not in words
    assert_days_end_where_bars_do(found)


def assert_days_end_where_bars_do(found):
    """Day by day as in all: what is due, less what is late."""
    days = until_last(found.quality).days.groupby("symbol")[["n_expected", "n_held"]].sum()
    rows = found.symbols.set_index("symbol").loc[days.index]
    assert days["n_expected"].tolist() == (rows["n_due"] - rows["n_late"]).tolist()
    assert days["n_held"].tolist() == rows["n_held"].tolist()


def test_copies_corrections_and_a_disagreeing_source_are_counted(world):
    """A row that came twice; two bars that were revised, one by a tenth; a second source."""
    candles = fill(world, n_series=2)
    own = candles[candles["symbol"] == "NULL001"].reset_index(drop=True)
    revised = own.iloc[[100, 200]].assign(known_at=pd.Timestamp("2024-03-14", tz="UTC"))
    revised.loc[100, ["close", "high"]] *= 1.1
    revised.loc[200, "volume"] += 5
    stored(world, revised)
    aside = pd.DataFrame(
        {
            "raw": "0" * 64,
            "line": [1, 2, 3],
            "check_name": ["repeated_bar", "sources_disagree", "volume_absent"],
            "symbol": "NULL001",
            "interval": "1d",
            "ts": own["ts"].iloc[[5, 6, 7]].to_list(),
            "row_text": "{}",
            "source": "files",
            "known_at": pd.Timestamp("2024-03-14", tz="UTC"),
        }
    )
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(QUARANTINE, aside)
    found = explored(world, pd.Timestamp("2024-03-15", tz="UTC"))
    first, second = row(found, "NULL000"), row(found, "NULL001")
    names = ["n_corrected", "n_copies", "n_disagreeing", "n_stored", "n_bars"]
    assert first[names].tolist() == [0, 0, 0, 900, 900]
    # The made market trades on holidays, which no calendar expects.
    assert first["n_not_due"] == 900 - first["n_held"] > 20
    assert second[names].tolist() == [2, 1, 1, 900, 900]
    assert second["largest_correction"] == pytest.approx(0.1)
    let_in = found.checks.set_index("check_name")["is_let_in"].to_dict()
    assert let_in == {"repeated_bar": False, "sources_disagree": True, "volume_absent": True}
    assert "2 (close by 10.0 %)" in text_table(found)
    # As of the day before nobody had revised anything.
    then = row(explored(world, pd.Timestamp("2024-03-13 12:00", tz="UTC")), "NULL001")
    assert then[["n_corrected", "n_copies", "n_disagreeing"]].tolist() == [0, 0, 0]


def test_an_instrument_of_which_every_row_was_refused_is_there(world):
    """Nothing of it is held, and what the checks said is what there is to know."""
    world.put_market()
    frame = history("AAA", n_bars=50)
    frame["High"] = 1.0
    world.put("ZZZ", frame)
    world.run()
    found = explored(world)
    gone = row(found, "ZZZ")
    assert (gone["n_bars"], gone["n_stored"], gone["n_out_of_order"]) == (0, 0, 50)
    assert pd.isna(gone["first"])
    assert pd.isna(gone["volatility"])
    assert found.symbols["symbol"].iloc[-1] == "ZZZ"
    assert re.search(r"ZZZ +none +none +0 +0\.00 % +n/a +n/a\n", text_table(found))
    assert {"ZZZ", "AAA"} <= set(Page(page(found)).text.split())
    chosen = explored(world, chosen=Chosen(("AAA", "NEW")))
    assert row(chosen, "NEW")["n_bars"] == 0
    assert list(chosen.symbols["symbol"]) == ["AAA", "NEW"]


def minutes(symbol, day, n_days=6, hours=(13.5, 20.0), **other):
    """Flat-volume minutes of some sessions; those before the opening are of extended hours."""
    opened = pd.bdate_range(day, periods=n_days, tz="UTC")
    ts = [
        pd.date_range(
            d + pd.Timedelta(hours=h - 1),
            d + pd.Timedelta(hours=hours[1]),
            freq="1min",
            inclusive="left",
        )
        for d, h in zip(opened, [hours[0]] * n_days, strict=True)
    ]
    stamps = ts[0].append(ts[1:])
    random = np.random.default_rng(len(symbol))
    close = 50 * np.exp(np.cumsum(0.0004 * random.standard_normal(len(stamps))))
    minute_of_day = stamps.hour * 60 + stamps.minute
    return pd.DataFrame(
        {
            "symbol": symbol,
            "ts": stamps,
            "open": close,
            "high": close * 1.0001,
            "low": close * 0.9999,
            "close": close,
            "volume": np.exp(5 + 0.2 * random.standard_normal(len(stamps))),
            "hours": np.where(minute_of_day < hours[0] * 60, "extended", "regular"),
            "interval": "1m",
            "known_at": stamps.max() + pd.Timedelta(minutes=1),
            **other,
        }
    )


def test_minutes_are_described_in_regular_hours_by_the_exchange_calendar(world):
    """Six sessions of 390 minutes, one of which lacks an hour; the hours before are apart."""
    rows = minutes("ACME", "2024-03-11")
    noon = pd.Timestamp("2024-03-18 16:00", tz="UTC")
    rows = rows[(rows["ts"] < noon) | (rows["ts"] >= noon + pd.Timedelta(hours=1))]
    leapt = minutes("LEAPT", "2024-03-11")
    morning = pd.Timestamp("2024-03-15 13:30", tz="UTC")
    prices = ["open", "high", "low", "close"]
    leapt.loc[leapt["ts"] >= morning, prices] *= 1.1
    stored(world, pd.concat([rows, leapt]), interval="1m")
    as_of = pd.Timestamp("2024-03-18 22:00", tz="UTC")
    found = explored(world, as_of, interval="1m")
    acme = row(found, "ACME")
    assert (acme["n_bars"], acme["n_due"], acme["n_held"]) == (6 * 390 - 60, 6 * 390, 6 * 390 - 60)
    assert acme["n_stored"] == acme["n_bars"] + 6 * 60
    assert (acme["n_gaps"], acme["longest_gap_bars"]) == (1, 60)
    assert acme["bars_per_year"] == 252 * 390
    assert acme["volatility"] == pytest.approx(0.0004 * np.sqrt(252 * 390), rel=0.05)
    # Five days of the clock pass before a minute can be held against its half hour.
    assert 0 < acme["n_judged_volumes"] < 2 * 390
    assert_days_end_where_bars_do(found)
    # What comes later is late, within the last day as well as after it.
    later = explored(world, as_of + 2 * DAY, interval="1m")
    assert row(later, "ACME")["n_late"] == 2 * 390
    stored(world, minutes("SHORT", "2024-03-11")[:-30], interval="1m")
    ended = explored(world, as_of + DAY, interval="1m")
    assert row(ended, "SHORT")["n_late"] == 30 + 390
    assert row(ended, "SHORT")["coverage"] == 1
    assert_days_end_where_bars_do(ended)
    # A night's leap of a tenth is one, though not by the measure of a minute.
    leap = row(found, "LEAPT")
    assert leap["largest_move_ts"] == morning
    assert 8 < leap["largest_move_times"] < 18
    assert "at this half hour of the day" in Page(page(found)).text
    seen = tremor(world, *PROFILE, "--interval", "1m", "--json", "--symbols", "ACME")
    assert json.loads(seen.out)["symbols"][0]["n_bars"] == acme["n_bars"]
    assert "no 1d candles" in tremor(world, *PROFILE).error


def test_long_histories_and_many_instruments_are_read_some_at_a_time(world, monkeypatch):
    """However they are grouped the figures are the same; each panel stays within its bounds."""
    fill(world, n_series=7)
    young = fill(world, n_series=1)[-45:].assign(symbol="YOUNG", known_at=LAST + DAY)
    stored(world, young.drop(index=young.index[10:15]))
    whole = explored(world)
    seen = []

    def watched(panel, axis):
        seen.append(panel.ts.shape)
        return exploring_compared(panel, axis)

    exploring_compared = exploring.compared
    monkeypatch.setattr(exploring, "compared", watched)
    monkeypatch.setattr(exploring, "BARS_AT_ONCE", 2_000)
    monkeypatch.setattr("components.steps.holdings.AT_ONCE", 3)
    pieces = explored(world)
    assert max(rows * bars for rows, bars in seen) <= 2_000
    assert (1, 40) in seen
    pd.testing.assert_frame_equal(pieces.symbols, whole.symbols)
    pd.testing.assert_frame_equal(pieces.moves, whole.moves)
    pd.testing.assert_frame_equal(pieces.spikes, whole.spikes)
    pd.testing.assert_frame_equal(pieces.pairs, whole.pairs)
    # Of too many to hold, the days of those that miss most.
    assert len(whole.quality.symbols) == 8
    assert len(pieces.quality.symbols) == 3
    assert_days_end_where_bars_do(pieces)
    assert pieces.quality.symbols["symbol"][0] == "YOUNG"
    assert page(pieces).count("data:image/png;base64,") == 11


def test_of_too_long_a_history_the_newest_bars_are_described_and_that_is_said(world, monkeypatch):
    """Memory is bounded; the coverage is still that of all bars."""
    fill(world, n_series=1)
    monkeypatch.setattr(exploring, "BARS_AT_ONCE", 252)
    found = explored(world)
    own = row(found, "NULL000")
    assert own["is_cut"]
    # A year of it has holidays too.
    assert own["n_bars"] == pytest.approx(252, abs=12)
    assert (own["n_stored"], own["coverage"]) == (900, 1)
    assert own["n_held"] > 800
    assert own["n_not_due"] == 0
    said = "Of NULL000 the newest bars alone are described"
    assert said in text_table(found)
    assert said in Page(page(found)).text


def test_the_first_day_is_chosen_and_a_subset_drawn(world):
    """What was before is left out of every figure; the same seed draws the same instruments."""
    fill(world, n_series=6)
    since = pd.Timestamp("2007-01-01", tz="UTC")
    found = explored(world, chosen=Chosen(since=since))
    assert found.symbols["first"].min() == since
    assert found.symbols["n_bars"].max() == found.symbols["n_stored"].max() < 900 - 500
    assert found.moves["ts"].min() >= since
    assert "since 2007-01-01" in text_table(found)
    names = [
        explored(world, chosen=Chosen(subset=2, seed=seed)).symbols["symbol"].tolist()
        for seed in (1, 1, 2)
    ]
    assert [len(each) for each in names] == [2, 2, 2]
    assert sorted(names[0]) == sorted(names[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the warehouse holds no 1d candles. Run `python main.py backfill"),
        (("--symbols", "ZZZ"), "the warehouse holds no 1d candles of ZZZ"),
        (("--interval", "5m"), "the warehouse holds no 5m candles"),
        (("--since", "2999-01-01"), "still to come"),
        (("--null",), "judges nothing. Leave out --null, or --profile."),
        (("--rounds", "3"), "judges nothing. Leave out --rounds"),
        (("--detectors", "market"), "judges nothing. Leave out --detectors"),
        (("--alerts-per-year", "9"), "judges nothing. Leave out --alerts-per-year"),
        (("--events", "e.csv"), "judges nothing. Leave out --events"),
    ],
)
def test_what_the_user_can_mend_is_one_line(world, arguments, said):
    """An empty warehouse, names without bars, options of the judgement: exit code 2."""
    world.files.mkdir()
    assert said in tremor(world, *PROFILE, *arguments).error


def test_a_span_without_bars_and_a_folder_that_cannot_be_written_are_one_line(world):
    """Nothing since yesterday; a file stands where the folder should be."""
    fill(world, n_series=1)
    yesterday = f"{pd.Timestamp.now('UTC') - DAY:%Y-%m-%d}"
    error = tremor(world, *PROFILE, "--since", yesterday).error
    assert "no 1d bar is held since then. Name an earlier day with --since." in error
    (world.folder / "taken").write_text("")
    seen = tremor(world, *PROFILE, "--out", str(world.folder / "taken"))
    assert seen.code == 2
    assert "--out" in seen.said[-1]


def test_payments_are_no_candles(world):
    """A source of measures is named, with what to set."""
    world.files.mkdir()
    (world.folder / "measures.toml").write_text(
        '[tpv]\nfiles = "tpv.csv"\ntime = "at"\nvalue = "amount"\n'
    )
    (world.files / "tpv.csv").write_text("at,amount\n2024-03-11 10:00,1\n")
    error = tremor(world, *PROFILE, measures_file=world.folder / "measures.toml").error
    assert "gives payment volumes, and candles alone are explored" in error


def test_odd_histories_are_explored_all_the_same(world):
    """One is dead, one has no volume, one is a day old, one jumps by ten powers of ten."""
    candles = fill(world, n_series=3)
    odd = candles[candles["symbol"] == "NULL000"].reset_index(drop=True)
    flat = odd.assign(symbol="DEAD", open=1.0, high=1.0, low=1.0, close=1.0, volume=0.0)
    silent = odd.assign(symbol="INDEX", volume=np.nan)
    young = odd.tail(1).assign(symbol="YOUNG")
    wild = odd.assign(symbol="WILD")
    wild.loc[600, ["open", "high", "low", "close"]] = 1e-9
    known_at = pd.Timestamp("2024-03-13", tz="UTC")
    stored(world, pd.concat([flat, silent, young, wild]).assign(known_at=known_at))
    found = explored(world)
    assert all(math.isfinite(number) for _, number in numbers_in(as_json(found)))
    assert row(found, "DEAD")["volatility"] == 0
    assert row(found, "INDEX")["n_no_volume"] == 900
    assert row(found, "INDEX")["n_judged_volumes"] == 0
    assert row(found, "YOUNG")[["n_bars", "n_judged_moves"]].tolist() == [1, 0]
    assert found.symbols["symbol"][0] == "WILD"
    assert not {"DEAD", "YOUNG"} & {*found.pairs["first"], *found.pairs["second"]}
    assert not re.search(r"\b(nan|NaT|None|inf)\b", text_table(found))
    assert not re.search(r"\b(nan|NaT|None|inf)\b", Page(page(found)).text)
    one = explored(world, chosen=Chosen(("YOUNG",)))
    assert "No bar stands out, or too few are held to tell." in Page(page(one)).text


def test_hostile_names_are_shown_not_run(world):
    """Of instruments and checks, on the page and in the text."""
    fill(world, n_series=2)
    found = explored(world)
    names = {"NULL000": HOSTILE, "NULL001": f"B{HOSTILE}"}
    renamed = {
        name: getattr(found, name).replace(names)
        for name in ("symbols", "moves", "spikes", "pairs")
    }
    aside = pd.DataFrame(
        {"symbol": [HOSTILE], "check_name": [HOSTILE], "n_bars": [1], "first": [LAST]}
    ).assign(is_let_in=False)
    drawn = tuple(replace(each, symbol=HOSTILE) for each in found.drawn)
    crafted = replace(found.matrix, symbols=(HOSTILE, "$x_$"))
    hostile = replace(found, **renamed, checks=aside, drawn=drawn, matrix=crafted)
    text = page(hostile)
    assert "<script" not in text
    assert "\x00" not in text + text_table(hostile)
    assert not any(name.startswith("on") for _, name, _ in Page(text).attributes)
    assert json.dumps(as_json(hostile))


def test_a_page_of_ten_thousand_instruments_stays_small(world):
    """A hundred rows, twelve pictures, forty squares a side; the JSON has everything."""
    fill(world, n_series=2)
    found = explored(world)
    many = pd.concat([found.symbols] * 5_000, ignore_index=True)
    crowded = replace(found, symbols=many)
    text = page(crowded)
    assert len(re.sub(r"base64,[^\"]+", "", text)) < 300_000
    assert "and 9,900 more with smaller moves" in Page(text).text
    assert len(text_table(crowded).splitlines()) < 180
    assert len(as_json(crowded)["symbols"]) == 10_000
