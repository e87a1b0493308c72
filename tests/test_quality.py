"""Data quality: which bars should be there, which are, and why the others are not."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bar_fates import (
    HELD,
    IN_GRACE,
    MISSING,
    NO_TRADE,
    REFUSED,
    VENUE_DOWN,
    Bars,
    Due,
    tables,
)
from components.calendar_chart import SHAPES, Strip, strip_of, strips_svg
from components.quality_page import STATES, Quality, as_json, page, text_table
from components.steps.quality import lately, quality
from components.tables import CANDLES, MEASURES, RAW_OBJECTS
from components.wiring import open_parts
from tests.test_command_line import tremor
from tests.test_report import HOSTILE, Page
from tests.worlds import DAY, LAST, MORNING, history

MINUTE = pd.Timedelta(minutes=1)
NOON = pd.Timestamp("2024-03-12 12:00", tz="UTC")
COUNTED = ["n_expected", "n_held", "n_missing", "n_refused", "n_no_trade", "n_venue_down"]


def looked_at(world, as_of=MORNING, since=None, *, reported=None, **settings) -> Quality:
    """The quality of what a world's warehouse holds; or what its report shows."""
    opened = open_parts(world.read_settings(**settings), as_of, command="status", reads_only=True)
    with opened as parts:
        return quality(parts, as_of, since) if reported is None else lately(parts, reported)


def row(found, symbol):
    """One instrument's figures."""
    return found.symbols.set_index("symbol").loc[symbol]


def test_a_missing_day_a_refused_bar_and_a_late_instrument_are_told_apart(world):
    """Each bar that is due is in one of the columns, and weekends and holidays are in none."""
    world.put_market()
    frame = history("AAA").drop(index=[100, 200, 201, 202, 203])
    frame.loc[300, "High"] = 1
    world.put("AAA", frame)
    world.put("BBB", history("BBB")[:-3])
    world.run()
    found = looked_at(world)
    assert list(found.symbols["symbol"]) == ["BBB", "AAA", "CCC", "DDD-USD"]
    assert row(found, "AAA")[COUNTED].tolist() == [400, 394, 5, 1, 0, 0]
    assert row(found, "BBB")[COUNTED].tolist() == [400, 397, 3, 0, 0, 0]
    assert row(found, "CCC")[COUNTED].tolist() == [400, 400, 0, 0, 0, 0]
    assert found.symbols["is_late"].tolist() == [True, False, False, False]
    assert row(found, "AAA")["n_aside"] == 1
    # Four sessions in a row, a weekend and Memorial Day between them.
    gap = found.gaps.iloc[0]
    assert (gap["symbol"], gap["what"], gap["n_bars"]) == ("AAA", "missing", 4)
    assert (gap["first"], gap["last"]) == (_day("2023-05-25"), _day("2023-05-31"))
    assert found.aside.to_dict("records") == [
        {"check_name": "ohlc_order", "symbol": "AAA", "n_bars": 1, "first": _day("2023-10-18")}
    ]
    days = found.days[found.days["symbol"] == "AAA"].set_index("day")["state"]
    assert _day("2023-05-29") not in days.index
    assert days[_day("2023-05-25")] == "all missing"
    assert days[_day("2023-10-18")] == "kept aside"
    assert days.value_counts()["whole"] == 394


def _day(text):
    return pd.Timestamp(text, tz="UTC")


def test_a_bar_within_its_grace_is_neither_missing_nor_late(world):
    """Thirty-six hours of patience: yesterday's bar is not due yet, but counts when it is there."""
    world.put_market()
    world.put("BBB", history("BBB")[:-1])
    world.run()
    patient = looked_at(world, grace_hours=36)
    assert row(patient, "BBB")[["n_expected", "n_missing", "is_late"]].tolist() == [399, 0, False]
    assert row(patient, "AAA")[["n_expected", "n_missing", "is_late"]].tolist() == [400, 0, False]
    assert row(looked_at(world), "BBB")["is_late"]


