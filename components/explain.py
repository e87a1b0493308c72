"""Why a bar was unusual, in sentences and numbers that a person reads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from components import reasons
from components.reasons import AMPLITUDE, signed
from components.records import Chart, Failure, Finding
from components.words import clean, counted, moment, number, price, share

N_CHARTED = 120
N_REFERENCE = 1000
# A quarantine row names a case; more lines than this belong on the command line.
N_NOTES = 20


def explain(
    verdict: Mapping[str, Any],
    candles: pd.DataFrame,
    scores: pd.DataFrame,
    market: float,
    n_others: int,
    bars_per_year: float,
    detector: str,
) -> Finding:
    """The numbers of a judged bar, the reasons in words, and what its chart is drawn from.

    Parameters
    ----------
    verdict : Mapping
        A row of ``verdicts``.
    candles : DataFrame
        The instrument's bars up to and including the judged one, oldest first: ts, open,
        high, low, close, volume as traded; optional ``split`` (new shares per old one at
        that session, default 1) and ``dividend`` (money a share, default 0).
    scores : DataFrame
        The detector's scores up to and including this bar's, oldest first: ts, score, p.
    market : float
        Median return of the other instruments at this bar, a fraction; NaN when unknown.
    n_others : int
        How many instruments that median is over.
    bars_per_year : float
        Bars of this instrument in a year, to say how often such a bar is met.
    detector : str
        Whose scores these are.
    """
    bars = _adjusted(candles)
    past, score = _past(verdict, scores)
    move, body, p = (number(verdict.get(name)) for name in ("return", "body", "p"))
    rank = 1 + int(np.sum(past["score"] >= score)) if math.isfinite(score) else 0
    sigmas, size = reasons.size(verdict, bars, score, detector)
    rare = reasons.rare(p, rank, len(past), bars_per_year, str(verdict["interval"]), detector)
    told = [
        reasons.closed(move, body, bars, str(verdict["interval"])),
        size,
        rare,
        reasons.since(past, score, str(verdict["interval"])),
        reasons.agreement(verdict),
        reasons.shared(move, market, n_others),
        reasons.event(bars),
        reasons.volume(bars),
    ]
    return Finding(
        symbol=str(verdict["symbol"]),
        ts=pd.Timestamp(verdict["ts"]).isoformat(),
        verdict=str(verdict["verdict"]),
        move=move,
        body=body,
        sigmas=sigmas,
        p=p,
        rank=rank,
        n_reference=len(past),
        market=number(market) if n_others else math.nan,
        reasons=tuple(reason for reason in told if reason),
        chart=_chart(verdict, bars, past, score, detector),
    )


def briefly(verdict: Mapping[str, Any]) -> Finding:
    """The numbers of a judged bar alone: for a crowded day's list."""
    move, body, p, scale = (number(verdict.get(n)) for n in ("return", "body", "p", "scale"))
    return Finding(
        symbol=str(verdict["symbol"]),
        ts=pd.Timestamp(verdict["ts"]).isoformat(),
        verdict=str(verdict["verdict"]),
        move=move,
        body=body,
        sigmas=abs(move) / scale if scale > 0 else math.nan,
        p=p,
        rank=0,
        n_reference=0,
        market=math.nan,
        reasons=(),
    )


def headline(findings: Sequence[Finding], n_judged: int, kind: str = "anomaly") -> str:
    """``5 of 6 instruments unusual, ^GSPC -3.2 % first``: the first finding leads."""
    first = findings[0]
    symbol, others = clean(first.symbol, 60), len(findings) - 1
    if kind == "correction":
        also = f" (and {counted(others, 'more instrument')})" if others else ""
        return f"{symbol}{also} now {_called(first.verdict)} after a correction"
    moved = "" if math.isnan(first.move) else f" {signed(first.move)}"
    if not others:
        return f"{symbol}{moved} unusual, 1 of {counted(n_judged, 'instrument')}"
    return f"{len(findings):,} of {counted(n_judged, 'instrument')} unusual, {symbol}{moved} first"


def as_correction(finding: Finding, before: str) -> Finding:
    """The finding with, first, how its verdict turned."""
    turned = f"was called {_called(before)}; after the provider's correction it is "
    return replace(finding, reasons=(turned + _called(finding.verdict), *finding.reasons))


