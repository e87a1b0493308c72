"""The one line of an alert, and the lines that count its instruments. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.panels import Array
from components.records import Finding
from components.words import bar_word, clean, counted, level_word, number, percent, probability

# From so many instruments on a list is long, and some of it will be chance.
LONG_LIST = 10

FALSE_DISCOVERY_RATE = 0.1

# So many names a reader takes in; the others are counted.
N_NAMED = 12


def headline(findings: Sequence[Finding], n_judged: int, kind: str = "anomaly") -> str:
    """``5 of 6 instruments unusual (2 HIGH), ^GSPC -3.2 % first``: the first finding leads."""
    first, others = findings[0], len(findings) - 1
    if kind == "correction":
        also = f" (and {counted(others, 'more instrument')})" if others else ""
        called = {"anomaly": "unusual"}.get(first.verdict, first.verdict)
        return f"{clean(first.symbol, 60)}{also} now {called} after a correction"
    if not others:
        word = level_word(first.level)
        level = f" ({word})" if word else ""
        return f"{_named(first)} unusual{level}, 1 of {counted(n_judged, 'instrument')}"
    levels = _levels(findings)
    unusual = f"{len(findings):,} of {counted(n_judged, 'instrument')} unusual"
    return f"{unusual}{f' ({levels})' if levels else ''}, {_named(first)} first"


def market_headline(
    market: Mapping[str, Any], beyond: Sequence[Finding], folded: Sequence[Finding]
) -> str:
    """``Market-wide day (XNYS -3.1 %): AAPL -12.0 % and 2 more beyond it, 17 with it``."""
    move = number(market.get("return"))
    moved = "" if math.isnan(move) else f" {percent(move, sign=True)}"
    day = f"Market-wide {bar_word(str(market['interval']))} ({clean(str(market['watch_list']), 20)}"
    day += f"{moved})"
    if not beyond:
        return f"{day}: {_with_it(len(folded), 'none beyond')}"
    levels = _levels(beyond)
    others = f" and {len(beyond) - 1:,} more" if len(beyond) > 1 else ""
    told = f"{day}: {_named(beyond[0])}{others} beyond it{f' ({levels})' if levels else ''}"
    return f"{told}, {len(folded):,} with it" if folded else told


def _with_it(n_folded: int, beyond: str) -> str:
    if not n_folded:
        return "no news of single instruments"
    return f"{counted(n_folded, 'instrument')} moved with it, {beyond}"


def _named(finding: Finding) -> str:
    moved = "" if math.isnan(finding.move) else f" {percent(finding.move, sign=True)}"
    return f"{clean(finding.symbol, 60)}{moved}"


def _levels(findings: Sequence[Finding]) -> str:
    n_high = sum(finding.level > 2 for finding in findings)
    if not n_high:
        return level_word(max(finding.level for finding in findings))
    return "all HIGH" if n_high == len(findings) else f"{n_high:,} HIGH"


def market_notes(
    market: Mapping[str, Any], folded: Sequence[Finding], n_beyond: int
) -> tuple[str, ...]:
    """How the market moved, and which instruments only moved with it."""
    move, n = number(market.get("return")), number(market.get("n_instruments"))
    name, p = clean(str(market["watch_list"]), 20), number(market.get("p"))
    told = []
    if math.isfinite(move):
        of = f" of {counted(int(n), 'instrument')}" if n > 0 else ""
        rare = f", {probability(p)}" if math.isfinite(p) else ""
        told.append(f"the median{of} of {name} moved {percent(move, sign=True)}{rare}")
    if folded:
        named = ", ".join(clean(finding.symbol, 60) for finding in folded[:N_NAMED])
        others = len(folded) - N_NAMED
        more = f" and {others:,} more" if others > 0 else ""
        count = f"{len(folded):,} more" if n_beyond else f"{len(folded):,}"
        told.append(f"{count} moved with the market: {named}{more}")
    return tuple(told)


def discoveries(told: Array, judged: Array) -> str:
    """How many of a long list stand at a false discovery rate of 10 %.

    Parameters
    ----------
    told : array (n_told,)
        P-values of the instruments that are told.
    judged : array (n_judged,)
        P-values of all instruments judged at the bar, those included; NaN is left out.

    References
    ----------
    Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. Journal of
    the Royal Statistical Society B 57(1), 289-300.
    """
    if len(told) <= LONG_LIST:
        return ""
    p = np.sort(judged[np.isfinite(judged)])
    stands = p <= FALSE_DISCOVERY_RATE * np.arange(1, len(p) + 1) / max(len(p), 1)
    bound = p[stands][-1] if stands.any() else -1.0
    n = int(np.sum(told <= bound))
    rate = f"a false discovery rate of {100 * FALSE_DISCOVERY_RATE:.0f} %"
    return f"{n:,} of these {len(told):,} stand at {rate}, {len(p):,} judged"
