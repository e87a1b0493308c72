"""What the bands of a data set carry between runs: a snapshot that lies some days behind.

Payments are corrected for days: refunds, late postings, a month that is asked for again. The
snapshot is taken so far back that most corrections lie behind it, and what lies between is gone
through again by each run. A series with an older correction is gone through from its first bin.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from components.carried import Snapshot, State, from_arrow, to_arrow
from components.lake import state_key
from components.steps.measuring import HOP
from components.steps.parts import Parts
from components.tables import MEASURES

# The snapshot is so far behind the last bin, and is taken again once it is a day further.
BEHIND, EVERY = pd.Timedelta(days=7), pd.Timedelta(days=1)

# When each series' first and last bins are, and the first that became known lately.
SERIES = (
    HOP  # noqa: S608 - texts of the program alone
    + """, news as (
    select series, min(ts) filter (where known_at > %(since)s) as changed,
        min(ts) filter (where known_at > %(taken_at)s) as corrected
    from measures
    where known_at > least(%(since)s, %(taken_at)s) and known_at <= %(as_of)s
      and source = %(source)s and data_set = %(data_set)s and "interval" = %(interval)s
      and ts >= %(begin)s
    group by series
)
select f.series, f.first, n.changed, n.corrected from firsts f left join news n using (series)
order by f.series
"""
)

LAST = "last"


@dataclass(frozen=True)
class Kept:
    """A snapshot, the run that took it, and the last bin that it has seen."""

    snapshot: Snapshot
    taken_at: pd.Timestamp
    last: pd.Timestamp


def fingerprint(parts: Parts, data_set: str, name: str, band: object) -> str:
    """Under which name the state of these settings lies in the lake."""
    said = f"{band!r} {name} {parts.watch.zone} {parts.watch.holidays} {MEASURES.name}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:12]
    return f"bands-{data_set}-{parts.watch.interval}-{digest}"


def kept(parts: Parts, name: str, as_of: pd.Timestamp, blank: State) -> Kept | None:
    """The newest snapshot that a run not after ``as_of`` took; None where there is none."""
    found = parts.lake.latest_state(name, as_of)
    if found is None:
        return None
    try:
        snapshot = from_arrow(found[1])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        # A damaged cache is none: what it held is made again from history.
        return None
    if set(snapshot.state) != {*blank, LAST} or not len(snapshot.symbols):
        return None
    last = pd.Timestamp(snapshot.state[LAST][0], tz="UTC")
    state = {key: a for key, a in snapshot.state.items() if key != LAST}
    if any(state[key].shape[1:] != a.shape[1:] for key, a in blank.items()):
        return None
    return Kept(Snapshot(snapshot.symbols, state), found[0], last)


def keep(parts: Parts, name: str, snapshot: Snapshot, last: pd.Timestamp) -> None:
    """Write a snapshot behind the bin ``last``; of older ones the newest stays."""
    as_of = parts.run.as_of
    at = np.full(len(snapshot.symbols), np.datetime64(last.tz_convert(None), "us"))
    body = to_arrow(Snapshot(snapshot.symbols, {**snapshot.state, LAST: at}))
    before = parts.lake.latest_state(name, as_of - pd.Timedelta(seconds=1))
    parts.lake.put_state(name, as_of, body)
    stay = {state_key(name, as_of)} | ({state_key(name, before[0])} if before else set())
    parts.lake.delete_states(set(parts.lake.states(name.rpartition("-")[0])) - stay)


def series_of(
    parts: Parts,
    data_set: str,
    since: pd.Timestamp,
    taken_at: pd.Timestamp,
    begin: pd.Timestamp,
) -> pd.DataFrame:
    """The series of a data set: ``first``, and their oldest bins that are news; NaT for none.

    ``changed`` became known after ``since``, ``corrected`` after ``taken_at``. Bins before
    ``begin`` count not.
    """
    rows = parts.warehouse.query(
        SERIES,
        {
            "source": parts.source.name,
            "data_set": data_set,
            "interval": parts.watch.interval,
            "as_of": parts.run.as_of.to_pydatetime(),
            "since": since.to_pydatetime(),
            "taken_at": taken_at.to_pydatetime(),
            "begin": begin.to_pydatetime(),
        },
    )
    return rows.astype(dict.fromkeys(("first", "changed", "corrected"), "datetime64[us, UTC]"))
