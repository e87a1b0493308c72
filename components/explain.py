"""Why a bar was unusual, in sentences and numbers that a person reads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from components import contributions, precedents, reasons, similar, stances
from components.reasons import AMPLITUDE, signed
from components.records import Chart, Finding, Part
from components.words import moment, number, price, share

N_CHARTED = 120
N_REFERENCE = 1000


def _none(*columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=["ts", *columns]).astype({"ts": "datetime64[us, UTC]"})


@dataclass(frozen=True)
class Evidence:
    """What an explanation is drawn from; what is not known may be left out.

    Parameters
    ----------
    candles : DataFrame
        The instrument's bars up to and including the judged one, oldest first: ts, open,
        high, low, close, volume as traded; optional ``split`` (new shares per old one at
        that session, default 1) and ``dividend`` (money a share, default 0).
    history : DataFrame
        Its verdicts up to and including the judged bar's, oldest first: ts, return, scale and
        the columns of ``CHANNELS``.
    scores : DataFrame
        ts, detector, score, p, n_reference: of the judged bar; of the base rule also the past.
    detectors : tuple of str
        The views that were asked.
    market : float
        Median return of the other instruments at this bar, a fraction; NaN when unknown.
    n_others : int
        How many instruments that median is over.
    bars_per_year : float
        Bars of this instrument in a year, to say how often such a bar is met.
    labelled : str
        What a person found its last alert to be, as a sentence.
    parts : tuple of Part
        What made a trained model's score, the largest first.
    """

    candles: pd.DataFrame
    history: pd.DataFrame = field(default_factory=lambda: _none("return", "scale"))
    scores: pd.DataFrame = field(default_factory=lambda: _none("detector", "score", "p"))
    detectors: tuple[str, ...] = ()
    market: float = math.nan
    n_others: int = 0
    bars_per_year: float = 252.0
    labelled: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether the base rule judged alone, in units of its own."""
        return self.detectors == (AMPLITUDE,)


def _vote_p(verdict: Mapping[str, Any]) -> float:
    """The p up to which a view has voted; the rate itself in verdicts that are older than it."""
    at = number(verdict.get("vote_p"))
    return at if math.isfinite(at) else number(verdict.get("rate"))


def explain(verdict: Mapping[str, Any], evidence: Evidence) -> Finding:
    """The numbers of a judged bar, the reasons in words, and what its chart is drawn from.

    What, how rare, and whose move it was come first: the rest is for who reads on.

    Parameters
    ----------
    verdict : Mapping
        A row of ``verdicts``.
    """
    ts, interval = pd.Timestamp(verdict["ts"]), str(verdict["interval"])
    bars, found = _adjusted(evidence.candles), briefly(verdict)
    past, size = _sizes(evidence, ts)
    z = _channels(evidence.history, ts)
    views = stances.stances(
        evidence.detectors,
        evidence.scores[evidence.scores["ts"] == ts],
        _vote_p(verdict),
        z,
        len(evidence.history),
    )
    identity = f"{found.symbol} {interval} {ts.isoformat()}"
    alike = similar.alike(_with_channels(evidence.history), identity)
    whose = reasons.split(found.move, found.market_part, found.residual_p)
    told = [
        reasons.closed(found.move, bars, verdict),
        reasons.amplitude(bars, size) if evidence.is_baseline else "",
        reasons.rarity(past, size, verdict, evidence.bars_per_year, "+".join(evidence.detectors)),
        whose or reasons.shared(found.move, evidence.market, evidence.n_others),
        reasons.within(found.body, z["body_z"], z["return_z"]),
        reasons.activity(bars, z["volume_z"], z["range_z"]),
        stances.in_words(views, number(verdict.get("votes")), found.level),
        contributions.made_of(evidence.parts),
        reasons.event(bars),
        reasons.gap(bars),
        precedents.looked_alike(alike.named, interval),
        precedents.what_followed(alike.followed, alike.n_alike, interval),
        evidence.labelled,
    ]
    n_past = len(past) if math.isfinite(size) else 0
    return replace(
        found,
        sigmas=abs(size),
        rank=1 + int(np.sum(past["size"] >= size)) if n_past else 0,
        n_reference=n_past,
        market=number(evidence.market) if evidence.n_others else math.nan,
        reasons=tuple(reason for reason in told if reason),
        chart=_chart(found, bars, past, size, "standard deviations" * evidence.is_baseline),
        views=views,
        similar=alike.named,
        followed=alike.followed,
        n_alike=alike.n_alike,
        parts=evidence.parts,
    )


def briefly(verdict: Mapping[str, Any]) -> Finding:
    """The numbers of a judged bar alone: for a crowded day's list."""
    move, body, p, scale = (number(verdict.get(n)) for n in ("return", "body", "p", "scale"))
    market_part, level = number(verdict.get("market_part")), number(verdict.get("level"))
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
        level=0 if math.isnan(level) else int(level),
        surprise=reasons.surprise(p),
        market_part=market_part,
        own_part=move - market_part,
        residual_p=number(verdict.get("residual_p")),
    )


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


def _adjusted(candles: pd.DataFrame) -> pd.DataFrame:
    """The candles in today's shares: what was traded before a split is divided by it."""
    bars = candles.reset_index(drop=True).copy()
    split = bars["split"].fillna(1.0) if "split" in bars else pd.Series(1.0, index=bars.index)
    later = (split[::-1].cumprod()[::-1] / split).to_numpy()
    for name in ("open", "high", "low", "close"):
        bars[name] = bars[name].astype(float) / later
    bars["volume"] = bars["volume"].astype(float) * later
    return bars.assign(split=split)


def _sizes(evidence: Evidence, ts: pd.Timestamp) -> tuple[pd.DataFrame, float]:
    """The sizes of all bars before this one (ts, size), and its own (NaN when absent)."""
    if evidence.is_baseline:
        rows = evidence.scores[["ts", "score"]].set_axis(["ts", "size"], axis="columns")
    else:
        history = evidence.history
        scale = history["scale"].astype(float)
        size = history["return"].astype(float).abs() / scale.where(scale > 0)
        rows = pd.DataFrame({"ts": history["ts"], "size": size})
    own = rows.loc[rows["ts"] == ts, "size"]
    past = rows[(rows["ts"] < ts) & np.isfinite(rows["size"].astype(float))]
    return past, number(own.iloc[-1]) if len(own) else math.nan


def _with_channels(history: pd.DataFrame) -> pd.DataFrame:
    return history.reindex(columns=["ts", "return", "scale", *similar.CHANNEL_NAMES])


def _channels(history: pd.DataFrame, ts: pd.Timestamp) -> dict[str, float]:
    """The channels of one bar by name; NaN for those that it does not have."""
    rows = _with_channels(history[history["ts"] == ts]).to_dict("records")
    own = rows[-1] if rows else {}
    return {name: number(own.get(name)) for name in similar.CHANNEL_NAMES}


def _chart(found: Finding, bars: pd.DataFrame, past: pd.DataFrame, size: float, unit: str) -> Chart:
    shown = bars.dropna(subset=["close", "high", "low"]).tail(N_CHARTED)
    return Chart(
        ts=tuple(ts.isoformat() for ts in shown["ts"]),
        close=tuple(shown["close"].astype(float)),
        high=tuple(shown["high"].astype(float)),
        low=tuple(shown["low"].astype(float)),
        judged=found.ts,
        score=size,
        past_scores=tuple(past["size"].astype(float).tail(N_REFERENCE)),
        score_unit=unit or "times its usual move",
        market_part=found.market_part,
        own_part=found.own_part,
    )
