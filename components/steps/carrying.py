"""The carried state between runs: a small ledger of all instruments, the rest in groups.

What the stages remember is about a hundred kilobytes an instrument, too much to hold for ten
thousand at once. It lies in the lake in groups, each read and written when its instruments
have news; the ledger says where. The ledger is written last: a run that was killed left
nothing that the next one would read.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from components.carried import Snapshot, from_arrow, to_arrow
from components.errors import LakeError
from components.lake import state_key, state_part
from components.steps.parts import Parts

# Instruments of a group: some tens of megabytes.
GROUP = 250

# Years since 1970 for which alerts are counted.
YEARS = 100

# A watch list without an instrument for so long has no such instrument.
LATELY = pd.Timedelta(days=31)

NEVER = np.datetime64("NaT", "us")


def snapshot_key(parts: Parts) -> str:
    """Under which name the carried state of these settings lies in the lake."""
    return f"{parts.watch.interval}-{parts.ensemble.fingerprint}"


def blank_ledger(symbols: tuple[str, ...]) -> Snapshot:
    """The ledger before the first bar.

    ``last_ts`` and ``n_bars`` as judged so far; ``decided`` and ``told`` bars by year since
    1970; ``group``, -1 before the first, and ``written``, the run that wrote its file last;
    ``seen``, the last run that watched the instrument.
    """
    n = len(symbols)
    return Snapshot(
        symbols,
        {
            "last_ts": np.full(n, NEVER),
            "n_bars": np.zeros(n, dtype=np.int64),
            "decided": np.zeros((n, YEARS), dtype=np.int32),
            "told": np.zeros((n, YEARS), dtype=np.int32),
            "group": np.full(n, -1, dtype=np.int64),
            "written": np.full(n, NEVER),
            "seen": np.full(n, NEVER),
        },
    )


def latest_ledger(
    parts: Parts, as_of: pd.Timestamp, symbols: tuple[str, ...]
) -> tuple[pd.Timestamp, Snapshot, set[str]] | None:
    """The newest ledger not newer than ``as_of``, its instant, and the instruments it has seen.

    It has a row for each of ``symbols``, and keeps the rows of others, whose groups they share.
    """
    found = parts.lake.latest_state(snapshot_key(parts), as_of)
    if found is None:
        return None
    old = _read(found[1])
    if old is None:
        return None
    new = tuple(sorted(set(symbols) - set(old.symbols)))
    blank = blank_ledger(new)
    state = {k: np.concatenate([old.state[k], a]) for k, a in blank.state.items()}
    ledger = Snapshot((*old.symbols, *new), state)
    # One that the last run did not watch may have bars that no run has judged.
    has_seen = state["seen"] == _us(found[0])
    is_lost = np.isin(state["group"], list(_lost_groups(parts, ledger)))
    has_seen &= ~is_lost
    # Nothing is to be read or merged of a file that is not there.
    state["written"][is_lost] = NEVER
    return found[0], ledger, {s for s, seen in zip(ledger.symbols, has_seen, strict=True) if seen}


def watched_lately(parts: Parts, as_of: pd.Timestamp) -> set[str]:
    """Instruments that this run leaves out and that one of the last weeks watched."""
    found = parts.lake.latest_state(snapshot_key(parts), as_of)
    ledger = None if found is None else _read(found[1])
    if ledger is None:
        return set()
    is_recent = ledger.state["seen"] > _us(as_of - LATELY)
    lately = {s for s, recent in zip(ledger.symbols, is_recent, strict=True) if recent}
    return lately - set(parts.watch.symbols)


def _lost_groups(parts: Parts, ledger: Snapshot) -> set[int]:
    """Groups whose file is gone: they are judged again from the first bar."""
    there = set(parts.lake.states(parts.watch.interval))
    return {group for group, key in _files(parts, ledger).items() if key not in there}


def _files(parts: Parts, ledger: Snapshot) -> dict[int, str]:
    """Where the state of each group lies."""
    fingerprint = snapshot_key(parts)
    return {
        int(group): state_part(fingerprint, pd.Timestamp(written, tz="UTC"), int(group))
        for group, written in zip(ledger.state["group"], ledger.state["written"], strict=True)
        if not np.isnat(written)
    }


def put_ledger(parts: Parts, ledger: Snapshot, as_of: pd.Timestamp) -> None:
    """Write the ledger, and delete every state that the newest two do not name.

    A state of earlier settings has not seen what was judged since: when they come back,
    everything is judged from the first bar.
    """
    seen = ledger.state["seen"].copy()
    seen[np.isin(ledger.symbols, parts.watch.symbols)] = _us(as_of)
    ledger = Snapshot(ledger.symbols, {**ledger.state, "seen": seen})
    fingerprint = snapshot_key(parts)
    before = parts.lake.latest_state(fingerprint, as_of - pd.Timedelta(seconds=1))
    parts.lake.put_state(fingerprint, as_of, to_arrow(ledger))
    kept = {state_key(fingerprint, as_of), *_files(parts, ledger).values()}
    if before is not None:
        kept.add(state_key(fingerprint, before[0]))
        old = _read(before[1])
        kept |= set() if old is None else set(_files(parts, old).values())
    parts.lake.delete_states(set(parts.lake.states(parts.watch.interval)) - kept)


def _read(body: bytes) -> Snapshot | None:
    try:
        found = from_arrow(body)
    except pa.ArrowInvalid:
        return None
    return found if set(found.state) == set(blank_ledger(()).state) else None


def _us(instant: pd.Timestamp) -> np.datetime64:
    return np.datetime64(instant.tz_convert(None), "us")


def with_groups(ledger: Snapshot, symbols: Iterable[str]) -> Snapshot:
    """Give those of ``symbols`` that have none a group."""
    at = pd.Index(ledger.symbols).get_indexer(pd.Index(sorted(symbols)))
    group = ledger.state["group"].astype(np.int64)
    homeless = at[group[at] < 0]
    group[homeless] = group.max(initial=-1) + 1 + np.arange(len(homeless)) // GROUP
    return Snapshot(ledger.symbols, {**ledger.state, "group": group})


def read_group(parts: Parts, ledger: Snapshot, group: int) -> Snapshot | None:
    """The state of a group's instruments; None before it was written.

    Raises
    ------
    LakeError
        The file that the ledger names is gone or damaged.
    """
    of_group = ledger.state["group"] == group
    written = ledger.state["written"][of_group]
    if not len(written) or np.isnat(written).all():
        return None
    at = pd.Timestamp(written[~np.isnat(written)].max(), tz="UTC")
    body = parts.lake.get_state_part(snapshot_key(parts), at, group)
    try:
        return from_arrow(body)
    except pa.ArrowInvalid as error:
        raise LakeError(
            f"lake {parts.lake.root}: the carried state of group {group} of {at:%Y-%m-%d} is "
            "damaged. Delete the folder state/ in the lake: it is rebuilt from history."
        ) from error


def write_group(
    parts: Parts, ledger: Snapshot, group: int, part: Snapshot, as_of: pd.Timestamp
) -> Snapshot:
    """Put new state into a group's file, and say in the ledger that it is there.

    A dry run writes none: the pieces of a group are of different instruments.
    """
    if parts.is_dry:
        return ledger
    members = np.array(ledger.symbols)[ledger.state["group"] == group]
    is_whole = set(part.symbols) == set(members)
    held = None if is_whole else read_group(parts, ledger, group)
    whole = part if held is None else merged(held, part)
    parts.lake.put_state_part(snapshot_key(parts), as_of, group, to_arrow(whole))
    written = ledger.state["written"].copy()
    written[ledger.state["group"] == group] = _us(as_of)
    return Snapshot(ledger.symbols, {**ledger.state, "written": written})


def merged(held: Snapshot, part: Snapshot) -> Snapshot:
    """``held`` with the rows of ``part`` in place of, or behind, its own."""
    kept = tuple(s for s in held.symbols if s not in set(part.symbols))
    rest = held.take(kept)
    state = {name: np.concatenate([rest.state[name], a]) for name, a in part.state.items()}
    return Snapshot((*kept, *part.symbols), state)


def updated(ledger: Snapshot, part: Snapshot) -> Snapshot:
    """The ledger with the counts of some instruments in place of the old ones."""
    at = pd.Index(ledger.symbols).get_indexer(pd.Index(part.symbols))
    state = dict(ledger.state)
    for name, values in part.state.items():
        state[name] = ledger.state[name].copy()
        state[name][at] = values
    return Snapshot(ledger.symbols, state)
