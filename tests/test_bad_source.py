"""Bad days of Yahoo, played by a stand-in: what fails is told once, and the rest is judged."""

import json

import numpy as np
import pandas as pd
import pytest
import stamina

from tests.terminal import hurry, tremor
from tests.worlds import DAY, LAST, MORNING, history
from tests.yahoo_stand_in import (
    DELISTED,
    DROPPED,
    JUNK,
    NO_DATA,
    SERVER_ERROR,
    TOO_MANY,
    Status,
    YahooStandIn,
    chart,
)

AS_OF = f"{MORNING:%Y-%m-%dT%H:%M}"


@pytest.fixture(autouse=True)
def no_waiting(postgres_server):
    """Retries do not sleep, and the server need not wait for its disk."""
    hurry(postgres_server)
    with stamina.set_testing(True, attempts=2):
        yield


def bars(symbol, n_bars=400, **options):
    """An instrument's candles as the stand-in takes them."""
    frame = history(symbol, n_bars=n_bars, **options)
    frame.columns = [name.lower() for name in frame.columns]
    return frame.assign(ts=pd.to_datetime(frame["date"], utc=True))


def usual(*symbols, **options):
    """The whole answers of a good day."""
    return {symbol: chart(symbol, bars(symbol, **options)) for symbol in symbols}


def run(world, answers, as_of=MORNING, **settings):
    """The daily run against a stand-in that answers so."""
    with YahooStandIn(answers) as server:
        options = {"source": "yahoo", "yahoo_url": server.url, "yahoo_requests_per_second": 1000}
        symbols = settings.pop("symbols", ",".join(answers))
        settings = {"attempts": 2, "timeout_s": 2, "alerts_per_year": 1, **settings}
        summary = world.run(as_of, symbols=symbols, **options, **settings)
        return summary, server.requests


def notes(world):
    """What was told as data trouble."""
    return [note for each in world.alerts("data")["payload"] for note in each["notes"]]


def test_too_many_requests_and_then_an_answer(world):
    """The second try counts; nothing is told."""
    summary, requests = run(world, {"AAA": [TOO_MANY, usual("AAA")["AAA"]]})
    assert summary.exit_code == 0
    assert len(requests) == 2
    assert world.messages() == []


BROKEN = {
    "too many requests for ever": (TOO_MANY, "asks for patience"),
    "a server error": (SERVER_ERROR, "HTTP 502"),
    "a delisted ticker": (DELISTED, "delisted"),
    "junk": (JUNK, "Yahoo answered HTTP 200 and no chart"),
    "a dropped connection": (DROPPED, "Yahoo did not answer"),
    "half a body": (Status(200, b'{"chart": {"result"', sent=5), "Yahoo did not answer"),
    "another instrument": (chart("ZZZ", bars("ZZZ")), "answered with ZZZ"),
}


@pytest.mark.parametrize("trouble", BROKEN)
def test_an_instrument_that_fails_is_told_once_and_the_other_is_judged(trouble, world):
    """Exit code 3; a repeated run tells nothing new, and the day after a good answer nothing."""
    answer, words = BROKEN[trouble]
    answers = {**usual("AAA"), "BAD": answer}
    for _ in range(2):
        summary, _ = run(world, answers)
        assert summary.exit_code == 3
    (note,) = notes(world)
    assert note.startswith("BAD: ")
    assert not note.startswith("BAD: BAD")
    assert words in note
    (message,) = world.messages()
    assert "data trouble" in message["Subject"]
    judged = world.query("select distinct symbol from verdicts")["symbol"].tolist()
    assert judged == ["AAA"]
    summary, _ = run(world, usual("AAA", "BAD"), MORNING + pd.Timedelta(hours=1))
    assert summary.exit_code == 0
    assert len(world.messages()) == 1


@pytest.mark.parametrize("answer", [NO_DATA, chart("BAD", bars("BAD").iloc[:0])])
def test_an_empty_answer_is_told_as_missing_data(answer, world):
    """An empty frame is no success: the instrument is told as late, once."""
    for _ in range(2):
        run(world, {**usual("AAA"), "BAD": answer})
    (note,) = notes(world)
    assert note == "BAD: no bar is known; 2024-03-12 was expected"


def test_nulls_in_the_middle_are_kept_aside_and_the_rest_counts(world):
    """The rows are not repaired; the hole is told, once."""
    candles = bars("AAA")
    candles.loc[[100, 397], ["open", "high", "low", "close"]] = np.nan
    for _ in range(2):
        run(world, {"AAA": chart("AAA", candles)})
    kept = world.query("select check_name, count(*) as n from quarantine group by 1")
    assert kept.to_dict("records") == [{"check_name": "null_price", "n": 2}]
    assert any("2 rows failed null_price" in note for note in notes(world))
    assert any("1 bar missing (2024-03-08)" in note for note in notes(world))
    assert len(world.messages()) == 1
    assert len(world.query("select 1 from candles")) == 398