def test_an_instrument_without_any_bar_misses_its_history(world):
    """It is late, has no first bar, and stands first."""
    world.put_market()
    world.run()
    found = looked_at(world, symbols="AAA,NEW")
    new = found.symbols.iloc[0]
    assert (new["symbol"], new["n_held"], new["is_late"]) == ("NEW", 0, True)
    assert pd.isna(new["first"])
    assert new["n_missing"] == new["n_expected"] > 700
    assert re.search(r"NEW +none +none", text_table(found))


def test_what_was_not_known_then_is_not_held(world):
    """As of the morning before, the last session has not been seen; the count ends there."""
    world.put_market(last=LAST - DAY)
    world.run(MORNING - DAY)
    world.put_market()
    world.run()
    now, then = looked_at(world), looked_at(world, MORNING - DAY)
    assert row(now, "AAA")["n_held"] - row(then, "AAA")["n_held"] == 1
    assert not then.symbols["is_late"].any()


def test_the_span_begins_where_it_is_told_to(world):
    """Nothing before ``since`` is counted, and the first bar is still the first of all."""
    world.put_market()
    world.put("AAA", history("AAA").drop(index=[100, 390]))
    world.run()
    found = looked_at(world, since=_day("2024-02-01"))
    aaa = row(found, "AAA")
    assert aaa[["n_expected", "n_missing"]].tolist() == [28, 1]
    assert aaa["first"] < _day("2023-01-01")
    assert found.days["day"].min() == _day("2024-02-01")


def minutes(symbol, ts, *, hours=None):
    """Flat minute bars."""
    frame = pd.DataFrame({"ts": ts}).assign(symbol=symbol, interval="1m", hours=hours)
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    known_at = frame["ts"].max() + MINUTE
    return frame.assign(**numbers, vwap=np.nan, trades=np.nan, source="made", known_at=known_at)


def replied(source, symbol, since, until, status=200):
    """A complete reply, as the lake's manifest notes it."""
    row = {
        "key": f"{symbol} {since}",
        "source": source,
        "symbol": symbol,
        "interval": "1m",
        "since": since,
        "until": until,
        "url": "made",
        "status": status,
        "known_at": until + pd.Timedelta(hours=1),
        "sha256": "",
        "n_bytes": 0,
    }
    return pd.DataFrame([row])


def stored(world, **rows):
    """Put rows into the warehouse as a load does."""
    from components.wiring import open_warehouse

    with open_warehouse(world.read_settings()) as warehouse:
        for name, frame in rows.items():
            warehouse.upsert({t.name: t for t in (CANDLES, MEASURES, RAW_OBJECTS)}[name], frame)


BINANCE = {"source": "binance", "interval": "1m", "grace_hours": 0}


def test_a_venue_that_was_down_is_told_from_bars_that_are_missing(world):
    """An hour is lacking in a complete reply, half an hour in what nobody asked for yet."""
    day = NOON.floor("D")
    ts = pd.date_range(day, NOON, freq="1min", inclusive="left")
    gone = (ts >= day + 60 * MINUTE) & (ts < day + 120 * MINUTE)
    unasked = (ts >= day + 400 * MINUTE) & (ts < day + 430 * MINUTE)
    complete = replied("binance", "BTCUSDT", day, day + 300 * MINUTE)
    stored(world, candles=minutes("BTCUSDT", ts[~gone & ~unasked]), raw_objects=complete)
    found = looked_at(world, NOON, **BINANCE, symbols="BTCUSDT")
    assert row(found, "BTCUSDT")[COUNTED].tolist() == [720, 630, 30, 0, 0, 60]
    assert found.gaps["what"].tolist() == ["venue down", "missing"]
    assert found.gaps["n_bars"].tolist() == [60, 30]
    assert found.gaps["first"].iloc[0] == day + 60 * MINUTE
    assert found.days["state"].tolist() == ["part missing"]
    text = text_table(found)
    assert "60 minutes venue down: BTCUSDT" in text
    assert "2024-03-12 01:00 to 2024-03-12 01:59" in text
    assert (
        "the venue was down, as it writes a bar even when nobody trades" in Page(page(found)).text
    )


