"""The state that the driver sends of an instrument that it judged again, as one message. Pure."""

import numpy as np

from components.carried import Snapshot, State, named, scoped
from components.panels import Array
from components.state_rows import from_rows, to_rows


def sent(symbol: str, state: State, ts: np.ndarray, fields: Array) -> bytes:
    """A message of the judgement's state (one series) and the last bars of a market's member."""
    tail = {"ts": ts[None], "fields": fields[None]}
    both = {**named(state, "judge"), **named(tail, "tail")}
    return to_rows(Snapshot((symbol,), both))[0]


def opened_tail(body: bytes) -> tuple[np.ndarray, Array]:
    """The last bars: ts, fields."""
    tail = scoped(from_rows(("",), [body]).state, "tail")
    return tail["ts"][0], tail["fields"][0]


def opened_state(body: bytes) -> bytes:
    """The judgement's state, as the state store keeps it."""
    judge = scoped(from_rows(("",), [body]).state, "judge")
    return to_rows(Snapshot(("",), judge))[0]
