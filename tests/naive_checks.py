"""The data checks once more, slow and in plain pandas: the twin of components/checks.

Only those that look at rows alone; later ones have their own tests.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from components.records import Parsed, RawReply
from components.sessions import ALWAYS_OPEN, Calendars, length
from components.tables import ACTIONS, CANDLES, QUARANTINE

PRICES = ["open", "high", "low", "close"]
DAY = pd.Timedelta(days=1)

# A share of Berkshire costs 1e6; of a meme coin 1e15 change hands in a day.
LARGEST = 1e18

# Prices come as 32-bit floats, good to about 1e-7.
FLOAT_NOISE = 1e-6

# A hundredfold error (pence for pounds) is seen beside the day's own move: 80 to 125 times.
HUNDREDFOLD_SLACK = math.log(1.25)

# A split's ratio is seen beside the day's own move of up to 10 % of its logarithm, at most
# 10 %. Small ratios look like a bad day, so they count only near the split's date.
SPLIT_SLACK, SMALLEST_RATIO, TELLING_RATIO, NEAR_BARS = 0.10, 1.5, 4.0, 30

# Corrections of stored closes stay far below this; another instrument seldom does.
OTHER_INSTRUMENT = math.log(1.5)

# What splits and units multiply by.
FACTORS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50, 100, 1000)
SIZES = [sign * math.log(factor) for sign in (1, -1) for factor in FACTORS]

# A dividend of a tenth of the price must show in the price: a quarter of it at least.
LARGE_DIVIDEND, SHOWN_SHARE = 0.10, 0.25

# Weekly payers pay the same amount every seven days.
REPEATED_WITHIN = pd.Timedelta(days=4)

Mask = np.ndarray


@dataclass(frozen=True)
class Known:
    """What the checks know beside the rows: stored candles, and the replies' actions."""

    stored: pd.DataFrame
    actions: pd.DataFrame


def no_time(rows: pd.DataFrame, known: Known) -> Mask:
    """The row's text is no time."""
    return rows["ts"].isna().to_numpy()


def future(rows: pd.DataFrame, known: Known) -> Mask:
    """The bar opens after the run; a session's date may run a day ahead of UTC."""
    return (rows["ts"] > rows["known_at"] + rows["is_daily"].astype(int) * DAY).to_numpy()


def unfinished_bar(rows: pd.DataFrame, known: Known) -> Mask:
    """The bar had not closed when the provider stated it, or when the run began."""
    return (rows["closes_at"] > rows[["observed_at", "known_at"]].min(axis=1)).to_numpy()


def before_listing(rows: pd.DataFrame, known: Known) -> Mask:
    """Empty rows before the first price of the reply, and of what is stored: padding."""
    is_priced = rows[PRICES].notna().any(axis=1)
    if not known.stored.empty:
        is_priced |= rows["ts"] >= rows["symbol"].map(known.stored.groupby("symbol")["ts"].min())
    return (is_priced.groupby(rows["reply"]).cumsum() == 0).to_numpy()


def null_price(rows: pd.DataFrame, known: Known) -> Mask:
    """A price is missing."""
    return rows[PRICES].isna().any(axis=1).to_numpy()


def not_finite(rows: pd.DataFrame, known: Known) -> Mask:
    """A price or the volume is infinite, or larger than any market's."""
    values = rows[[*PRICES, "volume"]].to_numpy(dtype=float)
    return np.asarray((np.abs(values) > LARGEST).any(axis=1))


def price_not_positive(rows: pd.DataFrame, known: Known) -> Mask:
    """A price is zero or below."""
    return (rows[PRICES] <= 0).any(axis=1).to_numpy()


def ohlc_order(rows: pd.DataFrame, known: Known) -> Mask:
    """The high is below, or the low above, the open or the close."""
    top, bottom = rows[["open", "close"]].max(axis=1), rows[["open", "close"]].min(axis=1)
    is_low = rows["high"] < top * (1 - FLOAT_NOISE)
    is_high = rows["low"] > bottom * (1 + FLOAT_NOISE)
    return (is_low | is_high).to_numpy()


def negative_volume(rows: pd.DataFrame, known: Known) -> Mask:
    """The volume is below zero; no volume at all is well (funds, indices, currencies)."""
    return (rows["volume"] < 0).to_numpy()


def off_grid(rows: pd.DataFrame, known: Known) -> Mask:
    """The bar does not open where bars of its interval open."""
    return ~rows["on_grid"].to_numpy(dtype=bool)


