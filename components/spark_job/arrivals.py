"""Messages of the topics to rows: candles, states that the driver sends, and what is neither. Pure.

A candle became known when its message says, and no later than the broker had it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.messages import decode_candles
from components.spark_job.columns import ARRIVED
from components.spark_job.sent_state import Layout, opened_at, trouble_with

# What a row says where its message does not.
UNKNOWN: dict[str, Any] = {"is_passed": False, "carried": None, "reason": None, "message": None}

BRACE = b"{"


@dataclass(frozen=True)
class Reading:
    """How messages are read: the topic that the driver sends on, and who is watched.

    ``watch_list_of`` gives the calendar of each instrument that is watched; ``layout`` is that of
    the states which the driver sends.
    """

    driver_topic: str
    interval: str
    watch_list_of: Mapping[str, str]
    layout: Layout

    def read(self, messages: pd.DataFrame) -> pd.DataFrame:
        """The rows of messages (columns MESSAGE, times UTC), in the columns ARRIVED."""
        is_driver = (messages["topic"] == self.driver_topic).to_numpy()
        is_state = is_driver & ~messages["value"].map(_is_json).to_numpy(dtype=bool)
        tables = []
        if is_state.any():
            tables.append(self._states(messages[is_state]))
        if not is_state.all():
            rest = messages[~is_state]
            tables.append(self._candles(rest.reset_index(drop=True)))
        rows = pd.concat(tables) if len(tables) > 1 else tables[0]
        return rows.assign(watch_list=rows["symbol"].map(self.watch_list_of))[list(ARRIVED)]

    def _states(self, messages: pd.DataFrame) -> pd.DataFrame:
        messages = messages.reset_index(drop=True)
        keys = [None if k is None else bytes(k).decode(errors="replace") for k in messages["key"]]
        values = [None if value is None else bytes(value) for value in messages["value"]]
        came = pd.DatetimeIndex(messages["timestamp"]).tz_convert(None).to_numpy()
        said = [self._trouble(*of) for of in zip(keys, values, came, strict=True)]
        refused = {i: why for i, why in enumerate(said) if why}
        good = [i for i, why in enumerate(said) if not why]
        tables = [_refused(messages, values, refused)] if refused else []
        if good:
            rows = messages.iloc[good].drop(columns=["key", "value"])
            bodies = [body for i in good if (body := values[i]) is not None]
            own = {"symbol": [keys[i] for i in good], "carried": bodies}
            rows = rows.assign(**{**UNKNOWN, **own}, known_at=rows["timestamp"])
            at = np.array([opened_at(body) for body in bodies])
            ts = pd.DatetimeIndex(at, tz="UTC").as_unit("us")
            tables.append(rows.assign(ts=ts).reindex(columns=list(ARRIVED)))
        return pd.concat(tables) if len(tables) > 1 else tables[0]

    def _trouble(self, key: str | None, body: bytes | None, came: np.datetime64) -> str:
        if key not in self.watch_list_of:
            return "the instrument is not watched"
        return trouble_with(body or b"", self.layout, came)

    def _candles(self, messages: pd.DataFrame) -> pd.DataFrame:
        values = [None if value is None else bytes(value) for value in messages["value"]]
        # One that claims to be of tomorrow would close all bars before it.
        candles, unread = decode_candles(values, self.interval)
        refused = dict(unread)
        at = np.array([i for i in range(len(values)) if i not in refused], dtype=np.intp)
        where = messages[["topic", "partition", "offset", "timestamp"]].iloc[at]
        where = where.reset_index(drop=True)
        rows = pd.concat([candles, where], axis=1).assign(**UNKNOWN)
        rows["is_passed"] = rows["topic"] == self.driver_topic
        said, came = rows["known_at"], rows["timestamp"]
        rows["known_at"] = said.where(said <= came, came)
        late = rows["ts"] > came
        strange = ~rows["symbol"].isin(list(self.watch_list_of)) | late
        for i in np.flatnonzero(strange):
            reason = "ts is yet to come" if late.iloc[i] else "the instrument is not watched"
            refused[int(at[i])] = reason
        rows = rows[~strange].reindex(columns=list(ARRIVED))
        return pd.concat([rows, _refused(messages, values, refused)]) if refused else rows


def _refused(
    messages: pd.DataFrame, values: list[bytes | None], refused: Mapping[int, str]
) -> pd.DataFrame:
    at = sorted(refused)
    rows = messages.iloc[at].drop(columns=["key", "value", "timestamp"])
    said = {"reason": [refused[i] for i in at], "message": [values[i] for i in at]}
    rows = rows.assign(**{**UNKNOWN, **said}, known_at=messages["timestamp"].iloc[at])
    return rows.reindex(columns=list(ARRIVED))


def _is_json(value: bytes | None) -> bool:
    return value is not None and bytes(value[:1]) == BRACE
