"""Weigh: the votes on all that is held of some instruments, stored nowhere and told to nobody."""

import numpy as np
import pandas as pd

from components.panels import pack
from components.sessions import ALWAYS_OPEN
from components.steps.carrying import blank_ledger, with_groups
from components.steps.judging import rebuilds
from components.steps.parts import Parts
from components.what_if import Votes, weighed


def votes_of(parts: Parts, symbols: tuple[str, ...], as_of: pd.Timestamp) -> tuple[Votes, ...]:
    """The votes of the ensemble's detectors from the first bars on, as known at ``as_of``.

    The bars are those that a run at ``as_of`` would judge, had it no carried state. Few
    instruments are a part of their own, so that memory stays bounded; none, where none has bars.
    """
    interval = parts.watch.interval
    ledger = with_groups(blank_ledger(symbols), symbols)
    found = []
    for piece in rebuilds(parts, ledger, symbols, as_of):
        always = [s for s in piece.symbols if parts.calendars.of(s) == ALWAYS_OPEN]
        per_year = [parts.calendars.bars_per_year(s, interval) for s in piece.symbols]
        panel = pack(piece.candles, piece.symbols, always)
        found.append(weighed(parts.ensemble, panel, np.array(per_year, dtype=float), interval))
    return tuple(found)
