"""What is known to have happened, and the largest moves: told or not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.ensemble import Decided, Ensemble
from components.evaluation.dated import dated_recall, is_meant
from components.evaluation.told import Told
from components.sessions import Calendars
from components.what_if.deciding import Outcome, Votes, within

TOLD, MISSED, NOT_JUDGED = "told", "missed", "not judged"


def untold(outcome: Outcome, since: pd.Timestamp, most: int) -> pd.DataFrame:
    """The largest moves with a verdict that are not told: symbol, ts, return, scale, p."""
    tables = []
    for votes, decided in zip(outcome.votes, outcome.decided, strict=True):
        is_quiet = within(votes, decided, since) & ~decided.is_anomaly
        size = np.where(is_quiet & np.isfinite(votes.move), np.abs(votes.move), -1.0)
        if not size.size:
            continue
        n = min(most, size.size)
        at = np.argpartition(size, size.size - n, axis=None)[size.size - n :]
        series, bars = np.unravel_index(at[size.flat[at] >= 0], size.shape)
        tables.append(
            pd.DataFrame(
                {
                    "symbol": np.array(votes.symbols, dtype=object)[series],
                    "ts": pd.DatetimeIndex(votes.ts[series, bars], tz="UTC"),
                    "return": votes.move[series, bars],
                    "scale": votes.scale[series, bars],
                    "p": decided.agreed_p[series, bars],
                }
            )
        )
    rows = pd.concat(tables, ignore_index=True)
    order = rows["return"].abs().sort_values(ascending=False, kind="stable").index
    return rows.loc[order[:most]].reset_index(drop=True)


def events_of(symbols: Sequence[str], events: pd.DataFrame, calendars: Calendars) -> pd.DataFrame:
    """The dated events of these instruments, each under the instrument's own name."""
    tables = [
        events[[is_meant(event, symbol, calendars) for event in events["symbol"]]].assign(
            symbol=symbol
        )
        for symbol in symbols
    ]
    return pd.concat(tables, ignore_index=True)


def fates(outcome: Outcome, events: pd.DataFrame, calendars: Calendars) -> list[str]:
    """Of each of ``events_of``: "told" (on the day or the next bar), "missed" or "not judged"."""
    judged: set[str] = set()
    missed: set[str] = set()
    for votes, decided in zip(outcome.votes, outcome.decided, strict=True):
        own = events[events["symbol"].isin(votes.symbols)]
        meant = np.flatnonzero(np.isin(votes.symbols, own["symbol"].unique()))
        if not len(meant):
            continue
        told = as_told(outcome.ensemble, votes, decided, meant)
        silent = replace(told, is_alert=np.zeros_like(told.is_alert))
        # Who tells nothing misses all that can be found.
        judged |= set(dated_recall(silent, own, calendars)["missed"])
        missed |= set(dated_recall(told, own, calendars)["missed"])
    names = [
        f"{symbol} {date:%Y-%m-%d}"
        for symbol, date in zip(events["symbol"], events["date"], strict=True)
    ]
    return [MISSED if name in missed else TOLD if name in judged else NOT_JUDGED for name in names]


def as_told(
    ensemble: Ensemble, votes: Votes, decided: Decided, series: npt.NDArray[np.intp]
) -> Told:
    """Some instruments' decisions as the evaluation takes them."""
    return Told(
        symbols=tuple(votes.symbols[at] for at in series),
        ts=votes.ts[series],
        is_alert=decided.is_anomaly[series],
        level=decided.level[series],
        surprise=-np.log(decided.agreed_p[series]),
        move=votes.move[series],
        scale=votes.scale[series],
        per_year=votes.per_year[series],
        alerts_per_year=ensemble.alerts_per_year,
    )
