"""The two stages of the stream on Spark, without Spark: what they hold, and what they give."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components.carried import Snapshot
from components.ensemble import Ensemble
from components.messages import encode_candles
from components.sessions import ALWAYS_OPEN, Calendars
from components.settings import ENSEMBLE_OF_SHORT
from components.spark_job.arrivals import Reading
from components.spark_job.columns import DOUBTFUL, OF_MARKET, OUTRUN, WATERMARK
from components.spark_job.judge_stage import JudgeStage
from components.spark_job.market_stage import MarketStage
from components.spark_job.sent_state import layout_of, sent
from components.state_rows import from_rows, to_rows
from components.streaming.judge import StreamJudge
from components.verdicts import verdict_rows
from tests.spark_candles import SYMBOLS, arrived, minutes
from tests.streams_made import market

LIMIT = 512 * 1024


def judge(detectors=("market", "volatility_zscore")):
    # Of so short a history many more alerts than usual are asked for.
    ensemble = Ensemble(detectors, 60 * 365.25 / 7)
    return StreamJudge(ensemble, Calendars({}, ALWAYS_OPEN), "1m", SYMBOLS)


class Stages:
    """Both stages with what a state store would hold between the calls."""

    def __init__(self, stream_judge, n_shards=2):
        self.market = MarketStage(stream_judge, n_shards)
        self.judge = JudgeStage(stream_judge)
        self.held, self.states = None, {}

    def take(self, rows, watermark):
        """What the driver would be given."""
        self.held, bars, _ = self.market.take(ALWAYS_OPEN, self.held, rows, watermark)
        found = []
        if len(bars):
            for _, own in bars.groupby("shard"):
                held = {s: self.states.get(s) for s in own["symbol"]}
                after, said = self.judge.take(held, own)
                self.states.update(after)
                found.append(said[said["verdict"] != WATERMARK])
        found = [each for each in found if len(each)]
        return pd.concat(found) if found else pd.DataFrame()


def whole(stream_judge, candles):
    rows = candles.assign(split=1.0)
    _, found = stream_judge.run(stream_judge.start(), rows)
    return verdict_rows(found.judged, "", "1m", pd.NaT), found.market


def is_same(found, expected):
    """Check two columns, whatever Spark's kinds made of them."""
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(found.to_numpy(float), expected)
    else:
        assert found.tolist() == expected.tolist()


def us(instant):
    return int(pd.Timestamp(instant).as_unit("us").asm8.astype(np.int64))


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**20), n_cuts=st.integers(0, 6))
def test_the_stages_say_what_one_run_over_all_bars_says(seed, n_cuts):
    """However candles are cut into micro-batches, mixed and repeated: to the last bit."""
    random = np.random.default_rng(seed)
    candles = market()
    own = judge()
    rows = arrived(candles)
    cuts = np.sort(random.integers(0, len(rows), n_cuts))
    stages, found = Stages(own), []
    for piece in np.split(np.arange(len(rows)), cuts):
        batch = rows.iloc[piece]
        batch = pd.concat([batch, batch.iloc[:3]]).sample(frac=1, random_state=seed % 1000)
        watermark = us(batch["ts"].min()) - 1 if len(batch) else 0
        found.append(stages.take(batch, watermark))
    found.append(stages.take(rows.iloc[:0], us(candles["ts"].max())))
    found = pd.concat([each for each in found if len(each)])
    expected, moves = whole(own, candles)
    # The world is not empty.
    assert expected["p"].notna().mean() > 0.7
    assert set(expected["verdict"]) == {"undecided", "normal", "anomaly"}
    assert (moves["verdict"] == "anomaly").any()
    found = found.sort_values(["symbol", "ts"]).reset_index(drop=True)
    for name in expected.columns.drop(["interval", "judge", "known_at"]):
        is_same(found[name], expected[name])
    said = found.dropna(subset=["market_return"]).drop_duplicates("ts").sort_values("ts")
    for name, of_table in OF_MARKET.items():
        is_same(said[name], moves[of_table])
    odd = found.loc[found["verdict"] == "anomaly", "beside"]
    assert all(json.loads(text)[0] for text in odd)


def test_the_state_of_an_instrument_is_small_and_does_not_grow():
    """However long its history: less than half a mebibyte."""
    ensemble = judge(ENSEMBLE_OF_SHORT)
    stages, sizes = Stages(ensemble), []
    candles = minutes(1300, seed=5)
    every = arrived(candles)
    for part in np.array_split(np.arange(len(every)), 2):
        rows = every.iloc[part]
        stages.take(rows, us(rows["ts"].max()))
        sizes.append({len(body) for body in stages.states.values()})
    assert sizes[0] == sizes[1]
    assert max(sizes[1]) < LIMIT
    assert len(stages.states) == len(SYMBOLS)


def test_a_doubtful_candle_waits_for_the_driver():
    """It is not judged before all checks have been asked; sent again, it is."""
    own = judge()
    stages = Stages(own)
    candles = minutes(30, seed=1)
    stages.take(arrived(candles), us(candles["ts"].max()))
    strange = minutes(31, seed=1).groupby("symbol").tail(1)
    strange = strange.assign(high=strange["high"].where(strange["symbol"] != "AAAUSDT", 1e9))
    said = stages.take(arrived(strange), 0)
    assert said[["symbol", "verdict"]].to_numpy().tolist() == [["AAAUSDT", DOUBTFUL]]
    passed = arrived(strange[strange["symbol"] == "AAAUSDT"]).assign(is_passed=True)
    said = stages.take(passed, 0)
    assert sorted(said["symbol"]) == sorted(SYMBOLS)


