"""Channels: the few numbers in which a bar is compared with the instrument's own past.

Every channel is causal, free of the price's unit, and scaled by what was known before the bar.
"""

from dataclasses import dataclass, field

import numpy as np

from components.carried import State, named, scoped
from components.features.level import LevelUnits
from components.features.residual import MarketResidual
from components.features.scale import VolatilityUnits
from components.features.states import Regime, Staleness
from components.panels import Array, CandlePanel, Flags, Ints

# The channels of a bar's vector, in order; ``excursion_z`` stands beside them.
VECTOR = ("return_z", "gap_z", "body_z", "residual_z", "range_z", "volume_z")

# Where a channel's scale turns from straight to logarithmic, in its units.
BEND = 4.0

# A bar without any range has no logarithm of it: it counts as this share of the volatility.
LEAST_RANGE = 0.02


@dataclass(frozen=True)
class Channelled:
    """The channels of a panel; arrays (n_series, n_bars).

    ``columns`` holds the channels by name and ``excursion_z``, the reach of the high above the
    close before. ``scale`` is the volatility of log returns known before the bar, a fraction;
    ``market_part`` the share of the log return that the market explains; ``regime`` 0, 1, 2
    for a calm, usual or wild time (-1 unknown).
    """

    columns: dict[str, Array]
    scale: Array
    market_part: Array
    is_stale: Flags
    regime: Ints