def test_a_minute_without_a_trade_is_not_missing_and_extended_hours_are_counted_apart(world):
    """A session without any bar is missing all the same, whatever the reply says."""
    day = _day("2024-03-11")
    opened, n = day + pd.Timedelta(hours=13.5), 390
    ts = pd.date_range(opened, periods=n, freq="1min")
    traded = np.arange(n) % 3 > 0
    early = pd.date_range(opened - 20 * MINUTE, periods=20, freq="1min")
    bars = [minutes("ACME", ts[traded], hours="regular"), minutes("ACME", early, hours="extended")]
    as_of = day + 2 * DAY
    complete = replied("polygon", "ACME", day, as_of - pd.Timedelta(hours=1))
    stored(world, candles=pd.concat(bars), raw_objects=complete)
    found = looked_at(
        world,
        as_of,
        source="polygon",
        polygon_api_key="k",
        symbols="ACME",
        interval="1m",
        grace_hours=0,
    )
    assert row(found, "ACME")[[*COUNTED, "n_extended"]].tolist() == [780, 260, 390, 0, 130, 0, 20]
    assert found.days["state"].tolist() == ["no trade", "all missing"]
    assert found.days["day"].tolist() == [day, day + DAY]
    assert found.gaps["n_bars"].tolist() == [390]
    assert re.search(r"missing +no trade +extended", text_table(found))


def test_days_and_runs_agree_with_a_count_bar_by_bar(world):
    """Random holes over three days of minutes, with corrections: no bar is lost or doubled."""
    random = np.random.default_rng(5)
    day = NOON.floor("D")
    ts = pd.date_range(day - 3 * DAY, day, freq="1min", inclusive="left")
    held = ts[random.random(len(ts)) < 0.9]
    first = minutes("ETHUSDT", held)
    again = first.sample(500, random_state=1).assign(
        close=101.0, known_at=first["known_at"].max() + MINUTE
    )
    stored(world, candles=first)
    stored(world, candles=again)
    found = looked_at(world, day + DAY / 2, day - 3 * DAY, **BINANCE, symbols="ETHUSDT")
    since_first = ts[ts >= held[0]]
    days = found.days[found.days["day"] < day].set_index("day")
    expected = pd.Series(since_first.isin(held), since_first).groupby(since_first.floor("D")).sum()
    assert days["n_held"].tolist() == expected.tolist()
    assert row(found, "ETHUSDT")["n_held"] == len(held)


def test_measures_show_their_bins_and_sums(world):
    """A series: first and last bin, its sum, bins with zero in them, bins without a row."""
    starts = pd.date_range(_day("2024-03-10"), periods=24, freq="2h")
    frame = pd.DataFrame({"ts": starts, "series": "visa", "value": 10.0, "interval": "2h"})
    frame.loc[3, "value"] = 0.0
    frame = frame.drop(index=[5, 6]).assign(source="made", known_at=starts[-1])
    world.put_market()
    stored(world, measures=frame.assign(data_set="tpv"))
    opened = open_parts(world.read_settings(), MORNING, command="status", reads_only=True)
    with opened as parts:
        found = quality(Measured(parts), _day("2024-03-12"))
    (series,) = found.symbols.to_dict("records")
    assert series["symbol"].endswith("visa")
    assert (series["n_held"], series["n_missing"], series["n_zero"]) == (22, 2, 1)
    assert series["total"] == 210
    assert (series["first"], series["last"]) == (starts[0], starts[-1])
    assert found.days["state"].tolist() == ["part missing", "whole"]
    text = text_table(found)
    assert re.search(r"series +first +last +due +held +missing +sum +zero", text)


def Measured(parts):  # noqa: N802 - reads as the source that it stands for
    """The parts of a world whose source gives measures in bins of two hours."""
    from dataclasses import replace

    from components.sources.base import Traits

    source = type("Made", (), {"name": "made", "traits": Traits(kind="measures")})()
    watch = replace(parts.watch, interval="2h", grace=pd.Timedelta(0), symbols=("tpv",))
    return replace(parts, source=source, watch=watch)


