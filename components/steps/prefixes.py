"""Prefix replay over what the warehouse holds: shows whether the judge sees any future."""

import pandas as pd

from components import prefixes
from components.errors import SettingsError
from components.prefixes import Agreement
from components.sessions import ALWAYS_OPEN
from components.steps.gaps import regular, with_steps
from components.steps.market import with_market
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.tables import CANDLES


def replay_prefixes(parts: Parts, n_pairs: int, seed: int) -> Agreement:
    """Judge random instruments up to random bars, and compare with their full history.

    Raises
    ------
    SettingsError
        The warehouse holds no candles of what is watched.
    """
    candles, ensemble = _candles(parts), parts.ensemble
    pairs = prefixes.draw(candles, n_pairs, seed)
    symbols = sorted({symbol for symbol, _ in pairs})
    per_year = {s: parts.calendars.bars_per_year(s, parts.watch.interval) for s in symbols}
    return prefixes.agreement(
        ensemble,
        candles,
        {symbol: ensemble.alerts_per_year / n for symbol, n in per_year.items()},
        parts.progress(pairs, len(pairs), "judging up to random bars"),
        round_the_clock=[s for s in symbols if parts.calendars.of(s) == ALWAYS_OPEN],
    )


def _candles(parts: Parts) -> pd.DataFrame:
    """All candles known by now, with splits and the stored return of their market."""
    watch, as_of = parts.watch, parts.run.as_of
    rows = parts.warehouse.read(
        CANDLES, symbols=list(watch.symbols), interval=watch.interval, as_of=as_of
    )
    rows = regular(rows)
    if not len(rows):
        raise SettingsError(
            f"prefixes: the warehouse holds no {watch.interval} candles of what is watched. "
            "Run `python main.py backfill --since 2015-01-01` first."
        )
    return with_market(parts, with_steps(parts, with_splits(parts, rows, as_of)), as_of)
