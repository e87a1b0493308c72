"""Which rows are kept aside, under which name; and that no real move is."""

import json

import numpy as np
import pandas as pd
import pytest

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.sources.bars import actions_frame, candles_frame
from components.tables import ACTIONS, CANDLES, QUARANTINE

CALENDARS = Calendars()
FIRST = "2024-03-04"


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def reply_of(symbol="VOD.L", observed_at="2024-06-01", interval="1d", body=b"{}", **times):
    request = CandleRequest(
        symbol,
        interval,
        utc(times.get("since", "2000-01-01")),
        utc(times.get("until", "2024-06-01")),
        utc(times.get("as_of", "2024-06-01")),
    )
    return RawReply("files", request, "file:///x", 200, utc(observed_at), body)


def table_of(closes, symbol="VOD.L", first=FIRST):
    """Candles on the instrument's sessions, without a gap and without a wick."""
    n = len(closes)
    ts = CALENDARS.expected(symbol, "1d", utc(first), utc(first) + pd.Timedelta(days=2 * n + 10))
    close = np.asarray(closes, dtype=float)
    numbers = dict.fromkeys(("open", "high", "low", "close"), close)
    return candles_frame(ts[:n], {**numbers, "volume": 1000.0 + np.arange(n)})


def judged(table, *, symbol="VOD.L", splits=None, dividends=None, stored=None, **reply):
    actions = actions_frame(
        *(
            None if given is None else pd.Series(given, dtype=float).rename(utc)
            for given in (dividends, splits)
        )
    )
    stored = pd.DataFrame() if stored is None else stored
    parsed = [(reply_of(symbol, **reply), Parsed(table, actions))]
    candles, actions, quarantine = checks.apply(parsed, stored, CALENDARS)
    assert list(candles.columns) == list(CANDLES.columns)
    assert list(actions.columns) == list(ACTIONS.columns)
    assert list(quarantine.columns) == list(QUARANTINE.columns)
    return candles, actions, quarantine


def names(quarantine):
    return quarantine["check_name"].value_counts().to_dict()


def test_good_rows_pass_with_their_source_and_time():
    """known_at is the request's as_of; nothing is kept aside."""
    candles, _, quarantine = judged(table_of([10, 11, 12]))
    assert len(candles) == 3
    assert quarantine.empty
    assert set(candles["known_at"]) == {utc("2024-06-01")}
    assert set(candles["source"]) == {"files"}


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("no_time", "ts", pd.NaT),
        ("null_price", "close", np.nan),
        ("not_finite", "high", np.inf),
        ("price_not_positive", "open", 0.0),
        ("price_not_positive", "low", -1.0),
        ("ohlc_order", "high", 10.9),
        ("ohlc_order", "low", 11.1),
        ("negative_volume", "volume", -5.0),
        ("off_grid", "ts", utc("2024-03-05 05:00")),
    ],
)
def test_one_bad_cell_keeps_its_row_aside(name, column, value):
    """The row goes to quarantine under the check's name, with its text; its neighbours pass."""
    table = table_of([10, 11, 12])
    table.loc[1, column] = value
    candles, _, quarantine = judged(table)
    assert names(quarantine) == {name: 1}
    assert len(candles) == 2
    assert quarantine["line"].tolist() == [1]
    assert set(json.loads(quarantine["row_text"][0])) == {"open", "high", "low", "close", "volume"}


def test_every_check_is_told_or_named_as_quiet():
    """Quiet checks are those that good data fails every day."""
    assert {"unfinished_bar", "before_listing", "repeated_bar"} == checks.QUIET
    assert {"hundredfold", "dividend_out_of_scale", "null_price"} <= checks.TOLD
    assert not checks.TOLD & checks.QUIET
    assert all(check.__doc__ for check in checks.CHECKS.values())


def test_padding_before_the_listing_is_quiet_and_a_hole_is_not():
    """Leading empty rows are padding; an empty row in the middle is trouble."""
    table = table_of([np.nan, np.nan, 10, np.nan, 11])
    _, _, quarantine = judged(table)
    assert names(quarantine) == {"before_listing": 2, "null_price": 1}
    stored = judged(table_of([9, 9]))[0]
    assert names(judged(table, stored=stored)[2]) == {"null_price": 3}


@pytest.mark.parametrize(("observed_at", "is_kept"), [("16:29", False), ("16:30", True)])
def test_a_bar_counts_once_its_session_closed(observed_at, is_kept):
    """Promise 1, at the minute: London closes at 16:30."""
    candles, _, quarantine = judged(
        table_of([10, 11]), observed_at=f"2024-03-05 {observed_at}", as_of="2024-03-05 18:00"
    )
    assert (len(candles) == 2) is is_kept
    assert names(quarantine) == ({} if is_kept else {"unfinished_bar": 1})