def not_a_session(rows: pd.DataFrame, known: Known) -> Mask:
    """No volume on a day on which the exchange is closed; with volume it did trade."""
    is_idle = ~(rows["volume"] > 0)
    return (rows["is_daily"] & ~rows["is_session"] & is_idle).to_numpy(dtype=bool)


def repeated_bar(rows: pd.DataFrame, known: Known) -> Mask:
    """The same bar with the same values comes again later in the reply."""
    return rows.duplicated(["reply", "ts", *PRICES, "volume"], keep="last").to_numpy()


def conflicting_copy(rows: pd.DataFrame, known: Known) -> Mask:
    """Another file of the instrument, which reaches farther, states the bar otherwise."""
    best = rows.groupby(["reply", "ts"])["copy"].transform("max")
    return (rows["copy"] < best).to_numpy()


def duplicate_bar(rows: pd.DataFrame, known: Known) -> Mask:
    """The same bar comes again later in the reply, with other values."""
    return rows.duplicated(["reply", "ts"], keep="last").to_numpy()


def copied_bar(rows: pd.DataFrame, known: Known) -> Mask:
    """The bar before, said again: all four prices at its close, and its very volume.

    A feed that hangs repeats itself; trade does not come out at the same volume twice while
    no price moves.
    """
    before = rows.groupby("reply")[["close", "volume"]].shift()
    is_flat = (rows["high"] == rows["low"]) & (rows["open"] == rows["close"])
    is_same = (rows["close"] == before["close"]) & (rows["volume"] == before["volume"])
    return (rows["is_daily"] & is_flat & is_same & (rows["volume"] > 0)).to_numpy()


def hundredfold(rows: pd.DataFrame, known: Known) -> Mask:
    """Prices are 100 times or 1/100 of those before: pence for pounds.

    Either within the bar (high / low), or from the close before to both open and close; then
    every bar is refused until the prices come back. Coins are exempt.
    """
    is_exempt = rows["calendar"] == ALWAYS_OPEN
    within = ~is_exempt & _is_near(_log(rows["high"] / rows["low"]), math.log(100))
    series = rows[~within & ~is_exempt]
    before = _closes_before(series, known)
    by_close = _log(series["adjusted_close"] / before)
    by_open = _log(series["open"] / series["later_ratios"] / before)
    refused = within.copy()
    for _, own in series.groupby("reply"):
        level, levels = 0, []
        for row in own.index:
            for sign in (1, -1):
                off = [abs(by[row] - sign * math.log(100)) for by in (by_close, by_open)]
                if max(off) < math.log(2) and min(off) < math.log(1.5):
                    level += sign
            levels.append(level)
        refused[own.index] = _off_levels(levels, own, before[own.index[0]], known)
    return refused.to_numpy(dtype=bool)


def _off_levels(levels: list[int], own: pd.DataFrame, anchor: float, known: Known) -> list[bool]:
    away = [level != 0 for level in levels]
    if not any(away) or not math.isnan(anchor):
        return away
    for level, ts, close in zip(levels, own["ts"], own["close"], strict=True):
        stored = _stored_of(own, known)
        stored = stored[stored["ts"] == ts] if len(stored) else stored
        if len(stored) and abs(math.log(close / stored["close"].iloc[0])) < HUNDREDFOLD_SLACK:
            return [other != level for other in levels]
    n_first = away.index(True)
    behind = away[n_first:]
    if False in behind:
        is_short = behind.index(False) <= max(3, n_first)
        if is_short or away.count(False) >= 10 * away.count(True):
            return away
    return [True] * len(away) if n_first <= 60 else away


def split_not_applied(rows: pd.DataFrame, known: Known) -> Mask:
    """The provider forgot to restate the row by a later split that it names itself.

    Seen by a jump of exactly the split's ratio on another date. Rows before such a jump, back
    to the jump that undoes it, are refused.
    """
    refused = np.zeros(len(rows), dtype=bool)
    splits = known.actions[known.actions["kind"] == "split"]
    place_of = rows.groupby("reply").indices
    for reply, ts, ratio in zip(splits["reply"], splits["ts"], splits["value"], strict=True):
        place = place_of.get(reply)
        if place is not None and abs(math.log(ratio)) >= math.log(SMALLEST_RATIO):
            refused[place] |= _unapplied(rows.iloc[place], ts, ratio)
    return refused


