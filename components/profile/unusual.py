"""Bars against what is usual for their instrument: large moves and volume spikes."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from components.features.channels import LEAST_RANGE, Channelled, Channels, unsplit_volume
from components.features.level import LevelUnits
from components.features.price import close_return
from components.features.scale import VolatilityUnits
from components.features.volume import AdjustedVolume
from components.panels import FIELDS, Array, CandlePanel, Flags, Ints

# From three of its own units on an alert says "very high"; the base system's rule has it too.
LARGE = 3.0

# Earlier bars whose median volume is named beside a spike.
N_VOLUMES = 60

# A market that is shut for longer has gone home; a lunch break is shorter.
NIGHT_US = 3 * 3_600 * 1_000_000

DAY_US = 24 * 3_600 * 1_000_000


@dataclass(frozen=True)
class Axis:
    """The time axis of a panel's instruments.

    ``step_us`` is the length of a bar in microseconds; ``per_year`` and ``per_session`` how many
    bars a year and a session hold, (n_series,).
    """

    step_us: int
    per_year: Array
    per_session: Array

    @property
    def is_daily(self) -> bool:
        """Whether a bar holds a whole session."""
        return self.step_us >= DAY_US


@dataclass(frozen=True)
class Compared:
    """Each bar beside the usual; arrays (n_series, n_bars), NaN where nothing can be said.

    ``move`` is the close-to-close return, a fraction, splits undone; ``move_z`` the same in
    units of the volatility known before it; ``volume_z`` the distance of the log volume from its
    recent level, in units of its recent spread.
    """

    move: Array
    move_z: Array
    volume_z: Array


def compared(panel: CandlePanel, axis: Axis) -> Compared:
    """Hold each bar against the instrument's own past, of which the bar is no part.

    Moves are ``return_z`` and volumes ``volume_z`` of the channels, as in an alert: winsorised,
    so that one crash does not hide the next, and a move divided by the square root of the bars
    that it is over. Bars shorter than a day are compared with their own half hour of earlier
    days first (``AdjustedVolume``), for every market is busy and restless when it opens and
    closes; that takes four earlier days. What a night did is held against the volatility of a
    whole session.
    """
    n_series = len(panel.symbols)
    move = close_return(panel, np.full(n_series, np.nan))
    is_night = _is_night(panel, axis)
    fields = panel.fields.copy()
    fields[:, :, FIELDS.index("steps")] = panel.steps + is_night * axis.per_session[:, None]
    channels = Channels()
    _, found = channels.run(channels.start(n_series), replace(panel, fields=fields))
    move_z, volume_z = found.columns["return_z"], found.columns["volume_z"]
    if axis.is_daily:
        return Compared(move, move_z, volume_z)
    moves, levels = VolatilityUnits(), LevelUnits()
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(is_night, np.nan, np.log1p(move) / np.sqrt(panel.steps))
    # What did not move has no logarithm of it: it counts as little.
    sizes = np.maximum(np.abs(returns), LEAST_RANGE * found.scale)
    scaled = np.sign(returns) * np.exp(_beside_half_hour(panel, sizes, found))
    _, by_day, _ = moves.run(moves.start(n_series), scaled)
    volume = unsplit_volume(panel, np.ones(n_series))[1]
    _, volume_z = levels.run(levels.start(n_series), _beside_half_hour(panel, volume, found))
    return Compared(move, np.where(is_night, move_z, by_day), volume_z)


def _beside_half_hour(panel: CandlePanel, amounts: Array, found: Channelled) -> Array:
    """The logarithms of amounts less what is usual at their time of the day and of the week."""
    fields = panel.fields.copy()
    fields[:, :, FIELDS.index("volume")] = amounts
    fields[:, :, FIELDS.index("split")] = 1.0
    usual = AdjustedVolume()
    start = usual.start(len(panel.symbols))
    return usual.run(start, replace(panel, fields=fields), found, {})[1]


def _is_night(panel: CandlePanel, axis: Axis) -> Flags:
    """Whether the market was shut between the bar before and this one, (n_series, n_bars)."""
    closed_us = since_before(panel) - panel.steps * axis.step_us
    return np.asarray((closed_us > NIGHT_US) & (not axis.is_daily))


def since_before(panel: CandlePanel) -> Array:
    """Microseconds from the open of the bar before, (n_series, n_bars); NaN for the first bar."""
    gone = np.full(panel.ts.shape, np.nan)
    passed = np.diff(panel.ts, axis=1)
    gone[:, 1:] = np.where(np.isnat(passed), np.nan, passed.astype(np.int64))
    return gone


def large_moves(panel: CandlePanel, found: Compared, most: int) -> pd.DataFrame:
    """The largest moves of each instrument, at most so many of each, the largest first.

    Returns
    -------
    DataFrame
        symbol, ts, close, return (a fraction), times_usual (signed as the return), bars_over
        (how many bars should have come since the bar before: 1 unless some are missing).
    """
    series, bars = _largest(np.abs(found.move_z), most)
    return pd.DataFrame(
        {
            **_keys(panel, series, bars),
            "close": panel.field("close")[series, bars],
            "return": found.move[series, bars],
            "times_usual": found.move_z[series, bars],
            "bars_over": panel.steps[series, bars].astype(np.int64),
        }
    )


def volume_spikes(panel: CandlePanel, found: Compared, most: int) -> pd.DataFrame:
    """The largest volume spikes of each instrument, at most so many of each, the largest first.

    Returns
    -------
    DataFrame
        symbol, ts, volume (as traded), z, times_median (of the 60 bars before, splits undone;
        NaN where fewer than 60 have a volume), return (of the bar, a fraction).
    """
    series, bars = _largest(found.volume_z, most)
    volume = unsplit_volume(panel, np.ones(len(panel.symbols)))[1]
    return pd.DataFrame(
        {
            **_keys(panel, series, bars),
            "volume": panel.field("volume")[series, bars],
            "z": found.volume_z[series, bars],
            "times_median": _times_median(volume, series, bars),
            "return": found.move[series, bars],
        }
    )


def _largest(z: Array, most: int) -> tuple[Ints, Ints]:
    """Where z is large, the largest first; of each series so many at most."""
    series, bars = np.nonzero(z >= LARGE)
    size = z[series, bars]
    order = np.lexsort((bars, -size, series))
    series, bars = series[order], bars[order]
    rank = np.arange(len(series)) - np.searchsorted(series, series)
    kept = np.flatnonzero(rank < most)
    kept = kept[np.argsort(-z[series[kept], bars[kept]], kind="stable")]
    return series[kept], bars[kept]


def _keys(panel: CandlePanel, series: Ints, bars: Ints) -> dict[str, object]:
    return {
        "symbol": np.array(panel.symbols, dtype=object)[series],
        "ts": pd.DatetimeIndex(panel.ts[series, bars], tz="UTC"),
    }


def _times_median(volume: Array, series: Ints, bars: Ints) -> Array:
    window = bars[:, None] + np.arange(-N_VOLUMES, 0)
    before = np.where(window >= 0, volume[series[:, None], window.clip(0)], np.nan)
    usual = np.median(before, axis=1) if len(before) else np.zeros(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = volume[series, bars] / usual
    return np.where(np.isfinite(ratio), ratio, np.nan)