def test_a_bar_that_was_observed_later_than_the_run_is_unfinished_for_it():
    """The run's as_of is the other bound."""
    _, _, quarantine = judged(
        table_of([10, 11]), observed_at="2024-05-01", as_of="2024-03-05 12:00"
    )
    assert names(quarantine) == {"unfinished_bar": 1}


def test_rows_that_were_not_asked_for_are_in_neither_table():
    """They stay in the raw reply."""
    candles, _, quarantine = judged(table_of([10, 11, 12]), since="2024-03-05", until="2024-03-06")
    assert len(candles) == 1
    assert quarantine.empty


def test_a_day_without_a_session_needs_volume():
    """An idle row on a holiday is the provider's filler; with volume there was trade."""
    table = table_of([10, 11, 12])
    table["ts"] = pd.DatetimeIndex([utc("2024-03-28"), utc("2024-03-29"), utc("2024-04-01")])
    table.loc[1, "volume"] = 0.0
    _, _, quarantine = judged(table)
    assert names(quarantine) == {"not_a_session": 1}


def test_of_two_rows_for_one_bar_the_last_wins():
    """An equal repetition is quiet, another value is told."""
    table = table_of([10, 11, 11, 12, 13])
    table.loc[2] = table.loc[1]
    table.loc[4, "ts"] = table.loc[3, "ts"]
    candles, _, quarantine = judged(table)
    assert names(quarantine) == {"repeated_bar": 1, "duplicate_bar": 1}
    assert candles["close"].tolist() == [10, 11, 13]


def test_of_two_files_the_one_that_reaches_farther_wins():
    """The last row of the shorter file is the likely unfinished one."""
    table = table_of([10, 11, 11.5, 12])
    table.loc[2, "ts"] = table.loc[1, "ts"]
    table["copy"] = [0, 0, 1, 1]
    candles, _, quarantine = judged(table)
    assert names(quarantine) == {"conflicting_copy": 1}
    assert candles["close"].tolist() == [10, 11.5, 12]


def two_files(first, second, splits=None, stored=None):
    """Two files of one name in one reply, ranked in this order."""
    both = pd.concat([first.assign(copy=0), second.assign(copy=1)], ignore_index=True)
    both["line"] = np.arange(len(both))
    return judged(both, splits=splits, stored=stored)


def test_of_two_files_of_different_instruments_the_one_with_fewer_closes_is_refused():
    """Whole, its padding too, and wherever it reaches: no fall of 99 % is made of two coins."""
    right = table_of(100.0 + np.arange(20))
    wrong = table_of([np.nan] * 12 + [1.0 + n / 100 for n in range(12)])
    for pair in ((right, wrong), (wrong, right)):
        candles, _, quarantine = two_files(*pair)
        assert names(quarantine) == {"other_instrument": 24}
        assert candles["close"].tolist() == right["close"].tolist()


def test_of_two_files_of_different_instruments_the_stored_one_is_believed():
    """Though the other has more closes; the actions of the reply stay."""
    right, wrong = table_of(100.0 + np.arange(8)), table_of(1.0 + np.arange(20) / 100)
    split = {str(right["ts"][2].date()): 2.0}
    stored, _, _ = judged(right[:3].reset_index(drop=True))
    candles, actions, quarantine = two_files(right, wrong, splits=split, stored=stored)
    assert names(quarantine) == {"other_instrument": 20}
    assert candles["close"].tolist() == right["close"].tolist()
    assert len(actions) == 1


def test_two_files_that_share_two_bars_are_not_told_apart():
    """Three bars must disagree; of fewer the file that reaches farther is believed."""
    first, second = table_of([100.0, 101.0]), table_of([1.0, 1.01, 1.02])
    candles, _, quarantine = two_files(first, second)
    assert names(quarantine) == {"conflicting_copy": 2}
    assert len(candles) == 3


def test_pence_for_pounds_are_refused_until_they_come_back():
    """A hundredfold jump of open and close, and back."""
    candles, _, quarantine = judged(table_of([14.5, 14.6, 0.146, 0.147, 14.8]))
    assert names(quarantine) == {"hundredfold": 2}
    assert len(candles) == 3


def test_pence_for_pounds_are_measured_by_what_is_stored():
    """Also the reply's first rows can be the wrong ones."""
    stored, _, _ = judged(table_of([14.5, 14.6]))
    candles, _, quarantine = judged(table_of([0.147, 0.148], first="2024-03-06"), stored=stored)
    assert names(quarantine) == {"hundredfold": 2}
    assert candles.empty