def test_the_report_shows_the_worst_of_the_last_weeks(world):
    """The page of a run has the table and the picture; what is older is not in it."""
    world.put_market()
    world.put("AAA", history("AAA").drop(index=[100, 398]))
    world.run()
    (report,) = (world.folder / "var" / "lake" / "runs").glob("*/report.html")
    text = Page(report.read_text()).text
    assert "Which bars should be there, and which are" in text
    assert "AAA 2022-08-09 2024-03-12" in text
    assert "2024-03-11 1 session missing AAA" in text
    health = pd.DataFrame({"symbol": ["AAA", "CCC"], "status": "fresh", "n_missing": [1, 0]})
    assert looked_at(world, reported=health).symbols["n_missing"].tolist() == [1, 0]


def test_the_command_prints_a_table_and_writes_a_page(world, monkeypatch):
    """For a person and for a program; the page stands beside the runs, or where it is wanted."""
    world.put_market()
    world.put("AAA", history("AAA").drop(index=[100]))
    world.run()
    at = ("status", "--quality", "--as-of", "2024-03-13T12:00")
    seen = tremor(world, *at)
    assert seen.code == 0
    assert re.search(r"AAA +2022-08-09 +2024-03-12 +400 +99\.75 % +1", seen.out)
    assert max(map(len, seen.out.partition("page: ")[0].splitlines())) < 100
    where = seen.out.rpartition("page: ")[2].strip()
    assert "which are" in Page(open(where).read()).text  # noqa: PTH123, SIM115
    out = world.folder / "new" / "q.html"
    told = json.loads(tremor(world, *at, "--json", "--out", str(out), "--since", "2024-01-01").out)
    assert told["page"] == str(out)
    assert out.exists()
    assert {r["symbol"]: r["n_missing"] for r in told["symbols"]}["AAA"] == 0
    assert {"gaps", "kept_aside", "days", "absent_means", "as_of"} <= set(told)


def test_what_cannot_be_asked_is_said(world):
    """A span that ends before it begins, a folder for a file, an option of another question."""
    world.put_market()
    world.run()
    late = tremor(world, "status", "--quality", "--as-of", "2024-03-13", "--since", "2024-03-14")
    assert late.code == 2
    assert "--since 2024-03-14 00:00 is not before 2024-03-13 00:00" in late.error
    folder = tremor(world, "status", "--quality", "--out", str(world.folder))
    assert folder.code == 2
    assert "Name another file" in folder.error
    alone = tremor(world, "status", "--since", "2024-03-01")
    assert alone.code == 2
    assert "Add --quality" in alone.error


FATES = st.lists(st.sampled_from([HELD, MISSING, REFUSED, NO_TRADE, VENUE_DOWN, IN_GRACE]))


