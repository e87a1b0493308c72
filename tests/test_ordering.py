"""Candles put in order: whatever their order, repeats and cuts, the same bars in the same order."""

from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from components.streaming.ordering import NEVER, Ordering, Pending

STEP, LATENESS = 60, 120
N_MEMBERS = 3
FOREVER = np.iinfo(np.int64).max
ORDERING = Ordering(N_MEMBERS, STEP, LATENESS)
NOTHING = pd.DataFrame({"ts": [], "member": [], "price": []}, dtype=np.int64)


def rows(*candles):
    """Candles as (bar, member, price); a bar opens every minute."""
    ts, member, price = np.array(candles, dtype=np.int64).reshape(-1, 3).T
    return pd.DataFrame({"ts": ts * STEP, "member": member, "price": price})


def listed(table):
    """Rows as (bar, member, price)."""
    return [(ts // STEP, member, price) for ts, member, price in table.to_numpy().tolist()]


def taken(pieces, ordering=ORDERING, released=NEVER):
    """All that is released and all that is late of some arrivals, the last of which ends it."""
    pending, due, late = Pending(NOTHING, released, released), [], []
    for at, piece in enumerate(pieces):
        overdue = FOREVER if at == len(pieces) - 1 else NEVER
        pending, found = ordering.take(pending, piece, overdue=overdue)
        due.append(listed(found.rows))
        late += listed(found.late)
    assert not len(pending.rows)
    return due, late


@st.composite
def markets(draw):
    """Which member has a candle at which bar; holes of one and of all."""
    n_bars = draw(st.integers(1, 25))
    there = draw(st.lists(st.integers(1, 2**N_MEMBERS), min_size=n_bars, max_size=n_bars))
    hole = draw(st.integers(0, n_bars))
    return [
        (bar + (7 if bar >= hole else 0), member, 100 * bar + member)
        for bar, mask in enumerate(there)
        for member in range(N_MEMBERS)
        if mask == 2**N_MEMBERS or mask >> member & 1
    ]


def shuffled(draw, candles):
    """The candles some of them twice, none more than the lateness behind a newer one."""
    n = len(candles)
    wait = st.lists(st.integers(0, LATENESS - 1), min_size=n, max_size=n)
    came = [(candles[at][0] * STEP + by, at) for at, by in enumerate(draw(wait))]
    twice = draw(st.lists(st.integers(0, n - 1), max_size=5))
    again = [(candles[at][0] * STEP + draw(st.integers(0, LATENESS - 1)), at) for at in twice]
    return [candles[at] for _, at in sorted(came + again)]


def cut(draw, candles):
    """The same candles in pieces, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(candles)), max_size=12)))
    ends = [0, *cuts, len(candles)]
    return [rows(*candles[a:b]) for a, b in pairwise(ends)]


@given(st.data(), markets())
def test_whatever_the_order_the_repeats_and_the_cuts_the_same_bars_come_in_the_same_order(
    data, market
):
    """Each candle once, oldest bar first, members in order; of what comes late, only repeats."""
    come = shuffled(data.draw, market)
    due, late = taken(cut(data.draw, come))
    assert [candle for piece in due for candle in piece] == sorted(market)
    assert len(late) <= len(come) - len(market)


@given(st.data(), markets())
def test_late_is_exactly_what_is_of_a_released_bar(data, market):
    """In any order at all: a candle is released, or late, or a repeat of one that waits."""
    come = data.draw(st.permutations(market))
    pieces = cut(data.draw, come)
    pending, out, late = Pending(NOTHING), [], []
    for piece in pieces:
        is_late = piece["ts"] <= pending.released
        pending, found = ORDERING.take(pending, piece)
        assert listed(found.late) == listed(piece[is_late])
        assert (found.rows["ts"] <= pending.released).all()
        assert (pending.rows["ts"] > pending.released).all()
        out += listed(found.rows)
        late += listed(found.late)
    assert [bar for bar, _, _ in out] == sorted(bar for bar, _, _ in out)
    assert sorted(out + late + listed(pending.rows)) == sorted(market)


@given(st.integers(1, 9))
def test_a_whole_bar_behind_the_one_before_waits_for_nobody(n_bars):
    """After a beginning it is released with its last candle, though nothing newer came."""
    whole = [(bar, m, 0) for bar in range(n_bars) for m in range(N_MEMBERS)]
    due, late = taken([rows(candle) for candle in whole] + [rows()], released=-STEP)
    ends = [piece for piece in due if piece]
    assert [candle for piece in ends for candle in piece] == whole
    assert all(len(piece) == N_MEMBERS for piece in ends)
    assert not late


def test_of_the_same_candle_the_last_counts_while_its_bar_waits():
    """A venue that corrects a candle before its bar went is heard."""
    pieces = [rows((1, 0, 5)), rows((1, 0, 6), (1, 1, 7), (1, 0, 8)), rows()]
    assert taken(pieces) == ([[], [], [(1, 0, 8), (1, 1, 7)]], [])


def test_a_bar_that_lacks_a_member_goes_when_the_stream_is_the_lateness_past_its_open():
    """Not a microsecond before; a whole bar behind it goes along."""
    pending = Pending(NOTHING, 0, 0)
    pending, found = ORDERING.take(pending, rows((1, 0, 0), *((2, m, 0) for m in range(3))))
    assert not len(found.rows)
    almost = rows((3, 0, 0)).assign(ts=STEP + LATENESS - 1)
    pending, found = ORDERING.take(pending, almost)
    assert not len(found.rows)
    pending, found = ORDERING.take(pending, rows((3, 1, 0)))
    assert [bar for bar, _, _ in listed(found.rows)] == [1, 2, 2, 2]
    assert pending.released == 2 * STEP


def test_nothing_before_says_that_the_first_bar_is_the_first():
    """It waits for the watermark, whole as it is: an older one may come."""
    pending, found = ORDERING.take(Pending(NOTHING), rows(*((5, m, 0) for m in range(3))))
    assert not len(found.rows)
    pending, found = ORDERING.take(pending, rows(*((4, m, 0) for m in range(3))))
    assert not len(found.rows)
    _, found = ORDERING.take(pending, rows((7, 0, 0)))
    assert [bar for bar, _, _ in listed(found.rows)] == [4] * 3 + [5] * 3


def test_the_watermark_stands_where_all_ends_of_a_feed_are_read():
    """One end that is far ahead makes nobody else's candles late."""
    pending, found = ORDERING.take(Pending(NOTHING), rows((1, 0, 0), (90, 1, 0)), through=STEP)
    assert not len(found.rows)
    pending, found = ORDERING.take(pending, rows((1, 2, 0)), through=2 * STEP)
    assert not len(found.late)
    pending, found = ORDERING.take(pending, rows(), through=90 * STEP)
    assert listed(found.rows) == [(1, 0, 0), (1, 2, 0)]
    # Whoever says more than the newest candle is not believed.
    pending, found = ORDERING.take(pending, rows(), through=900 * STEP)
    assert not len(found.rows)
    assert listed(pending.rows) == [(90, 1, 0)]


def test_what_is_overdue_goes_whoever_is_missing_and_the_rest_waits():
    """Patience is of a bar and all before it."""
    pending = Pending(NOTHING, 0, 0)
    pending, found = ORDERING.take(pending, rows((1, 0, 0), (2, 0, 0)), overdue=STEP)
    assert listed(found.rows) == [(1, 0, 0)]
    pending, found = ORDERING.take(pending, rows((1, 1, 0)), overdue=2 * STEP)
    assert listed(found.rows) == [(2, 0, 0)]
    assert listed(found.late) == [(1, 1, 0)]
    assert pending.released == 2 * STEP


def test_without_lateness_a_newer_candle_ends_the_bars_before():
    """A lateness of 0 trusts the feed's order: a bar goes as soon as its own open is reached."""
    ordering = Ordering(N_MEMBERS, STEP, 0)
    pending, found = ordering.take(Pending(NOTHING), rows((1, 0, 0)))
    assert listed(found.rows) == [(1, 0, 0)]
    _, found = ordering.take(pending, rows((1, 1, 0), (2, 1, 0)))
    assert (listed(found.late), listed(found.rows)) == ([(1, 1, 0)], [(2, 1, 0)])
