"""Prefix replay: no future, no unit of money and no split changes a verdict."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from components.detectors import DETECTORS
from components.ensemble import Ensemble
from components.errors import SettingsError
from components.prefixes import agreement, draw
from components.steps.prefixes import replay_prefixes
from components.wiring import open_parts
from tests.worlds import MORNING, SYMBOLS, history

RATES = dict.fromkeys(SYMBOLS, 4 / 252)


@pytest.fixture(scope="module")
def candles():
    """Four instruments over 700 bars."""
    frames = [history(symbol, n_bars=700).assign(symbol=symbol) for symbol in SYMBOLS]
    rows = pd.concat(frames, ignore_index=True).rename(columns=str.lower)
    rows["ts"] = pd.DatetimeIndex(pd.to_datetime(rows.pop("date"), utc=True)).as_unit("us")
    return rows.assign(split=1.0)


def test_pairs_are_drawn_by_the_seed_alone(candles):
    """The same seed gives the same pairs, whatever the order of the rows."""
    pairs = draw(candles, 20, 7)
    assert pairs == draw(candles.sample(frac=1, random_state=1), 20, 7)
    assert pairs != draw(candles, 20, 8)
    assert len(set(pairs)) == 20


# The base rule looks at all history in money, which is what it is kept for to show; the LSTM
# judges nothing before it is trained.
@pytest.mark.parametrize(
    "detector", sorted(set(DETECTORS) - {"amplitude_zscore", "lstm_autoencoder"})
)
def test_every_judge_keeps_its_verdicts(candles, detector):
    """Cut short it is the same to the bit; dearer or split it comes to the same verdicts."""
    found = agreement(Ensemble((detector,), 4), candles, RATES, draw(candles, 6, 3))
    assert [str(d) for d in found.disagreements] == []
    assert (found.n_pairs, found.n_agreed) == (6, 6)
    assert found.n_bars > 0


@dataclasses.dataclass(frozen=True)
class Peeking(Ensemble):
    """A judge that knows how many bars are still to come."""

    def run(self, state, panel, rates):
        """Judge, and let the length of the panel leak into p."""
        after, judged = super().run(state, panel, rates)
        return after, dataclasses.replace(judged, agreed_p=judged.agreed_p / panel.ts.shape[1])


@dataclasses.dataclass(frozen=True)
class OfMoney(Ensemble):
    """A judge that finds dear bars unusual."""

    def run(self, state, panel, rates):
        """Judge, and let the price decide."""
        after, judged = super().run(state, panel, rates)
        return after, dataclasses.replace(judged, is_anomaly=panel.field("close") > 1000)


def test_a_judge_that_sees_the_future_is_found_out(candles):
    """And the first case is named: law, instrument, bar, both values."""
    pairs = draw(candles, 8, 3)
    found = agreement(Peeking(("volatility_zscore",), 4), candles, RATES, pairs)
    assert found.n_agreed < 8
    first = str(found.disagreements[0])
    assert first.startswith("data up to the day: ")
    assert "in the full run" in first


def test_a_judge_of_money_is_found_out(candles):
    """A thousandfold price must not make an anomaly."""
    found = agreement(OfMoney(("volatility_zscore",), 4), candles, RATES, draw(candles, 4, 3))
    assert {d.law for d in found.disagreements} >= {"prices times 1000"}


def test_the_first_bar_can_be_drawn(candles):
    """Up to it there is one bar, and no split before it."""
    first = candles[candles["symbol"] == "AAA"]["ts"].min()
    found = agreement(Ensemble(("volatility_zscore",), 4), candles, RATES, [("AAA", first)])
    assert (found.n_agreed, found.n_bars) == (1, 1)


def test_the_warehouse_is_tried_and_an_empty_one_refused(world):
    """With the market's return as the daily run has it, and the remedy in one line."""
    world.put_market()
    settings = world.read_settings()
    opened = {"command": "backtest", "reads_only": True}
    with (
        open_parts(settings, MORNING, **opened) as parts,
        pytest.raises(SettingsError, match="backfill --since"),
    ):
        replay_prefixes(parts, 5, 0)
    world.run()
    with open_parts(settings, MORNING, **opened) as parts:
        found = replay_prefixes(parts, 12, 0)
    assert (found.n_pairs, found.n_agreed) == (12, 12)
    assert np.isfinite(found.n_bars)
