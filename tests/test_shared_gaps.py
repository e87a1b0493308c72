"""Six coins over the outage of their exchange on 2021-04-25: the first minute is no false jump.

The files are not part of this repository; without them the suite is skipped.
"""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from components.ensemble import Ensemble
from components.evaluation.told import with_market
from components.features.channels import VECTOR
from components.panels import pack
from components.sessions import Calendars
from components.settings import ENSEMBLE
from components.steps.gaps import with_steps

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

FOLDER = DATA / "binance_klines" / "spot_1m_arrays_2021-04-20_2021-05-20"
BACK = np.datetime64("2021-04-25T08:45", "us")
UNTIL = pd.Timestamp("2021-04-25 12:00", tz="UTC")
PARTS = SimpleNamespace(calendars=Calendars(), watch=SimpleNamespace(interval="1m"))
# By channel: BTC, DOGE, ETH, LINK, LTC, XRP, in units of one minute's volatility, if the minutes
# beside the outage are neighbours, and if they are 284 or 285 steps apart.
FIGURES = {
    "return": ([3.4, -4.2, 6.7, 7.0, 0.5, 0.1], [0.2, -0.2, 0.4, 0.4, 0.0, 0.0]),
    "residual": ([5.5, -7.3, 14.1, 13.8, -2.6, -2.6], [0.3, -0.4, 0.8, 0.8, -0.2, -0.2]),
}
NAMES = ["ts", "open", "high", "low", "close", "volume"]


def minutes():
    """The candles of all six up to three hours after the outage."""
    tables = []
    for path in sorted(FOLDER.glob("*.json.gz")):
        rows = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes())), columns=NAMES)
        rows["ts"] = pd.to_datetime(rows["ts"], unit="ms", utc=True)
        tables.append(rows.assign(symbol=path.name.split(".")[0], split=1.0))
    every = pd.concat(tables, ignore_index=True)
    return every[every["ts"] < UNTIL]


def judged(candles):
    """What is found of all minutes, and which of them are the first after the outage."""
    symbols = tuple(sorted(candles["symbol"].unique()))
    panel = pack(with_market(candles, Calendars()), symbols, symbols)
    ensemble = Ensemble(ENSEMBLE, 2 * 52)
    rates = np.full(len(symbols), 2 * 52 / (365 * 1440))
    _, found = ensemble.run(ensemble.start(len(symbols)), panel, rates)
    return found, panel.ts == BACK


def test_the_first_minute_after_the_outage_is_no_extreme_by_the_gap():
    """285 minutes side by side were a jump of many units; over their length it is a usual move."""
    candles = minutes()
    counted = with_steps(PARTS, candles)
    assert counted["steps"].max() == 285
    at_return = counted[counted["ts"] == pd.Timestamp(BACK, tz="UTC")]
    assert set(at_return["steps"]) == {284, 285}
    before, is_back = judged(candles)
    after, same = judged(counted)
    np.testing.assert_array_equal(is_back, same)
    for name, (side_by_side, over_its_length) in FIGURES.items():
        channel = VECTOR.index(f"{name}_z")
        was, now = (found.channels[channel][is_back] for found in (before, after))
        assert was == pytest.approx(side_by_side, abs=0.06), name
        assert now == pytest.approx(over_its_length, abs=0.06), name
    assert before.is_anomaly[is_back].sum() == 2
    assert not after.is_anomaly[is_back].any()
    # What is told stays the whole move, the market's part of it too.
    np.testing.assert_array_equal(before.move, after.move)
    assert np.isfinite(after.market_part[is_back]).all()


def test_what_happened_within_the_first_minute_is_still_seen():
    """Trade went on where it had stopped, and ran away at once: the body is of one minute."""
    after, is_back = judged(with_steps(PARTS, minutes()))
    body = after.channels[VECTOR.index("body_z")][is_back]
    assert np.abs(body).max() > 6
