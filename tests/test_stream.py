"""The stream judges and tells what a batch over the same candles does, to the last bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.feeds.base import Arrived
from components.incidents import CONTINUED
from components.steps.judging import judge_all
from components.steps.stream_start import begin
from components.steps.telling import tell_at
from components.tables import CHANNELS, MARKET, SCORES, VERDICTS
from components.wiring import open_parts
from tests.streams_made import (
    CRASH,
    FALL,
    FIRST,
    LATENESS,
    MINUTE,
    NAMES,
    arrivals,
    at_work,
    batch,
    disordered,
    known,
    latest,
    market,
    put,
    same,
    streamed,
    worlds,
)

HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def make_coins(postgres_server, tmp_path_factory):
    """Make a world of six coins, for all tests of the module."""
    return worlds(postgres_server, tmp_path_factory, "stream")


@pytest.fixture(scope="module")
def judged(make_coins):
    """What a batch finds in the whole at once."""
    world = make_coins()
    batch(world, market())
    return world


@pytest.fixture(scope="module")
def went_by(make_coins):
    """The same as it came to a stream: out of order, some of it twice, in pieces of any size."""
    world = make_coins()
    with at_work(world) as stream:
        taken, rebuilt = streamed(stream, arrivals(disordered(market())))
    assert rebuilt == []
    assert sum(len(said.late) for said in taken) < 0.06 * len(market())
    return world


@pytest.mark.parametrize("table", [VERDICTS, MARKET, CHANNELS], ids=lambda table: table.name)
def test_a_stream_finds_what_the_batch_finds(table, judged, went_by):
    """Outage, holes, a late start, an end, a fall and a crash: every column but known_at."""
    rows = same(judged, went_by, table)
    assert len(rows) > 1000


def test_of_anomalies_the_scores_are_the_batchs_and_of_others_none_is_kept(judged, went_by):
    """A stream of hundreds of instruments keeps what an alert is explained by."""
    key = ["symbol", "ts"]
    said = latest(judged, VERDICTS)
    odd = pd.MultiIndex.from_frame(said.loc[said["verdict"] == "anomaly", key])
    whole, kept = latest(judged, SCORES), latest(went_by, SCORES)
    whole = whole[pd.MultiIndex.from_frame(whole[key]).isin(odd)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, whole, check_exact=True)
    # The world is not empty: the fall of one, and the crash of all.
    assert (NAMES[1], FALL) in odd
    assert all((name, CRASH) in odd for name in NAMES[:5])


def test_nothing_is_judged_before_it_closed_nor_before_it_came(went_by):
    """``known_at`` of a verdict is that of the newest candle it saw, and never goes back."""
    rows = went_by.query("""
        select v.ts, v.known_at, max(c.known_at) as came from verdicts v
        join candles_intraday c using (symbol, "interval", ts) group by v.ts, v.known_at, v.symbol
        order by v.ts
    """)
    assert (rows["known_at"] >= rows["ts"] + MINUTE).all()
    assert (rows["known_at"] >= rows["came"]).all()
    assert rows["known_at"].is_monotonic_increasing
    of_bar = rows.groupby("ts")["known_at"].nunique()
    assert (of_bar == 1).all()


def test_the_future_changes_no_verdict(make_coins, went_by):
    """A stream that ends earlier says of each bar what the one that went on says."""
    cut = market()
    cut = cut[cut["ts"] < CRASH - 30 * MINUTE]
    world = make_coins()
    with at_work(world) as stream:
        streamed(stream, arrivals(disordered(cut), n_pieces=7))
    for table in (VERDICTS, MARKET, CHANNELS):
        whole = latest(went_by, table)
        whole = whole[whole["ts"] <= cut["ts"].max()].reset_index(drop=True)
        pd.testing.assert_frame_equal(latest(world, table), whole, check_exact=True)


@pytest.mark.parametrize("n_pieces", [2, 120])
def test_how_the_stream_is_cut_changes_nothing(n_pieces, make_coins, judged):
    """In two pieces, and in some of a few minutes each."""
    world = make_coins()
    with at_work(world) as stream:
        streamed(stream, arrivals(disordered(market(), seed=n_pieces), n_pieces, seed=n_pieces))
    for table in (VERDICTS, MARKET):
        same(judged, world, table)


def test_who_judges_may_be_exchanged_between_two_arrivals_and_knows_what_was_carried(
    make_coins, judged
):
    """An ensemble of the same views goes on where the other was: nothing warms up again."""
    world, pieces = make_coins(), list(arrivals(disordered(market()), n_pieces=12))
    with at_work(world) as stream:
        for at in range(0, 12, 3):
            streamed(stream, pieces[at : at + 3], is_over=at == 9)
            stream.ensemble = replace(stream.ensemble)
    for table in (VERDICTS, MARKET):
        same(judged, world, table)


def test_a_stricter_judge_takes_over_what_was_carried(make_coins, went_by):
    """From three votes on: fewer anomalies, in the same channels, and no bar undecided again."""
    world, pieces = make_coins(), list(arrivals(disordered(market())))
    with at_work(world) as stream:
        streamed(stream, pieces[:20], is_over=False)
        stream.ensemble = replace(stream.ensemble, quorum=3)
        streamed(stream, pieces[20:])
    same(went_by, world, CHANNELS)
    rows = latest(world, VERDICTS)
    strict = rows[rows["judge"].str.endswith("@3")]
    assert 0.2 < len(strict) / len(rows) < 0.5
    usual = latest(went_by, VERDICTS).merge(strict[["symbol", "ts"]], on=["symbol", "ts"])
    assert strict["state"].tolist() == usual["state"].tolist()
    assert (strict["verdict"] == "undecided").sum() == (usual["verdict"] == "undecided").sum()
    assert 0 < (strict["verdict"] == "anomaly").sum() <= (usual["verdict"] == "anomaly").sum()


ALERTS = "select id, kind, ts, symbols::text, headline from alerts order by ts, kind, id"
INCIDENTS = "select id, kind, symbol, ts, alert_id, incident from incidents order by ts, symbol, id"


def test_a_stream_tells_the_incidents_of_a_batch_every_few_hours(make_coins):
    """The same alerts, by their ids and headlines; the same bars continue them."""
    first, later = FIRST + 6 * HOUR, market()
    history, later = (known(later[later["ts"] < first]), known(later[later["ts"] >= first]))
    by_hours, by_minutes = (make_coins(alerts_per_week=20) for _ in range(2))
    with open_parts(by_hours.read_settings(), first) as parts:
        put(parts, history)
        judge_all(parts, first)
        tell_at(parts, first, is_whole=False)
        for as_of in pd.date_range(first, FIRST + 28 * HOUR, freq="4h")[1:]:
            since = as_of - 4 * HOUR
            put(parts, later[(later["known_at"] > since) & (later["known_at"] <= as_of)])
            judge_all(parts, as_of)
            tell_at(parts, as_of, is_whole=False)
    with open_parts(by_minutes.read_settings(), first, command="stream") as parts:
        put(parts, history)
        stream = begin(parts, first, LATENESS)
        tell_at(stream.parts, first, is_whole=False)
        for arrived in [*arrivals(later, n_pieces=9), Arrived(later.iloc[:0], first, 99)]:
            said = stream.take(arrived, is_over=arrived.number == 99)
            for instant in said.news:
                tell_at(stream.parts, instant, is_whole=False)
    for question in (ALERTS, INCIDENTS):
        told = by_minutes.query(question)
        pd.testing.assert_frame_equal(told, by_hours.query(question))
        assert len(told) > 5
    # A stream tells a bar as soon as it is judged.
    rows = by_minutes.query("select ts, known_at from alerts")
    assert (rows["known_at"] - rows["ts"] <= LATENESS + MINUTE).all()
    crash = by_minutes.query("select kind from alerts where ts = %(ts)s", ts=CRASH)
    assert "market" in set(crash["kind"])


def test_minutes_of_one_event_are_told_once(make_coins):
    """Votes flicker for an hour behind a move: one incident. What comes later is another."""
    begun, rows = FIRST + 1000 * MINUTE, market(is_calm=True)
    own = np.flatnonzero(rows["symbol"] == NAMES[2])
    at = {minute: own[1000 + minute] for minute in (0, 3, 20, 70, 140)}
    move = pd.Series(0.0, index=rows.index)
    for minute, place in at.items():
        move[place] = -0.015 if minute in (0, 20, 140) else 0.015
    factor = np.exp(move.groupby(rows["symbol"]).cumsum())
    opened = np.exp(move.groupby(rows["symbol"]).cumsum() - move)
    rows["open"] *= opened
    rows["close"] *= factor
    rows["high"] = np.maximum(rows["high"] * opened, rows["close"])
    rows["low"] = np.minimum(rows["low"] * opened, rows["close"])
    rows.loc[rows.index.isin(at.values()), "volume"] *= 15
    world = make_coins(alerts_per_week=20)
    with at_work(world) as stream:
        for arrived in [*arrivals(known(rows)), Arrived(rows.iloc[:0], FIRST, 99)]:
            said = stream.take(arrived, is_over=arrived.number == 99)
            for instant in said.news:
                tell_at(stream.parts, instant, is_whole=False)
    noted = world.query(
        "select * from incidents where symbol = %(own)s and ts >= %(ts)s order by ts",
        own=NAMES[2],
        ts=begun,
    ).set_index("ts")
    noted = noted[noted.index < begun + 141 * MINUTE]
    # Not each of them need be unusual for those before; the hour counts from the last that is.
    at_first, later = noted[noted.index <= begun + 130 * MINUTE], begun + 140 * MINUTE
    assert len(at_first) >= 2
    assert (at_first.index.diff().dropna() <= HOUR).all()
    assert later - at_first.index[-1] > HOUR
    assert set(at_first["incident"]) == {noted.loc[begun, "id"]}
    assert at_first["kind"].tolist() == ["anomaly"] + [CONTINUED] * (len(at_first) - 1)
    assert set(at_first["alert_id"]) == {noted.loc[begun, "alert_id"]}
    assert noted.loc[later, ["kind", "incident"]].tolist() == ["anomaly", noted.loc[later, "id"]]
