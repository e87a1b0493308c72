"""Two months of minutes in one batch or in two: the checks refuse the same rows."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.sources.bars import actions_frame, candles_frame
from components.steps.gather import BARS_BEFORE

CALENDARS = Calendars()
MINUTE = pd.Timedelta(minutes=1)
SEAM = pd.Timestamp("2024-03-01", tz="UTC")

# Bars on either side of the seam.
N = 150
FIRST, END = SEAM - N * MINUTE, SEAM + N * MINUTE
AS_OF = END + pd.Timedelta(days=1)
NONE = actions_frame(pd.Series(dtype=float), pd.Series(dtype=float))

TICKS = [100.0, 0.01, 1.5, 3.0]


@st.composite
def bars(draw):
    """Minutes around the seam: still stretches, ticks, holes, volume that is absent."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-3, 2 * N))), 2)
    volume = random.integers(1, 50, 2 * N).astype(float)
    if draw(st.booleans()):
        # A run that may begin before the seam and end after it. One: of several, the last trade
        # may lie further back than is looked.
        first, length = draw(st.integers(1, 2 * N - 2)), draw(st.integers(1, 200))
        still = slice(first, first + length)
        close[still], volume[still] = close[first - 1], 0
    start = np.r_[close[0], close[:-1]]
    ticks = draw(st.lists(st.tuples(st.integers(N - 4, N + 4), st.sampled_from(TICKS)), max_size=3))
    for place, factor in ticks:
        # Of a row refused amid a still stretch what is stored does not tell.
        if (volume[place - 1 : place + 2] > 0).all():
            close[place] = round(close[place] * factor, 2)
    start = np.where(random.random(2 * N) < 0.9, start, close)
    high, low = np.maximum(start, close), np.minimum(start, close)
    high = np.where(volume > 0, np.round(high * 1.0005, 2), high)
    volume[(volume > 0) & (random.random(2 * N) < 0.01)] = np.nan
    ts = pd.date_range(FIRST, periods=2 * N, freq=MINUTE, unit="us")
    numbers = {"open": start, "high": high, "low": low, "close": close, "volume": volume}
    table = candles_frame(ts, numbers)
    holes = draw(st.lists(st.integers(0, 2 * N - 1), max_size=3))
    return table.drop(index=holes).reset_index(drop=True)


def reply_of(table, since, until):
    """The reply that holds the bars of [since, until), as of a month's file."""
    own = table[(table["ts"] >= since) & (table["ts"] < until)].reset_index(drop=True)
    request = CandleRequest("BTCUSDT", "1m", since, until, AS_OF)
    body = f"{since}".encode()
    return RawReply("binance", request, "", 200, AS_OF, body), Parsed(own, NONE)


def both(*results):
    """Candles and quarantine of batches, one behind the other."""
    candles = pd.concat([candles for candles, _, _ in results], ignore_index=True)
    aside = pd.concat([aside for *_, aside in results if len(aside)] or [results[0][2]])
    names = aside[["ts", "check_name"]].sort_values(["ts", "check_name"], ignore_index=True)
    return candles.sort_values("ts", ignore_index=True), names


@settings(max_examples=150)
@given(bars())
def test_a_seam_between_batches_is_as_one_between_replies(table):
    """Same candles, same refusals: what a batch before stored leads into the next."""
    months = [reply_of(table, FIRST, SEAM), reply_of(table, SEAM, END)]
    together = both(checks.apply(months, pd.DataFrame(), CALENDARS))
    first = checks.apply(months[:1], pd.DataFrame(), CALENDARS)
    stored = first[0].iloc[-BARS_BEFORE:]
    apart = both(first, checks.apply(months[1:], stored, CALENDARS))
    pd.testing.assert_frame_equal(together[1], apart[1], check_dtype=False)
    pd.testing.assert_frame_equal(together[0], apart[0], check_dtype=False)
