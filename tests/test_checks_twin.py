"""The checks in arrays refuse what their slow twin in plain pandas refuses, row for row."""

from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.sources.bars import actions_frame, candles_frame
from tests import naive_checks

CALENDARS = Calendars()
FIRST = pd.Timestamp("2024-03-01", tz="UTC")
DAY = pd.Timedelta(days=1)

# Checks that the twin does not have.
NEW = set(checks.CHECKS) - set(naive_checks.CHECKS)
LEVELS = [0.01, 0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 100.0]
FAULTS = [np.nan, np.inf, 0.0, -1.0, 1e19]


@st.composite
def replies(draw):
    """A reply of messy rows: jumps, holes, copies, times off the grid, in any order."""
    symbol = draw(st.sampled_from(["VOD.L", "BTC-USD", "AAPL"]))
    interval = draw(st.sampled_from(["1d", "1d", "1h"]))
    seed, n = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 25))
    random = np.random.default_rng(seed)
    step = DAY if interval == "1d" else pd.Timedelta(hours=1)
    late = pd.to_timedelta(7 * random.choice([0, 0, 0, 0, 0, 1], n), unit="min")
    ts = FIRST + pd.to_timedelta(step * random.integers(0, 30, n)) + late
    close = 10 * random.choice(LEVELS, n) * random.choice([1.0, 1.0, 1.01], n)
    opened = np.where(random.random(n) < 0.7, close, 10.0)
    numbers = {
        "open": opened,
        "high": np.maximum(opened, close) * random.choice([1.0, 1.0, 1.02, 0.9], n),
        "low": np.minimum(opened, close) * random.choice([1.0, 1.0, 0.98, 0.01], n),
        "close": close,
        "volume": random.choice([0.0, 5.0, 5.0, np.nan, -1.0], n),
    }
    for name, values in numbers.items():
        numbers[name] = np.where(random.random(n) < 0.03, random.choice(FAULTS, n), values)
    table = candles_frame(pd.DatetimeIndex(ts).where(random.random(n) > 0.03), numbers)
    if draw(st.booleans()):
        table["copy"] = random.integers(0, 2, n)
    dates = FIRST + DAY * np.arange(30)
    happened = random.random((2, 30)) < 0.1
    values = random.choice([1.0, 5.0, 6.0], (2, 30)), random.choice([0.01, 2.0, 5.0], (2, 30))
    actions = actions_frame(
        pd.Series(values[0][0], index=dates)[happened[0]],
        pd.Series(values[1][1], index=dates)[happened[1]],
    )
    as_of = FIRST + DAY * draw(st.integers(5, 40))
    request = CandleRequest(symbol, interval, FIRST + 2 * DAY, FIRST + 28 * DAY, as_of)
    body = f"{symbol} {seed}".encode()
    return RawReply("files", request, "", 200, as_of, body), Parsed(table, actions)


def known_of(parsed, is_asked):
    """What a first load of a part of the same replies leaves, per interval."""
    if not is_asked:
        return pd.DataFrame()
    rows = naive_checks.apply(parsed[:2], pd.DataFrame(), CALENDARS)[0]
    return rows.drop_duplicates(["symbol", "interval", "ts"], keep="last").iloc[::2]


def lines(candles):
    """Candles as text, without the hours that the twin does not tell."""
    return candles.drop(columns="hours").to_csv(index=False).split("\n")[1:]


@settings(max_examples=60, deadline=None)
@given(st.lists(replies(), min_size=1, max_size=4), st.booleans())
def test_the_arrays_refuse_what_the_slow_twin_refuses(parsed, has_stored):
    """Same candles, same actions, same quarantine, as far as both know the check."""
    interval = parsed[0][0].request.interval
    parsed = [pair for pair in parsed if pair[0].request.interval == interval]
    stored = known_of(parsed, has_stored)
    found = checks.apply(parsed, stored, CALENDARS)
    expected = naive_checks.apply(parsed, stored, CALENDARS)
    key = ["raw", "symbol", "line"]
    of_new = found[2][found[2]["check_name"].isin({*NEW, *checks.NOTES})]
    is_old = ~found[2]["check_name"].isin({*NEW, *checks.NOTES})
    pd.testing.assert_frame_equal(
        found[2][is_old].sort_values(key, ignore_index=True),
        expected[2].sort_values(key, ignore_index=True),
        check_dtype=False,
    )
    taken = of_new[~of_new["check_name"].isin(checks.NOTES)]
    assert len(found[0]) + len(taken) == len(expected[0])
    assert not Counter(lines(found[0])) - Counter(lines(expected[0]))
    pd.testing.assert_frame_equal(found[1], expected[1], check_dtype=False)
