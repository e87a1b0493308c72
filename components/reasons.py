"""One sentence for each thing that a person asks about an unusual bar; "" for nothing to say."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from components.words import (
    bar_word,
    moment,
    number,
    ordinal,
    percent,
    price,
    probability,
    share,
    times,
    usual_word,
)

# The rule whose scores are standard deviations of close - open, with a nominal p-value.
AMPLITUDE = "amplitude_zscore"

N_VOLUMES = 60

# Fewer earlier volumes than this do not make a median worth naming.
LEAST_VOLUMES = 20

# An own part that is rarer than this is more than the market's move.
BEYOND = 0.05

# So many times more unusual than the return is worth a word.
BY_FAR = 1.25

# From so many deviations on a number is worth a word; words by the size of a deviation.
NOTABLE = 2.0
HEIGHTS = ((4.0, "extremely "), (3.0, "very "), (NOTABLE, ""), (1.0, "rather "))

# A larger share of all bars is not rare, and its last date no news.
RARE, NOT_RARE = 0.02, 0.1

PLACES = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth", 7: "seventh"}

# Below this share of the move, the other instruments "hardly moved".
HARDLY = 0.1


def closed(move: float, bars: pd.DataFrame, verdict: Mapping[str, Any]) -> str:
    """Where it closed against the bar before, in per cent and in its own usual moves."""
    interval, scale = str(verdict["interval"]), number(verdict.get("scale"))
    word, at = bar_word(interval), price(number(bars["close"].iloc[-1]))
    if math.isnan(move):
        return f"closed at {at}, with no close before it to compare"
    usual = f"its usual {usual_word(interval)} move of {percent(scale)}" if scale > 0 else ""
    if percent(move) == "0 %":
        return f"closed level with the {word} before, at {at}"
    side = "above" if move > 0 else "below"
    told = f"closed {percent(abs(move))} {side} the {word} before, at {at}"
    return f"{told}: {times(abs(move) / scale)} times {usual}" if usual else told


def within(body: float, body_z: float, return_z: float) -> str:
    """What it did from open to close, and whether that was the more unusual."""
    if math.isnan(body):
        return ""
    told = f"from open to close it {_went(body)}"
    if abs(body_z) > max(BY_FAR * abs(return_z), NOTABLE):
        return f"{told}, {times(abs(body_z))} times what is usual"
    return told


def _went(fraction: float) -> str:
    if percent(fraction) == "0 %":
        return "did not move"
    return f"{'rose' if fraction > 0 else 'fell'} {percent(abs(fraction))}"


def amplitude(bars: pd.DataFrame, score: float) -> str:
    """The base rule's own words: close - open, in standard deviations."""
    moved = number(bars["close"].iloc[-1] - bars["open"].iloc[-1])
    if math.isnan(moved) or math.isnan(score):
        return ""
    return (
        f"close - open was {'+' if moved > 0 else ''}{price(moved)}, {times(abs(score))} standard "
        "deviations from the mean of its fenced history"
    )


def rarity(
    past: pd.DataFrame, size: float, verdict: Mapping[str, Any], bars_per_year: float, detector: str
) -> str:
    """Its place among all bars, when one as large was last seen, p, and how often that is met."""
    interval, p = str(verdict["interval"]), number(verdict.get("p"))
    place = _largest(past, size, interval)
    rare = _rare(p, bars_per_year, interval, is_baseline=detector == AMPLITUDE)
    # The place is that of the move; p is that of all that the views saw.
    rare = f"all views together {rare}" if rare and "+" in detector else rare
    return "; ".join(each for each in (place, rare) if each)


