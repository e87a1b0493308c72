"""Trouble with data in sentences. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from components.records import Failure
from components.words import UNTIMED, clean, counted, moment

# A quarantine row names a case; more lines than this belong on the command line.
N_NOTES = 20


def data_notes(
    failures: Sequence[Failure] = (),
    stale: Mapping[str, tuple[Any, Any]] | None = None,
    missing: Mapping[str, Sequence[Any]] | None = None,
    quarantine: pd.DataFrame | None = None,
    interval: str = "1d",
    dead: Mapping[str, Sequence[Any]] | None = None,
    bar: str = "bar",
    zone: str = "UTC",
) -> tuple[str, ...]:
    """Trouble with data, a sentence each, at most twenty of a kind.

    Parameters
    ----------
    failures : sequence of Failure
        Requests that brought nothing.
    stale : Mapping
        Symbol to (last bar, expected bar).
    missing : Mapping
        Symbol to the opens of the bars that should exist and do not.
    quarantine : DataFrame
        check_name, n, symbol, ts: refused rows by check, with the first case; NaT where the
        rows have no time.
    dead : Mapping
        Symbol to the last bars let in before runs without trade and without a move.
    bar : str
        What one step of the time axis is called: "bar", or "bin" of measures.
    zone : str
        On whose clock bars are named; measures have the operator's.
    """
    return (
        *_capped([f"{clean(f.symbol, 60)}: {clean(f.message, 300)}" for f in failures]),
        *_capped([_stale(s, *bars, interval, bar, zone) for s, bars in (stale or {}).items()]),
        *_capped([_missing(s, ts, interval, bar, zone) for s, ts in (missing or {}).items()]),
        *_capped([_dead(symbol, t, interval) for symbol, ts in (dead or {}).items() for t in ts]),
        *_capped([] if quarantine is None else _quarantined(quarantine, interval)),
    )


def _capped(notes: list[str]) -> list[str]:
    more = len(notes) - N_NOTES
    if more <= 0:
        return notes
    return [*notes[:N_NOTES], f"and {more:,} more like these; see `python main.py status`"]


def _stale(symbol: str, last: Any, expected: Any, interval: str, bar: str, zone: str) -> str:
    name, wanted = clean(symbol, 60), moment(expected, interval, zone)
    if last is None or pd.isna(last):
        return f"{name}: no {bar} is known; {wanted} was expected"
    return f"{name}: the last {bar} is {moment(last, interval, zone)}; {wanted} was expected"


def _missing(symbol: str, ts: Sequence[Any], interval: str, bar: str, zone: str) -> str:
    named = [moment(t, interval, zone) for t in sorted(pd.Timestamp(t) for t in ts)]
    days = ", ".join(named) if len(named) <= 5 else f"{named[0]}, {named[1]} ... {named[-1]}"
    return f"{clean(symbol, 60)}: {counted(len(named), bar)} missing ({days})"


def _dead(symbol: str, ts: Any, interval: str) -> str:
    return (
        f"{clean(symbol, 60)}: nobody trades and the price stands still; bars after "
        f"{moment(ts, interval)} are kept aside as dead_market until it moves"
    )


def _quarantined(quarantine: pd.DataFrame, interval: str) -> list[str]:
    return [
        f"{counted(int(row['n']), 'row')} failed {clean(str(row['check_name']), 60)}; first: "
        f"{clean(str(row['symbol']), 60)} "
        f"{UNTIMED if pd.isna(row['ts']) else moment(row['ts'], interval)}. Kept in quarantine; "
        "see `python main.py status --quarantine`"
        for row in quarantine.to_dict("records")
    ]