def _unapplied(rows: pd.DataFrame, ts: pd.Timestamp, ratio: float) -> Mask:
    size = math.log(ratio)
    before = rows["adjusted_close"].shift()
    by_close = _log(rows["adjusted_close"] / before).to_numpy()
    by_open = _log(rows["open"] / rows["later_ratios"] / before).to_numpy()
    slack = min(SPLIT_SLACK, SPLIT_SLACK * abs(size))
    starts = (np.abs(by_close + size) < slack) & (np.abs(by_open + size) < 2 * slack)
    ends = (np.abs(by_close - size) < slack) & (np.abs(by_open - size) < 2 * slack)
    is_before = (rows["ts"] < ts).to_numpy()
    last = int(is_before.sum())
    usable = np.arange(len(rows)) <= last
    if abs(size) < math.log(TELLING_RATIO):
        usable &= np.arange(len(rows)) > last - NEAR_BARS
    event = pd.Series(np.where(usable & starts, 1.0, np.where(usable & ends, 0.0, np.nan)))
    state = event.shift(-1).bfill().fillna(0.0)
    return np.asarray((state == 1.0) & is_before)


def other_instrument(rows: pd.DataFrame, known: Known) -> Mask:
    """The closes are not those stored for the same bars: the name was given to another.

    Then the whole reply is kept aside.
    """
    if known.stored.empty:
        return np.zeros(len(rows), dtype=bool)
    both = rows[["reply", "symbol", "interval", "ts", "close"]].merge(
        known.stored[["symbol", "interval", "ts", "close"]],
        on=["symbol", "interval", "ts"],
        suffixes=("", "_stored"),
    )
    apart = _log(both["close"] / both["close_stored"]).abs().groupby(both["reply"]).median()
    return rows["reply"].isin(apart.index[apart > OTHER_INSTRUMENT]).to_numpy()


def other_copy(rows: pd.DataFrame, known: Known) -> Mask:
    """All rows of a file that is of another instrument than another file of the same name."""
    refused = pd.Series(False, index=rows.index)
    for _, own in rows.groupby("reply"):
        bars = own[own["ts"].notna() & (own["close"] > 0) & np.isfinite(own["close"])]
        bars = bars.drop_duplicates(["ts", "copy"], keep="last")
        closes = {copy: of.set_index("ts")["close"] for copy, of in bars.groupby("copy")}
        stored = _stored_of(own, known)
        at = stored.set_index("ts")["close"] if len(stored) else pd.Series(dtype=float)
        rank = {}
        for copy, close in closes.items():
            apart = _log((close / at).dropna()).abs() if len(at) else at
            rank[copy] = (not apart.median() > OTHER_INSTRUMENT, len(close), copy)
        for one, close in closes.items():
            for other, close_other in closes.items():
                apart = _log((close / close_other).dropna()).abs()
                if len(apart) >= 3 and apart.median() > OTHER_INSTRUMENT:
                    worse = min(rank[one], rank[other])[2]
                    refused[own.index[own["copy"] == worse]] = True
    return refused.to_numpy(dtype=bool)


def bad_tick(rows: pd.DataFrame, known: Known) -> Mask:
    """A bar, or a run of them, off by a factor, and back where it was."""
    refused = pd.Series(False, index=rows.index)
    before = _closes_before(rows, known)
    bars = rows[["reply", "volume"]].assign(
        before=before,
        close=rows["adjusted_close"],
        **{name: rows[name] / rows["later_ratios"] for name in ("open", "high", "low")},
    )
    for _, own in bars.groupby("reply"):
        records = own.to_dict("records")
        refused[own.index] = [
            a or b for a, b in zip(_far_off(records), _by_a_factor(records), strict=True)
        ]
    return refused.to_numpy(dtype=bool)


Bars = list[dict[str, float]]


def _far_off(bars: Bars) -> list[bool]:
    refused = [False] * len(bars)
    for n in (1, 2, 3):
        found = []
        for i in range(len(bars) - n):
            base, run, back = bars[i]["before"], bars[i : i + n], bars[i + n]
            slack = min(0.1 * abs(math.log(bars[i]["close"] / base)), HUNDREDFOLD_SLACK)
            ways = [abs(math.log(back[name] / base)) for name in ("open", "close")]
            is_up = all(bar["low"] >= 3 * base for bar in run)
            is_down = all(bar["high"] * 3 <= base for bar in run)
            if (is_up or is_down) and max(ways) < slack and not any(refused[i : i + n]):
                found.append(i)
        for i in found:
            refused[i : i + n] = [True] * n
    return refused