@pytest.mark.parametrize(
    "closes",
    [
        [0.1455] * 4 + [14.55] * 9 + [0.1455] * 10,
        [0.1455] * 60 + [14.55] * 200,
        [14.55] * 14 + [0.1455] * 200,
    ],
)
def test_where_nobody_knows_which_unit_is_right_both_are_refused(closes):
    """A hundredfold step after a short beginning, with nothing stored: a person must look."""
    candles, _, quarantine = judged(table_of(closes, first="2020-03-04"))
    assert names(quarantine) == {"hundredfold": len(closes)}
    assert candles.empty


@pytest.mark.parametrize(
    ("closes", "n_wrong"),
    [
        ([14.5] * 61 + [0.145] * 30, 30),
        ([14.5] * 2 + [0.145] * 3 + [14.5] * 4, 3),
        ([14.5] * 6 + [0.145] * 6 + [14.5], 6),
        ([14.5] * 2 + [0.145] * 5 + [14.5] * 60, 5),
    ],
)
def test_a_long_beginning_and_a_short_run_say_which_unit_is_right(closes, n_wrong):
    """Then only the other side is refused."""
    candles, _, quarantine = judged(table_of(closes, first="2020-03-04"))
    assert names(quarantine) == {"hundredfold": n_wrong}
    assert candles["close"].tolist() == [close for close in closes if close == 14.5]


def test_a_stored_bar_of_either_side_says_which_unit_is_right():
    """Also one behind the step."""
    table = table_of([0.145] * 4 + [14.5] * 9)
    stored, _, _ = judged(table[6:9].reset_index(drop=True))
    candles, _, quarantine = judged(table, stored=stored)
    assert names(quarantine) == {"hundredfold": 4}
    assert candles["close"].tolist() == [14.5] * 9


@pytest.mark.parametrize("jumps", [(0.0077, 0.0075), (0.013, 0.015), (0.0101, 0.0185)])
def test_a_large_move_at_the_step_does_not_hide_the_way_back(jumps):
    """The bar that is back has moved by 25 to 30 %: what follows is let in all the same."""
    opened, close = 0.145 / np.array(jumps)
    table = table_of([14.5] * 70 + [0.145] * 5 + [close] * 20, first="2020-03-04")
    table.loc[75, "open"] = opened
    table.loc[75, "high"], table.loc[75, "low"] = max(opened, close), min(opened, close)
    assert names(judged(table)[2]) == {"hundredfold": 5}


def test_one_price_in_pence_spoils_its_bar_only():
    """The close alone in the other unit."""
    table = table_of([58.0, 59.0, 60.0])
    table.loc[1, ["low", "close"]] = 0.6
    candles, _, quarantine = judged(table)
    assert names(quarantine) == {"hundredfold": 1}
    assert len(candles) == 2


@pytest.mark.parametrize("ratio", [2.0, 5.0, 0.1, 50.0])
def test_rows_that_miss_a_split_are_refused(ratio):
    """The provider names the split, and left the rows before another date as they were."""
    # As traded 100 before, 100 / ratio after; rows 0 to 2 were multiplied without need.
    closes = np.array([100.0 * ratio] * 3 + [100.0] * 3 + [100.0 / ratio] * 3)
    table = table_of(closes)
    split = {str(table["ts"][6].date()): ratio}
    candles, actions, quarantine = judged(table, splits=split)
    assert names(quarantine) == {"split_not_applied": 3}
    assert candles["close"].iloc[0] == 100
    assert actions["value"].tolist() == [ratio]


def test_a_split_that_was_applied_is_no_trouble():
    """As traded the price falls by the ratio on its date, and nothing is kept aside."""
    table = table_of([100.0, 101.0, 50.0, 51.0])
    _, _, quarantine = judged(table, splits={str(table["ts"][2].date()): 2.0})
    assert quarantine.empty


def test_a_hundredfold_reverse_split_is_no_unit_error():
    """Known splits are taken out before prices are compared."""
    table = table_of([0.1, 0.1, 10.0, 10.1])
    _, _, quarantine = judged(table, splits={str(table["ts"][2].date()): 0.01})
    assert quarantine.empty


def test_a_name_given_to_another_instrument_is_kept_aside_whole():
    """Solana stood at 132 when its old name said 1.24."""
    stored, _, _ = judged(table_of([130, 132, 131], "SOL1-USD"), symbol="SOL1-USD")
    candles, actions, quarantine = judged(
        table_of([1.22, 1.24, 1.23, 1.2], "SOL1-USD"),
        symbol="SOL1-USD",
        stored=stored,
        dividends={FIRST: 0.01},
    )
    assert candles.empty
    assert actions.empty
    assert names(quarantine) == {"other_instrument": 5}


