"""Judging on request: candles that someone sends, behind what is held of their instruments.

Nothing is stored. What is judged behind the carried state is what the next run would say of the
same candles, once their market is stored; before, the market's part of a move is unknown. What is
judged from its first bar is what a rebuild would say.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from components.carried import Snapshot
from components.ensemble import Judged
from components.records import Finding
from components.steps.bars import judged_bars
from components.steps.beside import Beside
from components.steps.findings import findings
from components.steps.gaps import regular
from components.steps.held_states import HeldStates, blank, last_bars
from components.steps.judging import Piece, judge_piece, rows_of
from components.steps.next_bars import NextBars
from components.steps.parts import Parts
from components.steps.screening import Screen
from components.tables import CANDLES, CHANNELS, CONTRIBUTIONS, SCORES, VERDICTS

log = logging.getLogger("tremor")

# Instruments judged together, so that memory stays bounded.
TOGETHER = 250

# Why a bar is not judged beside the checks: the last is the name of one.
JUDGED_BEFORE, EXTENDED, TWICE = "judged_before", "extended_hours", "duplicate_bar"

# What the next minute may judge otherwise.
OF_THE_CLOCK = frozenset({"future", "unfinished_bar"})


@dataclass(frozen=True)
class Asked:
    """Candles to judge: symbol, ts, open, high, low, close, volume, vwap and trades.

    Of a bar that comes twice the last counts. ``from_start``: from each instrument's first bar
    here, as if nothing were stored of it. ``reasons`` are wanted of "anomalies", "all" bars or
    "none".
    """

    candles: pd.DataFrame
    from_start: bool = False
    reasons: str = "anomalies"


@dataclass(frozen=True)
class Answer:
    """What was found, and the bars not judged: ``aside`` has symbol, ts and check_name.

    ``findings`` are the reasons, by symbol and ts.
    """

    judged: tuple[Judged, ...]
    aside: pd.DataFrame
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    @property
    def is_lasting(self) -> bool:
        """Whether the same question has the same answer until something new is stored."""
        return not OF_THE_CLOCK.intersection(self.aside["check_name"])


class RequestJudge:
    """Answers questions; holds states between them. One thread at a time may ask it.

    Parameters
    ----------
    parts : Parts
        Open for reading. Whoever notices that a run or another model came makes another judge.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._held = HeldStates(parts)
        self._next = NextBars(parts, self._held)

    def forget(self) -> None:
        """Let go of the states that are held."""
        self._held.forget()

    def judge(self, asked: Sequence[Asked], now: pd.Timestamp) -> list[Answer | Exception]:
        """Answer some questions; one that cannot be answered spoils none of the others."""
        single = [i for i, each in enumerate(asked) if _is_single(each)]
        quick = self._quick([asked[i].candles for i in single], now)
        found = {
            i: Answer((judged,), NOTHING) for i, judged in zip(single, quick, strict=True) if judged
        }
        return [found.get(i) or self._answered(each, now) for i, each in enumerate(asked)]

    def _quick(self, bars: Sequence[pd.DataFrame], now: pd.Timestamp) -> list[Judged | None]:
        """What the quick way finds; what it cannot do is for the long one to say."""
        try:
            return self._next.judge(bars, now)
        except Exception:
            log.exception("the quick way of next bars")
            return [None] * len(bars)

    def _answered(self, asked: Asked, now: pd.Timestamp) -> Answer | Exception:
        try:
            answer = self._judged(asked, now)
            return replace(answer, findings=self._explained(asked, answer, now))
        except Exception as error:  # noqa: BLE001 - whoever asked is told; the others have answers
            return error

    def _judged(self, asked: Asked, now: pd.Timestamp) -> Answer:
        symbols = tuple(sorted(asked.candles["symbol"].unique()))
        judged: list[Judged] = []
        aside: list[pd.DataFrame] = []
        for i in range(0, len(symbols), TOGETHER):
            found, refused = self._together(symbols[i : i + TOGETHER], asked, now)
            judged += found
            aside += refused
        filled = [table for table in aside if len(table)]
        return Answer(tuple(judged), pd.concat(filled, ignore_index=True) if filled else NOTHING)

    def _together(
        self, symbols: tuple[str, ...], asked: Asked, now: pd.Timestamp
    ) -> tuple[list[Judged], list[pd.DataFrame]]:
        """Judge the candles of some instruments; give what was found, and the bars kept aside."""
        own = asked.candles[asked.candles["symbol"].isin(symbols)]
        is_twice = own.duplicated(["symbol", "ts"], keep="last")
        aside = [_aside(own[is_twice], TWICE)]
        own = own[~is_twice]
        before = blank(self.parts, symbols) if asked.from_start else self._held.of(symbols, now)
        last = last_bars(before)
        is_new = ~(own["ts"] <= own["symbol"].map(last))
        good, refused = self._screened(own[is_new], before, now)
        is_extended = good["hours"].eq("extended")
        aside += [_aside(own[~is_new], JUDGED_BEFORE), refused, _aside(good[is_extended], EXTENDED)]
        good = regular(good)
        if good.empty:
            return [], aside
        bars = judged_bars(self.parts, good, now, None if asked.from_start else last)
        pieces = self._pieces(bars, now, from_start=asked.from_start)
        return [judge_piece(self.parts, before.take(p.symbols), p)[1] for p in pieces], aside

    def _screened(
        self, candles: pd.DataFrame, before: Snapshot, now: pd.Timestamp
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The candles that pass all checks, with ``hours``; and the bars that failed one."""
        if candles.empty:
            return candles.assign(hours=pd.Series(dtype="str")), _aside(candles, "")
        member = pd.Index(before.symbols).get_indexer(pd.Index(candles["symbol"]))
        # What is sent is known as soon as it has closed; what has not is known too early.
        rows = candles.assign(member=member, known_at=now)
        screen = Screen(self.parts, before.symbols)
        close = before.state["channels.close"].astype(float).reshape(len(before.symbols), -1)[:, -1]
        good, aside = screen.sieved(rows, close)
        told = aside[["symbol", "ts", "check_name"]] if len(aside) else _aside(candles[:0], "")
        return good.sort_values(["symbol", "ts"], kind="stable"), told

    def _pieces(
        self, bars: pd.DataFrame, now: pd.Timestamp, *, from_start: bool
    ) -> Iterator[Piece]:
        """Bars of instruments with about as many: a panel is as wide as its longest series."""
        counts = bars["symbol"].value_counts()
        width = counts.map(lambda n: int(n - 1).bit_length())
        for size in sorted(width.unique()):
            alike = tuple(sorted(width.index[width == size]))
            own = bars if len(alike) == len(counts) else bars[bars["symbol"].isin(alike)]
            per_year = [
                self.parts.calendars.bars_per_year(symbol, self.parts.watch.interval)
                for symbol in alike
            ]
            rates = self.parts.ensemble.alerts_per_year / np.array(per_year, dtype=float)
            yield Piece(alike, 0, own, rates, now, from_start)

    def _explained(
        self, asked: Asked, answer: Answer, now: pd.Timestamp
    ) -> dict[tuple[str, str], Finding]:
        """Why bars were unusual, in the words of an alert."""
        is_odd = any(judged.is_anomaly.any() for judged in answer.judged)
        wants = is_odd or asked.reasons == "all"
        if asked.reasons == "none" or not (wants and answer.judged):
            return {}
        found_in = [rows_of(self.parts, judged, now) for judged in answer.judged]
        verdicts = pd.concat([rows.verdicts for rows in found_in], ignore_index=True)
        wanted = verdicts if asked.reasons == "all" else verdicts[verdicts["verdict"] == "anomaly"]
        interval = self.parts.watch.interval
        # What was put aside explains nothing.
        own = pd.MultiIndex.from_frame(asked.candles[["symbol", "ts"]])
        is_judged = own.isin(pd.MultiIndex.from_frame(verdicts[["symbol", "ts"]]))
        is_last = ~asked.candles.duplicated(["symbol", "ts"], keep="last").to_numpy()
        candles = asked.candles[is_judged & is_last]
        candles = candles.assign(interval=interval, source="request", known_at=now)
        rows = {
            CANDLES.name: candles.reindex(columns=list(CANDLES.columns)),
            VERDICTS.name: verdicts,
            SCORES.name: pd.concat([rows.scores for rows in found_in], ignore_index=True),
            CHANNELS.name: pd.concat([rows.channels for rows in found_in], ignore_index=True),
            CONTRIBUTIONS.name: pd.concat([rows.contributions for rows in found_in]),
        }
        alone = sorted(candles["symbol"].unique()) if asked.from_start else ()
        beside = Beside(self.parts.warehouse, rows, alone)
        parts = replace(self.parts, warehouse=beside)
        found = [
            finding
            for _, own in wanted.assign(kind="anomaly").groupby("ts", sort=True)
            for finding in findings(parts, own, now)
        ]
        return {(finding.symbol, finding.ts): finding for finding in found}


def _is_single(asked: Asked) -> bool:
    """Whether one bar is asked of behind what is held, as most are."""
    return not asked.from_start and asked.reasons != "all" and len(asked.candles) == 1


def _aside(rows: pd.DataFrame, check: str) -> pd.DataFrame:
    return rows[["symbol", "ts"]].assign(check_name=check)


NOTHING = pd.DataFrame({"symbol": [], "ts": [], "check_name": []}, dtype=object)