@dataclass(frozen=True)
class Channels:
    r"""Candles to channels; a carried scan made of the scans of its parts.

    With O, H, L, C of the bar, C' the close before (splits undone) and V the volume:
    r = ln(C / C'), gap = ln(O / C') (where markets close), body = ln(C / O), residual
    = r - beta m with the market's return m, each in volatility units; range = ln max(ln(H / L),
    \|ln(H / C')\|, \|ln(L / C')\|) and volume = ln V (in units before any split), each in
    level units.

    A bar that comes k steps after the bar before it (k - 1 are missing) is held against the
    scale of one bar: r, m (which is over the same k steps or unknown), ln(H / C') and ln(L / C')
    are divided by the square root of k. Its gap is not judged: it holds all that the missing
    bars did from open to close. What happened within the bar needs no such care.
    """

    moves: VolatilityUnits = field(default_factory=VolatilityUnits)
    levels: LevelUnits = field(default_factory=LevelUnits)
    residual: MarketResidual = field(default_factory=MarketResidual)
    staleness: Staleness = field(default_factory=Staleness)
    regime: Regime = field(default_factory=Regime)

    @property
    def warm_up(self) -> int:
        """Bars before the first vector: the close before a return, and the scales."""
        return 1 + max(self.moves.warm_up, self.levels.warm_up)

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        state = {"close": np.full(n_series, np.nan), "shares": np.ones(n_series)}
        state.update(named(self.staleness.start(n_series), "stale"))
        state.update(named(self.regime.start(n_series), "regime"))
        state.update(named(self.residual.start(n_series), "residual"))
        for name in ("return", "gap", "body"):
            state.update(named(self.moves.start(n_series), name))
        for name in ("range", "volume"):
            state.update(named(self.levels.start(n_series), name))
        return state

    def run(self, state: State, panel: CandlePanel) -> tuple[State, Channelled]:
        """Scan a panel. A stale bar gives NaN and enters no scale."""
        after = dict(state)
        open_, high, low, close = (panel.field(name) for name in ("open", "high", "low", "close"))
        before = previous_close(panel, state["close"].astype(float))
        with np.errstate(invalid="ignore"):
            is_flat = (high == low) & (close == open_) & (close == before)
        stale, is_stale = self.staleness.run(scoped(state, "stale"), is_flat, panel.is_bar)
        after.update(named(stale, "stale"))

        live_before = np.where(is_stale, np.nan, before)
        root = np.sqrt(panel.steps)
        has_gap = panel.is_session[:, None] & (root == 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.log(close / live_before) / root
            market = np.log1p(panel.field("market")) / root
            moves = {
                "return": r,
                "gap": np.where(has_gap, np.log(open_ / live_before), np.nan),
                "body": np.where(is_stale, np.nan, np.log(close / open_)),
            }
        columns, scale = {}, np.full_like(close, np.nan)
        for name, x in moves.items():
            units, z, s = self.moves.run(scoped(state, name), x)
            after.update(named(units, name))
            columns[f"{name}_z"] = z
            if name == "return":
                scale = s
        rest, columns["residual_z"], share = self.residual.run(scoped(state, "residual"), r, market)
        after.update(named(rest, "residual"))
        share = share * root

        shares, volume = unsplit_volume(panel, state["shares"].astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.maximum(high, np.maximum(open_, close)) / live_before
            depth = np.minimum(low, np.minimum(open_, close)) / live_before
            up, down = np.log(reach) / root, np.log(depth) / root
            true_range = np.maximum(np.log(reach / depth), np.maximum(np.abs(up), np.abs(down)))
            floor = LEAST_RANGE * np.where(np.isnan(scale), LEAST_RANGE, scale)
            levels = {
                "range": np.log(np.maximum(true_range, floor)),
                "volume": np.where(is_stale, np.nan, np.log(np.where(volume > 0, volume, np.nan))),
            }
            columns["excursion_z"] = up / scale
        for name, x in levels.items():
            units, z = self.levels.run(scoped(state, name), x)
            after.update(named(units, name))
            columns[f"{name}_z"] = z
        placed, regime = self.regime.run(scoped(state, "regime"), r)
        after.update(named(placed, "regime"))
        after.update(_closing(state, panel, shares))
        return after, Channelled(columns, scale, share, is_stale, regime)


def previous_close(panel: CandlePanel, carried: Array) -> Array:
    """The close before each bar in the bar's own shares: divided by a split's new per old."""
    close = panel.field("close")
    before = np.empty_like(close)
    before[:, 1:] = close[:, :-1]
    n_series, n_bars = close.shape
    if n_bars:
        first = n_bars - panel.is_bar.sum(axis=1)
        has_bars = first < n_bars
        before[np.arange(n_series)[has_bars], first[has_bars]] = carried[has_bars]
    return before / panel.field("split")


def unsplit_volume(panel: CandlePanel, shares: Array) -> tuple[Array, Array]:
    """Volumes in the shares of the first bar, and how many new shares one of those is now."""
    splits = np.where(panel.is_bar, panel.field("split"), 1.0)
    new_per_old = np.cumprod(np.column_stack([shares, splits]), axis=1)
    return new_per_old[:, -1], panel.field("volume") / new_per_old[:, 1:]


def _closing(state: State, panel: CandlePanel, shares: Array) -> State:
    if not panel.ts.shape[1]:
        return {}
    has_bars = panel.is_bar.any(axis=1)
    return {
        "close": np.where(has_bars, panel.field("close")[:, -1], state["close"]),
        "shares": np.where(has_bars, shares, state["shares"]),
    }


def vectors(columns: dict[str, Array], is_behind_gap: Flags) -> Array:
    r"""The vector of each bar, (n_series, n_bars, 6): arsinh(z / 4) of each channel.

    Nearly straight up to 4 units and logarithmic beyond, so that the usual keeps its distances
    and one glaring channel does not drown the others. A bar without a return has no vector:
    all NaN. A channel that the instrument lacks counts as its usual value, 0.

    Elsewhere a return and its body are nearly one. Where bars are missing before the bar
    (``is_behind_gap``, (n_series, n_bars)) they are of different times, and that they differ
    would be odd in itself: there the larger of the two stands for both.
    """
    if is_behind_gap.any():
        r, body = columns["return_z"], columns["body_z"]
        larger = np.where(np.abs(body) > np.abs(r), body, r)
        both = {"return_z": r, "body_z": body}
        both = {name: np.where(is_behind_gap, larger, own) for name, own in both.items()}
        columns = {**columns, **both}
    z = np.stack([columns[name] for name in VECTOR], axis=2)
    is_known = ~np.isnan(columns["return_z"])[:, :, None]
    # Kept as 32-bit floats between runs, so they are judged as such.
    bent = np.arcsinh(np.nan_to_num(z, nan=0.0) / BEND).astype(np.float32).astype(np.float64)
    return np.where(is_known, bent, np.nan)
