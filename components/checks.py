"""Which rows are let in, and which are kept aside under the name of the check they failed.

A row is never repaired. It goes through the checks in the order of ``CHECKS`` and is kept
aside under the first that it fails.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from components import row_checks
from components.records import Parsed, RawReply
from components.sessions import Calendars, length
from components.tables import ACTIONS, CANDLES, QUARANTINE

Check = Callable[[pd.DataFrame, row_checks.Known], np.ndarray]
ActionCheck = Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]

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
    "hundredfold": row_checks.hundredfold,
    "split_not_applied": row_checks.split_not_applied,
    "other_instrument": row_checks.other_instrument,
    "copied_bar": row_checks.copied_bar,
}


ACTION_CHECKS: Final[dict[str, ActionCheck]] = {
    "dividend_out_of_scale": row_checks.dividend_out_of_scale,
    "repeated_dividend": row_checks.repeated_dividend,
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
    known = row_checks.Known(stored, actions)
    failed = pd.Series(None, index=rows.index, dtype=object)
    for name, check in CHECKS.items():
        left = rows[failed.isna()]
        if left.empty:
            break
        failed.loc[left.index[check(left, known)]] = name
    good = rows[failed.isna()]
    # A high below the close does not spoil the close, by which a dividend is measured.
    priced = rows[failed.isna() | (failed == "ohlc_order")]
    action_failed = _check_actions(actions, priced, rows[failed == "other_instrument"])
    is_asked = rows["ts"].isna() | ((rows["ts"] >= rows["since"]) & (rows["ts"] < rows["until"]))
    quarantine = pd.concat(
        [
            _quarantined(rows[is_asked], failed[is_asked], [*row_checks.PRICES, "volume"]),
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
    rows["later_ratios"] = row_checks.later_ratios_of(rows, actions)
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
