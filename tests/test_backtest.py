"""Days replayed: what the daily runs told is told again, to nobody, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components import tables
from components.backtest import (
    TOLD,
    n_repeats,
    precision,
    rate,
    schedule,
    tally,
    told_by_day,
    would_have_fired,
)
from components.errors import LakeError, NotEnoughBars, SettingsError
from components.scratch import remove_leftovers
from components.sessions import Calendars
from components.steps.backtest import Span, backtest
from components.wiring import open_parts, open_scratch, open_warehouse
from tests.worlds import DAY, LAST, MORNING, SYMBOLS, history

ROOT = Path(__file__).parents[1]


@pytest.fixture
def world(world):
    """A small market before a judge that is fast; days are replayed alike under any."""
    world.settings["detectors"] = ("volatility_zscore",)
    return world


def day(text):
    return pd.Timestamp(text, tz="UTC")


def replay(world, since, until, *others, at=None, now=MORNING + 30 * DAY, **overrides):
    """Replay a world's days; one outcome a setting."""
    settings = world.read_settings(**overrides)
    opened = partial(open_parts, command="backtest", reads_only=True)
    with opened(settings, now) as parts:
        if not others:
            return backtest(parts, partial(open_scratch, settings), Span(since, until, at))
        with opened(world.read_settings(**others[0]), now) as other:
            span = Span(since, until, at)
            return backtest(parts, partial(open_scratch, settings), span, other)


def longer(symbol, n_days, seed=1):
    """The history up to LAST and some days more, two of which move much."""
    first = history(symbol)
    days = Calendars().expected(symbol, "1d", LAST + DAY, LAST + 60 * DAY)[:n_days]
    random = np.random.default_rng([seed, *symbol.encode()])
    moves = 0.01 * random.standard_t(3, n_days)
    moves[[random.integers(4), 8 + random.integers(6)]] = -0.15, 0.2
    close = (first["Close"].iloc[-1] * np.exp(np.cumsum(moves))).round(4)
    open_ = np.r_[first["Close"].iloc[-1], close[:-1]]
    more = pd.DataFrame(
        {
            "Date": days.strftime("%Y-%m-%d"),
            "Open": open_,
            "High": (np.maximum(open_, close) * 1.002).round(4),
            "Low": (np.minimum(open_, close) * 0.998).round(4),
            "Close": close,
            "Volume": random.integers(1_000, 9_000, n_days),
        }
    )
    return pd.concat([first, more], ignore_index=True)


def lived_days(world, n_days=6, **overrides):
    """Run ``n_days`` days one after another, each on the files as they stood that morning."""
    frames = {symbol: longer(symbol, 40) for symbol in SYMBOLS}
    for n in range(n_days):
        as_of = MORNING + n * DAY
        for symbol, frame in frames.items():
            seen = frame[frame["Date"] < f"{as_of:%Y-%m-%d}"]
            world.put(symbol, seen, as_of - pd.Timedelta(hours=6))
        world.run(as_of, **overrides)
    return frames


def told_by_the_runs(world):
    """(kind, symbol, ts, told at) of everything that the real runs told."""
    rows = world.query(
        "select kind, symbol, ts, known_at from incidents "
        "where alert_id <> '' and kind <> 'continued' order by 1, 2, 3, 4"
    )
    return sorted(rows.itertuples(index=False, name=None))


def told_by(outcome):
    rows = outcome.told[["kind", "symbol", "ts", "told_at"]]
    return sorted(rows.itertuples(index=False, name=None))


def test_days_that_were_run_are_told_again_to_the_letter(world):
    """The same incidents at the same instants in the same alerts, none of them twice."""
    lived_days(world)
    (outcome,) = replay(world, day("2024-03-13"), day("2024-03-19"))
    market = [row for row in told_by(outcome) if row[0] != "data"]
    assert market == [row for row in told_by_the_runs(world) if row[0] != "data"]
    assert len(market) > 2
    assert set(outcome.told["alert_id"]) == set(world.alerts()["id"])
    assert n_repeats(outcome.told) == 0
    assert outcome.n_assumed == 0


