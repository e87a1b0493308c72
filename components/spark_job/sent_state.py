"""The state that the driver sends of an instrument that it judged again, as one message. Pure."""

from collections.abc import Mapping

import numpy as np

from components.carried import Snapshot, State, named, scoped
from components.panels import Array
from components.state_rows import from_rows, to_rows
from components.streaming.market_scan import start_scan

# The extent of each array of a message behind its first axis.
Layout = Mapping[str, tuple[int, ...]]

UNREADABLE = (ValueError, TypeError, LookupError, OverflowError, RecursionError)


def sent(symbol: str, state: State, ts: np.ndarray, fields: Array, at: np.datetime64) -> bytes:
    """A message of the judgement's state (one series) and the last bars of a market's member.

    ``at`` is the instant by which the watermark lets it through: the newest candle's.
    """
    tail = {"ts": ts[None], "fields": fields[None]}
    both = {**named(state, "judge"), **named(tail, "tail"), "at": np.array([at], dtype="M8[us]")}
    return to_rows(Snapshot((symbol,), both))[0]


def layout_of(judge: State) -> Layout:
    """What a message holds whose judgement carries such a state."""
    blank = start_scan(1)
    tail = {"ts": blank.ts, "fields": blank.fields}
    both = {**named(judge, "judge"), **named(tail, "tail"), "at": np.zeros(1)}
    return {name: a.shape[1:] for name, a in both.items()}


def trouble_with(body: bytes, layout: Layout, came: np.datetime64) -> str:
    """Why a message is no state to go on from, nothing where it is one.

    ``came`` is when the broker had it: no candle was newer then.
    """
    try:
        state = from_rows(("",), [body]).state
        if {name: a.shape[1:] for name, a in state.items()} != layout:
            return "a state of another judgement"
        if not state["at"][0] <= came:
            return "ts is yet to come"
        instants = (state["at"], state["tail.ts"], state["judge.last_ts"])
        is_read = all(a.dtype.kind == "M" for a in instants) and all(
            state[name].dtype.kind in "biufM" for name in layout
        )
    except UNREADABLE:
        is_read = False
    return "" if is_read else "neither a candle nor a state"


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
