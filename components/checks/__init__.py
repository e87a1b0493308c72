"""Which rows are let in, and which are kept aside under the name of the check they failed.

A row is never repaired. It goes through the checks in the order of ``CHECKS`` and is kept
aside under the first that it fails. What a check of ``NOTES`` tells of is noted, and let in.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from components.checks import action_checks, price_checks, row_checks, series_checks, tick_checks
from components.checks.arrays import (
    NO_TIME,
    PRICES,
    Array,
    Gathered,
    Replies,
    Rows,
    alike,
    as_index,
    gather,
)
from components.checks.known import Known
from components.records import Parsed, RawReply
from components.sessions import ALWAYS_OPEN, Calendars
from components.tables import ACTIONS, CANDLES, QUARANTINE

Check = Callable[[Rows, Known], Array]
ActionCheck = Callable[[pd.DataFrame], Array]

CHECKS: Final[dict[str, Check]] = {
    "no_time": row_checks.no_time,
    "future": row_checks.future,
    "unfinished_bar": row_checks.unfinished_bar,
    "before_listing": row_checks.before_listing,
    "null_price": row_checks.null_price,
    "not_finite": row_checks.not_finite,
    "price_not_positive": row_checks.price_not_positive,
    "ohlc_order": row_checks.ohlc_order,
    "negative_volume": row_checks.negative_volume,
    "off_grid": row_checks.off_grid,
    "not_a_session": row_checks.not_a_session,
    "repeated_bar": row_checks.repeated_bar,
    "conflicting_copy": row_checks.conflicting_copy,
    "duplicate_bar": row_checks.duplicate_bar,
    "hundredfold": price_checks.hundredfold,
    "split_not_applied": price_checks.split_not_applied,
    "other_instrument": series_checks.other_instrument,
    "copied_bar": series_checks.copied_bar,
    "bad_tick": tick_checks.bad_tick,
    "rounded_price": price_checks.rounded_price,
    "dead_market": series_checks.dead_market,
}

# The row is let in, and noted in the quarantine.
NOTES: Final[dict[str, Check]] = {"volume_absent": series_checks.volume_absent}

ACTION_CHECKS: Final[dict[str, ActionCheck]] = {
    "dividend_out_of_scale": action_checks.dividend_out_of_scale,
    "repeated_dividend": action_checks.repeated_dividend,
}

# The amount may be right, and is let in: what is wrong are the provider's adjusted closes.
ACTION_NOTES: Final[dict[str, ActionCheck]] = {
    "dividend_not_adjusted": action_checks.dividend_not_adjusted,
    "dividend_adjusted_twice": action_checks.dividend_adjusted_twice,
}

# What the daily run finds when it asks a second source.
SOURCES_DISAGREE = "sources_disagree"

# What happens every day to good data.
QUIET = frozenset({"unfinished_bar", "before_listing", "repeated_bar"})
TOLD = frozenset({*CHECKS, *NOTES, *ACTION_CHECKS, *ACTION_NOTES, SOURCES_DISAGREE}) - QUIET

# Where no hours are to be told apart.
NEVER_CLOSED = [ALWAYS_OPEN, "24/5"]
HOURS = pd.array(["extended", "regular"], dtype="str")

# A row that failed no check.
PASSED = ""


def apply(
    parsed: Sequence[tuple[RawReply, Parsed]], stored: pd.DataFrame, calendars: Calendars
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Check the rows of many replies at once.

    Parameters
    ----------
    parsed : sequence of (RawReply, Parsed)
        Any number of instruments; rows in any order.
    stored : DataFrame
        The candles known already, latest versions, of the same instruments and span, and of
        the bars before it that ``dead_market`` looks back on; may be empty.
    calendars : Calendars
        Which calendar an instrument follows.

    Returns
    -------
    candles, actions, quarantine : DataFrame
        In the columns of CANDLES, ACTIONS and QUARANTINE. Rows outside of what the request
        asked for are in none of them; they stay in the raw reply. In the quarantine ``line``
        is the row's place in the reply, from 0, and for an action -1, -2, ...
    """
    gathered, actions = gather(parsed, calendars)
    rows = gathered.rows
    known = Known(stored, actions, rows.replies)
    good, failed = _sieved(rows, known)
    told = [(name, good.place[check(good, known)]) for name, check in NOTES.items()]
    refused = np.flatnonzero(failed != PASSED)
    of_action, noted = _check_actions(actions, gathered, failed)
    aside = [
        _aside(gathered, refused, failed[refused]),
        *(_aside(gathered, places, np.full(len(places), name)) for name, places in told),
        _actions_aside(actions, of_action, rows.replies),
        _actions_aside(actions, noted, rows.replies),
    ]
    filled = [table for table in aside if len(table)]
    quarantine = pd.concat(filled, ignore_index=True) if len(filled) > 1 else (filled or aside)[0]
    return (
        _candles(gathered, good, calendars),
        _of_replies(actions.loc[of_action == PASSED], rows.replies)[list(ACTIONS.columns)],
        quarantine,
    )


def _sieved(rows: Rows, known: Known) -> tuple[Rows, Array]:
    """Give the rows that pass every check, and the name of what each row failed: (n,)."""
    failed = np.full(len(rows), PASSED, dtype=object)
    # A file of another instrument goes as a whole, before its padding is told as holes.
    for name, check in (("other_instrument", series_checks.other_copy), *CHECKS.items()):
        if not len(rows):
            break
        refused = check(rows, known)
        if refused.any():
            failed[rows.place[refused]] = name
            rows = rows.take(~refused)
    return rows, failed


