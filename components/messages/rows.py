"""Candles, verdicts and alerts as messages, and messages as their tables; pure."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from components.messages.coding import (
    Coded,
    Unread,
    coded,
    decoded,
    milliseconds,
    milliseconds_or_null,
    or_null,
    parsed,
)
from components.messages.fields import LATEST, Malformed
from components.messages.shapes import ALERT, CANDLE, LONGEST, NUMBERS, VERDICT

# So far may a producer's clock be ahead, ms.
CLOCKS_APART = 60_000


def encode_candles(candles: pd.DataFrame, interval: str) -> list[Coded]:
    """Make a message of each closed candle: columns symbol, ts, open ... trades.

    ``known_at`` says when each was first known; the column may be absent.

    Raises
    ------
    ValueError
        When a price is not finite: such a candle is none.
    """
    columns: dict[str, list[Any]] = {
        "symbol": candles["symbol"].tolist(),
        "interval": [interval] * len(candles),
        "ts": milliseconds(candles["ts"]),
        **{name: candles[name].astype(float).tolist() for name in NUMBERS[:4]},
        **{name: or_null(candles[name]) for name in NUMBERS[4:]},
        "known_at": [None] * len(candles),
    }
    if "known_at" in candles:
        columns["known_at"] = milliseconds_or_null(candles["known_at"])
    return coded(CANDLE, columns, columns["symbol"])


def decode_candles(
    messages: Sequence[bytes | None], interval: str, until: pd.Timestamp | None = None
) -> tuple[pd.DataFrame, list[Unread]]:
    """Read messages of candles, in their order; one that is none gets a reason, and no error.

    Parameters
    ----------
    messages : sequence of bytes or None
        As they came, None where a message had no content.
    interval : str
        The bars' length; a candle of another is refused.
    until : Timestamp, optional
        The present: a candle that opens later is refused, for it would close all bars before it.

    Returns
    -------
    candles : DataFrame
        symbol, ts (datetime64[us, UTC]), open, high, low, close, volume, vwap, trades (float64),
        known_at (NaT where the message does not say).
    unread : list of (int, str)
        Place among ``messages`` and reason, of those that are not among the candles.
    """
    latest = LATEST if until is None else until.value // 1_000_000

    def wanted(row: tuple[Any, ...]) -> None:
        if row[1] != interval:
            raise Malformed(f"interval is {row[1]}, and {interval} is watched")
        if row[2] > latest:
            raise Malformed(f"ts is {row[2]}, which is yet to come")
        if row[-1] > latest + CLOCKS_APART:
            raise Malformed(f"known_at is {row[-1]}, which is yet to come")

    return decoded(CANDLE, messages, wanted)


def encode_verdicts(verdicts: pd.DataFrame) -> list[Coded]:
    """Make a message of each row of the ``verdicts`` table; ``parameters`` may be absent."""
    known = verdicts.get("parameters", pd.Series("", index=verdicts.index))
    columns: dict[str, list[Any]] = {
        **{name: verdicts[name].tolist() for name in ("symbol", "interval")},
        "ts": milliseconds(verdicts["ts"]),
        **{name: verdicts[name].tolist() for name in ("judge", "verdict", "level", "votes")},
        **{name: or_null(verdicts[name]) for name in ("p", "rate", "return")},
        "parameters": known.fillna("").tolist(),
    }
    return coded(VERDICT, columns, columns["symbol"])


def decode_verdicts(messages: Sequence[bytes | None]) -> tuple[pd.DataFrame, list[Unread]]:
    """Read messages of verdicts, as ``decode_candles`` does; the columns are the fields."""
    return decoded(VERDICT, messages)


def encode_alerts(alerts: pd.DataFrame) -> list[Coded]:
    """Make a message of each row of the ``alerts`` table; the key is the first instrument.

    Of an alert that no broker would take, the payload is left empty: it is in the warehouse.
    """
    columns: dict[str, list[Any]] = {
        **{name: alerts[name].tolist() for name in ("id", "kind", "interval")},
        "ts": milliseconds(alerts["ts"]),
        "symbols": [parsed(each) for each in alerts["symbols"]],
        "headline": alerts["headline"].tolist(),
        "payload": [parsed(each) for each in alerts["payload"]],
    }
    keys = [next(iter(each), "") for each in columns["symbols"]]
    made = coded(ALERT, columns, keys)
    short = coded(ALERT, {**columns, "payload": [{}] * len(alerts)}, keys)
    return [a if len(a[1]) <= LONGEST else b for a, b in zip(made, short, strict=True)]


def decode_alerts(messages: Sequence[bytes | None]) -> tuple[pd.DataFrame, list[Unread]]:
    """Read messages of alerts, as ``decode_candles`` does; symbols and payload are JSON texts."""
    return decoded(ALERT, messages)