def _by_a_factor(bars: Bars) -> list[bool]:
    refused = [False] * len(bars)
    steps = [math.log(bar["open"] / bar["before"]) for bar in bars]
    ended = -1
    for start in range(len(bars)):
        # Of two sizes that the steps may be of, the shorter way back comes first.
        ends = [end for size in SIZES if (end := _way_back(bars, steps, start, size)) is not None]
        for end in sorted(set(ends)):
            if start > ended:
                refused[start:end], ended = [True] * (end - start), end
    return refused


def _way_back(bars: Bars, steps: list[float], start: int, size: float) -> int | None:
    whole = abs(size)
    slack = 0.05 if whole < math.log(3.01) else min(0.07 * whole, HUNDREDFOLD_SLACK)
    large = [i for i, step in enumerate(steps) if abs(step) >= math.log(1.4)]
    if start not in large or not abs(steps[start] - size) < slack:
        return None
    ends = [end for end in large if end > start and abs(steps[end] + size) < slack]
    if not ends or ends[0] - start > 20:
        return None
    back, n = bars[ends[0]], ends[0] - start
    move = abs(math.log(back["open"] / bars[start]["before"]))
    round_it = [*bars[max(start - 1, 0) : start], back]
    trades = any(bar["volume"] > 0 for bar in bars)
    is_thin = trades and any(bar["volume"] == 0 for bar in round_it)
    run, base = bars[start : ends[0]], bars[start]["before"]
    if size > 0:
        top = max(base, *(bar["high"] for bar in round_it))
        is_beside = min(bar["low"] for bar in run) > top
    else:
        bottom = min(base, *(bar["low"] for bar in round_it))
        is_beside = max(bar["high"] for bar in run) < bottom
    is_back = move < min(0.10 * math.sqrt(n), whole / 2)
    return ends[0] if is_back and is_beside and not is_thin else None


def dividend_out_of_scale(actions: pd.DataFrame, rows: pd.DataFrame) -> Mask:
    """A dividend of a tenth of the price or more that the price did not notice."""
    bars = rows[["reply", "ts", "open", "later_ratios", "adjusted_close"]]
    bars = bars.drop_duplicates(["reply", "ts"], keep="last")
    bars["before"] = bars.groupby("reply")["adjusted_close"].shift()
    bars["lowest"] = np.minimum(bars["open"] / bars["later_ratios"], bars["adjusted_close"])
    both = actions.merge(bars, on=["reply", "ts"], how="left", suffixes=("", "_bar"))
    # In the provider's own units, in which a split on the same day makes no jump.
    share = both["value"] / both["later_ratios"] / both["before"]
    fall = 1 - both["lowest"] / both["before"]
    is_odd = (share >= LARGE_DIVIDEND) & (fall < SHOWN_SHARE * share)
    return np.asarray(is_odd & (actions["kind"].to_numpy() == "dividend"), dtype=bool)


def repeated_dividend(actions: pd.DataFrame, rows: pd.DataFrame) -> Mask:
    """The same amount again within four days: the earlier is the slip."""
    following = actions.groupby(["reply", "kind"])[["ts", "value"]].shift(-1)
    is_soon = following["ts"] - actions["ts"] <= REPEATED_WITHIN
    is_same = following["value"] == actions["value"]
    return np.asarray(is_soon & is_same & (actions["kind"] == "dividend"))


def later_ratios_of(rows: pd.DataFrame, actions: pd.DataFrame) -> np.ndarray:
    """Multiply, for each row, the ratios of its reply's splits after it."""
    factor = np.ones(len(rows))
    splits = actions[actions["kind"] == "split"]
    place_of = rows.groupby("reply").indices if len(splits) else {}
    for reply, ts, ratio in zip(splits["reply"], splits["ts"], splits["value"], strict=True):
        place = place_of.get(reply, np.array([], dtype=int))
        is_before = (rows["ts"].iloc[place] < ts).to_numpy()
        factor[place[is_before]] *= ratio
    return factor


def _stored_of(own: pd.DataFrame, known: Known) -> pd.DataFrame:
    """The stored candles of the instrument of a reply's rows."""
    if known.stored.empty:
        return known.stored
    is_own = known.stored["symbol"] == own["symbol"].iloc[0]
    return known.stored[is_own & (known.stored["interval"] == own["interval"].iloc[0])]


