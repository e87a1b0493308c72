"""What the computation of features carries from one command to the next: a cache in the lake.

It is behind the last bar before the span that was asked for last, so that a command over the
newest days reads little more than these. Some 12 kB an instrument.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from components.carried import Snapshot, from_arrow, to_arrow
from components.features import VERSION
from components.features.channels import Channels
from components.lake import state_key
from components.steps.carrying import merged
from components.steps.feature_rows import last_bars, nothing_behind
from components.steps.parts import Parts
from components.steps.restarts import restarted

SECOND, END_OF_TIME = pd.Timedelta(seconds=1), pd.Timestamp("2200-01-01", tz="UTC")


def carried_before(parts: Parts, symbols: Iterable[str], since: pd.Timestamp) -> Snapshot:
    """What is carried of those instruments that can go on from it, behind a bar before ``since``.

    The others are computed from their first bar: one of which nothing is carried, and one of
    whose bars up to there, or of what these were held against, something became known since.
    """
    held = _read(parts)
    last = last_bars(held)
    last = last[(last < since) & last.index.isin(list(symbols))]
    if last.empty:
        return nothing_behind(())
    as_of = parts.run.as_of
    after = pd.Timestamp(held.take(tuple(last.index)).state["as_of"].min(), tz="UTC")
    late = parts.warehouse.changed_up_to(last, parts.watch.interval, after, as_of)
    new = pd.DataFrame({"symbol": late, "ts": last[late].array})
    changed = restarted(parts, last, new, after, as_of)
    return held.take(tuple(sorted(set(last.index) - changed)))


def keep(parts: Parts, behind: Iterable[Snapshot]) -> None:
    """Carry this on; of instruments that are not in it, what was carried of them before.

    A command that looks back at an earlier instant keeps nothing.
    """
    as_of, name = parts.run.as_of, _name(parts)
    newest = parts.lake.latest_state(name, END_OF_TIME)
    if newest is not None and newest[0] > as_of:
        return
    begun = [part.take(_begun(part)) for part in behind]
    symbols = tuple(symbol for part in begun for symbol in part.symbols)
    if not symbols:
        return
    state = {k: np.concatenate([part.state[k] for part in begun]) for k in nothing_behind(()).state}
    state["as_of"] = np.full(len(symbols), as_of.tz_convert(None).asm8)
    parts.lake.put_state(name, as_of, to_arrow(merged(_read(parts), Snapshot(symbols, state))))
    others = set(parts.lake.states(_prefix(parts))) - {state_key(name, as_of)}
    parts.lake.delete_states(others)


def _begun(part: Snapshot) -> tuple[str, ...]:
    """The instruments of which a bar was seen."""
    return tuple(last_bars(part).dropna().index)


def _read(parts: Parts) -> Snapshot:
    """All that is carried; nothing where it is absent, damaged or of other features."""
    # Strictly before: a command of the same instant may have more candles than the first.
    found = parts.lake.latest_state(_name(parts), parts.run.as_of - SECOND)
    nothing = nothing_behind(())
    nothing = Snapshot((), {**nothing.state, "as_of": nothing.state["last"]})
    try:
        held = nothing if found is None else from_arrow(found[1])
    except pa.ArrowInvalid:
        return nothing
    return held if set(held.state) == set(nothing.state) else nothing


def _prefix(parts: Parts) -> str:
    return f"features-{parts.watch.interval}"


def _name(parts: Parts) -> str:
    """Changes whenever something does that would change a feature."""
    shapes = [(k, a.shape[1:], str(a.dtype)) for k, a in nothing_behind(()).state.items()]
    calendars = sorted(parts.calendars.overrides.items()), parts.calendars.of_venue
    made = repr((VERSION, Channels(), shapes, calendars))
    return f"{_prefix(parts)}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