def test_the_whole_ensemble_is_replayed_to_the_letter(world):
    """The same under the judges that ship."""
    del world.settings["detectors"]
    lived_days(world, 4)
    (outcome,) = replay(world, day("2024-03-13"), day("2024-03-17"))
    assert told_by(outcome) == told_by_the_runs(world)
    real = world.query("select symbol, ts, p from verdicts where ts > %(ts)s order by 1, 2",
                       ts=LAST.to_pydatetime())  # fmt: skip
    ours = outcome.verdicts[outcome.verdicts["ts"] > LAST]
    np.testing.assert_array_equal(real["p"], ours["p"])
    assert len(ours) > 8


def test_the_days_after_the_first_are_told_as_they_were(world):
    """A span that begins later knows what had been told before it."""
    lived_days(world)
    (outcome,) = replay(world, day("2024-03-15"), day("2024-03-19"))
    since = day("2024-03-15")
    assert told_by(outcome) == [row for row in told_by_the_runs(world) if row[3] >= since]


def test_a_replay_changes_nothing(world):
    """Neither the warehouse nor the lake nor the outbox, and it leaves no schema behind."""
    lived_days(world, 3)
    before = world.everything()
    replay(world, day("2024-03-13"), day("2024-03-16"), {"alerts_per_year": 12})
    assert world.everything() == before
    assert schemas(world) == ["tremor"]


def schemas(world):
    rows = world.query("select nspname::text as name from pg_namespace where nspname ~ '^tremor'")
    return sorted(rows["name"])


def test_a_backfill_is_replayed_as_if_each_bar_had_come_in_time(world):
    """Bars that came in one go are assumed to have been known after their close, and counted."""
    frames = lived_days(world)
    lived = told_by_the_runs(world)
    for symbol, frame in frames.items():
        world.put(symbol, frame, MORNING + 40 * DAY)
    world.run(MORNING + 45 * DAY)
    at = pd.Timedelta(hours=12)
    (outcome,) = replay(world, day("2024-03-13"), day("2024-03-28"), at=at, now=MORNING + 50 * DAY)
    told = told_by(outcome)
    assert [row for row in told if row[3] < day("2024-03-19") and row[0] != "data"] == [
        row for row in lived if row[0] != "data"
    ]
    assert any(row[3] >= day("2024-03-19") for row in told)
    bars = outcome.verdicts[outcome.verdicts["ts"] > outcome.told["ts"].min()]
    assert len(bars) > 20
    assert 0 < outcome.n_assumed < outcome.n_bars


def test_the_future_of_a_day_cannot_be_seen(world):
    """What is told of a span is the same however much came after it."""
    frames = {symbol: longer(symbol, 40) for symbol in SYMBOLS}
    tolds = []
    for n_after in (12, 25):
        for symbol, frame in frames.items():
            world.put(symbol, frame[: 400 + n_after], MORNING + 45 * DAY)
        world.run(MORNING + (n_after + 20) * DAY)
        (outcome,) = replay(
            world, day("2024-03-13"), day("2024-03-20"), at=pd.Timedelta(hours=6),
            now=MORNING + 50 * DAY,
        )  # fmt: skip
        tolds.append(outcome.told.drop(columns="told_at").to_csv())
    assert tolds[0] == tolds[1]
    assert "anomaly" in tolds[0]


def test_a_snooze_silences_the_replay_from_the_day_it_was_made(world):
    """Labels count from when they were made, and attach to the alert of the same bar."""
    lived_days(world, 3)
    for symbol in SYMBOLS:
        world.put(symbol, longer(symbol, 40), MORNING + 60 * DAY)
    world.run(MORNING + 30 * DAY)
    first = world.alerts("anomaly").iloc[0]
    symbol = first["symbols"][0]
    span = day("2024-03-13"), day("2024-04-09")
    twelve = pd.Timedelta(hours=12)
    (loud,) = replay(world, *span, at=twelve)
    n_loud = int((loud.told["symbol"] == symbol).sum())
    label = {
        "alert_id": first["id"],
        "symbol": symbol,
        "action": "snooze",
        "until": MORNING + 90 * DAY,
        "label": "",
        "note": "",
        "made_at": first["known_at"] + pd.Timedelta(hours=1),
    }
    with open_warehouse(world.read_settings()) as warehouse:
        warehouse.upsert(tables.LABELS, pd.DataFrame([label]))
        finding = {**label, "action": "label", "label": "confirmed"}
        warehouse.upsert(tables.LABELS, pd.DataFrame([finding]))
    (quiet,) = replay(world, *span, at=twelve)
    assert (quiet.told["symbol"] == symbol).sum() < n_loud
    assert not ((quiet.told["symbol"] == symbol) & (quiet.told["told_at"] > label["made_at"])).any()
    assert quiet.n_silenced > 0
    assert precision(quiet.told["label"])["right"] == 1