def _closes_before(rows: pd.DataFrame, known: Known) -> pd.Series:
    """The adjusted close before each row.

    A reply's first has the last one that is stored, or of the reply before it.
    """
    before = rows.groupby("reply")["adjusted_close"].shift()
    replies = [own for _, own in rows.groupby("reply")]
    replies.sort(key=lambda own: own["ts"].iloc[0])
    last: dict[tuple[str, str], pd.DataFrame] = {}
    for own in replies:
        first, key = own["ts"].iloc[0], (own["symbol"].iloc[0], own["interval"].iloc[0])
        found = []
        if key in last and last[key]["ts"].iloc[-1] < first:
            found.append(last[key].iloc[-1])
        last[key] = own
        stored = _stored_of(own, known)
        if len(stored):
            stored = stored[stored["ts"] <= first].sort_values("ts")
            found.extend(row for _, row in stored.iloc[-1:].iterrows())
        if found:
            anchor = max(reversed(found), key=lambda row: row["ts"])
            only = pd.DataFrame({"reply": own["reply"].iloc[:1], "ts": [anchor["ts"]]})
            before[own.index[0]] = anchor["close"] / later_ratios_of(only, known.actions)[0]
    return before


def _log(ratio: pd.Series) -> pd.Series:
    return pd.Series(np.log(ratio.to_numpy(dtype=float)), index=ratio.index)


def _is_near(values: pd.Series, target: float) -> pd.Series:
    return (values - target).abs() < HUNDREDFOLD_SLACK


Check = Callable[[pd.DataFrame, Known], np.ndarray]
ActionCheck = Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]

CHECKS: Final[dict[str, Check]] = {
    "no_time": no_time,
    "future": future,
    "unfinished_bar": unfinished_bar,
    "before_listing": before_listing,
    "null_price": null_price,
    "not_finite": not_finite,
    "price_not_positive": price_not_positive,
    "ohlc_order": ohlc_order,
    "negative_volume": negative_volume,
    "off_grid": off_grid,
    "not_a_session": not_a_session,
    "repeated_bar": repeated_bar,
    "conflicting_copy": conflicting_copy,
    "duplicate_bar": duplicate_bar,
    "hundredfold": hundredfold,
    "split_not_applied": split_not_applied,
    "other_instrument": other_instrument,
    "copied_bar": copied_bar,
    "bad_tick": bad_tick,
}


ACTION_CHECKS: Final[dict[str, ActionCheck]] = {
    "dividend_out_of_scale": dividend_out_of_scale,
    "repeated_dividend": repeated_dividend,
}

# What happens every day to good data.
QUIET = frozenset({"unfinished_bar", "before_listing", "repeated_bar"})
TOLD = (frozenset(CHECKS) | frozenset(ACTION_CHECKS)) - QUIET