def _largest(past: pd.DataFrame, size: float, interval: str) -> str:
    n = len(past) + 1
    if math.isnan(size) or n == 1:
        return ""
    as_large = past["ts"][past["size"] >= size]
    rank, of = len(as_large) + 1, f"of {n:,} {bar_word(interval)}s"
    if rank == 1:
        return f"the largest {of}"
    place = f"the {PLACES.get(rank, ordinal(rank))} largest {of}"
    # Of what happens every few weeks the last time is no news.
    if rank > max(n * NOT_RARE, 10):
        return f"the move alone is not rare, {ordinal(rank)} {of}"
    if rank > max(n * RARE, 10):
        return place
    return f"{place}; last such {moment(as_large.iloc[-1], interval)}"


def _rare(p: float, bars_per_year: float, interval: str, *, is_baseline: bool) -> str:
    if math.isnan(p):
        return ""
    if is_baseline:
        return (
            f"{probability(p)} (nominal two-sided normal p: this rule keeps no stated alarm rate)"
        )
    often = _often(p * bars_per_year, interval)
    told = probability(p) + (f", surprise {surprise(p):.1f}" if p > 0 else "")
    return f"{told}: {often}" if often else told


def surprise(p: float) -> float:
    """-log10 p: each unit is ten times rarer."""
    return -math.log10(p) if p > 0 else math.nan


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


def split(move: float, market_part: float, residual_p: float) -> str:
    """The market's part of the return and its own; as printed they sum to the return."""
    if not (math.isfinite(move) and math.isfinite(market_part)):
        return ""
    whole, part, own = parts(move, market_part)
    told = f"of the {whole}, {part} is the market's part and {own} its own"
    if math.isnan(residual_p):
        return told
    if residual_p > BEYOND:
        return f"{told}, which alone is nothing unusual (p = {share(residual_p)})"
    return f"{told}, which alone has {probability(residual_p)}"


def parts(move: float, market_part: float) -> tuple[str, str, str]:
    """The return, the market's part and its own in per cent: the last is the difference."""
    size = abs(100 * move)
    digits = 0 if size >= 100 else 1 if size >= 0.1 or size < 0.0005 else 1 - _magnitude(size)
    whole, part = (Decimal(f"{100 * value:.{digits}f}") for value in (move, market_part))
    return _points(whole), _points(part), _points(whole - part)


def _magnitude(size: float) -> int:
    return math.floor(math.log10(size))


def _points(value: Decimal) -> str:
    return f"{value:+f} %" if value else f"{abs(value):f} %"


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


def gap(bars: pd.DataFrame) -> str:
    """How many bars are missing between the one before and the judged one."""
    missing = number(bars.iloc[-1].get("steps", 1.0)) - 1
    if not missing >= 1:
        return ""
    word = bar_word(str(bars.iloc[-1]["interval"]))
    plural = "" if missing == 1 else "s"
    return f"the move is over {missing:,.0f} {word}{plural} without data before it"


def activity(bars: pd.DataFrame, volume_z: float, range_z: float) -> str:
    """Volume and range beside the move, in words and numbers."""
    told = [_unusual("volume", volume_z, _volume(bars)), _unusual("range", range_z)]
    return "; ".join(each for each in told if each)


def _unusual(what: str, z: float, ratio: str = "") -> str:
    if math.isnan(z):
        return f"{what} {ratio}" if ratio else ""
    degree = [word for least, word in HEIGHTS if abs(z) >= least]
    size = f"{degree[0]}{'high' if z > 0 else 'low'}" if degree else "usual"
    numbers = "; ".join(each for each in (f"z {z:+.1f}", ratio) if each)
    return f"{what} {size} ({numbers})"


def _volume(bars: pd.DataFrame) -> str:
    now = number(bars["volume"].iloc[-1])
    before = bars["volume"].iloc[:-1].tail(N_VOLUMES)
    before = before[np.isfinite(before) & (before > 0)]
    if not now > 0 or len(before) < LEAST_VOLUMES:
        return ""
    ratio = times(now / float(before.median()))
    return f"{ratio} times its median of the last {len(before)} bars"


def _years(value: float) -> str:
    return times(value) if value < 3 else f"{value:.0f}"


def signed(fraction: float) -> str:
    """A fraction in per cent with its sign."""
    return percent(fraction, sign=True)