def test_a_last_day_that_is_not_over_is_not_judged(world):
    """A run in the middle of the session: its bar waits, and nothing is told of it."""
    noon = LAST + pd.Timedelta(hours=17)
    summary, _ = run(world, usual("AAA", crash=0.4), as_of=noon)
    assert summary.exit_code == 0
    last = world.query("select max(ts) as ts from candles")["ts"].iloc[0]
    assert last == LAST - DAY
    assert world.messages() == []
    run(world, usual("AAA", crash=0.4))
    assert [ts == LAST for ts in world.alerts("anomaly")["ts"]] == [True]


def after(candles, move=0.001):
    """The candles with one more day behind them."""
    last = candles.iloc[-1]
    close = last["close"] * (1 + move)
    day = {
        "ts": LAST + DAY,
        "open": last["close"],
        "high": max(close, last["close"]) * 1.002,
        "low": min(close, last["close"]) * 0.998,
        "close": close,
        "volume": 5000,
    }
    return pd.concat([candles, pd.DataFrame([day])], ignore_index=True)


def test_a_split_between_two_runs_changes_no_old_bar_and_is_no_alert(world):
    """Yahoo restates history by four: as traded, the bars are the same; the day is ordinary."""
    before = bars("AAA")
    run(world, {"AAA": chart("AAA", before)})
    traded = after(before)
    restated = traded.copy()
    restated[["open", "high", "low", "close"]] /= 4
    restated["volume"] *= 4
    splits = {f"{LAST + DAY:%Y-%m-%d}": (4, 1)}
    summary, _ = run(world, {"AAA": chart("AAA", restated, splits=splits)}, MORNING + DAY)
    assert summary.exit_code == 0
    versions = world.query("select ts, count(*) as n from candles group by 1 order by 2 desc")
    assert len(versions) == 401
    assert versions["n"].iloc[0] == 1
    assert world.messages() == []
    close = world.query("select close from candles order by ts desc limit 1")["close"].iloc[0]
    assert close == pytest.approx(traded["close"].iloc[-1] / 4)


def test_another_instrument_under_the_old_name_is_kept_aside_and_told(world):
    """Its prices disagree with the stored ones: none of them is let in."""
    run(world, usual("AAA"))
    other = after(bars("AAA"))
    random = np.random.default_rng(1)
    factor = 7 * np.exp(np.cumsum(0.02 * random.standard_normal(len(other))))
    other[["open", "high", "low", "close"]] = other[["open", "high", "low", "close"]].mul(
        factor, axis=0
    )
    for _ in range(2):
        run(world, {"AAA": chart("AAA", other)}, MORNING + DAY)
    kept = world.query("select distinct check_name from quarantine")["check_name"].tolist()
    assert kept == ["other_instrument"]
    assert world.query("select max(ts) as ts from candles")["ts"].iloc[0] == LAST
    assert any("other_instrument" in note for note in notes(world))
    assert len(world.alerts("anomaly")) == 0
    assert len(world.messages()) == 1


CROWD = [f"S{n:02}" for n in range(50)]


def test_one_of_fifty_fails_and_the_others_are_judged_and_told(world):
    """The failed one is named in the same message; a repeated run tells nothing again."""
    answers = usual(*CROWD, n_bars=420)
    answers["S07"] = chart("S07", bars("S07", n_bars=420, crash=0.3))
    answers["S13"] = SERVER_ERROR
    for _ in range(2):
        summary, _ = run(world, answers, alerts_per_year=4)
        assert summary.exit_code == 3
        assert [failure.symbol for failure in summary.failures] == ["S13"]
    (message,) = world.messages()
    text = message.get_body(("plain",)).get_content()
    assert "S07" in text
    assert "S13: Yahoo answered HTTP 502" in text
    assert world.query("select count(distinct symbol) as n from verdicts")["n"].iloc[0] == 49


def test_a_source_that_is_down_is_left_alone_soon_and_told_once(world):
    """After ten in a row nobody else is asked; one message for all."""
    answers = dict.fromkeys(CROWD, SERVER_ERROR)
    summary, requests = run(world, answers)
    assert summary.exit_code == 3
    assert len(summary.failures) == 50
    assert len({symbol for symbol, _ in requests}) == 10
    run(world, answers)
    (message,) = world.messages()
    assert "data trouble with 50 instruments" in message["Subject"]
    text = message.get_body(("plain",)).get_content()
    assert "not asked: the source is down" in text
    assert "and 30 more like these" in text
    summary, _ = run(world, usual(*CROWD, n_bars=20))
    assert summary.exit_code == 0


def test_what_a_person_sees_of_a_failed_instrument(world):
    """On the terminal: one line for it, the sum of the run, exit code 3, no traceback."""
    with YahooStandIn({**usual("AAA"), "GONE": DELISTED}) as server:
        seen = tremor(
            world,
            "run",
            *("--source", "yahoo", "--symbols", "AAA,GONE", "--as-of", AS_OF),
            yahoo_url=server.url,
            yahoo_requests_per_second=1000,
        )
    assert seen.code == 3
    (line,) = seen.said
    assert line.startswith("failed: GONE: Yahoo knows no such instrument (HTTP 404)")
    assert "Traceback" not in seen.err
    assert "candles new 400" in seen.out
    assert json.dumps("GONE: ")[1:-1] in seen.out