def apply(
    parsed: Sequence[tuple[RawReply, Parsed]], stored: pd.DataFrame, calendars: Calendars
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Check the rows of many replies at once.

    Parameters
    ----------
    parsed : sequence of (RawReply, Parsed)
        Any number of instruments; rows in any order.
    stored : DataFrame
        The candles known already, latest versions, of the same instruments and span; may be
        empty.
    calendars : Calendars
        Which calendar an instrument follows.

    Returns
    -------
    candles, actions, quarantine : DataFrame
        In the columns of CANDLES, ACTIONS and QUARANTINE. Rows outside of what the request
        asked for are in none of them; they stay in the raw reply. In the quarantine ``line``
        is the row's place in the reply, from 0, and for an action -1, -2, ...
    """
    rows, actions = _gather(parsed, calendars)
    known = Known(stored, actions)
    failed = pd.Series(None, index=rows.index, dtype=object)
    for name, check in [("other_instrument", other_copy), *CHECKS.items()]:
        left = rows[failed.isna()]
        if left.empty:
            break
        failed.loc[left.index[check(left, known)]] = name
    good = rows[failed.isna()]
    # A high below the close does not spoil the close, by which a dividend is measured.
    priced = rows[failed.isna() | (failed == "ohlc_order")]
    of_others = rows[(failed == "other_instrument") & ~rows["reply"].isin(good["reply"])]
    action_failed = _check_actions(actions, priced, of_others)
    is_asked = rows["ts"].isna() | ((rows["ts"] >= rows["since"]) & (rows["ts"] < rows["until"]))
    quarantine = pd.concat(
        [
            _quarantined(rows[is_asked], failed[is_asked], [*PRICES, "volume"]),
            _quarantined(actions, action_failed, ["kind", "value"]),
        ],
        ignore_index=True,
    )
    return (
        good.loc[is_asked[good.index], list(CANDLES.columns)].reset_index(drop=True),
        actions.loc[action_failed.isna(), list(ACTIONS.columns)].reset_index(drop=True),
        quarantine,
    )


def _check_actions(
    actions: pd.DataFrame, priced: pd.DataFrame, of_others: pd.DataFrame
) -> pd.Series:
    failed = pd.Series(None, index=actions.index, dtype=object)
    if actions.empty:
        return failed
    failed[actions["reply"].isin(of_others["reply"].unique())] = "other_instrument"
    for name, check in ACTION_CHECKS.items():
        left = actions[failed.isna()]
        failed.loc[left.index[check(left, priced)]] = name
    return failed


def _gather(
    parsed: Sequence[tuple[RawReply, Parsed]], calendars: Calendars
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put all replies into one table of rows, oldest first, and one of actions."""
    replies = _replies([reply for reply, _ in parsed], calendars)
    rows = _stacked([one.candles for _, one in parsed], replies)
    if "copy" not in rows:
        rows["copy"] = 0
    rows["copy"] = rows["copy"].fillna(0).astype(int)
    rows["observed_at"] = (
        rows["observed_at"].fillna(rows["reply_observed_at"])
        if "observed_at" in rows
        else rows["reply_observed_at"]
    )
    rows = rows.sort_values(["reply", "ts", "copy", "line"], kind="stable", ignore_index=True)
    rows = _with_sessions(rows, calendars)
    rows["hours"] = None
    actions = _stacked([one.actions for _, one in parsed], replies)
    actions = actions[actions["ts"] <= actions["known_at"]]
    actions = actions.sort_values(["reply", "ts", "kind"], kind="stable", ignore_index=True)
    actions["line"] = -1 - actions.groupby("reply").cumcount()
    rows["later_ratios"] = later_ratios_of(rows, actions)
    rows["adjusted_close"] = rows["close"] / rows["later_ratios"]
    return rows, actions


def _replies(replies: Sequence[RawReply], calendars: Calendars) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "reply": np.arange(len(replies)),
            "symbol": [reply.request.symbol for reply in replies],
            "interval": [reply.request.interval for reply in replies],
            "calendar": [calendars.of(reply.request.symbol) for reply in replies],
            "since": [reply.request.since for reply in replies],
            "until": [reply.request.until for reply in replies],
            "known_at": [reply.request.as_of for reply in replies],
            "reply_observed_at": [reply.observed_at for reply in replies],
            "source": [reply.source for reply in replies],
            "raw": [hashlib.sha256(reply.body).hexdigest() for reply in replies],
        }
    )


def _stacked(tables: list[pd.DataFrame], replies: pd.DataFrame) -> pd.DataFrame:
    counts = [len(table) for table in tables]
    of_reply = replies.loc[replies.index.repeat(counts)].reset_index(drop=True)
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat([pd.concat(filled, ignore_index=True), of_reply], axis=1)


def _with_sessions(rows: pd.DataFrame, calendars: Calendars) -> pd.DataFrame:
    """Add what the calendars know; instruments of one calendar are asked for together."""
    closes_at = pd.Series(pd.NaT, index=rows.index, dtype=rows["ts"].dtype)
    is_session = np.ones(len(rows), dtype=bool)
    on_grid = np.ones(len(rows), dtype=bool)
    is_daily = np.zeros(len(rows), dtype=bool)
    for place in rows.groupby(["calendar", "interval"]).indices.values():
        symbol, interval = (str(rows[name].iloc[place[0]]) for name in ("symbol", "interval"))
        ts = pd.DatetimeIndex(rows["ts"].iloc[place])
        closes_at.iloc[place] = calendars.closes(symbol, interval, ts)
        is_session[place] = calendars.is_session(symbol, ts)
        on_grid[place] = calendars.on_grid(symbol, interval, ts)
        is_daily[place] = length(interval) >= pd.Timedelta(days=1)
    return rows.assign(
        closes_at=closes_at, is_session=is_session, on_grid=on_grid, is_daily=is_daily
    )


def _quarantined(rows: pd.DataFrame, failed: pd.Series, shown: list[str]) -> pd.DataFrame:
    refused = rows[failed.notna()].copy()
    refused["check_name"] = failed[failed.notna()].astype(str)
    records = refused[shown].to_dict("records")
    refused["row_text"] = pd.Series(
        [json.dumps({k: _shown(v) for k, v in record.items()}) for record in records],
        index=refused.index,
        dtype=str,
    )
    return refused[list(QUARANTINE.columns)].reset_index(drop=True)


def _shown(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