def test_another_budget_is_shown_beside_the_one_in_force(world):
    """A larger budget tells more, and the table says what only it would have told."""
    lived_days(world)
    now, then = replay(
        world, day("2024-03-13"), day("2024-03-19"), {"alerts_per_year": 60}, alerts_per_year=4
    )
    table = would_have_fired(now.told, then.told)
    assert len(then.told) > len(now.told)
    assert (table["fired"] == "only then").any()
    counts = tally(then, day("2024-03-13"), day("2024-03-19"))
    assert counts["judge"]["alerts_per_year"] == 60
    assert counts["repeats"] == 0


def test_an_empty_lake_is_refused_in_one_line(world):
    """With the command that fills it."""
    world.put_market()
    with pytest.raises(LakeError, match=r"nothing to replay.*backfill --since"):
        replay(world, day("2024-03-13"), day("2024-03-14"))


def test_too_little_history_is_refused_with_both_numbers(world):
    """A replay without any verdict would look like a quiet year."""
    lived_days(world, 1)
    with pytest.raises(NotEnoughBars, match=r"needs at least \d+ bars, got \d+"):
        replay(world, day("2022-12-01"), day("2022-12-20"))


def test_days_without_bars_are_refused_with_those_that_have_some(world):
    """A replay after the end of the data would look like a quiet year as well."""
    lived_days(world, 1)
    with pytest.raises(SettingsError, match=r"no bar closed from 2024-05-01.*to 2024-03-1"):
        replay(world, day("2024-05-01"), day("2024-05-20"), now=MORNING + 90 * DAY)


def test_a_split_and_a_correction_are_replayed_when_they_came(world):
    """Both change what was known; a replay meets them on the day on which the run met them."""
    frames = {symbol: longer(symbol, 40).assign(**{"Stock Splits": 0.0}) for symbol in SYMBOLS}
    for n in range(9):
        as_of = MORNING + n * DAY
        for symbol, frame in frames.items():
            seen = frame[frame["Date"] < f"{as_of:%Y-%m-%d}"].copy()
            if symbol == "AAA" and n >= 3:
                # Split on the day before; the provider restates all prices before it.
                before = seen["Date"] < f"{MORNING + 2 * DAY:%Y-%m-%d}"
                seen.loc[before, ["Open", "High", "Low", "Close"]] /= 4
                seen.loc[before, "Volume"] *= 4
                seen.loc[seen["Date"] == f"{MORNING + 2 * DAY:%Y-%m-%d}", "Stock Splits"] = 4.0
            if symbol == "BBB" and n == 7:
                seen.loc[seen.index[-1], ["Close", "Low"]] *= 0.7
            world.put(symbol, seen, as_of - pd.Timedelta(hours=6))
        world.run(as_of)
    (outcome,) = replay(world, day("2024-03-13"), day("2024-03-22"))
    assert told_by(outcome) == told_by_the_runs(world)
    kinds = set(outcome.told["kind"])
    assert {"anomaly", "correction"} <= kinds
    assert n_repeats(outcome.told) == 0
    real = world.query(
        "select symbol, ts, verdict, p, known_at from verdicts where known_at > %(at)s "
        "and ts >= %(last)s order by symbol, ts, known_at",
        at=MORNING.to_pydatetime(), last=LAST.to_pydatetime(),
    )  # fmt: skip
    first = real.drop_duplicates(["symbol", "ts"])[["symbol", "ts", "verdict", "p"]]
    ours = outcome.verdicts[["symbol", "ts", "verdict", "p"]]
    both = first.merge(ours, on=["symbol", "ts"], suffixes=("", "_replayed"))
    assert len(both) > 10
    pd.testing.assert_series_equal(both["p"], both["p_replayed"], check_names=False)