@given(FATES, st.integers(1, 5))
def test_every_bar_that_is_due_is_counted_once(fates, per_day):
    """By instrument and by day the columns sum to what is due; the longest gap is a real one."""
    n = len(fates)
    due = Due(np.arange(n) * 60_000_000, np.arange(n) // per_day, np.zeros(n, dtype=bool))
    symbols, days, gaps = tables([Bars("A", due, np.array(fates, dtype=np.int64))], NO_ROWS)
    total = n - fates.count(IN_GRACE)
    assert symbols["n_expected"].tolist() == [total]
    assert symbols[COUNTED[1:]].iloc[0].sum() == total
    assert days["n_expected"].sum() == total
    assert (days[COUNTED[1:]].sum(axis=1) == days["n_expected"]).all()
    whole = days[days["state"] == "whole"]
    assert (whole["n_held"] == whole["n_expected"]).all()
    words = "".join("HMRNVG"[fate] for fate in fates)
    longest = max((len(run) for run in re.findall("M+|R+|V+", words)), default=0)
    assert (gaps["n_bars"].max() if len(gaps) else 0) == longest


NO_ROWS = pd.DataFrame({"check_name": [], "symbol": [], "n_bars": [], "first": []})


def made(n=3, n_days=60, name="S", state=None) -> Quality:
    """A quality of instruments whose days are in every state in turn."""
    words = [word for word in STATES if word != "closed"]
    days = pd.date_range("2024-01-01", periods=n_days, tz="UTC", unit="us")
    names = [f"{name}{i}" for i in range(n)]
    symbols = pd.DataFrame({"symbol": names, "first": days[0], "last": days[-1]}).assign(
        n_expected=n_days, n_held=1, n_missing=2, n_refused=1, n_no_trade=0, n_venue_down=0
    )
    symbols = symbols.assign(n_extended=0, gap_bars=2, gap_first=days[0], gap_last=days[-1])
    symbols = symbols.assign(is_late=False, total=0.0, n_zero=0, n_aside=1)
    gaps = pd.DataFrame({"symbol": names}).assign(
        what="missing", n_bars=2, first=days[0], last=days[-1]
    )
    aside = pd.DataFrame({"check_name": name, "symbol": names, "n_bars": 1, "first": days[0]})
    states = [state or words[i % len(words)] for i in range(n_days)]
    long = pd.DataFrame({"symbol": np.repeat(names, n_days), "day": np.tile(days, n)})
    long = long.assign(state=np.tile(states, n), n_expected=1)
    return Quality(MORNING, None, "1d", "files", "candles", "missing", symbols, long, gaps, aside)


def test_the_picture_says_its_states_in_words_and_shapes():
    """Each state has a bar of its own place or thickness, and stands in the legend."""
    text = page(made())
    words = Page(text).text
    assert all(f"{state} : {said}" in words for state, said in STATES.items())
    assert len(set(SHAPES.values())) == len(SHAPES) - 1
    assert "S0: part missing, 10 days" in words
    assert "2 sessions missing S0 and 2 others" in words
    assert not re.search(r"\b(nan|NaT|None)\b", words)
    assert "http" not in text.lower()


def test_a_page_of_ten_years_of_a_long_list_stays_small():
    """Five hundred instruments over ten years: the worst are drawn, all are listed."""
    found = made(500, 3650, state="whole")
    weekdays = found.days[found.days["day"].dt.day_of_week < 5]
    text = page(Quality(**{**found.__dict__, "days": weekdays}))
    assert len(text) < 1_500_000
    words = Page(text).text
    assert "The worst 100 are drawn; 400 more are in the table alone." in words
    assert "S499" in words


def test_neighbouring_days_of_one_state_are_one_stroke():
    """A weekend breaks it, as another state does; what is outside of the picture is not drawn."""
    days = pd.Series(pd.to_datetime(["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]))
    strip = strip_of("A", days, pd.Series(["whole", "whole", "whole", "all missing"]))
    assert strip.runs == {"whole": [(19789, 2), (19793, 1)], "all missing": [(19794, 1)]}
    (picture,) = strips_svg([strip, Strip("B")], _day("2024-03-08"), _day("2024-03-11"))
    assert "M0 8h.86M3 8h.86" in picture
    assert "all missing" not in picture


def test_hostile_names_are_shown_not_run():
    """Of instruments and checks, in the picture, the table and the text."""
    text = page(made(name=HOSTILE))
    assert "<script" not in text
    assert "\x00" not in text
    assert not any(name.startswith("on") for _, name, _ in Page(text).attributes)
    assert "\x00" not in text_table(made(name=HOSTILE))
    assert json.dumps(as_json(made(name=HOSTILE)))


@pytest.mark.parametrize("n_days", [0, 1, 92, 93, 366, 367])
def test_any_span_can_be_drawn(n_days):
    """Nothing at all, a day, weeks with dates, months, a leap year, more than a year."""
    drawn = page(made(2, n_days) if n_days else nothing())
    assert Page(drawn).text.count("Jan") == {0: 0, 1: 1, 92: 5, 93: 1, 366: 1, 367: 2}[n_days]


def nothing() -> Quality:
    """A watch list of which nothing is known, and that is empty."""
    symbols, days, gaps = tables([], NO_ROWS)
    return Quality(MORNING, None, "1d", "files", "candles", "missing", symbols, days, gaps, NO_ROWS)