def correction(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What a provider's correction changed in a bar that had been judged.

    Both mappings hold the verdict's fields and the candle's; fields that are absent, or the
    same in both, are passed over.
    """
    when = moment(now["ts"], str(now["interval"]))
    was, turned = (_called(str(row["verdict"])) for row in (before, now))
    told = [f"{when} was called {was}; after the provider's correction it is {turned}"]
    for name, words in _CORRECTED.items():
        old, new = number(before.get(name)), number(now.get(name))
        if math.isfinite(old) and math.isfinite(new) and words(old) != words(new):
            told.append(f"{name} was {words(old)}, is now {words(new)}")
    return tuple(told)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


_CORRECTED = {
    "open": price,
    "high": price,
    "low": price,
    "close": price,
    "volume": _whole,
    "return": signed,
    "body": signed,
    "p": share,
}


def _called(verdict: str) -> str:
    return {"anomaly": "unusual"}.get(verdict, verdict)


def data_notes(
    failures: Sequence[Failure] = (),
    stale: Mapping[str, tuple[Any, Any]] | None = None,
    missing: Mapping[str, Sequence[Any]] | None = None,
    quarantine: pd.DataFrame | None = None,
    interval: str = "1d",
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
        check_name, n, symbol, ts: refused rows by check, with the first case.
    """
    return (
        *_capped([f"{clean(f.symbol, 60)}: {clean(f.message, 300)}" for f in failures]),
        *_capped([_stale(symbol, *bars, interval) for symbol, bars in (stale or {}).items()]),
        *_capped([_missing(symbol, ts, interval) for symbol, ts in (missing or {}).items()]),
        *_capped([] if quarantine is None else _quarantined(quarantine, interval)),
    )


def _capped(notes: list[str]) -> list[str]:
    more = len(notes) - N_NOTES
    if more <= 0:
        return notes
    return [*notes[:N_NOTES], f"and {more:,} more like these; see `python main.py status`"]


def _stale(symbol: str, last: Any, expected: Any, interval: str) -> str:
    name, wanted = clean(symbol, 60), moment(expected, interval)
    if last is None or pd.isna(last):
        return f"{name}: no bar is known; {wanted} was expected"
    return f"{name}: the last bar is {moment(last, interval)}; {wanted} was expected"


def _missing(symbol: str, ts: Sequence[Any], interval: str) -> str:
    named = [moment(t, interval) for t in sorted(pd.Timestamp(t) for t in ts)]
    days = ", ".join(named) if len(named) <= 5 else f"{named[0]}, {named[1]} ... {named[-1]}"
    return f"{clean(symbol, 60)}: {counted(len(named), 'bar')} missing ({days})"


def _quarantined(quarantine: pd.DataFrame, interval: str) -> list[str]:
    return [
        f"{counted(int(row['n']), 'row')} failed {clean(str(row['check_name']), 60)}; first: "
        f"{clean(str(row['symbol']), 60)} {moment(row['ts'], interval)}. Kept in quarantine; "
        "see `python main.py status --quarantine`"
        for row in quarantine.to_dict("records")
    ]


def _adjusted(candles: pd.DataFrame) -> pd.DataFrame:
    """The candles in today's shares: what was traded before a split is divided by it."""
    bars = candles.reset_index(drop=True).copy()
    split = bars["split"].fillna(1.0) if "split" in bars else pd.Series(1.0, index=bars.index)
    later = (split[::-1].cumprod()[::-1] / split).to_numpy()
    for name in ("open", "high", "low", "close"):
        bars[name] = bars[name].astype(float) / later
    bars["volume"] = bars["volume"].astype(float) * later
    return bars.assign(split=split)


def _past(verdict: Mapping[str, Any], scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The last 1000 finite scores before this bar, and this bar's own (NaN when absent)."""
    ts = pd.Timestamp(verdict["ts"])
    own = scores.loc[scores["ts"] == ts, "score"]
    earlier = scores[scores["ts"] < ts]
    finite = earlier[np.isfinite(earlier["score"].astype(float))]
    return finite.tail(N_REFERENCE), number(own.iloc[-1]) if len(own) else math.nan


def _chart(
    verdict: Mapping[str, Any],
    bars: pd.DataFrame,
    past: pd.DataFrame,
    score: float,
    detector: str,
) -> Chart:
    shown = bars.dropna(subset=["close", "high", "low"]).tail(N_CHARTED)
    units = {AMPLITUDE: "standard deviations", "volatility_zscore": "times its usual move"}
    return Chart(
        ts=tuple(ts.isoformat() for ts in shown["ts"]),
        close=tuple(shown["close"].astype(float)),
        high=tuple(shown["high"].astype(float)),
        low=tuple(shown["low"].astype(float)),
        judged=pd.Timestamp(verdict["ts"]).isoformat(),
        score=score,
        past_scores=tuple(past["score"].astype(float)),
        score_unit=units.get(detector, f"score of {detector}"),
    )