def test_a_killed_replay_leaves_nothing_behind_after_the_next_start(world):
    """Its schema goes with the next one, and one that is still at work is left alone."""
    lived_days(world, 3)
    environment = {
        **os.environ,
        "TREMOR_SOURCE": "files",
        "TREMOR_FILES_ROOT": str(world.files),
        "TREMOR_STATE_DIR": str(world.folder / "var"),
        "TREMOR_WAREHOUSE_URL": world.postgres_url,
        "TREMOR_HISTORY_YEARS": "3",
        "TREMOR_DETECTORS": "volatility_zscore",
    }
    command = [sys.executable, "main.py", "backtest", "--since", "2023-06-01", "--until"]
    running = subprocess.Popen([*command, "2024-03-16"], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 120
    while len(schemas(world)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert remove_leftovers(world.postgres_url) == 0
    assert len(schemas(world)) == 2
    running.send_signal(signal.SIGKILL)
    running.wait()
    while not remove_leftovers(world.postgres_url) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert schemas(world) == ["tremor"]


def test_a_replay_does_not_stop_the_daily_run(world):
    """It takes no lock: a run at work and a replay do not hinder each other."""
    lived_days(world, 2)
    with open_parts(world.read_settings(), MORNING + DAY):
        (outcome,) = replay(world, day("2024-03-13"), day("2024-03-15"))
    assert outcome.n_bars > 0


def test_days_take_place_when_they_did_and_otherwise_at_the_usual_time():
    """A real run keeps its instant; a time that is asked for holds for all days."""
    ran = [day("2024-03-13 12:00"), day("2024-03-14 12:07:30")]
    span = day("2024-03-12"), day("2024-03-16")
    clock = [f"{t:%d %H:%M}" for t in schedule(*span, ran)]
    assert clock == ["12 12:07", "13 12:00", "14 12:07", "15 12:07"]
    clock = [f"{t:%d %H:%M}" for t in schedule(*span, ran, pd.Timedelta(hours=22))]
    assert clock == ["12 22:00", "13 22:00", "14 22:00", "15 22:00"]
    assert [f"{t:%H:%M}" for t in schedule(*span, [])] == ["06:00"] * 4


def told(*rows):
    """Rows of what was told: (kind, symbol, day, alert)."""
    frame = pd.DataFrame(
        [dict(zip(("kind", "symbol", "ts", "alert_id"), row, strict=True)) for row in rows]
    )
    frame["ts"] = pd.DatetimeIndex([day(ts) for ts in frame["ts"]])
    frame["incident"] = frame["symbol"] + frame["ts"].astype(str)
    return frame.assign(told_at=frame["ts"] + DAY, bars_late=0).reindex(columns=TOLD)


def test_repeats_are_counted():
    """The same bar in two alerts is one repeat; a bar that turned twice is none."""
    once = ("anomaly", "A", "2024-03-12", "x")
    assert n_repeats(told(once, ("anomaly", "B", "2024-03-12", "x"))) == 0
    assert n_repeats(told(once, ("anomaly", "A", "2024-03-12", "y"))) == 1
    assert n_repeats(told(once, once)) == 1
    turns = ("correction", "A", "2024-03-12", "y"), ("correction", "A", "2024-03-12", "z")
    assert n_repeats(told(once, *turns)) == 0


def test_precision_leaves_errors_of_the_data_out():
    """They say nothing of the judge."""
    labels = ["confirmed", "expected", "new-regime", "false", "data-error", "", ""]
    assert precision(pd.Series(labels)) == {
        "precision": 0.75,
        "right": 3,
        "wrong": 1,
        "data_error": 1,
        "unlabelled": 2,
    }
    assert precision(pd.Series(["", ""]))["precision"] is None


def test_the_rate_is_counted_per_instrument_year_of_decided_bars():
    """Undecided bars are no quiet ones."""
    verdicts = pd.DataFrame({"verdict": ["anomaly"] * 2 + ["normal"] * 250 + ["undecided"] * 99})
    found = rate(verdicts.assign(bars_per_year=252.0), 4)
    assert found["realised"] == pytest.approx(2)
    assert found["undecided"] == 99


def test_what_fired_in_both_and_in_one_is_told_apart():
    """By instrument and bar, whatever alert they stood in."""
    now = told(("anomaly", "A", "2024-03-12", "x"), ("anomaly", "B", "2024-03-12", "x"))
    then = told(("anomaly", "A", "2024-03-12", "y"), ("anomaly", "C", "2024-03-13", "z"))
    table = would_have_fired(now, then)
    assert table[["symbol", "fired"]].to_numpy().tolist() == [
        ["A", "both"],
        ["B", "only now"],
        ["C", "only then"],
    ]
    assert told_by_day(now).to_dict() == {day("2024-03-12"): 2}
