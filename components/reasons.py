"""One sentence for each thing that a person asks about an unusual bar; "" for nothing to say."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from components.words import (
    bar_word,
    counted,
    moment,
    number,
    ordinal,
    percent,
    price,
    probability,
    times,
    usual_word,
)

# The rule whose scores are standard deviations of close - open, with a nominal p-value.
AMPLITUDE = "amplitude_zscore"

N_VOLUMES = 60

# Fewer earlier volumes than this do not make a median worth naming.
LEAST_VOLUMES = 20

# Below this share of the move, the other instruments "hardly moved".
HARDLY = 0.1


def closed(move: float, body: float, bars: pd.DataFrame, interval: str) -> str:
    """Where it closed against the bar before, and what it did from open to close."""
    word = bar_word(interval)
    at = price(number(bars["close"].iloc[-1]))
    if math.isnan(move):
        closed = f"closed at {at}, with no close before it to compare"
    elif percent(move) == "0 %":
        closed = f"closed level with the {word} before, at {at}"
    else:
        side = "above" if move > 0 else "below"
        closed = f"closed {percent(abs(move))} {side} the {word} before, at {at}"
    return closed if math.isnan(body) else f"{closed}; from open to close it {_went(body)}"


def _went(fraction: float) -> str:
    if percent(fraction) == "0 %":
        return "did not move"
    return f"{'rose' if fraction > 0 else 'fell'} {percent(abs(fraction))}"


def size(
    verdict: Mapping[str, Any], bars: pd.DataFrame, score: float, detector: str
) -> tuple[float, str]:
    """How many of its usual moves the bar moved, and the sentence that says so."""
    if detector == AMPLITUDE:
        return abs(score), _amplitude(bars, score)
    usual = usual_word(str(verdict["interval"]))
    move, body, scale = (number(verdict.get(name)) for name in ("return", "body", "scale"))
    sigmas = abs(move) / scale if scale > 0 else math.nan
    from_open = math.isfinite(body) and _is_of_body(score, sigmas, detector)
    if from_open:
        # The body has a volatility of its own, which the score and the body give back.
        sigmas, scale = score, abs(body) / score
    if math.isnan(sigmas):
        return math.nan, ""
    what = "from open to close that" if from_open else "that"
    return sigmas, f"{what} is {times(sigmas)} times its usual {usual} move of {percent(scale)}"


def _is_of_body(score: float, sigmas: float, detector: str) -> bool:
    """Whether the score, the larger of two, is the one of the move from open to close."""
    in_units = detector == "volatility_zscore" and math.isfinite(score) and score > 0
    return in_units and not score <= sigmas * (1 + 1e-6)


def _amplitude(bars: pd.DataFrame, score: float) -> str:
    moved = number(bars["close"].iloc[-1] - bars["open"].iloc[-1])
    if math.isnan(moved) or math.isnan(score):
        return ""
    return (
        f"close - open was {'+' if moved > 0 else ''}{price(moved)}, {times(abs(score))} standard "
        "deviations from the mean of its fenced history"
    )


def rare(
    p: float, rank: int, n_past: int, bars_per_year: float, interval: str, detector: str
) -> str:
    """Its rank among its past scores, p, and how often such a bar is met."""
    parts = []
    if rank and n_past:
        place = "the largest" if rank == 1 else f"the {ordinal(rank)} largest"
        parts.append(f"{place} of its last {counted(n_past, bar_word(interval))}")
    if math.isfinite(p):
        parts.append(probability(p))
    told = ", ".join(parts)
    if math.isfinite(p) and detector == AMPLITUDE:
        return f"{told} (nominal two-sided normal p: this rule keeps no stated alarm rate)"
    often = _often(p * bars_per_year, interval)
    return f"{told}: {often}" if told and often else told


def _often(per_year: float, interval: str) -> str:
    such = f"such {bar_word(interval)}"
    if not per_year > 0 or math.isinf(per_year):
        return ""
    if per_year < 0.01:
        return f"less than one {such} in 100 years"
    if per_year < 0.8:
        return f"about one {such} in {_years(1 / per_year)} years"
    for per, unit, most in ((1.0, "year", 60), (365.25 / 7, "week", 14), (365.25, "day", math.inf)):
        n = max(round(per_year / per), 1)
        if n <= most:
            return f"about {'one' if n == 1 else f'{n:,}'} {such}{'' if n == 1 else 's'} a {unit}"
    return ""


def since(past: pd.DataFrame, score: float, interval: str) -> str:
    """When it last was as unusual."""
    if past.empty or math.isnan(score):
        return ""
    as_odd = past[past["score"] >= score]
    if as_odd.empty:
        return f"nothing as unusual in the {len(past):,} {bar_word(interval)}s kept"
    return f"the last one as unusual was {moment(as_odd['ts'].iloc[-1], interval)}"


def agreement(verdict: Mapping[str, Any]) -> str:
    """How many detectors call it unusual, where several judge."""
    votes, voters = number(verdict.get("votes")), number(verdict.get("voters"))
    if not (voters > 1 and votes >= 0):
        return ""
    return f"{votes:.0f} of {voters:.0f} detectors call it unusual"


def shared(move: float, market: float, n_others: int) -> str:
    """How much of the move the other instruments made too, in words."""
    if not n_others or not math.isfinite(market):
        return "no other instrument was there to compare with"
    others = "the other instrument" if n_others == 1 else f"the other {n_others:,} instruments"
    moved = signed(market) if n_others == 1 else f"{signed(market)} (median)"
    own = move - market
    if math.isnan(move):
        return f"{others} moved {moved}"
    if abs(market) <= HARDLY * abs(move):
        return f"{others} hardly moved, {moved}: this move is its own"
    if market * move <= 0:
        return f"{others} moved {moved}, the other way: against them it {_went(own)}"
    if abs(market) > 1.005 * abs(move):
        return f"{others} moved {moved}, more than it did: against them it {_went(own)}"
    part = f"{100 * market / move:.0f} % of this move"
    return f"{others} moved {moved}: {part}; its own share is {signed(own)}"


def event(bars: pd.DataFrame) -> str:
    """A split or a dividend of the judged session."""
    last, told = bars.iloc[-1], []
    split, dividend = number(last.get("split", 1.0)), number(last.get("dividend", 0.0))
    if split > 0 and split != 1:
        told.append(f"it split that day, {split:g} new shares for an old one, allowed for")
    if dividend > 0:
        before = number(bars["close"].iloc[-2]) if len(bars) > 1 else math.nan
        worth = "" if math.isnan(before) else f" ({percent(dividend / before)} of the close before)"
        told.append(f"it went without its dividend of {price(dividend)} a share{worth}")
    return "; ".join(told)


def volume(bars: pd.DataFrame) -> str:
    """Its volume against its own median."""
    now = number(bars["volume"].iloc[-1])
    before = bars["volume"].iloc[:-1].tail(N_VOLUMES)
    before = before[np.isfinite(before) & (before > 0)]
    if not now > 0 or len(before) < LEAST_VOLUMES:
        return ""
    ratio = times(now / float(before.median()))
    return f"volume {ratio} times its median of the last {len(before)} bars"


def _years(value: float) -> str:
    return times(value) if value < 3 else f"{value:.0f}"


def signed(fraction: float) -> str:
    """A fraction in per cent with its sign."""
    return percent(fraction, sign=True)
