"""The second stage: a shard of instruments judged as one panel, each with its own carried state.

Pure: Spark's processor hands over what its state store holds, and stores what comes back.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.carried import Snapshot, State
from components.ensemble import Ensemble, Judged
from components.features.channels import VECTOR
from components.panels import pack
from components.spark_job.columns import JUDGED, OUTRUN, VERDICT
from components.spark_job.sent_state import opened_state
from components.state_rows import from_rows, to_rows
from components.streaming.judge import StreamJudge
from components.verdicts import contribution_rows, score_rows, verdict_rows

# The driver says when it became known.
UNKNOWN = pd.Timestamp(0, tz="UTC")

UNSAID = ("interval", "judge", "known_at")


@dataclass(frozen=True)
class JudgeStage:
    """Judges the bars of some instruments; ``is_idle`` passes them on unjudged, to measure."""

    judge: StreamJudge
    is_idle: bool = False

    def take(
        self, held: Mapping[str, bytes | None], rows: pd.DataFrame
    ) -> tuple[dict[str, bytes], pd.DataFrame]:
        """Judge bars in order.

        Parameters
        ----------
        held : Mapping
            The carried state of each instrument of ``rows``; None before its first bar.
        rows : DataFrame
            In the columns ORDERED; one with ``carried`` puts that in place of the held state.

        Returns
        -------
        dict, DataFrame
            The new states; what was found, in the columns JUDGED.
        """
        is_state = rows["carried"].notna().to_numpy()
        is_marked = rows["mark"].notna().to_numpy()
        marked = rows[is_marked]
        marked = marked.assign(verdict=marked["mark"].to_numpy()).reindex(columns=list(JUDGED))
        sent, rows = rows[is_state], rows[~is_state & ~is_marked]
        held, replaced, outrun = _replaced(held, sent)
        after, said = {s: held[s] for s in replaced}, [marked, outrun]
        if len(rows):
            states, found = self._judged(held, rows)
            after.update(states)
            said.append(found)
        filled = [each for each in said if len(each)]
        found = pd.concat(filled) if len(filled) > 1 else (filled or [outrun])[0]
        return {s: body for s, body in after.items() if body is not None}, found

    def _judged(
        self, held: Mapping[str, bytes | None], rows: pd.DataFrame
    ) -> tuple[dict[str, bytes], pd.DataFrame]:
        if self.is_idle:
            return {}, _passed_on(rows)
        symbols = tuple(sorted(rows["symbol"].unique()))
        at = pd.Index(self.judge.symbols).get_indexer(pd.Index(symbols))
        panel = pack(rows, symbols, self.judge.round_the_clock)
        before = self._before(symbols, held)
        state, judged = self.judge.ensemble.run(before, panel, self.judge.rates[at])
        states = dict(zip(symbols, to_rows(Snapshot(symbols, state)), strict=True))
        return states, _found(judged, self.judge.ensemble, self.judge.interval, rows)

    def _before(self, symbols: tuple[str, ...], held: Mapping[str, bytes | None]) -> State:
        """The state of the instruments before their new bars."""
        state = dict(self.judge.ensemble.start(len(symbols)))
        known = tuple(s for s in symbols if held[s] is not None)
        if known:
            old = from_rows(known, [body for s in known if (body := held[s]) is not None])
            at = pd.Index(symbols).get_indexer(pd.Index(known))
            for name, a in old.state.items():
                state[name] = a if len(known) == len(symbols) else _put(state[name], at, a)
        return state


def _put(whole: np.ndarray, at: np.ndarray, part: np.ndarray) -> np.ndarray:
    whole = whole.astype(part.dtype)
    whole[at] = part
    return whole


def _replaced(
    held: Mapping[str, bytes | None], sent: pd.DataFrame
) -> tuple[dict[str, bytes | None], list[str], pd.DataFrame]:
    """The states with those that were sent in place; a row for each that came too late for it."""
    after, replaced, outrun = dict(held), [], []
    for symbol, message in sent[["symbol", "carried"]].itertuples(index=False):
        own, body = held[symbol], opened_state(bytes(message))
        if own is not None and _last_ts(body) < _last_ts(own):
            outrun.append(symbol)
        else:
            after[symbol] = body
            replaced.append(symbol)
    said = sent[sent["symbol"].isin(outrun)].assign(verdict=OUTRUN)
    return after, replaced, said.reindex(columns=list(JUDGED))


def _last_ts(body: bytes) -> np.datetime64:
    return np.datetime64(from_rows(("",), [body]).state["last_ts"][0])


def _passed_on(rows: pd.DataFrame) -> pd.DataFrame:
    """As many columns as a judgement has, and nothing in them."""
    said: dict[str, Any] = {"string": "undecided", "long": 0, "double": 0.5}
    columns = {name: said[kind] for name, kind in VERDICT.items()}
    rows = rows.assign(**columns, **dict.fromkeys(VECTOR, 0.5), beside=None)
    return rows[list(JUDGED)]


def _found(judged: Judged, ensemble: Ensemble, interval: str, rows: pd.DataFrame) -> pd.DataFrame:
    said = verdict_rows(judged, "", interval, UNKNOWN).drop(columns=list(UNSAID))
    series, bars = np.nonzero(judged.panel.is_bar)
    channels = dict(zip(VECTOR, judged.channels[:, series, bars], strict=True))
    unusual = judged.is_anomaly[series, bars]
    beside = np.full(len(said), None, dtype=object)
    if unusual.any():
        scores = score_rows(judged, ensemble.seats, interval, UNKNOWN, judged.is_anomaly)
        parts = contribution_rows(judged, interval, UNKNOWN)
        for i in np.flatnonzero(unusual):
            bar = tuple(said.loc[i, ["symbol", "ts"]])
            beside[i] = json.dumps([_of_bar(table, bar) for table in (scores, parts)])
    copied = [n for n in JUDGED if n not in said and n not in VECTOR and n != "beside"]
    # Both are ordered by instrument and bar.
    own = rows.sort_values(["symbol", "ts"], kind="stable")[copied]
    said = said.assign(**channels, beside=beside, **{str(n): own[n].to_numpy() for n in own})
    return said.assign(known_at=own["known_at"].to_numpy())[list(JUDGED)]


def _of_bar(table: pd.DataFrame, bar: tuple[str, pd.Timestamp]) -> list[Any]:
    """The rows of one bar, without what names the bar."""
    if not len(table):
        return []
    own = table[(table["symbol"] == bar[0]) & (table["ts"] == bar[1])]
    rows: list[Any] = own.drop(columns=["symbol", "ts", *UNSAID], errors="ignore").to_dict(
        "records"
    )
    return rows
