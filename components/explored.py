"""What an exploration of instruments found: the record, its table, its JSON; pure."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.profile.figures import PLAIN_TIMES, PLAIN_WINDOW, RECENT
from components.profile.history import History
from components.profile.pairs import LEAST_COMMON, Matrix
from components.profile.unusual import LARGE
from components.quality_page import Quality
from components.words import clean, counted, moment

# What is told of each instrument, in the order of the JSON; see ``Profile``.
TOLD = (
    *("symbol", "first", "last", "n_bars", "bars_per_year", "coverage", "n_due", "n_held"),
    *(
        "n_missing",
        "n_refused",
        "n_no_trade",
        "n_venue_down",
        "n_not_due",
        "n_extended",
        "n_late",
        "is_late",
    ),
    *("volatility", "volatility_recent", "n_judged_moves", "n_large_moves", "largest_move"),
    *("largest_move_times", "largest_move_ts", "n_judged_volumes", "n_volume_spikes"),
    *("largest_spike_z", "largest_spike_ts", "n_plain_judged", "n_plain_spikes", "n_unchanged"),
    *("longest_unchanged", "n_flat", "n_zero_volume", "n_no_volume", "n_gaps"),
    *("longest_gap_bars", "n_stored", "n_corrected", "largest_correction", "n_aside", "n_copies"),
    *("n_out_of_order", "n_disagreeing", "is_cut"),
)

# Units of what is no count; times are bar opens, UTC.
UNITS = {
    "coverage": "fraction of the bars due",
    "volatility": "fraction, a year",
    "volatility_recent": "fraction, a year",
    "largest_move": "fraction, close to close",
    "largest_move_times": "volatilities known before",
    "largest_spike_z": "usual deviations of the log volume",
    "largest_correction": "fraction of the close",
    "return": "fraction, close to close",
    "times_usual": "volatilities known before, signed",
    "z": "usual deviations of the log volume",
    "times_median": "ratio to the median of the 60 bars before",
    "correlation": "-1 to 1",
}


@dataclass(frozen=True)
class Profile:
    """What the bars of some instruments are like.

    Parameters
    ----------
    symbols : DataFrame
        A row an instrument, the largest move first, in the columns of ``TOLD``: those of
        ``figures``, of ``Quality.symbols`` (n_expected as n_due) and of ``holdings``; coverage,
        the share of the bars due from the first one held to the last that is held; n_not_due,
        bars held that the calendar does not expect; is_cut, where the newest bars alone are
        described.
    moves, spikes : DataFrame
        The large moves and the volume spikes that stand out most, see ``unusual``.
    pairs : DataFrame
        The strongest correlations: first, second, correlation, n_common.
    matrix : Matrix
        All correlations of the instruments with the most bars.
    checks : DataFrame
        symbol, check_name, n_bars, first, is_let_in: what the quarantine says.
    quality : Quality
        Day by day, of the instruments that miss most.
    drawn : tuple of History
        What the pictures of the first instruments are drawn from.
    """

    as_of: pd.Timestamp
    since: pd.Timestamp | None
    interval: str
    source: str
    symbols: pd.DataFrame
    moves: pd.DataFrame
    spikes: pd.DataFrame
    pairs: pd.DataFrame
    matrix: Matrix
    checks: pd.DataFrame
    quality: Quality
    drawn: tuple[History, ...]

    @property
    def left_out(self) -> str:
        """Whose oldest bars were not described, in a sentence; "" where all were."""
        long = self.symbols.loc[self.symbols["is_cut"], "symbol"]
        if long.empty:
            return ""
        others = f" and {counted(len(long) - 1, 'other')}" if len(long) > 1 else ""
        return (
            f"Of {clean(long.iloc[0], 32)}{others} the newest bars alone are described, for there "
            "are too many."
        )

    @property
    def title(self) -> str:
        """How many instruments, of which source, over which time."""
        n_bars = int(self.symbols["n_bars"].sum())
        since = "" if self.since is None else f", since {moment(self.since)}"
        return (
            f"Exploration: {self.interval}, {counted(len(self.symbols), 'instrument')}, "
            f"{counted(n_bars, 'bar')}, {self.source}{since}, as of {moment(self.as_of, '1m')}"
        )


def described(held: pd.DataFrame, figures: pd.DataFrame) -> pd.DataFrame:
    """Join what is held of the instruments with what it is like; the largest move first."""
    rows = held.drop(columns=["first", "last"]).rename(columns={"n_expected": "n_due"})
    rows = rows.merge(figures, how="left", on="symbol")
    counts = [name for name in map(str, figures) if name.startswith(("n_", "longest_"))]
    rows[counts] = rows[counts].fillna(0).astype(np.int64)
    # Of an instrument that is cut short the bars described are not those that were counted.
    rows["n_not_due"] = (rows["n_bars"] - rows["n_held"]).where(~rows["is_cut"], 0)
    n_by_then = rows["n_due"] - rows["n_late"]
    rows["coverage"] = rows["n_held"] / n_by_then.where(n_by_then > 0)
    return rows[list(TOLD)].sort_values(
        ["largest_move_times", "symbol"], ascending=[False, True], kind="stable", ignore_index=True
    )


def as_json(profile: Profile) -> dict[str, Any]:
    """Every figure, and the rules behind them. Keys are kept stable; what is unknown is None."""
    matrix = profile.matrix
    tables = {
        "symbols": profile.symbols,
        "moves": profile.moves,
        "spikes": profile.spikes,
        "pairs": profile.pairs,
        "checks": profile.checks,
    }
    return {
        "as_of": profile.as_of.isoformat(),
        "since": None if profile.since is None else profile.since.isoformat(),
        "interval": profile.interval,
        "source": profile.source,
        "rules": {
            "large_move_times_usual": LARGE,
            "volume_spike_z": LARGE,
            "plain_spike_times_mean": PLAIN_TIMES,
            "plain_spike_bars_before": PLAIN_WINDOW,
            "recent_returns": RECENT,
            "least_common_bars": LEAST_COMMON,
        },
        "units": UNITS,
        **{
            name: json.loads(
                table.to_json(orient="records", date_format="iso", double_precision=12)
            )
            for name, table in tables.items()
        },
        "matrix": {
            "symbols": list(matrix.symbols),
            "correlation": [
                [None if np.isnan(value) else round(float(value), 12) for value in row]
                for row in matrix.correlation
            ],
            "n_common": matrix.n_common.tolist(),
        },
    }