def _check_actions(actions: pd.DataFrame, gathered: Gathered, failed: Array) -> tuple[Array, Array]:
    """Name what each action failed, and what is to be noted of those that passed: (n,) each."""
    rows = gathered.rows
    names = np.full(len(actions), PASSED, dtype=object)
    noted = names.copy()
    if actions.empty:
        return names, noted
    reply = actions["reply"].to_numpy()
    # Where one file of several was refused, the actions are those of the others.
    is_other = np.isin(reply, rows.reply[failed == "other_instrument"])
    names[is_other & ~np.isin(reply, rows.reply[failed == PASSED])] = "other_instrument"
    # A high below the close does not spoil the close, by which a dividend is measured; nor
    # does it that nobody trades.
    priced = rows.take(np.isin(failed, [PASSED, "ohlc_order", "dead_market"]))
    measured = action_checks.measured(actions, priced, gathered.adj_close)
    for name, check in ACTION_CHECKS.items():
        left = np.flatnonzero(names == PASSED)
        names[left[check(measured.iloc[left].reset_index(drop=True))]] = name
    for name, check in ACTION_NOTES.items():
        noted[check(measured) & (names == PASSED)] = name
    return names, noted


def _is_asked(rows: Rows) -> Array:
    since, until = rows.of(rows.replies.since), rows.of(rows.replies.until)
    return np.asarray((rows.ts == NO_TIME) | ((rows.ts >= since) & (rows.ts < until)))


def _candles(gathered: Gathered, good: Rows, calendars: Calendars) -> pd.DataFrame:
    """The rows that passed, as far as they were asked for."""
    is_asked = _is_asked(good)
    if not is_asked.all():
        good = good.take(is_asked)
    place, replies = good.place, good.replies
    columns = {
        "symbol": replies.symbol.array.take(good.reply),
        "interval": replies.interval.array.take(good.reply),
        "ts": as_index(good.ts),
        **{name: getattr(good, name) for name in (*PRICES, "volume")},
        "vwap": gathered.vwap[place],
        "trades": gathered.trades[place],
        "hours": hours_of(good, calendars),
        "source": replies.source.array.take(good.reply),
        "known_at": as_index(good.of(replies.known_at)),
    }
    return pd.DataFrame(columns, columns=list(CANDLES.columns))


def _aside(gathered: Gathered, places: Array, names: Array) -> pd.DataFrame:
    """The rows at ``places``, as far as they were asked for, as rows of the quarantine."""
    if not len(places):
        return pd.DataFrame(columns=list(QUARANTINE.columns))
    rows = gathered.rows.take(places)
    kept = _is_asked(rows)
    names, rows = names[kept], rows.take(kept)
    cells = {name: getattr(rows, name) for name in (*PRICES, "volume")}
    table = pd.DataFrame({"reply": rows.reply, "line": gathered.line[rows.place]})
    table["ts"] = as_index(rows.ts)
    return _quarantined(table, names, pd.DataFrame(cells), rows.replies)


def _actions_aside(actions: pd.DataFrame, names: Array, replies: Replies) -> pd.DataFrame:
    refused = names != PASSED
    if not refused.any():
        return pd.DataFrame(columns=list(QUARANTINE.columns))
    rows = actions[refused].reset_index(drop=True)
    return _quarantined(rows, names[refused], rows[["kind", "value"]], replies)


def _quarantined(
    rows: pd.DataFrame, names: Array, cells: pd.DataFrame, replies: Replies
) -> pd.DataFrame:
    if rows.empty:
        return pd.DataFrame(columns=list(QUARANTINE.columns))
    texts = [
        json.dumps({name: _shown(value) for name, value in record.items()})
        for record in cells.to_dict("records")
    ]
    digests = {
        reply: hashlib.sha256(replies.raw[reply].body).hexdigest() for reply in set(rows["reply"])
    }
    table = _of_replies(rows, replies).assign(
        check_name=names.astype(str),
        row_text=pd.Series(texts, dtype=str),
        raw=rows["reply"].map(digests).astype(str),
    )
    return table[list(QUARANTINE.columns)]


def _of_replies(rows: pd.DataFrame, replies: Replies) -> pd.DataFrame:
    """Add what is said once a reply."""
    if rows.empty:
        return pd.DataFrame(columns=list(ACTIONS.columns))
    reply = rows["reply"].to_numpy()
    return rows.reset_index(drop=True).assign(
        symbol=replies.symbol.array.take(reply),
        interval=replies.interval.array.take(reply),
        source=replies.source.array.take(reply),
        known_at=as_index(replies.known_at[reply]),
    )


def hours_of(rows: Rows, calendars: Calendars) -> ExtensionArray:
    """Tell regular from extended hours; NaN for days and markets that never close."""
    codes = np.full(len(rows), -1)
    replies = rows.replies
    within = ~replies.is_daily & ~np.isin(replies.calendar, NEVER_CLOSED)
    for first, places in alike(replies, rows.reply) if within.any() else ():
        if within[first]:
            symbol, interval = replies.symbol.iloc[first], replies.interval.iloc[first]
            codes[places] = calendars.is_regular(symbol, interval, as_index(rows.ts[places]))
    return HOURS.take(codes, allow_fill=True)


def _shown(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