def test_a_sent_state_takes_the_place_of_the_held_one_if_it_is_not_older():
    """A judgement over again counts from its next bar on; one that was outrun is said to be."""
    own = judge()
    stages = Stages(own)
    candles = minutes(40, seed=1)
    early = candles[candles["ts"] < candles["ts"].min() + pd.Timedelta(minutes=30)]
    stages.take(arrived(early), us(early["ts"].max()))
    old = dict(stages.states)
    tail = np.full(10, np.datetime64("NaT", "us")), np.full((10, 3), np.nan)
    ensemble_state = from_rows(("AAAUSDT",), [old["AAAUSDT"]]).state
    ensemble_state = {**ensemble_state, "n_bars": np.array([999])}
    message = sent("AAAUSDT", ensemble_state, *tail, np.datetime64("2024-03-01T00:30"))
    row = arrived(early.iloc[:1]).assign(symbol="AAAUSDT", carried=[message])
    assert len(stages.take(row, 0)) == 0
    assert from_rows(("",), [stages.states["AAAUSDT"]]).state["n_bars"][0] == 999
    stages.take(arrived(candles), us(candles["ts"].max()))
    said = stages.take(row, 0)
    assert said["verdict"].tolist() == [OUTRUN]


def test_rows_of_state_are_the_snapshot():
    """Bit for bit, in any order of the instruments; and another layout is refused."""
    ensemble = judge().ensemble
    snapshot = Snapshot(("A", "B"), ensemble.start(2))
    rows = to_rows(snapshot)
    back = from_rows(("B", "A"), rows[::-1]).take(("A", "B"))
    for name, values in snapshot.state.items():
        np.testing.assert_array_equal(back.state[name], values)
        assert back.state[name].dtype == values.dtype
    other = to_rows(Snapshot(("C",), {"n": np.zeros(1)}))
    with pytest.raises(ValueError, match="layouts"):
        from_rows(("A", "C"), [rows[0], other[0]])


def test_messages_are_read_or_refused_with_their_reason():
    """Candles, those that the driver let pass, its states; what is none stops nothing."""
    candles = minutes(1, seed=1)
    (key, good), *_ = encode_candles(candles, "1m")
    future = encode_candles(candles.assign(ts=candles["ts"] + pd.Timedelta(days=9)), "1m")[0][1]
    own = judge()
    state = to_rows(Snapshot((SYMBOLS[0],), own.ensemble.start(1)))
    state = from_rows((SYMBOLS[0],), state).state
    tail = np.full(10, np.datetime64("NaT", "us")), np.full((10, 3), np.nan)
    at = np.datetime64("2024-03-01T00:00", "us")
    body = sent(SYMBOLS[0], state, *tail, at)
    said = [("c", good), ("d", good), ("d", body), ("c", b"{"), ("c", None), ("c", future)]
    strange = encode_candles(candles.assign(symbol="ZZZ"), "1m")[0][1]
    said.append(("c", strange))
    messages = pd.DataFrame(said, columns=["topic", "value"]).assign(
        partition=0,
        offset=range(len(said)),
        timestamp=pd.Timestamp("2024-03-01 00:01", tz="UTC"),
        key=key,
    )
    rows = reading(own).read(messages)
    rows = rows.sort_values("offset")
    assert rows["reason"].isna().tolist() == [True, True, True, False, False, False, False]
    assert rows["is_passed"].tolist()[:2] == [False, True]
    assert rows["ts"].iloc[2] == pd.Timestamp(at, tz="UTC")
    assert rows["watch_list"].tolist()[:3] == [ALWAYS_OPEN] * 3


def reading(own):
    """How the job of a judge reads."""
    calendars = dict.fromkeys(SYMBOLS, ALWAYS_OPEN)
    return Reading("d", "1m", calendars, layout_of(own.ensemble.start(1)))


def test_what_is_no_state_is_refused_and_the_others_are_read():
    """On the driver's own topic: bytes of anybody, no key, no value, another judge's state."""
    own, other = judge(), judge(("volatility_zscore",))
    tail = np.full(10, np.datetime64("NaT", "us")), np.full((10, 3), np.nan)
    at, later = np.datetime64("2024-03-01T00:30", "us"), np.datetime64("2031-01-01", "us")
    key = SYMBOLS[0].encode()
    good = sent(SYMBOLS[0], own.ensemble.start(1), *tail, at)
    others = sent(SYMBOLS[0], other.ensemble.start(1), *tail, at)
    ahead = sent(SYMBOLS[0], own.ensemble.start(1), *tail, later)
    said = {
        "neither a candle nor a state": [
            *((key, body) for body in (b"x", b"", None, b"\xff" * 40, good[:-1], good + b"x")),
            (key, (2).to_bytes(4, "little") + b"[]"),
            (key, (17).to_bytes(4, "little") + b'[["at","O",[9]]]x'),
        ],
        "a state of another judgement": [(key, others)],
        "ts is yet to come": [(key, ahead)],
        "the instrument is not watched": [(None, good), (b"ZZZ", good), (b"\xff", good)],
        None: [(key, good)],
    }
    rows = [(*pair, reason) for reason, pairs in said.items() for pair in pairs]
    messages = pd.DataFrame(rows, columns=["key", "value", "reason"]).assign(
        topic="d",
        partition=0,
        offset=range(len(rows)),
        timestamp=pd.Timestamp("2024-03-01 01:00", tz="UTC"),
    )
    read = reading(own).read(messages.drop(columns="reason")).sort_values("offset")
    assert read["reason"].where(read["reason"].notna(), None).tolist() == [r for *_, r in rows]
    assert read["symbol"].iloc[-1] == SYMBOLS[0]
    assert read["carried"].iloc[-1] == good
