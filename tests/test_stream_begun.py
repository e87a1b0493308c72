"""A stream that ends anywhere, and the next that goes on; candles that come too late for it."""

import numpy as np
import pandas as pd
import pytest

from components.errors import WarehouseError
from components.feeds.base import Arrived
from components.steps.judging import judge_all
from components.steps.stream_late import take_late
from components.steps.stream_start import begin, newest_known
from components.steps.telling import tell_at
from components.tables import CHANNELS, INTRADAY, MARKET, VERDICTS
from components.wiring import open_parts
from tests.streams_made import (
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
from tests.terminal import run_sql


@pytest.fixture(scope="module")
def make_coins(postgres_server, tmp_path_factory):
    """Make a world of six coins, for all tests of the module."""
    return worlds(postgres_server, tmp_path_factory, "begun")


@pytest.fixture(scope="module")
def judged(make_coins):
    """What a batch finds in the whole at once."""
    world = make_coins()
    batch(world, market())
    return world


def with_ends(world, pieces, ends, *, keeps):
    """Streams one after another, each given again what the one before had not stored."""
    done, number = 0, 0
    for end in [*ends, len(pieces)]:
        as_of = FIRST
        with open_parts(world.read_settings(), FIRST, command="stream") as parts:
            as_of = newest_known(parts) or FIRST
            stream = begin(parts, as_of, LATENESS)
            for number in range(done, end):
                said = stream.take(pieces[number], is_over=number == len(pieces) - 1)
                take_late(stream, said.late)
                if keeps(number):
                    stream.keep()
            done = stream.stored_through(number) + 1
    assert done == len(pieces)


@pytest.mark.parametrize(
    "keeps",
    [lambda _: False, lambda _: True, lambda n: n % 5 == 0, lambda n: n == 30],
    ids=["nothing kept", "all kept", "now and then", "once in the middle"],
)
def test_streams_that_end_anywhere_leave_what_one_leaves(keeps, make_coins, judged):
    """Killed behind what it stored, with much in order that waits: verdicts, market, channels."""
    world = make_coins()
    pieces = list(arrivals(disordered(market()), n_pieces=45))
    with_ends(world, pieces, [1, 14, 15, 31, 40], keeps=keeps)
    for table in (VERDICTS, MARKET, CHANNELS, INTRADAY):
        same(judged, world, table)
    # Nothing of it was judged again.
    once = world.query("select count(*) as n, count(distinct (symbol, ts)) as m from verdicts")
    assert once["n"].tolist() == once["m"].tolist()


def test_whatever_was_not_kept_is_seen_by_the_next_start(make_coins):
    """Candles that waited while the state was kept count as known behind it."""
    world = make_coins()
    rows = known(market(is_calm=True))
    rows = rows[rows["ts"] < FIRST + 400 * MINUTE]
    cut = FIRST + 380 * MINUTE
    first, rest = rows[rows["ts"] < cut].copy(), rows[rows["ts"] >= cut]
    # The last of them took longer than what waits already behind it.
    first.loc[first.index[-1], "known_at"] += 5 * MINUTE
    waiting, held = rest[rest["symbol"] != NAMES[0]], rest[rest["symbol"] == NAMES[0]]
    with at_work(world) as stream:
        streamed(stream, [Arrived(first, rows["known_at"].max(), 0)], is_over=False)
        stream.take(Arrived(waiting.head(9), rows["known_at"].max(), 1))
        stream.keep()
        stream.take(Arrived(pd.concat([held, waiting]), rows["known_at"].max(), 2), is_over=True)
        kept = stream.known
    with open_parts(world.read_settings(), FIRST, command="stream") as parts:
        again = begin(parts, newest_known(parts), LATENESS)
        for name, values in stream.state.judge.items():
            np.testing.assert_array_equal(again.state.judge[name], values, err_msg=name)
        assert again.released("24/7") == rows["ts"].max()
        assert again.known >= kept.floor("s")


def test_what_a_failed_write_leaves_half_done_is_not_kept(make_coins, judged):
    """A warehouse that refuses some verdicts: the next stream finds the bars, and judges them."""
    world, pieces = make_coins(), list(arrivals(disordered(market()), n_pieces=9))
    limit = "alter table tremor.verdicts add constraint small check (ts < '2024-03-04 13:00Z')"
    with at_work(world) as stream:
        run_sql(world.postgres_url, limit)
        with pytest.raises(WarehouseError):
            streamed(stream, pieces)
        stream.keep()
        n_stored = len(world.query("select 1 from verdicts"))
        assert n_stored == len(world.query("select 1 from candles_intraday")) > 1000
    run_sql(world.postgres_url, "alter table tremor.verdicts drop constraint small")
    with at_work(world) as stream:
        streamed(stream, pieces)
    for table in (VERDICTS, MARKET, CHANNELS, INTRADAY):
        same(judged, world, table)
    assert len(world.query("select 1 from verdicts")) == len(market())


def late_world(make_coins, candles, late):
    """A stream that is given ``late`` at its end; what it judged again, and what it told."""
    world = make_coins()
    with at_work(world) as stream:
        streamed(stream, arrivals(known(candles)))
        tell_at(stream.parts, stream.known, is_whole=True)
        at = stream.known + 5 * MINUTE
        _, rebuilt = streamed(stream, [Arrived(late.drop(columns="known_at"), at, 99)])
        tell_at(stream.parts, stream.known, is_whole=True)
        tell_at(stream.parts, stream.known + MINUTE, is_whole=True)
    return world, rebuilt


def as_batch(make_coins, world):
    """What a batch says of the candles that a world holds, beside the market that it holds."""
    other = make_coins()
    as_of = pd.Timestamp("2024-03-06", tz="UTC")
    rows = world.query("select * from candles_intraday")
    with open_parts(other.read_settings(), as_of) as parts:
        put(parts, rows)
        parts.warehouse.upsert(MARKET, world.query("select * from market"))
        judge_all(parts, as_of)
    return other


def test_candles_that_come_too_late_are_stored_and_their_instrument_is_judged_again(make_coins):
    """As a batch that finds them does; the market stays what the others were judged with."""
    whole = market()
    own = whole[whole["symbol"] == NAMES[2]]
    missed = own[own["ts"].isin([FIRST + n * MINUTE for n in (300, 301, 302, 700, 1290)])]
    assert len(missed) >= 4
    world, rebuilt = late_world(make_coins, whole.drop(missed.index), known(missed))
    assert rebuilt == [NAMES[2]]
    held = world.query("select symbol, ts from candles_intraday")
    assert len(held) == len(whole)
    for table in (VERDICTS, CHANNELS, MARKET):
        same(as_batch(make_coins, world), world, table)
    # The others have one version of each verdict, and the market keeps its own.
    n_versions = world.query("select symbol, ts from verdicts").value_counts()
    assert n_versions[n_versions > 1].index.get_level_values(0).unique().tolist() == [NAMES[2]]


def test_a_repeat_of_what_is_stored_changes_nothing(make_coins):
    """However old: no rebuild, no version, no word."""
    whole = market()
    world, rebuilt = late_world(make_coins, whole, known(whole[::7]))
    assert rebuilt == []
    assert len(world.query("select 1 from candles_intraday")) == len(whole)
    assert not len(world.query("select 1 from alerts where kind = 'correction'"))


def test_a_candle_that_is_corrected_turns_its_verdict_and_that_is_told_once(make_coins):
    """The fall was not in the first version; of the bar behind it the verdict turns too."""
    whole = market()
    true = whole[(whole["symbol"] == NAMES[1]) & (whole["ts"] == FALL)]
    assert len(true) == 1
    calm = whole.copy()
    start = calm.loc[true.index, "open"]
    for name in ("low", "close"):
        calm.loc[true.index, name] = (start * 0.9999).round(4)
    calm.loc[true.index, "volume"] /= 20
    world, rebuilt = late_world(make_coins, calm, known(true))
    assert rebuilt == [NAMES[1]]
    told = world.query("select symbols::text as symbols, ts from alerts where kind = 'correction'")
    told = told[told["ts"] == FALL]
    assert told["symbols"].tolist() == [f'["{NAMES[1]}"]']
    said = world.query(
        "select verdict from verdicts where symbol = %(own)s and ts = %(ts)s order by known_at",
        own=NAMES[1],
        ts=FALL,
    )
    assert said["verdict"].tolist() == ["normal", "anomaly"]
    same(as_batch(make_coins, world), world, VERDICTS)
    # The stream that judged again goes on as one that begins behind what is stored.
    rows = latest(world, MARKET)
    assert rows["ts"].max() == whole["ts"].max()