def test_a_correction_is_let_in():
    """A late correction of a few per cent is a new version, not another instrument."""
    stored, _, _ = judged(table_of([130, 132, 131]))
    candles, _, quarantine = judged(table_of([130, 136, 131]), stored=stored)
    assert len(candles) == 3
    assert quarantine.empty


@pytest.mark.parametrize(
    ("symbol", "closes"),
    [
        ("LUNA1-USD", [64.1, 30.0, 17.5, 1.07, 0.0036, 0.0001, 0.0005]),
        ("LUNA1-USD", [1.0, 0.01, 0.0001, 0.0002]),
        ("DOGE-USD", [0.0075, 0.034, 0.047]),
        ("GME", [17.0, 37.0, 86.9, 48.4, 81.3, 22.5]),
        ("ACME", [10.0, 4.9, 4.8]),
        ("BANK", [50.0, 8.0, 0.9]),
    ],
)
def test_no_real_move_is_refused(symbol, closes):
    """Promise 6: a crash or a squeeze is not cleaned away, a coin may lose 99 %."""
    candles, _, quarantine = judged(table_of(closes, symbol), symbol=symbol)
    assert quarantine.empty
    assert len(candles) == len(closes)


def test_a_large_dividend_must_show_in_the_price():
    """Pence for pounds again: half of the price was paid, and nobody noticed."""
    table = table_of([100, 100, 100, 60])
    dates = [str(ts.date()) for ts in table["ts"]]
    _, actions, quarantine = judged(table, dividends={dates[1]: 45.0, dates[3]: 40.0})
    assert names(quarantine) == {"dividend_out_of_scale": 1}
    assert quarantine["line"].tolist() == [-1]
    assert actions["value"].tolist() == [40.0]


def test_a_dividend_that_is_named_twice_counts_once():
    """The earlier of two equal ones within four days is the slip; a weekly payer is none."""
    table = table_of([100.0] * 12)
    dates = [str(ts.date()) for ts in table["ts"]]
    given = {dates[0]: 1.0, dates[1]: 1.0, dates[6]: 1.0}
    _, actions, quarantine = judged(table, dividends=given)
    assert names(quarantine) == {"repeated_dividend": 1}
    assert len(actions) == 2


def test_many_instruments_at_once_are_judged_as_one_by_one():
    """No check looks across from one reply into the next."""
    given = {
        "VOD.L": [14.5, 0.145, 14.5],
        "BTC-USD": [100.0, 1.0, 0.01],
        "AAPL": [np.nan, 10, 11],
    }
    pairs = [
        (reply_of(symbol, body=symbol.encode()), Parsed(table_of(closes, symbol), actions_frame()))
        for symbol, closes in given.items()
    ]
    together = checks.apply(pairs, pd.DataFrame(), CALENDARS)
    apart = [checks.apply([pair], pd.DataFrame(), CALENDARS) for pair in pairs]
    for place in (0, 2):
        alone = pd.concat([parts[place] for parts in apart], ignore_index=True)
        pd.testing.assert_frame_equal(together[place], alone, check_dtype=False)


def test_replies_without_rows_are_well():
    """A header without rows gives three empty tables in their columns."""
    for table in judged(table_of([])):
        assert table.empty


def test_a_bar_said_again_is_kept_aside():
    """A hanging feed repeats its last close and volume; a halt trades nothing, and may be flat."""
    table = table_of([10, 11, 12, 13, 13, 13, 14, 15])
    table.loc[[4, 5], "volume"] = table.loc[3, "volume"]
    candles, _, quarantine = judged(table)
    assert names(quarantine) == {"copied_bar": 2}
    assert quarantine["line"].tolist() == [4, 5]
    assert len(candles) == 6
    table.loc[[3, 4, 5], "volume"] = 0.0
    candles, _, quarantine = judged(table)
    assert len(candles) == 8
    assert quarantine.empty


@pytest.mark.parametrize(("column", "value"), [("high", 13.1), ("open", 12.9), ("volume", 1004.0)])
def test_a_bar_that_only_resembles_the_one_before_is_let_in(column, value):
    """One price that moved, or one share more, and it is trade."""
    table = table_of([10, 11, 12, 13, 13, 14])
    table.loc[4, "volume"] = table.loc[3, "volume"]
    table.loc[4, column] = value
    table["low"] = table[["open", "high", "low", "close"]].min(axis=1)
    candles, _, quarantine = judged(table)
    assert len(candles) == 6
    assert quarantine.empty
