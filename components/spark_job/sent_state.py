"""The state that the driver sends of an instrument that it judged again, as one message. Pure."""

import numpy as np

from components.carried import Snapshot, State, named, scoped
from components.panels import Array
from components.state_rows import from_rows, to_rows


def sent(symbol: str, state: State, ts: np.ndarray, fields: Array, at: np.datetime64) -> bytes:
    """A message of the judgement's state (one series) and the last bars of a market's member.

    ``at`` is the instant by which the watermark lets it through: the newest candle's.
    """
    tail = {"ts": ts[None], "fields": fields[None]}
    both = {**named(state, "judge"), **named(tail, "tail"), "at": np.array([at], dtype="M8[us]")}
    return to_rows(Snapshot((symbol,), both))[0]


def opened_at(body: bytes) -> np.datetime64:
    """The instant by which the watermark lets it through."""
    return np.datetime64(from_rows(("",), [body]).state["at"][0])


def opened_tail(body: bytes) -> tuple[np.ndarray, Array]:
    """The last bars: ts, fields."""
    tail = scoped(from_rows(("",), [body]).state, "tail")
    return tail["ts"][0], tail["fields"][0]


def opened_state(body: bytes) -> bytes:
    """The judgement's state, as the state store keeps it."""
    judge = scoped(from_rows(("",), [body]).state, "judge")
    return to_rows(Snapshot(("",), judge))[0]
